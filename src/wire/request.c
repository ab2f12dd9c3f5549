/* request - the internal request, to and from JSON. */
#include "wire/request.h"

#include "wire/fields.h"
#include "wire/little.h"

#include <stdio.h>

enum { PREFIX_BYTES = 4 /* u32: bytes of the head */ };

struct id request_id_new(void)
{
    for (;;) { /* a stream is never 0 */
        struct id id = id_new();
        id.low -= id.low % REQUEST_CHOICES_MAX;
        if (id.low != 0)
            return id;
    }
}

static const char *const priority_names[] = {
    [PRIORITY_NORMAL] = "normal", [PRIORITY_HIGH] = "high", [PRIORITY_LOW] = "low"};

/* --- encoding --- */

static void add_optional_string(struct json_out *json, const char *key, struct slice value)
{
    if (value.len)
        json_out_add_string(json, key, value);
}

static void encode_messages(struct json_out *json, const struct request *request)
{
    json_out_key(json, "messages");
    json_out_begin_array(json);
    for (size_t i = 0; i < request->message_count; i++) {
        const struct chat_message *message = &request->messages[i];
        json_out_begin_object(json);
        json_out_add_string(json, "role", message->role);
        json_out_add_string(json, "content", message->content);
        add_optional_string(json, "name", message->name);
        json_out_end_object(json);
    }
    json_out_end_array(json);
}

static void encode_prompt(struct json_out *json, const struct request *request)
{
    switch (request->prompt_kind) {
    case PROMPT_TEXT:
        json_out_add_string(json, "prompt", request->prompt);
        return;
    case PROMPT_TOKENS:
        json_out_key(json, "tokens");
        json_out_begin_array(json);
        for (size_t i = 0; i < request->token_count; i++)
            json_out_i64(json, request->tokens[i]);
        json_out_end_array(json);
        return;
    case PROMPT_CHAT:
        encode_messages(json, request);
        return;
    }
}

static void encode_stops(struct json_out *json, const struct request *request)
{
    if (request->stop_count == 0)
        return;
    json_out_key(json, "stops");
    json_out_begin_array(json);
    for (size_t i = 0; i < request->stop_count; i++)
        json_out_string(json, request->stops[i]);
    json_out_end_array(json);
}

static void encode_head(struct text *out, const struct request *request)
{
    char id[ID_TEXT_BYTES + 1];
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_string(&json, "id", id_format(request->id, id));
    json_out_add_i64(&json, "epoch", request->epoch);
    json_out_add_string(&json, "inbox", request->inbox);
    add_optional_string(&json, "tenant", request->tenant);
    add_optional_string(&json, "session", request->session);
    add_optional_string(&json, "label", request->label);
    add_optional_string(&json, "trace", request->trace);
    json_out_add_string(&json, "model", request->model);
    json_out_add_bool(&json, "want_progress", request->want_progress);
    json_out_add_string(&json, "priority", slice_str(priority_names[request->priority]));
    json_out_add_i64(&json, "deadline_ms", request->deadline_ms);
    json_out_add_i64(&json, "arrival_ms", request->arrival_ms);
    json_out_add_i64(&json, "credit_events", request->credit_events);
    json_out_add_i64(&json, "credit_bytes", request->credit_bytes);
    add_optional_string(&json, "task", slice_str(task_name(request->task.kind)));
    add_optional_string(&json, "numerics", request->continue_from.numerics);
    json_out_end_object(&json);
}

void request_encode_body(const struct request *request, struct text *out)
{
    struct json_out json = json_out_to(out);
    if (request->task.kind != TASK_NONE) {
        task_encode(&request->task, &json);
        return;
    }
    json_out_begin_object(&json);
    encode_prompt(&json, request);
    json_out_key(&json, "sampling");
    sampling_encode(&request->sampling, &json);
    if (request->form.kind != FORM_FREE) {
        json_out_key(&json, "form");
        form_encode(&request->form, &json);
    }
    if (request->adapters.is_said) {
        json_out_key(&json, "lora");
        adapters_encode(&request->adapters, &json);
    }
    json_out_add_i64(&json, "max_tokens", request->max_tokens);
    encode_stops(&json, request);
    json_out_add_bool(&json, "ignore_eos", request->ignore_eos);
    if (request->prompt_is_shared)
        json_out_add_bool(&json, "prompt_is_shared", true);
    if (request->continue_from.is_wanted) {
        json_out_key(&json, "continue_from");
        continuation_encode(&request->continue_from, &json);
    }
    json_out_end_object(&json);
}

