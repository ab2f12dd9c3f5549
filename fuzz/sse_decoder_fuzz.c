/* sse_decoder_fuzz - events do not depend on where reads end, and what we encode comes out again.
 */
#include "base/mem.h"
#include "choice.h"
#include "sse/sse.h"

static void on_event(void *ctx, const struct sse_event *event)
{
    struct text *log = ctx;
    ASSERT(event->event.len > 0);
    text_add_f(log, "%zu %zu %zu:", event->event.len, event->id.len, event->data.len);
    text_add(log, event->event);
    text_add(log, event->id);
    text_add(log, event->data);
}

static enum err decode(struct slice wire, size_t max_event_bytes, size_t first, size_t step,
                       struct text *log)
{
    struct sse_decoder *decoder;
    enum err err = sse_decoder_new(max_event_bytes, &decoder);
    ASSERT(err == ERR_OK);
    size_t piece = first;
    while (wire.len > 0 && err == ERR_OK) {
        struct slice part = slice_first(wire, piece);
        char *exact = mem_alloc(part.len); /* alone in its memory: the sanitizer sees overreading */
        if (part.len)
            memcpy(exact, part.data, part.len);
        err = sse_decoder_feed(decoder, slice_of(exact, part.len), on_event, log);
        mem_free(exact);
        wire = slice_after(wire, piece);
        piece = step ? step : wire.len;
    }
    text_add_f(log, "%s retry %u", err_name(err), sse_decoder_retry_ms(decoder));
    sse_decoder_free(decoder);
    return err;
}

/* The log holds each event's bytes and three numbers; ids repeat, so it may be larger than the
 * wire. */
enum { LOG_MAX_BYTES = 1 << 24 };

static void check_cuts(struct slice wire, size_t max_event_bytes, uint64_t *choice)
{
    struct text whole, cut;
    text_init(&whole, LOG_MAX_BYTES);
    text_init(&cut, LOG_MAX_BYTES);
    (void)decode(wire, max_event_bytes, wire.len, 0, &whole); /* the log has it */
    (void)decode(wire, max_event_bytes, choice_next(choice, wire.len + 1), choice_next(choice, 7),
                 &cut); /* the log has it */
    ASSERT_MSG(slice_eq(text_slice(&whole), text_slice(&cut)),
               "whole: " SLICE_FMT "\ncut: " SLICE_FMT, SLICE_ARG(text_slice(&whole)),
               SLICE_ARG(text_slice(&cut)));
    text_fini(&whole);
    text_fini(&cut);
}

/* CR LF and CR become LF: what the encoder does to data. */
static void add_with_lf(struct text *out, struct slice data)
{
    for (size_t i = 0; i < data.len; i++) {
        if (data.data[i] == '\r' && i + 1 < data.len && data.data[i + 1] == '\n')
            continue;
        text_add_byte(out, data.data[i] == '\r' ? '\n' : data.data[i]);
    }
}

static void check_round_trip(struct slice data, uint64_t *choice)
{
    size_t max_event_bytes = 2 * data.len + 64;
    struct text wire, log, lf, expected;
    text_init(&wire, 8 * data.len + 64);
    text_init(&log, LOG_MAX_BYTES);
    text_init(&lf, data.len);
    text_init(&expected, LOG_MAX_BYTES);
    sse_add_ping(&wire);
    sse_add_event(&wire, SLICE("e"), SLICE("1.2"), data);
    ASSERT(!wire.overflowed);
    add_with_lf(&lf, data);
    const struct sse_event event = {SLICE("e"), text_slice(&lf), SLICE("1.2")};
    on_event(&expected, &event);
    text_add_str(&expected, "ERR_OK retry 0");
    enum err err = decode(text_slice(&wire), max_event_bytes, choice_next(choice, wire.len + 1),
                          choice_next(choice, 7), &log);
    ASSERT(err == ERR_OK);
    ASSERT(slice_eq(text_slice(&log), text_slice(&expected)));
    text_fini(&wire);
    text_fini(&log);
    text_fini(&lf);
    text_fini(&expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t choice = choice_of(data, size);
    struct slice input = slice_of(data, size);
    check_cuts(input, size + 1, &choice);
    check_cuts(input, choice_next(&choice, 64), &choice);
    check_round_trip(input, &choice);
    return 0;
}
