/* event - the payloads of event records: deltas and results in binary, everything else in JSON. */
#include "wire/event.h"

#include "base/json.h"
#include "base/utf8.h"
#include "wire/fields.h"
#include "wire/little.h"

#include <stdio.h>

enum { DELTA_HEADER_BYTES = 4, TOKEN_BYTES = 4 };

static const char *const type_names[EVENT_TYPE_COUNT] = {
    [EVENT_ACCEPTED] = "accepted", [EVENT_QUEUED] = "queued",   [EVENT_LOADING] = "loading",
    [EVENT_PREFILL] = "prefill",   [EVENT_STARTED] = "started", [EVENT_DELTA] = "delta",
    [EVENT_USAGE] = "usage",       [EVENT_DONE] = "done",       [EVENT_ERROR] = "error",
    [EVENT_RESULT] = "result"};

static const char *const reason_names[DONE_REASON_COUNT] = {[DONE_EOS] = "eos",
                                                            [DONE_STOP] = "stop",
                                                            [DONE_LENGTH] = "length",
                                                            [DONE_CANCELLED] = "cancelled"};

const char *event_type_name(enum event_type type)
{
    return (unsigned)type < EVENT_TYPE_COUNT ? type_names[type] : "?";
}

const char *done_reason_name(enum done_reason reason)
{
    return (unsigned)reason < DONE_REASON_COUNT ? reason_names[reason] : "?";
}

uint32_t event_credit_bytes(const struct event *event)
{
    ASSERT(event_takes_credit(event->type));
    if (event->type == EVENT_RESULT)
        return (uint32_t)result_bytes(&event->result);
    return (uint32_t)(DELTA_HEADER_BYTES + (size_t)event->delta.token_count * TOKEN_BYTES +
                      event->delta.text.len);
}

int32_t event_delta_token(const struct event *delta, size_t index)
{
    ASSERT(delta->type == EVENT_DELTA && index < delta->delta.token_count);
    return (int32_t)little_get32(delta->delta.token_bytes.data + index * TOKEN_BYTES);
}

/* --- encoding --- */

static void encode_delta(struct text *out, const struct event *event, const int32_t *tokens)
{
    size_t token_bytes = (size_t)event->delta.token_count * TOKEN_BYTES;
    ASSERT(tokens || event->delta.token_bytes.len == token_bytes);
    char *room = text_reserve(out, DELTA_HEADER_BYTES + token_bytes);
    if (!room)
        return; /* sticky: wire_finish() reports it */
    little_put16(room, event->delta.choice);
    little_put16(room + 2, event->delta.token_count);
    room += DELTA_HEADER_BYTES;
    for (size_t i = 0; tokens && i < event->delta.token_count; i++)
        little_put32(room + i * TOKEN_BYTES, (uint32_t)tokens[i]);
    if (!tokens && token_bytes)
        memcpy(room, event->delta.token_bytes.data, token_bytes);
    out->len += DELTA_HEADER_BYTES + token_bytes;
    text_add(out, event->delta.text);
}

static void encode_started(struct json_out *json, const struct event *event)
{
    char seed[24];
    json_out_add_string(json, "model", event->started.model);
    json_out_add_string(json, "worker", event->started.worker);
    fields_add_count(json, "prompt_tokens", event->started.prompt_tokens);
    fields_add_count(json, "cached_tokens", event->started.cached_tokens);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)event->started.seed);
    json_out_add_string(json, "seed", slice_str(seed));
    if (event->started.numerics.len)
        json_out_add_string(json, "numerics", event->started.numerics);
}

static void encode_usage(struct json_out *json, const struct event *event)
{
    fields_add_count(json, "prompt_tokens", event->usage.prompt_tokens);
    fields_add_count(json, "cached_tokens", event->usage.cached_tokens);
    fields_add_count(json, "completion_tokens", event->usage.completion_tokens);
    fields_add_count(json, "queue_us", event->usage.queue_us);
    fields_add_count(json, "prefill_us", event->usage.prefill_us);
    fields_add_count(json, "decode_us", event->usage.decode_us);
}