void request_encode(const struct request *request, struct text *out)
{
    size_t start = out->len;
    char *prefix = text_reserve(out, PREFIX_BYTES);
    if (!prefix)
        return; /* sticky */
    out->len += PREFIX_BYTES;
    encode_head(out, request);
    if (text_status(out) != ERR_OK)
        return;
    /* A head of 4 GiB does not exist: its strings were limited, or no frame will take it. */
    little_put32(out->data + start, (uint32_t)(out->len - start - PREFIX_BYTES));
    if (request->encoded_body.len)
        text_add(out, request->encoded_body);
    else
        request_encode_body(request, out);
}

/* The epoch is always the second member, behind an id of one length. */
size_t request_set_epoch(char *payload, size_t bytes, uint32_t epoch)
{
    struct slice key = SLICE("\",\"epoch\":");
    size_t at = PREFIX_BYTES + sizeof("{\"id\":\"") - 1 + ID_TEXT_BYTES;
    struct slice rest = slice_after(slice_of(payload, bytes), at);
    ASSERT(slice_starts_with(rest, key));
    rest = slice_after(rest, key.len);
    size_t old_bytes = slice_find_byte(rest, ',');
    ASSERT(old_bytes != SLICE_NPOS);
    char digits[16];
    size_t new_bytes = (size_t)snprintf(digits, sizeof(digits), "%u", epoch);
    char *number = payload + at + key.len;
    memmove(number + new_bytes, number + old_bytes, rest.len - old_bytes);
    memcpy(number, digits, new_bytes);
    uint32_t head_bytes = little_get32(payload);
    little_put32(payload, head_bytes - (uint32_t)old_bytes + (uint32_t)new_bytes);
    return bytes - old_bytes + new_bytes;
}

/* Copies up to the value behind `key`, adds another one, and returns what comes after it. A string
 * that says the same has its quotes escaped. */
static struct slice replace_number(struct slice json, struct slice key, uint32_t number,
                                   struct text *out)
{
    size_t at = slice_find(json, key);
    ASSERT(at != SLICE_NPOS);
    text_add(out, slice_first(json, at + key.len));
    text_add_u64(out, number);
    json = slice_after(json, at + key.len);
    while (json.len > 0 && json.data[0] >= '0' && json.data[0] <= '9')
        json = slice_after(json, 1);
    return json;
}

/* What is left of a head, with one member more. */
static void add_numerics(struct slice head, struct slice numerics, struct text *out)
{
    ASSERT(slice_ends_with(head, SLICE("}")));
    text_add(out, slice_first(head, head.len - 1));
    if (numerics.len > 0) {
        text_add(out, SLICE(",\"numerics\":"));
        struct json_out json = json_out_to(out);
        json_out_string(&json, numerics);
    }
    text_add_byte(out, '}');
}

void request_encode_continued(struct slice payload, const struct continuation *continue_from,
                              uint32_t credit_events, uint32_t credit_bytes, struct text *out)
{
    size_t start = out->len;
    struct slice rest = slice_after(payload, PREFIX_BYTES);
    struct slice head = slice_first(rest, little_get32(payload.data));
    struct slice body = slice_after(rest, head.len);
    ASSERT(head.len > 0 && slice_ends_with(body, SLICE("}")));
    text_add(out, slice_first(payload, PREFIX_BYTES));
    head = replace_number(head, SLICE(",\"credit_events\":"), credit_events, out);
    head = replace_number(head, SLICE(",\"credit_bytes\":"), credit_bytes, out);
    add_numerics(head, continue_from->numerics, out);
    if (text_status(out) != ERR_OK)
        return;
    little_put32(out->data + start, (uint32_t)(out->len - start - PREFIX_BYTES));
    text_add(out, slice_first(body, body.len - 1));
    text_add(out, SLICE(",\"continue_from\":"));
    struct json_out json = json_out_to(out);
    continuation_encode(continue_from, &json);
    text_add_byte(out, '}');
}

/* --- decoding --- */

