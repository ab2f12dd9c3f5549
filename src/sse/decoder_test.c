/* decoder_test - what comes out of a stream, wherever it is cut. */
#include "base/mem.h"
#include "sse/sse.h"
#include "testing/test.h"

#include <stdio.h>

/* Every event as "name|id|data;". */
static struct text seen;

static void on_event(void *ctx, const struct sse_event *event)
{
    (void)ctx;
    text_add(&seen, event->event);
    text_add_byte(&seen, '|');
    text_add(&seen, event->id);
    text_add_byte(&seen, '|');
    text_add(&seen, event->data);
    text_add_byte(&seen, ';');
}

static struct sse_decoder *new_decoder(size_t max_event_bytes)
{
    struct sse_decoder *decoder;
    text_fini(&seen);
    text_init(&seen, 4096);
    CHECK_OK(sse_decoder_new(max_event_bytes, &decoder));
    return decoder;
}

/* `first` bytes, then `step` at a time (0: the rest at once). Each piece lies alone in its memory.
 */
static enum err feed(struct sse_decoder *decoder, struct slice wire, size_t first, size_t step)
{
    enum err err = ERR_OK;
    size_t piece = first;
    while (wire.len > 0 && err == ERR_OK) {
        struct slice part = slice_first(wire, piece);
        char *exact = mem_alloc(part.len);
        if (part.len)
            memcpy(exact, part.data, part.len);
        err = sse_decoder_feed(decoder, slice_of(exact, part.len), on_event, NULL);
        mem_free(exact);
        wire = slice_after(wire, piece);
        piece = step ? step : wire.len;
    }
    return err;
}

static enum err decode(struct slice wire, size_t max_event_bytes, size_t first, size_t step)
{
    struct sse_decoder *decoder = new_decoder(max_event_bytes);
    enum err err = feed(decoder, wire, first, step);
    sse_decoder_free(decoder);
    return err;
}

static const struct {
    struct slice wire, expected;
} streams[] = {
    {SLICE("data: a\n\n"), SLICE("message||a;")},
    {SLICE("data:a\n\ndata:  b\n\n"), SLICE("message||a;message|| b;")},
    {SLICE("event: token\nid: 7\ndata: hel\ndata: lo\n\ndata: x\n\n"),
     SLICE("token|7|hel\nlo;message|7|x;")},
    {SLICE("data: a\r\n\r\ndata: b\r\rdata: c\n\n"), SLICE("message||a;message||b;message||c;")},
    {SLICE("data: a\r\ndata: b\r\n\r\n\r\n"), SLICE("message||a\nb;")},
    {SLICE("data: a\r\r\n"), SLICE("message||a;")},
    {SLICE("\xEF\xBB\xBF"
           "data: a\n\n"),
     SLICE("message||a;")},
    {SLICE("\xEF\xBB\xBF\xEF\xBB\xBF"
           "data: a\n\ndata: b\n\n"),
     SLICE("message||b;")},
    {SLICE("data: a\n\n\xEF\xBB\xBF"
           "data: b\n\n"),
     SLICE("message||a;")},
    {SLICE("\xEF\xBB\xBF\n\ndata: a\n\n"), SLICE("message||a;")},
    {SLICE("data\n\ndata\ndata\n\ndata:\n\ndata: \n\n"),
     SLICE("message||;message||\n;message||;message||;")},
    {SLICE(": ping\n:\n: ping\n\ndata: a\n: ping\ndata: b\n\n"), SLICE("message||a\nb;")},
    {SLICE("event: gone\n\ndata: a\n\n"), SLICE("message||a;")},
    {SLICE("event: x\nevent: y\ndata: a\n\n"), SLICE("y||a;")},
    {SLICE("event: x\nevent:\ndata: a\n\n"), SLICE("message||a;")},
    {SLICE("id: 1\n\ndata: a\n\nid\ndata: b\n\n"), SLICE("message|1|a;message||b;")},
    {SLICE("id: 1\nid: 2\0x\ndata: a\n\n"), SLICE("message|1|a;")},
    {SLICE("data : a\nDATA: b\nfoo: c\ndata: d\n\n"), SLICE("message||d;")},
    {SLICE("data: a:b: c\n\n"), SLICE("message||a:b: c;")},
    {SLICE("data: \xff\xc3\0\n\n"), SLICE("message||\xff\xc3\0;")},
    {SLICE("data: never ended\n"), SLICE("")},
    {SLICE("data: never ended"), SLICE("")},
    {SLICE("\n\r\n\r"), SLICE("")},
};

TEST(streams_are_read_as_the_standard_says)
{
    for (size_t i = 0; i < ARRAY_COUNT(streams); i++) {
        CHECK_OK(decode(streams[i].wire, 1024, streams[i].wire.len, 0));
        CHECK_SLICES(text_slice(&seen), streams[i].expected);
    }
    text_fini(&seen);
}

