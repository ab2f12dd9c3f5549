/* ask_hear - what managers and workers say of one request, and what comes back undelivered. */
#include "ask/ask_impl.h"

#include "wire/assigned.h"

static bool may_answer_at(struct slice subject)
{
    return subject.len > 0 && subject.len <= BUS_SUBJECT_MAX_BYTES;
}

static void know_of(struct ask *ask, uint64_t seq)
{
    if (seq > ask->high_seq)
        ask->high_seq = seq;
}

/* --- the next event --- */

static void count_delivered(struct ask *ask, const struct wire_record *record,
                            const struct event *event)
{
    ask->next_seq++;
    ask->payload_bytes += record->payload.len;
    if (event_takes_credit(event->type) && ask->on_event) {
        ask->held_events++;
        ask->held_bytes += record->payload.len;
    } /* else it is consumed; also of an abandoned ask: its end must not wait for credit */
}

/* Of a rerun `started` says the same once more: the owner has it. Of one in mid-stream only what
 * goes on with the answer is for the owner; and `usage` of an answer that is kept comes with the
 * end (ask_end()). */
static bool is_news(struct ask *ask, enum event_type type)
{
    if (type == EVENT_STARTED) {
        bool before = ask->was_started;
        ask->was_started = true;
        return !before;
    }
    if (type == EVENT_USAGE)
        return !ask->usage;
    return event_takes_credit(type) || !ask->said || !ask->said->has_begun;
}

/* The worker's own word for what its silence would say. */
static bool is_loss(const struct event *event)
{
    return event->type == EVENT_ERROR &&
           (event->error.fault == FAULT_WORKER_LOST || event->error.fault == FAULT_DRAINING);
}

static void on_end(struct ask *ask, const struct event *event)
{
    if (is_loss(event) && ask_may_go_on(ask)) {
        hub_publish_cancel(ask->hub, contact_control(ask->worker), ask); /* it may forget it all */
        ask_on_lost(ask, "the worker gave it up");
        return;
    }
    ask_end(ask, event, DUE_CREDIT); /* acknowledges the end: the worker may forget it all */
}

static void deliver(struct ask *ask, const struct event *event)
{
    if (event_is_end(event->type)) {
        on_end(ask, event);
        return;
    }
    ask_keep_said(ask, event);
    if (is_news(ask, event->type) && ask->on_event)
        ask->on_event(ask->ctx, event);
    bool is_held =
        event_takes_credit(event->type) && ask->on_event; /* reviewed by ask_consumed() */
    if (ask->state != ASK_ENDED && !is_held)
        ask_review_credit(ask);
}

/* The first event is `accepted`, and from where it says, or the end; none comes later than that. */
static bool is_in_its_place(const struct event *event, struct slice from)
{
    if (event->type == EVENT_ACCEPTED)
        return event->seq == 1 && slice_eq(event->accepted.control, from);
    return event->seq > 1 || event_is_end(event->type);
}

static void on_next_event(struct ask *ask, const struct wire_record *record, struct slice from,
                          struct text *scratch)
{
    struct event event;
    if (event_decode(record, scratch, &event) != ERR_OK || !is_in_its_place(&event, from) ||
        (event_takes_credit(event.type) && event.seq > ask->granted.seq_limit)) {
        ask_on_nonsense(ask);
        return;
    }
    count_delivered(ask, record, &event);
    if (event.type == EVENT_ACCEPTED)
        ask_was_accepted(ask);
    if (ask_events_miss(ask))
        ask_for_resend(ask); /* what came early was dropped */
    deliver(ask, &event);
}

/* --- who may speak (rule 7) --- */

/* Before `accepted` whoever produces is the one to ask for what came before, unless we were told of
 * somebody. */
static bool is_heard(struct ask *ask, struct slice from)
{
    if (!ask->worker)
        ask_turn_to(ask, from);
    return contact_is_at(ask->worker, from);
}

/* True: told to stop. */
static bool on_numbered(struct ask *ask, const struct wire_record *record, struct slice from,
                        struct text *scratch)
{
    if (!may_answer_at(from))
        return false;
    bool is_first = !ask_is_accepted(ask) && record->seq == 1; /* whoever it is: the first counts */
    if (is_first)
        ask_turn_to(ask, from);
    else if (!is_heard(ask, from))
        return ask_is_accepted(ask);
    ask_listen_anew(ask);
    know_of(ask, record->seq);
    if (record->seq < ask->next_seq)
        ask->hub->stats.duplicates_dropped++;
    else if (record->seq > ask->next_seq)
        ask_for_resend(ask);
    else
        on_next_event(ask, record, from, scratch);
    return false;
}

