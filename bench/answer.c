/* answer - head, framing, lines. See answer.h. */
#include "answer.h"

#include <stdio.h>

static const struct http1_limits limits = {.head_max_bytes = ANSWER_HEAD_MAX_BYTES,
                                           .fields_max = HTTP_FIELDS_MAX,
                                           .body_max_bytes = UINT64_C(1) << 40};

void answer_init(struct answer *answer, enum answer_kind kind, answer_data_fn *on_data, void *ctx)
{
    *answer = (struct answer){.kind = kind, .on_data = on_data, .ctx = ctx};
    text_init(&answer->kept, ANSWER_LINE_MAX_BYTES);
    http1_response_init(&answer->parse.head, false);
}

void answer_fini(struct answer *answer)
{
    text_fini(&answer->kept);
}

void answer_fail(struct answer *answer, const char *format, ...)
{
    va_list args;
    if (answer->state == ANSWER_WRONG)
        return;
    answer->state = ANSWER_WRONG;
    va_start(args, format);
    (void)vsnprintf(answer->problem, sizeof answer->problem, format, args); /* cut if too long */
    va_end(args);
}

struct slice answer_body(const struct answer *answer)
{
    return text_slice(&answer->kept);
}

static void fail_large(struct answer *answer)
{
    answer_fail(answer, "a line or body above %d bytes", ANSWER_LINE_MAX_BYTES);
}

static void keep(struct answer *answer, struct slice bytes)
{
    text_add(&answer->kept, bytes);
    if (text_status(&answer->kept) != ERR_OK)
        fail_large(answer);
}

/* --- lines of an event stream --- */

static void take_data(struct answer *answer, struct slice data)
{
    if (answer->is_done) {
        answer_fail(answer, "an event behind [DONE]");
    } else if (answer->has_data) {
        answer_fail(answer, "an event with two lines of data");
    } else if (slice_eq(data, SLICE("[DONE]"))) {
        answer->is_done = true;
    } else if (slice_starts_with(data, SLICE("{\"error\""))) {
        answer_fail(answer, "an error event: " SLICE_FMT, SLICE_ARG(slice_first(data, 120)));
    } else if (data.len < 2 || data.data[0] != '{' || data.data[data.len - 1] != '}') {
        answer_fail(answer, "an event that is no object: " SLICE_FMT,
                    SLICE_ARG(slice_first(data, 60)));
    } else if (answer->on_data) {
        answer->on_data(answer->ctx, data);
    }
    answer->has_data = true;
}

/* Without its LF. A field other than data needs a look only when it might tell of an error. */
static void take_line(struct answer *answer, struct slice line)
{
    if (line.len > ANSWER_LINE_MAX_BYTES) {
        fail_large(answer);
        return;
    }
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0) {
        answer->events += answer->has_data;
        answer->has_data = false;
    } else if (slice_starts_with(line, SLICE("data:"))) {
        line = slice_after(line, sizeof "data:" - 1);
        take_data(answer, slice_after(line, line.len > 0 && line.data[0] == ' '));
    } else if (slice_starts_with(line, SLICE("error")) ||
               slice_starts_with(line, SLICE("event: error"))) {
        answer_fail(answer, "an error event: " SLICE_FMT, SLICE_ARG(slice_first(line, 120)));
    }
}

static void take_lines(struct answer *answer, struct slice bytes)
{
    while (bytes.len > 0 && answer->state == ANSWER_BODY) {
        const char *end = memchr(bytes.data, '\n', bytes.len);
        struct slice piece = end ? slice_first(bytes, (size_t)(end - bytes.data)) : bytes;
        bytes = slice_after(bytes, piece.len + 1);
        if (!end) {
            keep(answer, piece);
        } else if (answer->kept.len == 0) {
            take_line(answer, piece);
        } else {
            keep(answer, piece);
            if (answer->state == ANSWER_BODY)
                take_line(answer, text_slice(&answer->kept));
            text_clear(&answer->kept);
        }
    }
}

/* --- head and body --- */

static void judge_head(struct answer *answer, const struct http1_response *response)
{
    enum response_refusal refusal;
    answer->status = response->status;
    answer->keep_alive = response->keep_alive;
    answer->is_stream =
        response->status == 200 && slice_starts_with(http1_response_field(response, "Content-Type"),
                                                     SLICE("text/event-stream"));
    if (http1_response_body_init(&answer->parse.body, response, &limits, &refusal) != ERR_OK)
        answer_fail(answer, "%s", response_refusal_sentence(refusal));
    else
        answer->state = ANSWER_BODY;
}

