/* http1_response - response heads (RFC 9112 2-6) and what frames their bodies (6.3).
 *
 * Line by line: a line is judged once it is whole, from left to right, and nothing behind
 * head_max_bytes is looked at. So the result does not depend on where reads end (rule 1). */
#include "client/http1_response.h"

#include "http/http_bytes.h"

static const struct refusal_words {
    const char *name, *sentence;
    enum err err;
} refusals[RESPONSE_REFUSAL_COUNT] = {[RESPONSE_FINE] = {"FINE", "fine", ERR_OK},
#define X(name, err, sentence) [RESPONSE_##name] = {#name, sentence, err},
                                      RESPONSE_REFUSALS(X)
#undef X
};

static const struct refusal_words *words_of(enum response_refusal refusal)
{
    ASSERT((unsigned)refusal < RESPONSE_REFUSAL_COUNT);
    return &refusals[refusal];
}

const char *response_refusal_sentence(enum response_refusal refusal)
{
    return words_of(refusal)->sentence;
}

const char *response_refusal_name(enum response_refusal refusal)
{
    return words_of(refusal)->name;
}

enum err response_refusal_err(enum response_refusal refusal)
{
    return words_of(refusal)->err;
}

struct slice http1_response_field(const struct http1_response *response, const char *name)
{
    for (size_t i = 0; i < response->field_count; i++)
        if (slice_eq_ci(response->fields[i].name, slice_str(name)))
            return response->fields[i].value;
    return (struct slice){0};
}

/* --- the head --- */

enum { SEEN_LENGTH = 1, SEEN_ENCODING = 2 };

/* One call: the parser, what it may look at, and what it fills. */
struct head {
    struct http1_response_parser *parser;
    struct slice input; /* at most head_max_bytes */
    const struct http1_limits *limits;
    struct http_field *fields;
    struct slice reason;
    enum response_refusal refusal;
};

static enum err refuse(struct head *head, enum response_refusal refusal)
{
    head->refusal = refusal;
    return response_refusal_err(refusal);
}

static bool is_all(struct slice bytes, uint8_t kind)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (!http_byte_is(bytes.data[i], kind))
            return false;
    return true;
}

enum { VERSION_BYTES = sizeof "HTTP/1.x" - 1 };

/* As far as it is there: whoever speaks another protocol may never send a line's end. */
static enum err check_version(struct head *head)
{
    struct slice there = slice_first(head->input, VERSION_BYTES);
    struct slice wanted = slice_first(SLICE("HTTP/1."), there.len);
    if (!slice_starts_with(there, wanted))
        return refuse(head, RESPONSE_VERSION);
    if (there.len == VERSION_BYTES && there.data[VERSION_BYTES - 1] != '0' &&
        there.data[VERSION_BYTES - 1] != '1')
        return refuse(head, RESPONSE_VERSION);
    return ERR_OK;
}

/* "HTTP/1.1 200 OK"; the second space may be missing when there is no reason, as some servers leave
 * it out (RFC 9112 4 wants it). */
static enum err take_status_line(struct head *head, struct slice line)
{
    enum { DIGITS = 3 };
    if (line.len < VERSION_BYTES)
        return refuse(head, RESPONSE_VERSION);
    struct slice rest = slice_after(line, VERSION_BYTES);
    uint64_t status = 0;
    if (rest.len < 1 + DIGITS || rest.data[0] != ' ' ||
        slice_parse_u64(slice_first(slice_after(rest, 1), DIGITS), 599, &status) != ERR_OK ||
        status < 100)
        return refuse(head, RESPONSE_STATUS);
    rest = slice_after(rest, 1 + DIGITS);
    if (rest.len > 0 && rest.data[0] != ' ')
        return refuse(head, RESPONSE_STATUS);
    head->reason = slice_after(rest, 1);
    if (!is_all(head->reason, HTTP_BYTE_VALUE))
        return refuse(head, RESPONSE_REASON);
    head->parser->status = (uint16_t)status;
    head->parser->minor = (uint8_t)(line.data[VERSION_BYTES - 1] - '0');
    return ERR_OK;
}

/* Only spaces around it, as in http1_parser: some do not see "chunked" in "chunked<HTAB>". */
static bool has_tab(struct slice value)
{
    return slice_find_byte(value, '\t') != SLICE_NPOS;
}

