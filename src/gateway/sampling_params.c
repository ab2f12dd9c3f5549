/* sampling_params - what a request says about sampling. */
#include "gateway/sampling_params.h"

#include "gateway/params.h"

#include <float.h>

enum { TOKEN_ID_MAX = 1 << 24, FACTOR_MAX = 100, SIGMAS_MAX = 1000 };

/* --- logit_bias --- */

/* "50256" -> 50256: the keys of logit_bias are token ids as strings. */
MUST_USE static enum err read_bias(const char *key, const json_t *value,
                                   struct logit_bias *out_bias, struct api_error *out_error)
{
    uint64_t token;
    if (slice_parse_u64(slice_str(key), TOKEN_ID_MAX, &token) != ERR_OK)
        return api_error_set(out_error, 400, "invalid_value", "logit_bias",
                             "logit_bias has the key '%.32s': keys are token ids", key);
    double bias = json_number_value(value);
    if (!json_is_number(value) || !(bias >= -100 && bias <= 100))
        return api_error_set(out_error, 400, "invalid_value", "logit_bias",
                             "logit_bias of token %s: allowed is -100..100", key);
    *out_bias = (struct logit_bias){(int32_t)token, (float)bias};
    return ERR_OK;
}

MUST_USE static enum err read_logit_bias(struct call *call, const json_t *body,
                                         struct api_error *out_error)
{
    json_t *value =
        (json_t *)(uintptr_t)param_member(body, "logit_bias"); /* jansson iterates non-const */
    if (!value)
        return ERR_OK;
    if (!json_is_object(value))
        return param_wrong_type(out_error, "logit_bias", "an object");
    size_t count = json_object_size(value), filled = 0;
    if (count > REQUEST_BIAS_MAX)
        return api_error_set(out_error, 400, "invalid_value", "logit_bias",
                             "logit_bias has %zu entries: allowed are %d", count, REQUEST_BIAS_MAX);
    struct logit_bias *list = arena_array(call->arena, count + 1, sizeof(*list));
    if (!list)
        return api_error_set(out_error, 413, "body_too_large", "logit_bias", "out of memory");
    const char *key;
    json_t *one;
    json_object_foreach(value, key, one) TRY(read_bias(key, one, &list[filled++], out_error));
    call->request.sampling.bias = list;
    call->request.sampling.bias_count = filled;
    return ERR_OK;
}

/* --- dry --- */

MUST_USE static enum err read_dry(struct call *call, const json_t *body,
                                  struct api_error *out_error)
{
    static const struct param_list breakers = {"dry_sequence_breakers", SAMPLING_BREAKERS_MAX,
                                               SAMPLING_BREAKER_MAX_BYTES, false};
    struct sampling *sampling = &call->request.sampling;
    int64_t allowed = sampling->dry_allowed, last_n = sampling->dry_last_n;
    TRY(param_number(body, "dry_multiplier", 0, FACTOR_MAX, &sampling->dry_multiplier, out_error));
    TRY(param_number(body, "dry_base", 1, FACTOR_MAX, &sampling->dry_base, out_error));
    TRY(param_integer(body, "dry_allowed_length", 0, INT32_MAX, &allowed, out_error));
    TRY(param_integer(body, "dry_penalty_last_n", -1, INT32_MAX, &last_n, out_error));
    sampling->dry_allowed = (int32_t)allowed;
    sampling->dry_last_n = (int32_t)last_n;
    return param_strings(call, body, &breakers, &sampling->dry_breakers,
                         &sampling->dry_breaker_count, out_error);
}

/* --- samplers: the order --- */

/* llama-server takes "top-k" for "top_k", and some names more. */
static enum sampling_stage stage_of(struct slice name)
{
    static const struct {
        const char *name;
        enum sampling_stage stage;
    } others[] = {{"typical_p", SAMPLING_TYPICAL_P},
                  {"typical", SAMPLING_TYPICAL_P},
                  {"typ", SAMPLING_TYPICAL_P},
                  {"nucleus", SAMPLING_TOP_P},
                  {"temp", SAMPLING_TEMPERATURE}};
    char plain[16];
    if (name.len > sizeof(plain))
        return SAMPLING_STAGES;
    for (size_t i = 0; i < name.len; i++)
        plain[i] = name.data[i] == '-' ? '_' : name.data[i];
    name = slice_of(plain, name.len);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        if (slice_eq_str(name, others[i].name))
            return others[i].stage;
    return sampling_stage_of(name);
}

/* llama-server's short form, a letter for each stage, in the default order. */
static enum sampling_stage stage_of_letter(char letter)
{
    static const char letters[] = "edskypmxt";
    _Static_assert(sizeof(letters) - 1 == SAMPLING_STAGES, "a letter for each");
    return (enum sampling_stage)strcspn(letters, (char[]){letter, '\0'});
}

MUST_USE static enum err add_stage(struct sampling *sampling, enum sampling_stage stage,
                                   struct slice name, struct api_error *out_error)
{
    if (stage == SAMPLING_STAGES)
        return api_error_set(out_error, 400, "invalid_value", "samplers",
                             "samplers has '%.*s': allowed are penalties, dry, top_n_sigma, top_k, "
                             "typ_p, top_p, min_p, xtc and temperature",
                             (int)(name.len < 32 ? name.len : 32), name.data);
    for (uint32_t i = 0; i < sampling->order_count; i++)
        if (sampling->order[i] == stage)
            return api_error_set(out_error, 400, "invalid_value", "samplers",
                                 "samplers has '%s' twice", sampling_stage_name(stage));
    sampling->order[sampling->order_count++] = (uint8_t)stage;
    return ERR_OK;
}

