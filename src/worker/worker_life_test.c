/* worker_life_test - loading, failing, hanging, stopping. */
#include "testing/test.h"
#include "worker/asker_rig.h"
#include "worker/worker_impl.h"

#include <unistd.h>

enum { MS = 1000 };

static bool manager_has_heard(void *ctx)
{
    return ((struct rig *)ctx)->manager->load_count > 0;
}

static bool has_failed(void *ctx)
{
    return ((struct rig *)ctx)->has_failed;
}

static bool is_said_to_have_failed(void *ctx)
{
    const struct rig *rig = ctx;
    return rig->state.phase == NODE_FAILED && rig->state.slots_busy == 0 && rig->state.queued == 0;
}

static bool is_said_to_drain(void *ctx)
{
    const struct rig *rig = ctx;
    return rig->state.phase == NODE_DRAINING && rig->manager->load.room == 0;
}

/* --- loading and failing --- */

static bool is_told_ready(void *ctx)
{
    return ((struct rig *)ctx)->is_ready;
}

/* States are at least state_ms apart; but a start waits for this one. */
TEST(a_model_that_is_ready_is_told_at_once)
{
    struct rig *rig = rig_new();
    rig_start(rig);
    rig->worker->pace.state_ms = 3600 * 1000;
    rig_until(rig, is_told_ready, rig);
    rig_turns(rig);
    CHECK_EQ(rig->state.phase, NODE_READY);
    rig_free(rig);
}

static bool has_said_more(void *ctx)
{
    return ((struct rig *)ctx)->state_count > 0;
}

TEST(who_begins_to_listen_is_told_the_state_when_he_asks)
{
    struct rig *rig = rig_new();
    rig_start(rig);
    rig_until(rig, is_told_ready, rig);
    rig_turns(rig);
    deadline_clear(&rig->worker->state_due); /* nothing else says it again */
    rig->state_count = 0;
    CHECK_OK(bus_publish(rig->watcher_bus, SLICE("state.wanted"), (struct slice){0}, SLICE("?")));
    rig_until(rig, has_said_more, rig);
    CHECK_EQ(rig->state.phase, NODE_READY);
    rig_free(rig);
}

/* Also when the test's time was up behind it, and nothing else of the result is known. */
TEST(a_fingerprint_is_told_at_once)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->worker->pace.state_ms = 3600 * 1000;
    rig->worker->options.profile = "exact";
    rig_turns(rig);
    for (int i = 0; i < 2; i++) {
        deadline_clear(&rig->worker->state_due); /* nothing else says it */
        rig->state_count = 0;
        memset(rig->worker->selftest.fingerprint, 'a' + i, NODE_FINGERPRINT_BYTES);
        worker_state_changed(rig->worker);
        rig_until(rig, has_said_more, rig);
    }
    rig_free(rig);
}

TEST(a_model_that_loads_says_how_far_it_is_and_what_is_assigned_meanwhile_is_handed_back)
{
    struct rig *rig = rig_new();
    rig->engine.load_ms = 300;
    rig_start(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    rig_until(rig, manager_has_heard, rig);
    CHECK_EQ(rig->manager->load.slots, 0);
    CHECK_EQ(rig->manager->load.room, 0);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_unknown, raw);
    rig_turns(rig);
    CHECK_EQ(raw->others, 0);
    CHECK(manager_rig_released(rig->manager, request_stream(&request), 1));
    while (rig->state.load_fraction == 0 || rig->state.load_fraction == 1)
        loop_turn(rig->loop, true);
    CHECK_EQ(rig->state.phase, NODE_LOADING);
    CHECK_EQ(worker_stuck_ms(rig->worker), 0);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).handed_back, 1);
    request.epoch = 2;
    raw_submit(raw, &request); /* as its asker does */
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(raw->message, "");
    raw_close(raw);
    rig_free(rig);
}

