/* report - the lines a role writes to its host. Pure; parsed from outside bytes, so fuzzed.
 *
 *   beat STUCK_MS STREAMS      every LIFE_BEAT_MS
 *   ready [TEXT]               once it serves; the gateway's text is its address
 *   draining                   it takes nothing new and will end: a successor may start
 *   failed SENTENCE            why it is about to end */
#pragma once

#include "base/slice.h"
#include "base/text.h"

enum { REPORT_LINE_MAX_BYTES = 1024 };
enum report_kind { REPORT_BEAT, REPORT_READY, REPORT_DRAINING, REPORT_FAILED, REPORT_KIND_COUNT };

struct report {
    enum report_kind kind;
    uint32_t stuck_ms, streams; /* of a beat */
    struct slice text;          /* of ready and failed; control bytes replaced */
};
/* With the newline; a text that is too long is cut. */
void report_write(const struct report *report, struct text *out);
/* One line without its newline. ERR_PROTOCOL. The text is borrowed from `line`. */
MUST_USE enum err report_read(struct slice line, struct report *out_report);
