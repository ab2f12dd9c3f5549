/* worker_wire_test - a worker and what is said to it: repeated, lost, late, wrong, withheld. */
#include "testing/test.h"
#include "worker/worker_impl.h"
#include "worker/worker_rig.h"

#include "base/mem.h"
#include "wire/frame.h"

#include <stdio.h>

enum { MS = 1000 };

/* --- askers that are not ours: frames by hand --- */

struct raw {
    struct rig *rig;
    struct bus *bus;
    size_t accepted, ends, unknown, heartbeats, others;
    uint64_t high_seq;
    enum fault fault;
    char message[256];
};

static void on_raw_record(struct raw *raw, const struct wire_record *record)
{
    struct text scratch;
    struct event event;
    text_init(&scratch, 1 << 16);
    if (record->type == WIRE_UNKNOWN_STREAM) {
        raw->unknown++;
    } else if (record->type == WIRE_HEARTBEAT) {
        raw->heartbeats++;
    } else {
        CHECK_OK(event_decode(record, &scratch, &event));
        raw->accepted += event.type == EVENT_ACCEPTED;
        raw->ends += event_is_end(event.type);
        raw->others++;
        if (record->seq > raw->high_seq)
            raw->high_seq = record->seq;
        if (event.type == EVENT_ERROR) {
            raw->fault = event.error.fault;
            snprintf(raw->message, sizeof(raw->message), SLICE_FMT, SLICE_ARG(event.error.message));
        }
    }
    text_fini(&scratch);
}

static void on_raw_frame(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    while (wire_next(&reader, &record) == ERR_OK)
        on_raw_record(ctx, &record);
}

static struct raw *raw_open(struct rig *rig)
{
    struct bus_subscription *until_closed;
    struct raw *raw = mem_alloc(sizeof(*raw));
    raw->rig = rig;
    raw->bus = bus_mem_open(rig->bus_mem, rig->loop);
    CHECK_OK(bus_subscribe(raw->bus, bus_inbox(raw->bus), (struct slice){0}, on_raw_frame, raw,
                           &until_closed));
    return raw;
}

static void raw_close(struct raw *raw)
{
    bus_close(&raw->bus);
    mem_free(raw);
}

static void raw_send(struct raw *raw, struct slice subject, const struct wire_record *record)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, 1 << 20);
    wire_begin(&writer, &frame, WIRE_CONTROL);
    wire_add(&writer, record);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(raw->bus, subject, bus_inbox(raw->bus), text_slice(&frame)));
    text_fini(&frame);
}

static void raw_submit(struct raw *raw, const struct request *request)
{
    struct text payload;
    text_init(&payload, 1 << 20);
    request_encode(request, &payload);
    raw_send(raw, SLICE("submit.dummy"),
             &(struct wire_record){.stream = request_stream(request),
                                   .epoch = request->epoch,
                                   .type = WIRE_SUBMIT,
                                   .payload = text_slice(&payload)});
    text_fini(&payload);
}

static struct request raw_request(const struct raw *raw)
{
    struct request request = rig_request();
    request.epoch = 1;
    request.inbox = bus_inbox(raw->bus);
    request.credit_events = 64;
    request.credit_bytes = 65536;
    return request;
}

static bool raw_has_end(void *ctx)
{
    return ((struct raw *)ctx)->ends > 0;
}

static bool raw_has_unknown(void *ctx)
{
    return ((struct raw *)ctx)->unknown > 0;
}

static bool raw_is_accepted(void *ctx)
{
    return ((struct raw *)ctx)->accepted > 0;
}

static bool raw_has_heartbeat(void *ctx)
{
    return ((struct raw *)ctx)->heartbeats > 0;
}

static void raw_credit(struct raw *raw, const struct request *request, uint64_t acked_seq,
                       bool resend)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, 4096);
    wire_begin(&writer, &frame, WIRE_CONTROL);
    wire_add_credit(&writer, request_stream(request), request->epoch,
                    &(struct wire_credit){acked_seq, 1000, 100000}, resend);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(raw->bus, bus_inbox(raw->rig->worker_bus), bus_inbox(raw->bus),
                         text_slice(&frame)));
    text_fini(&frame);
}

static void turns(struct rig *rig)
{
    while (loop_turn(rig->loop, false))
        ;
}

