/* ask - the life of one request: its states, its numbers and its credit. */
#include "ask/ask_impl.h"

#include "base/map.h"
#include "base/mem.h"

enum {
    NOBODY_BOUNCES_MAX = 2,
    US_PER_MS = 1000,
    /* Silence is counted in parts of silence_ms. When this process was stopped and goes on, at most
     * one of them is its own pause: the worker is not blamed for that. */
    SILENCE_PARTS = 5,
};

/* --- states --- */

#define TO(state) (1u << ASK_##state)
static const uint8_t allowed[ASK_STATE_COUNT] = {[ASK_SUBMITTED] =
                                                     TO(RUNNING) | TO(CANCELLING) | TO(ENDED),
                                                 [ASK_RUNNING] = TO(CANCELLING) | TO(ENDED),
                                                 [ASK_CANCELLING] = TO(ENDED),
                                                 [ASK_ENDED] = 0};

static void arm(struct deadline *deadline, uint32_t after_ms)
{
    deadline_after(deadline, (uint64_t)after_ms * US_PER_MS);
}

static void listen_anew(struct ask *ask)
{
    ask->silent_parts = 0;
    arm(&ask->limit, (ask->hub->options.silence_ms + SILENCE_PARTS - 1) / SILENCE_PARTS);
}

static bool events_miss(const struct ask *ask)
{
    return ask->next_seq <= ask->high_seq;
}

static void arm_deadlines(struct ask *ask)
{
    const struct ask_options *options = &ask->hub->options;
    switch (ask->state) {
    case ASK_SUBMITTED:
        arm(&ask->repeat, options->repeat_ms);
        arm(&ask->limit, options->submit_ms);
        return;
    case ASK_RUNNING:
        deadline_clear(&ask->repeat); /* ask_for_resend() arms it */
        listen_anew(ask);
        return;
    case ASK_CANCELLING:
        arm(&ask->repeat, options->repeat_ms);
        arm(&ask->limit, options->cancel_ms);
        return;
    case ASK_ENDED:
    case ASK_STATE_COUNT:
        deadline_clear(&ask->repeat);
        deadline_clear(&ask->limit);
        return;
    }
}

static void forget_submit(struct ask *ask)
{
    mem_free(ask->submit_frame);
    ask->submit_frame = NULL;
}

static void set_state(struct ask *ask, enum ask_state next) /* the only writer of ask->state */
{
    ASSERT_MSG(allowed[ask->state] & (1u << next), "from %d to %d", (int)ask->state, (int)next);
    ask->state = next;
    forget_submit(ask);
    arm_deadlines(ask);
}

/* --- ends --- */

/* Rule 2. `due`: what the worker still has to hear of it. */
static void end(struct ask *ask, const struct event *event, unsigned due)
{
    set_state(ask, ASK_ENDED);
    hub_forget(ask);
    hub_ask_is_due(ask, due);
    ask_event_fn *on_event = ask->on_event;
    ask->on_event = NULL;
    if (on_event)
        on_event(ask->ctx, event);
}

static void end_with_error(struct ask *ask, enum fault fault, const char *message, unsigned due)
{
    if (fault == FAULT_WORKER_LOST)
        ask->hub->stats.lost++;
    struct event event = {.type = EVENT_ERROR, .seq = ask->next_seq};
    event.error.fault = fault;
    event.error.message = slice_str(message);
    end(ask, &event, due);
}

static void end_cancelled(struct ask *ask, unsigned due)
{
    struct event event = {.type = EVENT_DONE, .seq = ask->next_seq};
    event.done.reason = DONE_CANCELLED;
    end(ask, &event, due);
}

/* Whoever had the request has it no more. */
static void on_worker_gone(struct ask *ask, const char *message)
{
    if (ask->state == ASK_CANCELLING)
        end_cancelled(ask, 0);
    else
        end_with_error(ask, FAULT_WORKER_LOST, message, 0);
}

/* --- what is said to the worker --- */

static struct wire_credit credit_now(const struct ask *ask)
{
    const struct ask_options *options = &ask->hub->options;
    return (struct wire_credit){
        .acked_seq = ask->next_seq - 1,
        .seq_limit = ask->consumed_events + options->credit_events,
        .byte_limit = ask->payload_bytes - ask->held_bytes + options->credit_bytes,
    };
}

static bool is_half(uint64_t moved, uint32_t credit)
{
    return moved >= credit / 2 + credit % 2; /* rounded up: never 0 */
}

