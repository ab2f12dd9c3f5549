/* reply_stream - events in, bytes out: formatting, the head, pings, credit, the terminator. */
#include "gateway/reply_state.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "sse/sse.h"

enum {
    HEAD_FIELDS_MAX_BYTES = 1024,
    ESCAPED_MAX = 12,             /* a control byte is \u0001, and "Serving v2" says it twice */
    EVENT_FRAME_MAX_BYTES = 4096, /* what a dialect puts around a piece of text */
    ENDING_MAX_BYTES = 16 * 1024, /* an error event and a terminator */
};

/* --- streaming out --- */

static void schedule_flush(struct reply *reply)
{
    loop_before_sleep(reply->gateway->loop, &reply->flush);
}

static uint64_t ping_due_us(const struct reply *reply)
{
    return reply->quiet_since_us + reply->gateway->options.ping_ms * 1000ull;
}

/* With every write, so it only notes the time: what is armed is never too late, and on_ping_due()
 * looks again. */
static void begin_quiet(struct reply *reply)
{
    reply->quiet_since_us = loop_now_us(reply->gateway->loop);
    if (!reply->call->dialect->is_ndjson && !deadline_is_armed(&reply->ping_deadline))
        deadline_at(&reply->ping_deadline, ping_due_us(reply));
}

static void begin_stream(struct reply *reply)
{
    if (reply->state != REPLY_WAITING)
        return;
    schedule_flush(reply); /* before the connection's own, so that the head takes `out` along */
    struct text fields;
    text_init(&fields, HEAD_FIELDS_MAX_BYTES);
    text_add(&fields, SLICE("Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"));
    reply_add_id_fields(reply->call, &fields);
    reply->state = REPLY_STREAMING;
    reply->status = 200;
    reply->gateway->stats.streams++;
    deadline_clear(&reply->head_deadline);
    http_conn_begin(reply->conn, 200,
                    reply->call->dialect->is_ndjson ? SLICE("application/x-ndjson")
                                                    : SLICE("text/event-stream"),
                    text_slice(&fields));
    text_fini(&fields);
    begin_quiet(reply);
}

static void on_head_hold_over(void *ctx)
{
    begin_stream(ctx);
}

/* Only between events, and only when nothing else is on its way. */
static void on_ping_due(void *ctx)
{
    struct reply *reply = ctx;
    if (loop_now_us(reply->gateway->loop) < ping_due_us(reply)) {
        deadline_at(&reply->ping_deadline, ping_due_us(reply)); /* it spoke since this was armed */
        return;
    }
    if (reply->out.len == 0 && !reply->ending && reply->sent_bytes == reply->written_bytes) {
        text_fini(&reply->out); /* a stream that says little holds little */
        sse_add_ping(&reply->out);
        schedule_flush(reply);
    }
    begin_quiet(reply);
}

/* Half an event may be in `out`: no byte of it may leave, nor can anything follow it. */
static void break_off(struct reply *reply)
{
    reply->status = 500;
    http_conn_break(reply->conn);
    reply_gone(reply, "no_memory");
}

static void settle_marks(struct reply *reply);

/* False: the connection is closing, and on_client_gone() is on its way. The last bytes wait for the
 * frame that ends the body, so that both leave in one write; all others leave now. */
static bool pass_on(struct reply *reply, struct slice bytes)
{
    size_t sent = 0;
    enum err err = reply->ending ? http_conn_write(reply->conn, bytes)
                                 : http_conn_send(reply->conn, bytes, &sent);
    if (err != ERR_OK)
        return false;
    size_t left = reply->out.len - bytes.len;
    if (left > 0)
        memmove(reply->out.data, reply->out.data + bytes.len, left);
    text_shrink(&reply->out, left);
    reply->written_bytes += bytes.len;
    reply->sent_bytes += sent;
    settle_marks(reply);
    begin_quiet(reply);
    return true;
}

/* As much of `out` as the connection takes at once. The rest waits for the next turn, or for
 * on_room() if the client has to read first. */
static void on_flush(void *ctx)
{
    struct reply *reply = ctx;
    if (reply->state != REPLY_STREAMING)
        return;
    if (text_status(&reply->out) != ERR_OK) {
        break_off(reply);
        return;
    }
    struct slice bytes = slice_first(text_slice(&reply->out), http_conn_room(reply->conn));
    if (bytes.len > 0 && !pass_on(reply, bytes))
        return;
    if (reply->out.len > 0 && http_conn_room(reply->conn) > 0)
        schedule_flush(reply);
    if (reply->ending && reply->out.len == 0) {
        http_conn_end(reply->conn);
        reply_gone(reply, reply->end);
    }
}

