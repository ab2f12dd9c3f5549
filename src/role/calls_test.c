/* calls_test - functions that travel between loops, and a loop on a thread of its own. */
#include "role/calls.h"

#include "role/role_thread.h"
#include "testing/test.h"

#include <stdio.h>

struct trace {
    struct loop *loop;
    char text[256];
    int left; /* until the loop is stopped */
};

static void add(void *ctx, const char *note)
{
    struct trace *trace = ctx;
    size_t len = strlen(trace->text);
    snprintf(trace->text + len, sizeof(trace->text) - len, "%s;", note);
    if (--trace->left == 0)
        loop_stop(trace->loop);
}

TEST(calls_run_on_the_loop_in_order_and_never_inside_the_post)
{
    struct trace trace = {.loop = loop_new_virtual(1)};
    struct calls *calls = calls_new(trace.loop);
    calls_post(calls, add, &trace, "one");
    calls_post(calls, add, &trace, NULL);
    calls_post(calls, add, &trace, "three");
    CHECK_STR(trace.text, "");
    loop_advance(trace.loop, 1);
    CHECK_STR(trace.text, "one;;three;");
    calls_free(&calls);
    CHECK(calls == NULL);
    calls_free(&calls);
    loop_free(trace.loop);
}

TEST(a_note_is_cut_at_its_maximum_and_what_waits_at_the_end_is_dropped)
{
    struct trace trace = {.loop = loop_new_virtual(1)};
    struct calls *calls = calls_new(trace.loop);
    char longest[CALL_NOTE_MAX_BYTES + 8];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    calls_post(calls, add, &trace, longest);
    calls_post(calls, add, &trace, "dropped");
    calls_free(&calls);
    loop_advance(trace.loop, 1);
    CHECK_STR(trace.text, "");
    calls = calls_new(trace.loop);
    calls_post(calls, add, &trace, longest);
    loop_advance(trace.loop, 1);
    CHECK_EQ(strlen(trace.text), sizeof(trace.text) - 1); /* the trace's own end */
    calls_free(&calls);
    loop_free(trace.loop);
}

TEST(more_calls_than_a_role_has_to_say_are_our_mistake)
{
    struct trace trace = {.loop = loop_new_virtual(1)};
    struct calls *calls = calls_new(trace.loop);
    for (int i = 0; i < CALLS_MAX; i++)
        calls_post(calls, add, &trace, NULL);
    CHECK_ABORTS(calls_post(calls, add, &trace, NULL), "ERR_FULL");
    calls_free(&calls);
    loop_free(trace.loop);
}

/* There and back: the thread's answer arrives on the main loop. */
struct errand {
    struct trace trace;
    struct calls *home;
};

static void answer(void *ctx, const char *note)
{
    (void)note;
    struct errand *errand = ctx;
    calls_post(errand->home, add, &errand->trace, "back");
}

TEST(a_role_thread_runs_what_it_is_asked_also_before_it_started)
{
    struct errand errand = {.trace = {.loop = loop_new(), .left = 2}};
    struct role_thread *thread = role_thread_new("a-name-too-long-for-it");
    errand.home = calls_new(errand.trace.loop);
    role_thread_call(thread, answer, &errand);
    CHECK_OK(role_thread_start(thread));
    role_thread_call(thread, answer, &errand);
    loop_run(errand.trace.loop);
    CHECK_STR(errand.trace.text, "back;back;");
    role_thread_free(&thread);
    CHECK(thread == NULL);
    role_thread_free(&thread);
    calls_free(&errand.home);
    loop_free(errand.trace.loop);
}

TEST(a_role_thread_that_never_started_goes_quietly)
{
    struct role_thread *thread = role_thread_new("never");
    role_thread_call(thread, answer, NULL); /* dropped */
    role_thread_join(thread);
    role_thread_free(&thread);
}
