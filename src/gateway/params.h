/* params - reading one member of a request body, with an error that names it, what it must be, and
 * the allowed range. Absent and null leave *out as it was. Pure. */
#pragma once

#include "gateway/dialect.h"

/* The member, or NULL when it is absent or null. */
const json_t *param_member(const json_t *body, const char *key);
/* ERR_REFUSED with *out_error: "KEY must be WANTED". */
MUST_USE enum err param_wrong_type(struct api_error *out_error, const char *key,
                                   const char *wanted);

/* ERR_REFUSED with *out_error: 400 invalid_type (wrong JSON type) or invalid_value (out of range).
 * Strings are copied into the call's arena. */
MUST_USE enum err param_string(struct call *call, const json_t *body, const char *key,
                               struct slice *out_value, struct api_error *out_error);
MUST_USE enum err param_bool(const json_t *body, const char *key, bool *out_value,
                             struct api_error *out_error);
MUST_USE enum err param_integer(const json_t *body, const char *key, int64_t min, int64_t max,
                                int64_t *out_value, struct api_error *out_error);
MUST_USE enum err param_number(const json_t *body, const char *key, double min, double max,
                               float *out_value, struct api_error *out_error);

/* A list of strings of at least a byte, or one that stands alone. */
struct param_list {
    const char *key;
    size_t count_max, bytes_max; /* of each */
    bool may_be_one;
};
MUST_USE enum err param_strings(struct call *call, const json_t *body,
                                const struct param_list *wanted, const struct slice **out_strings,
                                size_t *out_count, struct api_error *out_error);

/* The body must be an object. */
MUST_USE enum err param_object(const json_t *body, struct api_error *out_error);
/* model, session_id (or the X-Session-Id of the input), sampling, form, lora, max_tokens, stop,
 * ignore_eos, priority: what every surface of ours understands under the same names. */
MUST_USE enum err param_generation(struct call *call, const struct dialect_input *input,
                                   struct api_error *out_error);
/* `priority`: high, normal or low. */
MUST_USE enum err param_priority(struct call *call, const json_t *body,
                                 struct api_error *out_error);
/* `prompt`: a required string. */
MUST_USE enum err param_prompt(struct call *call, const json_t *body, struct api_error *out_error);
/* Streaming is chosen by the body's `stream`, by ?stream=true, or by Accept: text/event-stream. */
MUST_USE enum err param_stream(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error);

/* What is understood and not there yet: a value other than the harmless one is refused by name. */
struct param_refusal {
    const char *key;
    bool (*is_harmless)(const json_t *value);
};
bool param_is_false(const json_t *value); /* null, false, 0, "" , [] or {} */
bool param_is_one(const json_t *value);   /* null or 1 */
MUST_USE enum err param_refuse(const json_t *body, const struct param_refusal *refusals,
                               size_t count, struct api_error *out_error);