static void on_room(void *ctx)
{
    schedule_flush(ctx);
}

/* --- credit --- */

static void push_mark(struct reply *reply, uint32_t choice, uint32_t payload_bytes)
{
    ASSERT(reply->marks.count < reply->marks_max); /* ask.h rule 3 */
    marks_push(&reply->marks,
               (struct mark){reply->written_bytes + reply->out.len, choice, payload_bytes});
}

/* The deltas whose last byte has left. */
static void settle_marks(struct reply *reply)
{
    for (const struct mark *mark;
         (mark = marks_front(&reply->marks)) && mark->end_bytes <= reply->sent_bytes;
         marks_pop(&reply->marks)) {
        struct ask *ask = reply->choices[mark->choice].ask;
        if (ask)
            ask_consumed(ask, 1, mark->payload_bytes);
    }
}

static void on_sent(void *ctx, size_t bytes)
{
    struct reply *reply = ctx;
    if (reply->state == REPLY_GONE)
        return;
    reply->sent_bytes += bytes;
    settle_marks(reply);
}

static void on_client_gone(void *ctx, enum err why)
{
    struct reply *reply = ctx;
    reply->gateway->stats.cancelled++;
    if (reply->state != REPLY_STREAMING) /* else it was counted with its head */
        counts_answer(reply->gateway->counts, reply->mark, 499);
    reply->status = 499; /* as in nginx's log; never sent */
    reply_gone(reply, why == ERR_TIMEOUT ? "stalled" : "client_closed");
}

static const struct http_reply_events conn_events = {on_client_gone, on_room, on_sent};

/* --- events in --- */

static void end_stream(struct reply *reply, const char *end)
{
    begin_stream(reply);
    if (reply->call->dialect->stream_end)
        reply->call->dialect->stream_end(reply->call, &reply->out);
    reply->ending = true;
    reply->end = end;
    schedule_flush(reply);
}

/* One delta of the dialect. */
static void say(struct reply *reply, uint32_t index, struct slice text)
{
    struct call *call = reply->call;
    struct event event = {.type = EVENT_DELTA, .delta = {.choice = (uint16_t)index, .text = text}};
    if (text.len == 0)
        return;
    call->dialect->stream_event(call, index, &event, &reply->out);
    call->choice[index].pieces++;
    begin_stream(reply);
}

static void release_held(struct reply *reply, uint32_t index)
{
    struct text *held = &reply->call->choice[index].whole;
    say(reply, index, text_slice(held));
    text_clear(held);
}

/* One choice failed: so does the whole answer. */
void reply_fail(struct reply *reply, const struct api_error *error)
{
    if (reply->state == REPLY_WAITING) {
        reply_answer_error(reply, error);
        return;
    }
    for (uint32_t i = 0; i < reply->call->choices; i++)
        release_held(reply, i); /* it was generated before the failure */
    reply_abandon_asks(reply);
    reply->gateway->stats.errors++;
    if (reply->call->dialect->stream_fault)
        reply->call->dialect->stream_fault(reply->call, error, &reply->out);
    end_stream(reply, error->code);
}

/* Text leaves at once, or grouped into pieces of about sse_chunk_chars characters if that was asked
 * for (spec http-api.md section 7 rule 6). A stream uses `whole` for what is held. */
static void hold(struct reply *reply, uint32_t index, struct slice text)
{
    struct text *held = &reply->call->choice[index].whole;
    uint32_t chunk_chars = reply->gateway->options.sse_chunk_chars;
    if (chunk_chars == 0) {
        say(reply, index, text);
        return;
    }
    text_add(held, text);
    if (utf8_count(text_slice(held)) >= chunk_chars)
        release_held(reply, index);
}

/* Several tokens in one turn are no time apart, as the client sees them. */
static void count_delta(struct reply *reply, struct choice *choice)
{
    uint64_t now = loop_now_us(reply->gateway->loop);
    if (!reply->first_delta_us) {
        reply->first_delta_us = now;
        metric_observe(reply->counts->ttft_seconds, (double)(now - reply->arrived_us) / 1e6);
    }
    if (choice->last_delta_us)
        metric_observe(reply->counts->inter_token_seconds,
                       (double)(now - choice->last_delta_us) / 1e6);
    choice->last_delta_us = now;
}

