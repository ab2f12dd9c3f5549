/* raw - the stream of "Serving v2" for any request with ?format=raw: data: {"delta":"..."} ...,
 * data: {"done":true}. It formats only; the route's own dialect parses. */
#include "gateway/dialect/dialects.h"

static void stream_event(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out)
{
    (void)call;
    (void)choice;
    if (event->type != EVENT_DELTA)
        return;
    text_add(out, SLICE("data: {\"delta\":"));
    json_add_string(out, event->delta.text);
    text_add(out, SLICE("}\n\n"));
}

static void stream_fault(struct call *call, const struct api_error *error, struct text *out)
{
    (void)call;
    text_add(out, SLICE("data: "));
    api_error_write(error, out);
    text_add(out, SLICE("\n\n"));
}

static void stream_end(struct call *call, struct text *out)
{
    (void)call;
    text_add(out, SLICE("data: {\"done\":true}\n\n"));
}

const struct dialect dialect_raw = {
    .name = "raw",
    .stream_event = stream_event,
    .stream_fault = stream_fault,
    .stream_end = stream_end,
};