static bool on_heartbeat(struct ask *ask, uint64_t sent_seq, struct slice from)
{
    if (!may_answer_at(from))
        return false;
    if (!is_heard(ask, from))
        return ask_is_accepted(ask);
    ask_listen_anew(ask);
    know_of(ask, sent_seq);
    if (ask_events_miss(ask) && ask->state == ASK_QUEUED)
        hub_ask_is_due(ask, DUE_RESEND); /* no repeat is armed there: its beat is the clock */
    else if (ask_events_miss(ask))
        ask_for_resend(ask);
    else if (ask->beaten_seq == ask->next_seq)
        hub_ask_is_due(ask, DUE_CREDIT); /* nothing new: perhaps our last grant was lost */
    ask->beaten_seq = ask->next_seq;
    return false;
}

/* --- what a manager says --- */

static void on_waiting(struct ask *ask, const struct wire_record *record, struct slice from,
                       struct text *scratch)
{
    struct event event;
    if ((ask->state != ASK_SUBMITTED && ask->state != ASK_QUEUED) || !may_answer_at(from) ||
        event_decode(record, scratch, &event) != ERR_OK)
        return;
    ask_is_queued(ask, from);
    if (ask->on_event && is_news(ask, event.type))
        ask->on_event(ask->ctx, &event);
}

static void on_assigned(struct ask *ask, const struct wire_record *record, struct slice from,
                        struct text *scratch)
{
    struct slice control;
    if (ask_is_accepted(ask) || !may_answer_at(from) ||
        wire_read_assigned(record, scratch, &control) != ERR_OK)
        return;
    if (ask->state != ASK_CANCELLING)
        ask_is_queued(ask, from);
    ask_turn_to(ask, control);
    know_of(ask, 1); /* its `accepted` exists, and was lost or is on the way */
    hub_ask_is_due(ask, ask->state == ASK_CANCELLING ? DUE_RESEND | DUE_CANCEL : DUE_RESEND);
}

/* Who has a worker hears this from it, and while that has not accepted, from the manager that named
 * it. Who has none takes it from anybody: a worker hands back so what it was given and cannot run.
 */
static void on_unknown(struct ask *ask, struct slice from)
{
    if (!ask->worker || contact_is_at(ask->worker, from) ||
        (ask->state == ASK_QUEUED && contact_is_at(ask->manager, from)))
        ask_on_lost(ask, "the worker does not know the request any more");
}

/* --- the doors --- */

static bool is_event(const struct wire_record *record)
{
    return record->type >= WIRE_EVENT && record->type <= WIRE_EVENT_LAST;
}

static bool is_of_producer(const struct wire_record *record)
{
    return record->type == WIRE_HEARTBEAT || (is_event(record) && record->seq > 0);
}

bool ask_on_record(struct ask *ask, const struct wire_record *record, struct slice from,
                   struct text *scratch)
{
    if (record->epoch != ask->epoch)
        return record->epoch < ask->epoch && is_of_producer(record);
    if (record->type == WIRE_HEARTBEAT)
        return on_heartbeat(ask, record->seq, from);
    if (is_event(record) && record->seq > 0)
        return on_numbered(ask, record, from, scratch);
    if (is_event(record))
        on_waiting(ask, record, from, scratch);
    else if (record->type == WIRE_ASSIGNED)
        on_assigned(ask, record, from, scratch);
    else if (record->type == WIRE_UNKNOWN_STREAM)
        on_unknown(ask, from);
    return false;
}

static void on_submit_bounce(struct ask *ask, enum err why)
{
    if (ask->state != ASK_SUBMITTED)
        return;
    ask->manager_is_full = why == ERR_FULL;
    if (contact_is_gone(why))
        ask->nobody_has_it = true;
}

/* To one who lives a frame was lost: cancel and resend are repeated anyway, credit at the next
 * heartbeat. */
void ask_on_bounce(struct ask *ask, const struct wire_record *record, struct slice subject,
                   enum err why)
{
    if (record->epoch != ask->epoch)
        return;
    if (record->type == WIRE_SUBMIT)
        on_submit_bounce(ask, why);
    else if (!contact_is_gone(why))
        return;
    else if (contact_is_at(ask->worker, subject))
        ask_on_lost(ask, "the worker is gone");
    else if (contact_is_at(ask->manager, subject))
        ask_on_manager_gone(ask);
    else if (record->type == WIRE_CANCEL && ask->state == ASK_CANCELLING && !ask->worker &&
             !ask->manager)
        ask_end_cancelled(ask, 0); /* nobody takes submits: nobody has it */
}