static enum err take_length(struct head *head, struct slice raw)
{
    struct http1_response_parser *parser = head->parser;
    struct slice value = slice_trim(raw);
    if (parser->seen & SEEN_LENGTH)
        return refuse(head, RESPONSE_LENGTH_TWICE);
    parser->seen |= SEEN_LENGTH;
    if (parser->seen & SEEN_ENCODING)
        return refuse(head, RESPONSE_LENGTH_AND_CHUNKED);
    if (has_tab(raw) || (value.len > 1 && value.data[0] == '0'))
        return refuse(head, RESPONSE_LENGTH_FORM);
    switch (slice_parse_u64(value, UINT64_MAX, &parser->content_length)) {
    case ERR_OK:
        return ERR_OK;
    case ERR_LIMIT:
        return refuse(head, RESPONSE_BODY_TOO_LARGE);
    default:
        return refuse(head, RESPONSE_LENGTH_FORM);
    }
}

static enum err take_encoding(struct head *head, struct slice raw)
{
    struct http1_response_parser *parser = head->parser;
    if (parser->seen & SEEN_ENCODING)
        return refuse(head, RESPONSE_ENCODING_TWICE);
    parser->seen |= SEEN_ENCODING;
    if (parser->minor == 0)
        return refuse(head, RESPONSE_ENCODING_ON_10); /* RFC 9112 6.1: faulty framing */
    if (parser->seen & SEEN_LENGTH)
        return refuse(head, RESPONSE_LENGTH_AND_CHUNKED);
    if (has_tab(raw) || !slice_eq_ci(slice_trim(raw), SLICE("chunked")))
        return refuse(head, RESPONSE_ENCODING);
    return ERR_OK;
}

static enum err take_field(struct head *head, struct slice line)
{
    struct http1_response_parser *parser = head->parser;
    struct slice name, raw;
    if (line.data[0] == ' ' || line.data[0] == '\t')
        return refuse(head, RESPONSE_FOLDED);
    if (parser->field_count == head->limits->fields_max)
        return refuse(head, RESPONSE_TOO_MANY_FIELDS);
    if (!slice_cut(line, ':', &name, &raw) || slice_is_empty(name) ||
        !is_all(name, HTTP_BYTE_TOKEN))
        return refuse(head, RESPONSE_FIELD_NAME);
    if (!is_all(raw, HTTP_BYTE_VALUE))
        return refuse(head, RESPONSE_FIELD_VALUE);
    head->fields[parser->field_count++] = (struct http_field){name, slice_trim(raw)};
    if (slice_eq_ci(name, SLICE("Content-Length")))
        return take_length(head, raw);
    if (slice_eq_ci(name, SLICE("Transfer-Encoding")))
        return take_encoding(head, raw);
    return ERR_OK;
}

static bool status_has_no_body(int status) /* RFC 9110 6.4.1 */
{
    return status < 200 || status == 204 || status == 304;
}

/* What the fields say together, once all are there. */
static enum err check_whole(struct head *head)
{
    const struct http1_response_parser *parser = head->parser;
    if (parser->status == 101)
        return refuse(head, RESPONSE_SWITCHED);
    /* RFC 9112 6.1 and RFC 9110 8.6 forbid them; a 304 may tell the length of what it stands for.
     */
    uint8_t forbidden = parser->status == 304 ? SEEN_ENCODING : SEEN_ENCODING | SEEN_LENGTH;
    if (status_has_no_body(parser->status) && parser->seen & forbidden)
        return refuse(head, RESPONSE_BODY_FORBIDDEN);
    return ERR_OK;
}

/* The bytes are used up before the head was whole. */
static enum err starve(struct head *head)
{
    head->parser->scanned = head->input.len;
    if (head->input.len < head->limits->head_max_bytes)
        return ERR_AGAIN;
    return refuse(head, RESPONSE_HEAD_TOO_LARGE);
}

/* CR LF and nothing else ends a line; a CR elsewhere is a control byte. */
static enum err take_line(struct head *head, struct slice line)
{
    if (line.len == 0 || line.data[line.len - 1] != '\r')
        return refuse(head, RESPONSE_LINE_END);
    line.len--;
    if (head->parser->line_start == 0)
        return take_status_line(head, line);
    return line.len == 0 ? check_whole(head) : take_field(head, line);
}

static bool is_end_of_head(const struct head *head, struct slice line)
{
    return head->parser->line_start > 0 && slice_eq_str(line, "\r");
}

static enum err parse_lines(struct head *head)
{
    struct http1_response_parser *parser = head->parser;
    bool is_end = false;
    TRY(check_version(head));
    while (!is_end) {
        size_t length = slice_find_byte(slice_after(head->input, parser->scanned), '\n');
        if (length == SLICE_NPOS)
            return starve(head);
        size_t line_end = parser->scanned + length;
        struct slice line =
            slice_of(head->input.data + parser->line_start, line_end - parser->line_start);
        is_end = is_end_of_head(head, line);
        TRY(take_line(head, line));
        parser->scanned = parser->line_start = line_end + 1;
    }
    return ERR_OK;
}

