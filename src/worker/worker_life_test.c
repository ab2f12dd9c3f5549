/* worker_life_test - loading, failing, stopping. */
#include "testing/test.h"
#include "worker/worker_rig.h"

enum { MS = 1000 };

TEST(a_request_waits_for_the_model_and_hears_how_far_it_is)
{
    struct rig *rig = rig_new();
    rig->engine.load_ms = 700;
    rig->options.queue_wait_ms = 100; /* does not count while loading */
    rig_start(rig);
    struct request request = rig_request();
    request.want_progress = true;
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    CHECK_EQ(answer->types[1], EVENT_LOADING);
    CHECK(answer->progress_count >= 2);
    CHECK(answer->last_fraction > 0 && answer->last_fraction < 1);
    CHECK(rig->is_ready && !rig->has_failed);
    rig_free(rig);
}

TEST(loading_has_its_own_timeout)
{
    struct rig *rig = rig_new();
    rig->engine.load_ms = 60000;
    rig->options.load_timeout_ms = 50;
    rig_start(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_error(answer, FAULT_LOADING);
    CHECK_EQ(rig->state.phase, NODE_LOADING);
    rig_free(rig); /* breaks the load off */
}

TEST(a_model_that_cannot_be_loaded_fails_those_who_wait_and_all_later_ones)
{
    struct rig *rig = rig_new();
    rig->loads_badly = true;
    rig_start(rig);
    struct request request = rig_request();
    struct answer *waiting = rig_ask(rig, 0, &request);
    rig_until_ended(waiting);
    rig_check_error(waiting, FAULT_MODEL_FAILED);
    CHECK_STR(waiting->message, "the model file is torn");
    CHECK(rig->has_failed && !rig->is_ready);
    CHECK_EQ(rig->failed_why, ERR_PROTOCOL);
    CHECK_STR(rig->failed_note, "the model file is torn");
    request = rig_request();
    struct answer *later = rig_ask(rig, 1, &request);
    rig_until_ended(later);
    rig_check_error(later, FAULT_MODEL_FAILED);
    while (rig->state.phase != NODE_FAILED)
        loop_turn(rig->loop, true);
    CHECK_SLICE(rig->state.detail, "the model file is torn");
    rig_free(rig);
}

TEST(an_engine_that_fails_ends_every_stream_and_the_node_says_so)
{
    struct rig *rig = rig_new();
    rig->engine.fail_at = 5;
    rig->engine.delay_us = 1 * MS;
    rig->options.queue_wait_ms = 60000;
    rig_start_ready(rig);
    for (int i = 0; i < 3; i++) {
        struct request request = rig_request();
        rig_ask(rig, i, &request);
    }
    for (int i = 0; i < 3; i++) {
        rig_until_ended(&rig->answers[i]);
        rig_check_error(&rig->answers[i], FAULT_WORKER_LOST);
        CHECK_STR(rig->answers[i].message, "the engine failed");
    }
    CHECK_EQ(rig->answers[0].token_count, 4);
    struct request request = rig_request();
    struct answer *later = rig_ask(rig, 3, &request);
    rig_until_ended(later);
    rig_check_error(later, FAULT_MODEL_FAILED);
    while (rig->state.phase != NODE_FAILED)
        loop_turn(rig->loop, true);
    CHECK(rig->state.detail.len > 0);
    rig_free(rig);
}

TEST(a_draining_worker_finishes_what_runs_and_refuses_what_comes)
{
    struct rig *rig = rig_new();
    rig->engine.delay_us = 5 * MS;
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *running = rig_ask(rig, 0, &request);
    rig_until_first_text(running);
    rig_stop(rig, 60000);
    request = rig_request();
    struct answer *late = rig_ask(rig, 1, &request);
    rig_until_ended(late);
    rig_check_error(late, FAULT_DRAINING);
    CHECK(!running->has_ended);
    CHECK_EQ(rig->state.phase, NODE_DRAINING);
    rig_until_ended(running);
    rig_check_whole(running);
    rig_until_stopped(rig);
    rig_free(rig);
}

TEST(when_the_drain_is_over_the_rest_ends_with_an_error_and_the_worker_stops)
{
    for (uint32_t drain_ms = 0; drain_ms <= 50; drain_ms += 50) {
        struct rig *rig = rig_start_stalling(4, 60000);
        struct answer *running = rig_occupy(rig, 0);
        struct request request = rig_request();
        struct answer *queued = rig_ask(rig, 1, &request);
        while (worker_stats(rig->worker).queued == 0)
            loop_turn(rig->loop, true);
        rig_stop(rig, drain_ms);
        rig_until_stopped(rig);
        rig_until_ended(running);
        rig_until_ended(queued);
        rig_check_error(running, FAULT_DRAINING);
        rig_check_error(queued, FAULT_DRAINING);
        rig_free(rig);
    }
}

TEST(an_idle_or_a_loading_or_a_failed_worker_can_be_stopped)
{
    for (int i = 0; i < 3; i++) {
        struct rig *rig = rig_new();
        rig->engine.load_ms = i == 1 ? 60000 : 0;
        rig->loads_badly = i == 2;
        rig_start(rig);
        while (i != 1 && !rig->is_ready && !rig->has_failed)
            loop_turn(rig->loop, true);
        rig_stop(rig, 60000);
        rig_until_stopped(rig);
        CHECK_EQ(rig->has_failed, i == 2);
        rig_free(rig);
    }
}

TEST(a_model_name_that_makes_no_subject_is_refused)
{
    char name[BUS_SUBJECT_MAX_BYTES];
    struct worker *worker = NULL;
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->options.model = "";
    CHECK_ERR(worker_start(rig->asker_bus, &rig->options, NULL, NULL, NULL, &worker), ERR_LIMIT);
    memset(name, 'm', sizeof(name));
    name[sizeof(name) - sizeof("submit.") + 1] = '\0'; /* one too long */
    name[sizeof(name) - 1] = '\0';
    rig->options.model = name;
    CHECK_EQ(strlen(name), BUS_SUBJECT_MAX_BYTES - 7);
    memmove(name + 1, name, sizeof(name) - 1);
    CHECK_ERR(worker_start(rig->asker_bus, &rig->options, NULL, NULL, NULL, &worker), ERR_LIMIT);
    rig_free(rig);
}
