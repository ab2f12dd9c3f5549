/* prep - from a submit to a job for the core. */
#include "worker/prep.h"

#include "base/mem.h"
#include "worker/adapters.h"
#include "worker/prep_mark.h"
#include "worker/replay.h"

#include <stdio.h>

enum {
    PROMPT_TEXT_MAX_BYTES = 32 * 1024 * 1024, /* after the template */
    SPECIAL_TOKENS_MAX = 16,                  /* what a tokenizer adds to the tokens of a text */
    JOB_ARENA_SLACK = 4096,
    SEED_BITS = 53,
    ARENA_FACTOR = 4, /* decoded, per byte of JSON: tokens and small messages grow most */
    ARENA_SLACK = 64 * 1024,
};

static enum err refuse(struct prep_refusal *refusal, enum fault fault, const char *param,
                       const char *format, ...) PRINTF_LIKE(4, 5);

static enum err refuse(struct prep_refusal *refusal, enum fault fault, const char *param,
                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    refusal->fault = fault;
    refusal->param = param;
    vsnprintf(refusal->message, sizeof(refusal->message), format, args);
    va_end(args);
    return ERR_REFUSED;
}

static const char *prompt_param(const struct request *request)
{
    return request->prompt_kind == PROMPT_CHAT ? "messages" : "prompt";
}

static enum err refuse_memory(struct prep_refusal *refusal)
{
    return refuse(refusal, FAULT_INSUFFICIENT_MEMORY, NULL, "no memory to prepare the request");
}

/* --- tokens --- */

struct tokens { /* of the prompt; mem_free(data) */
    token_id *data;
    size_t count;
    uint32_t system; /* core_job.system_tokens */
};

static uint32_t answer_tokens(const struct request *request, const struct prep_limits *limits)
{
    return request->max_tokens == 0 && limits->context_margin > 1 ? limits->context_margin : 1;
}

static enum err check_fit(const struct engine *engine, const struct request *request,
                          const struct prep_limits *limits, size_t count,
                          struct prep_refusal *refusal)
{
    uint32_t context = engine->info.context_tokens, answer = answer_tokens(request, limits);
    if (count + answer <= context)
        return ERR_OK;
    return refuse(refusal, FAULT_CONTEXT_LENGTH_EXCEEDED, prompt_param(request),
                  "the model's context holds %u tokens; the prompt has %zu and the answer needs at "
                  "least %u",
                  context, count, answer);
}

/* Room for what the context holds, or less if the text cannot have as many: nearly always the text
 * is far smaller. A longer prompt is only counted. */
static enum err tokenize(struct engine *engine, const struct request *request, struct slice text,
                         const struct prep_limits *limits, struct tokens *out_tokens,
                         struct prep_refusal *refusal)
{
    size_t room = text.len + SPECIAL_TOKENS_MAX, count = 0;
    if (room > engine->info.context_tokens)
        room = engine->info.context_tokens;
    token_id *tokens = mem_peer_alloc(room * sizeof(*tokens));
    if (!tokens)
        return refuse_memory(refusal);
    enum err err = engine_tokenize(engine, text, true, true, tokens, room, &count);
    if (err == ERR_OK || err == ERR_LIMIT)
        err = check_fit(engine, request, limits, count, refusal);
    else
        err = refuse(refusal, FAULT_INVALID_REQUEST, prompt_param(request),
                     "the prompt cannot be tokenised (%s)", err_name(err));
    if (err == ERR_OK && count > room) /* fits, and yet had no room: not a count to trust */
        err = refuse(refusal, FAULT_INTERNAL_ERROR, NULL, "the tokenizer contradicts itself");
    if (err != ERR_OK) {
        mem_free(tokens);
        return err;
    }
    *out_tokens = (struct tokens){.data = tokens, .count = count};
    return ERR_OK;
}

static enum err render(struct engine *engine, const struct request *request,
                       struct engine_chat_message *messages, struct text *out_text,
                       struct prep_refusal *refusal)
{
    struct err_note note = {0};
    for (size_t i = 0; i < request->message_count; i++)
        messages[i] =
            (struct engine_chat_message){request->messages[i].role, request->messages[i].content};
    switch (engine_chat(engine, messages, request->message_count, out_text, &note)) {
    case ERR_OK:
        return ERR_OK;
    case ERR_LIMIT:
        return refuse(refusal, FAULT_CONTEXT_LENGTH_EXCEEDED, "messages", "%s", note.text);
    default:
        return refuse(refusal, FAULT_INVALID_REQUEST, "messages", "%s", note.text);
    }
}