static void take_delta(struct reply *reply, uint32_t index, const struct event *event)
{
    struct call *call = reply->call;
    struct call_choice *choice = &call->choice[index];
    uint32_t bytes = event_credit_bytes(event);
    count_delta(reply, &reply->choices[index]);
    choice->completion_tokens += event->delta.token_count;
    if (!call->stream) {
        text_add(&choice->whole, event->delta.text);
        ask_consumed(reply->choices[index].ask, 1, bytes);
        return;
    }
    hold(reply, index, event->delta.text);
    push_mark(reply, index, bytes);
    settle_marks(reply);
}

/* Of a task, which is answered whole. */
static void take_result(struct reply *reply, uint32_t index, const struct event *event)
{
    reply->call->dialect->take_result(reply->call, &event->result);
    ask_consumed(reply->choices[index].ask, 1, event_credit_bytes(event));
}

static void take_accepted(struct reply *reply, uint32_t index, const struct event *event)
{
    if (index == 0 && arena_dup(reply->call->arena, event->accepted.worker, &reply->worker))
        reply->worker = (struct slice){NULL, 0}; /* the arena is full: the log can do without */
    if (reply->call->stream && reply->state == REPLY_WAITING &&
        !deadline_is_armed(&reply->head_deadline))
        deadline_after(&reply->head_deadline, reply->gateway->options.head_hold_ms * 1000ull);
}

static void take_progress(struct reply *reply, uint32_t index, const struct event *event)
{
    struct call *call = reply->call;
    if (!call->stream || !call->include_progress)
        return;
    size_t before = reply->out.len;
    call->dialect->stream_event(call, index, event, &reply->out);
    if (reply->out.len > before)
        begin_stream(reply);
}

static void take_started(struct reply *reply, uint32_t index, const struct event *event)
{
    struct call *call = reply->call;
    struct call_choice *choice = &call->choice[index];
    /* A new gateway let a model pass that it had not heard of: now it is no client's word only. */
    reply->counts = counts_model(reply->gateway->counts, call->request.model);
    choice->is_started = true;
    choice->seed = event->started.seed;
    choice->prompt_tokens = event->started.prompt_tokens;
    choice->cached_tokens = event->started.cached_tokens;
    call->started_ms = clock_wall_ms();
    if (call->stream && call->dialect->stream_begin)
        call->dialect->stream_begin(call, index, &reply->out); /* leaves with the head */
    take_progress(reply, index, event);
}

static void take_usage(struct call_choice *choice, const struct event *event)
{
    choice->prompt_tokens = event->usage.prompt_tokens;
    choice->cached_tokens = event->usage.cached_tokens;
    choice->completion_tokens = event->usage.completion_tokens;
    choice->queue_us = event->usage.queue_us;
    choice->prefill_us = event->usage.prefill_us;
    choice->decode_us = event->usage.decode_us;
}

static void take_error(struct reply *reply, const struct event *event)
{
    struct api_error error;
    api_error_from_event(event, &error);
    if (event->error.fault == FAULT_MODEL_NOT_FOUND) /* the manager does not know our words */
        (void)reply_unknown_model(reply, &error);    /* the code is in the error */
    reply_fail(reply, &error);
}

static void take_done(struct reply *reply, uint32_t index, const struct event *event)
{
    struct call *call = reply->call;
    if (event->done.reason == DONE_CANCELLED &&
        !(call->stream && call->dialect->can_end_cancelled)) {
        take_error(reply,
                   &(struct event){.type = EVENT_ERROR,
                                   .error = {.fault = FAULT_CANCELLED,
                                             .message = SLICE("the request was cancelled")}});
        return;
    }
    call->choice[index].done = true;
    call->choice[index].reason = event->done.reason;
    if (call->stream) {
        release_held(reply, index);
        call->dialect->stream_event(call, index, event, &reply->out);
    }
    for (uint32_t i = 0; i < call->choices; i++)
        if (!call->choice[i].done)
            return;
    if (call->stream)
        end_stream(reply, done_reason_name(event->done.reason));
    else
        reply_answer_whole(reply);
}

