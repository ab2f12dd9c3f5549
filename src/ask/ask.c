/* ask - the life of one request: its states, its deadlines, its credit, its reruns. What others say
 * of it is in ask_hear.c. */
#include "ask/ask_impl.h"

#include "base/map.h"
#include "base/mem.h"

#include <stdio.h>

enum {
    US_PER_MS = 1000,
    NO_MANAGER_RETRY_MS = 1000, /* a manager that died is back by then */
    /* Silence is counted in parts of silence_ms. When this process was stopped and goes on, at most
     * one of them is its own pause: the worker is not blamed for that. */
    SILENCE_PARTS = 5,
};

/* --- states --- */

#define TO(state) (1u << ASK_##state)
static const uint8_t allowed[ASK_STATE_COUNT] = {
    [ASK_SUBMITTED] = TO(QUEUED) | TO(RUNNING) | TO(CANCELLING) | TO(ENDED),
    [ASK_QUEUED] = TO(SUBMITTED) | TO(RUNNING) | TO(CANCELLING) | TO(ENDED),
    [ASK_RUNNING] = TO(SUBMITTED) | TO(CANCELLING) | TO(ENDED),
    [ASK_CANCELLING] = TO(ENDED),
    [ASK_ENDED] = 0};

static uint64_t now_us(const struct ask *ask)
{
    return loop_now_us(bus_loop(ask->hub->bus));
}

static void arm(struct deadline *deadline, uint32_t after_ms)
{
    deadline_after(deadline, (uint64_t)after_ms * US_PER_MS);
}

/* One part of silence_ms later. */
static uint64_t part_after(const struct ask *ask, uint64_t since_us)
{
    uint32_t part_ms = (ask->hub->options.silence_ms + SILENCE_PARTS - 1) / SILENCE_PARTS;
    return since_us + (uint64_t)part_ms * US_PER_MS;
}

/* With every event, so it only writes down when that was: what is armed is never too late, and
 * on_silence() looks again. */
void ask_listen_anew(struct ask *ask)
{
    if (ask->state != ASK_RUNNING && ask->state != ASK_QUEUED)
        return; /* there the limit is another one */
    ask->silent_parts = 0;
    ask->heard_us = now_us(ask);
    if (!deadline_is_armed(&ask->limit))
        deadline_at(&ask->limit, part_after(ask, ask->heard_us));
}