static enum err tokenize_chat(struct engine *engine, const struct request *request,
                              const struct prep_limits *limits, struct tokens *out_tokens,
                              struct prep_refusal *refusal)
{
    if (!engine->info.has_chat)
        return refuse(refusal, FAULT_UNSUPPORTED_PARAMETER, "messages",
                      "the model has no chat template; give it a prompt");
    struct text text;
    struct engine_chat_message *messages =
        mem_peer_alloc((request->message_count + 1) * sizeof(*messages));
    if (!messages)
        return refuse_memory(refusal);
    text_init(&text, PROMPT_TEXT_MAX_BYTES);
    enum err err = render(engine, request, messages, &text, refusal);
    if (err == ERR_OK)
        err = tokenize(engine, request, text_slice(&text), limits, out_tokens, refusal);
    if (err == ERR_OK)
        out_tokens->system = prep_mark(engine, request, text_slice(&text), out_tokens->data,
                                       out_tokens->count, limits->mark_tokens);
    text_fini(&text);
    mem_free(messages);
    return err;
}

static enum err copy_tokens(const struct engine *engine, const struct request *request,
                            const struct prep_limits *limits, struct tokens *out_tokens,
                            struct prep_refusal *refusal)
{
    TRY(check_fit(engine, request, limits, request->token_count, refusal));
    for (size_t i = 0; i < request->token_count; i++)
        if (request->tokens[i] < 0 || (uint32_t)request->tokens[i] >= engine->info.vocab_size)
            return refuse(refusal, FAULT_INVALID_REQUEST, "prompt",
                          "token id %d at index %zu: the model's vocabulary is 0..%u",
                          request->tokens[i], i, engine->info.vocab_size - 1);
    size_t bytes = request->token_count * sizeof(token_id);
    token_id *tokens = mem_peer_alloc(bytes + 1);
    if (!tokens)
        return refuse_memory(refusal);
    if (bytes)
        memcpy(tokens, request->tokens, bytes);
    *out_tokens = (struct tokens){.data = tokens, .count = request->token_count};
    return ERR_OK;
}

static enum err make_tokens(struct engine *engine, const struct request *request,
                            const struct prep_limits *limits, struct tokens *out_tokens,
                            struct prep_refusal *refusal)
{
    switch (request->prompt_kind) {
    case PROMPT_TEXT:
        return tokenize(engine, request, request->prompt, limits, out_tokens, refusal);
    case PROMPT_TOKENS:
        return copy_tokens(engine, request, limits, out_tokens, refusal);
    case PROMPT_CHAT:
        return tokenize_chat(engine, request, limits, out_tokens, refusal);
    }
    return refuse(refusal, FAULT_INTERNAL_ERROR, NULL, "a prompt of no kind");
}

/* --- the job --- */

static enum err check_bias(const struct engine *engine, const struct request *request,
                           struct prep_refusal *refusal)
{
    for (size_t i = 0; i < request->sampling.bias_count; i++) {
        token_id token = request->sampling.bias[i].token;
        if (token < 0 || (uint32_t)token >= engine->info.vocab_size)
            return refuse(refusal, FAULT_INVALID_REQUEST, "logit_bias",
                          "token id %d: the model's vocabulary is 0..%u", token,
                          engine->info.vocab_size - 1);
    }
    return ERR_OK;
}

/* Breakers are kept where DRY asks for them. */
static size_t breaker_count(const struct request *request)
{
    return request->sampling.dry_multiplier > 0 ? request->sampling.dry_breaker_count : 0;
}

static size_t string_bytes(const struct slice *strings, size_t count)
{
    size_t bytes = count * sizeof(*strings);
    for (size_t i = 0; i < count; i++)
        bytes += strings[i].len + 32; /* the NUL and what alignment takes */
    return bytes;
}

static size_t job_bytes(const struct request *request)
{
    return request->sampling.bias_count * sizeof(struct logit_bias) +
           string_bytes(request->stops, request->stop_count) +
           string_bytes(request->sampling.dry_breakers, breaker_count(request)) + JOB_ARENA_SLACK;
}

static enum err dup_strings(struct arena *arena, const struct slice *strings, size_t count,
                            const struct slice **out_copies)
{
    struct slice *copies = arena_array(arena, count + 1, sizeof(*copies));
    if (!copies)
        return ERR_LIMIT;
    for (size_t i = 0; i < count; i++)
        TRY(arena_dup(arena, strings[i], &copies[i]));
    *out_copies = copies;
    return ERR_OK;
}

