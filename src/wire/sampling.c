/* sampling - what a request says about sampling, to and from JSON. */
#include "wire/sampling.h"

#include "wire/fields.h"

#include <float.h>
#include <stdio.h>

static const char *const stage_names[SAMPLING_STAGES] = {
    [SAMPLING_PENALTIES] = "penalties",
    [SAMPLING_DRY] = "dry",
    [SAMPLING_TOP_N_SIGMA] = "top_n_sigma",
    [SAMPLING_TOP_K] = "top_k",
    [SAMPLING_TYPICAL_P] = "typ_p",
    [SAMPLING_TOP_P] = "top_p",
    [SAMPLING_MIN_P] = "min_p",
    [SAMPLING_XTC] = "xtc",
    [SAMPLING_TEMPERATURE] = "temperature",
};

const char *sampling_stage_name(enum sampling_stage stage)
{
    return stage_names[stage];
}

enum sampling_stage sampling_stage_of(struct slice name)
{
    int stage = 0;
    while (stage < SAMPLING_STAGES && !slice_eq_str(name, stage_names[stage]))
        stage++;
    return (enum sampling_stage)stage;
}

struct sampling sampling_default(void)
{
    static const struct slice breakers[] = {SLICE("\n"), SLICE(":"), SLICE("\""), SLICE("*")};
    struct sampling sampling = {.temperature = 1,
                                .dynatemp_exponent = 1,
                                .top_p = 1,
                                .typical_p = 1,
                                .xtc_threshold = 0.1f,
                                .repeat_penalty = 1,
                                .penalty_last_n = 64,
                                .dry_base = 1.75f,
                                .dry_last_n = 64,
                                .dry_allowed = 2,
                                .dry_breakers = breakers,
                                .dry_breaker_count = ARRAY_COUNT(breakers),
                                .mirostat_tau = 5,
                                .mirostat_eta = 0.1f,
                                .order_count = SAMPLING_STAGES};
    for (uint8_t stage = 0; stage < SAMPLING_STAGES; stage++)
        sampling.order[stage] = stage;
    return sampling;
}

bool sampling_has_default_order(const struct sampling *sampling)
{
    for (uint8_t stage = 0; stage < SAMPLING_STAGES; stage++) {
        if (stage >= sampling->order_count || sampling->order[stage] != stage)
            return false;
    }
    return true;
}

/* --- encoding --- */

static void encode_bias(struct json_out *json, const struct sampling *sampling)
{
    json_out_key(json, "bias");
    json_out_begin_array(json);
    for (size_t i = 0; i < sampling->bias_count; i++) {
        json_out_begin_array(json);
        json_out_i64(json, sampling->bias[i].token);
        json_out_double(json, (double)sampling->bias[i].bias);
        json_out_end_array(json);
    }
    json_out_end_array(json);
}

static void encode_order(struct json_out *json, const struct sampling *sampling)
{
    json_out_key(json, "order");
    json_out_begin_array(json);
    for (uint8_t i = 0; i < sampling->order_count; i++)
        json_out_string(json, slice_str(stage_names[sampling->order[i]]));
    json_out_end_array(json);
}

static void encode_dry(struct json_out *json, const struct sampling *sampling)
{
    json_out_add_double(json, "dry_multiplier", (double)sampling->dry_multiplier);
    json_out_add_double(json, "dry_base", (double)sampling->dry_base);
    json_out_add_i64(json, "dry_allowed", sampling->dry_allowed);
    json_out_add_i64(json, "dry_last_n", sampling->dry_last_n);
    json_out_key(json, "dry_breakers");
    json_out_begin_array(json);
    for (size_t i = 0; i < sampling->dry_breaker_count; i++)
        json_out_string(json, sampling->dry_breakers[i]);
    json_out_end_array(json);
}

static void add_unless(struct json_out *json, const char *key, float value, float neutral)
{
    if (value != neutral)
        json_out_add_double(json, key, (double)value);
}

