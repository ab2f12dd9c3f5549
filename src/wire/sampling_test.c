/* sampling_test - what a request says about sampling comes back as it was; every field is checked
 * against its range; what is off takes no room. */
#include "testing/test.h"
#include "wire/fields.h"
#include "wire/sampling.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

static const struct slice breakers[] = {SLICE("\n"), SLICE("h\xc3\xa9\"")};
static const struct logit_bias bias[] = {{7, -0.5f}};

static struct sampling everything(void)
{
    struct sampling sampling = {.temperature = 0.7f,
                                .dynatemp_range = 0.3f,
                                .dynatemp_exponent = 1.5f,
                                .top_p = 0.9f,
                                .min_p = 0.05f,
                                .typical_p = 0.8f,
                                .top_n_sigma = 1.25f,
                                .xtc_probability = 0.5f,
                                .xtc_threshold = 0.2f,
                                .top_k = 40,
                                .min_keep = 3,
                                .repeat_penalty = 1.1f,
                                .frequency_penalty = -2,
                                .presence_penalty = 2,
                                .penalty_last_n = -1,
                                .dry_multiplier = 0.8f,
                                .dry_base = 1.5f,
                                .dry_last_n = 128,
                                .dry_allowed = 4,
                                .mirostat = 2,
                                .mirostat_tau = 4,
                                .mirostat_eta = 0.25f,
                                .has_seed = true,
                                .seed = UINT64_MAX,
                                .bias = bias,
                                .bias_count = 1,
                                .dry_breakers = breakers,
                                .dry_breaker_count = 2,
                                .order = {SAMPLING_TEMPERATURE, SAMPLING_TOP_P, SAMPLING_XTC},
                                .order_count = 3};
    return sampling;
}

static struct text encoded(const struct sampling *sampling)
{
    struct text out;
    text_init(&out, 1 << 16);
    struct json_out json = json_out_to(&out);
    sampling_encode(sampling, &json);
    CHECK_OK(text_status(&out));
    return out;
}

static enum err decode(struct slice text, struct arena *arena, struct sampling *out_sampling,
                       struct err_note *note)
{
    json_t *root = NULL;
    CHECK_OK(fields_parse(text, &root, note));
    struct fields fields = {.object = root, .arena = arena, .note = note};
    sampling_decode(&fields, out_sampling);
    json_decref(root);
    return fields.err;
}

static struct sampling there_and_back(const struct sampling *sampling, struct arena *arena)
{
    struct sampling read;
    struct err_note note = {""};
    struct text first = encoded(sampling);
    CHECK_OK(decode(text_slice(&first), arena, &read, &note));
    struct text second = encoded(&read);
    CHECK_SLICES(text_slice(&second), text_slice(&first));
    text_fini(&first);
    text_fini(&second);
    return read;
}

TEST(everything_comes_back)
{
    struct arena *arena = arena_new(1 << 16);
    struct sampling sampling = everything(), read = there_and_back(&sampling, arena);
    CHECK(read.dynatemp_range == 0.3f && read.dynatemp_exponent == 1.5f);
    CHECK(read.typical_p == 0.8f && read.top_n_sigma == 1.25f && read.min_keep == 3);
    CHECK(read.xtc_probability == 0.5f && read.xtc_threshold == 0.2f);
    CHECK(read.dry_multiplier == 0.8f && read.dry_base == 1.5f);
    CHECK(read.dry_last_n == 128 && read.dry_allowed == 4 && read.dry_breaker_count == 2);
    CHECK_SLICES(read.dry_breakers[1], breakers[1]);
    CHECK(read.mirostat == 2 && read.mirostat_tau == 4 && read.mirostat_eta == 0.25f);
    CHECK(read.order_count == 3 && memcmp(read.order, sampling.order, 3) == 0);
    CHECK(read.bias_count == 1 && read.bias[0].bias == -0.5f && read.seed == UINT64_MAX);
    arena_free(arena);
}

/* -0 is a float, and an integer that is 0: what is read of it must not depend on how it is written.
 */
TEST(minus_zero_is_zero)
{
    struct arena *arena = arena_new(1 << 16);
    struct sampling read;
    struct text again;
    struct slice minus = SLICE("{\"temperature\":-0.0,\"top_p\":1,\"min_p\":-0,\"top_k\":0,"
                               "\"repeat_penalty\":1,\"frequency_penalty\":-0.0,"
                               "\"presence_penalty\":0,\"penalty_last_n\":64,\"bias\":[[7,-0.0]]}");
    CHECK_OK(decode(minus, arena, &read, NULL));
    CHECK(!signbit(read.temperature) && !signbit(read.min_p) && !signbit(read.frequency_penalty));
    CHECK(!signbit(read.bias[0].bias));
    again = encoded(&read);
    CHECK_EQ(slice_find(text_slice(&again), SLICE("-")), SLICE_NPOS);
    text_fini(&again);
    arena_free(arena);
}

