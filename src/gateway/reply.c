/* reply - starts a reply, asks the workers, and ends it. Events and bytes: reply_stream.c. */
#include "gateway/reply_state.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/dialect/dialects.h"
#include "gateway/reply_choices.h"
#include "gateway/trace.h"

enum {
    CALL_ARENA_BYTES = 1024 * 1024,    /* and what arena_max_bytes() adds */
    WHOLE_MAX_BYTES = 4 * 1024 * 1024, /* text of one choice of a non-stream answer */
    /* TASK_RESULTS_MAX_BYTES as JSON: a token of 4 bytes is 11 characters, a byte of a piece 4. */
    RESULTS_MAX_BYTES = 8 * TASK_RESULTS_MAX_BYTES,
    FIELDS_MAX_BYTES = 1024,
    LABEL_MAX_BYTES = 64,
    GIVE_BACK_BYTES = 1024 * 1024, /* of a body */
    FORGET_BYTES = 1024, /* asked with less than that, it is kept: forgetting costs time, too */
};

/* --- life --- */

static void release(void *pointer)
{
    struct reply *reply = pointer;
    struct gateway *gateway = reply->gateway;
    for (uint32_t i = 0; reply->choices && i < reply->call->choices; i++)
        text_fini(&reply->call->choice[i].whole);
    mem_free(reply->call->choice);
    mem_free(reply->choices);
    text_fini(&reply->out);
    marks_fini(&reply->marks);
    arena_free(reply->call->arena);
    mem_free(reply->call);
    if (reply->key)
        reply->key->streams -= reply->key_streams;
    key_unref(reply->key);
    mem_free(reply);
    gateway_reply_gone(gateway);
}

void reply_abandon_asks(struct reply *reply)
{
    if (!reply->choices) /* and call->choices may be the pool's just now */
        return;
    for (uint32_t i = 0; i < reply->call->choices; i++)
        if (reply->choices[i].ask)
            ask_abandon(&reply->choices[i].ask);
}

static void retire(struct reply *reply)
{
    reply_done(reply);
    list_remove(&reply->link);
    loop_free_later(reply->gateway->loop, &reply->free_slot, release, reply);
}

/* The one way out. What is still asked for is abandoned: cancelled, and seen through by the hub. */
void reply_gone(struct reply *reply, const char *end)
{
    ASSERT(reply->state != REPLY_GONE);
    reply->state = REPLY_GONE;
    reply->end = end;
    reply->conn = NULL;
    reply_abandon_asks(reply);
    reply_stream_stop(reply);
    if (reply->parsing) /* the pool still works on it: on_pool_parsed() retires it */
        loop_work_cancel(reply->parsing);
    else
        retire(reply);
}

/* --- answers that are not streams --- */

void reply_json(struct http_conn *conn, int status, struct slice fields, struct text *body)
{
    if (text_status(body) == ERR_OK)
        http_conn_reply(conn, status, SLICE("application/json"), fields, text_slice(body));
    else /* half a JSON text is none */
        http_conn_reply(conn, status < 400 ? 500 : status, SLICE(""), fields, SLICE(""));
    text_fini(body);
}

void reply_refuse(struct http_conn *conn, const struct api_error *error, struct slice more_fields)
{
    struct text body, fields;
    text_init(&body, 64 * 1024);
    text_init(&fields, 4096);
    text_add(&fields, more_fields);
    api_error_fields(error, &fields);
    api_error_write(error, &body);
    reply_json(conn, error->status, text_slice(&fields), &body);
    text_fini(&fields);
}

/* X-Request-Id is ours; the client's own comes back under another name. */
void reply_add_id_fields(const struct call *call, struct text *fields)
{
    text_add_f(fields, "X-Request-Id: %s\r\n", call->id_text);
    if (!slice_is_empty(call->request.label))
        text_add_f(fields, "X-Client-Request-Id: " SLICE_FMT "\r\n",
                   SLICE_ARG(call->request.label));
}

void reply_answer_error(struct reply *reply, const struct api_error *error)
{
    struct text fields;
    text_init(&fields, FIELDS_MAX_BYTES);
    reply_add_id_fields(reply->call, &fields);
    reply->status = error->status;
    reply->gateway->stats.errors++;
    reply_refuse(reply->conn, error, text_slice(&fields));
    text_fini(&fields);
    reply_gone(reply, error->code);
}

