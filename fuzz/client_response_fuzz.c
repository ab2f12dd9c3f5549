/* client_response_fuzz - what comes of a response does not depend on where reads end, and what is
 * accepted keeps the promises of client/http1_response.h. */
#include "choice.h"
#include "client/response_test_message.h"

static const struct http1_limits wide = {
    .head_max_bytes = 16384, .fields_max = HTTP_FIELDS_MAX, .body_max_bytes = 65536};

static void check_response(const struct http1_response *response, bool to_head,
                           const struct http1_limits *limits)
{
    int status = response->status;
    bool has_no_body = to_head || status < 200 || status == 204 || status == 304;
    ASSERT(status >= 100 && status <= 599 && status != 101);
    ASSERT(response->minor <= 1);
    ASSERT(has_no_body == (response->framing == RESPONSE_NO_BODY));
    ASSERT(response->framing != RESPONSE_CHUNKED || response->minor == 1);
    ASSERT(response->framing != RESPONSE_UNTIL_CLOSE || !response->keep_alive);
    ASSERT(response->field_count <= limits->fields_max);
    for (size_t i = 0; i < response->field_count; i++) {
        ASSERT(response->fields[i].name.len > 0);
        ASSERT(slice_eq(response->fields[i].value, slice_trim(response->fields[i].value)));
    }
}

/* Parses the first message twice, cut differently; returns where the next one begins, 0 for none.
 */
static size_t check_message(struct slice input, bool to_head, const struct http1_limits *limits,
                            uint64_t *choice)
{
    struct response_cuts cuts = {choice_next(choice, input.len + 1), choice_next(choice, 9)};
    struct response_message whole, cut;
    response_parse_cut(input, to_head, limits, (struct response_cuts){0, 0}, &whole);
    response_parse_cut(input, to_head, limits, cuts, &cut);
    ASSERT_MSG(response_messages_agree(&whole, &cut), "first %zu step %zu: %s, whole: %s",
               cuts.first, cuts.step, response_refusal_name(cut.refusal),
               response_refusal_name(whole.refusal));
    if (whole.has_head)
        check_response(&whole.response, to_head, limits);
    ASSERT(whole.refusal == RESPONSE_FINE || whole.err == response_refusal_err(whole.refusal));
    ASSERT((whole.refusal == RESPONSE_FINE) == (whole.err == ERR_OK || whole.err == ERR_AGAIN));
    ASSERT(whole.body.len <= limits->body_max_bytes);
    size_t end = whole.err == ERR_OK ? whole.end : 0;
    response_message_fini(&whole);
    response_message_fini(&cut);
    return end;
}

static void check_stream(struct slice input, const struct http1_limits *limits, uint64_t *choice)
{
    size_t end = 1;
    for (int messages = 0; messages < 8 && end > 0; messages++) {
        end = check_message(input, choice_next(choice, 8) == 0, limits, choice);
        input = slice_after(input, end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t choice = choice_of(data, size);
    struct http1_limits tight = {.head_max_bytes = choice_next(&choice, size + 2),
                                 .fields_max = choice_next(&choice, 4),
                                 .body_max_bytes = choice_next(&choice, 32)};
    check_stream(slice_of(data, size), &wide, &choice);
    check_stream(slice_of(data, size), &tight, &choice);
    return 0;
}
