#include "base/mem.h"
#include "testing/test.h"
#include "worker/adapters.h"
#include "worker/prep.h"

#include <stdio.h>

enum { CONTEXT = 32, VOCAB = 257 + 20, ALLOCATIONS_MAX = 100 };

static const struct prep_limits limits = {.default_max_tokens = 8};

static struct engine *open_engine(void)
{
    struct engine_dummy_options options = engine_dummy_options_default();
    struct engine *engine = NULL;
    options.context_tokens = CONTEXT;
    CHECK_OK(engine_dummy_open(&options, NULL, NULL, &engine, NULL));
    CHECK_EQ(engine->info.vocab_size, VOCAB);
    return engine;
}

static struct request text_request(struct slice prompt)
{
    return (struct request){
        .prompt_kind = PROMPT_TEXT, .prompt = prompt, .sampling = sampling_default()};
}

static struct core_job *prepare(struct engine *engine, const struct request *request)
{
    struct core_job *job = NULL;
    struct prep_refusal refusal = {0};
    enum err err = prep_job(engine, request, &limits, &job, &refusal);
    CHECK_STR(refusal.message, "");
    CHECK_OK(err);
    return job;
}

static struct prep_refusal refused_with(struct engine *engine, const struct request *request,
                                        const struct prep_limits *with)
{
    struct core_job *job = NULL;
    struct prep_refusal refusal = {0};
    CHECK_ERR(prep_job(engine, request, with, &job, &refusal), ERR_REFUSED);
    CHECK(job == NULL);
    CHECK(refusal.message[0] != '\0');
    return refusal;
}

static struct prep_refusal refused(struct engine *engine, const struct request *request)
{
    return refused_with(engine, request, &limits);
}

static void check_tokens(const struct core_job *job, struct slice bytes) /* dummy: a token a byte */
{
    CHECK_EQ(job->prompt_count, bytes.len);
    for (size_t i = 0; i < bytes.len; i++)
        CHECK_EQ(job->prompt[i], 1 + (unsigned char)bytes.data[i]);
}