TEST(an_asker_that_dies_frees_its_slots_and_its_places)
{
    struct rig *rig = rig_start_stalling(4, 60000);
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
    turns(rig);
    raw_submit(raw, &request); /* came late: everybody knows the end */
    turns(rig);
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
    turns(rig);
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
    struct rig *rig = rig_start_stalling(4, 60000);
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
    turns(rig);
    CHECK_EQ(worker_stats(rig->worker).accepted, 2);
    CHECK_EQ(raw->ends, 0);
    raw_send(
        raw, bus_inbox(rig->worker_bus),
        &(struct wire_record){.stream = request_stream(&request), .epoch = 3, .type = WIRE_CANCEL});
    rig_until(rig, raw_has_end, raw);
    rig_until_idle(rig);
    raw_close(raw);
    rig_free(rig);
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
    struct wire_record cancel = {
        .stream = request_stream(&request), .epoch = 1, .type = WIRE_CANCEL};
    raw_send(raw, bus_inbox(rig->worker_bus), &cancel);
    rig_until(rig, raw_has_unknown, raw);
    raw->unknown = 0;
    raw_send(raw, SLICE("submit.dummy"), &cancel); /* another worker may have it */
    turns(rig);
    CHECK_EQ(raw->unknown, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_submit_that_cannot_be_read_is_refused_and_hurts_nobody)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    struct request request = raw_request(raw);
    struct wire_record record = {
        .stream = 99, .epoch = 1, .type = WIRE_SUBMIT, .payload = SLICE("{\"id\":1}")};
    raw_send(raw, SLICE("submit.dummy"), &record);
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(fault_name(raw->fault), "invalid_request");
    CHECK(strstr(raw->message, "id"));

    struct text payload;
    text_init(&payload, 1 << 16);
    request_encode(&request, &payload);
    record.stream = request_stream(&request) + 1; /* lies about whose it is */
    record.payload = text_slice(&payload);
    raw->ends = 0;
    raw_send(raw, SLICE("submit.dummy"), &record);
    rig_until(rig, raw_has_end, raw);
    CHECK(strstr(raw->message, "another"));
    text_fini(&payload);

    for (size_t cut = 0; cut < 100; cut++) {
        char noise[100];
        uint64_t random = cut;
        for (size_t i = 0; i < cut; i++)
            noise[i] = (char)test_random(&random);
        CHECK_OK(bus_publish(raw->bus, SLICE("submit.dummy"), bus_inbox(raw->bus),
                             slice_of(noise, cut)));
        CHECK_OK(bus_publish(raw->bus, bus_inbox(rig->worker_bus), bus_inbox(raw->bus),
                             slice_of(noise, cut)));
    }
    turns(rig);
    request = rig_request();
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_whole(answer);
    raw_close(raw);
    rig_free(rig);
}

TEST(an_asker_that_says_nothing_for_long_is_gone)
{
    struct rig *rig = rig_start_stalling(4, 60000);
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
    struct rig *rig = rig_start_stalling(4, 60000);
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
    turns(rig);
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

/* --- submits too large to be decoded on the loop --- */

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
    raw_send(
        raw, SLICE("submit.dummy"),
        &(struct wire_record){.stream = request_stream(&request), .epoch = 1, .type = WIRE_CANCEL});
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(raw->message, "");
    CHECK_EQ(worker_stats(rig->worker).cancelled, 1);
    CHECK_EQ(worker_stats(rig->worker).accepted, 0);
    raw_close(raw);
    rig_free(rig);
}

TEST(a_large_submit_that_cannot_be_read_is_refused_and_too_many_bytes_at_once_are_lost)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct raw *raw = raw_open(rig);
    raw_send(raw, SLICE("submit.dummy"),
             &(struct wire_record){
                 .stream = 9, .epoch = 1, .type = WIRE_SUBMIT, .payload = large_prompt()});
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(fault_name(raw->fault), "invalid_request");

    size_t taken = rig->worker->decoding_bytes;
    rig->worker->decoding_bytes = SIZE_MAX / 2; /* as if much were on the pool */
    struct request request = raw_request(raw);
    request.prompt = large_prompt();
    raw_submit(raw, &request);
    turns(rig);
    CHECK_EQ(rig->worker->preparing, 0);
    rig->worker->decoding_bytes = taken;
    raw->ends = 0;
    raw_submit(raw, &request);
    rig_until(rig, raw_has_end, raw);
    CHECK_STR(fault_name(raw->fault), "context_length_exceeded");
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
    turns(rig);
    CHECK_EQ(raw->ends, 1);
    CHECK_STR(fault_name(raw->fault), "draining");
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
    rig->options.queue_wait_ms = 60000;
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
