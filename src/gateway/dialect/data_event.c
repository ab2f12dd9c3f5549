/* data_event - events of one line that several surfaces share. */
#include "gateway/dialect/data_event.h"

#include "sse/sse.h"

void data_event_text(struct text *out, struct slice before, struct slice text)
{
    text_add(out, before);
    json_add_string(out, text);
    text_add(out, SLICE("}\n\n"));
}

void data_event_fault(struct call *call, const struct api_error *error, struct text *out)
{
    (void)call;
    text_add(out, SLICE("data: "));
    api_error_write(error, out);
    text_add(out, SLICE("\n\n"));
}

void data_event_done(struct call *call, struct text *out)
{
    (void)call;
    sse_add_data(out, SLICE("[DONE]"));
}
