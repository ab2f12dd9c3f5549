/* http1_parser_fuzz - what comes of a stream of requests does not depend on where reads end, and
 * what is accepted keeps the promises of http.h. */
#include "choice.h"
#include "http/http1_test_message.h"

static const struct http1_limits wide = {
    .head_max_bytes = 16384, .fields_max = HTTP_FIELDS_MAX, .body_max_bytes = 65536};

static bool lies_within(struct slice part, struct slice whole)
{
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void check_request(const struct http_request *request, const struct http1_limits *limits)
{
    ASSERT(request->minor <= 1);
    ASSERT(request->method_text.len > 0);
    ASSERT(request->target.len > 0);
    ASSERT(request->target.data[0] == '/' || slice_eq_str(request->target, "*"));
    ASSERT(lies_within(request->path, request->target));
    ASSERT(lies_within(request->query, request->target));
    ASSERT(request->path.len + request->query.len + 1 >= request->target.len);
    ASSERT(request->host.len > 0 || request->minor == 0);
    ASSERT(request->field_count <= limits->fields_max);
    ASSERT(!(request->chunked && (request->has_length || request->minor == 0)));
    for (size_t i = 0; i < request->field_count; i++)
        ASSERT(slice_eq(request->fields[i].value, slice_trim(request->fields[i].value)));
}

/* Parses the first message twice, cut differently; returns where the next one begins, 0 for none.
 */
static size_t check_message(struct slice input, const struct http1_limits *limits, uint64_t *choice)
{
    struct http1_test_cuts cuts = {choice_next(choice, input.len + 1), choice_next(choice, 9)};
    struct http1_test_message whole, cut;
    http1_test_parse(input, limits, (struct http1_test_cuts){0, 0}, &whole);
    http1_test_parse(input, limits, cuts, &cut);
    ASSERT_MSG(http1_test_agree(&whole, &cut), "first %zu step %zu: %s, whole: %s", cuts.first,
               cuts.step, http1_refusal_name(cut.refusal), http1_refusal_name(whole.refusal));
    if (whole.has_head)
        check_request(&whole.request, limits);
    ASSERT((whole.refusal == HTTP1_FINE) == (whole.err == ERR_OK || whole.err == ERR_AGAIN));
    ASSERT(whole.err != ERR_AGAIN || whole.end == 0);
    ASSERT(whole.body.len <= limits->body_max_bytes);
    size_t end = whole.err == ERR_OK ? whole.end : 0;
    http1_test_message_fini(&whole);
    http1_test_message_fini(&cut);
    return end;
}

static void check_stream(struct slice input, const struct http1_limits *limits, uint64_t *choice)
{
    size_t end = 1;
    for (int messages = 0; messages < 8 && end > 0; messages++) {
        end = check_message(input, limits, choice);
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
