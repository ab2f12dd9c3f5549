/* encoder - events to bytes of an event stream (WHATWG HTML 9.2.5, 9.2.6). */
#include "sse/sse.h"

static bool is_one_line(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '\r' || text.data[i] == '\n' || text.data[i] == '\0')
            return false;
    return true;
}

static void add_field(struct text *out, const char *name, struct slice value)
{
    ASSERT_MSG(is_one_line(value), "%s" SLICE_FMT, name, SLICE_ARG(value));
    if (value.len == 0)
        return;
    text_add_str(out, name);
    text_add(out, value);
    text_add_byte(out, '\n');
}

/* Takes the first line off the front of *data, without its LF, CR LF or CR. False: there was no end
 * of line, so this was the last. */
static bool next_line(struct slice *data, struct slice *out_line)
{
    size_t at = 0;
    while (at < data->len && data->data[at] != '\n' && data->data[at] != '\r')
        at++;
    *out_line = slice_first(*data, at);
    struct slice end = slice_after(*data, at);
    *data = slice_after(end, slice_starts_with(end, SLICE("\r\n")) ? 2 : 1);
    return end.len > 0;
}

void sse_add_event(struct text *out, struct slice event, struct slice id, struct slice data)
{
    add_field(out, "event: ", event);
    add_field(out, "id: ", id);
    bool more = true;
    while (more) {
        struct slice line;
        more = next_line(&data, &line);
        text_add(out, SLICE("data: "));
        text_add(out, line);
        text_add_byte(out, '\n');
    }
    text_add_byte(out, '\n');
}

void sse_add_data(struct text *out, struct slice one_line)
{
    static const char before[] = {'d', 'a', 't', 'a', ':', ' '};
    size_t bytes = sizeof before + one_line.len + 2;
    char *room = text_reserve(out, bytes);
    if (!room)
        return;
    memcpy(room, before, sizeof before);
    if (one_line.len)
        memcpy(room + sizeof before, one_line.data, one_line.len);
    memcpy(room + sizeof before + one_line.len, "\n\n", 2);
    out->len += bytes;
}

void sse_add_ping(struct text *out)
{
    text_add(out, SLICE(": ping\n"));
}