/* An event may arrive cut anywhere; what comes out must not depend on the cut. */
TEST(decoder_result_does_not_depend_on_where_reads_end)
{
    for (size_t i = 0; i < ARRAY_COUNT(streams); i++) {
        for (size_t cut = 0; cut <= streams[i].wire.len; cut++) {
            CHECK_OK(decode(streams[i].wire, 1024, cut, 0));
            CHECK_SLICES(text_slice(&seen), streams[i].expected);
        }
        CHECK_OK(decode(streams[i].wire, 1024, 1, 1));
        CHECK_SLICES(text_slice(&seen), streams[i].expected);
    }
    text_fini(&seen);
}

TEST(event_of_exactly_the_limit_passes_and_a_smaller_limit_refuses_it_at_any_cut)
{
    struct slice wire = SLICE("event: e\ndata: abc\n: comment\ndata: d\n\n");
    size_t needed = sizeof("e"
                           "abc\n"
                           "data: d") -
                    1; /* at its fullest, in the last line */
    size_t comment = sizeof("e"
                            "abc\n"
                            ": comment") -
                     1;
    needed = comment > needed ? comment : needed;
    for (size_t cut = 1; cut <= wire.len; cut++) {
        for (size_t step = 0; step < 3; step++) {
            CHECK_OK(decode(wire, needed + 1, cut, step));
            CHECK_OK(decode(wire, needed, cut, step));
            CHECK_SLICE(text_slice(&seen), "e||abc\nd;");
            CHECK_ERR(decode(wire, needed - 1, cut, step), ERR_LIMIT);
            CHECK_SLICE(text_slice(&seen), "");
        }
    }
    text_fini(&seen);
}

TEST(endless_line_is_refused_at_the_limit)
{
    struct sse_decoder *decoder = new_decoder(8);
    CHECK_OK(sse_decoder_feed(decoder, SLICE(":1234567"), on_event, NULL));
    CHECK_ERR(sse_decoder_feed(decoder, SLICE("8"), on_event, NULL), ERR_LIMIT);
    CHECK_ERR(sse_decoder_feed(decoder, SLICE("\n"), on_event, NULL), ERR_LIMIT);
    sse_decoder_free(decoder);
}

TEST(pings_without_end_are_no_event_that_grows)
{
    struct sse_decoder *decoder = new_decoder(8);
    for (int i = 0; i < 1000; i++)
        CHECK_OK(sse_decoder_feed(decoder, SLICE(": ping\n"), on_event, NULL));
    CHECK_OK(sse_decoder_feed(decoder, SLICE("data: a\n\n"), on_event, NULL));
    CHECK_SLICE(text_slice(&seen), "message||a;");
    sse_decoder_free(decoder);
    text_fini(&seen);
}

TEST(retry_is_digits_only_and_the_last_one_counts)
{
    struct sse_decoder *decoder = new_decoder(64);
    CHECK_EQ(sse_decoder_retry_ms(decoder), 0);
    CHECK_OK(feed(decoder, SLICE("retry: 1500\n"), 1, 1));
    CHECK_EQ(sse_decoder_retry_ms(decoder), 1500);
    CHECK_OK(feed(decoder, SLICE("retry: 15x\nretry: -1\nretry:\nretry:  7\n"), 1, 1));
    CHECK_EQ(sse_decoder_retry_ms(decoder), 1500);
    CHECK_OK(feed(decoder, SLICE("retry: 99999999999999999999999\n"), 1, 1));
    CHECK_EQ(sse_decoder_retry_ms(decoder), UINT32_MAX);
    sse_decoder_free(decoder);
}

TEST(every_failed_allocation_is_a_limit_and_nothing_leaks)
{
    struct slice wire = SLICE("event: e\nid: 1\ndata: abc\n\n");
    struct sse_decoder *decoder;
    mem_test_fail_nth(1);
    CHECK_ERR(sse_decoder_new(64, &decoder), ERR_LIMIT);
    size_t failed = 0;
    enum err err = ERR_LIMIT;
    for (uint64_t nth = 1; err != ERR_OK; nth++) {
        decoder = new_decoder(64);
        mem_test_fail_nth(nth);
        err = feed(decoder, wire, 9, 1); /* cut, so that all four texts are needed */
        mem_test_fail_nth(0);
        failed += err == ERR_LIMIT;
        sse_decoder_free(decoder);
    }
    CHECK_EQ(failed, 4);
    text_fini(&seen);
}

TEST(what_the_encoder_writes_comes_out_again)
{
    struct text wire;
    text_init(&wire, 256);
    sse_add_event(&wire, SLICE("delta"), SLICE("9.1.2"), SLICE(" two\nlines\n"));
    sse_add_ping(&wire);
    sse_add_data(&wire, SLICE("[DONE]"));
    CHECK_OK(decode(text_slice(&wire), 64, 1, 1));
    CHECK_SLICE(text_slice(&seen), "delta|9.1.2| two\nlines\n;message|9.1.2|[DONE];");
    text_fini(&wire);
    text_fini(&seen);
}
