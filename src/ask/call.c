/* call - questions to roles: sent, repeated, answered once. */
#include "ask/call.h"

#include "base/map.h"
#include "base/mem.h"
#include "wire/call.h"

enum { REPEAT_MS = 250, US_PER_MS = 1000 };

struct caller {
    struct bus *bus;
    struct bus_subscription *answers;
    char subject[BUS_SUBJECT_MAX_BYTES]; /* where they come */
    size_t subject_bytes;
    struct map *calls; /* number -> struct pending_call */
    uint64_t last_number;
    struct text out; /* a frame being written */
};

struct pending_call {
    struct caller *caller;
    uint64_t number;
    struct deadline repeat, limit;
    uint32_t sent;         /* questions */
    uint32_t sent_in_vain; /* `sent` when the last one came back: nobody listens */
    answer_fn *on_answer;
    void *ctx;
    struct slice subject, question; /* in `bytes` */
    char bytes[];
};

/* --- ends --- */

static void forget(struct pending_call *call)
{
    void *removed = map_remove(call->caller->calls, call->number);
    ASSERT(removed == call);
    deadline_clear(&call->repeat);
    deadline_clear(&call->limit);
    mem_free(call);
}

/* The last thing: on_answer may ask again, or free the caller. */
static void end(struct pending_call *call, enum err err, json_t *answer)
{
    answer_fn *on_answer = call->on_answer;
    void *ctx = call->ctx;
    forget(call);
    on_answer(ctx, err, answer);
}

static void on_limit(void *ctx)
{
    struct pending_call *call = ctx;
    end(call, call->sent_in_vain == call->sent ? ERR_NOT_FOUND : ERR_TIMEOUT, NULL);
}

/* --- sending --- */

static void ask_now(struct pending_call *call)
{
    struct caller *caller = call->caller;
    text_clear(&caller->out);
    call->sent++;
    if (wire_write_call(&caller->out, call->number, call->question) == ERR_OK)
        (void)bus_publish(caller->bus, call->subject,
                          slice_of(caller->subject, caller->subject_bytes),
                          text_slice(&caller->out)); /* not taken: as good as lost, repeated */
    deadline_after(&call->repeat, REPEAT_MS * US_PER_MS);
}

static void on_repeat(void *ctx)
{
    ask_now(ctx);
}

static struct slice put(struct pending_call *call, size_t at, struct slice source)
{
    if (source.len)
        memcpy(call->bytes + at, source.data, source.len);
    return slice_of(call->bytes + at, source.len);
}

enum err call_open(struct caller *caller, struct slice subject, struct slice question,
                   uint32_t timeout_ms, answer_fn *on_answer, void *ctx,
                   struct pending_call **out_call)
{
    if (question.len > CALL_QUESTION_MAX_BYTES || subject.len == 0 ||
        subject.len > BUS_SUBJECT_MAX_BYTES)
        return ERR_LIMIT;
    if (map_count(caller->calls) >= CALLS_MAX)
        return ERR_FULL;
    struct pending_call *call = mem_alloc(sizeof(*call) + subject.len + question.len);
    call->caller = caller;
    call->number = ++caller->last_number;
    call->on_answer = on_answer;
    call->ctx = ctx;
    call->subject = put(call, 0, subject);
    call->question = put(call, subject.len, question);
    enum err err = map_put(caller->calls, call->number, call);
    ASSERT(err == ERR_OK); /* numbers are new, and there is room */
    deadline_init(&call->repeat, bus_loop(caller->bus), on_repeat, call);
    deadline_init(&call->limit, bus_loop(caller->bus), on_limit, call);
    deadline_after(&call->limit, (uint64_t)timeout_ms * US_PER_MS);
    ask_now(call);
    *out_call = call;
    return ERR_OK;
}

void call_abandon(struct pending_call **call)
{
    struct pending_call *left = *call;
    *call = NULL;
    if (left)
        forget(left);
}

/* --- hearing --- */

/* The call that a frame of one record is about; NULL: of none that is under way. */
static struct pending_call *call_of(const struct caller *caller, struct slice frame,
                                    enum wire_kind kind, struct wire_record *out_record)
{
    struct wire_reader reader;
    if (wire_open(frame, &reader) != ERR_OK || reader.kind != kind ||
        wire_next(&reader, out_record) != ERR_OK)
        return NULL;
    return map_get(caller->calls, out_record->stream);
}

static void on_answer_frame(void *ctx, const struct bus_message *message)
{
    struct wire_record record;
    json_t *answer = NULL;
    struct pending_call *call = call_of(ctx, message->frame, WIRE_EVENTS, &record);
    if (!call || wire_read_answer(&record, &answer) != ERR_OK)
        return; /* late, doubled, or no answer: a better one may come */
    end(call, ERR_OK, answer);
    json_decref(answer);
}

void caller_on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct wire_record record;
    struct pending_call *call = call_of(ctx, message->frame, WIRE_CONTROL, &record);
    if (call && record.type == WIRE_CALL && (why == ERR_NOT_FOUND || why == ERR_CLOSED))
        call->sent_in_vain = call->sent;
}

/* --- life --- */

static bool set_subject(struct caller *caller)
{
    static const char tail[] = ".calls";
    struct slice inbox = bus_inbox(caller->bus);
    if (inbox.len + sizeof(tail) - 1 > sizeof(caller->subject))
        return false;
    memcpy(caller->subject, inbox.data, inbox.len);
    memcpy(caller->subject + inbox.len, tail, sizeof(tail) - 1);
    caller->subject_bytes = inbox.len + sizeof(tail) - 1;
    return true;
}

enum err caller_new(struct bus *bus, struct caller **out_caller)
{
    struct caller *caller = mem_alloc(sizeof(*caller));
    enum err err = ERR_LIMIT;
    caller->bus = bus;
    if (set_subject(caller))
        err = bus_subscribe(bus, slice_of(caller->subject, caller->subject_bytes),
                            (struct slice){0}, on_answer_frame, caller, &caller->answers);
    if (err != ERR_OK) {
        mem_free(caller);
        return err;
    }
    caller->calls = map_new(CALLS_MAX);
    text_init(&caller->out,
              CALL_QUESTION_MAX_BYTES + WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES);
    *out_caller = caller;
    return ERR_OK;
}

void caller_free(struct caller *caller)
{
    if (!caller)
        return;
    size_t cursor = 0;
    uint64_t number;
    void *call;
    while (map_next(caller->calls, &cursor, &number, &call))
        forget(call);
    bus_unsubscribe(&caller->answers);
    map_free(caller->calls);
    text_fini(&caller->out);
    mem_free(caller);
}