static void review_credit(struct ask *ask)
{
    struct wire_credit now = credit_now(ask);
    if (is_half(now.seq_limit - ask->granted.seq_limit, ask->hub->options.credit_events) ||
        is_half(now.byte_limit - ask->granted.byte_limit, ask->hub->options.credit_bytes))
        hub_ask_is_due(ask, DUE_CREDIT);
}

void ask_write_due(struct ask *ask, struct wire_writer *writer)
{
    uint64_t stream = ask->id.low;
    bool resend = (ask->due & DUE_RESEND) && events_miss(ask) && ask->state != ASK_ENDED;
    if (ask->due & DUE_CANCEL)
        wire_add(writer,
                 &(struct wire_record){.stream = stream, .epoch = ask->epoch, .type = WIRE_CANCEL});
    if ((ask->due & DUE_CREDIT) || resend) {
        ask->granted = credit_now(ask);
        wire_add_credit(writer, stream, ask->epoch, &ask->granted, resend);
        ask->hub->stats.resends_asked += resend;
    }
    ask->due = 0;
}

/* Once for each missing event, then again every repeat_ms. Before the request is accepted there is
 * nobody to ask: the repeated submit brings everything back. */
static void ask_for_resend(struct ask *ask)
{
    if (ask->control.len == 0 || ask->resend_seq == ask->next_seq)
        return;
    ask->resend_seq = ask->next_seq;
    hub_ask_is_due(ask, DUE_RESEND);
    if (ask->state == ASK_RUNNING)
        arm(&ask->repeat, ask->hub->options.repeat_ms);
}

static void send_cancel(struct ask *ask)
{
    hub_publish_cancel(ask->hub, address_slice(&ask->submit), ask);
    hub_ask_is_due(ask, DUE_CANCEL);
}

/* --- deadlines --- */

static void repeat_submit(struct ask *ask)
{
    ask->hub->stats.repeated_submits++;
    /* A bus that takes nothing now is as good as a lost frame: the next repeat, or submit_ms. */
    (void)hub_publish(ask->hub, address_slice(&ask->submit),
                      slice_of(ask->submit_frame, ask->submit_bytes));
}

static void on_repeat(void *ctx)
{
    struct ask *ask = ctx;
    if (ask->state == ASK_RUNNING && !events_miss(ask))
        return; /* the resend has come: ask_for_resend() arms it for the next gap */
    arm(&ask->repeat, ask->hub->options.repeat_ms);
    if (events_miss(ask))
        hub_ask_is_due(ask, DUE_RESEND);
    if (ask->state == ASK_CANCELLING)
        send_cancel(ask);
    else if (ask->state == ASK_SUBMITTED)
        repeat_submit(ask);
}

static void on_submit_limit(struct ask *ask)
{
    /* It may still lie in a queue: whoever takes it finds the cancel right behind. */
    hub_publish_cancel(ask->hub, address_slice(&ask->submit), ask);
    if (ask->worker_was_full)
        end_with_error(ask, FAULT_QUEUE_FULL, "the worker has no room for more requests", 0);
    else
        end_with_error(ask, FAULT_WORKER_LOST, "no worker took the request in time", 0);
}

static void on_silence(struct ask *ask)
{
    unsigned parts = ask->silent_parts + 1;
    if (parts < SILENCE_PARTS) {
        listen_anew(ask);
        ask->silent_parts = parts;
    } else {
        end_with_error(ask, FAULT_WORKER_LOST, "the worker went silent", DUE_CANCEL);
    }
}

static void on_limit(void *ctx)
{
    struct ask *ask = ctx;
    if (ask->state == ASK_SUBMITTED)
        on_submit_limit(ask);
    else if (ask->state == ASK_CANCELLING)
        end_cancelled(ask, DUE_CANCEL);
    else
        on_silence(ask);
}

/* --- what the worker says --- */

static void on_nonsense(struct ask *ask)
{
    end_with_error(ask, FAULT_INTERNAL_ERROR, "the worker broke the protocol", DUE_CANCEL);
}

static bool take_control(struct ask *ask, struct slice control)
{
    if (control.len == 0 || control.len > sizeof(ask->control.bytes))
        return false;
    memcpy(ask->control.bytes, control.data, control.len);
    ask->control.len = control.len;
    return true;
}