/* What most requests have none of. ERR_LIMIT: no memory. */
static enum err copy_lists(struct core_job *job, const struct request *request)
{
    struct sampling *sampling = &job->sampling;
    size_t bias_bytes = sampling->bias_count * sizeof(*sampling->bias);
    sampling->bias = NULL;
    sampling->dry_breakers = NULL;
    sampling->dry_breaker_count = breaker_count(request);
    job->stop_count = request->stop_count;
    if (job->stop_count + sampling->bias_count + sampling->dry_breaker_count == 0)
        return ERR_OK;
    job->arena = arena_new(job_bytes(request));
    struct logit_bias *bias = arena_alloc(job->arena, bias_bytes);
    if (!bias)
        return ERR_LIMIT;
    if (bias_bytes)
        memcpy(bias, request->sampling.bias, bias_bytes);
    sampling->bias = bias;
    TRY(dup_strings(job->arena, request->stops, job->stop_count, &job->stops));
    return dup_strings(job->arena, request->sampling.dry_breakers, sampling->dry_breaker_count,
                       &sampling->dry_breakers);
}

static uint32_t max_tokens(const struct engine *engine, const struct request *request,
                           const struct prep_limits *limits, size_t prompt_count)
{
    uint32_t room = engine->info.context_tokens - (uint32_t)prompt_count;
    uint32_t wanted = request->max_tokens ? request->max_tokens : limits->default_max_tokens;
    return wanted && wanted < room ? wanted : room;
}

/* --- adapters --- */

static enum err resolve_adapters(const struct engine *engine, const struct request *request,
                                 struct engine_adapter_set *out_set, struct prep_refusal *refusal)
{
    struct err_note note = {{0}};
    enum err err = adapters_resolve(&engine->info, &request->adapters, out_set, &note);
    if (err == ERR_OK)
        return ERR_OK;
    return refuse(refusal, err == ERR_LIMIT ? FAULT_UNSUPPORTED_PARAMETER : FAULT_INVALID_REQUEST,
                  "lora", "%s", note.text);
}

/* --- what of the answer is there already --- */

static const char CONTINUE_FROM[] = "continue_from";

static enum err check_said(const struct engine *engine, const struct continuation *from,
                           const struct core_job *job, struct prep_refusal *refusal)
{
    if (engine->info.changing_pieces)
        return refuse(refusal, FAULT_UNSUPPORTED_PARAMETER, CONTINUE_FROM,
                      "this model's answers cannot be continued: a token's text changes");
    if (from->token_count > job->max_tokens)
        return refuse(refusal, FAULT_INVALID_REQUEST, CONTINUE_FROM,
                      "%zu tokens are said already: the answer has room for %u", from->token_count,
                      job->max_tokens);
    for (size_t i = 0; i < from->token_count; i++)
        if (from->tokens[i] < 0 || (uint32_t)from->tokens[i] >= engine->info.vocab_size)
            return refuse(refusal, FAULT_INVALID_REQUEST, CONTINUE_FROM,
                          "token id %d at index %zu: the model's vocabulary is 0..%u",
                          from->tokens[i], i, engine->info.vocab_size - 1);
    return ERR_OK;
}

/* Behind the prompt. */
static void add_said(struct core_job *job, const struct continuation *from)
{
    if (!from->is_wanted || from->token_count == 0)
        return;
    job->said.count = (uint32_t)from->token_count;
    job->prompt = mem_grow(job->prompt, (job->prompt_count + from->token_count) * sizeof(token_id));
    memcpy(job->prompt + job->prompt_count, from->tokens, from->token_count * sizeof(token_id));
}

static enum err replay(struct engine *engine, struct core_job *job, uint64_t text_bytes,
                       struct prep_refusal *refusal)
{
    struct err_note note = {{0}};
    switch (replay_said(engine, job, text_bytes, &note)) {
    case ERR_OK:
        return ERR_OK;
    case ERR_FULL:
        return refuse_memory(refusal);
    case ERR_LIMIT:
        return refuse(refusal, FAULT_INVALID_REQUEST, CONTINUE_FROM,
                      "the grammar is too ambiguous to follow the answer so far");
    default:
        return refuse(refusal, FAULT_INVALID_REQUEST, CONTINUE_FROM, "%s", note.text);
    }
}

/* Of a first question nobody knows whether there will be a second (a script asks thousands of
 * them); who shows an earlier answer goes on. */
