/* load_sum_test - what is counted as right, and where a latency comes from. */
#include "load.h"

#include "testing/test.h"

struct rig {
    struct load_options options;
    struct load load;
    struct load_sum sum;
    struct load_stream stream;
};

/* Complaints go to stderr: they are part of what is tested. */
static void rig_init(struct rig *rig)
{
    *rig = (struct rig){.stream.exchange = {.loop = &rig->load.loop, .start_us = 1000}};
    rig->load.options = &rig->options;
    rig->stream.exchange.answer.state = ANSWER_WHOLE;
    rig->stream.exchange.answer.events = 7;
    rig->load.loop.now_us = 5000;
}

TEST(the_first_stream_says_how_many_events_the_others_have)
{
    struct rig rig;
    rig_init(&rig);
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    CHECK_EQ(rig.sum.streams, 2);
    CHECK_EQ(rig.load.doubts, 0);
    CHECK_EQ(rig.sum.request.max, 4000);
    rig.stream.exchange.answer.events = 6;
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    CHECK_EQ(rig.sum.streams, 2);
    CHECK_EQ(rig.sum.failed, 1);
    CHECK_EQ(rig.load.doubts, 1);
}

TEST(a_number_of_events_that_was_asked_for_counts_from_the_first_stream)
{
    struct rig rig;
    rig_init(&rig);
    rig.load.events_each = 8;
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    CHECK_EQ(rig.sum.failed, 1);
}

TEST(refusals_are_failures_that_are_told_apart)
{
    struct rig rig;
    rig_init(&rig);
    rig.stream.exchange.answer.state = ANSWER_WRONG;
    rig.stream.exchange.answer.status = 429;
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    rig.stream.exchange.answer.status = 500;
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    CHECK_EQ(rig.sum.failed, 2);
    CHECK_EQ(rig.sum.refused, 1);
    CHECK_EQ(rig.load.doubts, 2);
}

TEST(events_that_come_with_one_read_are_no_time_apart)
{
    struct rig rig;
    rig_init(&rig);
    load_sum_events(&rig.sum, &rig.stream.exchange, 2);
    CHECK_EQ(rig.sum.ttft.max, 4000);
    CHECK_EQ(rig.sum.gap.total, 1);
    CHECK_EQ(rig.sum.gap.max, 0);
    rig.stream.exchange.last_us = 4500;
    load_sum_events(&rig.sum, &rig.stream.exchange, 1);
    CHECK_EQ(rig.sum.gap.max, 500);
    CHECK_EQ(rig.sum.ttft.total, 1);
    CHECK_EQ(rig.sum.events, 3);
}

TEST(latency_is_from_the_microsecond_in_the_text)
{
    struct rig rig;
    rig_init(&rig);
    load_sum_data(&rig.load, &rig.sum,
                  SLICE("{\"choices\":[{\"delta\":{\"content\":\"4990 \"}}]}"));
    load_sum_data(&rig.load, &rig.sum, SLICE("{\"choices\":[{\"delta\":{\"content\":\"\"}}]}"));
    load_sum_data(&rig.load, &rig.sum, SLICE("{\"choices\":[{\"delta\":{}}]}"));
    CHECK_EQ(rig.sum.latency.total, 1);
    CHECK_EQ(rig.sum.latency.max, 10);
    CHECK_EQ(rig.load.doubts, 0);
}

TEST(a_text_that_is_no_time_before_now_is_a_doubt)
{
    struct rig rig;
    rig_init(&rig);
    load_sum_data(&rig.load, &rig.sum, SLICE("{\"content\":\"tok1\"}"));
    load_sum_data(&rig.load, &rig.sum, SLICE("{\"content\":\"5001\"}"));       /* tomorrow */
    load_sum_data(&rig.load, &rig.sum, SLICE("{\"content\":\"4990 4991 \"}")); /* two tokens */
    CHECK_EQ(rig.load.doubts, 3);
    CHECK_EQ(rig.sum.latency.total, 0);
}

/* A stream that tells this, and ends as it should. */
static void tell(struct rig *rig, struct slice data)
{
    rig->stream.told = (struct load_usage){0};
    load_sum_usage(&rig->load, &rig->stream, data);
    load_sum_end(&rig->load, &rig->sum, &rig->stream);
}

static void usage_rig_init(struct rig *rig)
{
    rig_init(rig);
    rig->options.has_usage = true;
    rig->options.max_tokens = 6;
}

TEST(usage_is_summed_up_and_must_have_as_many_tokens_as_were_asked_for)
{
    struct rig rig;
    usage_rig_init(&rig);
    tell(&rig, SLICE("{\"choices\":[],\"usage\":{\"prompt_tokens\":268,\"completion_tokens\":6,"
                     "\"prompt_tokens_details\":{\"cached_tokens\":200}}}"));
    tell(&rig, SLICE("{\"usage\":{\"completion_tokens\":6,\"prompt_tokens\":2}}"));
    tell(&rig, SLICE("{\"choices\":[],\"usage\":null}"));
    CHECK_EQ(rig.sum.streams, 3);
    CHECK_EQ(rig.sum.usage.streams, 2);
    CHECK_EQ(rig.sum.usage.prompt_tokens, 270);
    CHECK_EQ(rig.sum.usage.cached_tokens, 200);
    CHECK_EQ(rig.sum.usage.completion_tokens, 12);
    CHECK_EQ(rig.load.doubts, 0);
    tell(&rig, SLICE("{\"usage\":{\"completion_tokens\":5,\"prompt_tokens\":2}}"));
    CHECK_EQ(rig.load.doubts, 1);
    tell(&rig, SLICE("{\"usage\":{\"completion_tokens\":6}}"));
    CHECK_EQ(rig.load.doubts, 2);
}

/* Left by us, or the answer went wrong behind it. */
TEST(the_usage_of_a_stream_that_did_not_end_well_does_not_count)
{
    struct slice usage = SLICE("{\"usage\":{\"completion_tokens\":6,\"prompt_tokens\":2}}");
    struct rig rig;
    usage_rig_init(&rig);
    load_sum_usage(&rig.load, &rig.stream, usage);
    CHECK_EQ(rig.sum.usage.streams, 0);
    CHECK_EQ(rig.load.doubts, 0);
    rig.stream.exchange.answer.state = ANSWER_WRONG;
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    CHECK_EQ(rig.sum.failed, 1);
    CHECK_EQ(rig.sum.usage.streams, 0);
    rig.stream.exchange.answer.state = ANSWER_WHOLE;
    tell(&rig, usage);
    CHECK_EQ(rig.sum.usage.streams, 1);
}

TEST(a_stream_tells_its_usage_once)
{
    struct slice usage = SLICE("{\"usage\":{\"completion_tokens\":6,\"prompt_tokens\":2}}");
    struct rig rig;
    usage_rig_init(&rig);
    load_sum_usage(&rig.load, &rig.stream, usage);
    load_sum_usage(&rig.load, &rig.stream, usage);
    CHECK_EQ(rig.load.doubts, 1);
}

TEST(with_usage_streams_of_different_events_are_right)
{
    struct rig rig;
    rig_init(&rig);
    rig.options.has_usage = true;
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    rig.stream.exchange.answer.events = 6;
    load_sum_end(&rig.load, &rig.sum, &rig.stream);
    CHECK_EQ(rig.sum.streams, 2);
    CHECK_EQ(rig.load.doubts, 0);
}