static enum response_framing framing_of(const struct http1_response_parser *parser)
{
    if (parser->to_head || status_has_no_body(parser->status))
        return RESPONSE_NO_BODY;
    if (parser->seen & SEEN_ENCODING)
        return RESPONSE_CHUNKED;
    return parser->seen & SEEN_LENGTH ? RESPONSE_LENGTH : RESPONSE_UNTIL_CLOSE;
}

/* http.h's words about fields work on requests: a request that only has these fields. */
static bool connection_has(const struct http1_response *response, const char *token)
{
    struct http_request fields = {.fields = response->fields, .field_count = response->field_count};
    return http_field_has_token(&fields, "Connection", token);
}

static void complete(const struct head *head, struct http1_response *out_response)
{
    const struct http1_response_parser *parser = head->parser;
    *out_response = (struct http1_response){
        .status = parser->status,
        .reason = head->reason,
        .minor = parser->minor,
        .framing = framing_of(parser),
        .content_length = parser->content_length,
        .fields = head->fields,
        .field_count = parser->field_count,
    };
    out_response->keep_alive = out_response->framing != RESPONSE_UNTIL_CLOSE &&
                               !connection_has(out_response, "close") &&
                               (parser->minor == 1 || connection_has(out_response, "keep-alive"));
}

void http1_response_init(struct http1_response_parser *parser, bool to_head)
{
    *parser = (struct http1_response_parser){.to_head = to_head};
}

enum err http1_response_parse(struct http1_response_parser *parser, struct slice input,
                              const struct http1_limits *limits,
                              struct http_field fields[HTTP_FIELDS_MAX],
                              struct http1_response *out_response, size_t *out_head_bytes,
                              enum response_refusal *out_refusal)
{
    ASSERT(limits->fields_max <= HTTP_FIELDS_MAX);
    struct head head = {.parser = parser,
                        .input = slice_first(input, limits->head_max_bytes),
                        .limits = limits,
                        .fields = fields};
    bool is_resumed = parser->line_start > 0;
    enum err err = parse_lines(&head);
    if (err == ERR_OK && is_resumed) {
        /* The lines of earlier calls may have moved since. The head is whole and small: pick its
         * slices up in one more pass. */
        http1_response_init(parser, parser->to_head);
        err = parse_lines(&head);
    }
    *out_refusal = head.refusal;
    if (err != ERR_OK)
        return err;
    complete(&head, out_response);
    *out_head_bytes = parser->scanned;
    return ERR_OK;
}

/* --- the body --- */

static enum err settle(enum err err, enum http1_refusal refusal, enum response_refusal *out_refusal)
{
    *out_refusal = RESPONSE_FINE;
    if (refusal == HTTP1_FINE)
        return err;
    *out_refusal = refusal == HTTP1_BODY_TOO_LARGE ? RESPONSE_BODY_TOO_LARGE : RESPONSE_BODY_FORM;
    return response_refusal_err(*out_refusal);
}

/* Lengths and chunks are framed alike in both directions: the request's parser does it. */
enum err http1_response_body_init(struct http1_response_body *body,
                                  const struct http1_response *response,
                                  const struct http1_limits *limits,
                                  enum response_refusal *out_refusal)
{
    struct http_request framing = {.chunked = response->framing == RESPONSE_CHUNKED,
                                   .has_length = response->framing == RESPONSE_LENGTH,
                                   .content_length = response->content_length};
    enum http1_refusal refusal;
    *body =
        (struct http1_response_body){.left = limits->body_max_bytes,
                                     .is_until_close = response->framing == RESPONSE_UNTIL_CLOSE};
    enum err err = http1_body_init(&body->framed, &framing, limits, &refusal);
    return settle(err, refusal, out_refusal);
}

enum err http1_response_body_parse(struct http1_response_body *body, struct slice input,
                                   size_t *out_consumed, struct slice *out_data,
                                   enum response_refusal *out_refusal)
{
    enum http1_refusal refusal = HTTP1_FINE;
    if (!body->is_until_close) {
        enum err err = http1_body_parse(&body->framed, input, out_consumed, out_data, &refusal);
        return settle(err, refusal, out_refusal);
    }
    if (input.len > body->left)
        return settle(ERR_LIMIT, HTTP1_BODY_TOO_LARGE, out_refusal);
    body->left -= input.len;
    *out_consumed = input.len;
    *out_data = input;
    return settle(ERR_AGAIN, HTTP1_FINE, out_refusal);
}

bool http1_response_body_ends_at_fin(const struct http1_response_body *body)
{
    return body->is_until_close;
}