static bool is_conversation(const struct request *request)
{
    for (size_t i = 0; request->prompt_kind == PROMPT_CHAT && i < request->message_count; i++) {
        if (slice_eq_str(request->messages[i].role, "assistant"))
            return true;
    }
    return false;
}

/* Takes the tokens on success. */
static enum err make_job(struct engine *engine, const struct request *request,
                         const struct prep_limits *limits,
                         const struct engine_adapter_set *adapters, struct tokens *tokens,
                         struct core_job **out_job, struct prep_refusal *refusal)
{
    struct core_job *job = mem_alloc(sizeof(*job));
    job->adapters = *adapters;
    job->scope = adapters_scope(&engine->info, request->tenant, adapters);
    job->tenant =
        adapters_scope(&engine->info, request->tenant, &(const struct engine_adapter_set){0});
    job->sampling = request->sampling;
    if (request->continue_from.is_wanted) {
        job->sampling.has_seed = true;
        job->sampling.seed = request->continue_from.seed;
    } else if (!job->sampling.has_seed) {
        job->sampling.has_seed = true;
        job->sampling.seed = random_u64() >> (64 - SEED_BITS);
    }
    job->max_tokens = max_tokens(engine, request, limits, tokens->count);
    job->ignore_eos = request->ignore_eos;
    job->want_progress = request->want_progress;
    job->prompt_is_shared = request->prompt_is_shared;
    job->is_conversation = is_conversation(request);
    enum err err = copy_lists(job, request) == ERR_OK ? ERR_OK : refuse_memory(refusal);
    if (err == ERR_OK && request->continue_from.is_wanted)
        err = check_said(engine, &request->continue_from, job, refusal);
    if (err != ERR_OK) {
        core_job_free(&job);
        return err;
    }
    /* They had room for the text's bytes, several times what they are now. */
    job->prompt = mem_grow(tokens->data, tokens->count * sizeof(token_id));
    job->prompt_count = (uint32_t)tokens->count;
    job->system_tokens = tokens->system;
    tokens->data = NULL;
    add_said(job, &request->continue_from);
    *out_job = job;
    return ERR_OK;
}

enum err prep_job(struct engine *engine, const struct request *request,
                  const struct prep_limits *limits, struct core_job **out_job,
                  struct prep_refusal *out_refusal)
{
    struct tokens tokens = {0};
    struct engine_adapter_set adapters;
    TRY(check_bias(engine, request, out_refusal));
    TRY(resolve_adapters(engine, request, &adapters, out_refusal));
    TRY(make_tokens(engine, request, limits, &tokens, out_refusal));
    enum err err =
        tokens.count > 0
            ? make_job(engine, request, limits, &adapters, &tokens, out_job, out_refusal)
            : refuse(out_refusal, FAULT_INVALID_REQUEST, prompt_param(request),
                     "the prompt is empty, and the model has no token that begins a text");
    mem_free(tokens.data);
    return err;
}

/* --- on the pool, or in line --- */

struct prep {
    struct loop *loop;
    struct engine *engine;
    struct prep_options options;
    prep_done_fn *on_done;
    void *ctx;
    struct loop_work *work;   /* on the pool; NULL: in line, */
    struct deferred deferred; /* with this */
    bool is_cancelled;        /* before it began */

    enum err err;
    struct core_job *job;
    bool is_continued;
    uint64_t text_bytes;      /* that the asker has of it */
    struct form_order *order; /* for the form of the answer, if it is to have one; the pool's as
                                 long as there is work, forms' after it */
    struct prep_refusal refusal;
    size_t submit_bytes;
    char submit[];
};

static enum err refuse_form(struct prep_refusal *refusal, struct slice param, enum fault fault,
                            const char *why)
{
    snprintf(refusal->form_param, sizeof(refusal->form_param), SLICE_FMT, SLICE_ARG(param));
    return refuse(refusal, fault, param.len ? refusal->form_param : NULL, "%s", why);
}

static enum err refuse_unreadable(struct prep_refusal *refusal, const struct err_note *note)
{
    return refuse(refusal, FAULT_INVALID_REQUEST, NULL, "%s", note->text);
}

static enum err order_form(struct prep *prep, const struct form *form)
{
    if (form->kind == FORM_FREE)
        return ERR_OK;
    if (!prep->options.forms || prep->engine->info.changing_pieces)
        return refuse_form(&prep->refusal, form->param, FAULT_UNSUPPORTED_PARAMETER,
                           "this model's answers cannot be given a form");
    prep->order = form_order_new(prep->engine, form);
    return prep->order ? ERR_OK : refuse_memory(&prep->refusal);
}

