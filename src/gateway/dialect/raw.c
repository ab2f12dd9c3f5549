/* raw - the stream of "Serving v2" for any request with ?format=raw: data: {"delta":"..."} ...,
 * data: {"done":true}. It formats only; the route's own dialect parses. */
#include "gateway/dialect/data_event.h"
#include "gateway/dialect/dialects.h"

static void add_delta(struct slice delta, struct text *out)
{
    data_event_text(out, SLICE("data: {\"delta\":"), delta);
}

static void stream_begin(struct call *call, uint32_t choice, struct text *out)
{
    (void)choice; /* there is one */
    if (call->echo)
        add_delta(call->request.prompt, out);
}

static void stream_event(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out)
{
    (void)call;
    (void)choice;
    if (event->type == EVENT_DELTA)
        add_delta(event->delta.text, out);
}

static void stream_end(struct call *call, struct text *out)
{
    (void)call;
    text_add(out, SLICE("data: {\"done\":true}\n\n"));
}

const struct dialect dialect_raw = {
    .name = "raw",
    .stream_begin = stream_begin,
    .stream_event = stream_event,
    .stream_fault = data_event_fault,
    .stream_end = stream_end,
};
