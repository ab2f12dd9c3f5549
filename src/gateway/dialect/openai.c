/* openai - what the two OpenAI surfaces have in common. */
#include "gateway/dialect/openai.h"

#include "gateway/dialect/data_event.h"
#include "gateway/params.h"

static bool is_text_format(const json_t *value) /* {"type":"text"} asks for nothing */
{
    return json_is_null(value) || slice_eq_str(json_slice(json_object_get(value, "type")), "text");
}

static bool is_auto_or_none(const json_t *value) /* tool_choice without tools */
{
    return json_is_null(value) || slice_eq_str(json_slice(value), "auto") ||
           slice_eq_str(json_slice(value), "none");
}

static const struct param_refusal refusals[] = {
    {"n", param_is_one},
    {"best_of", param_is_one},
    {"logprobs", param_is_false},
    {"top_logprobs", param_is_false},
    {"tools", param_is_false},
    {"functions", param_is_false},
    {"tool_choice", is_auto_or_none},
    {"function_call", is_auto_or_none},
    {"response_format", is_text_format},
    {"grammar", param_is_false},
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

/* --- chunks --- */

struct openai_own { /* call->own: the prefix of every chunk, per choice (the seeds differ) */
    struct slice prefix[CALL_CHOICES_MAX];
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

/* Keeps a chunk's beginning for the next one; without room for it, each is made anew. */
static void keep_prefix(struct call *call, uint32_t choice, struct slice prefix)
{
    struct openai_own *own = call->own;
    if (!own)
        call->own = own = arena_alloc(call->arena, sizeof(*own));
    if (own)
        (void)arena_dup(call->arena, prefix, &own->prefix[choice]); /* stays empty if it fails */
}

void openai_chunk_open(struct call *call, const struct openai_kind *kind, uint32_t choice,
                       struct text *out)
{
    const struct openai_own *own = call->own;
    if (own && own->prefix[choice].len > 0) {
        text_add(out, own->prefix[choice]);
        return;
    }
    size_t start = out->len;
    text_add(out, SLICE("data: "));
    add_identity(call, kind->id_prefix, kind->chunk_object, choice, out);
    if (call->started_ms != 0 && !out->overflowed) /* before `started` the seed is not known */
        keep_prefix(call, choice, slice_after(text_slice(out), start));
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

void openai_progress(struct call *call, const struct openai_kind *kind, const struct event *event,
                     struct text *out)
{
    openai_chunk_open(call, kind, 0, out);
    openai_choices_close(call, out);
    text_add_f(out, ",\"progress\":{\"state\":\"%s\"", event_type_name(event->type));
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

static void add_usage(const struct call *call, struct text *out)
{
    uint32_t prompt = 0, cached = 0, completion = 0;
    for (uint32_t i = 0; i < call->choices; i++) {
        prompt += call->choice[i].prompt_tokens;
        cached += call->choice[i].cached_tokens;
        completion += call->choice[i].completion_tokens;
    }
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