TEST(a_model_that_cannot_be_loaded_has_no_room)
{
    struct rig *rig = rig_new();
    rig->loads_badly = true;
    rig_start(rig);
    rig_until(rig, has_failed, rig);
    CHECK(!rig->is_ready);
    CHECK_EQ(rig->failed_why, ERR_PROTOCOL);
    CHECK_STR(rig->failed_note, "the model file is torn");
    rig_until(rig, is_said_to_have_failed, rig);
    CHECK_SLICE(rig->state.detail, "the model file is torn");
    rig_until(rig, manager_has_heard, rig);
    CHECK_EQ(rig->manager->load.slots, 0);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_unknown, raw);
    raw_close(raw);
    rig_free(rig);
}

struct first_work {
    struct rig *rig;
    int count;
    uint32_t had;
};

static struct first_work *first_work;

static void on_first_work(void *ctx)
{
    CHECK(ctx == first_work->rig);
    first_work->count++;
    struct worker_stats stats = worker_stats(first_work->rig->worker);
    first_work->had = stats.running + stats.queued + stats.parked;
}

TEST(who_watches_hears_of_the_first_request_before_the_engine)
{
    struct rig *rig = rig_new();
    struct first_work seen = {.rig = rig};
    first_work = &seen;
    rig->options.on_first_work = on_first_work;
    rig_start_ready(rig);
    CHECK_EQ(seen.count, 0);
    for (int i = 0; i < 2; i++) {
        struct request request = rig_request();
        rig_until_ended(rig_ask(rig, i, &request));
        CHECK_EQ(seen.count, 1);
        CHECK_EQ(seen.had, 1);
    }
    rig_free(rig);
}

TEST(an_engine_that_fails_ends_what_has_begun_and_hands_back_the_rest)
{
    struct rig *rig = rig_new();
    rig->engine.fail_at = 5;
    rig->engine.delay_us = 1 * MS;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request requests[4];
    for (size_t i = 0; i < 3; i++) {
        requests[i] = raw_request(raw);
        raw_submit(raw, &requests[i]);
    }
    rig_until(rig, has_failed, rig);
    CHECK_EQ(rig->failed_why, ERR_SYSTEM);
    CHECK_STR(rig->failed_note, "the engine failed");
    rig_until(rig, is_said_to_have_failed, rig);
    rig_turns(rig);
    CHECK_EQ(raw->ends, 1);
    CHECK_STR(fault_name(raw->fault), "worker_lost");
    CHECK_STR(raw->message, "the engine failed");
    CHECK_EQ(raw->unknown, 2);
    uint32_t tokens = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct rig_released *released =
            manager_rig_released(rig->manager, request_stream(&requests[i]), 1);
        CHECK(released);
        tokens += released->what.tokens;
    }
    CHECK_EQ(tokens, 4);
    CHECK_EQ(rig->manager->load.slots, 0);
    requests[3] = raw_request(raw);
    raw_submit(raw, &requests[3]);
    rig_turns(rig);
    CHECK_EQ(raw->unknown, 3);
    CHECK_EQ(worker_stats(rig->worker).handed_back, 3);
    raw_close(raw);
    rig_free(rig);
}

TEST(who_asks_after_a_stream_that_was_handed_back_hears_that_it_is_not_here)
{
    struct rig *rig = rig_new();
    rig->engine.fail_at = 1;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_unknown, raw);
    CHECK_EQ(raw->ends, 0);
    raw->unknown = 0;
    raw_credit(raw, &request, 0, true);
    rig_until(rig, raw_has_unknown, raw);
    raw->unknown = 0;
    raw_cancel(raw, &request);
    rig_until(rig, raw_has_unknown, raw);
    raw_close(raw);
    rig_free(rig);
}

/* --- stopping --- */

TEST(a_draining_worker_finishes_what_runs_and_takes_nothing_more)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 2;
    rig->engine.delay_us = 5 * MS;
    rig_start_ready(rig);
    struct answer *running = rig_occupy(rig, 0);
    rig_stop(rig, 60000);
    rig_until(rig, is_said_to_drain, rig);
    CHECK_EQ(rig->manager->load.slots, 2);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_unknown, raw);
    CHECK_EQ(raw->others, 0);
    CHECK(!running->has_ended);
    rig_until_ended(running);
    rig_check_whole(running);
    rig_until_stopped(rig);
    raw_close(raw);
    rig_free(rig);
}

