/* openai - what the two OpenAI surfaces have in common. */
#include "gateway/dialect/openai.h"

#include "gateway/dialect/data_event.h"
#include "gateway/params.h"

enum { FRAME_MAX_BYTES = 16 * 1024 }; /* a model's name is in it, of 256 bytes, escaped */

static bool is_auto_or_none(const json_t *value) /* tool_choice without tools */
{
    return json_is_null(value) || slice_eq_str(json_slice(value), "auto") ||
           slice_eq_str(json_slice(value), "none");
}

static const struct param_refusal refusals[] = {
    {"best_of", param_is_one},
    {"logprobs", param_is_false},
    {"top_logprobs", param_is_false},
    {"tools", param_is_false},
    {"functions", param_is_false},
    {"tool_choice", is_auto_or_none},
    {"function_call", is_auto_or_none},
    {"suffix", param_is_false},
    {"resumable", param_is_false},
    {"session", param_is_false}, /* its "append" would be answered without what went before */
    {"audio", param_is_false},
    {"prediction", param_is_false},
    {"web_search_options", param_is_false},
};

enum err openai_parse(struct call *call, const struct dialect_input *input,
                      struct api_error *out_error)
{
    TRY(param_object(input->body, out_error));
    TRY(param_refuse(input->body, refusals, ARRAY_COUNT(refusals), out_error));
    TRY(param_generation(call, input, out_error));
    return param_stream(call, input, out_error);
}

/* Choice i is drawn with seed + i, which must be one that a request of its own can name. */
MUST_USE static enum err check_last_seed(const struct call *call, struct api_error *out_error)
{
    const struct sampling *sampling = &call->request.sampling;
    uint64_t most = (uint64_t)INT64_MAX - (call->per_prompt - 1);
    if (!sampling->has_seed || sampling->seed <= most)
        return ERR_OK;
    return api_error_set(
        out_error, 400, "invalid_value", "seed", "seed is %llu: with n = %u allowed is 0..%llu",
        (unsigned long long)sampling->seed, call->per_prompt, (unsigned long long)most);
}

enum err openai_choices(struct call *call, const json_t *body, uint32_t prompts,
                        struct api_error *out_error)
{
    int64_t n = 1, most = CALL_CHOICES_MAX / prompts;
    TRY(param_integer(body, "n", 1, most, &n, out_error));
    call->per_prompt = (uint32_t)n;
    call->choices = prompts * call->per_prompt;
    return check_last_seed(call, out_error);
}

/* --- chunks --- */

/* call->own, one for each choice (the seeds differ): what is the same in every chunk. */
struct openai_frame {
    struct slice chunk_head;  /* the beginning of before_text, for chunks without text */
    struct slice before_text; /* empty: not made yet */
    struct slice after_text;
};

/* "id":... up to "choices":[ - the seed is in it, so that any answer can be replayed. */
static void add_identity(const struct call *call, const char *id_prefix, const char *object,
                         uint32_t choice, struct text *out)
{
    text_add_f(out, "{\"id\":\"%s%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", id_prefix,
               call->id_text, object, (long long)call->created_s);
    json_add_string(out, call->request.model);
    text_add_f(out, ",\"system_fingerprint\":\"seed_%llu\",\"choices\":[",
               (unsigned long long)call->choice[choice].seed);
}

static void add_chunk_head(const struct call *call, const struct openai_kind *kind, uint32_t choice,
                           struct text *out)
{
    text_add(out, SLICE("data: "));
    add_identity(call, kind->id_prefix, kind->chunk_object, choice, out);
}

static enum err make_frame(struct call *call, const struct openai_kind *kind, uint32_t choice,
                           struct openai_frame *frame)
{
    struct text text;
    text_init(&text, FRAME_MAX_BYTES);
    add_chunk_head(call, kind, choice, &text);
    size_t head_bytes = text.len;
    kind->open_text(choice, &text);
    size_t before_bytes = text.len;
    kind->close_text(choice, &text);
    openai_choices_close(call, &text);
    struct slice kept;
    enum err err = text_status(&text);
    if (err == ERR_OK)
        err = arena_dup(call->arena, text_slice(&text), &kept);
    if (err == ERR_OK)
        *frame =
            (struct openai_frame){slice_first(kept, head_bytes), slice_first(kept, before_bytes),
                                  slice_after(kept, before_bytes)};
    text_fini(&text);
    return err;
}

/* NULL before its `started`, when the seed is not known, and without room: then each chunk is made
 * anew. */