static void on_accepted(struct ask *ask)
{
    if (ask->state == ASK_SUBMITTED)
        set_state(ask, ASK_RUNNING);
    else if (ask->state == ASK_CANCELLING)
        hub_ask_is_due(ask, DUE_CANCEL); /* now straight to it */
}

static void count_delivered(struct ask *ask, const struct wire_record *record,
                            const struct event *event)
{
    ask->next_seq++;
    ask->payload_bytes += record->payload.len;
    if (event->type == EVENT_DELTA && ask->on_event) {
        ask->held_events++;
        ask->held_bytes += record->payload.len;
    } else {
        ask->consumed_events++; /* also of an abandoned ask: its end must not wait for credit */
    }
}

static void deliver(struct ask *ask, const struct event *event)
{
    if (event_is_end(event->type)) {
        end(ask, event, DUE_CREDIT); /* acknowledges the end: the worker may forget it all */
        return;
    }
    if (ask->on_event)
        ask->on_event(ask->ctx, event);
    if (ask->state != ASK_ENDED)
        review_credit(ask);
}

/* The event that is due. */
static void on_next_event(struct ask *ask, const struct wire_record *record, struct text *scratch)
{
    struct event event;
    if (event_decode(record, scratch, &event) != ERR_OK ||
        (event.type == EVENT_DELTA && event.seq > ask->granted.seq_limit) ||
        (event.type == EVENT_ACCEPTED && !take_control(ask, event.accepted.control))) {
        on_nonsense(ask);
        return;
    }
    count_delivered(ask, record, &event);
    if (event.type == EVENT_ACCEPTED)
        on_accepted(ask);
    if (events_miss(ask))
        ask_for_resend(ask); /* what came early was dropped */
    deliver(ask, &event);
}

static void on_event_record(struct ask *ask, const struct wire_record *record, struct text *scratch)
{
    if (record->seq > ask->high_seq)
        ask->high_seq = record->seq;
    if (record->seq < ask->next_seq)
        ask->hub->stats.duplicates_dropped++;
    else if (record->seq > ask->next_seq)
        ask_for_resend(ask);
    else
        on_next_event(ask, record, scratch);
}

static void on_heartbeat(struct ask *ask, uint64_t sent_seq)
{
    if (sent_seq > ask->high_seq)
        ask->high_seq = sent_seq;
    if (events_miss(ask))
        ask_for_resend(ask);
    else if (ask->beaten_seq == ask->next_seq)
        hub_ask_is_due(ask, DUE_CREDIT); /* nothing new: perhaps our last grant was lost */
    ask->beaten_seq = ask->next_seq;
}

void ask_on_record(struct ask *ask, const struct wire_record *record, struct text *scratch)
{
    if (record->epoch != ask->epoch)
        return;
    if (ask->state == ASK_RUNNING)
        listen_anew(ask);
    if (record->type == WIRE_HEARTBEAT)
        on_heartbeat(ask, record->seq);
    else if (record->type == WIRE_UNKNOWN_STREAM && ask->state != ASK_SUBMITTED)
        on_worker_gone(ask, "the worker does not know the request any more");
    else if (record->type >= WIRE_EVENT)
        on_event_record(ask, record, scratch);
}

static void on_submit_bounce(struct ask *ask, enum err why)
{
    ask->worker_was_full = why == ERR_FULL;
    if (why == ERR_NOT_FOUND && ++ask->nobody_count == NOBODY_BOUNCES_MAX)
        end_with_error(ask, FAULT_MODEL_NOT_FOUND, "no worker serves this model", 0);
}

void ask_on_bounce(struct ask *ask, uint16_t type, struct slice subject, enum err why)
{
    if (type == WIRE_SUBMIT && ask->state == ASK_SUBMITTED) {
        on_submit_bounce(ask, why);
        return;
    }
    /* A full worker is there: cancel and resend are repeated anyway, credit at the next heartbeat.
     * While cancelling, the one whose word counts is the worker, or before it whoever gets submits.
     */
    const struct address *worker = ask->control.len ? &ask->control : &ask->submit;
    if (why != ERR_FULL && ask->state != ASK_SUBMITTED && slice_eq(subject, address_slice(worker)))
        on_worker_gone(ask, "the worker is gone");
}

/* --- what the owner says --- */

