/* http1_response - a strict, incremental HTTP/1.1 response parser (RFC 9112). Pure: no I/O, no
 * clock, no allocation. Bytes may come cut anywhere; the result does not depend on the cut.
 *
 * Strict as http1_parser is, in the other direction: what two clients could frame differently is
 * refused. That includes what the RFC lets a client repair (a list of equal lengths, a length
 * beside chunks, a line that ends in LF alone): no server we talk to sends these forms. */
#pragma once

#include "http/http1_parser.h"

enum response_refusal {
    RESPONSE_FINE = 0,
#define RESPONSE_REFUSALS(X)                                                                       \
    X(HEAD_TOO_LARGE, ERR_LIMIT, "response head is larger than the limit")                         \
    X(TOO_MANY_FIELDS, ERR_LIMIT, "more header fields than the limit")                             \
    X(VERSION, ERR_PROTOCOL, "status line does not begin with HTTP/1.0 or HTTP/1.1")               \
    X(STATUS, ERR_PROTOCOL, "status is not three digits, 100 to 599, between spaces")              \
    X(REASON, ERR_PROTOCOL, "reason phrase has a control byte")                                    \
    X(LINE_END, ERR_PROTOCOL, "a line does not end in CR LF")                                      \
    X(FIELD_NAME, ERR_PROTOCOL, "field name is not a token directly followed by a colon")          \
    X(FIELD_VALUE, ERR_PROTOCOL, "field value has a control byte")                                 \
    X(FOLDED, ERR_PROTOCOL, "folded field lines are obsolete")                                     \
    X(LENGTH_TWICE, ERR_PROTOCOL, "more than one Content-Length")                                  \
    X(LENGTH_FORM, ERR_PROTOCOL, "Content-Length is not a decimal number")                         \
    X(LENGTH_AND_CHUNKED, ERR_PROTOCOL, "both Content-Length and Transfer-Encoding")               \
    X(ENCODING, ERR_PROTOCOL, "Transfer-Encoding is not 'chunked'")                                \
    X(ENCODING_TWICE, ERR_PROTOCOL, "more than one Transfer-Encoding")                             \
    X(ENCODING_ON_10, ERR_PROTOCOL, "Transfer-Encoding on HTTP/1.0")                               \
    X(BODY_FORBIDDEN, ERR_PROTOCOL, "a status without a body that frames one")                     \
    X(SWITCHED, ERR_PROTOCOL, "101 to a request that asked for no other protocol")                 \
    X(INTERIM_TOO_MANY, ERR_PROTOCOL, "more interim responses than the limit")                     \
    X(BODY_TOO_LARGE, ERR_LIMIT, "response body is larger than the limit")                         \
    X(BODY_FORM, ERR_PROTOCOL, "chunks or trailers are malformed")                                 \
    X(BYTES_AFTER, ERR_PROTOCOL, "bytes behind the end of the response")
#define X(name, err, sentence) RESPONSE_##name,
    RESPONSE_REFUSALS(X)
#undef X
        RESPONSE_REFUSAL_COUNT
};
const char *response_refusal_sentence(enum response_refusal refusal);
const char *response_refusal_name(enum response_refusal refusal);
enum err response_refusal_err(enum response_refusal refusal); /* ERR_OK for RESPONSE_FINE */

enum response_framing {
    RESPONSE_NO_BODY, /* 1xx, 204, 304, and whatever answers a HEAD */
    RESPONSE_LENGTH,
    RESPONSE_CHUNKED,
    RESPONSE_UNTIL_CLOSE, /* RFC 9112 6.3, the last resort: the FIN is the end */
};

/* One response head. All slices are borrowed from the input of the call that completed it. */
struct http1_response {
    int status; /* 100..599 */
    struct slice reason;
    uint8_t minor;   /* HTTP/1.minor: 0 or 1 */
    bool keep_alive; /* the connection may carry another exchange behind this one */
    enum response_framing framing;
    uint64_t content_length; /* of RESPONSE_LENGTH */
    const struct http_field *fields;
    size_t field_count;
};
/* The first field of that name (any case), or an empty slice with data == NULL. */
struct slice http1_response_field(const struct http1_response *response, const char *name);
static inline bool http1_response_is_interim(const struct http1_response *response)
{
    return response->status < 200;
}

/* --- the head --- */

struct http1_response_parser { /* private; offsets, because the input may move between calls */
    size_t scanned;            /* no LF before this one but those that end a judged line */
    size_t line_start;         /* of the line being read */
    uint64_t content_length;
    uint32_t field_count;
    uint16_t status;
    uint8_t minor;
    uint8_t seen; /* bit per field with a meaning of its own */
    bool to_head;
};
/* `to_head`: the request was a HEAD, so there is no body whatever the fields say. */
void http1_response_init(struct http1_response_parser *parser, bool to_head);

/* `input` is everything received since the head began (contiguous; the caller keeps it and
 * appends). A line is judged when it is whole, and its first wrong byte decides; only the version
 * is judged as its bytes come. Bytes behind limits->head_max_bytes are never looked at.
 * ERR_AGAIN: no whole head yet, and nothing wrong so far. ERR_OK: *out_response's slices point into
 * `input`, its fields into `fields`, *out_head_bytes is where the body begins. ERR_PROTOCOL or
 * ERR_LIMIT: *out_refusal says which. Interim (1xx) responses are heads like others; the caller
 * begins anew behind them. */
MUST_USE enum err http1_response_parse(struct http1_response_parser *parser, struct slice input,
                                       const struct http1_limits *limits,
                                       struct http_field fields[HTTP_FIELDS_MAX],
                                       struct http1_response *out_response, size_t *out_head_bytes,
                                       enum response_refusal *out_refusal);

/* --- the body --- */

struct http1_response_body { /* private */
    struct http1_body_parser framed;
    uint64_t left; /* UNTIL_CLOSE: bytes that may still come */
    bool is_until_close;
};
/* After a final head that was fine. ERR_LIMIT (BODY_TOO_LARGE) when the announced length is above
 * limits->body_max_bytes. */
MUST_USE enum err http1_response_body_init(struct http1_response_body *body,
                                           const struct http1_response *response,
                                           const struct http1_limits *limits,
                                           enum response_refusal *out_refusal);
/* As http1_body_parse(): consumes *out_consumed bytes of `input`, *out_data is the one run of body
 * data among those. ERR_OK: whole (an empty input asks just that); ERR_AGAIN: call again while
 * input is left, then when there is more. A body that ends with the connection is never whole. */
MUST_USE enum err http1_response_body_parse(struct http1_response_body *body, struct slice input,
                                            size_t *out_consumed, struct slice *out_data,
                                            enum response_refusal *out_refusal);
/* The peer's FIN, while the body is not whole: was that its end? */
bool http1_response_body_ends_at_fin(const struct http1_response_body *body);
