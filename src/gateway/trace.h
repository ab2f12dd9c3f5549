/* trace - the traceparent field of W3C Trace Context, level 1: a request's place in a trace that
 * began elsewhere. Parsed from outside bytes, so fuzzed. Pure.
 *
 * We take part in a trace: the trace-id and the sampled flag are kept, the parent-id becomes our
 * own (the low half of the request's id, which is its stream on the bus), and that is what the
 * worker is told and the log says. A field that is missing, wrong, or there twice is ignored as a
 * whole, and a trace is begun here, with the request's id as its trace-id; it is not sampled, for
 * we record no spans.
 *
 * It is not answered: traceparent is a field of requests, level 1 has none for answers. Whoever
 * wants to find an answer's trace has X-Request-Id, which stands in the same log line. tracestate
 * is not carried: we add nothing to it, and pass nothing on over HTTP. */
#pragma once

#include "base/id.h"
#include "http/http.h"

enum { TRACE_TEXT_BYTES = 55 }; /* "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" */

struct trace {
    struct id trace_id; /* never zero */
    uint64_t parent_id; /* never zero: whoever sent this */
    bool is_sampled;
};

/* ERR_PROTOCOL: not a version 00, nor one of a later version that begins like it (section 4.3). */
MUST_USE enum err trace_parse(struct slice field, struct trace *out_trace);
/* As version 00, with a NUL; returns the text as a slice of out_text. */
struct slice trace_format(const struct trace *trace, char out_text[TRACE_TEXT_BYTES + 1]);
/* The step of our request with that id in the trace that the client named, or in a new one. */
struct trace trace_join(const struct http_request *request, struct id id);
