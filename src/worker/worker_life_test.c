/* worker_life_test - loading, failing, stopping. */
#include "testing/test.h"
#include "worker/worker_impl.h"
#include "worker/worker_rig.h"

#include <unistd.h>

enum { MS = 1000 };

TEST(a_request_waits_for_the_model_and_hears_how_far_it_is)
{
    struct rig *rig = rig_new();
    rig->engine.load_ms = 1000;
    rig->options.queue_wait_ms = 100; /* does not count while loading */
    rig_start(rig);
    struct request request = rig_request();
    request.want_progress = true;
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    CHECK_EQ(answer->types[1], EVENT_LOADING);
    CHECK(answer->progress_count >= 2);
    CHECK(answer->last_fraction > 0);
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
    size_t tokens = 0; /* one ran, whichever was prepared first; the others waited */
    for (int i = 0; i < 3; i++)
        tokens += rig->answers[i].token_count;
    CHECK_EQ(tokens, 4);
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

/* --- an engine that hangs and does not look up --- */

static atomic_bool hangs; /* read by the engine's thread */
static const struct engine_ops *real_ops;

static enum err hanging_decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    while (atomic_load(&hangs))
        usleep(1000); /* no poll in here: that is the point */
    return real_ops->decode(engine, rows, count);
}

static enum err open_hanging(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                             struct engine **out_engine, struct err_note *out_note)
{
    static struct engine_ops ops;
    const struct rig *rig = ctx;
    TRY(engine_dummy_open(&rig->engine, on_progress, progress_ctx, out_engine, out_note));
    real_ops = (*out_engine)->ops;
    ops = *real_ops;
    ops.decode = hanging_decode;
    (*out_engine)->ops = &ops;
    return ERR_OK;
}

TEST(askers_of_a_stuck_engine_hear_no_heartbeat_and_those_who_wait_do)
{
    struct rig *rig = rig_new();
    rig->options.open_engine = open_hanging;
    rig->options.queue_wait_ms = 60000;
    rig->ask.silence_ms = 2000; /* four heartbeats */
    atomic_store(&hangs, true);
    rig_start_ready(rig);
    rig->worker->pace.stuck_ms = 100;
    struct request request = rig_request();
    struct answer *stuck = rig_ask(rig, 0, &request);
    request = rig_request();
    struct answer *waiting = rig_ask(rig, 1, &request);
    rig_until_ended(stuck);
    rig_check_error(stuck, FAULT_WORKER_LOST);
    CHECK(!waiting->has_ended);
    atomic_store(&hangs, false);
    rig_until_ended(waiting);
    rig_check_whole(waiting);
    rig_until_idle(rig);
    rig_free(rig);
}