static void decode_tokens(struct fields *fields, const json_t *array, struct request *request)
{
    size_t count = json_array_size(array);
    int32_t *tokens = fields_memory(fields, "tokens", count, sizeof(*tokens));
    for (size_t i = 0; tokens && i < count; i++)
        tokens[i] = fields_token(fields, "tokens", json_array_get(array, i));
    request->prompt_kind = PROMPT_TOKENS;
    request->tokens = tokens;
    request->token_count = count;
}

static struct chat_message message_from(struct fields *fields, const json_t *item)
{
    struct fields inside = fields_inside(fields, item);
    struct chat_message message = {
        .role = fields_string(&inside, "role", REQUEST_NAME_MAX_BYTES),
        .content = fields_string(&inside, "content", SIZE_MAX),
        .name = fields_optional_string(&inside, "name", REQUEST_NAME_MAX_BYTES),
    };
    fields->err = inside.err;
    return message;
}

static void decode_messages(struct fields *fields, const json_t *array, struct request *request)
{
    size_t count = json_array_size(array);
    struct chat_message *messages = fields_memory(fields, "messages", count, sizeof(*messages));
    for (size_t i = 0; messages && i < count; i++)
        messages[i] = message_from(fields, json_array_get(array, i));
    request->prompt_kind = PROMPT_CHAT;
    request->messages = messages;
    request->message_count = count;
}

static void decode_prompt(struct fields *fields, struct request *request)
{
    const json_t *tokens = fields_optional_array(fields, "tokens", REQUEST_TOKENS_MAX);
    const json_t *messages = fields_optional_array(fields, "messages", REQUEST_MESSAGES_MAX);
    if (fields_has(fields, "prompt") + (tokens != NULL) + (messages != NULL) != 1)
        fields_fail(fields, ERR_PROTOCOL, "prompt", "exactly one of prompt, tokens and messages");
    else if (tokens)
        decode_tokens(fields, tokens, request);
    else if (messages)
        decode_messages(fields, messages, request);
    else
        request->prompt = fields_string(fields, "prompt", SIZE_MAX);
}

static void decode_stops(struct fields *fields, struct request *request)
{
    const json_t *array = fields_optional_array(fields, "stops", REQUEST_STOPS_MAX);
    if (!array)
        return;
    size_t count = json_array_size(array);
    struct slice *stops = fields_memory(fields, "stops", count, sizeof(*stops));
    for (size_t i = 0; stops && i < count; i++) {
        stops[i] =
            fields_item_string(fields, "stops", json_array_get(array, i), REQUEST_STOP_MAX_BYTES);
        if (stops[i].len == 0)
            fields_fail(fields, ERR_PROTOCOL, "stops", "a stop string is empty");
    }
    request->stops = stops;
    request->stop_count = count;
}

static void decode_id(struct fields *fields, struct request *request)
{
    if (id_parse(fields_string(fields, "id", ID_TEXT_BYTES), &request->id) != ERR_OK)
        fields_fail(fields, ERR_PROTOCOL, "id", "32 hex digits, not all 0, are required");
}

static struct slice name_member(struct fields *fields, const char *key, size_t max_bytes)
{
    struct slice name = fields_string(fields, key, max_bytes);
    if (name.len == 0)
        fields_fail(fields, ERR_PROTOCOL, key, "is empty");
    return name;
}

static void decode_head(struct fields *fields, struct request *request)
{
    decode_id(fields, request);
    request->epoch = (uint32_t)fields_i64(fields, "epoch", 1, UINT32_MAX);
    request->inbox = name_member(fields, "inbox", REQUEST_INBOX_MAX_BYTES);
    request->tenant = fields_optional_string(fields, "tenant", REQUEST_NAME_MAX_BYTES);
    request->session = fields_optional_string(fields, "session", REQUEST_NAME_MAX_BYTES);
    request->label = fields_optional_string(fields, "label", REQUEST_NAME_MAX_BYTES);
    request->trace = fields_optional_string(fields, "trace", REQUEST_TRACE_MAX_BYTES);
    request->model = name_member(fields, "model", REQUEST_NAME_MAX_BYTES);
    request->want_progress = fields_bool(fields, "want_progress");
    request->priority = (enum request_priority)fields_choice(fields, "priority", priority_names,
                                                             (int)ARRAY_COUNT(priority_names));
    request->deadline_ms = fields_u32(fields, "deadline_ms");
    request->arrival_ms = fields_i64(fields, "arrival_ms", 0, FIELDS_INTEGER_MAX);
    request->credit_events = (uint32_t)fields_i64(fields, "credit_events", 1, UINT32_MAX);
    request->credit_bytes = (uint32_t)fields_i64(fields, "credit_bytes", 1, UINT32_MAX);
    request->task.kind = task_decode_kind(fields);
    request->continue_from.numerics =
        fields_optional_string(fields, "numerics", NODE_FINGERPRINT_BYTES);
}

