/* fault - why a request failed: the codes that travel in error events and that every dialect shows
 * in its own form. The HTTP status and error type of each live in gateway/api_error.c. Pure. */
#pragma once

#include "base/slice.h"

#define FAULTS(X)                                                                                  \
    X(INTERNAL_ERROR, "internal_error")                                                            \
    X(INVALID_REQUEST, "invalid_request")                                                          \
    X(UNSUPPORTED_PARAMETER, "unsupported_parameter")                                              \
    X(CONTEXT_LENGTH_EXCEEDED, "context_length_exceeded")                                          \
    X(MODEL_NOT_FOUND, "model_not_found")                                                          \
    X(MODEL_FAILED, "model_failed")                                                                \
    X(QUEUE_FULL, "queue_full")                                                                    \
    X(QUEUE_TIMEOUT, "queue_timeout")                                                              \
    X(LOADING, "loading")                                                                          \
    X(DRAINING, "draining")                                                                        \
    X(WORKER_LOST, "worker_lost")                                                                  \
    X(STALLED, "stalled")                                                                          \
    X(CANCELLED, "cancelled")                                                                      \
    X(INSUFFICIENT_MEMORY, "insufficient_memory")
enum fault {
#define X(name, text) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_COUNT
};
const char *fault_name(enum fault fault); /* "queue_full" */
MUST_USE enum err fault_parse(struct slice name, enum fault *out_fault);
bool fault_is_retryable(enum fault fault); /* the same request may succeed later or elsewhere */