TEST(what_is_off_takes_no_room)
{
    struct arena *arena = arena_new(1 << 16);
    struct sampling sampling = sampling_default(), read;
    struct text plain = encoded(&sampling);
    CHECK_SLICE(text_slice(&plain),
                "{\"temperature\":1,\"top_p\":1,\"min_p\":0,\"top_k\":0,\"repeat_penalty\":1,"
                "\"frequency_penalty\":0,\"presence_penalty\":0,\"penalty_last_n\":64}");
    sampling = everything();
    sampling.dry_multiplier = sampling.xtc_probability = sampling.dynatemp_range = 0;
    sampling.mirostat = 0;
    read = there_and_back(&sampling, arena);
    CHECK(read.dry_base == 1.75f && read.dry_breaker_count == 4 && read.xtc_threshold == 0.1f);
    CHECK(read.mirostat_tau == 5 && read.dynatemp_exponent == 1);
    text_fini(&plain);
    arena_free(arena);
}

TEST(no_breakers_and_no_stages_are_not_the_default_ones)
{
    struct arena *arena = arena_new(1 << 16);
    struct sampling sampling = everything(), read;
    sampling.dry_breaker_count = sampling.order_count = 0;
    read = there_and_back(&sampling, arena);
    CHECK_EQ(read.dry_breaker_count, 0);
    CHECK_EQ(read.order_count, 0);
    arena_free(arena);
}

/* The default with one member more. */
static enum err decode_with(const char *member, struct err_note *note)
{
    struct arena *arena = arena_new(1 << 16);
    struct sampling sampling;
    char text[1024];
    snprintf(text, sizeof(text),
             "{\"temperature\":1,\"top_p\":1,\"min_p\":0,\"top_k\":0,\"repeat_penalty\":1,"
             "\"frequency_penalty\":0,\"presence_penalty\":0,\"penalty_last_n\":64,%s}",
             member);
    enum err err = decode(slice_str(text), arena, &sampling, note);
    arena_free(arena);
    return err;
}

TEST(every_field_is_held_to_its_range)
{
    static const struct {
        const char *member;
        enum err err;
    } cases[] = {
        {"\"typical_p\":0", ERR_LIMIT},
        {"\"typical_p\":1.01", ERR_LIMIT},
        {"\"typical_p\":\"1\"", ERR_PROTOCOL},
        {"\"top_n_sigma\":-1", ERR_LIMIT},
        {"\"min_keep\":-1", ERR_LIMIT},
        {"\"min_keep\":1.5", ERR_PROTOCOL},
        {"\"xtc_probability\":1.1", ERR_LIMIT},
        {"\"xtc_threshold\":-0.1", ERR_LIMIT},
        {"\"dynatemp_range\":-1", ERR_LIMIT},
        {"\"dynatemp_exponent\":1e39", ERR_LIMIT},
        {"\"dry_multiplier\":-0.1", ERR_LIMIT},
        {"\"dry_base\":0.9", ERR_LIMIT},
        {"\"dry_allowed\":-1", ERR_LIMIT},
        {"\"dry_last_n\":-2", ERR_LIMIT},
        {"\"dry_breakers\":\"x\"", ERR_PROTOCOL},
        {"\"dry_breakers\":[\"\"]", ERR_PROTOCOL},
        {"\"dry_breakers\":[1]", ERR_PROTOCOL},
        {"\"dry_breakers\":[\"12345678901234567890123456789012345678901\"]", ERR_LIMIT},
        {"\"dry_breakers\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
         "\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]",
         ERR_LIMIT},
        {"\"mirostat\":3", ERR_LIMIT},
        {"\"mirostat\":true", ERR_PROTOCOL},
        {"\"mirostat_tau\":1001", ERR_LIMIT},
        {"\"mirostat_eta\":1.5", ERR_LIMIT},
        {"\"order\":[\"top_q\"]", ERR_PROTOCOL},
        {"\"order\":[1]", ERR_PROTOCOL},
        {"\"order\":[\"xtc\",\"xtc\"]", ERR_PROTOCOL},
        {"\"order\":{}", ERR_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct err_note note = {""};
        struct slice named = slice_after(slice_str(cases[i].member), 1);
        CHECK_ERR(decode_with(cases[i].member, &note), cases[i].err);
        CHECK(slice_starts_with(slice_str(note.text),
                                slice_first(named, slice_find_byte(named, '"'))));
    }
    CHECK_OK(decode_with("\"typical_p\":1e-30,\"dry_base\":1,\"mirostat_eta\":0", NULL));
}

TEST(stages_have_the_names_llama_server_has_for_them)
{
    for (int stage = 0; stage < SAMPLING_STAGES; stage++) {
        const char *name = sampling_stage_name((enum sampling_stage)stage);
        CHECK_EQ(sampling_stage_of(slice_str(name)), stage);
    }
    CHECK_EQ(sampling_stage_of(SLICE("typ_p")), SAMPLING_TYPICAL_P);
    CHECK_EQ(sampling_stage_of(SLICE("typical")), SAMPLING_STAGES);
    CHECK_EQ(sampling_stage_of(SLICE("")), SAMPLING_STAGES);
}

TEST(the_default_order_is_known_as_such)
{
    struct sampling sampling = sampling_default();
    CHECK(sampling_has_default_order(&sampling));
    sampling.order_count--;
    CHECK(!sampling_has_default_order(&sampling));
    sampling = sampling_default();
    sampling.order[0] = SAMPLING_DRY, sampling.order[1] = SAMPLING_PENALTIES;
    CHECK(!sampling_has_default_order(&sampling));
}
