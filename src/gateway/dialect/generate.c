/* generate - POST /generate (whole) and /generate/stream (event: token ..., event: done) of the
 * WorkflowAI model service. */
#include "gateway/dialect/data_event.h"
#include "gateway/dialect/dialects.h"
#include "gateway/params.h"

MUST_USE static enum err parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error)
{
    TRY(param_object(input->body, out_error));
    TRY(param_generation(call, input, out_error));
    return param_prompt(call, input->body, out_error);
}

MUST_USE static enum err parse_stream(struct call *call, const struct dialect_input *input,
                                      struct api_error *out_error)
{
    call->stream = true;
    return parse(call, input, out_error);
}

static const char *finish_reason(const struct call *call)
{
    if (!call->choice[0].done)
        return "error";
    return call->choice[0].reason == DONE_EOS ? "stop" : done_reason_name(call->choice[0].reason);
}

static void stream_event(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out)
{
    (void)call;
    (void)choice;
    if (event->type == EVENT_DELTA)
        data_event_text(out, SLICE("event: token\ndata: {\"token\":"), event->delta.text);
}

static void stream_fault(struct call *call, const struct api_error *error, struct text *out)
{
    (void)call;
    data_event_text(out, SLICE("event: error\ndata: {\"error\":"), slice_str(error->message));
}

static void stream_end(struct call *call, struct text *out)
{
    text_add_f(out, "event: done\ndata: {\"tokens_generated\":%u,\"finish_reason\":\"%s\"}\n\n",
               call->choice[0].completion_tokens, finish_reason(call));
}

static void whole(struct call *call, struct text *out)
{
    text_add(out, SLICE("{\"text\":"));
    json_add_string(out, text_slice(&call->choice[0].whole));
    text_add(out, SLICE(",\"prompt\":"));
    json_add_string(out, call->request.prompt);
    text_add_f(out, ",\"tokens_generated\":%u,\"finish_reason\":\"%s\"}",
               call->choice[0].completion_tokens, finish_reason(call));
}

const struct dialect dialect_generate = {
    .name = "generate",
    .repeats_prompt = true,
    .parse = parse,
    .stream_event = stream_event,
    .stream_fault = stream_fault,
    .stream_end = stream_end,
    .whole = whole,
};

const struct dialect dialect_generate_stream = {
    .name = "generate_stream",
    .repeats_prompt = true,
    .parse = parse_stream,
    .stream_event = stream_event,
    .stream_fault = stream_fault,
    .stream_end = stream_end,
    .whole = whole,
};
