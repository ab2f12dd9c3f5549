/* decoder - bytes of an event stream to events (WHATWG HTML 9.2.5, 9.2.6).
 *
 * A line that lies whole in one feed is read where it is; only a line cut by the end of a feed is
 * collected. The cap counts the bytes of the unfinished event in stream order (its data and its
 * present line), whether they were collected or not: so it does not depend on the cuts either. */
#include "base/mem.h"
#include "sse/sse.h"

struct sse_decoder {
    struct text line; /* the beginning of a line that was cut */
    struct text data, event, id;
    size_t max_event_bytes;
    uint32_t retry_ms;
    bool is_first_line;
    bool after_cr; /* a LF that comes now belongs to that CR */
    bool is_broken;
};

enum err sse_decoder_new(size_t max_event_bytes, struct sse_decoder **out_decoder)
{
    struct sse_decoder *decoder = mem_peer_alloc(sizeof *decoder);
    if (!decoder)
        return ERR_LIMIT;
    *decoder = (struct sse_decoder){.max_event_bytes = max_event_bytes, .is_first_line = true};
    text_init(&decoder->line, max_event_bytes);
    text_init(&decoder->data, max_event_bytes);
    text_init(&decoder->event, max_event_bytes);
    text_init(&decoder->id, max_event_bytes);
    *out_decoder = decoder;
    return ERR_OK;
}

void sse_decoder_free(struct sse_decoder *decoder)
{
    if (!decoder)
        return;
    text_fini(&decoder->line);
    text_fini(&decoder->data);
    text_fini(&decoder->event);
    text_fini(&decoder->id);
    mem_free(decoder);
}

uint32_t sse_decoder_retry_ms(const struct sse_decoder *decoder)
{
    return decoder->retry_ms;
}

static enum err set(struct text *text, struct slice value)
{
    text_clear(text);
    text_add(text, value);
    return text_status(text);
}

/* Digits only, else the field means nothing; more than we can count is the longest we can. */
static void set_retry(struct sse_decoder *decoder, struct slice value)
{
    uint64_t ms;
    switch (slice_parse_u64(value, UINT32_MAX, &ms)) {
    case ERR_OK:
        decoder->retry_ms = (uint32_t)ms;
        break;
    case ERR_LIMIT:
        decoder->retry_ms = UINT32_MAX;
        break;
    default:
        break;
    }
}

static enum err on_field(struct sse_decoder *decoder, struct slice name, struct slice value)
{
    if (slice_eq_str(name, "data")) {
        text_add(&decoder->data, value);
        text_add_byte(&decoder->data, '\n');
        return text_status(&decoder->data);
    }
    if (slice_eq_str(name, "event"))
        return set(&decoder->event, value);
    if (slice_eq_str(name, "id") && slice_find_byte(value, '\0') == SLICE_NPOS)
        return set(&decoder->id, value);
    if (slice_eq_str(name, "retry"))
        set_retry(decoder, value);
    return ERR_OK;
}

/* An empty line. Without any data: line the event is none, and its name is forgotten. */
static void dispatch(struct sse_decoder *decoder, sse_event_fn *on_event, void *ctx)
{
    if (decoder->data.len > 0) {
        struct slice data = text_slice(&decoder->data);
        struct sse_event event = {
            .event = decoder->event.len ? text_slice(&decoder->event) : SLICE("message"),
            .data = slice_first(data, data.len - 1), /* without the LF behind the last line */
            .id = text_slice(&decoder->id),
        };
        on_event(ctx, &event);
    }
    text_clear(&decoder->data);
    text_clear(&decoder->event);
}

static enum err on_line(struct sse_decoder *decoder, struct slice line, sse_event_fn *on_event,
                        void *ctx)
{
    static const struct slice bom = {"\xEF\xBB\xBF", 3};
    if (decoder->is_first_line && slice_starts_with(line, bom))
        line = slice_after(line, bom.len);
    decoder->is_first_line = false;
    if (line.len == 0) {
        dispatch(decoder, on_event, ctx);
        return ERR_OK;
    }
    struct slice name, value;
    (void)slice_cut(line, ':', &name, &value); /* no colon: all name, the value empty */
    if (slice_starts_with(value, SLICE(" ")))
        value = slice_after(value, 1);
    return on_field(decoder, name, value); /* a comment is a field without a name */
}

/* The cap, for the present line having grown to `line_bytes`. */
static enum err check_room(const struct sse_decoder *decoder, size_t line_bytes)
{
    size_t held = decoder->data.len + decoder->event.len;
    return line_bytes <= decoder->max_event_bytes - held ? ERR_OK : ERR_LIMIT;
}

static size_t find_line_end(struct slice input)
{
    size_t at = 0;
    while (at < input.len && input.data[at] != '\n' && input.data[at] != '\r')
        at++;
    return at;
}

/* The line whose last part is `part`. */
static enum err finish_line(struct sse_decoder *decoder, struct slice part, sse_event_fn *on_event,
                            void *ctx)
{
    if (decoder->line.len == 0)
        return on_line(decoder, part, on_event, ctx);
    text_add(&decoder->line, part);
    TRY(text_status(&decoder->line));
    TRY(on_line(decoder, text_slice(&decoder->line), on_event, ctx));
    text_clear(&decoder->line);
    return ERR_OK;
}

static enum err feed(struct sse_decoder *decoder, struct slice input, sse_event_fn *on_event,
                     void *ctx)
{
    while (input.len > 0) {
        if (decoder->after_cr && input.data[0] == '\n')
            input = slice_after(input, 1);
        decoder->after_cr = false;
        size_t end = find_line_end(input);
        struct slice part = slice_first(input, end);
        TRY(check_room(decoder, decoder->line.len + end));
        if (end == input.len) {
            text_add(&decoder->line, part);
            return text_status(&decoder->line);
        }
        decoder->after_cr = input.data[end] == '\r';
        input = slice_after(input, end + 1);
        TRY(finish_line(decoder, part, on_event, ctx));
    }
    return ERR_OK;
}

enum err sse_decoder_feed(struct sse_decoder *decoder, struct slice input, sse_event_fn *on_event,
                          void *ctx)
{
    if (decoder->is_broken)
        return ERR_LIMIT;
    enum err err = feed(decoder, input, on_event, ctx);
    decoder->is_broken = err != ERR_OK;
    return err;
}
