/* inference - POST /v1/inference of the rbee worker: always a stream of data: {"event":...}, then
 * data: [DONE]. */
#include "gateway/dialect/data_event.h"
#include "gateway/dialect/dialects.h"
#include "gateway/params.h"

MUST_USE static enum err parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error)
{
    TRY(param_object(input->body, out_error));
    TRY(param_generation(call, input, out_error));
    call->stream = true;
    return param_prompt(call, input->body, out_error);
}

static void stream_begin(struct call *call, uint32_t choice, struct text *out)
{
    (void)choice;
    text_add_f(out, "data: {\"event\":\"started\",\"job_id\":\"%s\",\"model\":", call->id_text);
    json_add_string(out, call->request.model);
    text_add_f(out, ",\"started_at\":\"%lld\"}\n\n", (long long)call->started_ms);
}

static void stream_event(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out)
{
    static const char *const stop_reasons[DONE_REASON_COUNT] = {[DONE_EOS] = "eos",
                                                                [DONE_STOP] = "stop_sequence",
                                                                [DONE_LENGTH] = "max_tokens",
                                                                [DONE_CANCELLED] = "cancelled"};
    const struct call_choice *state = &call->choice[choice];
    if (event->type == EVENT_DELTA) {
        text_add(out, SLICE("data: {\"event\":\"token\",\"t\":"));
        json_add_string(out, event->delta.text);
        text_add(out, SLICE(",\"i\":"));
        text_add_u64(out, state->pieces);
        text_add(out, SLICE("}\n\n"));
    } else if (event->type == EVENT_DONE) {
        text_add_f(out,
                   "data: {\"event\":\"end\",\"tokens_out\":%u,\"decode_time_ms\":%llu,"
                   "\"stop_reason\":\"%s\"}\n\n",
                   state->completion_tokens, (unsigned long long)state->decode_us / 1000,
                   stop_reasons[event->done.reason]);
    }
}

static void stream_fault(struct call *call, const struct api_error *error, struct text *out)
{
    (void)call;
    data_event_text(out,
                    SLICE("data: {\"event\":\"error\",\"code\":\"INFERENCE_FAILED\",\"message\":"),
                    slice_str(error->message));
}

const struct dialect dialect_inference = {
    .name = "inference",
    .can_end_cancelled = true,
    .parse = parse,
    .stream_begin = stream_begin,
    .stream_event = stream_event,
    .stream_fault = stream_fault,
    .stream_end = data_event_done,
};