/* What most requests have none of. */
static void encode_rare(struct json_out *json, const struct sampling *sampling)
{
    add_unless(json, "typical_p", sampling->typical_p, 1);
    add_unless(json, "top_n_sigma", sampling->top_n_sigma, 0);
    if (sampling->min_keep > 0)
        json_out_add_i64(json, "min_keep", sampling->min_keep);
    if (sampling->xtc_probability > 0) {
        json_out_add_double(json, "xtc_probability", (double)sampling->xtc_probability);
        json_out_add_double(json, "xtc_threshold", (double)sampling->xtc_threshold);
    }
    if (sampling->dynatemp_range > 0) {
        json_out_add_double(json, "dynatemp_range", (double)sampling->dynatemp_range);
        json_out_add_double(json, "dynatemp_exponent", (double)sampling->dynatemp_exponent);
    }
    if (sampling->dry_multiplier > 0)
        encode_dry(json, sampling);
    if (sampling->mirostat > 0) {
        json_out_add_i64(json, "mirostat", sampling->mirostat);
        json_out_add_double(json, "mirostat_tau", (double)sampling->mirostat_tau);
        json_out_add_double(json, "mirostat_eta", (double)sampling->mirostat_eta);
    }
    if (!sampling_has_default_order(sampling))
        encode_order(json, sampling);
}

void sampling_encode(const struct sampling *sampling, struct json_out *json)
{
    json_out_begin_object(json);
    json_out_add_double(json, "temperature", (double)sampling->temperature);
    json_out_add_double(json, "top_p", (double)sampling->top_p);
    json_out_add_double(json, "min_p", (double)sampling->min_p);
    json_out_add_i64(json, "top_k", sampling->top_k);
    json_out_add_double(json, "repeat_penalty", (double)sampling->repeat_penalty);
    json_out_add_double(json, "frequency_penalty", (double)sampling->frequency_penalty);
    json_out_add_double(json, "presence_penalty", (double)sampling->presence_penalty);
    json_out_add_i64(json, "penalty_last_n", sampling->penalty_last_n);
    encode_rare(json, sampling);
    if (sampling->has_seed) {
        char seed[24];
        snprintf(seed, sizeof(seed), "%llu", (unsigned long long)sampling->seed);
        json_out_add_string(json, "seed", slice_str(seed));
    }
    if (sampling->bias_count)
        encode_bias(json, sampling);
    json_out_end_object(json);
}

/* --- decoding --- */

static void maybe_float(struct fields *fields, const char *key, double min, double max,
                        float *value)
{
    if (fields_has(fields, key))
        *value = fields_float(fields, key, min, max);
}

static void maybe_i32(struct fields *fields, const char *key, int32_t min, int32_t *value)
{
    if (fields_has(fields, key))
        *value = (int32_t)fields_i64(fields, key, min, INT32_MAX);
}

static struct logit_bias bias_from(struct fields *fields, const json_t *pair)
{
    const json_t *bias = json_array_get(pair, 1);
    double value = json_number_value(bias);
    if (json_array_size(pair) != 2 || !json_is_number(bias) || !(value >= -100 && value <= 100)) {
        fields_fail(fields, ERR_PROTOCOL, "bias", "pairs of token id and -100..100 are required");
        return (struct logit_bias){0};
    }
    return (struct logit_bias){fields_token(fields, "bias", json_array_get(pair, 0)),
                               fields_to_float(value)};
}

static void decode_bias(struct fields *fields, struct sampling *sampling)
{
    const json_t *array = fields_optional_array(fields, "bias", REQUEST_BIAS_MAX);
    if (!array)
        return;
    size_t count = json_array_size(array);
    struct logit_bias *bias = fields_memory(fields, "bias", count, sizeof(*bias));
    for (size_t i = 0; bias && i < count; i++)
        bias[i] = bias_from(fields, json_array_get(array, i));
    sampling->bias = bias;
    sampling->bias_count = count;
}

