/* encoder_test - the exact bytes that go out. */
#include "sse/sse.h"
#include "testing/test.h"

static struct text out;

static void start(size_t max_bytes)
{
    text_fini(&out);
    text_init(&out, max_bytes);
}

static void check_event(struct slice event, struct slice id, struct slice data,
                        struct slice expected)
{
    start(256);
    sse_add_event(&out, event, id, data);
    CHECK_OK(text_status(&out));
    CHECK_SLICES(text_slice(&out), expected);
    text_fini(&out);
}

TEST(event_has_its_fields_and_an_empty_line)
{
    check_event(SLICE("ping"), SLICE("7.1"), SLICE("{}"),
                SLICE("event: ping\nid: 7.1\ndata: {}\n\n"));
    check_event(SLICE(""), SLICE("1"), SLICE("x"), SLICE("id: 1\ndata: x\n\n"));
    check_event(SLICE(""), SLICE(""), SLICE(" x"), SLICE("data:  x\n\n"));
    check_event((struct slice){0}, (struct slice){0}, (struct slice){0}, SLICE("data: \n\n"));
}

TEST(data_is_split_at_every_kind_of_line_end)
{
    struct slice none = {0};
    check_event(none, none, SLICE("a\nb\rc\r\nd"), SLICE("data: a\ndata: b\ndata: c\ndata: d\n\n"));
    check_event(none, none, SLICE("a\n"), SLICE("data: a\ndata: \n\n"));
    check_event(none, none, SLICE("a\r\n"), SLICE("data: a\ndata: \n\n"));
    check_event(none, none, SLICE("\n\r"), SLICE("data: \ndata: \ndata: \n\n"));
}

TEST(data_of_one_line_and_pings_are_exactly_these_bytes)
{
    start(256);
    sse_add_data(&out, SLICE("{\"a\":1}"));
    sse_add_ping(&out);
    sse_add_data(&out, (struct slice){0});
    CHECK_SLICE(text_slice(&out), "data: {\"a\":1}\n\n: ping\ndata: \n\n");
    text_fini(&out);
}

TEST(what_does_not_fit_is_told_by_the_text)
{
    for (size_t max = 0; max <= sizeof "data: ab\n\n" - 1; max++) {
        enum err expected = max == sizeof "data: ab\n\n" - 1 ? ERR_OK : ERR_LIMIT;
        start(max);
        sse_add_data(&out, SLICE("ab"));
        CHECK_ERR(text_status(&out), expected);
        CHECK_EQ(out.len, expected == ERR_OK ? max : 0);
        start(max);
        sse_add_event(&out, SLICE(""), SLICE(""), SLICE("ab"));
        CHECK_ERR(text_status(&out), expected);
    }
    text_fini(&out);
}
