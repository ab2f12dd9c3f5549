/* worker_load_test - a worker and its managers: what it tells them, what it takes from them. */
#include "testing/test.h"
#include "worker/asker_rig.h"
#include "worker/worker_impl.h"

#include "base/clock.h"

#include <unistd.h>

enum { MS = 1000 };

static const struct rig_listed *listed(const struct rig *rig, const struct request *request)
{
    return manager_rig_listed(rig->manager, request_stream(request));
}

static const struct rig_released *released(const struct rig *rig, const struct request *request)
{
    return manager_rig_released(rig->manager, request_stream(request), request->epoch);
}

static struct request submit(struct raw *raw)
{
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    return request;
}

static void until_running(struct rig *rig, uint32_t count)
{
    while (worker_stats(rig->worker).running != count)
        loop_turn(rig->loop, true);
}

static void until_next_list(struct rig *rig)
{
    size_t lists = rig->manager->list_count;
    while (rig->manager->list_count == lists)
        loop_turn(rig->loop, true);
}

static bool has_heard(void *manager)
{
    return ((struct manager_rig *)manager)->list_count > 0;
}

static void replace_manager(struct rig *rig)
{
    rig_replace_manager(rig);
    rig_until(rig, has_heard, rig->manager);
}

/* --- room --- */

TEST(room_is_what_is_left_of_the_slots_and_never_less_than_none)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 3;
    rig->engine.stall_at = 3;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    CHECK_EQ(rig->manager->load.slots, 3);
    CHECK_EQ(rig->manager->load.room, 3);
    struct request requests[5];
    for (uint32_t i = 0; i < 5; i++) {
        requests[i] = submit(raw);
        rig_turns(rig); /* manager_rig checks that it is told of the number, */
        CHECK_EQ(rig->manager->seen, i + 1);
        CHECK_EQ(rig->manager->load.room, i < 2 ? 2 - i : 0); /* and of the room at once */
        CHECK_EQ(rig->manager->load.running + rig->manager->load.waiting, i + 1);
    }
    while (rig->manager->load.running != 3)
        loop_turn(rig->loop, true);
    CHECK_EQ(rig->manager->load.waiting, 2);
    for (int i = 0; i < 5; i++)
        raw_cancel(raw, &requests[i]);
    rig_until_idle(rig);
    CHECK_EQ(rig->manager->load.room, 3);
    CHECK_EQ(rig->manager->load.running + rig->manager->load.waiting, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(what_has_ended_is_released_with_its_tokens_and_the_time_it_kept_a_slot)
{
    struct rig *rig = rig_new();
    rig->engine.delay_us = 1 * MS;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request runs = submit(raw);
    until_running(rig, 1); /* the pool keeps no order */
    struct request waits = submit(raw);
    raw_cancel(raw, &waits);
    rig_until_idle(rig);
    CHECK(released(rig, &runs) && released(rig, &waits));
    CHECK_EQ(released(rig, &runs)->what.tokens, 20);
    CHECK(released(rig, &runs)->what.kept_us >= 19 * MS);
    CHECK_EQ(released(rig, &waits)->what.tokens, 0);
    CHECK_EQ(released(rig, &waits)->what.kept_us, 0);
    CHECK_EQ(rig->manager->released_count, 2);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_parked_stream_is_told_as_one)
{
    struct rig *rig = rig_new();
    rig->ask.credit_events = 4;
    rig_start_ready(rig);
    rig->worker->pace.load_ms = 20;
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    answer->reads = false;
    while (rig->manager->load.parked != 1)
        loop_turn(rig->loop, true);
    until_next_list(rig);
    CHECK_EQ(listed(rig, &request)->held.state, HELD_PARKED);
    CHECK(listed(rig, &request)->held.tokens > 0);
    rig_read_on(answer);
    rig_until_ended(answer);
    rig_check_whole(answer);
    rig_free(rig);
}

/* --- lists --- */

TEST(a_manager_that_was_not_known_is_told_everything_of_every_stream)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    request.tenant = SLICE("acme");
    request.session = SLICE("s-1");
    request.label = SLICE("theirs");
    request.arrival_ms = 1700000000123;
    raw_submit(raw, &request);
    until_running(rig, 1);
    struct request waits = submit(raw);
    while (rig->worker->preparing || worker_stats(rig->worker).queued != 1)
        loop_turn(rig->loop, true);
    while (raw->high_seq < 4) /* accepted, started, two deltas; then it stalls */
        loop_turn(rig->loop, true);
    replace_manager(rig);
    CHECK_EQ(rig->manager->seen, 0);
    CHECK_EQ(rig->manager->listed, 2);
    const struct rig_listed *taken = listed(rig, &request);
    CHECK(taken && taken->is_taken);
    CHECK_EQ(taken->held.state, HELD_RUNNING);
    CHECK_EQ(taken->held.tokens, 2);
    CHECK_STR(taken->tenant, "acme");
    CHECK_STR(taken->session, "s-1");
    CHECK_STR(taken->label, "theirs");
    CHECK_SLICES(slice_str(taken->inbox), bus_inbox(raw->bus));
    CHECK_EQ(taken->arrival_ms, 1700000000123);
    CHECK(listed(rig, &waits)->is_taken);
    CHECK_EQ(listed(rig, &waits)->held.state, HELD_WAITING);
    raw_close(raw);
    rig_free(rig);
}

