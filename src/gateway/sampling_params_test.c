/* sampling_params_test - every surface takes the same words about sampling, and tells mistakes the
 * same way. */
#include "gateway/sampling_params.h"

#include "base/mem.h"
#include "gateway/dialect/dialects.h"
#include "testing/test.h"

#include <stdio.h>

struct fixture {
    struct call call;
    struct api_error error;
    json_t *body;
};

static void begin(struct fixture *fixture, const char *body)
{
    *fixture = (struct fixture){.call = {.choices = 1}};
    fixture->call.arena = arena_new(1 << 20);
    fixture->call.request.sampling = sampling_default();
    if (body)
        CHECK_OK(json_read(slice_str(body), JSON_DEPTH_MAX, &fixture->body, NULL));
}

static void end(struct fixture *fixture)
{
    json_decref(fixture->body);
    arena_free(fixture->call.arena);
}

/* As llama-server's documentation has them; the prompt is for whatever surface. */
#define LLAMA_SERVER                                                                               \
    "\"prompt\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"                       \
    "\"temperature\":0.5,\"dynatemp_range\":0.25,\"dynatemp_exponent\":2,\"top_k\":7,"             \
    "\"top_p\":0.75,\"min_p\":0.125,\"typical_p\":0.625,\"top_n_sigma\":1.5,\"min_keep\":3,"       \
    "\"xtc_probability\":0.5,\"xtc_threshold\":0.25,\"repeat_last_n\":-1,\"repeat_penalty\":1.5,"  \
    "\"presence_penalty\":-1,\"frequency_penalty\":1,\"dry_multiplier\":0.75,\"dry_base\":1.5,"    \
    "\"dry_allowed_length\":4,\"dry_penalty_last_n\":99,\"mirostat\":2,\"mirostat_tau\":4,"        \
    "\"mirostat_eta\":0.5,\"seed\":11"

static void check_numbers(const struct sampling *sampling)
{
    CHECK(sampling->temperature == 0.5f && sampling->dynatemp_range == 0.25f);
    CHECK(sampling->dynatemp_exponent == 2 && sampling->top_k == 7 && sampling->top_p == 0.75f);
    CHECK(sampling->min_p == 0.125f && sampling->typical_p == 0.625f);
    CHECK(sampling->top_n_sigma == 1.5f && sampling->min_keep == 3);
    CHECK(sampling->xtc_probability == 0.5f && sampling->xtc_threshold == 0.25f);
    CHECK(sampling->penalty_last_n == -1 && sampling->repeat_penalty == 1.5f);
    CHECK(sampling->presence_penalty == -1 && sampling->frequency_penalty == 1);
    CHECK(sampling->dry_multiplier == 0.75f && sampling->dry_base == 1.5f);
    CHECK(sampling->dry_allowed == 4 && sampling->dry_last_n == 99);
    CHECK(sampling->mirostat == 2 && sampling->mirostat_tau == 4 && sampling->mirostat_eta == 0.5f);
    CHECK(sampling->has_seed && sampling->seed == 11);
}

TEST(every_surface_takes_what_llama_server_takes)
{
    static const struct dialect *const all[] = {&dialect_chat,     &dialect_completions,
                                                &dialect_infer,    &dialect_inference,
                                                &dialect_generate, &dialect_generate_stream};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        struct fixture fixture;
        begin(&fixture, "{" LLAMA_SERVER ",\"dry_sequence_breakers\":[\"\\n\",\"##\"],"
                        "\"samplers\":[\"dry\",\"top_k\",\"temperature\"]}");
        struct dialect_input input = {.body = fixture.body};
        CHECK_OK(all[i]->parse(&fixture.call, &input, &fixture.error));
        const struct sampling *sampling = &fixture.call.request.sampling;
        check_numbers(sampling);
        CHECK_EQ(sampling->dry_breaker_count, 2);
        CHECK_SLICE(sampling->dry_breakers[1], "##");
        CHECK_EQ(sampling->order_count, 3);
        CHECK_EQ(sampling->order[1], SAMPLING_TOP_K);
        end(&fixture);
    }
}

TEST(the_query_of_infer_takes_it_too)
{
    struct fixture fixture;
    struct dialect_input input = {
        .query = SLICE("prompt=x&temperature=0.5&dynatemp_range=0.25&dynatemp_exponent=2&top_k=7&"
                       "top_p=0.75&min_p=0.125&typical_p=0.625&top_n_sigma=1.5&min_keep=3&"
                       "xtc_probability=0.5&xtc_threshold=0.25&repeat_last_n=-1&repeat_penalty=1.5&"
                       "presence_penalty=-1&frequency_penalty=1&dry_multiplier=0.75&dry_base=1.5&"
                       "dry_allowed_length=4&dry_penalty_last_n=99&mirostat=2&mirostat_tau=4&"
                       "mirostat_eta=0.5&seed=11&samplers=kt")};
    begin(&fixture, NULL);
    CHECK_OK(dialect_infer.parse(&fixture.call, &input, &fixture.error));
    check_numbers(&fixture.call.request.sampling);
    CHECK_EQ(fixture.call.request.sampling.order_count, 2);
    CHECK_EQ(fixture.call.request.sampling.order[1], SAMPLING_TEMPERATURE);
    end(&fixture);
}