void reply_answer_whole(struct reply *reply)
{
    struct text body, fields;
    text_init(&body, SIZE_MAX / 2); /* bounded by WHOLE_MAX_BYTES of text per choice, escaped */
    text_init(&fields, FIELDS_MAX_BYTES);
    reply_add_id_fields(reply->call, &fields);
    reply->call->dialect->whole(reply->call, &body);
    bool is_whole = text_status(&body) == ERR_OK;
    reply->status = is_whole ? 200 : 500;
    reply_json(reply->conn, reply->status, text_slice(&fields), &body);
    text_fini(&fields);
    reply_gone(reply, is_whole ? done_reason_name(reply->call->choice[0].reason) : "no_memory");
}

/* --- asking --- */

/* For load and for what is not there yet: come back in a second. */
MUST_USE static enum err refuse_for_now(struct api_error *out_error, int status, const char *code,
                                        const char *message)
{
    (void)api_error_set(out_error, status, code, NULL, "%s", message); /* it is in the error */
    out_error->retry_after_ms = 1000;
    return ERR_REFUSED;
}

enum err reply_unknown_model(const struct reply *reply, struct api_error *out_error)
{
    return api_error_set(out_error, 404, "model_not_found", "model",
                         "the model '" SLICE_FMT "' does not exist",
                         SLICE_ARG(slice_first(reply->call->request.model, 128)));
}

/* A model is asked for by a name that some node has said it serves. The default one exists in any
 * case: its worker is starting, or is being started again. */
MUST_USE static enum err resolve_model(struct reply *reply, struct api_error *out_error)
{
    struct request *request = &reply->call->request;
    struct gateway *gateway = reply->gateway;
    if (slice_is_empty(request->model))
        request->model = slice_str(gateway->options.default_model);
    bool is_new = loop_now_us(gateway->loop) - gateway->opened_us < GATEWAY_GREETING_MS * 1000ull;
    bool can_be_named = request->model.len <= REQUEST_NAME_MAX_BYTES;
    if ((is_new && can_be_named) || model_table_knows(gateway->models, request->model))
        return ERR_OK;
    if (model_table_is_empty(gateway->models) ||
        slice_eq_str(request->model, gateway->options.default_model))
        return refuse_for_now(out_error, 503, "loading", "no worker has reported this model yet");
    return reply_unknown_model(reply, out_error);
}

/* Every slot that some worker of the model has could be this request's. */
static uint32_t slots_of_largest(struct reply *reply)
{
    uint32_t slots = 0;
    const struct node_state *state;
    for (size_t cursor = 0; (state = model_table_next(reply->gateway->models, &cursor));)
        if (slice_eq(state->model, reply->call->request.model) && state->slots > slots)
            slots = state->slots;
    return slots;
}

/* Its other choices are streams of the key as well. */
MUST_USE static enum err charge_key(struct reply *reply, struct api_error *out_error)
{
    struct key *key = reply->key;
    if (!key)
        return ERR_OK;
    TRY(choices_check_key(reply->call, key->streams, reply->gateway->streams_per_key, out_error));
    key->streams += reply->call->choices - reply->key_streams;
    reply->key_streams = reply->call->choices;
    return ERR_OK;
}

/* Of what is left to refuse when it is known which model is meant. */
MUST_USE static enum err admit(struct reply *reply, struct api_error *out_error)
{
    TRY(resolve_model(reply, out_error));
    TRY(choices_check_slots(reply->call, slots_of_largest(reply), out_error));
    return charge_key(reply, out_error);
}

MUST_USE static enum err open_asks(struct reply *reply, struct api_error *out_error)
{
    struct call *call = reply->call;
    for (uint32_t i = 0; i < call->choices; i++) {
        struct choice *choice = &reply->choices[i];
        struct request request = choices_request(call, i);
        *choice = (struct choice){.reply = reply, .index = i};
        enum err err =
            ask_open(reply->gateway->hub, &request, reply_on_event, choice, &choice->ask);
        if (err == ERR_FULL)
            return refuse_for_now(out_error, 429, "queue_full",
                                  "this gateway has too many requests in flight");
        if (err != ERR_OK)
            return api_error_set(out_error, 413, "body_too_large", NULL,
                                 "the request is too large to be passed on");
    }
    return ERR_OK;
}

