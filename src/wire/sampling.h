/* sampling - how a token is picked from a row of logits: what a request may say about it, and how
 * that travels in the body of a submit. worker/sampler.h says what each stage does. Pure. */
#pragma once

#include "base/json.h"
#include "base/slice.h"

struct fields;

enum {
    REQUEST_BIAS_MAX = 1024,
    SAMPLING_BREAKERS_MAX = 16,
    SAMPLING_BREAKER_MAX_BYTES = 40, /* as llama.cpp */
    SAMPLING_TAU_MAX = 1000
};

struct logit_bias {
    int32_t token;
    float bias; /* -100..100; -100 forbids */
};

/* What is done to a row of logits, one after the other (worker/sampler.h says what each does). */
enum sampling_stage {
    SAMPLING_PENALTIES,
    SAMPLING_DRY,
    SAMPLING_TOP_N_SIGMA,
    SAMPLING_TOP_K,
    SAMPLING_TYPICAL_P,
    SAMPLING_TOP_P,
    SAMPLING_MIN_P,
    SAMPLING_XTC,
    SAMPLING_TEMPERATURE,
    SAMPLING_STAGES
};
/* As llama-server's `samplers` calls it: "penalties", "dry", "top_n_sigma", "top_k", "typ_p",
 * "top_p", "min_p", "xtc", "temperature". SAMPLING_STAGES: no such name. */
const char *sampling_stage_name(enum sampling_stage stage);
enum sampling_stage sampling_stage_of(struct slice name);

/* Neutral values switch a stage off. */
struct sampling {
    float temperature;              /* 0..2 (any finite >= 0); 0 = the largest is taken */
    float dynatemp_range;           /* >= 0: the temperature moves by as much either way; 0 = off */
    float dynatemp_exponent;        /* >= 0 */
    float top_p;                    /* (0, 1]; 1 = off */
    float min_p;                    /* [0, 1]; 0 = off */
    float typical_p;                /* (0, 1]; 1 = off */
    float top_n_sigma;              /* >= 0; 0 = off */
    float xtc_probability;          /* [0, 1]; 0 = off */
    float xtc_threshold;            /* [0, 1]; above 0.5 = off */
    int32_t top_k;                  /* 0 = off */
    int32_t min_keep;               /* >= 0: what top_p, min_p, typical_p and xtc leave at least */
    float repeat_penalty;           /* > 0; 1 = off (llama.cpp's meaning) */
    float frequency_penalty;        /* -2..2 */
    float presence_penalty;         /* -2..2 */
    int32_t penalty_last_n;         /* tokens looked at; 0 = off, -1 = the whole context */
    float dry_multiplier;           /* >= 0; 0 = off */
    float dry_base;                 /* >= 1 */
    int32_t dry_last_n;             /* as penalty_last_n */
    int32_t dry_allowed;            /* >= 0: longer repetitions cost */
    uint8_t mirostat;               /* 1, 2: the algorithm of that number; 0 = off */
    uint8_t order_count;            /* of `order`; a stage that is not in it is off */
    uint8_t order[SAMPLING_STAGES]; /* enum sampling_stage, none twice */
    bool has_seed;
    float mirostat_tau; /* 0..SAMPLING_TAU_MAX: bits of surprise aimed at */
    float mirostat_eta; /* [0, 1]: how fast it learns */
    uint64_t seed;
    const struct logit_bias *bias;
    size_t bias_count;
    const struct slice *dry_breakers; /* what no repetition goes across; none is empty */
    size_t dry_breaker_count;
};
/* temperature 1 (OpenAI), everything else off, in llama.cpp's order; what matters once it is on as
 * llama-server has it: last_n 64, DRY 1.75, 2 and "\n" ":" "\"" "*", XTC 0.1, mirostat 5 and 0.1.
 */
struct sampling sampling_default(void);
bool sampling_has_default_order(const struct sampling *sampling);

/* One object. Members that only matter with a stage that is off are left out with it. */
void sampling_encode(const struct sampling *sampling, struct json_out *json);
/* What is left out is as in sampling_default(). Failures are the fields'; *out_sampling is then as
 * it was. */
void sampling_decode(struct fields *fields, struct sampling *out_sampling);