/* What Ollama's clients put into "options": words that are not about sampling are not ours. */
TEST(the_options_of_ollama_are_understood)
{
    struct fixture fixture;
    begin(&fixture, "{\"num_ctx\":4096,\"num_predict\":10,\"repeat_last_n\":33,"
                    "\"repeat_penalty\":1.25,\"temperature\":0.75,\"seed\":42,\"stop\":[\"x\"],"
                    "\"top_k\":20,\"top_p\":0.5,\"min_p\":0.25,\"typical_p\":0.5,\"mirostat\":1,"
                    "\"mirostat_tau\":0.5,\"mirostat_eta\":0.125,\"penalize_newline\":true}");
    CHECK_OK(sampling_params(&fixture.call, fixture.body, &fixture.error));
    const struct sampling *sampling = &fixture.call.request.sampling;
    CHECK(sampling->penalty_last_n == 33 && sampling->repeat_penalty == 1.25f);
    CHECK(sampling->temperature == 0.75f && sampling->seed == 42 && sampling->top_k == 20);
    CHECK(sampling->top_p == 0.5f && sampling->min_p == 0.25f && sampling->typical_p == 0.5f);
    CHECK(sampling->mirostat == 1 && sampling->mirostat_tau == 0.5f);
    CHECK(sampling->mirostat_eta == 0.125f);
    end(&fixture);
}

TEST(what_is_not_said_stays_as_it_was)
{
    struct fixture fixture;
    begin(&fixture, "{\"typical_p\":null,\"samplers\":null,\"dry_sequence_breakers\":null}");
    CHECK_OK(sampling_params(&fixture.call, fixture.body, &fixture.error));
    CHECK_EQ(fixture.call.request.sampling.typical_p, 1);
    CHECK(sampling_has_default_order(&fixture.call.request.sampling));
    CHECK_EQ(fixture.call.request.sampling.dry_breaker_count, 4);
    end(&fixture);
}

TEST(the_ways_to_say_off_are_neutral)
{
    struct fixture fixture;
    begin(&fixture, "{\"top_k\":-1,\"top_n_sigma\":-1,\"typical_p\":1,\"mirostat\":0,"
                    "\"adaptive_target\":-1,\"dry_sequence_breakers\":[]}");
    CHECK_OK(sampling_params(&fixture.call, fixture.body, &fixture.error));
    CHECK_EQ(fixture.call.request.sampling.top_k, 0);
    CHECK_EQ(fixture.call.request.sampling.top_n_sigma, 0);
    CHECK_EQ(fixture.call.request.sampling.dry_breaker_count, 0);
    end(&fixture);
    begin(&fixture, "{\"typical_p\":0,\"top_p\":0}"); /* the likeliest, or nearest, alone */
    CHECK_OK(sampling_params(&fixture.call, fixture.body, &fixture.error));
    CHECK(fixture.call.request.sampling.typical_p > 0 && fixture.call.request.sampling.top_p > 0);
    end(&fixture);
}

static void check_order(const char *samplers, const uint8_t *order, size_t count)
{
    struct fixture fixture;
    char body[256];
    snprintf(body, sizeof(body), "{\"samplers\":%s}", samplers);
    begin(&fixture, body);
    CHECK_OK(sampling_params(&fixture.call, fixture.body, &fixture.error));
    CHECK_EQ(fixture.call.request.sampling.order_count, count);
    CHECK(memcmp(fixture.call.request.sampling.order, order, count) == 0);
    end(&fixture);
}

TEST(samplers_are_names_or_letters)
{
    static const uint8_t all[] = {SAMPLING_PENALTIES, SAMPLING_DRY,       SAMPLING_TOP_N_SIGMA,
                                  SAMPLING_TOP_K,     SAMPLING_TYPICAL_P, SAMPLING_TOP_P,
                                  SAMPLING_MIN_P,     SAMPLING_XTC,       SAMPLING_TEMPERATURE};
    check_order("\"edskypmxt\"", all, ARRAY_COUNT(all));
    check_order("[\"penalties\",\"dry\",\"top_n_sigma\",\"top_k\",\"typ_p\",\"top_p\",\"min_p\","
                "\"xtc\",\"temperature\"]",
                all, ARRAY_COUNT(all));
    check_order("[\"top-n-sigma\",\"top-k\",\"typical\",\"nucleus\",\"min-p\",\"xtc\",\"temp\"]",
                all + 2, 7);
    check_order("[\"typical-p\"]", (uint8_t[]){SAMPLING_TYPICAL_P}, 1);
    check_order("\"tk\"", (uint8_t[]){SAMPLING_TEMPERATURE, SAMPLING_TOP_K}, 2);
    check_order("[]", all, 0);
    check_order("\"\"", all, 0);
}