static void make_choices(struct reply *reply)
{
    struct call *call = reply->call;
    reply->choices = mem_array(call->choices, sizeof(*reply->choices));
    call->choice = mem_array(call->choices, sizeof(*call->choice));
    for (uint32_t i = 0; i < call->choices; i++)
        text_init(&call->choice[i].whole,
                  call->request.task.kind ? RESULTS_MAX_BYTES : WHOLE_MAX_BYTES);
}

MUST_USE static enum err keep_words(const struct request *from, struct arena *arena,
                                    struct request *to)
{
    TRY(arena_dup(arena, from->model, &to->model));
    TRY(arena_dup(arena, from->label, &to->label));
    return arena_dup(arena, from->trace, &to->trace);
}

/* A stream lives for minutes, its prompt may be megabytes: what was asked is the worker's now, and
 * only words that the answer and the log repeat are kept (the tenant is the key's). */
static void forget_prompt(struct reply *reply)
{
    struct call *call = reply->call;
    if (call->echo || call->dialect->repeats_prompt || arena_used(call->arena) < FORGET_BYTES)
        return;
    struct arena *arena = arena_new(CALL_ARENA_BYTES);
    struct request kept = {.id = call->request.id,
                           .tenant = call->request.tenant,
                           .task = call->request.task,
                           .max_tokens = call->request.max_tokens};
    kept.task.inputs = NULL;
    kept.task.query = (struct slice){0};
    if (keep_words(&call->request, arena, &kept) != ERR_OK) { /* no memory to save some */
        arena_free(arena);
        return;
    }
    arena_free(call->arena);
    call->arena = arena;
    call->request = kept;
    call->more_prompts = NULL;
    call->encoded = NULL;
}

static void ask_all(struct reply *reply)
{
    struct call *call = reply->call;
    struct api_error error;
    if (admit(reply, &error) != ERR_OK) {
        reply_answer_error(reply, &error);
        return;
    }
    if (model_table_knows(reply->gateway->models, call->request.model)) /* else: take_started() */
        reply->counts = counts_model(reply->gateway->counts, call->request.model);
    call->request.want_progress = call->stream && call->include_progress;
    make_choices(reply);
    if (call->stream)
        reply_stream_prepare(reply);
    if (open_asks(reply, &error) != ERR_OK)
        reply_answer_error(reply, &error);
    else
        forget_prompt(reply);
}

/* --- parsing --- */

/* What is needed until the dialect has said what it is; on the stack, or with the pool. */
struct parsing {
    struct reply *reply;
    struct text body;
    bool has_body;
    struct dialect_input input;
    enum err result;
    struct api_error error;
};

/* ?format=raw on any route: parsed by the route's dialect, formatted by dialect_raw. */
MUST_USE static enum err select_format(struct parsing *parsing)
{
    struct call *call = parsing->reply->call;
    struct text format;
    text_init(&format, 16);
    enum err err = http_query_value(parsing->input.query, "format", &format);
    bool is_raw = err == ERR_OK && slice_eq_str(text_slice(&format), "raw");
    text_fini(&format);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (!is_raw)
        return api_error_set(&parsing->error, 400, "invalid_value", "format",
                             "format in the query must be raw");
    if (call->dialect->take_result)
        return api_error_set(&parsing->error, 400, "unsupported_parameter", "format",
                             "format=raw is for streams, which this is not");
    if (call->choices > 1) /* it has no word for which of them */
        return api_error_set(&parsing->error, 400, "unsupported_parameter",
                             call->per_prompt > 1 ? "n" : "prompt",
                             "format=raw takes one prompt, and n = 1");
    call->dialect = &dialect_raw;
    call->stream = true;
    return ERR_OK;
}