static const struct openai_frame *frame_of(struct call *call, const struct openai_kind *kind,
                                           uint32_t choice)
{
    struct openai_frame *frames = call->own;
    if (frames && frames[choice].before_text.len > 0)
        return &frames[choice];
    if (!call->choice[choice].is_started)
        return NULL;
    if (!frames)
        call->own = frames = arena_array(call->arena, call->choices, sizeof(*frames));
    if (!frames || make_frame(call, kind, choice, &frames[choice]) != ERR_OK)
        return NULL;
    return &frames[choice];
}

void openai_chunk_open(struct call *call, const struct openai_kind *kind, uint32_t choice,
                       struct text *out)
{
    const struct openai_frame *frame = frame_of(call, kind, choice);
    if (frame)
        text_add(out, frame->chunk_head);
    else
        add_chunk_head(call, kind, choice, out);
}

void openai_text(struct call *call, const struct openai_kind *kind, uint32_t choice,
                 struct slice text, struct text *out)
{
    const struct openai_frame *frame = frame_of(call, kind, choice);
    if (frame) {
        text_add(out, frame->before_text);
        json_add_string(out, text);
        text_add(out, frame->after_text);
        return;
    }
    add_chunk_head(call, kind, choice, out);
    kind->open_text(choice, out);
    json_add_string(out, text);
    kind->close_text(choice, out);
    openai_choices_close(call, out);
}

void openai_choices_close(const struct call *call, struct text *out)
{
    text_add(out, call->include_usage ? SLICE("],\"usage\":null") : SLICE("]"));
}

void openai_chunk_end(struct text *out)
{
    text_add(out, SLICE("}\n\n"));
}

const char *openai_finish_reason(enum done_reason reason)
{
    return reason == DONE_LENGTH ? "length" : "stop";
}

/* --- progress, usage, ends --- */

void openai_progress(struct call *call, const struct openai_kind *kind, uint32_t choice,
                     const struct event *event, struct text *out)
{
    openai_chunk_open(call, kind, choice, out);
    openai_choices_close(call, out);
    text_add_f(out, ",\"progress\":{\"state\":\"%s\"", event_type_name(event->type));
    if (call->choices > 1)
        text_add_f(out, ",\"index\":%u", choice);
    if (event->type == EVENT_QUEUED)
        text_add_f(out, ",\"position\":%u,\"eta_ms\":%u", event->queued.position,
                   event->queued.eta_ms);
    else if (event->type == EVENT_LOADING)
        text_add_f(out, ",\"fraction\":%.3f", (double)event->loading.fraction);
    else if (event->type == EVENT_PREFILL)
        text_add_f(out, ",\"done\":%u,\"total\":%u", event->prefill.done_tokens,
                   event->prefill.total_tokens);
    text_add(out, SLICE("}"));
    openai_chunk_end(out);
}

/* What was there of a prompt before this request: whichever of its choices came first put in the
 * rest, and the others found that. */
static uint32_t cached_before(const struct call *call, uint32_t first_choice)
{
    uint32_t cached = UINT32_MAX;
    for (uint32_t i = first_choice; i < first_choice + call->per_prompt; i++)
        if (call->choice[i].cached_tokens < cached)
            cached = call->choice[i].cached_tokens;
    return cached;
}

/* A prompt counts once, however many choices it has. */
static void add_usage(const struct call *call, struct text *out)
{
    uint32_t prompt = 0, cached = 0, completion = 0;
    for (uint32_t i = 0; i < call->choices; i += call->per_prompt) {
        prompt += call->choice[i].prompt_tokens;
        cached += cached_before(call, i);
    }
    for (uint32_t i = 0; i < call->choices; i++)
        completion += call->choice[i].completion_tokens;
    text_add_f(out,
               "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%u}}",
               prompt, completion, prompt + completion, cached);
}

void openai_stream_fault(struct call *call, const struct api_error *error, struct text *out)
{
    call->include_usage = false; /* there is none to tell */
    data_event_fault(call, error, out);
}

void openai_stream_end(struct call *call, const struct openai_kind *kind, struct text *out)
{
    if (call->include_usage) {
        openai_chunk_open(call, kind, 0, out);
        text_add(out, SLICE("],"));
        add_usage(call, out);
        openai_chunk_end(out);
    }
    data_event_done(call, out);
}

void openai_whole_open(struct call *call, const struct openai_kind *kind, struct text *out)
{
    add_identity(call, kind->id_prefix, kind->whole_object, 0, out);
}

void openai_whole_close(struct call *call, struct text *out)
{
    text_add(out, SLICE("],"));
    add_usage(call, out);
    text_add(out, SLICE("}"));
}