static void encode_error(struct json_out *json, const struct event *event)
{
    json_out_add_string(json, "fault", slice_str(fault_name(event->error.fault)));
    json_out_add_string(json, "message", event->error.message);
    if (event->error.param.len)
        json_out_add_string(json, "param", event->error.param);
    fields_add_count(json, "retry_after_ms", event->error.retry_after_ms);
}

static void encode_members(struct json_out *json, const struct event *event)
{
    switch (event->type) {
    case EVENT_ACCEPTED:
        json_out_add_string(json, "worker", event->accepted.worker);
        json_out_add_string(json, "control", event->accepted.control);
        break;
    case EVENT_QUEUED:
        fields_add_count(json, "position", event->queued.position);
        fields_add_count(json, "eta_ms", event->queued.eta_ms);
        break;
    case EVENT_LOADING:
        json_out_add_double(json, "fraction", (double)event->loading.fraction);
        break;
    case EVENT_PREFILL:
        fields_add_count(json, "done_tokens", event->prefill.done_tokens);
        fields_add_count(json, "total_tokens", event->prefill.total_tokens);
        break;
    case EVENT_STARTED:
        encode_started(json, event);
        break;
    case EVENT_USAGE:
        encode_usage(json, event);
        break;
    case EVENT_DONE:
        json_out_add_string(json, "reason", slice_str(done_reason_name(event->done.reason)));
        if (event->done.stop.len)
            json_out_add_string(json, "stop", event->done.stop);
        break;
    case EVENT_ERROR:
        encode_error(json, event);
        break;
    case EVENT_DELTA:
    case EVENT_RESULT:
    case EVENT_TYPE_COUNT:
        ASSERT_MSG(false, "event type %d is not written as JSON", (int)event->type);
    }
}

void event_encode(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                  const struct event *event, const int32_t *tokens)
{
    wire_open_record(writer, &(struct wire_record){.stream = stream,
                                                   .seq = event->seq,
                                                   .epoch = epoch,
                                                   .type = (uint16_t)(WIRE_EVENT + event->type)});
    if (event->type == EVENT_DELTA) {
        encode_delta(writer->out, event, tokens);
    } else if (event->type == EVENT_RESULT) {
        result_encode(&event->result, writer->out);
    } else {
        struct json_out json = json_out_to(writer->out);
        json_out_begin_object(&json);
        encode_members(&json, event);
        json_out_end_object(&json);
    }
    wire_close_record(writer);
}

/* --- decoding --- */

/* One per token on the hot path: no allocation, no JSON. */
static enum err decode_delta(const struct wire_record *record, struct event *out_event)
{
    struct slice payload = record->payload;
    if (payload.len < DELTA_HEADER_BYTES)
        return ERR_PROTOCOL;
    uint16_t token_count = little_get16(payload.data + 2);
    struct slice rest = slice_after(payload, DELTA_HEADER_BYTES);
    size_t token_bytes = (size_t)token_count * TOKEN_BYTES;
    if (token_bytes > rest.len || !utf8_is_valid(slice_after(rest, token_bytes)))
        return ERR_PROTOCOL;
    out_event->type = EVENT_DELTA;
    out_event->seq = record->seq;
    out_event->delta.choice = little_get16(payload.data);
    out_event->delta.token_count = token_count;
    out_event->delta.token_bytes = slice_first(rest, token_bytes);
    out_event->delta.text = slice_after(rest, token_bytes);
    return ERR_OK;
}

static enum err decode_result(const struct wire_record *record, struct event *out_event)
{
    struct result result;
    TRY(result_decode(record->payload, &result));
    out_event->type = EVENT_RESULT;
    out_event->seq = record->seq;
    out_event->result = result;
    return ERR_OK;
}

static struct slice string_member(struct fields *fields, const char *key)
{
    return fields_string(fields, key, SIZE_MAX); /* the payload's size is its bound */
}

static enum fault fault_member(struct fields *fields)
{
    enum fault fault = FAULT_INTERNAL_ERROR;
    if (fault_parse(string_member(fields, "fault"), &fault) != ERR_OK)
        fields_fail(fields, ERR_PROTOCOL, "fault", "not a known code");
    return fault;
}