/* Pure, so it may run on the pool: reads the body, lets the dialect make a request of it. */
static void parse(void *ctx)
{
    struct parsing *parsing = ctx;
    struct call *call = parsing->reply->call;
    struct err_note note;
    json_t *body = NULL;
    if (parsing->has_body) { /* also when it is empty: that is bad JSON, not "no body" */
        enum err err = json_read(text_slice(&parsing->body), JSON_DEPTH_MAX, &body, &note);
        if (err != ERR_OK) {
            parsing->result =
                api_error_set(&parsing->error, 400, "invalid_json", NULL, "%s", note.text);
            return;
        }
    }
    parsing->input.body = body;
    parsing->result = call->dialect->parse(call, &parsing->input, &parsing->error);
    if (parsing->result == ERR_OK)
        parsing->result = select_format(parsing);
    if (parsing->result == ERR_OK)
        parsing->result = choices_check_bytes(
            call, parsing->body.len, parsing->reply->gateway->options.http.message.body_max_bytes,
            &parsing->error);
    choices_draw_seed(call);
    json_decref(body);
    text_fini(&parsing->body);
}

/* What has no room in the arena is encoded by who needs it. */
static void encode_choice(struct call *call, uint32_t index)
{
    struct request request = choices_request(call, index);
    struct text body;
    text_init(&body, WIRE_FRAME_MAX_BYTES);
    request_encode_body(&request, &body);
    if (text_status(&body) != ERR_OK ||
        arena_dup(call->arena, text_slice(&body), &call->encoded[index]) != ERR_OK)
        call->encoded[index] = (struct slice){0};
    text_fini(&body);
}

/* The whole way of a large body, so that the loop has nothing left but to copy it. */
static void parse_and_encode(void *ctx)
{
    struct parsing *parsing = ctx;
    struct call *call = parsing->reply->call;
    bool was_large = parsing->body.len >= GIVE_BACK_BYTES;
    parse(parsing);
    if (was_large)
        mem_give_back(); /* its values are freed: 100 MiB of small pieces at worst */
    if (parsing->result != ERR_OK)
        return;
    struct slice *encoded = arena_array(call->arena, call->choices, sizeof(*encoded));
    if (!encoded)
        return;
    memset(encoded, 0, call->choices * sizeof(*encoded));
    call->encoded = encoded;
    for (uint32_t i = 0; i < call->choices; i++)
        encode_choice(call, i);
}

static void on_parsed(struct parsing *parsing)
{
    struct reply *reply = parsing->reply;
    text_fini(&parsing->body);
    reply->state = REPLY_WAITING;
    if (parsing->result != ERR_OK)
        reply_answer_error(reply, &parsing->error);
    else
        ask_all(reply);
}

static void on_pool_parsed(void *ctx, enum err status)
{
    struct parsing *parsing = ctx;
    struct reply *reply = parsing->reply;
    (void)status; /* cancelled only by reply_gone() */
    reply->parsing = NULL;
    if (reply->state == REPLY_GONE)
        retire(reply);
    else
        on_parsed(parsing);
    text_fini(&parsing->body);
    mem_free(parsing);
}

static void parse_on_pool(const struct parsing *parsing)
{
    struct reply *reply = parsing->reply;
    struct parsing *kept = mem_alloc(sizeof(*kept));
    *kept = *parsing;
    reply->parsing = loop_work_start(reply->gateway->loop, parse_and_encode, on_pool_parsed, kept);
}

/* The client's own id is a label: at most 64 visible ASCII, else it is ignored. */
static struct slice label_of(const struct http_request *request)
{
    struct slice label = http_request_field(request, "X-Request-Id");
    if (label.len > LABEL_MAX_BYTES)
        return (struct slice){NULL, 0};
    for (size_t i = 0; i < label.len; i++)
        if (label.data[i] <= ' ' || label.data[i] > '~')
            return (struct slice){NULL, 0};
    return label;
}

/* The worker is told our step in the trace, not the client's. */
MUST_USE static enum err keep_trace(struct reply *reply, const struct http_request *request)
{
    struct trace trace = trace_join(request, reply->call->request.id);
    char text[TRACE_TEXT_BYTES + 1];
    return arena_dup(reply->call->arena, trace_format(&trace, text), &reply->call->request.trace);
}

/* Copies out of the request what outlives this callback. */
MUST_USE static enum err keep(struct reply *reply, const struct http_request *request,
                              struct dialect_input *input)
{
    struct arena *arena = reply->call->arena;
    TRY(arena_dup(arena, request->query, &input->query));
    TRY(arena_dup(arena, http_request_field(request, "X-Session-Id"), &input->session_id));
    TRY(arena_dup(arena, label_of(request), &reply->call->request.label));
    TRY(keep_trace(reply, request));
    input->accepts_event_stream = http_field_has_token(request, "Accept", "text/event-stream");
    return ERR_OK;
}