static struct slice letters(size_t count)
{
    static const char all[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    ASSERT(count < sizeof(all));
    return slice_of(all, count);
}

TEST(a_text_becomes_tokens_and_a_job_of_its_own)
{
    struct engine *engine = open_engine();
    char prompt[] = "hello", stop[] = "END";
    struct slice stops[] = {slice_str(stop)}, breakers[] = {SLICE("\n"), slice_str(stop)};
    struct logit_bias bias[] = {{5, -1}};
    struct request request = text_request(slice_str(prompt));
    request.stops = stops;
    request.stop_count = 1;
    request.sampling.bias = bias;
    request.sampling.bias_count = 1;
    request.sampling.dry_multiplier = 1;
    request.sampling.dry_breakers = breakers;
    request.sampling.dry_breaker_count = 2;
    request.ignore_eos = request.want_progress = true;
    struct core_job *job = prepare(engine, &request);
    memset(prompt, 'x', sizeof(prompt) - 1); /* the request's memory goes */
    memset(stop, 'x', sizeof(stop) - 1);
    bias[0].token = 9;
    breakers[1] = SLICE("other");
    stops[0] = SLICE("other");
    check_tokens(job, SLICE("hello"));
    CHECK_EQ(job->stop_count, 1);
    CHECK_SLICE(job->stops[0], "END");
    CHECK_EQ(job->sampling.bias[0].token, 5);
    CHECK_EQ(job->sampling.dry_breaker_count, 2);
    CHECK_SLICE(job->sampling.dry_breakers[1], "END");
    CHECK_EQ(job->max_tokens, 8);
    CHECK(job->ignore_eos && job->want_progress);
    core_job_free(&job);
    engine_close(&engine);
}

TEST(messages_go_through_the_template)
{
    struct engine *engine = open_engine();
    const struct chat_message messages[] = {{SLICE("user"), SLICE("hi"), {0}}};
    struct request request = {.prompt_kind = PROMPT_CHAT,
                              .messages = messages,
                              .message_count = 1,
                              .sampling = sampling_default()};
    struct core_job *job = prepare(engine, &request);
    check_tokens(job, SLICE("user: hi\nassistant: "));
    core_job_free(&job);

    engine->info.has_chat = false;
    struct prep_refusal refusal = refused(engine, &request);
    CHECK_EQ(refusal.fault, FAULT_UNSUPPORTED_PARAMETER);
    CHECK_STR(refusal.param, "messages");
    engine_close(&engine);
}

static enum err refuse_chat(struct engine *engine, const struct engine_chat_message *messages,
                            size_t count, struct text *out_prompt, struct err_note *out_note)
{
    (void)engine, (void)messages, (void)count, (void)out_prompt;
    return err_note_fail(out_note, ERR_REFUSED, "the template is not known");
}

TEST(what_the_template_refuses_is_refused_in_its_words)
{
    struct engine *engine = open_engine();
    struct engine_ops ops = *engine->ops;
    ops.chat = refuse_chat;
    engine->ops = &ops;
    struct request request = {.prompt_kind = PROMPT_CHAT, .sampling = sampling_default()};
    struct prep_refusal refusal = refused(engine, &request);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK_STR(refusal.message, "the template is not known");
    engine_close(&engine);
}

TEST(token_ids_must_be_in_the_vocabulary)
{
    struct engine *engine = open_engine();
    int32_t tokens[] = {0, VOCAB - 1};
    struct request request = {.prompt_kind = PROMPT_TOKENS,
                              .tokens = tokens,
                              .token_count = 2,
                              .sampling = sampling_default()};
    struct core_job *job = prepare(engine, &request);
    CHECK_EQ(job->prompt_count, 2);
    CHECK_EQ(job->prompt[1], VOCAB - 1);
    core_job_free(&job);
    static const int32_t bad[] = {VOCAB, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        tokens[1] = bad[i];
        struct prep_refusal refusal = refused(engine, &request);
        CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
        CHECK_STR(refusal.param, "prompt");
    }
    engine_close(&engine);
}

TEST(biased_token_ids_must_be_in_the_vocabulary)
{
    struct engine *engine = open_engine();
    struct logit_bias bias = {VOCAB - 1, 1};
    struct request request = text_request(SLICE("x"));
    request.sampling.bias = &bias;
    request.sampling.bias_count = 1;
    struct core_job *job = prepare(engine, &request);
    core_job_free(&job);
    bias.token = VOCAB;
    struct prep_refusal refusal = refused(engine, &request);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK_STR(refusal.param, "logit_bias");
    engine_close(&engine);
}

TEST(an_empty_prompt_needs_a_token_that_begins_a_text)
{
    struct engine *engine = open_engine();
    struct request request = text_request(SLICE(""));
    CHECK_EQ(refused(engine, &request).fault, FAULT_INVALID_REQUEST);
    request = (struct request){.prompt_kind = PROMPT_TOKENS, .sampling = sampling_default()};
    CHECK_EQ(refused(engine, &request).fault, FAULT_INVALID_REQUEST);
    engine_close(&engine);
}

static enum err tokenize_with_bos(struct engine *engine, struct slice text, bool add_special,
                                  bool parse_special, token_id *out_tokens, size_t max_tokens,
                                  size_t *out_count)
{
    (void)engine, (void)text, (void)parse_special;
    CHECK(add_special);
    CHECK(max_tokens >= 1);
    out_tokens[0] = 3;
    *out_count = 1;
    return ERR_OK;
}

TEST(an_empty_prompt_is_fine_where_the_model_begins_a_text_itself)
{
    struct engine *engine = open_engine();
    struct engine_ops ops = *engine->ops;
    ops.tokenize = tokenize_with_bos;
    engine->ops = &ops;
    struct request request = text_request(SLICE(""));
    struct core_job *job = prepare(engine, &request);
    CHECK_EQ(job->prompt_count, 1);
    CHECK_EQ(job->prompt[0], 3);
    core_job_free(&job);
    engine_close(&engine);
}

TEST(a_prompt_must_leave_room_for_one_token)
{
    struct engine *engine = open_engine();
    for (size_t count = CONTEXT - 2; count <= CONTEXT + 2; count++) {
        int32_t tokens[CONTEXT + 2] = {0};
        struct request as_text = text_request(letters(count));
        struct request as_tokens = {.prompt_kind = PROMPT_TOKENS,
                                    .tokens = tokens,
                                    .token_count = count,
                                    .sampling = sampling_default()};
        const struct request *requests[] = {&as_text, &as_tokens};
        for (size_t i = 0; i < 2; i++) {
            if (count + 1 <= CONTEXT) {
                struct core_job *job = prepare(engine, requests[i]);
                CHECK_EQ(job->prompt_count, count);
                CHECK_EQ(job->max_tokens, CONTEXT - count);
                core_job_free(&job);
                continue;
            }
            struct prep_refusal refusal = refused(engine, requests[i]);
            char number[16];
            snprintf(number, sizeof(number), "%zu", count);
            CHECK_EQ(refusal.fault, FAULT_CONTEXT_LENGTH_EXCEEDED);
            CHECK(strstr(refusal.message, "32"));
            CHECK(strstr(refusal.message, number));
        }
    }
    engine_close(&engine);
}

TEST(the_answer_is_bounded_by_what_was_asked_the_default_and_the_context)
{
    struct engine *engine = open_engine();
    static const struct {
        uint32_t asked, standard, expected;
    } cases[] = {{0, 8, 8},   {5, 8, 5},   {1, 8, 1},           {22, 8, 22}, {23, 8, 22},
                 {0, 22, 22}, {0, 23, 22}, {UINT32_MAX, 8, 22}, {0, 0, 22}};
    struct request request = text_request(letters(10));
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct prep_limits with = {.default_max_tokens = cases[i].standard};
        struct prep_refusal refusal;
        struct core_job *job = NULL;
        request.max_tokens = cases[i].asked;
        CHECK_OK(prep_job(engine, &request, &with, &job, &refusal));
        CHECK_EQ(job->max_tokens, cases[i].expected);
        core_job_free(&job);
    }
    engine_close(&engine);
}

