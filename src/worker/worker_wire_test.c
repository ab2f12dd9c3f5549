/* worker_wire_test - a worker and what is said to it: repeated, lost, late, wrong, withheld. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/asker_rig.h"
#include "worker/worker_impl.h"

#include <stdio.h>

enum { MS = 1000 };

TEST(an_asker_that_dies_frees_its_slots_and_its_places)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    request.id = id_new();
    raw_submit(raw, &request);
    rig_until(rig, raw_is_accepted, raw);
    while (worker_stats(rig->worker).running != 1 || worker_stats(rig->worker).queued != 1)
        loop_turn(rig->loop, true);
    raw_close(raw);
    rig_until_idle(rig); /* the next heartbeat bounces, if no event does */
    CHECK_EQ(worker_stats(rig->worker).cancelled, 2);
    rig_free(rig);
}

TEST(a_repeated_submit_runs_once_and_brings_back_what_is_not_acknowledged)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    for (int i = 0; i < 3; i++)
        raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).accepted, 1);
    CHECK_EQ(worker_stats(rig->worker).done, 1);
    uint64_t events = raw->high_seq;

    raw->ends = raw->others = 0; /* it has ended, and its end is not acknowledged */
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    CHECK_EQ(raw->others, events);

    raw->ends = raw->others = 0;
    raw_credit(raw, &request, events, false);
    rig_turns(rig);
    raw_submit(raw, &request); /* came late: everybody knows the end */
    rig_turns(rig);
    CHECK_EQ(raw->others, 0);
    CHECK_EQ(worker_stats(rig->worker).accepted, 1);
    raw_close(raw);
    rig_free(rig);
}

TEST(heartbeats_go_on_until_the_end_is_acknowledged)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    raw->heartbeats = 0;
    rig_until(rig, raw_has_heartbeat, raw);
    raw->ends = 0;
    raw_credit(raw, &request, raw->high_seq - 1, true);
    rig_until(rig, raw_has_end, raw);
    raw_credit(raw, &request, raw->high_seq, false);
    rig_turns(rig);
    raw->heartbeats = 0;
    size_t states = rig->state_count;
    while (rig->state_count < states + 2) /* two seconds */
        loop_turn(rig->loop, true);
    CHECK_EQ(raw->heartbeats, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_later_epoch_takes_the_place_of_an_earlier_one)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    while (worker_stats(rig->worker).running != 1)
        loop_turn(rig->loop, true);
    request.epoch = 3;
    raw_submit(raw, &request);
    while (worker_stats(rig->worker).cancelled != 1)
        loop_turn(rig->loop, true);
    request.epoch = 2; /* came late */
    raw_submit(raw, &request);
    rig_turns(rig);
    CHECK_EQ(worker_stats(rig->worker).accepted, 2);
    CHECK_EQ(raw->ends, 0);
    request.epoch = 3;
    raw_cancel(raw, &request);
    rig_until(rig, raw_has_end, raw);
    rig_until_idle(rig);
    raw_close(raw);
    rig_free(rig);
}

/* The manager may not have heard yet what the self-test found. */
TEST(an_answer_that_was_begun_with_other_numerics_is_not_gone_on_with)
{
    static const char mine[] = "0123456789abcdef0123456789abcdef";
    static const struct {
        const char *mine, *theirs;
        uint32_t adapters;
        size_t refused;
    } cases[] = {{mine, "0123456789abcdef0123456789abcdee", 0, 1},
                 {mine, mine, 0, 0},
                 {mine, "", 0, 0},
                 {"", mine, 0, 0},
                 {mine, mine, 1, 0},
                 {"", mine, 1, 1}}; /* of which files? */
    static const struct engine_adapter adapter = {.name = "sql"};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct rig *rig = rig_new();
        rig_start_ready(rig);
        struct raw *raw = raw_open(rig);
        struct request request = raw_request(raw);
        snprintf(rig->worker->selftest.fingerprint, sizeof(mine), "%s", cases[i].mine);
        rig->worker->engine->info.adapters = &adapter;
        rig->worker->engine->info.adapter_count = cases[i].adapters;
        request.epoch = 2;
        request.continue_from.numerics = slice_str(cases[i].theirs);
        raw_submit(raw, &request);
        rig_until(rig, raw_has_end, raw);
        rig_until_idle(rig);
        CHECK_EQ(worker_stats(rig->worker).refused, cases[i].refused);
        CHECK_EQ(worker_stats(rig->worker).done, 1 - cases[i].refused);
        CHECK_EQ(raw->fault == FAULT_WORKER_LOST, cases[i].refused == 1);
        CHECK_EQ(strstr(raw->message, "other numerics") != NULL, cases[i].refused == 1);
        raw_close(raw);
        rig_free(rig);
    }
}