TEST(lists_come_again_with_names_only_of_what_the_manager_did_not_assign)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 2;
    rig->engine.stall_at = 3;
    rig_start_ready(rig);
    rig->worker->pace.load_ms = 20;
    struct raw *raw = raw_open(rig);
    struct request before = submit(raw);
    until_running(rig, 1);
    until_next_list(rig);
    CHECK(!listed(rig, &before)->is_taken);
    replace_manager(rig);
    struct request after = submit(raw);
    for (int i = 0; i < 3; i++) {
        until_next_list(rig);
        until_running(rig, 2);
    }
    CHECK_EQ(rig->manager->listed, 2);
    CHECK(listed(rig, &before)->is_taken);
    CHECK(!listed(rig, &after)->is_taken);
    CHECK_EQ(rig->manager->seen, 1);
    raw_close(raw);
    rig_free(rig);
}

TEST(what_a_lost_report_did_not_say_the_next_list_does)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->worker->pace.load_ms = 20;
    struct raw *raw = raw_open(rig);
    rig->manager->is_deaf = true;
    struct request request = submit(raw);
    rig_until(rig, raw_has_end, raw);
    CHECK(!released(rig, &request));
    CHECK_EQ(rig->manager->seen, 0);
    rig->manager->is_deaf = false;
    until_next_list(rig);
    CHECK_EQ(rig->manager->seen, 1);
    CHECK_EQ(rig->manager->listed, 0);
    CHECK_EQ(rig->manager->load.room, 1);
    raw_close(raw);
    rig_free(rig);
}

TEST(after_a_pause_of_its_own_a_worker_registers_anew)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request request = submit(raw);
    until_running(rig, 1);
    rig->worker->beaten_us = 0; /* the last beat was long ago */
    while (!listed(rig, &request) || !listed(rig, &request)->is_taken)
        loop_turn(rig->loop, true);
    CHECK_EQ(rig->manager->seen, 1);
    raw_close(raw);
    rig_free(rig);
}

/* --- on the pool --- */

static atomic_bool pool_hangs; /* read by its threads */
static const struct engine_ops *real_ops;

static enum err hanging_tokenize(struct engine *engine, struct slice text, bool add_special,
                                 bool parse_special, token_id *out_tokens, size_t max_tokens,
                                 size_t *out_count)
{
    while (atomic_load(&pool_hangs))
        usleep(1000); /* the pool's thread, not the test's */
    return real_ops->tokenize(engine, text, add_special, parse_special, out_tokens, max_tokens,
                              out_count);
}

static enum err open_hanging(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                             struct engine **out_engine, struct err_note *out_note)
{
    static struct engine_ops ops;
    const struct rig *rig = ctx;
    TRY(engine_dummy_open(&rig->engine, on_progress, progress_ctx, out_engine, out_note));
    real_ops = (*out_engine)->ops;
    ops = *real_ops;
    ops.tokenize = hanging_tokenize;
    (*out_engine)->ops = &ops;
    return ERR_OK;
}

/* Too long to be prepared in line. */
static struct request submit_long(struct raw *raw)
{
    static char prompt[WORKER_IN_LINE_BYTES_MAX];
    struct request request = raw_request(raw);
    memset(prompt, 'p', sizeof(prompt));
    request.prompt = slice_of(prompt, sizeof(prompt));
    raw_submit(raw, &request);
    return request;
}