TEST(the_margin_counts_only_where_no_length_was_asked_for)
{
    struct engine *engine = open_engine();
    struct prep_limits with = {.default_max_tokens = 8, .context_margin = 10};
    struct prep_refusal refusal;
    struct core_job *job = NULL;
    struct request request = text_request(letters(CONTEXT - 10));
    CHECK_OK(prep_job(engine, &request, &with, &job, &refusal));
    core_job_free(&job);
    request.prompt = letters(CONTEXT - 9);
    CHECK_EQ(refused_with(engine, &request, &with).fault, FAULT_CONTEXT_LENGTH_EXCEEDED);
    request.max_tokens = 1;
    CHECK_OK(prep_job(engine, &request, &with, &job, &refusal));
    core_job_free(&job);
    engine_close(&engine);
}

TEST(seeds_are_kept_or_made_within_53_bits)
{
    struct engine *engine = open_engine();
    struct request request = text_request(SLICE("x"));
    request.sampling.has_seed = true;
    request.sampling.seed = UINT64_MAX;
    struct core_job *job = prepare(engine, &request);
    CHECK(job->sampling.has_seed && job->sampling.seed == UINT64_MAX);
    core_job_free(&job);
    request.sampling.has_seed = false;
    uint64_t seen = 0;
    for (int i = 0; i < 200; i++) {
        job = prepare(engine, &request);
        CHECK(job->sampling.has_seed);
        seen |= job->sampling.seed;
        core_job_free(&job);
    }
    CHECK(seen == (1ull << 53) - 1); /* all of the 53, and none above */
    engine_close(&engine);
}

static bool is_conversation(struct engine *engine, const struct request *request)
{
    struct core_job *job = prepare(engine, request);
    bool is_one = job->is_conversation;
    core_job_free(&job);
    return is_one;
}

