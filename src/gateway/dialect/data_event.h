/* data_event - events of one line that several surfaces share: a piece of text in one member, an
 * error in OpenAI's form, [DONE]. */
#pragma once

#include "gateway/dialect.h"

/* `before`, the text as a JSON string, and the end of object and event. `before` is of the form
 * `data: {"token":`, maybe with an `event:` line. */
void data_event_text(struct text *out, struct slice before, struct slice text);

/* For struct dialect as they are. */
void data_event_fault(struct call *call, const struct api_error *error, struct text *out);
void data_event_done(struct call *call, struct text *out); /* data: [DONE] */
