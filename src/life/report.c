/* report - the lines a role writes to its host. See report.h. */
#include "life/report.h"

#include "base/utf8.h"

static const char *const words[REPORT_KIND_COUNT] = {[REPORT_BEAT] = "beat",
                                                     [REPORT_READY] = "ready",
                                                     [REPORT_DRAINING] = "draining",
                                                     [REPORT_FAILED] = "failed"};

static bool is_control(char byte)
{
    return (unsigned char)byte < 0x20 || byte == 0x7F;
}

/* What is left of the line takes the text, cut at a whole character; one line stays one line. */
static void add_text(struct slice text, size_t room, struct text *out)
{
    struct slice cut = slice_first(text, room);
    if (cut.len < text.len)
        cut = slice_first(cut, utf8_settled(cut));
    for (size_t i = 0; i < cut.len; i++)
        text_add_byte(out, is_control(cut.data[i]) ? ' ' : cut.data[i]);
}

void report_write(const struct report *report, struct text *out)
{
    const char *word = words[report->kind];
    size_t used = strlen(word) + 2; /* a space, and the newline at the end */
    text_add_str(out, word);
    if (report->kind == REPORT_BEAT)
        text_add_f(out, " %u %u", report->stuck_ms, report->streams);
    if (report->kind == REPORT_FAILED || (report->kind == REPORT_READY && report->text.len)) {
        text_add_byte(out, ' ');
        add_text(report->text, REPORT_LINE_MAX_BYTES - used, out);
    }
    text_add_byte(out, '\n');
}

static enum err read_beat(struct slice fields, struct report *report)
{
    struct slice stuck, streams;
    uint64_t stuck_ms, stream_count;
    if (!slice_cut(fields, ' ', &stuck, &streams) ||
        slice_parse_u64(stuck, UINT32_MAX, &stuck_ms) != ERR_OK ||
        slice_parse_u64(streams, UINT32_MAX, &stream_count) != ERR_OK)
        return ERR_PROTOCOL;
    report->stuck_ms = (uint32_t)stuck_ms;
    report->streams = (uint32_t)stream_count;
    return ERR_OK;
}

static enum err read_fields(struct slice fields, bool has_fields, struct report *report)
{
    switch (report->kind) {
    case REPORT_BEAT:
        return has_fields ? read_beat(fields, report) : ERR_PROTOCOL;
    case REPORT_READY:
        report->text = fields;
        return ERR_OK;
    case REPORT_FAILED:
        report->text = fields;
        return has_fields ? ERR_OK : ERR_PROTOCOL;
    default: /* draining */
        return has_fields ? ERR_PROTOCOL : ERR_OK;
    }
}

enum err report_read(struct slice line, struct report *out_report)
{
    struct slice word, fields;
    if (line.len >= REPORT_LINE_MAX_BYTES)
        return ERR_PROTOCOL;
    for (size_t i = 0; i < line.len; i++)
        if (is_control(line.data[i]))
            return ERR_PROTOCOL;
    bool has_fields = slice_cut(line, ' ', &word, &fields);
    for (size_t kind = 0; kind < REPORT_KIND_COUNT; kind++) {
        struct report report = {.kind = (enum report_kind)kind};
        if (!slice_eq_str(word, words[kind]))
            continue;
        TRY(read_fields(fields, has_fields, &report));
        *out_report = report;
        return ERR_OK;
    }
    return ERR_PROTOCOL;
}