TEST(a_chat_that_shows_an_earlier_answer_is_a_conversation)
{
    struct engine *engine = open_engine();
    const struct chat_message messages[] = {{SLICE("user"), SLICE("assistant"), {0}},
                                            {SLICE("assistant"), {0}, {0}},
                                            {SLICE("user"), {0}, {0}}};
    struct request request = {.prompt_kind = PROMPT_CHAT,
                              .messages = messages,
                              .message_count = 1,
                              .prompt = SLICE("assistant"),
                              .sampling = sampling_default()};
    CHECK(!is_conversation(engine, &request));
    request.messages++;
    request.message_count = 2;
    CHECK(is_conversation(engine, &request));
    request.prompt_kind = PROMPT_TEXT;
    CHECK(!is_conversation(engine, &request));
    engine_close(&engine);
}

TEST(every_allocation_that_fails_is_a_refusal_and_leaks_nothing)
{
    struct engine *engine = open_engine();
    const struct chat_message messages[] = {{SLICE("user"), SLICE("hi"), {0}}};
    struct slice stops[] = {SLICE("END")};
    struct request request = {.prompt_kind = PROMPT_CHAT,
                              .messages = messages,
                              .message_count = 1,
                              .stops = stops,
                              .stop_count = 1,
                              .sampling = sampling_default()};
    uint64_t failed = 0;
    for (uint64_t nth = 1;; nth++) {
        struct core_job *job = NULL;
        struct prep_refusal refusal = {0};
        CHECK(nth < ALLOCATIONS_MAX);
        mem_test_fail_nth(nth);
        enum err err = prep_job(engine, &request, &limits, &job, &refusal);
        mem_test_fail_nth(0);
        core_job_free(&job);
        if (err == ERR_OK)
            break;
        CHECK_EQ(err, ERR_REFUSED);
        CHECK(refusal.message[0] != '\0');
        failed++;
    }
    CHECK(failed >= 4); /* messages, text, tokens, job */
    engine_close(&engine);
}

/* --- on the pool --- */

struct outcome {
    int calls;
    enum err err;
    uint32_t prompt_count;
    bool want_progress, has_match;
    enum fault fault;
    char param[FORM_PARAM_MAX_BYTES + 1], message[512];
};

static void on_done(void *ctx, enum err err, struct core_job *job,
                    const struct prep_refusal *refusal)
{
    struct outcome *outcome = ctx;
    outcome->calls++;
    outcome->err = err;
    outcome->fault = refusal->fault;
    snprintf(outcome->message, sizeof(outcome->message), "%s", refusal->message);
    snprintf(outcome->param, sizeof(outcome->param), "%s", refusal->param ? refusal->param : "");
    CHECK_EQ(job != NULL, err == ERR_OK);
    if (job) {
        outcome->has_match = job->match && job->vocab;
        outcome->prompt_count = job->prompt_count;
        outcome->want_progress = job->want_progress;
    }
    core_job_free(&job);
}

static const struct prep_options on_pool = {.limits = {.default_max_tokens = 8}},
                                 in_line = {.limits = {.default_max_tokens = 8},
                                            .want_progress = true,
                                            .in_line = true};

static struct prep *start_formed(struct loop *loop, struct engine *engine, struct slice prompt,
                                 const struct form *form, const struct prep_options *options,
                                 struct outcome *outcome)
{
    struct text submit;
    struct request request = text_request(prompt);
    request.form = *form;
    request.id = id_new();
    request.epoch = 1;
    request.inbox = request.model = SLICE("x");
    request.credit_events = request.credit_bytes = 1;
    text_init(&submit, 4096);
    request_encode(&request, &submit);
    struct prep *prep = prep_start(loop, engine, text_slice(&submit), options, on_done, outcome);
    text_fini(&submit); /* it was copied */
    CHECK(prep);
    CHECK_EQ(outcome->calls, 0); /* never inside the call */
    return prep;
}

static struct prep *start(struct loop *loop, struct engine *engine, struct slice prompt,
                          const struct prep_options *options, struct outcome *outcome)
{
    return start_formed(loop, engine, prompt, &(struct form){0}, options, outcome);
}