TEST(what_is_being_prepared_counts_as_waiting_and_takes_room)
{
    struct rig *rig = rig_new();
    rig->options.open_engine = open_hanging;
    rig->engine.slots = 2;
    rig->engine.context_tokens = 2 * WORKER_IN_LINE_BYTES_MAX;
    atomic_store(&pool_hangs, true);
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request stays = submit_long(raw), leaves = submit_long(raw);
    rig_turns(rig);
    CHECK_EQ(rig->manager->load.waiting, 2);
    CHECK_EQ(rig->manager->load.room, 0);
    raw_cancel(raw, &leaves);
    replace_manager(rig);
    CHECK_EQ(rig->manager->listed, 1);
    CHECK_EQ(listed(rig, &stays)->held.state, HELD_WAITING);
    CHECK_EQ(rig->manager->load.room, 1);
    atomic_store(&pool_hangs, false);
    rig_until_idle(rig);
    CHECK_EQ(raw->ends, 2);
    CHECK_EQ(worker_stats(rig->worker).done, 1);
    raw_close(raw);
    rig_free(rig);
}

/* --- more than one manager --- */

TEST(each_manager_has_its_own_numbers_and_the_last_one_heard_is_told)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 4;
    rig->engine.stall_at = 3;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct manager_rig *first = rig->manager;
    for (int i = 0; i < 2; i++)
        (void)submit(raw);
    rig_turns(rig);
    CHECK_EQ(first->seen, 2);
    size_t told = first->load_count;

    rig->manager = manager_rig_open(bus_mem_open(rig->bus_mem, rig->loop));
    rig_turns(rig);
    CHECK_EQ(rig->manager->listed, 2);
    CHECK_EQ(rig->manager->seen, 0);
    struct request late = raw_request(raw);
    manager_rig_assign(first, &late); /* it does not know that it is not heard any more */
    struct request ours = submit(raw);
    rig_turns(rig);
    CHECK_EQ(rig->manager->seen, 1);
    CHECK_EQ(rig->manager->load.running + rig->manager->load.waiting, 4);
    CHECK_EQ(first->load_count, told);
    rig->worker->pace.load_ms = 20;
    until_next_list(rig);
    until_next_list(rig);
    CHECK(listed(rig, &late)->is_taken);
    CHECK(!listed(rig, &ours)->is_taken);

    manager_rig_broadcast(first);
    rig_turns(rig);
    CHECK_EQ(first->seen, 3); /* its numbers are remembered */
    CHECK_EQ(first->listed, 4);
    manager_rig_close(&first);
    raw_close(raw);
    rig_free(rig);
}

TEST(many_managers_one_after_the_other_are_forgotten_the_first_one_first)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    (void)submit(raw);
    rig_turns(rig);
    uint32_t first_id = rig->worker->manager->id;
    for (int i = 0; i < 2 * WORKER_MANAGERS_MAX; i++) {
        replace_manager(rig);
        CHECK_EQ(rig->manager->listed, 1);
    }
    for (int i = 0; i < WORKER_MANAGERS_MAX; i++)
        CHECK(rig->worker->managers[i].id > first_id);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_manager_that_is_gone_is_told_nothing_until_one_speaks)
{
    struct rig *rig = rig_new();
    rig->engine.delay_us = 2 * MS;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    (void)submit(raw);
    until_running(rig, 1);
    manager_rig_close(&rig->manager);
    rig_until(rig, raw_has_end, raw); /* it does not notice */
    while (rig->worker->manager)      /* what it is told comes back */
        loop_turn(rig->loop, true);
    CHECK_EQ(rig->worker->released_count, 0);
    CHECK(!deadline_is_armed(&rig->worker->load_due));
    replace_manager(rig);
    CHECK_EQ(rig->manager->load.room, 1);
    CHECK_EQ(rig->manager->listed, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_report_that_comes_back_from_one_who_lives_changes_nothing)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct worker *worker = rig->worker;
    struct bus_message message = {.subject = bus_inbox(rig->manager->bus)};
    worker_load_bounced(worker, &message, ERR_FULL);
    worker_load_bounced(worker, &message, ERR_AGAIN);
    CHECK(worker->manager);
    message.subject = SLICE("somebody.else");
    worker_load_bounced(worker, &message, ERR_CLOSED);
    CHECK(worker->manager);
    message.subject = bus_inbox(rig->manager->bus);
    worker_load_bounced(worker, &message, ERR_NOT_FOUND);
    CHECK(!worker->manager);
    rig_free(rig);
}

TEST(streams_do_not_notice_that_managers_come_and_go)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 4;
    rig->engine.tokens = 200;
    rig->engine.delay_us = 1 * MS;
    rig_start_ready(rig);
    for (int i = 0; i < 4; i++)
        rig_occupy(rig, i);
    while (!rig->answers[0].has_ended) {
        replace_manager(rig);
        loop_turn(rig->loop, true);
    }
    for (int i = 0; i < 4; i++) {
        rig_until_ended(&rig->answers[i]);
        rig_check_whole(&rig->answers[i]);
    }
    rig_until_idle(rig);
    rig_free(rig);
}

