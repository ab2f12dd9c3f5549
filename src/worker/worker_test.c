/* worker_test - what a request gets from a worker: answer, place in the queue, end. */
#include "testing/test.h"
#include "worker/worker_impl.h"
#include "worker/worker_rig.h"

#include "base/clock.h"

enum { MS = 1000 };

/* --- what a request gets --- */

TEST(an_answer_is_the_whole_script_with_its_events_in_order)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    size_t last = answer->event_count - 1;
    CHECK_EQ(answer->types[0], EVENT_ACCEPTED);
    CHECK_EQ(answer->types[1], EVENT_STARTED);
    for (size_t i = 2; i < last - 1; i++)
        CHECK_EQ(answer->types[i], EVENT_DELTA);
    CHECK_EQ(answer->types[last - 1], EVENT_USAGE);
    CHECK_EQ(answer->types[last], EVENT_DONE);
    CHECK_EQ(answer->prompt_tokens, 6);
    CHECK_EQ(answer->completion_tokens, 20);
    rig_until_idle(rig);
    CHECK_EQ(rig->state.phase, NODE_READY);
    CHECK_EQ(rig->state.slots, 1);
    CHECK_EQ(worker_stats(rig->worker).done, 1);
    rig_free(rig);
}

TEST(a_seed_that_we_make_fits_into_a_json_number_and_one_that_is_given_is_kept)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *made = rig_ask(rig, 0, &request);
    request = rig_request();
    request.sampling.has_seed = true;
    request.sampling.seed = UINT64_MAX;
    struct answer *given = rig_ask(rig, 1, &request);
    rig_until_ended(made);
    rig_until_ended(given);
    CHECK(made->seed < 1ull << 53);
    CHECK(given->seed == UINT64_MAX);
    rig_free(rig);
}

TEST(a_long_prompt_says_how_far_it_is_to_who_wants_to_know)
{
    enum { PROMPT_BYTES = 2000 }; /* of which a batch takes 512 */
    static char prompt[PROMPT_BYTES];
    struct rig *rig = rig_new();
    memset(prompt, 'a', sizeof(prompt));
    rig_start_ready(rig);
    for (int i = 0; i < 2; i++) {
        struct request request = rig_request();
        request.prompt = slice_of(prompt, sizeof(prompt));
        request.want_progress = i == 1;
        struct answer *answer = rig_ask(rig, i, &request);
        rig_until_ended(answer);
        rig_check_whole(answer);
        CHECK_EQ(answer->prefill_count, i == 1 ? 4 : 0);
        CHECK_EQ(answer->prefill_tokens, i == 1 ? PROMPT_BYTES : 0);
    }
    rig_free(rig);
}

TEST(two_hundred_at_once_all_get_their_answers)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 8;
    rig_start_ready(rig);
    for (int i = 0; i < 200; i++) {
        struct request request = rig_request();
        request.want_progress = i % 2;
        rig_ask(rig, i, &request);
    }
    for (int i = 0; i < 200; i++)
        rig_until_ended(&rig->answers[i]);
    for (int i = 0; i < 200; i++)
        rig_check_whole(&rig->answers[i]);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).done, 200);
    CHECK_EQ(worker_stats(rig->worker).accepted, 200);
    CHECK_EQ(ask_hub_stats(rig->hub).lost, 0);
    rig_free(rig);
}

TEST(what_the_model_cannot_do_is_refused_with_the_reason)
{
    struct rig *rig = rig_new();
    rig->engine.context_tokens = 16;
    rig_start_ready(rig);
    struct request request = rig_request();
    request.prompt = SLICE("sixteen bytes ab");
    struct answer *too_long = rig_ask(rig, 0, &request);
    request = rig_request();
    request.prompt = SLICE("");
    struct answer *empty = rig_ask(rig, 1, &request);
    rig_until_ended(too_long);
    rig_until_ended(empty);
    rig_check_error(too_long, FAULT_CONTEXT_LENGTH_EXCEEDED);
    CHECK(strstr(too_long->message, "16"));
    CHECK_STR(too_long->param, "prompt");
    rig_check_error(empty, FAULT_INVALID_REQUEST);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).refused, 2);
    rig_free(rig);
}

/* --- the queue --- */

