/* call - a question with one answer, beside the streams: who is in flight, cancel by id, how are
 * the roles. The question is a WIRE_CALL record in a control frame to the subject of who knows
 * ("manager.calls", "host.calls"); its `stream` is the caller's number for it, its payload JSON
 * with a member "call" that names it. The answer is a WIRE_ANSWER record in an events frame to the
 * reply subject, with the same `stream`; payload JSON, or {"error":"..."}.
 *
 *   manager.calls  {"call":"requests","tenant":"","limit":1000}
 *                  -> {"requests":[{"id","model","tenant","session","label","state":
 *                      "queued|assigned|waiting|running|parked","position","eta_ms","tokens",
 *                      "age_ms","worker"}],"is_cut":false}
 *                  (tenant "": of all; eta_ms 0: not known)
 *                  {"call":"cancel","id":"32 hex digits","tenant":""} -> {"found":true}
 *                  (an id that ends in 0: all choices of that request, request.h)
 *   host.calls     {"call":"roles"} -> {"roles":[{"role","name","pid","state","restarts","up_ms",
 *                      "pss_bytes","streams","note"}]}
 *
 * Questions are idempotent: they are repeated until the answer comes. Pure. */
#pragma once

#include "base/json.h"
#include "wire/frame.h"

enum { CALL_QUESTION_MAX_BYTES = 4096, CALL_ANSWER_MAX_BYTES = 4 * 1024 * 1024 };

/* A frame of its own with this one record, added to `out`. ERR_LIMIT: longer than its _MAX_BYTES,
 * or `out` is full. */
MUST_USE enum err wire_write_call(struct text *out, uint64_t number, struct slice question);
MUST_USE enum err wire_write_answer(struct text *out, uint64_t number, struct slice answer);
/* The payload as an object (decref it); that of a question has a string "call". ERR_PROTOCOL: it is
 * another record or another shape; ERR_LIMIT: longer than its _MAX_BYTES, or too deep. */
MUST_USE enum err wire_read_call(const struct wire_record *record, json_t **out_question);
MUST_USE enum err wire_read_answer(const struct wire_record *record, json_t **out_answer);
