/* http1_parser - a strict, incremental HTTP/1.1 request parser (RFC 9112). Pure: no I/O, no clock,
 * no allocation. Bytes may come cut anywhere; the result does not depend on the cut.
 *
 * Strict means: whatever two servers could frame differently is refused, with the status to answer.
 * docs/http-strictness.md lists every refusal with its RFC section; http1_refusal has one value
 * for each. What we accept, llhttp (strict build) accepts with the same framing: fuzz/http1_diff.
 */
#pragma once

#include "http/http.h"

enum http1_refusal {
    HTTP1_FINE = 0,
/* The parser's author lists them here, each with status and sentence in http1_refusal_*(). */
#define HTTP1_REFUSALS(X)                                                                          \
    X(HEAD_TOO_LARGE, 431, "request head is larger than the limit")                                \
    X(TOO_MANY_FIELDS, 431, "more header fields than the limit")                                   \
    X(METHOD, 400, "method is not a token of at most 32 bytes")                                    \
    X(TARGET, 400, "request target is not origin-form, or not followed by one space and HTTP/")    \
    X(TARGET_TOO_LONG, 414, "request target is longer than the limit")                             \
    X(VERSION, 505, "version is not HTTP/1.0 or HTTP/1.1")                                         \
    X(LINE_END, 400, "a line does not end in CR LF")                                               \
    X(FIELD_NAME, 400, "field name is not a token directly followed by a colon")                   \
    X(FIELD_VALUE, 400, "field value has a control byte")                                          \
    X(FOLDED, 400, "folded field lines are obsolete")                                              \
    X(HOST_MISSING, 400, "HTTP/1.1 request without Host")                                          \
    X(HOST_TWICE, 400, "more than one Host")                                                       \
    X(HOST_FORM, 400, "Host is not host[:port]")                                                   \
    X(LENGTH_TWICE, 400, "more than one Content-Length")                                           \
    X(LENGTH_FORM, 400, "Content-Length is not a decimal number")                                  \
    X(LENGTH_AND_CHUNKED, 400, "both Content-Length and Transfer-Encoding")                        \
    X(ENCODING, 501, "Transfer-Encoding has other codings than 'chunked'")                         \
    X(ENCODING_FORM, 400, "Transfer-Encoding does not end in 'chunked'")                           \
    X(ENCODING_TWICE, 400, "more than one Transfer-Encoding")                                      \
    X(ENCODING_ON_10, 400, "Transfer-Encoding on HTTP/1.0")                                        \
    X(BODY_TOO_LARGE, 413, "request body is larger than the limit")                                \
    X(CHUNK_SIZE, 400, "chunk size is not a hexadecimal number, or too long")                      \
    X(CHUNK_EXTENSION, 400, "chunk extensions are not accepted")                                   \
    X(CHUNK_END, 400, "chunk data is not followed by CR LF")                                       \
    X(TRAILER, 400, "trailer section is malformed or larger than the limit")                       \
    X(EXPECT, 417, "Expect is not 100-continue")                                                   \
    X(UPGRADE_PREFACE, 505, "this is HTTP/2 or TLS, not HTTP/1")
#define X(name, status, sentence) HTTP1_##name,
    HTTP1_REFUSALS(X)
#undef X
        HTTP1_REFUSAL_COUNT
};
int http1_refusal_status(enum http1_refusal refusal);
const char *http1_refusal_sentence(enum http1_refusal refusal);
const char *http1_refusal_name(enum http1_refusal refusal);
/* What the parsers return with it: ERR_LIMIT for 413, 414 and 431, else ERR_PROTOCOL. */
enum err http1_refusal_err(enum http1_refusal refusal);

struct http1_limits {
    size_t head_max_bytes; /* request line + fields + the empty line */
    size_t fields_max;     /* at most HTTP_FIELDS_MAX */
    uint64_t body_max_bytes;
};
/* Ours, not the peer's to choose: the trailer section with the empty line behind it. */
enum { HTTP1_TRAILER_MAX_BYTES = 4096 };

/* --- the head --- */

/* Private. Remembers how far it looked, so that dribbled bytes cost O(n). Offsets, not pointers:
 * the input may move between calls. */
struct http1_head_parser {
    size_t scanned;    /* every byte before this one was judged */
    size_t part_start; /* where the method, target, name or value being read began */
    size_t name_start, name_bytes;
    uint32_t field_count;
    uint8_t part, method, minor;
    uint8_t seen;    /* bit per field with a meaning of its own */
    bool is_preface; /* the method is PRI, as in HTTP/2's first line */
};
void http1_head_init(struct http1_head_parser *parser);

/* `input` is everything received since the head began (contiguous; the caller keeps it and
 * appends). ERR_AGAIN: no whole head yet, and nothing wrong so far. ERR_OK: *out_request's slices
 * point into `input`, its fields into `fields`, *out_head_bytes is where the body begins.
 * ERR_PROTOCOL or ERR_LIMIT: *out_refusal says which; it is found as early as the bytes allow. One
 * empty line (CR LF) before the request line is skipped (RFC 9112 2.2). */
MUST_USE enum err http1_head_parse(struct http1_head_parser *parser, struct slice input,
                                   const struct http1_limits *limits,
                                   struct http_field fields[HTTP_FIELDS_MAX],
                                   struct http_request *out_request, size_t *out_head_bytes,
                                   enum http1_refusal *out_refusal);

/* --- the body --- */

struct http1_body_parser { /* private */
    uint64_t left;         /* bytes left of the body, or of the present chunk */
    uint64_t seen; /* body bytes announced so far: delivered, and left of the present chunk */
    uint64_t max_bytes;
    uint16_t trailer_bytes;
    uint8_t state;
    uint8_t size_digits;
    uint8_t name_bytes; /* of the trailer field's name, as far as it fits below */
    char name[24];
};
/* After a head that was fine. ERR_LIMIT (BODY_TOO_LARGE) when the Content-Length is above the cap.
 */
MUST_USE enum err http1_body_init(struct http1_body_parser *parser,
                                  const struct http_request *request,
                                  const struct http1_limits *limits,
                                  enum http1_refusal *out_refusal);
/* Looks at `input`, consumes *out_consumed bytes of it, and *out_data is the body data among those
 * (one contiguous run, maybe empty). ERR_OK: the body is whole, what is left of the input belongs
 * to the next request. ERR_AGAIN: call again while input is left, then when there is more.
 * ERR_PROTOCOL/ERR_LIMIT: *out_refusal. Trailers are checked for form and dropped. */
MUST_USE enum err http1_body_parse(struct http1_body_parser *parser, struct slice input,
                                   size_t *out_consumed, struct slice *out_data,
                                   enum http1_refusal *out_refusal);
