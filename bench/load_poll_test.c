/* load_poll_test - how many requests a server's own page names. */
#include "load_poll.h"
#include "testing/test.h"

static const char metrics[] = "# HELP llamacpp:requests_processing Number of requests processing.\n"
                              "# TYPE llamacpp:requests_processing gauge\n"
                              "llamacpp:requests_processing 3\n"
                              "llamacpp:requests_deferred 12\n";

TEST(a_list_of_requests_is_counted)
{
    uint32_t in_flight = 9, queued = 9;
    CHECK(load_poll_read(POLL_MILLRACE,
                         SLICE("{\"object\":\"list\",\"data\":[],\"has_more\":false}"), &in_flight,
                         &queued));
    CHECK_EQ(in_flight, 0);
    CHECK_EQ(queued, 0);
    CHECK(
        load_poll_read(POLL_MILLRACE,
                       SLICE("{\"data\":[{\"object\":\"request\",\"state\":\"queued\"},"
                             "{\"object\":\"request\",\"state\":\"running\"}],\"has_more\":false}"),
                       &in_flight, &queued));
    CHECK_EQ(in_flight, 2);
    CHECK_EQ(queued, 1);
}

TEST(a_list_that_is_cut_tells_nothing)
{
    uint32_t in_flight, queued;
    CHECK(!load_poll_read(POLL_MILLRACE, SLICE("{\"data\":[],\"has_more\":true}"), &in_flight,
                          &queued));
    CHECK(!load_poll_read(POLL_MILLRACE, SLICE(""), &in_flight, &queued));
}

TEST(llama_metrics_are_added_up)
{
    uint32_t in_flight, queued;
    CHECK(load_poll_read(POLL_LLAMA, slice_str(metrics), &in_flight, &queued));
    CHECK_EQ(in_flight, 15);
    CHECK_EQ(queued, 12);
}

TEST(llama_metrics_without_one_of_both_tell_nothing)
{
    uint32_t in_flight, queued;
    CHECK(
        !load_poll_read(POLL_LLAMA, SLICE("llamacpp:requests_deferred 1\n"), &in_flight, &queued));
    CHECK(!load_poll_read(POLL_LLAMA,
                          SLICE("llamacpp:requests_processing x\nllamacpp:requests_deferred 1\n"),
                          &in_flight, &queued));
}