static enum err set_submit_subject(struct ask *ask, struct slice model)
{
    struct slice prefix = SLICE("submit.");
    if (model.len == 0 || model.len > sizeof(ask->submit.bytes) - prefix.len)
        return ERR_LIMIT;
    memcpy(ask->submit.bytes, prefix.data, prefix.len);
    memcpy(ask->submit.bytes + prefix.len, model.data, model.len);
    ask->submit.len = prefix.len + model.len;
    return ERR_OK;
}

/* Leaves a copy of the right size; hub->out is for all. */
static enum err encode_submit(struct ask *ask, const struct request *request)
{
    struct text *out = &ask->hub->out;
    struct wire_writer writer;
    text_clear(out);
    wire_begin(&writer, out, WIRE_CONTROL);
    wire_open_record(&writer, &(struct wire_record){.stream = request_stream(request),
                                                    .epoch = request->epoch,
                                                    .type = WIRE_SUBMIT});
    request_encode(request, out);
    wire_close_record(&writer);
    TRY(wire_finish(&writer));
    ask->submit_frame = mem_peer_alloc(out->len);
    if (!ask->submit_frame)
        return ERR_LIMIT;
    memcpy(ask->submit_frame, out->data, out->len);
    ask->submit_bytes = out->len;
    return ERR_OK;
}

static enum err submit(struct ask *ask, const struct request *request)
{
    struct ask_hub *hub = ask->hub;
    struct request sent = *request;
    sent.epoch = ask->epoch;
    sent.inbox = bus_inbox(hub->bus);
    sent.credit_events = hub->options.credit_events;
    sent.credit_bytes = hub->options.credit_bytes;
    TRY(set_submit_subject(ask, request->model));
    TRY(encode_submit(ask, &sent));
    return hub_publish(hub, address_slice(&ask->submit),
                       slice_of(ask->submit_frame, ask->submit_bytes));
}

static struct ask *ask_new(struct ask_hub *hub, struct id id, ask_event_fn *on_event, void *ctx)
{
    struct ask *ask = mem_alloc(sizeof(*ask));
    ask->hub = hub;
    list_init(&ask->link);
    list_init(&ask->due_link);
    deadline_init(&ask->repeat, bus_loop(hub->bus), on_repeat, ask);
    deadline_init(&ask->limit, bus_loop(hub->bus), on_limit, ask);
    ask->id = id;
    ask->epoch = 1;
    ask->on_event = on_event;
    ask->ctx = ctx;
    ask->next_seq = 1;
    ask->granted = credit_now(ask);
    return ask;
}

void ask_free(struct ask *ask)
{
    forget_submit(ask);
    mem_free(ask);
}

enum err ask_open(struct ask_hub *hub, const struct request *request, ask_event_fn *on_event,
                  void *ctx, struct ask **out_ask)
{
    ASSERT(!id_is_zero(request->id));
    if (hub->draining)
        return ERR_CLOSED;
    if (map_count(hub->streams) >= hub->options.asks_max)
        return ERR_FULL;
    struct ask *ask = ask_new(hub, request->id, on_event, ctx);
    enum err err = submit(ask, request);
    if (err == ERR_OK)
        err = map_put(hub->streams, request_stream(request), ask);
    if (err != ERR_OK) {
        ask_free(ask);
        return err;
    }
    list_push_back(&hub->open, &ask->link);
    arm_deadlines(ask);
    hub->stats.opened++;
    *out_ask = ask;
    return ERR_OK;
}

void ask_consumed(struct ask *ask, uint32_t events, uint32_t bytes)
{
    if (ask->state == ASK_ENDED)
        return;
    ASSERT_MSG(events <= ask->held_events && bytes <= ask->held_bytes,
               "%u events and %u bytes of %llu and %llu", events, bytes,
               (unsigned long long)ask->held_events, (unsigned long long)ask->held_bytes);
    ask->held_events -= events;
    ask->held_bytes -= bytes;
    ask->consumed_events += events;
    review_credit(ask);
}

void ask_cancel(struct ask *ask)
{
    if (ask->state == ASK_CANCELLING || ask->state == ASK_ENDED)
        return;
    set_state(ask, ASK_CANCELLING);
    send_cancel(ask);
}

void ask_abandon(struct ask **ask)
{
    struct ask *left = *ask;
    *ask = NULL;
    if (!left || left->state == ASK_ENDED)
        return;
    left->on_event = NULL;
    left->consumed_events += left->held_events;
    left->held_events = left->held_bytes = 0;
    review_credit(left);
    ask_cancel(left);
}

struct id ask_id(const struct ask *ask)
{
    return ask->id;
}
