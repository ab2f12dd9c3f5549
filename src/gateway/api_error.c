/* api_error - the one table of what HTTP clients get told when something fails. */
#include "gateway/api_error.h"

#include "base/json.h"

#include <stdio.h>

/* Spec http-api.md section 1: the type follows from the status. */
static const char *type_of(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

/* What each fault of the inside is called outside, and its status. */
static const int fault_status[FAULT_COUNT] = {
    [FAULT_INTERNAL_ERROR] = 500,
    [FAULT_INVALID_REQUEST] = 400,
    [FAULT_UNSUPPORTED_PARAMETER] = 400,
    [FAULT_CONTEXT_LENGTH_EXCEEDED] = 400,
    [FAULT_MODEL_NOT_FOUND] = 404,
    [FAULT_MODEL_FAILED] = 503,
    [FAULT_QUEUE_FULL] = 429,
    [FAULT_QUEUE_TIMEOUT] = 429,
    [FAULT_LOADING] = 503,
    [FAULT_DRAINING] = 503,
    [FAULT_WORKER_LOST] = 502,
    [FAULT_STALLED] = 504,
    [FAULT_CANCELLED] = 503,
    [FAULT_INSUFFICIENT_MEMORY] = 507,
};

enum err api_error_set(struct api_error *out_error, int status, const char *code, const char *param,
                       const char *format, ...)
{
    *out_error = (struct api_error){.status = status, .type = type_of(status), .code = code};
    snprintf(out_error->param, sizeof(out_error->param), "%s", param ? param : "");
    va_list args;
    va_start(args, format);
    vsnprintf(out_error->message, sizeof(out_error->message), format, args);
    va_end(args);
    return ERR_REFUSED;
}

void api_error_from_event(const struct event *error, struct api_error *out_error)
{
    int status = fault_status[error->error.fault];
    *out_error = (struct api_error){
        .status = status,
        .type = type_of(status),
        .code = fault_name(error->error.fault),
        .retry_after_ms = error->error.retry_after_ms,
    };
    /* A refusal for load always says when to come back (spec: 429 and 503 carry Retry-After). */
    if ((status == 429 || status == 503) && out_error->retry_after_ms == 0)
        out_error->retry_after_ms = 1000;
    snprintf(out_error->message, sizeof(out_error->message), SLICE_FMT,
             SLICE_ARG(error->error.message));
    snprintf(out_error->param, sizeof(out_error->param), SLICE_FMT, SLICE_ARG(error->error.param));
}

void api_error_write(const struct api_error *error, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_key(&json, "error");
    json_out_begin_object(&json);
    /* It repairs a character that snprintf cut. */
    json_out_add_string(&json, "message", slice_str(error->message));
    json_out_add_string(&json, "type", slice_str(error->type));
    json_out_key(&json, "param");
    if (error->param[0])
        json_out_string(&json, slice_str(error->param));
    else
        json_out_null(&json);
    json_out_add_string(&json, "code", slice_str(error->code));
    json_out_end_object(&json);
    json_out_end_object(&json);
}

void api_error_fields(const struct api_error *error, struct text *out)
{
    if (error->retry_after_ms > 0)
        text_add_f(out, "Retry-After: %u\r\n", (error->retry_after_ms + 999) / 1000);
}