static enum err decode_and_prepare(struct prep *prep, struct arena *arena)
{
    struct request request = {.want_progress = prep->options.want_progress};
    struct err_note note = {0};
    if (request_decode_body(slice_of(prep->submit, prep->submit_bytes), arena, &request, &note) !=
        ERR_OK)
        return refuse_unreadable(&prep->refusal, &note);
    TRY(order_form(prep, &request.form));
    TRY(prep_job(prep->engine, &request, &prep->options.limits, &prep->job, &prep->refusal));
    prep->is_continued = request.continue_from.is_wanted;
    prep->text_bytes = request.continue_from.text_bytes;
    if (!prep->is_continued || prep->order) /* with a form: when that is there */
        return ERR_OK;
    return replay(prep->engine, prep->job, prep->text_bytes, &prep->refusal);
}

static void work(void *ctx)
{
    struct prep *prep = ctx;
    struct arena *arena = arena_new(ARENA_FACTOR * prep->submit_bytes + ARENA_SLACK);
    prep->err = decode_and_prepare(prep, arena);
    arena_free(arena); /* here: freeing megabytes takes time, too */
}

static void finish(struct prep *prep, enum err err)
{
    if (err != ERR_OK)
        core_job_free(&prep->job);
    form_order_free(prep->order);
    prep->on_done(prep->ctx, err, prep->job, &prep->refusal);
    mem_free(prep);
}

static enum fault fault_of(enum err err)
{
    switch (err) {
    case ERR_FULL:
        return FAULT_INSUFFICIENT_MEMORY;
    case ERR_REFUSED:
        return FAULT_UNSUPPORTED_PARAMETER;
    default:
        return FAULT_INVALID_REQUEST;
    }
}

static void replay_formed(void *ctx)
{
    struct prep *prep = ctx;
    prep->err = replay(prep->engine, prep->job, prep->text_bytes, &prep->refusal);
}

static void on_replayed(void *ctx, enum err status)
{
    struct prep *prep = ctx;
    enum err err = status == ERR_OK ? prep->err : status;
    prep->work = NULL;
    finish(prep, prep->is_cancelled ? ERR_CANCELLED : err);
}

static void on_form(void *ctx, const struct form_order *order, enum err err,
                    struct grammar_match *match, const struct grammar_vocab *vocab,
                    const struct err_note *note)
{
    struct prep *prep = ctx;
    prep->order = NULL;
    prep->job->match = match;
    prep->job->vocab = vocab;
    if (err != ERR_OK)
        err = refuse_form(&prep->refusal, form_order_param(order), fault_of(err), note->text);
    if (err == ERR_OK && prep->is_continued && !prep->is_cancelled)
        prep->work = loop_work_start(prep->loop, replay_formed, on_replayed, prep);
    else
        finish(prep, prep->is_cancelled ? ERR_CANCELLED : err);
}

static void on_done(void *ctx, enum err status)
{
    struct prep *prep = ctx;
    enum err err = status == ERR_OK ? prep->err : status;
    prep->work = NULL;
    if (err != ERR_OK || !prep->order || prep->is_cancelled)
        finish(prep, prep->is_cancelled ? ERR_CANCELLED : err);
    else
        forms_get(prep->options.forms, prep->order, on_form, prep);
}

static void run_in_line(void *ctx)
{
    struct prep *prep = ctx;
    if (!prep->is_cancelled)
        work(prep);
    on_done(prep, prep->is_cancelled ? ERR_CANCELLED : ERR_OK);
}

struct prep *prep_start(struct loop *loop, struct engine *engine, struct slice submit,
                        const struct prep_options *options, prep_done_fn *on_done_fn, void *ctx)
{
    struct prep *prep = mem_peer_alloc(sizeof(*prep) + submit.len);
    if (!prep)
        return NULL;
    *prep = (struct prep){.loop = loop,
                          .engine = engine,
                          .options = *options,
                          .on_done = on_done_fn,
                          .ctx = ctx,
                          .submit_bytes = submit.len};
    if (submit.len)
        memcpy(prep->submit, submit.data, submit.len);
    deferred_init(&prep->deferred, run_in_line, prep);
    if (options->in_line)
        loop_defer(loop, &prep->deferred);
    else
        prep->work = loop_work_start(loop, work, on_done, prep);
    return prep;
}

void prep_cancel(struct prep *prep)
{
    prep->is_cancelled = true;
    if (prep->work)
        loop_work_cancel(prep->work);
    else if (prep->order)
        form_order_cancel(prep->order);
}