TEST(what_comes_beyond_the_room_waits_and_is_served_in_order)
{
    struct rig *rig = rig_new();
    rig->engine.delay_us = 5 * MS;
    rig->engine.tokens = 400; /* two seconds: time for the others to line up */
    rig_start_ready(rig);
    rig->manager->is_blind = true;
    struct answer *first = rig_occupy(rig, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        struct request request = rig_request();
        request.max_tokens = 2;
        rig_ask(rig, (int)i, &request);
        while (worker_stats(rig->worker).queued != i || rig->worker->preparing > 0)
            loop_turn(rig->loop, true);
    }
    CHECK_EQ(rig->manager->load.room, 0);
    ask_cancel(first->ask);
    for (int i = 0; i <= 3; i++)
        rig_until_ended(&rig->answers[i]);
    CHECK(rig->answers[1].ended_us < rig->answers[2].ended_us);
    CHECK(rig->answers[2].ended_us < rig->answers[3].ended_us);
    CHECK_EQ(rig->answers[1].reason, DONE_LENGTH);
    rig_until_idle(rig);
    rig_free(rig);
}

/* --- cancelling --- */

TEST(cancel_reaches_a_queued_request)
{
    struct rig *rig = rig_start_stalling();
    rig->manager->is_blind = true;
    struct answer *first = rig_occupy(rig, 0);
    struct request request = rig_request();
    struct answer *queued = rig_ask(rig, 1, &request);
    while (worker_stats(rig->worker).queued == 0)
        loop_turn(rig->loop, true);
    ask_cancel(queued->ask);
    rig_until_ended(queued);
    CHECK_EQ(queued->reason, DONE_CANCELLED);
    CHECK_EQ(worker_stats(rig->worker).queued, 0);
    CHECK(!first->has_ended);
    ask_cancel(first->ask);
    rig_until_ended(first);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(cancel_reaches_into_the_prompt)
{
    struct rig *rig = rig_new();
    rig->engine.prefill_us_per_token = 100 * MS;
    rig_start_ready(rig);
    struct request request = rig_request();
    request.prompt = SLICE("a prompt that would take seconds to be put in, one batch");
    struct answer *answer = rig_ask(rig, 0, &request);
    while (worker_stats(rig->worker).running == 0)
        loop_turn(rig->loop, true);
    uint64_t cancelled_us = clock_monotonic_us();
    ask_cancel(answer->ask);
    rig_until_ended(answer);
    CHECK_EQ(answer->reason, DONE_CANCELLED);
    CHECK_EQ(answer->token_count, 0);
    rig_until_idle(rig);
    CHECK(clock_monotonic_us() - cancelled_us < 2000 * MS);
    rig_free(rig);
}

TEST(cancel_ends_a_stalled_engine_and_the_slot_is_free_again)
{
    struct rig *rig = rig_start_stalling();
    struct answer *first = rig_occupy(rig, 0);
    uint64_t cancelled_us = clock_monotonic_us();
    ask_cancel(first->ask);
    rig_until_ended(first);
    CHECK_EQ(first->reason, DONE_CANCELLED);
    CHECK(first->completion_tokens > 0);
    rig_until_idle(rig);
    CHECK(clock_monotonic_us() - cancelled_us < 2000 * MS);
    rig_occupy(rig, 1);
    rig_free(rig);
}

/* --- all of it at once --- */

TEST(survivors_get_their_answers_while_most_leave_at_random_moments)
{
    struct rig *rig = rig_new();
    uint64_t random = 1;
    rig->engine.slots = 8;
    rig->engine.tokens = 60;
    rig->engine.delay_us = 1 * MS;
    rig_start_ready(rig);
    rig->manager->is_blind = true;
    for (int i = 0; i < 200; i++) {
        struct request request = rig_request();
        request.want_progress = test_random(&random) % 2;
        rig_ask(rig, i, &request);
    }
    for (int left = 0;
         left < 140;) { /* 70 % of them, 1 in 3 of these without waiting for the end */
        struct answer *answer = &rig->answers[test_random(&random) % 140];
        if (answer->ask && test_random(&random) % 3 == 0)
            ask_abandon(&answer->ask);
        else if (answer->ask)
            ask_cancel(answer->ask);
        answer->is_leaving = true;
        left = 0;
        for (int i = 0; i < 140; i++)
            left += rig->answers[i].is_leaving || rig->answers[i].has_ended;
        loop_turn(rig->loop, false);
    }
    for (int i = 140; i < 200; i++) {
        rig_until_ended(&rig->answers[i]);
        rig_check_whole(&rig->answers[i]);
    }
    rig_until_idle(rig);
    struct worker_stats stats = worker_stats(rig->worker);
    CHECK_EQ(stats.done + stats.cancelled, stats.accepted);
    CHECK(stats.cancelled > 50);
    CHECK_EQ(stats.failed + stats.refused + stats.handed_back, 0);
    rig_free(rig);
}
