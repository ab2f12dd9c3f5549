/* assigned - the manager's answer to a repeated submit, or to WIRE_WAITING, for a stream that a
 * worker has by now: the asker turns to that worker itself (a credit with WIRE_FLAG_RESEND). JSON
 * {"control":"inbox.5c1e.3"}. Pure. */
#pragma once

#include "wire/frame.h"

void wire_add_assigned(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                       struct slice control);
/* *out_control lies in `scratch` (cleared first). ERR_PROTOCOL, ERR_LIMIT. */
MUST_USE enum err wire_read_assigned(const struct wire_record *record, struct text *scratch,
                                     struct slice *out_control);