/* --- assignments --- */

TEST(an_assignment_that_came_before_is_counted_and_not_run_again)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request request = submit(raw);
    until_running(rig, 1);
    raw_submit(raw, &request);
    rig_turns(rig);
    CHECK_EQ(rig->manager->seen, 2);
    CHECK_EQ(rig->manager->load.running, 1);
    CHECK_EQ(rig->manager->load.waiting, 0);
    CHECK_EQ(raw->accepted, 2); /* what is not acknowledged came again */
    CHECK(!released(rig, &request));
    raw_cancel(raw, &request);
    rig_until_idle(rig);
    CHECK_EQ(rig->manager->released_count, 1);
    raw_submit(raw, &request); /* the release was lost, perhaps */
    rig_turns(rig);
    CHECK_EQ(rig->manager->released_count, 2);
    CHECK_EQ(worker_stats(rig->worker).accepted, 1);
    raw_close(raw);
    rig_free(rig);
}

TEST(of_an_epoch_that_was_given_up_an_assignment_is_released_at_once)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    request.epoch = 3;
    raw_submit(raw, &request);
    until_running(rig, 1);
    request.epoch = 2;
    raw_submit(raw, &request);
    rig_turns(rig);
    CHECK(released(rig, &request));
    CHECK_EQ(worker_stats(rig->worker).accepted, 1);
    raw_close(raw);
    rig_free(rig);
}

TEST(two_requests_with_one_handle_are_not_both_here)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request request = submit(raw);
    until_running(rig, 1);
    request.id.high++;
    request.epoch = 2;
    raw_submit(raw, &request);
    rig_until(rig, raw_has_unknown, raw);
    rig_turns(rig);
    CHECK(released(rig, &request));
    CHECK_EQ(worker_stats(rig->worker).running, 1);
    CHECK_EQ(worker_stats(rig->worker).cancelled, 0);
    raw_close(raw);
    rig_free(rig);
}

/* From a manager that was never heard, or from nobody: it has a number, but not one of ours. */
TEST(an_assignment_of_an_unknown_manager_runs_and_does_not_count_as_ours)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request requests[2] = {raw_request(raw), raw_request(raw)};
    for (int i = 0; i < 2; i++) {
        struct text payload, frame;
        struct wire_writer writer;
        text_init(&payload, 1 << 16);
        text_init(&frame, 1 << 16);
        request_encode(&requests[i], &payload);
        wire_begin(&writer, &frame, WIRE_CONTROL);
        wire_add(&writer, &(struct wire_record){.stream = request_stream(&requests[i]),
                                                .seq = 77,
                                                .epoch = 1,
                                                .type = WIRE_SUBMIT,
                                                .payload = text_slice(&payload)});
        CHECK_OK(wire_finish(&writer));
        CHECK_OK(bus_publish(raw->bus, bus_inbox(rig->worker_bus),
                             i == 0 ? bus_inbox(raw->bus) : (struct slice){0}, text_slice(&frame)));
        text_fini(&payload);
        text_fini(&frame);
    }
    until_running(rig, 1);
    rig->worker->pace.load_ms = 20;
    until_next_list(rig);
    until_next_list(rig);
    CHECK_EQ(rig->manager->seen, 0);
    CHECK_EQ(rig->manager->listed, 2);
    CHECK(listed(rig, &requests[0])->is_taken);
    CHECK(listed(rig, &requests[1])->is_taken);
    raw_close(raw);
    rig_free(rig);
}

/* --- time in the queue --- */

TEST(the_time_in_the_queue_counts_from_the_arrival_as_far_as_clocks_can_be_believed)
{
    static const struct {
        int64_t ago_ms;
        uint64_t min_us, max_us;
    } cases[] = {
        {5000, 5000000, 15000000},
        {-60000, 0, 10000000},                    /* our clock is behind */
        {(int64_t)48 * 3600 * 1000, 0, 10000000}, /* or far ahead */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rig *rig = rig_new();
        rig_start_ready(rig);
        struct raw *raw = raw_open(rig);
        struct request request = raw_request(raw);
        request.arrival_ms = clock_wall_ms() - cases[i].ago_ms;
        raw_submit(raw, &request);
        rig_until(rig, raw_has_end, raw);
        CHECK(raw->queue_us >= cases[i].min_us);
        CHECK(raw->queue_us < cases[i].max_us);
        raw_close(raw);
        rig_free(rig);
    }
}

/* --- what is counted --- */

static double count(struct metrics *metrics, enum metric_kind kind, const char *name,
                    const char *labels)
{
    return metric_value(metrics_get(metrics, kind, name, "", labels));
}

