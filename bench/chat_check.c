/* chat_check - the form of a chat stream, chunk by chunk. See chat_check.h. */
#include "chat_check.h"

#include "base/json.h"

#include <stdio.h>

void chat_check_fail(struct chat_check *check, const char *format, ...)
{
    va_list args;
    if (!chat_check_is_fine(check))
        return;
    va_start(args, format);
    (void)vsnprintf(check->problem, sizeof check->problem, format, args); /* cut if too long */
    va_end(args);
}

/* False when it does not fit, or is empty. */
static bool keep(char *out, size_t size, struct slice text)
{
    if (text.len == 0 || text.len >= size)
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

static bool is_finish_reason(struct slice reason)
{
    static const char *const reasons[] = {"stop", "length", "tool_calls", "content_filter"};
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++)
        if (slice_eq_str(reason, reasons[i]))
            return true;
    return false;
}

static void check_choice(struct chat_check *check, const json_t *choice)
{
    const json_t *delta = json_object_get(choice, "delta");
    const json_t *reason = json_object_get(choice, "finish_reason");
    if (!json_is_object(delta) || !reason) {
        chat_check_fail(check, "a choice without delta or finish_reason");
        return;
    }
    if (check->finish_reason[0])
        chat_check_fail(check, "a choice behind the one with the finish reason");
    if (json_slice(json_object_get(delta, "content")).len > 0)
        check->has_content = true;
    if (json_is_null(reason))
        return;
    if (!is_finish_reason(json_slice(reason)) ||
        !keep(check->finish_reason, sizeof check->finish_reason, json_slice(reason)))
        chat_check_fail(check, "an unknown finish_reason");
}

static void check_id(struct chat_check *check, struct slice id)
{
    if (check->id[0] == 0 && !keep(check->id, sizeof check->id, id))
        chat_check_fail(check, "a chunk without a usable id");
    else if (!slice_eq_str(id, check->id))
        chat_check_fail(check, "chunks with different ids: another request's bytes?");
}

static void check_chunk(struct chat_check *check, const json_t *chunk)
{
    const json_t *choices = json_object_get(chunk, "choices");
    if (json_object_get(chunk, "error")) {
        chat_check_fail(
            check, "an error event: " SLICE_FMT,
            SLICE_ARG(json_slice(json_object_get(json_object_get(chunk, "error"), "message"))));
        return;
    }
    check_id(check, json_slice(json_object_get(chunk, "id")));
    if (!slice_eq_str(json_slice(json_object_get(chunk, "object")), "chat.completion.chunk") ||
        !json_is_array(choices) || json_array_size(choices) > 1) {
        chat_check_fail(check, "an event that is no chat.completion.chunk with one choice");
        return;
    }
    if (json_array_size(choices) == 1)
        check_choice(check, json_array_get(choices, 0));
    else if (!check->finish_reason[0]) /* only a usage chunk has none, and it comes late */
        chat_check_fail(check, "a chunk without a choice before the finish reason");
}

void chat_check_event(struct chat_check *check, const struct sse_event *event)
{
    json_t *chunk = NULL;
    struct err_note note;
    check->events++;
    if (check->is_done) {
        chat_check_fail(check, "an event behind [DONE]");
        return;
    }
    if (!slice_eq_str(event->event, "message"))
        chat_check_fail(check, "an event with a name");
    if (slice_eq_str(event->data, "[DONE]")) {
        check->is_done = true;
        return;
    }
    if (json_read(event->data, JSON_DEPTH_MAX, &chunk, &note) != ERR_OK) {
        chat_check_fail(check, "an event that is not JSON: %.120s", note.text);
        return;
    }
    check_chunk(check, chunk);
    json_decref(chunk);
}

void chat_check_end(struct chat_check *check)
{
    if (!check->is_done)
        chat_check_fail(check, "the stream ended without [DONE]");
    if (!check->finish_reason[0])
        chat_check_fail(check, "the stream ended without a finish_reason");
}

void chat_check_refusal(struct chat_check *check, int status, struct slice retry_after,
                        struct slice body)
{
    json_t *answer = NULL;
    struct err_note note;
    uint64_t seconds = 0;
    const char *wanted = status == 429 ? "rate_limit_error" : "server_error";
    if (slice_parse_u64(retry_after, 86400, &seconds) != ERR_OK || seconds == 0)
        chat_check_fail(check, "a %d with Retry-After '" SLICE_FMT "'", status,
                        SLICE_ARG(slice_first(retry_after, 40)));
    if (json_read(body, JSON_DEPTH_MAX, &answer, &note) != ERR_OK) {
        chat_check_fail(check, "a %d whose body is not JSON: %.120s", status, note.text);
        return;
    }
    const json_t *error = json_object_get(answer, "error");
    if (json_slice(json_object_get(error, "message")).len == 0 ||
        json_slice(json_object_get(error, "code")).len == 0 || !json_object_get(error, "param") ||
        !slice_eq_str(json_slice(json_object_get(error, "type")), wanted))
        chat_check_fail(check, "a %d whose body is no error of type %s", status, wanted);
    json_decref(answer);
}
