/* trace_test - traceparent, by the examples and rules of W3C Trace Context level 1. */
#include "gateway/trace.h"
#include "testing/test.h"

#define TRACE_ID  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT_ID "00f067aa0ba902b7"

/* Section 3.2.2.5 of the standard: its two examples. */
TEST(the_examples_of_the_standard_are_read)
{
    struct trace trace;
    CHECK_OK(trace_parse(SLICE("00-" TRACE_ID "-" PARENT_ID "-01"), &trace));
    CHECK(trace.trace_id.high == 0x4bf92f3577b34da6 && trace.trace_id.low == 0xa3ce929d0e0e4736);
    CHECK(trace.parent_id == 0x00f067aa0ba902b7);
    CHECK(trace.is_sampled);
    CHECK_OK(trace_parse(SLICE("00-" TRACE_ID "-" PARENT_ID "-00"), &trace));
    CHECK(!trace.is_sampled);
}

TEST(a_trace_is_written_as_it_is_read)
{
    char text[TRACE_TEXT_BYTES + 1];
    struct trace trace;
    struct slice field = SLICE("00-" TRACE_ID "-" PARENT_ID "-01");
    CHECK_OK(trace_parse(field, &trace));
    CHECK_SLICES(trace_format(&trace, text), field);
    CHECK_EQ(text[TRACE_TEXT_BYTES], 0);
    trace.is_sampled = false;
    CHECK_SLICE(trace_format(&trace, text), "00-" TRACE_ID "-" PARENT_ID "-00");
}

/* "Future" versions are read as far as 00 goes (section 4.3). */
TEST(a_later_version_is_read_if_it_begins_like_ours)
{
    static const struct {
        const char *field;
        enum err err;
    } cases[] = {
        {"01-" TRACE_ID "-" PARENT_ID "-01", ERR_OK},
        {"fe-" TRACE_ID "-" PARENT_ID "-01-what-the-future-will-be-like", ERR_OK},
        {"cc-" TRACE_ID "-" PARENT_ID "-01-", ERR_OK},
        {"cc-" TRACE_ID "-" PARENT_ID "-01.what-the-future-will-be-like", ERR_PROTOCOL},
        {"cc-" TRACE_ID "-" PARENT_ID "-010", ERR_PROTOCOL},
        {"ff-" TRACE_ID "-" PARENT_ID "-01", ERR_PROTOCOL},
    };
    struct trace trace;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        test_check_err(trace_parse(slice_str(cases[i].field), &trace), cases[i].err, cases[i].field,
                       __FILE__, __LINE__);
}

TEST(the_flags_that_level_1_does_not_know_are_ignored)
{
    struct trace trace;
    CHECK_OK(trace_parse(SLICE("00-" TRACE_ID "-" PARENT_ID "-ff"), &trace));
    CHECK(trace.is_sampled);
    CHECK_OK(trace_parse(SLICE("00-" TRACE_ID "-" PARENT_ID "-fe"), &trace));
    CHECK(!trace.is_sampled);
}

TEST(anything_else_is_refused_and_leaves_the_trace_alone)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-" TRACE_ID "-" PARENT_ID "-0",
        "00-" TRACE_ID "-" PARENT_ID "-01-",
        "00-" TRACE_ID "-" PARENT_ID "-01-more",
        "00-" TRACE_ID "-" PARENT_ID "-011",
        "00-" TRACE_ID "-" PARENT_ID "-0G",
        "00-" TRACE_ID "-" PARENT_ID "_01",
        "00_" TRACE_ID "-" PARENT_ID "-01",
        "0-" TRACE_ID "-" PARENT_ID "-01 ",
        ".0-" TRACE_ID "-" PARENT_ID "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT_ID "-01",
        "00-" TRACE_ID "-00F067AA0BA902B7-01",
        "00-" TRACE_ID "-" PARENT_ID "-0A",
        "00-00000000000000000000000000000000-" PARENT_ID "-01",
        "00-" TRACE_ID "-0000000000000000-01",
        "00-" TRACE_ID PARENT_ID "---01",
        "00-x" TRACE_ID "-f067aa0ba902b7-01",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct trace trace = {.parent_id = 5};
        test_check_err(trace_parse(slice_str(bad[i]), &trace), ERR_PROTOCOL, bad[i], __FILE__,
                       __LINE__);
        CHECK(trace.parent_id == 5);
    }
}

/* --- joining --- */

static const struct id ours = {0x1111111111111111, 0x2222222222222222};

static struct trace joined(const struct http_field *fields, size_t count)
{
    return trace_join(&(struct http_request){.fields = fields, .field_count = count}, ours);
}

/* The name of a field has no case (RFC 9110 5.1). */
TEST(a_request_is_our_own_step_in_its_trace)
{
    const struct http_field fields[] = {
        {SLICE("Host"), SLICE("x")},
        {SLICE("TraceParent"), SLICE("00-" TRACE_ID "-" PARENT_ID "-01")},
        {SLICE("tracestate"), SLICE("a=b")}};
    char text[TRACE_TEXT_BYTES + 1];
    struct trace trace = joined(fields, 3);
    CHECK_SLICE(trace_format(&trace, text), "00-" TRACE_ID "-2222222222222222-01");
}

TEST(without_a_good_one_a_trace_begins_here)
{
    const struct http_field twice[] = {
        {SLICE("traceparent"), SLICE("00-" TRACE_ID "-" PARENT_ID "-01")},
        {SLICE("traceparent"), SLICE("00-" TRACE_ID "-" PARENT_ID "-01")}};
    const struct http_field bad = {SLICE("traceparent"), SLICE("00-" TRACE_ID "-x-01")};
    struct trace traces[] = {joined(NULL, 0), joined(twice, 2), joined(&bad, 1)};
    char text[TRACE_TEXT_BYTES + 1];
    for (size_t i = 0; i < ARRAY_COUNT(traces); i++)
        CHECK_SLICE(trace_format(&traces[i], text),
                    "00-11111111111111112222222222222222-2222222222222222-00");
}

TEST(an_id_whose_half_is_zero_still_gives_a_parent_id)
{
    struct trace trace, again;
    char text[TRACE_TEXT_BYTES + 1];
    trace = trace_join(&(struct http_request){0}, (struct id){5, 0});
    CHECK_OK(trace_parse(trace_format(&trace, text), &again));
}