static void fail_internally(struct reply *reply, const char *message)
{
    struct api_error error;
    (void)api_error_set(&error, 500, "internal_error", NULL, "%s",
                        message); /* it is in the error */
    reply_fail(reply, &error);
}

/* The fuse behind the credit, which counts what a worker may send before it is formatted. What the
 * present event has left behind the whole ones makes room for the end. */
static void blow_fuse(struct reply *reply, uint32_t index, size_t whole_events_bytes)
{
    text_shrink(&reply->out, whole_events_bytes);
    reply->out.overflowed = false;
    reply->out.max_bytes += ENDING_MAX_BYTES;
    text_clear(&reply->call->choice[index].whole);
    fail_internally(reply, "the answer outgrew the memory it may have");
}

static void check_fuses(struct reply *reply, uint32_t index, size_t whole_events_bytes)
{
    bool is_too_long = text_status(&reply->call->choice[index].whole) != ERR_OK;
    if (is_too_long && !reply->call->stream)
        fail_internally(reply, "the answer is too long to be sent whole; ask for it as a stream");
    else if (is_too_long || text_status(&reply->out) != ERR_OK)
        blow_fuse(reply, index, whole_events_bytes);
}

/* Tasks have results, all others deltas: a worker that gives the one for the other is broken. */
static bool was_asked_for(const struct dialect *dialect, enum event_type type)
{
    return !event_takes_credit(type) || (type == EVENT_RESULT) == (dialect->take_result != NULL);
}

void reply_on_event(void *ctx, const struct event *event)
{
    struct choice *choice = ctx;
    struct reply *reply = choice->reply;
    size_t out_before = reply->out.len;
    if (!was_asked_for(reply->call->dialect, event->type)) {
        fail_internally(reply, "the worker answered what it was not asked");
        return;
    }
    if (event_is_end(event->type))
        choice->ask = NULL; /* gone after its end */
    switch (event->type) {
    case EVENT_ACCEPTED:
        take_accepted(reply, choice->index, event);
        break;
    case EVENT_QUEUED:
    case EVENT_LOADING:
    case EVENT_PREFILL:
        take_progress(reply, choice->index, event);
        break;
    case EVENT_STARTED:
        take_started(reply, choice->index, event);
        break;
    case EVENT_DELTA:
        take_delta(reply, choice->index, event);
        break;
    case EVENT_RESULT:
        take_result(reply, choice->index, event);
        break;
    case EVENT_USAGE:
        take_usage(&reply->call->choice[choice->index], event);
        break;
    case EVENT_DONE:
        take_done(reply, choice->index, event);
        break;
    case EVENT_ERROR:
        take_error(reply, event);
        break;
    case EVENT_TYPE_COUNT:
        break;
    }
    if (reply->state == REPLY_GONE)
        return;
    schedule_flush(reply); /* whatever it added; nothing before the head */
    check_fuses(reply, choice->index, out_before);
}

/* --- life --- */

void reply_stream_init(struct reply *reply)
{
    text_init(&reply->out, 0); /* reply_stream_prepare() says how much */
    deferred_init(&reply->flush, on_flush, reply);
    deadline_init(&reply->head_deadline, reply->gateway->loop, on_head_hold_over, reply);
    deadline_init(&reply->ping_deadline, reply->gateway->loop, on_ping_due, reply);
    http_conn_listen(reply->conn, &conn_events, reply);
}

static size_t echo_max_bytes(const struct call *call)
{
    size_t bytes = 0;
    for (uint32_t i = 0; call->echo && i < call->choices; i++)
        bytes += call_prompt(call, i).len;
    return bytes * ESCAPED_MAX;
}

void reply_stream_prepare(struct reply *reply)
{
    const struct ask_options *credit = &reply->gateway->options.ask;
    const struct call *call = reply->call;
    size_t text_bytes = 2 * (size_t)credit->credit_bytes; /* the last event may cross the limit */
    size_t choice_bytes =
        text_bytes * ESCAPED_MAX + (size_t)credit->credit_events * EVENT_FRAME_MAX_BYTES;
    reply->out.max_bytes = call->choices * choice_bytes + echo_max_bytes(call);
    reply->marks_max = call->choices * credit->credit_events;
}

void reply_stream_stop(struct reply *reply)
{
    deadline_clear(&reply->head_deadline);
    deadline_clear(&reply->ping_deadline);
    deferred_cancel(&reply->flush);
}
