/* asker_rig - see asker_rig.h. */
#include "worker/asker_rig.h"

#include "base/mem.h"
#include "testing/test.h"

#include <stdio.h>

static void on_event(struct raw *raw, const struct wire_record *record)
{
    struct text scratch;
    struct event event;
    text_init(&scratch, 1 << 16);
    CHECK_OK(event_decode(record, &scratch, &event));
    raw->accepted += event.type == EVENT_ACCEPTED;
    raw->ends += event_is_end(event.type);
    raw->others++;
    if (record->seq > raw->high_seq)
        raw->high_seq = record->seq;
    if (event.type == EVENT_USAGE)
        raw->queue_us = event.usage.queue_us;
    if (event.type == EVENT_ERROR) {
        raw->fault = event.error.fault;
        snprintf(raw->message, sizeof(raw->message), SLICE_FMT, SLICE_ARG(event.error.message));
    }
    text_fini(&scratch);
}

static void on_frame(void *ctx, const struct bus_message *message)
{
    struct raw *raw = ctx;
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    while (wire_next(&reader, &record) == ERR_OK) {
        raw->unknown += record.type == WIRE_UNKNOWN_STREAM;
        raw->heartbeats += record.type == WIRE_HEARTBEAT;
        if (record.type >= WIRE_EVENT)
            on_event(raw, &record);
    }
}

struct raw *raw_open(struct rig *rig)
{
    struct bus_subscription *until_closed;
    struct raw *raw = mem_alloc(sizeof(*raw));
    raw->rig = rig;
    raw->bus = bus_mem_open(rig->bus_mem, rig->loop);
    CHECK_OK(bus_subscribe(raw->bus, bus_inbox(raw->bus), (struct slice){0}, on_frame, raw,
                           &until_closed));
    return raw;
}

void raw_close(struct raw *raw)
{
    bus_close(&raw->bus);
    mem_free(raw);
}

void raw_send(struct raw *raw, struct slice subject, const struct wire_record *record)
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

void raw_submit(struct raw *raw, const struct request *request)
{
    manager_rig_assign(raw->rig->manager, request);
}

struct request raw_request(const struct raw *raw)
{
    struct request request = rig_request();
    request.epoch = 1;
    request.inbox = bus_inbox(raw->bus);
    request.credit_events = 64;
    request.credit_bytes = 65536;
    return request;
}

void raw_cancel(struct raw *raw, const struct request *request)
{
    raw_send(raw, bus_inbox(raw->rig->worker_bus),
             &(struct wire_record){
                 .stream = request_stream(request), .epoch = request->epoch, .type = WIRE_CANCEL});
}

void raw_credit(struct raw *raw, const struct request *request, uint64_t acked_seq, bool resend)
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

bool raw_has_end(void *raw)
{
    return ((struct raw *)raw)->ends > 0;
}

bool raw_has_unknown(void *raw)
{
    return ((struct raw *)raw)->unknown > 0;
}

bool raw_is_accepted(void *raw)
{
    return ((struct raw *)raw)->accepted > 0;
}

bool raw_has_heartbeat(void *raw)
{
    return ((struct raw *)raw)->heartbeats > 0;
}