TEST(what_a_worker_does_is_counted)
{
    static const char model[] = "model=\"dummy\"";
    struct metrics *metrics = metrics_new();
    struct rig *rig = rig_new();
    rig->engine.slots = 2;
    rig->engine.delay_us = 1 * MS;
    rig->options.metrics = metrics;
    rig_start_ready(rig);
    CHECK_EQ(count(metrics, METRIC_GAUGE, "millrace_slots", model), 2);
    struct request request = rig_request();
    rig_until_ended(rig_ask(rig, 0, &request));
    request = rig_request();
    request.max_tokens = 3;
    rig_until_ended(rig_ask(rig, 1, &request));
    struct answer *cancelled = rig_occupy(rig, 2);
    CHECK_EQ(count(metrics, METRIC_GAUGE, "millrace_slots_busy", model), 1);
    ask_cancel(cancelled->ask);
    rig_until_ended(cancelled);
    rig_until_idle(rig);
    CHECK_EQ(count(metrics, METRIC_GAUGE, "millrace_slots_busy", model), 0);
    CHECK_EQ(count(metrics, METRIC_GAUGE, "millrace_parked", model), 0);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_tokens_total", model),
             worker_stats(rig->worker).tokens);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_prompt_tokens_total", model), 3 * 6);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_cached_tokens_total", model), 0);
    CHECK_EQ(count(metrics, METRIC_HISTOGRAM, "millrace_prefill_seconds", model), 3);
    CHECK_EQ(count(metrics, METRIC_HISTOGRAM, "millrace_cancel_seconds", model), 1);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_requests_finished_total",
                   "model=\"dummy\",end=\"eos\""),
             1);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_requests_finished_total",
                   "model=\"dummy\",end=\"length\""),
             1);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_requests_finished_total",
                   "model=\"dummy\",end=\"cancelled\""),
             1);
    rig_free(rig);
    metrics_free(metrics);
}

static void check_numerics(struct metrics *metrics, double exact, double compatible, double unknown)
{
    static const char name[] = "millrace_numerics_nodes";
    CHECK_EQ(count(metrics, METRIC_GAUGE, name, "model=\"dummy\",determinism=\"exact\""), exact);
    CHECK_EQ(count(metrics, METRIC_GAUGE, name, "model=\"dummy\",determinism=\"compatible\""),
             compatible);
    CHECK_EQ(count(metrics, METRIC_GAUGE, name, "model=\"dummy\",determinism=\"unknown\""),
             unknown);
}

/* Who leaves is asked for nothing more, so what it could promise does not matter. */
TEST(a_worker_is_counted_under_what_its_self_test_found_while_it_is_ready)
{
    struct metrics *metrics = metrics_new();
    struct rig *rig = rig_new();
    rig->options.metrics = metrics;
    rig->options.profile = "exact";
    rig->engine.delay_us = 1 * MS;
    rig->engine.load_ms = 20;
    rig_start(rig);
    check_numerics(metrics, 0, 0, 0);
    rig_until_idle(rig);
    check_numerics(metrics, 0, 0, 1);
    rig->worker->selftest.determinism = NODE_EXACT;
    worker_state_changed(rig->worker);
    check_numerics(metrics, 1, 0, 0);
    (void)rig_occupy(rig, 0);
    rig_stop(rig, 60 * 1000);
    check_numerics(metrics, 0, 0, 0);
    rig_until_stopped(rig);
    rig_free(rig);
    metrics_free(metrics);
}

TEST(what_was_there_already_is_told_and_counted)
{
    static const char model[] = "model=\"dummy\"";
    struct metrics *metrics = metrics_new();
    struct rig *rig = rig_new();
    rig->options.metrics = metrics;
    rig->options.core.prefix_bytes_max = 1 << 20;
    rig_start_ready(rig);
    for (int i = 0; i < 3; i++) {
        struct request request = rig_request();
        request.max_tokens = 1; /* more would be a loss to be thought about (prefix_tree.h) */
        struct answer *answer = rig_ask(rig, i, &request);
        rig_until_ended(answer);
        CHECK_EQ(answer->cached_tokens, i == 0 ? 0 : 5);
    }
    rig_until_idle(rig);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_prompt_tokens_total", model), 3 * 6);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_cached_tokens_total", model), 2 * 5);
    CHECK_EQ(count(metrics, METRIC_COUNTER, "millrace_prefix_hits_total", model), 2);
    CHECK_EQ(count(metrics, METRIC_GAUGE, "millrace_prefix_cache_bytes", model), 0);
    rig_free(rig);
    metrics_free(metrics);
}
