/* fault - the names of the fault codes and what they mean for a retry. */
#include "wire/fault.h"

static const char *const names[FAULT_COUNT] = {
#define X(name, text) [FAULT_##name] = text,
    FAULTS(X)
#undef X
};

const char *fault_name(enum fault fault)
{
    return (unsigned)fault < FAULT_COUNT ? names[fault] : "?";
}

enum err fault_parse(struct slice name, enum fault *out_fault)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (slice_eq_str(name, names[i])) {
            *out_fault = (enum fault)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

bool fault_is_retryable(enum fault fault)
{
    switch (fault) {
    case FAULT_QUEUE_FULL:
    case FAULT_QUEUE_TIMEOUT:
    case FAULT_LOADING:
    case FAULT_DRAINING:
    case FAULT_WORKER_LOST:
    case FAULT_INSUFFICIENT_MEMORY:
        return true;
    case FAULT_INTERNAL_ERROR:
    case FAULT_INVALID_REQUEST:
    case FAULT_UNSUPPORTED_PARAMETER:
    case FAULT_CONTEXT_LENGTH_EXCEEDED:
    case FAULT_MODEL_NOT_FOUND:
    case FAULT_MODEL_FAILED:
    case FAULT_STALLED:
    case FAULT_CANCELLED:
    case FAULT_COUNT:
        return false;
    }
    return false;
}