TEST(cancel_and_credit_for_a_stream_that_is_not_here_are_answered)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_credit(raw, &request, 5, false);
    rig_until(rig, raw_has_unknown, raw);
    raw->unknown = 0;
    raw_cancel(raw, &request);
    rig_until(rig, raw_has_unknown, raw);
    raw_close(raw);
    rig_free(rig);
}

/* The bytes of a submit with its head, and a body of our own. */
static void put_submit(struct text *out, const struct request *request, struct slice body)
{
    struct text whole;
    text_init(&whole, 1 << 20);
    text_init(out, 1 << 20);
    request_encode(request, &whole);
    uint32_t head_bytes = (unsigned char)whole.data[0] | (uint32_t)(unsigned char)whole.data[1]
                                                             << 8;
    text_add(out, slice_first(text_slice(&whole), 4 + head_bytes));
    text_add(out, body);
    text_fini(&whole);
}

TEST(a_body_that_cannot_be_read_is_the_fault_of_the_request)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    struct text submit;
    put_submit(&submit, &request, SLICE("{\"prompt\":1}"));
    manager_rig_assign_bytes(rig->manager, request_stream(&request), 1, text_slice(&submit));
    text_fini(&submit);
    rig_until(rig, raw_has_end, raw);
    CHECK_EQ(raw->accepted, 1);
    CHECK_STR(fault_name(raw->fault), "invalid_request");
    CHECK(strstr(raw->message, "prompt"));
    rig_until_idle(rig);
    CHECK(manager_rig_released(rig->manager, request_stream(&request), 1));
    raw_close(raw);
    rig_free(rig);
}

/* Nobody to answer to but the manager. */
TEST(an_assignment_that_cannot_be_read_is_released_and_hurts_nobody)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    struct text submit;
    put_submit(&submit, &request, SLICE("{}"));
    manager_rig_assign_bytes(rig->manager, 90, 1, SLICE(""));
    manager_rig_assign_bytes(rig->manager, 91, 1, SLICE("{\"id\":1}"));
    manager_rig_assign_bytes(rig->manager, 92, 7, text_slice(&submit)); /* another's, */
    manager_rig_assign_bytes(rig->manager, request_stream(&request), 2, text_slice(&submit));
    text_fini(&submit);
    rig_turns(rig);
    CHECK(manager_rig_released(rig->manager, 90, 1));
    CHECK(manager_rig_released(rig->manager, 91, 1));
    CHECK(manager_rig_released(rig->manager, 92, 7));
    CHECK(manager_rig_released(rig->manager, request_stream(&request), 2)); /* another epoch's */
    CHECK_EQ(rig->manager->seen, 4);
    CHECK_EQ(rig->manager->load.room, 1);
    CHECK_EQ(raw->others + raw->unknown, 0);

    for (size_t cut = 0; cut < 100; cut++) {
        char noise[100];
        uint64_t random = cut;
        for (size_t i = 0; i < cut; i++)
            noise[i] = (char)test_random(&random);
        CHECK_OK(bus_publish(raw->bus, SLICE("state.manager"), bus_inbox(raw->bus),
                             slice_of(noise, cut)));
        CHECK_OK(bus_publish(raw->bus, bus_inbox(rig->worker_bus), bus_inbox(raw->bus),
                             slice_of(noise, cut)));
    }
    rig_turns(rig);
    request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    raw_close(raw);
    rig_free(rig);
}

/* As manager_rig_assign(), but nothing of ours is allocated on the way to the bus. */
static void put_assignment(struct text *out, struct rig *rig, const struct request *request)
{
    struct wire_writer writer;
    text_clear(out);
    wire_begin(&writer, out, WIRE_CONTROL);
    wire_open_record(&writer, &(struct wire_record){.stream = request_stream(request),
                                                    .seq = ++rig->manager->number,
                                                    .epoch = request->epoch,
                                                    .type = WIRE_SUBMIT});
    request_encode(request, out);
    wire_close_record(&writer);
    CHECK_OK(wire_finish(&writer));
}

static void hear(void *ctx, const struct bus_message *message)
{
    (void)message;
    (*(size_t *)ctx)++;
}

TEST(an_assignment_for_which_memory_is_missing_leaves_nothing_behind)
{
    enum { PLACES = 200 }; /* where memory may be missing: on the bus, in the head, in the job */
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct bus *asker = bus_mem_open(rig->bus_mem, rig->loop); /* allocates nothing itself */
    struct bus_subscription *inbox;
    struct text frame;
    size_t heard = 0;
    uint64_t made = 0;
    CHECK_OK(bus_subscribe(asker, bus_inbox(asker), (struct slice){0}, hear, &heard, &inbox));
    text_init(&frame, 1 << 20);
    for (uint64_t nth = 1; nth <= PLACES; nth++) {
        struct request request = rig_request();
        request.epoch = 1;
        request.inbox = bus_inbox(asker);
        request.credit_events = 64;
        request.credit_bytes = 65536;
        put_assignment(&frame, rig, &request);
        uint64_t before = mem_peer_count();
        mem_test_fail_nth(nth);
        (void)bus_publish(rig->manager->bus, bus_inbox(rig->worker_bus),
                          bus_inbox(rig->manager->bus), text_slice(&frame)); /* may fail, too */
        (void)loop_turn(rig->loop, false);
        mem_test_fail_nth(0);
        made = mem_peer_count() - before;
        rig_until_idle(rig);
    }
    CHECK(made < PLACES && heard > 0); /* all places were met */
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    text_fini(&frame);
    bus_close(&asker);
    rig_free(rig);
}

