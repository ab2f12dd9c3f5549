/* http1_body - the body of a request: so many bytes, or chunks (RFC 9112 6.3, 7.1).
 *
 *   SIZE --CR--> SIZE_LF --LF, size > 0--> DATA --all of it--> DATA_CR --CR--> DATA_LF --LF--> SIZE
 *                        --LF, size = 0--> TRAILER_START --CR--> END_LF --LF--> DONE
 *   TRAILER_START --token--> TRAILER_NAME --colon--> TRAILER_VALUE --CR--> TRAILER_LF --LF-->
 *       TRAILER_START
 *   LENGTH --all of it--> DONE */
#include "base/hex.h"
#include "http/http_bytes.h"
#include "http/http1_parser.h"

enum state {
    LENGTH,
    SIZE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE
};

/* 64 bits; more digits, be they zeros, are only ever sent to confuse. */
enum { SIZE_DIGITS_MAX = 16 };

enum err http1_body_init(struct http1_body_parser *parser, const struct http_request *request,
                         const struct http1_limits *limits, enum http1_refusal *out_refusal)
{
    *out_refusal = HTTP1_FINE;
    *parser = (struct http1_body_parser){.max_bytes = limits->body_max_bytes, .state = SIZE};
    if (request->chunked)
        return ERR_OK;
    parser->left = request->has_length ? request->content_length : 0;
    parser->state = parser->left > 0 ? LENGTH : DONE;
    if (parser->left <= parser->max_bytes)
        return ERR_OK;
    *out_refusal = HTTP1_BODY_TOO_LARGE;
    return http1_refusal_err(HTTP1_BODY_TOO_LARGE);
}

static enum http1_refusal on_size_byte(struct http1_body_parser *parser, char byte)
{
    int digit = hex_value(byte);
    if (digit >= 0) {
        if (parser->size_digits == SIZE_DIGITS_MAX)
            return HTTP1_CHUNK_SIZE;
        parser->size_digits++;
        parser->left = parser->left << 4 | (uint64_t)digit;
        return HTTP1_FINE;
    }
    if (parser->size_digits == 0)
        return HTTP1_CHUNK_SIZE;
    switch (byte) {
    case '\r':
        parser->state = SIZE_LF;
        return HTTP1_FINE;
    case '\n':
        return HTTP1_LINE_END;
    case ';':
    case ' ':
    case '\t': /* RFC 9112 7.1.1: white space may only lead to an extension */
        return HTTP1_CHUNK_EXTENSION;
    default:
        return HTTP1_CHUNK_SIZE;
    }
}

static enum http1_refusal on_size(struct http1_body_parser *parser)
{
    parser->size_digits = 0;
    parser->state = parser->left > 0 ? DATA : TRAILER_START;
    if (parser->left > parser->max_bytes - parser->seen)
        return HTTP1_BODY_TOO_LARGE;
    parser->seen += parser->left;
    return HTTP1_FINE;
}

/* Fields that frame a message have no place behind it (RFC 9110 6.5.1): who merges trailers into
 * the head would see another request than we do. */
static bool is_framing_name(struct slice name)
{
    return slice_eq_ci(name, SLICE("Content-Length")) ||
           slice_eq_ci(name, SLICE("Transfer-Encoding"));
}

static enum http1_refusal on_trailer_name_byte(struct http1_body_parser *parser, char byte)
{
    if (http_byte_is(byte, HTTP_BYTE_TOKEN)) {
        parser->state = TRAILER_NAME;
        if (parser->name_bytes < sizeof parser->name)
            parser->name[parser->name_bytes++] = byte;
        return HTTP1_FINE;
    }
    if (byte != ':' || is_framing_name(slice_of(parser->name, parser->name_bytes)))
        return HTTP1_TRAILER;
    parser->state = TRAILER_VALUE;
    return HTTP1_FINE;
}

static enum http1_refusal on_trailer_byte(struct http1_body_parser *parser, char byte)
{
    switch (parser->state) {
    case TRAILER_START:
        parser->name_bytes = 0;
        if (byte == '\r') {
            parser->state = END_LF;
            return HTTP1_FINE;
        }
        return byte == ':' ? HTTP1_TRAILER : on_trailer_name_byte(parser, byte);
    case TRAILER_NAME:
        return on_trailer_name_byte(parser, byte);
    default:
        if (byte == '\r')
            parser->state = TRAILER_LF;
        return byte == '\r' || http_byte_is(byte, HTTP_BYTE_VALUE) ? HTTP1_FINE : HTTP1_TRAILER;
    }
}

/* `byte` must be the one that the state waits for; then `next`. */
static enum http1_refusal expect(struct http1_body_parser *parser, char byte, char wanted,
                                 enum state next, enum http1_refusal otherwise)
{
    parser->state = (uint8_t)next;
    return byte == wanted ? HTTP1_FINE : otherwise;
}

/* Everything that is not data. */
static enum http1_refusal on_framing_byte(struct http1_body_parser *parser, char byte)
{
    if (parser->state >= TRAILER_START && parser->trailer_bytes++ == HTTP1_TRAILER_MAX_BYTES)
        return HTTP1_TRAILER;
    switch (parser->state) {
    case SIZE:
        return on_size_byte(parser, byte);
    case SIZE_LF:
        return byte == '\n' ? on_size(parser) : HTTP1_LINE_END;
    case DATA_CR:
        return expect(parser, byte, '\r', DATA_LF, HTTP1_CHUNK_END);
    case DATA_LF:
        return expect(parser, byte, '\n', SIZE, HTTP1_CHUNK_END);
    case TRAILER_LF:
        return expect(parser, byte, '\n', TRAILER_START, HTTP1_TRAILER);
    case END_LF:
        return expect(parser, byte, '\n', DONE, HTTP1_TRAILER);
    default:
        return on_trailer_byte(parser, byte);
    }
}

static bool is_data(enum state state)
{
    return state == LENGTH || state == DATA;
}

static struct slice take_data(struct http1_body_parser *parser, struct slice input)
{
    struct slice data = slice_of(input.data, input.len < parser->left ? input.len : parser->left);
    parser->left -= data.len;
    if (parser->left == 0)
        parser->state = parser->state == LENGTH ? DONE : DATA_CR;
    return data;
}

enum err http1_body_parse(struct http1_body_parser *parser, struct slice input,
                          size_t *out_consumed, struct slice *out_data,
                          enum http1_refusal *out_refusal)
{
    size_t at = 0;
    struct slice data = {0};
    enum http1_refusal refusal = HTTP1_FINE;
    while (at < input.len && refusal == HTTP1_FINE && parser->state != DONE) {
        if (!is_data((enum state)parser->state)) {
            refusal = on_framing_byte(parser, input.data[at++]);
            continue;
        }
        if (data.len > 0)
            break; /* one run of data per call */
        data = take_data(parser, slice_after(input, at));
        at += data.len;
    }
    *out_refusal = refusal;
    if (refusal != HTTP1_FINE)
        return http1_refusal_err(refusal);
    *out_consumed = at;
    *out_data = data;
    return parser->state == DONE ? ERR_OK : ERR_AGAIN;
}