TEST(when_the_drain_is_over_what_has_begun_fails_and_the_rest_is_handed_back)
{
    for (uint32_t drain_ms = 0; drain_ms <= 50; drain_ms += 50) {
        struct rig *rig = rig_start_stalling();
        struct answer *running = rig_occupy(rig, 0);
        struct raw *raw = raw_open(rig);
        struct request request = raw_request(raw);
        raw_submit(raw, &request);
        rig_until(rig, raw_is_accepted, raw);
        rig_stop(rig, drain_ms);
        rig_until_stopped(rig);
        rig_until_ended(running);
        rig_check_error(running, FAULT_DRAINING);
        rig_turns(rig);
        CHECK_EQ(raw->unknown, 1);
        CHECK_EQ(raw->ends, 0);
        CHECK(manager_rig_released(rig->manager, request_stream(&request), 1));
        raw_close(raw);
        rig_free(rig);
    }
}

TEST(a_prompt_that_is_still_being_put_in_is_handed_back_when_the_drain_is_over)
{
    struct rig *rig = rig_new();
    rig->engine.prefill_us_per_token = 60000 * MS;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    while (worker_stats(rig->worker).running == 0)
        loop_turn(rig->loop, true);
    rig_stop(rig, 0);
    rig_until_stopped(rig);
    rig_turns(rig);
    CHECK_EQ(raw->unknown, 1);
    CHECK_EQ(raw->ends, 0);
    raw_close(raw);
    rig_free(rig);
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

TEST(a_model_name_that_is_empty_or_too_long_is_refused)
{
    char name[WORKER_MODEL_MAX_BYTES + 2];
    struct worker *worker = NULL;
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->options.model = "";
    CHECK_ERR(worker_start(rig->asker_bus, &rig->options, NULL, NULL, NULL, &worker), ERR_LIMIT);
    memset(name, 'm', sizeof(name));
    name[WORKER_MODEL_MAX_BYTES + 1] = '\0';
    rig->options.model = name;
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
    rig->ask.silence_ms = 2000; /* four heartbeats */
    rig->ask.reruns_max = 0;
    atomic_store(&hangs, true);
    rig_start_ready(rig);
    rig->worker->pace.stuck_ms = 100;
    rig->manager->is_blind = true;
    struct request request = rig_request();
    struct answer *stuck = rig_ask(rig, 0, &request);
    while (worker_stats(rig->worker).running == 0)
        loop_turn(rig->loop, true);
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

TEST(a_stalled_engine_shows_as_stuck_until_it_has_nothing_to_do)
{
    struct rig *rig = rig_start_stalling();
    rig->worker->pace.beat_ms = 20; /* to look often */
    CHECK_EQ(worker_stuck_ms(rig->worker), 0);
    struct answer *answer = rig_occupy(rig, 0);
    while (worker_stuck_ms(rig->worker) < 100)
        loop_turn(rig->loop, true);
    ask_cancel(answer->ask);
    rig_until_ended(answer);
    rig_until_idle(rig);
    while (worker_stuck_ms(rig->worker) != 0) /* as soon as the thread rests */
        loop_turn(rig->loop, true);
    rig_free(rig);
}

/* A batch of a second, then a prompt of a second: both get on. */
TEST(a_slow_engine_is_not_stuck)
{
    for (int i = 0; i < 2; i++) {
        struct rig *rig = rig_new();
        rig->engine.delay_us = i == 0 ? 1000 * MS : 0;
        rig->engine.prefill_us_per_token = i == 1 ? 250 * MS : 0;
        rig_start_ready(rig);
        rig->worker->pace.beat_ms = 20;
        struct request request = rig_request();
        request.prompt = SLICE("four");
        request.max_tokens = 2;
        struct answer *answer = rig_ask(rig, 0, &request);
        while (!answer->has_ended) {
            CHECK(worker_stuck_ms(rig->worker) < 800);
            loop_turn(rig->loop, true);
        }
        CHECK_EQ(answer->reason, DONE_LENGTH);
        rig_free(rig);
    }
}