TEST(an_asker_that_says_nothing_for_long_is_gone)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    rig->worker->pace.asker_silence_ms = 1400; /* and a heartbeat every 500 */
    struct request silent = raw_request(raw), awake = raw_request(raw);
    raw_submit(raw, &silent);
    raw_submit(raw, &awake);
    while (worker_stats(rig->worker).cancelled == 0) {
        if (raw->heartbeats > 0)
            raw_credit(raw, &awake, 0, false);
        raw->heartbeats = 0;
        loop_turn(rig->loop, true);
    }
    CHECK_EQ(worker_stats(rig->worker).cancelled, 1);
    CHECK_EQ(worker_stats(rig->worker).running + worker_stats(rig->worker).queued, 1);
    CHECK_EQ(raw->ends, 0); /* nobody is told */
    raw_close(raw);
    rig_until_idle(rig);
    rig_free(rig);
}

/* A beat that comes late shows that this process did not run; what was not said meanwhile is
 * nobody's silence. The asker here never says a word. */
TEST(our_own_pause_is_not_the_silence_of_an_asker)
{
    struct rig *rig = rig_start_stalling();
    struct raw *raw = raw_open(rig);
    rig->worker->pace.asker_silence_ms = 0;
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    for (int late_beats = 0; late_beats < 2; late_beats++) {
        rig->worker->beaten_us = 0; /* the last one was long ago */
        raw->heartbeats = 0;
        rig_until(rig, raw_has_heartbeat, raw);
    }
    CHECK_EQ(worker_stats(rig->worker).cancelled, 0);
    while (worker_stats(rig->worker).cancelled == 0) /* at the next beat, which is in time */
        loop_turn(rig->loop, true);
    raw_close(raw);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(only_so_many_ended_requests_are_remembered_the_latest_ones)
{
    struct rig *rig = rig_new();
    struct request requests[6];
    rig_start_ready(rig);
    rig->worker->pace.ended_max = 4;
    struct raw *raw = raw_open(rig);
    for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
        requests[i] = raw_request(raw);
        raw_submit(raw, &requests[i]);
        raw->ends = 0;
        rig_until(rig, raw_has_end, raw);
        rig_until_idle(rig);
    }
    raw_submit(raw, &requests[2]);
    rig_turns(rig);
    CHECK_EQ(worker_stats(rig->worker).accepted, 6);
    raw->ends = 0;
    raw_submit(raw, &requests[1]); /* forgotten: it runs again, and its asker will not want it */
    rig_until(rig, raw_has_end, raw);
    CHECK_EQ(worker_stats(rig->worker).accepted, 7);
    raw_close(raw);
    rig_free(rig);
}

TEST(ended_requests_are_forgotten_after_their_time)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->worker->pace.ended_ms = 100;
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    while (rig->worker->ended_count > 0)
        loop_turn(rig->loop, true);
    CHECK_EQ(map_count(rig->worker->streams), 0);
    raw_close(raw);
    rig_free(rig);
}

/* --- large submits --- */

enum { LARGE_BYTES = 200 * 1024 };

static struct slice large_prompt(void)
{
    static char prompt[LARGE_BYTES];
    memset(prompt, 'a', sizeof(prompt));
    return slice_of(prompt, sizeof(prompt));
}

TEST(a_large_submit_is_answered_like_any_other_and_once)
{
    struct rig *rig = rig_new();
    rig->engine.context_tokens = LARGE_BYTES + 100;
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    request.prompt = large_prompt();
    raw_submit(raw, &request);
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    rig_until_idle(rig);
    CHECK_STR(raw->message, "");
    CHECK_EQ(worker_stats(rig->worker).accepted, 1);
    CHECK_EQ(worker_stats(rig->worker).done, 1);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_large_submit_that_is_cancelled_at_once_does_not_run)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    request.prompt = large_prompt();
    raw_submit(raw, &request);
    raw_cancel(raw, &request);
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(raw->message, "");
    CHECK_EQ(worker_stats(rig->worker).cancelled, 1);
    CHECK_EQ(worker_stats(rig->worker).tokens, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(more_requests_at_once_than_a_worker_can_have_are_refused)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    rig->worker->living_count += WORKER_LIVING_MAX; /* as if there were */
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(fault_name(raw->fault), "queue_full");
    CHECK_EQ(worker_stats(rig->worker).accepted, 0);
    CHECK_EQ(rig->worker->living_count, WORKER_LIVING_MAX);
    rig->worker->living_count = 0;
    raw_close(raw);
    rig_free(rig);
}