static void decode_members(struct fields *fields, struct event *event)
{
    switch (event->type) {
    case EVENT_ACCEPTED:
        event->accepted.worker = string_member(fields, "worker");
        event->accepted.control = string_member(fields, "control");
        break;
    case EVENT_QUEUED:
        event->queued.position = fields_u32(fields, "position");
        event->queued.eta_ms = fields_u32(fields, "eta_ms");
        break;
    case EVENT_LOADING:
        event->loading.fraction = fields_float(fields, "fraction", 0, 1);
        break;
    case EVENT_PREFILL:
        event->prefill.done_tokens = fields_u32(fields, "done_tokens");
        event->prefill.total_tokens = fields_u32(fields, "total_tokens");
        break;
    case EVENT_STARTED:
        event->started.model = string_member(fields, "model");
        event->started.worker = string_member(fields, "worker");
        event->started.prompt_tokens = fields_u32(fields, "prompt_tokens");
        event->started.cached_tokens = fields_u32(fields, "cached_tokens");
        event->started.seed = fields_u64_text(fields, "seed");
        event->started.numerics =
            fields_optional_string(fields, "numerics", NODE_FINGERPRINT_BYTES);
        break;
    case EVENT_USAGE:
        event->usage.prompt_tokens = fields_u32(fields, "prompt_tokens");
        event->usage.cached_tokens = fields_u32(fields, "cached_tokens");
        event->usage.completion_tokens = fields_u32(fields, "completion_tokens");
        event->usage.queue_us = fields_u64(fields, "queue_us");
        event->usage.prefill_us = fields_u64(fields, "prefill_us");
        event->usage.decode_us = fields_u64(fields, "decode_us");
        break;
    case EVENT_DONE:
        event->done.reason =
            (enum done_reason)fields_choice(fields, "reason", reason_names, DONE_REASON_COUNT);
        event->done.stop = fields_optional_string(fields, "stop", SIZE_MAX);
        break;
    case EVENT_ERROR:
        event->error.fault = fault_member(fields);
        event->error.message = string_member(fields, "message");
        event->error.param = fields_optional_string(fields, "param", SIZE_MAX);
        event->error.retry_after_ms = fields_u32(fields, "retry_after_ms");
        break;
    case EVENT_DELTA:
    case EVENT_RESULT:
    case EVENT_TYPE_COUNT:
        break; /* not JSON */
    }
}

static enum err decode_json(struct slice payload, struct text *scratch, struct event *event)
{
    text_clear(scratch);
    /* No string is longer than its JSON form, so all of them fit and none moves another. */
    if (!text_reserve(scratch, payload.len))
        return ERR_LIMIT;
    json_t *root = NULL;
    TRY(fields_parse(payload, &root, NULL));
    struct fields fields = {.object = root, .scratch = scratch};
    decode_members(&fields, event);
    json_decref(root);
    return fields.err == ERR_OK ? ERR_OK : ERR_PROTOCOL;
}

/* What a manager says of a request that waits. */
static bool may_be_unnumbered(uint16_t type)
{
    return type == WIRE_EVENT + EVENT_QUEUED || type == WIRE_EVENT + EVENT_LOADING;
}

enum err event_decode(const struct wire_record *record, struct text *scratch,
                      struct event *out_event)
{
    if (record->type < WIRE_EVENT || record->type >= WIRE_EVENT + EVENT_TYPE_COUNT ||
        (record->seq == 0 && !may_be_unnumbered(record->type)))
        return ERR_PROTOCOL;
    if (record->type == WIRE_EVENT + EVENT_DELTA)
        return decode_delta(record, out_event);
    if (record->type == WIRE_EVENT + EVENT_RESULT)
        return decode_result(record, out_event);
    struct event event = {.type = (enum event_type)(record->type - WIRE_EVENT), .seq = record->seq};
    TRY(decode_json(record->payload, scratch, &event));
    *out_event = event;
    return ERR_OK;
}