/* What is parsed, and what is encoded of it for each of `n` choices: all of these together are no
 * longer than a body may be. */
static size_t arena_max_bytes(const struct gateway *gateway, size_t body_bytes)
{
    size_t copies = CALL_CHOICES_MAX * body_bytes;
    size_t copies_max = gateway->options.http.message.body_max_bytes;
    return CALL_ARENA_BYTES + 4 * body_bytes + (copies < copies_max ? copies : copies_max);
}

static struct call *call_new(const struct dialect *dialect, size_t arena_bytes)
{
    struct call *call = mem_alloc(sizeof(*call));
    call->arena = arena_new(arena_bytes);
    call->dialect = dialect;
    call->choices = call->per_prompt = 1;
    call->request.id = request_id_new();
    call->request.epoch = 1;
    call->request.sampling = sampling_default();
    call->request.arrival_ms = clock_wall_ms();
    call->created_s = call->request.arrival_ms / 1000;
    id_format(call->request.id, call->id_text);
    return call;
}

/* The call's tenant is borrowed from the key, which the reply holds. */
static void take_key(struct reply *reply, struct key *key)
{
    reply->key = key_ref(key);
    if (!key)
        return;
    key->streams++;
    reply->key_streams = 1;
    reply->call->request.tenant = slice_str(key->tenant);
}

static struct reply *reply_new(struct gateway *gateway, struct http_conn *conn,
                               const struct dialect *dialect, size_t body_bytes, struct key *key)
{
    struct reply *reply = mem_alloc(sizeof(*reply));
    reply->gateway = gateway;
    reply->conn = conn;
    reply->call = call_new(dialect, arena_max_bytes(gateway, body_bytes));
    take_key(reply, key);
    reply->counts = counts_model(gateway->counts, SLICE(""));
    reply->mark = http_conn_mark(conn);
    reply->arrived_us = loop_now_us(gateway->loop);
    reply->end = "";
    list_push_back(&gateway->replies, &reply->link);
    gateway->reply_count++;
    gateway->stats.requests++;
    reply_stream_init(reply);
    return reply;
}

void reply_on_turn_end(void *ctx)
{
    struct gateway *gateway = ctx;
    gateway->parsed_bytes = 0;
}

/* True: so much is still parsed in this turn. */
static bool takes_turns_share(struct gateway *gateway, size_t bytes)
{
    if (bytes > PARSE_PER_TURN_BYTES - gateway->parsed_bytes)
        return false;
    gateway->parsed_bytes += bytes;
    loop_before_sleep(gateway->loop, &gateway->turn_end);
    return true;
}

void reply_start(struct gateway *gateway, struct http_conn *conn, const struct dialect *dialect,
                 const struct http_request *request, struct key *key)
{
    struct parsing parsing = {
        .reply = reply_new(gateway, conn, dialect, request->body.len, key),
        .has_body = request->method == HTTP_POST,
    };
    if (keep(parsing.reply, request, &parsing.input) != ERR_OK) {
        (void)api_error_set(&parsing.error, 413, "body_too_large", NULL,
                            "out of memory for this request"); /* the code is in the error */
        reply_answer_error(parsing.reply, &parsing.error);
        return;
    }
    if (parsing.has_body)
        parsing.body = http_conn_take_body(conn);
    if (takes_turns_share(gateway, parsing.body.len)) {
        parse(&parsing);
        on_parsed(&parsing);
    } else {
        parse_on_pool(&parsing);
    }
}

void reply_end_all(struct gateway *gateway, enum fault fault, const char *message)
{
    struct event event = {.type = EVENT_ERROR,
                          .error = {.fault = fault, .message = slice_str(message)}};
    struct api_error error;
    api_error_from_event(&event, &error);
    LIST_FOREACH_SAFE (node, &gateway->replies) {
        struct reply *reply = CONTAINER_OF(node, struct reply, link);
        if (reply->state == REPLY_PARSING && reply->conn)
            reply_answer_error(reply, &error);
        else if (!reply->ending && reply->state != REPLY_GONE)
            reply_fail(reply, &error);
    }
}