static void check_refused(const char *body, const char *code, const char *param,
                          const char *message)
{
    struct fixture fixture;
    begin(&fixture, body);
    CHECK_ERR(sampling_params(&fixture.call, fixture.body, &fixture.error), ERR_REFUSED);
    CHECK_EQ(fixture.error.status, 400);
    CHECK_STR(fixture.error.code, code);
    CHECK_STR(fixture.error.param, param);
    CHECK_STR(fixture.error.message, message);
    end(&fixture);
}

TEST(mistakes_are_told_with_name_and_range)
{
    static const struct {
        const char *key, *value, *range;
    } ranges[] = {
        {"temperature", "101", "0..100"},
        {"dynatemp_range", "-1", "0..100"},
        {"dynatemp_exponent", "-1", "0..100"},
        {"top_n_sigma", "-2", "-1..1000"},
        {"typical_p", "1.5", "0..1"},
        {"min_keep", "-1", "0..2147483647"},
        {"xtc_probability", "2", "0..1"},
        {"xtc_threshold", "-1", "0..1"},
        {"dry_multiplier", "-1", "0..100"},
        {"dry_base", "0.5", "1..100"},
        {"dry_allowed_length", "-1", "0..2147483647"},
        {"dry_penalty_last_n", "-2", "-1..2147483647"},
        {"mirostat", "3", "0..2"},
        {"mirostat_tau", "1001", "0..1000"},
        {"mirostat_eta", "1.5", "0..1"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
        char body[128], message[128];
        snprintf(body, sizeof(body), "{\"%s\":%s}", ranges[i].key, ranges[i].value);
        snprintf(message, sizeof(message), "%s is %s: allowed is %s", ranges[i].key,
                 ranges[i].value, ranges[i].range);
        check_refused(body, "invalid_value", ranges[i].key, message);
    }
    check_refused("{\"mirostat\":\"2\"}", "invalid_type", "mirostat",
                  "mirostat must be an integer");
}

TEST(breakers_and_stages_are_told_by_name)
{
    check_refused("{\"dry_sequence_breakers\":\"x\"}", "invalid_type", "dry_sequence_breakers",
                  "dry_sequence_breakers must be a list of strings");
    check_refused("{\"dry_sequence_breakers\":[1]}", "invalid_type", "dry_sequence_breakers",
                  "dry_sequence_breakers must be a list of strings");
    check_refused("{\"dry_sequence_breakers\":[\"\"]}", "invalid_value", "dry_sequence_breakers",
                  "a string of dry_sequence_breakers has 0 bytes: allowed are 1..40");
    check_refused("{\"dry_sequence_breakers\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}",
                  "invalid_value", "dry_sequence_breakers",
                  "dry_sequence_breakers has 17 strings: allowed are 16");
    check_refused("{\"samplers\":[\"infill\"]}", "invalid_value", "samplers",
                  "samplers has 'infill': allowed are penalties, dry, top_n_sigma, top_k, typ_p, "
                  "top_p, min_p, xtc and temperature");
    check_refused("{\"samplers\":\"kq\"}", "invalid_value", "samplers",
                  "samplers has 'q': allowed are penalties, dry, top_n_sigma, top_k, typ_p, "
                  "top_p, min_p, xtc and temperature");
    check_refused("{\"samplers\":[\"top_k\",\"top-k\"]}", "invalid_value", "samplers",
                  "samplers has 'top_k' twice");
    check_refused("{\"samplers\":{}}", "invalid_type", "samplers",
                  "samplers must be a list of names, or a string of letters");
    check_refused("{\"samplers\":[1]}", "invalid_type", "samplers",
                  "samplers must be a list of names");
    check_refused("{\"adaptive_target\":0.5}", "unsupported_parameter", "adaptive_target",
                  "adaptive_target is not supported");
}

TEST(no_memory_is_told)
{
    for (uint64_t nth = 1; nth < 8; nth++) {
        struct fixture fixture;
        begin(&fixture, "{\"dry_sequence_breakers\":[\"a\",\"b\"],\"logit_bias\":{\"1\":2}}");
        mem_test_fail_nth(nth);
        enum err err = sampling_params(&fixture.call, fixture.body, &fixture.error);
        mem_test_fail_nth(0);
        CHECK(err == ERR_OK || fixture.error.status == 413);
        end(&fixture);
    }
}