static void check_outcomes(const struct prep_options *options)
{
    struct loop *loop = loop_new_virtual(1);
    struct engine *engine = open_engine();
    struct outcome made = {0}, too_long = {0}, cancelled = {0};
    start(loop, engine, SLICE("hello"), options, &made);
    start(loop, engine, letters(CONTEXT), options, &too_long);
    prep_cancel(start(loop, engine, SLICE("hello"), options, &cancelled));
    CHECK_EQ(cancelled.calls, 0);
    loop_advance(loop, 0);
    CHECK_EQ(made.calls, 1);
    CHECK_OK(made.err);
    CHECK_EQ(made.prompt_count, 5);
    CHECK_EQ(made.want_progress, options->want_progress);
    CHECK_EQ(too_long.calls, 1);
    CHECK_EQ(too_long.err, ERR_REFUSED);
    CHECK_EQ(too_long.fault, FAULT_CONTEXT_LENGTH_EXCEEDED);
    CHECK_EQ(cancelled.calls, 1);
    CHECK_EQ(cancelled.err, ERR_CANCELLED);
    engine_close(&engine);
    loop_free(loop);
}

TEST(the_pool_brings_a_job_or_a_refusal_and_a_cancelled_one_comes_back_too)
{
    check_outcomes(&on_pool);
}

static uint64_t scope_of(struct engine *engine, const char *tenant)
{
    struct request request = text_request(SLICE("hello"));
    request.tenant = slice_str(tenant);
    struct core_job *job = prepare(engine, &request);
    uint64_t scope = job->scope;
    core_job_free(&job);
    return scope;
}

TEST(each_tenant_has_a_scope_and_those_without_share_one)
{
    struct engine *engine = open_engine();
    CHECK_EQ(scope_of(engine, ""), 0);
    CHECK(scope_of(engine, "alice") != 0);
    CHECK_EQ(scope_of(engine, "alice"), scope_of(engine, "alice"));
    CHECK(scope_of(engine, "alice") != scope_of(engine, "alicf"));
    engine_close(&engine);
}

TEST(in_line_it_is_the_same_and_nothing_comes_inside_the_call)
{
    check_outcomes(&in_line);
}

TEST(a_submit_that_cannot_be_read_is_the_fault_of_the_request)
{
    static const char *const submits[] = {"", "abc", "{\"id\":1}", "\2\0\0\0{}"};
    struct loop *loop = loop_new_virtual(1);
    struct engine *engine = open_engine();
    for (size_t i = 0; i < ARRAY_COUNT(submits); i++) {
        struct outcome outcome = {0};
        struct slice submit = slice_of(submits[i], i == 3 ? 6 : strlen(submits[i]));
        CHECK(prep_start(loop, engine, submit, i % 2 ? &on_pool : &in_line, on_done, &outcome));
        loop_advance(loop, 0);
        CHECK_EQ(outcome.calls, 1);
        CHECK_EQ(outcome.err, ERR_REFUSED);
        CHECK_EQ(outcome.fault, FAULT_INVALID_REQUEST);
    }
    engine_close(&engine);
    loop_free(loop);
}

TEST(no_memory_for_a_submit_is_said_at_once)
{
    struct loop *loop = loop_new_virtual(1);
    struct engine *engine = open_engine();
    struct outcome outcome = {0};
    mem_test_fail_nth(1);
    CHECK(prep_start(loop, engine, SLICE("{}"), &on_pool, on_done, &outcome) == NULL);
    loop_advance(loop, 0);
    CHECK_EQ(outcome.calls, 0);
    engine_close(&engine);
    loop_free(loop);
}

/* --- with a form --- */