MUST_USE static enum err read_samplers(struct sampling *sampling, const json_t *body,
                                       struct api_error *out_error)
{
    const json_t *value = param_member(body, "samplers");
    struct slice letters = json_slice(value);
    if (!value)
        return ERR_OK;
    if (!json_is_array(value) && !json_is_string(value))
        return param_wrong_type(out_error, "samplers", "a list of names, or a string of letters");
    sampling->order_count = 0;
    for (size_t i = 0; i < letters.len; i++)
        TRY(add_stage(sampling, stage_of_letter(letters.data[i]),
                      slice_first(slice_after(letters, i), 1), out_error));
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *name = json_array_get(value, i);
        if (!json_is_string(name))
            return param_wrong_type(out_error, "samplers", "a list of names");
        TRY(add_stage(sampling, stage_of(json_slice(name)), json_slice(name), out_error));
    }
    return ERR_OK;
}

/* --- all of it --- */

/* 0 keeps the likeliest alone, whose share is always enough. */
static void make_positive(float *share)
{
    if (*share == 0)
        *share = FLT_MIN;
}

MUST_USE static enum err read_cuts(struct sampling *sampling, const json_t *body,
                                   struct api_error *out_error)
{
    int64_t top_k = sampling->top_k, min_keep = sampling->min_keep;
    TRY(param_number(body, "top_p", 0, 1, &sampling->top_p, out_error));
    TRY(param_number(body, "min_p", 0, 1, &sampling->min_p, out_error));
    TRY(param_number(body, "typical_p", 0, 1, &sampling->typical_p, out_error));
    TRY(param_integer(body, "top_k", -1, INT32_MAX, &top_k, out_error));
    TRY(param_number(body, "top_n_sigma", -1, SIGMAS_MAX, &sampling->top_n_sigma, out_error));
    TRY(param_integer(body, "min_keep", 0, INT32_MAX, &min_keep, out_error));
    TRY(param_number(body, "xtc_probability", 0, 1, &sampling->xtc_probability, out_error));
    TRY(param_number(body, "xtc_threshold", 0, 1, &sampling->xtc_threshold, out_error));
    make_positive(&sampling->top_p);
    make_positive(&sampling->typical_p);
    if (sampling->top_n_sigma < 0) /* llama.cpp's way to say "off" */
        sampling->top_n_sigma = 0;
    sampling->top_k = top_k < 0 ? 0 : (int32_t)top_k;
    sampling->min_keep = (int32_t)min_keep;
    return ERR_OK;
}

MUST_USE static enum err read_penalties(struct sampling *sampling, const json_t *body,
                                        struct api_error *out_error)
{
    int64_t last_n = sampling->penalty_last_n;
    TRY(param_number(body, "repeat_penalty", 0.01, 100, &sampling->repeat_penalty, out_error));
    TRY(param_integer(body, "repeat_last_n", -1, INT32_MAX, &last_n, out_error));
    TRY(param_number(body, "frequency_penalty", -2, 2, &sampling->frequency_penalty, out_error));
    TRY(param_number(body, "presence_penalty", -2, 2, &sampling->presence_penalty, out_error));
    sampling->penalty_last_n = (int32_t)last_n;
    return ERR_OK;
}

MUST_USE static enum err read_mirostat(struct sampling *sampling, const json_t *body,
                                       struct api_error *out_error)
{
    int64_t version = sampling->mirostat;
    TRY(param_integer(body, "mirostat", 0, 2, &version, out_error));
    TRY(param_number(body, "mirostat_tau", 0, SAMPLING_TAU_MAX, &sampling->mirostat_tau,
                     out_error));
    TRY(param_number(body, "mirostat_eta", 0, 1, &sampling->mirostat_eta, out_error));
    sampling->mirostat = (uint8_t)version;
    return ERR_OK;
}

static bool is_negative(const json_t *value)
{
    return json_is_null(value) || (json_is_number(value) && json_number_value(value) < 0);
}

enum err sampling_params(struct call *call, const json_t *body, struct api_error *out_error)
{
    static const struct param_refusal refusal = {"adaptive_target", is_negative};
    struct sampling *sampling = &call->request.sampling;
    int64_t seed = -1;
    TRY(param_refuse(body, &refusal, 1, out_error));
    TRY(param_number(body, "temperature", 0, 100, &sampling->temperature, out_error));
    TRY(param_number(body, "dynatemp_range", 0, 100, &sampling->dynatemp_range, out_error));
    TRY(param_number(body, "dynatemp_exponent", 0, 100, &sampling->dynatemp_exponent, out_error));
    TRY(read_cuts(sampling, body, out_error));
    TRY(read_penalties(sampling, body, out_error));
    TRY(read_dry(call, body, out_error));
    TRY(read_mirostat(sampling, body, out_error));
    TRY(read_samplers(sampling, body, out_error));
    /* -1 is llama.cpp's and Ollama's way to say "a random one". */
    TRY(param_integer(body, "seed", -1, INT64_MAX, &seed, out_error));
    sampling->has_seed = seed >= 0;
    sampling->seed = seed >= 0 ? (uint64_t)seed : 0;
    return read_logit_bias(call, body, out_error);
}