static void decode_body(struct fields *fields, struct request *request)
{
    if (request->task.kind != TASK_NONE) {
        task_decode(fields, request->task.kind, &request->task);
        return;
    }
    decode_prompt(fields, request);
    adapters_decode(fields, &request->adapters);
    request->max_tokens = fields_u32(fields, "max_tokens");
    decode_stops(fields, request);
    request->ignore_eos = fields_bool(fields, "ignore_eos");
    if (fields_has(fields, "prompt_is_shared"))
        request->prompt_is_shared = fields_bool(fields, "prompt_is_shared");
    if (fields_has(fields, "continue_from")) {
        struct fields from = fields_inside(fields, fields_object(fields, "continue_from"));
        struct slice numerics = request->continue_from.numerics; /* of the head */
        continuation_decode(&from, &request->continue_from);
        request->continue_from.numerics = numerics;
        fields->err = from.err;
    }
    struct fields inside = fields_inside(fields, fields_object(fields, "sampling"));
    sampling_decode(&inside, &request->sampling);
    if (fields->err == ERR_OK)
        fields->err = inside.err;
    if (!fields_has(fields, "form"))
        return;
    inside = fields_inside(fields, fields_object(fields, "form"));
    form_decode(&inside, &request->form);
    if (fields->err == ERR_OK)
        fields->err = inside.err;
}

static enum err cut_payload(struct slice payload, struct slice *out_head, struct slice *out_body,
                            struct err_note *note)
{
    if (payload.len < PREFIX_BYTES)
        return err_note_fail(note, ERR_PROTOCOL, "a submit of %zu bytes has no head", payload.len);
    struct slice parts = slice_after(payload, PREFIX_BYTES);
    uint32_t head_bytes = little_get32(payload.data);
    if (head_bytes > parts.len)
        return err_note_fail(note, ERR_PROTOCOL, "the head has %u bytes of the %zu that came",
                             head_bytes, parts.len);
    if (head_bytes > REQUEST_HEAD_MAX_BYTES)
        return err_note_fail(note, ERR_LIMIT, "the head has %u bytes: at most %d", head_bytes,
                             REQUEST_HEAD_MAX_BYTES);
    *out_head = slice_first(parts, head_bytes);
    *out_body = slice_after(parts, head_bytes);
    return ERR_OK;
}

typedef void decode_part_fn(struct fields *fields, struct request *request);

static enum err decode_part(struct slice json, struct arena *arena, decode_part_fn *decode,
                            struct request *request, struct err_note *note)
{
    json_t *root = NULL;
    TRY(fields_parse(json, &root, note));
    struct fields fields = {.object = root, .arena = arena, .note = note};
    decode(&fields, request);
    json_decref(root);
    return fields.err;
}

enum err request_decode_head(struct slice payload, struct arena *arena, struct request *out_request,
                             struct err_note *out_note)
{
    struct slice head, body;
    struct request request = {.sampling = sampling_default()};
    TRY(cut_payload(payload, &head, &body, out_note));
    TRY(decode_part(head, arena, decode_head, &request, out_note));
    *out_request = request;
    return ERR_OK;
}

enum err request_decode_body(struct slice payload, struct arena *arena, struct request *request,
                             struct err_note *out_note)
{
    struct slice head, body;
    struct request whole = *request;
    TRY(cut_payload(payload, &head, &body, out_note));
    TRY(decode_part(body, arena, decode_body, &whole, out_note));
    *request = whole;
    return ERR_OK;
}

enum err request_decode(struct slice payload, struct arena *arena, struct request *out_request,
                        struct err_note *out_note)
{
    struct request request;
    TRY(request_decode_head(payload, arena, &request, out_note));
    TRY(request_decode_body(payload, arena, &request, out_note));
    *out_request = request;
    return ERR_OK;
}