/* Returns how many of `bytes` were the head's; SIZE_MAX: it is not whole, or wrong. */
static size_t parse_head(struct answer *answer, struct slice head)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    struct http1_response response;
    enum response_refusal refusal;
    size_t head_bytes;
    enum err err = http1_response_parse(&answer->parse.head, head, &limits, fields, &response,
                                        &head_bytes, &refusal);
    if (err == ERR_AGAIN)
        return SIZE_MAX;
    if (err != ERR_OK) {
        answer_fail(answer, "%s", response_refusal_sentence(refusal));
        return SIZE_MAX;
    }
    if (http1_response_is_interim(&response))
        http1_response_init(&answer->parse.head, false);
    else
        judge_head(answer, &response);
    return head_bytes;
}

/* Returns what of `bytes` lies behind the head. */
static struct slice take_head(struct answer *answer, struct slice bytes)
{
    size_t before = answer->kept.len;
    if (before > 0)
        keep(answer, bytes);
    size_t head_bytes = parse_head(answer, before > 0 ? text_slice(&answer->kept) : bytes);
    if (head_bytes != SIZE_MAX) {
        text_clear(&answer->kept);
        return slice_after(bytes, head_bytes - before);
    }
    if (before == 0 && answer->state == ANSWER_HEAD)
        keep(answer, bytes);
    return slice_after(bytes, bytes.len);
}

static bool is_object(struct slice body)
{
    while (body.len > 0 && body.data[body.len - 1] == '\n')
        body.len--;
    return body.len >= 2 && body.data[0] == '{' && body.data[body.len - 1] == '}';
}

static void judge_end(struct answer *answer)
{
    if (answer->status != 200)
        answer_fail(answer, "status %d: " SLICE_FMT, answer->status,
                    SLICE_ARG(slice_first(answer_body(answer), 120)));
    else if (answer->is_stream != (answer->kind == ANSWER_OF_EVENTS))
        answer_fail(answer, "a 200 that is %s event stream", answer->is_stream ? "an" : "no");
    else if (answer->is_stream && (answer->has_data || answer->kept.len > 0))
        answer_fail(answer, "the stream ended in an event");
    else if (answer->is_stream && !answer->is_done)
        answer_fail(answer, "the stream ended without [DONE]");
    else if (answer->kind == ANSWER_OF_JSON && !is_object(answer_body(answer)))
        answer_fail(answer, "a body that is no object");
    else
        answer->state = ANSWER_WHOLE;
}

/* Returns what of `bytes` lies behind what this took. */
static struct slice take_body(struct answer *answer, struct slice bytes)
{
    enum response_refusal refusal;
    struct slice data;
    size_t consumed;
    enum err err =
        http1_response_body_parse(&answer->parse.body, bytes, &consumed, &data, &refusal);
    if (err != ERR_OK && err != ERR_AGAIN) {
        answer_fail(answer, "%s", response_refusal_sentence(refusal));
        return (struct slice){0};
    }
    if (answer->is_stream)
        take_lines(answer, data);
    else
        keep(answer, data);
    if (err == ERR_OK && answer->state == ANSWER_BODY)
        judge_end(answer);
    return slice_after(bytes, consumed);
}

void answer_feed(struct answer *answer, struct slice bytes)
{
    answer->is_touched |= bytes.len > 0;
    while (answer->state == ANSWER_HEAD && bytes.len > 0)
        bytes = take_head(answer, bytes);
    while (answer->state == ANSWER_BODY) {
        bytes = take_body(answer, bytes); /* an empty body is whole without a byte */
        if (bytes.len == 0)
            break;
    }
    if (answer->state == ANSWER_WHOLE && bytes.len > 0)
        answer_fail(answer, "bytes behind the end of the answer");
}

void answer_end(struct answer *answer)
{
    if (answer->state == ANSWER_BODY && http1_response_body_ends_at_fin(&answer->parse.body))
        judge_end(answer);
    else if (answer->state == ANSWER_HEAD || answer->state == ANSWER_BODY)
        answer_fail(answer, "the connection ended in the %s",
                    answer->state == ANSWER_HEAD ? "head" : "body");
    answer->keep_alive = false;
}