static void check_forms(struct prep_options options)
{
    struct loop *loop = loop_new_virtual(1);
    struct engine *engine = open_engine();
    struct form good = {.kind = FORM_GRAMMAR, .text = SLICE("root ::= [a]+")},
                bad = {.kind = FORM_JSON_SCHEMA,
                       .text = SLICE("{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{}}}}"),
                       .param = SLICE("response_format.json_schema.schema")},
                broken = {
                    .kind = FORM_GRAMMAR, .text = SLICE("root :="), .param = SLICE("grammar")};
    struct outcome first = {0}, again = {0}, late = {0}, refused = {0}, wrong = {0}, long_one = {0};
    options.forms = forms_new(loop);
    start_formed(loop, engine, SLICE("hello"), &good, &options, &first);
    start_formed(loop, engine, SLICE("hello"), &bad, &options, &refused);
    start_formed(loop, engine, SLICE("hello"), &broken, &options, &wrong);
    start_formed(loop, engine, letters(CONTEXT), &good, &options, &long_one);
    prep_cancel(start_formed(loop, engine, SLICE("hello"), &good, &options, &late));
    while (!first.calls || !refused.calls || !wrong.calls || !long_one.calls || !late.calls)
        loop_advance(loop, 0);
    CHECK_OK(first.err);
    CHECK(first.has_match && first.prompt_count == 5);
    CHECK_EQ(refused.err, ERR_REFUSED);
    CHECK_EQ(refused.fault, FAULT_UNSUPPORTED_PARAMETER);
    CHECK_STR(refused.param, "response_format.json_schema.schema");
    CHECK(slice_find(slice_str(refused.message), SLICE("not")) != SLICE_NPOS);
    CHECK_EQ(wrong.fault, FAULT_INVALID_REQUEST);
    CHECK_STR(wrong.param, "grammar");
    CHECK_EQ(long_one.fault, FAULT_CONTEXT_LENGTH_EXCEEDED);
    CHECK_EQ(late.err, ERR_CANCELLED);
    start_formed(loop, engine, SLICE("hello"), &good, &options, &again);
    loop_advance(loop, 0);
    CHECK(again.calls == 1 && again.has_match);
    CHECK_EQ(forms_stats(options.forms).kept, 1);
    CHECK_EQ(forms_stats(options.forms).trees, 1);
    forms_free(options.forms);
    engine_close(&engine);
    loop_free(loop);
}

TEST(a_form_becomes_a_grammar_or_a_refusal_with_its_name)
{
    check_forms(on_pool);
    check_forms(in_line);
}

TEST(a_form_that_nobody_waits_for_any_more_is_not_made)
{
    struct loop *loop = loop_new_virtual(1);
    struct engine *engine = open_engine();
    struct form first = {.kind = FORM_GRAMMAR, .text = SLICE("root ::= [a]+")},
                second = {.kind = FORM_GRAMMAR, .text = SLICE("root ::= [b]+")};
    struct outcome made = {0}, late = {0};
    struct prep_options options = in_line;
    options.forms = forms_new(loop);
    start_formed(loop, engine, SLICE("hello"), &first, &options, &made);
    loop_advance(loop, 0);
    struct prep *prep = start_formed(loop, engine, SLICE("hello"), &second, &options, &late);
    loop_turn(loop, false); /* its job is made, its form is asked for */
    CHECK_EQ(forms_stats(options.forms).compiled, 2);
    prep_cancel(prep);
    loop_advance(loop, 0);
    CHECK_EQ(late.calls, 1);
    CHECK_EQ(late.err, ERR_CANCELLED);
    CHECK_EQ(forms_stats(options.forms).kept, 1);
    forms_free(options.forms);
    engine_close(&engine);
    loop_free(loop);
}

TEST(a_form_is_refused_where_none_can_be_kept)
{
    struct loop *loop = loop_new_virtual(1);
    struct engine *engine = open_engine();
    struct form form = {.kind = FORM_JSON_OBJECT, .param = SLICE("response_format")};
    for (int i = 0; i < 2; i++) {
        struct prep_options options = in_line;
        struct outcome outcome = {0};
        options.forms = i == 0 ? NULL : forms_new(loop);
        engine->info.changing_pieces = i == 1;
        start_formed(loop, engine, SLICE("hello"), &form, &options, &outcome);
        loop_advance(loop, 0);
        CHECK_EQ(outcome.fault, FAULT_UNSUPPORTED_PARAMETER);
        CHECK_STR(outcome.param, "response_format");
        forms_free(options.forms);
    }
    engine_close(&engine);
    loop_free(loop);
}