static void decode_breakers(struct fields *fields, struct sampling *sampling)
{
    const char *key = "dry_breakers";
    const json_t *array = fields_optional_array(fields, key, SAMPLING_BREAKERS_MAX);
    if (!array)
        return;
    size_t count = json_array_size(array);
    struct slice *breakers = fields_memory(fields, key, count, sizeof(*breakers));
    for (size_t i = 0; breakers && i < count; i++) {
        breakers[i] =
            fields_item_string(fields, key, json_array_get(array, i), SAMPLING_BREAKER_MAX_BYTES);
        if (breakers[i].len == 0)
            fields_fail(fields, ERR_PROTOCOL, key, "a breaker is empty");
    }
    sampling->dry_breakers = breakers;
    sampling->dry_breaker_count = count;
}

static void decode_order(struct fields *fields, struct sampling *sampling)
{
    const json_t *array = fields_optional_array(fields, "order", SAMPLING_STAGES);
    uint32_t seen = 0;
    if (!array)
        return;
    sampling->order_count = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        enum sampling_stage stage = sampling_stage_of(json_slice(json_array_get(array, i)));
        if (stage == SAMPLING_STAGES || (seen >> stage & 1)) {
            fields_fail(fields, ERR_PROTOCOL, "order", "names of stages, none twice, are required");
            return;
        }
        seen |= UINT32_C(1) << stage;
        sampling->order[sampling->order_count++] = (uint8_t)stage;
    }
}

static void decode_rare(struct fields *fields, struct sampling *sampling)
{
    int32_t mirostat = 0;
    maybe_float(fields, "typical_p", FLT_TRUE_MIN, 1, &sampling->typical_p);
    maybe_float(fields, "top_n_sigma", 0, FLT_MAX, &sampling->top_n_sigma);
    maybe_i32(fields, "min_keep", 0, &sampling->min_keep);
    maybe_float(fields, "xtc_probability", 0, 1, &sampling->xtc_probability);
    maybe_float(fields, "xtc_threshold", 0, 1, &sampling->xtc_threshold);
    maybe_float(fields, "dynatemp_range", 0, FLT_MAX, &sampling->dynatemp_range);
    maybe_float(fields, "dynatemp_exponent", 0, FLT_MAX, &sampling->dynatemp_exponent);
    maybe_float(fields, "dry_multiplier", 0, FLT_MAX, &sampling->dry_multiplier);
    maybe_float(fields, "dry_base", 1, FLT_MAX, &sampling->dry_base);
    maybe_i32(fields, "dry_allowed", 0, &sampling->dry_allowed);
    maybe_i32(fields, "dry_last_n", -1, &sampling->dry_last_n);
    decode_breakers(fields, sampling);
    if (fields_has(fields, "mirostat"))
        mirostat = (int32_t)fields_i64(fields, "mirostat", 0, 2);
    sampling->mirostat = (uint8_t)mirostat;
    maybe_float(fields, "mirostat_tau", 0, SAMPLING_TAU_MAX, &sampling->mirostat_tau);
    maybe_float(fields, "mirostat_eta", 0, 1, &sampling->mirostat_eta);
    decode_order(fields, sampling);
}

void sampling_decode(struct fields *fields, struct sampling *out_sampling)
{
    struct sampling sampling = sampling_default();
    sampling.temperature = fields_float(fields, "temperature", 0, FLT_MAX);
    sampling.top_p = fields_float(fields, "top_p", FLT_TRUE_MIN, 1);
    sampling.min_p = fields_float(fields, "min_p", 0, 1);
    sampling.top_k = (int32_t)fields_i64(fields, "top_k", 0, INT32_MAX);
    sampling.repeat_penalty = fields_float(fields, "repeat_penalty", FLT_TRUE_MIN, FLT_MAX);
    sampling.frequency_penalty = fields_float(fields, "frequency_penalty", -2, 2);
    sampling.presence_penalty = fields_float(fields, "presence_penalty", -2, 2);
    sampling.penalty_last_n = (int32_t)fields_i64(fields, "penalty_last_n", -1, INT32_MAX);
    decode_rare(fields, &sampling);
    sampling.has_seed = fields_has(fields, "seed");
    if (sampling.has_seed)
        sampling.seed = fields_u64_text(fields, "seed");
    decode_bias(fields, &sampling);
    if (fields->err == ERR_OK)
        *out_sampling = sampling;
}