static void arm_deadlines(struct ask *ask)
{
    const struct ask_options *options = &ask->hub->options;
    switch (ask->state) {
    case ASK_SUBMITTED:
        arm(&ask->repeat, options->repeat_ms);
        arm(&ask->limit, options->submit_ms);
        return;
    case ASK_QUEUED: /* the hub asks the manager, which has the clock */
        deadline_clear(&ask->repeat);
        deadline_clear(&ask->limit);
        if (ask->worker)
            ask_listen_anew(ask);
        return;
    case ASK_RUNNING:
        deadline_clear(&ask->repeat); /* ask_for_resend() arms it */
        deadline_clear(&ask->limit);
        ask_listen_anew(ask);
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

static void forget_said(struct ask *ask)
{
    if (!ask->said)
        return;
    ask->hub->kept_bytes -= ask->submit_bytes + said_bytes(ask->said);
    said_free(ask->said);
    ask->said = NULL;
}

void ask_forget_submit(struct ask *ask)
{
    forget_said(ask);
    mem_free(ask->submit);
    ask->submit = NULL;
}

static void set_state(struct ask *ask, enum ask_state next) /* the only writer of ask->state */
{
    ASSERT_MSG(allowed[ask->state] & (1u << next), "from %d to %d", (int)ask->state, (int)next);
    ask->state = next;
    if (next == ASK_CANCELLING || next == ASK_ENDED)
        ask_forget_submit(ask);
    arm_deadlines(ask);
}

/* --- whom it is with --- */

static void leave_worker(struct ask *ask)
{
    list_remove(&ask->worker_link);
    contact_unref(&ask->worker);
}

static void leave_manager(struct ask *ask)
{
    list_remove(&ask->manager_link);
    contact_unref(&ask->manager);
}

void ask_turn_to(struct ask *ask, struct slice worker_control)
{
    if (contact_is_at(ask->worker, worker_control))
        return;
    leave_worker(ask);
    ask->worker = contact_ref(&ask->hub->workers, worker_control);
    list_push_back(&ask->worker->asks, &ask->worker_link);
    hub_watch_workers(ask->hub);
    ask_listen_anew(ask);
}

void ask_is_queued(struct ask *ask, struct slice manager_control)
{
    if (!contact_is_at(ask->manager, manager_control)) {
        leave_manager(ask);
        ask->manager = contact_ref(&ask->hub->managers, manager_control);
        list_push_back(&ask->manager->asks, &ask->manager_link);
        hub_watch_managers(ask->hub);
    }
    if (ask->state == ASK_SUBMITTED)
        set_state(ask, ASK_QUEUED);
}

void ask_was_accepted(struct ask *ask)
{
    leave_manager(ask);
    if (ask->said && ask->said->has_begun)
        hub_ask_is_due(ask, DUE_CREDIT); /* the owner may have read on since the submit */
    if (ask->state == ASK_SUBMITTED || ask->state == ASK_QUEUED)
        set_state(ask, ASK_RUNNING);
    else if (ask->state == ASK_CANCELLING)
        hub_ask_is_due(ask, DUE_CANCEL); /* now straight to it */
}

/* --- ends --- */

static void deliver_usage(struct ask *ask)
{
    struct event *usage = ask->usage;
    ask->usage = NULL;
    if (usage && ask->on_event)
        ask->on_event(ask->ctx, usage);
    mem_free(usage);
}

void ask_end(struct ask *ask, const struct event *event, unsigned due)
{
    deliver_usage(ask);
    set_state(ask, ASK_ENDED);
    list_remove(&ask->worker_link); /* the contacts themselves stay until the last word is out */
    list_remove(&ask->manager_link);
    hub_forget(ask);
    hub_ask_is_due(ask, due);
    ask_event_fn *on_event = ask->on_event;
    ask->on_event = NULL;
    if (on_event)
        on_event(ask->ctx, event);
}

static struct event error_event(const struct ask *ask, enum fault fault, const char *message)
{
    struct event event = {.type = EVENT_ERROR, .seq = ask->next_seq};
    event.error.fault = fault;
    event.error.message = slice_str(message);
    return event;
}

static void end_with_error(struct ask *ask, enum fault fault, const char *message, unsigned due)
{
    struct event event = error_event(ask, fault, message);
    ask->hub->stats.lost += fault == FAULT_WORKER_LOST;
    ask_end(ask, &event, due);
}

void ask_end_cancelled(struct ask *ask, unsigned due)
{
    struct event event = {.type = EVENT_DONE, .seq = ask->next_seq};
    event.done.reason = DONE_CANCELLED;
    ask_end(ask, &event, due);
}

void ask_on_nonsense(struct ask *ask)
{
    end_with_error(ask, FAULT_INTERNAL_ERROR, "the worker broke the protocol", DUE_CANCEL);
}

/* --- reruns --- */

/* At least 1: what is held from an epoch before may be all that the credit allows. */
static uint64_t less_held(uint64_t limit, uint64_t held)
{
    return limit > held ? limit - held : 1;
}

static struct wire_credit credit_now(const struct ask *ask)
{
    const struct ask_options *options = &ask->hub->options;
    uint64_t delivered = ask->next_seq - 1;
    return (struct wire_credit){
        .acked_seq = delivered,
        .seq_limit = less_held(delivered + options->credit_events, ask->held_events),
        .byte_limit = less_held(ask->payload_bytes + options->credit_bytes, ask->held_bytes),
    };
}

/* Numbers and credit count within one epoch. */
static void begin_epoch(struct ask *ask, uint32_t epoch)
{
    ask->epoch = epoch;
    ask->next_seq = 1;
    ask->high_seq = ask->resend_seq = ask->beaten_seq = 0;
    ask->payload_bytes = 0;
    ask->granted = credit_now(ask);
    ask->due = 0;
    ask->nobody_has_it = ask->manager_is_full = false;
}

static bool may_run_again(const struct ask *ask)
{
    return ask->submit && ask->rerun_count < ask->hub->options.reruns_max;
}

/* --- answers that go on elsewhere --- */

static bool has_room(const struct ask *ask, size_t bytes)
{
    const struct ask_hub *hub = ask->hub;
    size_t max = hub->options.continue_bytes_max;
    return hub->kept_bytes <= max && bytes <= max - hub->kept_bytes;
}

static void make_said(struct ask *ask)
{
    if (!ask->submit || !has_room(ask, ask->submit_bytes + sizeof(*ask->said)))
        return;
    ask->said = said_new();
    if (ask->said)
        ask->hub->kept_bytes += ask->submit_bytes + said_bytes(ask->said);
}

/* Also of a second worker, when the first one was lost before it said anything: its seed, and its
 * numbers, are its own. One that goes on with an answer says what it was told. */
static void begin_said(struct ask *ask, const struct event *started)
{
    if (!ask->said)
        make_said(ask);
    if (ask->said && !ask->said->has_begun)
        said_begin(ask->said, started);
}

static bool add_said(struct ask *ask, const struct event *delta)
{
    if (!ask->said || !has_room(ask, said_more_bytes(ask->said, delta)))
        return false;
    size_t before = said_bytes(ask->said);
    if (said_add(ask->said, delta) != ERR_OK)
        return false;
    ask->hub->kept_bytes += said_bytes(ask->said) - before;
    return true;
}

/* A worker that gives up says what it has used, and the next one says it of all. */
static void keep_usage(struct ask *ask, const struct event *event)
{
    if (!ask->usage)
        ask->usage = mem_alloc(sizeof(*ask->usage));
    *ask->usage = *event; /* nothing but numbers */
}

void ask_keep_said(struct ask *ask, const struct event *event)
{
    if (event->type == EVENT_STARTED)
        begin_said(ask, event);
    else if (event->type == EVENT_USAGE && ask->said)
        keep_usage(ask, event);
    else if (event->type == EVENT_USAGE || event_takes_credit(event->type)) {
        if (event->type != EVENT_DELTA || !add_said(ask, event))
            ask_forget_submit(ask);
    }
}

bool ask_may_go_on(const struct ask *ask)
{
    return ask->state == ASK_RUNNING && may_run_again(ask);
}

/* With the next epoch: whoever still has this one is told to stop when it speaks (rule 7). */
static void ask_again(struct ask *ask)
{
    ASSERT(ask->submit);
    leave_worker(ask);
    leave_manager(ask);
    begin_epoch(ask, ask->epoch + 1);
    size_t bytes = request_set_epoch(ask->submit, ask->submit_bytes, ask->epoch);
    if (ask->said)
        ask->hub->kept_bytes += bytes - ask->submit_bytes;
    ask->submit_bytes = (uint32_t)bytes;
    if (ask->state != ASK_SUBMITTED)
        set_state(ask, ASK_SUBMITTED);
    /* A bus that takes nothing now is as good as a lost frame: the next repeat, or submit_ms. */
    (void)hub_publish_submit(ask->hub, ask);
}

/* At most; without what was said it left once, and will again. */
static size_t continued_bytes(const struct ask *ask)
{
    enum { MEMBERS_MAX_BYTES = 128 }; /* names, numerics, longer numbers of credit */
    if (!ask->said || !ask->said->has_begun)
        return 0;
    struct continuation continuation = said_continuation(ask->said);
    return WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES + ask->submit_bytes +
           MEMBERS_MAX_BYTES + continuation_bytes(&continuation);
}

static size_t frame_max_bytes(const struct ask *ask)
{
    size_t bus_bytes = bus_frame_max_bytes(ask->hub->bus);
    return bus_bytes < WIRE_FRAME_MAX_BYTES ? bus_bytes : WIRE_FRAME_MAX_BYTES;
}

/* No frame takes it, now or later. */
static void end_too_long(struct ask *ask, size_t bytes)
{
    char message[160];
    snprintf(message, sizeof(message),
             "the worker is lost, and what another one needs to go on is a message of %zu bytes; "
             "at most %zu can be sent",
             bytes, frame_max_bytes(ask));
    end_with_error(ask, FAULT_WORKER_LOST, message, 0);
}

void ask_on_lost(struct ask *ask, const char *message)
{
    size_t bytes = continued_bytes(ask);
    if (ask->state == ASK_CANCELLING) {
        ask_end_cancelled(ask, 0);
    } else if (may_run_again(ask) && bytes > frame_max_bytes(ask)) {
        end_too_long(ask, bytes);
    } else if (may_run_again(ask)) {
        ask->rerun_count++;
        ask->hub->stats.reruns++;
        ask->hub->stats.continued += ask->said && ask->said->has_begun;
        ask_again(ask);
    } else {
        end_with_error(ask, FAULT_WORKER_LOST, message, 0);
    }
}

/* What it had assigned it had assigned: a worker that we were told of is still there to be heard.
 * It costs the request none of its reruns: it was not the request that killed the manager. */
void ask_on_manager_gone(struct ask *ask)
{
    if (ask->worker)
        leave_manager(ask);
    else if (ask->state == ASK_CANCELLING)
        ask_end_cancelled(ask, 0);
    else
        ask_again(ask);
}

/* --- what is said to the worker --- */

static bool is_half(uint64_t moved, uint32_t credit)
{
    return moved >= credit / 2 + credit % 2; /* rounded up: never 0 */
}

void ask_review_credit(struct ask *ask)
{
    struct wire_credit now = credit_now(ask);
    if (is_half(now.seq_limit - ask->granted.seq_limit, ask->hub->options.credit_events) ||
        is_half(now.byte_limit - ask->granted.byte_limit, ask->hub->options.credit_bytes))
        hub_ask_is_due(ask, DUE_CREDIT);
}

void ask_write_due(struct ask *ask, struct wire_writer *writer)
{
    uint64_t stream = ask->id.low;
    bool resend = (ask->due & DUE_RESEND) && ask_events_miss(ask) && ask->state != ASK_ENDED;
    if (ask->due & DUE_CANCEL)
        wire_add(writer,
                 &(struct wire_record){.stream = stream, .epoch = ask->epoch, .type = WIRE_CANCEL});
    if ((ask->due & DUE_CREDIT) || resend) {
        ask->granted = credit_now(ask);
        wire_add_credit(writer, stream, ask->epoch, &ask->granted, resend);
        ask->hub->stats.resends_asked += resend && ask->worker;
    }
    ask->due = 0;
}

void ask_for_resend(struct ask *ask)
{
    if (!ask->worker || ask->resend_seq == ask->next_seq)
        return;
    ask->resend_seq = ask->next_seq;
    hub_ask_is_due(ask, DUE_RESEND);
    if (ask->state == ASK_RUNNING)
        arm(&ask->repeat, ask->hub->options.repeat_ms);
}

/* To whoever may have it: those who get submits, the manager that said so, the worker. */
static void send_cancel(struct ask *ask)
{
    hub_ask_is_due(ask, DUE_CANCEL_SUBMIT | (ask->manager ? DUE_CANCEL_MANAGER : 0) |
                            (ask->worker ? DUE_CANCEL : 0));
}

/* --- deadlines --- */

static void repeat_submit(struct ask *ask)
{
    ask->hub->stats.repeated_submits++;
    if (ask->nobody_has_it && !ask->worker)
        ask_again(ask); /* a manager that is gone by now may have assigned the first one */
    else
        (void)hub_publish_submit(ask->hub, ask); /* lost: as above */
}

static void on_repeat(void *ctx)
{
    struct ask *ask = ctx;
    if (ask->state == ASK_RUNNING && !ask_events_miss(ask))
        return; /* the resend has come: ask_for_resend() arms it for the next gap */
    arm(&ask->repeat, ask->hub->options.repeat_ms);
    if (ask_events_miss(ask))
        hub_ask_is_due(ask, DUE_RESEND);
    if (ask->state == ASK_CANCELLING)
        send_cancel(ask);
    else if (ask->state == ASK_SUBMITTED)
        repeat_submit(ask);
}

static void on_submit_limit(struct ask *ask)
{
    struct event event = error_event(ask, FAULT_LOADING, "no manager answers");
    event.error.retry_after_ms = NO_MANAGER_RETRY_MS;
    if (ask->manager_is_full)
        event = error_event(ask, FAULT_QUEUE_FULL, "the manager has no room for more requests");
    /* It may still lie in a queue: whoever takes it finds the cancel right behind. */
    ask_end(ask, &event, DUE_CANCEL_SUBMIT | DUE_CANCEL);
}

static void on_silence(struct ask *ask)
{
    static const char message[] = "the worker went silent";
    if (ask->silent_parts == 0 && now_us(ask) < part_after(ask, ask->heard_us)) {
        deadline_at(&ask->limit, part_after(ask, ask->heard_us)); /* heard since this was armed */
    } else if (++ask->silent_parts < SILENCE_PARTS) {
        deadline_at(&ask->limit, part_after(ask, now_us(ask)));
    } else if (may_run_again(ask)) {
        if (ask->worker) /* should it live after all */
            hub_publish_cancel(ask->hub, contact_control(ask->worker), ask);
        ask_on_lost(ask, message);
    } else {
        end_with_error(ask, FAULT_WORKER_LOST, message, DUE_CANCEL);
    }
}

static void on_limit(void *ctx)
{
    struct ask *ask = ctx;
    if (ask->state == ASK_SUBMITTED)
        on_submit_limit(ask);
    else if (ask->state == ASK_CANCELLING)
        ask_end_cancelled(ask, DUE_CANCEL);
    else
        on_silence(ask);
}

/* --- what the owner says --- */

/* Keeps the payload, with room for later epochs; hub->out is for all. */
static enum err encode_submit(struct ask *ask, const struct request *request)
{
    struct text *out = &ask->hub->out;
    text_clear(out);
    request_encode(request, out);
    TRY(text_status(out));
    ask->submit = mem_peer_alloc(out->len + REQUEST_EPOCH_ROOM);
    if (!ask->submit)
        return ERR_LIMIT;
    memcpy(ask->submit, out->data, out->len);
    ask->submit_bytes = (uint32_t)out->len; /* within WIRE_FRAME_MAX_BYTES, as hub->out is */
    return ERR_OK;
}

static enum err submit(struct ask *ask, const struct request *request)
{
    struct ask_hub *hub = ask->hub;
    struct request sent = *request;
    if (request->model.len == 0 || request->model.len > REQUEST_NAME_MAX_BYTES)
        return ERR_LIMIT;
    sent.epoch = ask->epoch;
    sent.inbox = bus_inbox(hub->bus);
    sent.credit_events = hub->options.credit_events;
    sent.credit_bytes = hub->options.credit_bytes;
    TRY(encode_submit(ask, &sent));
    enum err err = hub_publish_submit(hub, ask);
    /* The way out is shut for the moment (a switch that was stopped): as good as lost, repeated. */
    return err == ERR_FULL ? ERR_OK : err;
}

static struct ask *ask_new(struct ask_hub *hub, struct id id, ask_event_fn *on_event, void *ctx)
{
    struct ask *ask = mem_alloc(sizeof(*ask));
    ask->hub = hub;
    list_init(&ask->link);
    list_init(&ask->due_link);
    list_init(&ask->worker_link);
    list_init(&ask->manager_link);
    deadline_init(&ask->repeat, bus_loop(hub->bus), on_repeat, ask);
    deadline_init(&ask->limit, bus_loop(hub->bus), on_limit, ask);
    ask->id = id;
    ask->on_event = on_event;
    ask->ctx = ctx;
    begin_epoch(ask, 1);
    return ask;
}

void ask_free(struct ask *ask)
{
    leave_worker(ask);
    leave_manager(ask);
    ask_forget_submit(ask);
    mem_free(ask->usage);
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
    ask_review_credit(ask);
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
    left->held_events = left->held_bytes = 0;
    ask_review_credit(left);
    ask_cancel(left);
}

struct id ask_id(const struct ask *ask)
{
    return ask->id;
}