TEST(too_many_bytes_on_the_pool_are_refused)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    request.prompt = large_prompt();
    rig->worker->preparing_bytes = WORKER_PREPARING_BYTES_MAX - LARGE_BYTES; /* as if there were */
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(fault_name(raw->fault), "queue_full");
    CHECK_EQ(rig->worker->preparing, 0);
    CHECK_EQ(rig->worker->preparing_bytes, WORKER_PREPARING_BYTES_MAX - LARGE_BYTES);
    rig->worker->preparing_bytes = 0;
    request = raw_request(raw);
    request.prompt = large_prompt();
    raw->ends = 0;
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(fault_name(raw->fault), "context_length_exceeded");
    CHECK_EQ(rig->worker->preparing_bytes, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_worker_stops_also_while_the_pool_decodes_for_it)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    request.prompt = large_prompt();
    raw_submit(raw, &request);
    while (rig->worker->preparing == 0)
        loop_turn(rig->loop, true);
    rig_stop(rig, 0);
    rig_until_stopped(rig);
    rig_turns(rig);
    CHECK_EQ(raw->ends, 0);
    CHECK_EQ(raw->unknown, 1); /* it may run elsewhere */
    raw_close(raw);
    rig_free(rig);
}

/* --- loss and credit --- */

TEST(nothing_is_lost_or_doubled_when_one_frame_in_three_is_lost)
{
    struct rig *rig = rig_new();
    rig->lose_one_in = 3;
    rig->engine.slots = 4;
    rig->engine.delay_us = 1 * MS;
    rig->ask.repeat_ms = 20;
    rig->ask.silence_ms = 60000;
    rig->ask.submit_ms = 60000;
    rig_start_ready(rig);
    for (int i = 0; i < 40; i++) {
        struct request request = rig_request();
        rig_ask(rig, i, &request);
    }
    for (int i = 0; i < 40; i++) {
        rig_until_ended(&rig->answers[i]);
        rig_check_whole(&rig->answers[i]); /* on_event() checks the numbers */
    }
    CHECK(rig->lost > 20);
    CHECK_EQ(worker_stats(rig->worker).accepted, 40);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(a_reader_that_pauses_parks_its_sequence_and_goes_on_where_it_was)
{
    static const uint32_t credits[] = {1, 2, 3, 8};
    for (size_t i = 0; i < ARRAY_COUNT(credits); i++) {
        struct rig *rig = rig_new();
        rig->engine.slots = 2;
        rig->engine.tokens = 40;
        rig->ask.credit_events = credits[i];
        rig_start_ready(rig);
        struct request request = rig_request();
        request.want_progress = i % 2;
        struct answer *pausing = rig_ask(rig, 0, &request);
        pausing->reads = false;
        while (worker_stats(rig->worker).parked == 0)
            loop_turn(rig->loop, true);
        request = rig_request();
        struct answer *other = rig_ask(rig, 1, &request);
        rig_until_ended(other);
        rig_check_whole(other);
        CHECK(!pausing->has_ended);
        CHECK(pausing->held_events <= credits[i]);
        rig_read_on(pausing);
        rig_until_ended(pausing);
        rig_check_whole(pausing);
        rig_until_idle(rig);
        rig_free(rig);
    }
}

TEST(credit_in_bytes_is_kept_as_well)
{
    struct rig *rig = rig_new();
    rig->engine.tokens = 40;
    rig->ask.credit_bytes = 200;
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    answer->reads = false;
    while (worker_stats(rig->worker).parked == 0)
        loop_turn(rig->loop, true);
    rig_until_first_text(answer);
    CHECK(answer->held_events < 20);
    rig_read_on(answer);
    rig_until_ended(answer);
    rig_check_whole(answer);
    rig_free(rig);
}

TEST(a_parked_request_can_be_cancelled)
{
    struct rig *rig = rig_new();
    rig->ask.credit_events = 2;
    rig_start_ready(rig);
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    answer->reads = false;
    while (worker_stats(rig->worker).parked == 0)
        loop_turn(rig->loop, true);
    ask_cancel(answer->ask);
    rig_until_ended(answer);
    CHECK(!answer->is_error);
    CHECK_EQ(answer->reason, DONE_CANCELLED);
    CHECK(answer->types[answer->event_count - 2] == EVENT_USAGE); /* the worker's end, not ask's */
    rig_until_idle(rig);
    rig_free(rig);
}