/* --- what of the answer is there already --- */

static struct request continued(const int32_t *tokens, size_t count, uint64_t text_bytes)
{
    struct request request = text_request(SLICE("hello"));
    request.continue_from = (struct continuation){.is_wanted = true,
                                                  .seed = 99,
                                                  .tokens = tokens,
                                                  .token_count = count,
                                                  .text_bytes = text_bytes};
    return request;
}

TEST(what_was_said_stands_behind_the_prompt_with_the_seed_that_was_in_force)
{
    static const int32_t said[] = {1 + 'a', 1 + 'b'};
    struct engine *engine = open_engine();
    struct request request = continued(said, 2, 2);
    request.sampling.has_seed = true;
    request.sampling.seed = 1;
    struct core_job *job = prepare(engine, &request);
    CHECK_EQ(job->prompt_count, 5);
    CHECK_EQ(job->said.count, 2);
    CHECK(memcmp(job->prompt + 5, said, sizeof(said)) == 0);
    CHECK_EQ(job->sampling.seed, 99);
    core_job_free(&job);
    engine_close(&engine);
}

TEST(an_answer_that_cannot_be_of_this_model_is_refused)
{
    static const int32_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, beyond[] = {1, VOCAB},
                         below[] = {-1};
    struct engine *engine = open_engine();
    struct request request = continued(many, 9, 0);
    struct prep_refusal refusal = refused(engine, &request);
    CHECK_STR(refusal.message, "9 tokens are said already: the answer has room for 8");
    CHECK_STR(refusal.param, "continue_from");
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    request = continued(beyond, 2, 0);
    CHECK_STR(refused(engine, &request).message,
              "token id 277 at index 1: the model's vocabulary is 0..276");
    request = continued(below, 1, 0);
    CHECK_STR(refused(engine, &request).message,
              "token id -1 at index 0: the model's vocabulary is 0..276");
    request = continued(many, 1, 0);
    engine->info.changing_pieces = true;
    CHECK_EQ(refused(engine, &request).fault, FAULT_UNSUPPORTED_PARAMETER);
    engine_close(&engine);
}

static void start_continued(struct loop *loop, struct engine *engine, const struct form *form,
                            const struct request *continues, const struct prep_options *options,
                            struct outcome *outcome)
{
    struct request request = *continues;
    struct text submit;
    request.id = (struct id){1, 2};
    request.epoch = 1;
    request.inbox = request.model = SLICE("m");
    request.credit_events = request.credit_bytes = 1;
    if (form)
        request.form = *form;
    text_init(&submit, 1 << 16);
    request_encode(&request, &submit);
    CHECK_OK(text_status(&submit));
    CHECK(prep_start(loop, engine, text_slice(&submit), options, on_done, outcome));
    text_fini(&submit);
    loop_advance(loop, 0);
    CHECK_EQ(outcome->calls, 1);
}

/* Behind the grammar if there is one: it is made first. */
TEST(an_answer_so_far_is_replayed_with_its_form_and_without)
{
    static const int32_t said[] = {1 + 'a', 1 + 'b'};
    static const struct form fits = {.kind = FORM_GRAMMAR, .text = SLICE("root ::= [ab]+")},
                             does_not = {.kind = FORM_GRAMMAR, .text = SLICE("root ::= [a]+")};
    struct loop *loop = loop_new_virtual(1);
    struct engine *engine = open_engine();
    struct prep_options options = in_line;
    options.forms = forms_new(loop);
    struct request good = continued(said, 2, 1), bad = continued(said, 2, 3);
    const struct {
        const struct form *form;
        const struct request *request;
        enum err err;
    } cases[] = {{NULL, &good, ERR_OK},
                 {NULL, &bad, ERR_REFUSED},
                 {&fits, &good, ERR_OK},
                 {&fits, &bad, ERR_REFUSED},
                 {&does_not, &good, ERR_REFUSED}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct outcome outcome = {0};
        start_continued(loop, engine, cases[i].form, cases[i].request, &options, &outcome);
        CHECK_EQ(outcome.err, cases[i].err);
        CHECK_STR(outcome.param, cases[i].err == ERR_OK ? "" : "continue_from");
    }
    forms_free(options.forms);
    engine_close(&engine);
    loop_free(loop);
}

/* --- adapters --- */

TEST(adapters_that_the_model_lacks_are_refused_by_name)
{
    struct engine *engine = open_engine();
    const struct adapter_wish item = {.name = SLICE("sql"), .scale = 1};
    struct request request = text_request(SLICE("Hi"));
    request.adapters = (struct adapters_wish){.is_said = true, .items = &item, .count = 1};
    struct prep_refusal refusal = refused(engine, &request);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK_STR(refusal.param, "lora");
    CHECK_STR(refusal.message, "the model has no adapter sql: it has none");
    request.adapters.count = 0; /* none is what it has */
    struct core_job *job = prepare(engine, &request);
    CHECK_EQ(job->adapters.count, 0);
    CHECK_EQ(job->scope, 0);
    core_job_free(&job);
    engine_close(&engine);
}

static const struct engine_adapter_set nobody = {0};

static uint64_t scope_with(struct engine *engine, const struct adapter_wish *items, size_t count)
{
    struct request request = text_request(SLICE("hello"));
    request.tenant = SLICE("alice");
    request.adapters = (struct adapters_wish){items != NULL, items, count};
    struct core_job *job = prepare(engine, &request);
    uint64_t scope = job->scope;
    CHECK_EQ(job->adapters.count, count > 0 && items[0].scale != 0);
    CHECK_EQ(job->tenant, adapters_scope(&engine->info, request.tenant, &nobody));
    core_job_free(&job);
    return scope;
}

/* Cells are shared inside a scope: nothing else keeps those of two sets apart. */
TEST(each_set_of_adapters_has_a_scope)
{
    static const struct engine_adapter adapters[] = {{.name = "sql", .digest = {1}},
                                                     {.name = "law", .digest = {2}}};
    struct engine *engine = open_engine();
    engine->info.adapters = adapters;
    engine->info.adapter_count = ARRAY_COUNT(adapters);
    const struct adapter_wish sql = {.name = SLICE("sql"), .scale = 1}, law = {.id = 1, .scale = 1},
                              first = {.id = 0, .scale = 1}, half = {.id = 0, .scale = 0.5f},
                              off = {.id = 0, .scale = 0}, minus_off = {.id = 0, .scale = -0.0f};
    uint64_t none = scope_with(engine, NULL, 0), of_sql = scope_with(engine, &sql, 1);
    CHECK_EQ(none, scope_of(engine, "alice"));
    CHECK(of_sql != none);
    CHECK_EQ(scope_with(engine, &first, 1), of_sql); /* the same by its number */
    CHECK(scope_with(engine, &half, 1) != of_sql);
    CHECK(scope_with(engine, &half, 1) != none);
    CHECK(scope_with(engine, &law, 1) != of_sql);
    CHECK(scope_with(engine, &law, 1) != none);
    CHECK_EQ(scope_with(engine, &off, 1), none);
    CHECK_EQ(scope_with(engine, &minus_off, 1), none);
    CHECK_EQ(scope_with(engine, &sql, 0), none);
    engine_close(&engine);
}

/* Who names none has what the configuration switches on, and shares with who names just that. */
TEST(adapters_that_nobody_named_are_in_the_scope)
{
    static const struct engine_adapter adapters[] = {{.name = "sql", .scale = 1, .digest = {1}}};
    struct engine *engine = open_engine();
    engine->info.adapters = adapters;
    engine->info.adapter_count = ARRAY_COUNT(adapters);
    const struct adapter_wish sql = {.name = SLICE("sql"), .scale = 1};
    uint64_t named = scope_with(engine, &sql, 1), nothing = scope_with(engine, &sql, 0);
    CHECK_EQ(scope_of(engine, "alice"), named);
    CHECK(nothing != named);
    engine_close(&engine);
}
