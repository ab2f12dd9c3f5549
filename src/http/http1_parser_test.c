/* http1_parser_test - one vector or more for each refusal, limits, and cuts everywhere. */
#include "http/http1_test_message.h"
#include "testing/test.h"

#include <stdio.h>

static const struct http1_limits limits = {
    .head_max_bytes = 256, .fields_max = 6, .body_max_bytes = 64};

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define BODY POST "Transfer-Encoding: chunked\r\n\r\n"
#define X16  "xxxxxxxxxxxxxxxx"
#define X64  X16 X16 X16 X16

struct vector {
    enum http1_refusal refusal;
    struct slice bytes;
};
/* No empty literal braces: SLICE keeps NULs. */
#define V(refusal, literal)                                                                        \
    {                                                                                              \
        HTTP1_##refusal,                                                                           \
        {                                                                                          \
            literal, sizeof(literal) - 1                                                           \
        }                                                                                          \
    }

static const struct vector refused[] = {
    V(HEAD_TOO_LARGE, GET "A: " X64 X64 X64 X64 "\r\n\r\n"),
    V(HEAD_TOO_LARGE, GET X64 X64 X64 X64 ": a\r\n\r\n"),
    V(TOO_MANY_FIELDS, GET "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n"),
    V(METHOD, " GET / HTTP/1.1\r\n" HOST "\r\n"),
    V(METHOD, "G@T / HTTP/1.1\r\n" HOST "\r\n"),
    V(METHOD, "GET\t/ HTTP/1.1\r\n" HOST "\r\n"),
    V(METHOD, "GET\r\n\r\n"),
    V(METHOD, "   \r\n\r\n"),
    V(METHOD, X16 X16 "x / HTTP/1.1\r\n" HOST "\r\n"),
    V(METHOD, "POST" X64 X64 X64 X64 " / HTTP/1.1\r\n"),
    V(METHOD, "\r\n\r\n" GET "\r\n"),
    V(METHOD, "\0GET / HTTP/1.1\r\n"),
    V(METHOD, "G\xc3\x89T / HTTP/1.1\r\n"),
    V(TARGET, "GET  / HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET http://a/ HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET * HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "OPTIONS ** HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "OPTIONS */ HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET /#top HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET /\t HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET /\0 HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET /\x7f HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET /caf\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET /\r\n"),
    V(TARGET, "GET /\n"),
    V(TARGET, "GET / \r\n"),
    V(TARGET, "GET /  HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET / http/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET /a b HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET HTTP/1.1\r\n" HOST "\r\n"),
    V(TARGET, "GET / HTTPS/1.1\r\n" HOST "\r\n"),
    V(TARGET_TOO_LONG, "GET /" X64 X64 X64 X64 " HTTP/1.1\r\n" HOST "\r\n"),
    V(VERSION, "GET / HTTP/9.9\r\n" HOST "\r\n"),
    V(VERSION, "GET / HTTP/2.0\r\n" HOST "\r\n"),
    V(VERSION, "GET / HTTP/\r\n" HOST "\r\n"),
    V(VERSION, "GET / HTTP/11\r\n" HOST "\r\n"),
    V(VERSION, "GET / HTTP/1 .1\r\n" HOST "\r\n"),
    V(VERSION, "GET / HTTP/1.2\r\n" HOST "\r\n"),
    V(VERSION, "GET / HTTP/01.1\r\n" HOST "\r\n"),
    V(LINE_END, "GET / HTTP/1.1\n" HOST "\r\n"),
    V(LINE_END, "GET / HTTP/1.1 \r\n" HOST "\r\n"),
    V(LINE_END, "GET / HTTP/1.10\r\n" HOST "\r\n"),
    V(LINE_END, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    V(LINE_END, GET "A: b\n\r\n"),
    V(LINE_END, GET "A: b\rC: d\r\n\r\n"),
    V(LINE_END, GET "A: b\r\r\n\r\n"),
    V(LINE_END, GET "\n"),
    V(LINE_END, GET "\rX"),
    V(LINE_END, "\n" GET "\r\n"),
    V(LINE_END, "\rGET / HTTP/1.1\r\n" HOST "\r\n"),
    V(LINE_END, BODY "5\nhello\r\n0\r\n\r\n"),
    V(LINE_END, BODY "5\rhello\r\n0\r\n\r\n"),
    V(FIELD_NAME, GET "Content-Length : 5\r\n\r\nhello"),
    V(FIELD_NAME, GET ": a\r\n\r\n"),
    V(FIELD_NAME, GET "A\r\n\r\n"),
    V(FIELD_NAME, GET "A\n: b\r\n\r\n"),
    V(FIELD_NAME, GET "A\0: b\r\n\r\n"),
    V(FIELD_NAME, GET "A(: b\r\n\r\n"),
    V(FIELD_NAME, GET "\xc3\xa9: b\r\n\r\n"),
    V(FIELD_VALUE, GET "A: b\0c\r\n\r\n"),
    V(FIELD_VALUE, GET "A: b\x01\r\n\r\n"),
    V(FIELD_VALUE, GET "A: \x7f\r\n\r\n"),
    V(FIELD_VALUE, GET "A: \x0b\r\n\r\n"),
    V(FOLDED, GET "A: b\r\n c\r\n\r\n"),
    V(FOLDED, GET "A: b\r\n\tc\r\n\r\n"),
    V(FOLDED, "GET / HTTP/1.1\r\n " HOST "\r\n"),
    V(HOST_MISSING, "GET / HTTP/1.1\r\n\r\n"),
    V(HOST_MISSING, "GET / HTTP/1.1\r\nHostt: a\r\nXost: b\r\n\r\n"),
    V(HOST_TWICE, GET "Host: b\r\n\r\n"),
    V(HOST_TWICE, GET "hOST: a\r\n\r\n"),
    V(HOST_TWICE, "GET / HTTP/1.0\r\n" HOST HOST "\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a%20\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.1\r\nHost: [fe80::1%25lo]\r\n\r\n"),
    V(HOST_FORM, "GET / HTTP/1.0\r\nHost: /\r\n\r\n"),
    V(LENGTH_TWICE, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    V(LENGTH_TWICE, POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length:\r\n\r\n"),
    V(LENGTH_FORM, POST "Content-Length: +5\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: -5\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 5, 5\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 5x\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 0x5\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 05\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 5 5\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length:\t5\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 5\t\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 5.0\r\n\r\nhello"),
    V(LENGTH_FORM, POST "Content-Length: 99999999999999999999999x\r\n\r\n"),
    V(LENGTH_AND_CHUNKED, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    V(LENGTH_AND_CHUNKED, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    V(LENGTH_AND_CHUNKED, POST "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\nhello"),
    V(ENCODING_FORM, POST "Transfer-Encoding:\r\n\r\n"),
    V(ENCODING, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    V(ENCODING, POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: gzip chunked\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: identity\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
    V(ENCODING_FORM, POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    V(ENCODING, POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    V(ENCODING_TWICE,
      POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    V(ENCODING_TWICE,
      POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    V(ENCODING_ON_10, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    V(BODY_TOO_LARGE, POST "Content-Length: 65\r\n\r\n"),
    V(BODY_TOO_LARGE, POST "Content-Length: 18446744073709551616\r\n\r\n"),
    V(BODY_TOO_LARGE, BODY "41\r\n" X64 "x\r\n0\r\n\r\n"),
    V(BODY_TOO_LARGE, BODY "40\r\n" X64 "\r\n1\r\nx\r\n0\r\n\r\n"),
    V(BODY_TOO_LARGE, BODY "1\r\nx\r\nffffffffffffffff\r\nx"),
    V(CHUNK_SIZE, BODY "\r\n\r\n"),
    V(CHUNK_SIZE, BODY "0x5\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY "+5\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY "-5\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY " 5\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY "5g\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY "5_0\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY "5\0\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY "00000000000000005\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_SIZE, BODY "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_EXTENSION, BODY "5;a=b\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_EXTENSION, BODY "5;\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_EXTENSION, BODY "5 \r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_EXTENSION, BODY "5\t;a\r\nhello\r\n0\r\n\r\n"),
    V(CHUNK_EXTENSION, BODY "0;a\r\n\r\n"),
    V(CHUNK_END, BODY "5\r\nhelloXX0\r\n\r\n"),
    V(CHUNK_END, BODY "5\r\nhello0\r\n\r\n"),
    V(CHUNK_END, BODY "5\r\nhello\n0\r\n\r\n"),
    V(CHUNK_END, BODY "5\r\nhello\r0\r\n\r\n"),
    V(CHUNK_END, BODY "5\r\nhello \r\n0\r\n\r\n"),
    V(TRAILER, BODY "0\r\n: a\r\n\r\n"),
    V(TRAILER, BODY "0\r\nA : a\r\n\r\n"),
    V(TRAILER, BODY "0\r\nA\r\n\r\n"),
    V(TRAILER, BODY "0\r\nA: b\n\r\n"),
    V(TRAILER, BODY "0\r\nA: b\r\r\n"),
    V(TRAILER, BODY "0\r\nA: b\r\n c\r\n\r\n"),
    V(TRAILER, BODY "0\r\nA: \0\r\n\r\n"),
    V(TRAILER, BODY "0\r\n\n"),
    V(TRAILER, BODY "0\r\n\rX"),
    V(TRAILER, BODY "0\r\nContent-Length: 5\r\n\r\n"),
    V(TRAILER, BODY "0\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n"),
    V(TRAILER, BODY "0\r\nGET / HTTP/1.1\r\n\r\n"),
    V(EXPECT, POST "Expect: 200-ok\r\nContent-Length: 5\r\n\r\n"),
    V(EXPECT, POST "Expect:\r\n\r\n"),
    V(UPGRADE_PREFACE, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    V(UPGRADE_PREFACE, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
};

static const struct slice accepted[] = {
    SLICE(GET "\r\n"),
    SLICE("\r\n" GET "\r\n"),
    SLICE("GET / HTTP/1.0\r\n\r\n"),
    SLICE("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
    SLICE("OPTIONS /a HTTP/1.1\r\n" HOST "\r\n"),
    SLICE("PRI / HTTP/1.1\r\n" HOST "\r\n"),
    SLICE("M-SEARCH!#$%&'*+-.^_`|~ //?\"<>[]\\^`{|}~!;:@%zz=? HTTP/1.1\r\n" HOST "\r\n"),
    SLICE("GET / HTTP/1.1\r\nhost:\t localhost:8080 \t\r\n\r\n"),
    SLICE("GET / HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:80\r\n\r\n"),
    SLICE("GET / HTTP/1.1\r\nHost: my_box-1.example.\r\n\r\n"),
    SLICE(GET "A:\r\nB:  \t \r\nC: \xc3\xa9 a\tb \" (c)\r\n\r\n"),
    SLICE(GET "Connection: close\r\n\r\n"),
    SLICE(POST "Content-Length: 0\r\n\r\n"),
    SLICE(POST "Content-Length:  5 \r\n\r\nhello"),
    SLICE(POST "Content-Length: 64\r\n\r\n" X64),
    SLICE(POST "Expect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello"),
    SLICE(POST "TRANSFER-encoding:  CHUNKED \r\n\r\n0\r\n\r\n"),
    SLICE(BODY "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
    SLICE(BODY "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n"),
    SLICE(BODY "A\r\n0123456789\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n"),
    SLICE(BODY "40\r\n" X64 "\r\n0\r\nA: b\r\nChecksum:\r\nX:\xff\r\n\r\n"),
    SLICE(BODY "0\r\nContent-Length-But-Much-Longer-Than-That: 5\r\n\r\n"),
};

static struct http1_test_message parse_with(struct slice bytes, const struct http1_limits *with,
                                            size_t first, size_t step)
{
    struct http1_test_message message;
    http1_test_parse(bytes, with, (struct http1_test_cuts){first, step}, &message);
    return message;
}

static struct http1_test_message parse(struct slice bytes)
{
    return parse_with(bytes, &limits, 0, 0);
}

static enum http1_refusal refusal_of(struct slice bytes, const struct http1_limits *with)
{
    struct http1_test_message message = parse_with(bytes, with, 0, 0);
    http1_test_message_fini(&message);
    return message.refusal;
}

#define CHECK_REFUSED(bytes, with, expected)                                                       \
    CHECK_STR(http1_refusal_name(refusal_of((bytes), (with))), expected)

TEST(every_risky_form_is_refused_with_its_own_reason)
{
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct http1_test_message message = parse(refused[i].bytes);
        if (message.refusal != refused[i].refusal)
            printf("vector %zu: " SLICE_FMT "\n", i, SLICE_ARG(refused[i].bytes));
        CHECK_STR(http1_refusal_name(message.refusal), http1_refusal_name(refused[i].refusal));
        CHECK_ERR(message.err, http1_refusal_err(refused[i].refusal));
        http1_test_message_fini(&message);
    }
}

TEST(every_refusal_has_a_vector)
{
    for (int refusal = HTTP1_FINE + 1; refusal < HTTP1_REFUSAL_COUNT; refusal++) {
        size_t vectors = 0;
        for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
            vectors += refused[i].refusal == (enum http1_refusal)refusal;
        if (vectors == 0)
            printf("no vector for %s\n", http1_refusal_name((enum http1_refusal)refusal));
        CHECK(vectors > 0);
    }
}

/* STRICTNESS_DOC is the path of docs/http-strictness.md. */
static struct text read_document(void)
{
    struct text text;
    text_init(&text, 1 << 20);
    FILE *file = fopen(STRICTNESS_DOC, "rb");
    CHECK(file != NULL);
    char *room;
    size_t got = 1;
    while (got > 0 && (room = text_reserve(&text, 4096))) {
        got = fread(room, 1, 4096, file);
        text.len += got;
    }
    fclose(file);
    CHECK_OK(text_status(&text));
    return text;
}

TEST(every_refusal_has_its_row_in_the_document)
{
    struct text document = read_document();
    for (int i = HTTP1_FINE + 1; i < HTTP1_REFUSAL_COUNT; i++) {
        enum http1_refusal refusal = (enum http1_refusal)i;
        char row[64];
        int len = snprintf(row, sizeof row, "\n| %s | %d | ", http1_refusal_name(refusal),
                           http1_refusal_status(refusal));
        bool is_there = slice_find(text_slice(&document), slice_of(row, (size_t)len)) != SLICE_NPOS;
        if (!is_there)
            printf("no row that begins with%s\n", row);
        CHECK(is_there);
    }
    text_fini(&document);
}

TEST(well_formed_messages_are_accepted_and_end_where_they_end)
{
    for (size_t i = 0; i < ARRAY_COUNT(accepted); i++) {
        struct http1_test_message message = parse(accepted[i]);
        if (message.err != ERR_OK)
            printf("message %zu: " SLICE_FMT "\n", i, SLICE_ARG(accepted[i]));
        CHECK_STR(http1_refusal_name(message.refusal), "FINE");
        CHECK_OK(message.err);
        CHECK_EQ(message.end, accepted[i].len);
        http1_test_message_fini(&message);
    }
}

/* At every byte, and byte by byte. */
static void check_cuts(struct slice bytes)
{
    struct http1_test_message whole = parse(bytes);
    for (size_t cut = 1; cut <= bytes.len + 1; cut++) {
        bool is_dribbled = cut > bytes.len;
        struct http1_test_message message =
            parse_with(bytes, &limits, is_dribbled ? 1 : cut, is_dribbled ? 1 : 0);
        bool agree = http1_test_agree(&whole, &message);
        if (!agree)
            printf("cut at %zu: %s, not %s: " SLICE_FMT "\n", cut,
                   http1_refusal_name(message.refusal), http1_refusal_name(whole.refusal),
                   SLICE_ARG(bytes));
        CHECK(agree);
        http1_test_message_fini(&message);
    }
    http1_test_message_fini(&whole);
}

TEST(result_does_not_depend_on_where_reads_end)
{
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        check_cuts(refused[i].bytes);
    for (size_t i = 0; i < ARRAY_COUNT(accepted); i++)
        check_cuts(accepted[i]);
}

TEST(every_part_of_a_message_asks_for_more)
{
    for (size_t i = 0; i < ARRAY_COUNT(accepted); i++) {
        for (size_t len = 0; len < accepted[i].len; len++) {
            struct http1_test_message message = parse(slice_first(accepted[i], len));
            CHECK_ERR(message.err, ERR_AGAIN);
            http1_test_message_fini(&message);
        }
    }
}

TEST(a_bad_byte_is_refused_at_once_without_waiting_for_the_line)
{
    CHECK_REFUSED(SLICE("\x16"), &limits, "UPGRADE_PREFACE");
    CHECK_REFUSED(SLICE("PRI * "), &limits, "UPGRADE_PREFACE");
    CHECK_REFUSED(SLICE("{"), &limits, "METHOD");
    CHECK_REFUSED(SLICE("GET h"), &limits, "TARGET");
    CHECK_REFUSED(SLICE("GET / HTTP/2"), &limits, "VERSION");
    CHECK_REFUSED(SLICE(GET "A: \x01"), &limits, "FIELD_VALUE");
    CHECK_REFUSED(SLICE(GET HOST), &limits, "HOST_TWICE");
    CHECK_REFUSED(SLICE(BODY "x"), &limits, "CHUNK_SIZE");
    CHECK_REFUSED(SLICE(BODY "41\r\n"), &limits, "BODY_TOO_LARGE");
}

TEST(what_follows_a_message_is_left_alone)
{
    struct slice two = SLICE(POST "Content-Length: 3\r\n\r\nabcGET /next HTTP/1.1\r\n" HOST "\r\n");
    struct http1_test_message first = parse(two);
    CHECK_OK(first.err);
    CHECK_SLICE(text_slice(&first.body), "abc");
    struct http1_test_message second = parse(slice_after(two, first.end));
    CHECK_OK(second.err);
    CHECK_SLICE(second.request.target, "/next");
    CHECK_EQ(first.end + second.end, two.len);
    http1_test_message_fini(&first);
    http1_test_message_fini(&second);
}

TEST(request_says_what_was_sent)
{
    struct http1_test_message message =
        parse(SLICE("POST /v1/x%20y?a=b?c&d HTTP/1.1\r\nhOst: box:80\r\nX-A:\t one two \r\n"
                    "transfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n"));
    const struct http_request *request = &message.request;
    CHECK_OK(message.err);
    CHECK_EQ(request->method, HTTP_POST);
    CHECK_SLICE(request->method_text, "POST");
    CHECK_SLICE(request->target, "/v1/x%20y?a=b?c&d");
    CHECK_SLICE(request->path, "/v1/x%20y");
    CHECK_SLICE(request->query, "a=b?c&d");
    CHECK_SLICE(request->host, "box:80");
    CHECK_EQ(request->minor, 1);
    CHECK_EQ(request->field_count, 3);
    CHECK_SLICE(request->fields[1].name, "X-A");
    CHECK_SLICE(request->fields[1].value, "one two");
    CHECK(request->chunked && !request->has_length && request->keep_alive);
    CHECK_EQ(request->body.len, 0);
    CHECK_SLICE(text_slice(&message.body), "abcde");
    http1_test_message_fini(&message);
}

TEST(an_unknown_method_is_other_and_keeps_its_text)
{
    struct http1_test_message message = parse(SLICE("get / HTTP/1.0\r\n\r\n"));
    CHECK_OK(message.err);
    CHECK_EQ(message.request.method, HTTP_OTHER);
    CHECK_SLICE(message.request.method_text, "get");
    CHECK_EQ(message.request.host.len, 0);
    http1_test_message_fini(&message);
}

static bool keeps_alive(struct slice bytes)
{
    struct http1_test_message message = parse(bytes);
    CHECK_OK(message.err);
    http1_test_message_fini(&message);
    return message.request.keep_alive;
}

TEST(keep_alive_follows_version_and_connection)
{
    CHECK(keeps_alive(SLICE(GET "\r\n")));
    CHECK(keeps_alive(SLICE(GET "Connection: upgrade, Keep-Alive\r\n\r\n")));
    CHECK(!keeps_alive(SLICE(GET "Connection: x,CLOSE\r\n\r\n")));
    CHECK(!keeps_alive(SLICE(GET "Connection: keep-alive\r\nConnection: close\r\n\r\n")));
    CHECK(!keeps_alive(SLICE("GET / HTTP/1.0\r\n\r\n")));
    CHECK(keeps_alive(SLICE("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")));
    CHECK(!keeps_alive(SLICE("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n")));
}

static bool expects_continue(struct slice bytes)
{
    struct http1_test_message message = parse(bytes);
    CHECK(message.has_head);
    http1_test_message_fini(&message);
    return message.request.expect_continue;
}

TEST(continue_is_expected_only_on_11_with_a_body_to_come)
{
    CHECK(expects_continue(SLICE(POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")));
    CHECK(
        expects_continue(SLICE(POST "Expect: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n\r\n")));
    CHECK(!expects_continue(SLICE(POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n")));
    CHECK(!expects_continue(SLICE(POST "Expect: 100-continue\r\n\r\n")));
    CHECK(!expects_continue(
        SLICE("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")));
}

TEST(head_of_exactly_the_limit_passes_and_one_byte_more_does_not)
{
    struct slice head = SLICE("\r\n" GET "A: b\r\n\r\n");
    struct http1_limits tight = limits;
    tight.head_max_bytes = head.len + 1;
    CHECK_REFUSED(head, &tight, "FINE");
    tight.head_max_bytes = head.len;
    CHECK_REFUSED(head, &tight, "FINE");
    CHECK_REFUSED(slice_first(head, head.len - 1), &tight, "FINE");
    tight.head_max_bytes = head.len - 1;
    CHECK_REFUSED(head, &tight, "HEAD_TOO_LARGE");
    CHECK_REFUSED(slice_first(head, head.len - 1), &tight, "HEAD_TOO_LARGE");
}

TEST(a_head_larger_than_the_limit_does_not_depend_on_cuts_either)
{
    struct slice head = SLICE("\r\nOPTIONS /abc?d HTTP/1.1\r\n" HOST "A: b\r\n\r\n");
    for (size_t max = 0; max <= head.len; max++) {
        struct http1_limits tight = limits;
        tight.head_max_bytes = max;
        struct http1_test_message whole = parse_with(head, &tight, 0, 0);
        struct http1_test_message dribbled = parse_with(head, &tight, 1, 1);
        CHECK(http1_test_agree(&whole, &dribbled));
        CHECK_ERR(whole.err, max < head.len ? ERR_LIMIT : ERR_OK);
        bool ends_in_target = max >= sizeof "\r\nOPTIONS" && max < sizeof "\r\nOPTIONS /abc?d";
        CHECK_STR(http1_refusal_name(whole.refusal), max == head.len  ? "FINE"
                                                     : ends_in_target ? "TARGET_TOO_LONG"
                                                                      : "HEAD_TOO_LARGE");
        http1_test_message_fini(&whole);
        http1_test_message_fini(&dribbled);
    }
}

TEST(fields_up_to_the_limit_pass_and_one_more_does_not)
{
    struct http1_limits tight = limits;
    struct slice three = SLICE(GET "A: b\r\nA: b\r\n\r\n");
    tight.fields_max = 4;
    CHECK_REFUSED(three, &tight, "FINE");
    tight.fields_max = 3;
    CHECK_REFUSED(three, &tight, "FINE");
    tight.fields_max = 2;
    CHECK_REFUSED(three, &tight, "TOO_MANY_FIELDS");
    tight.fields_max = 0;
    CHECK_REFUSED(SLICE("GET / HTTP/1.0\r\n\r\n"), &tight, "FINE");
}

TEST(body_of_exactly_the_limit_passes_and_one_byte_more_does_not)
{
    struct slice known = SLICE(POST "Content-Length: 5\r\n\r\nhello");
    struct slice chunked = SLICE(BODY "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    struct http1_limits tight = limits;
    for (tight.body_max_bytes = 0; tight.body_max_bytes < 7; tight.body_max_bytes++) {
        const char *expected = tight.body_max_bytes < 5 ? "BODY_TOO_LARGE" : "FINE";
        CHECK_REFUSED(known, &tight, expected);
        CHECK_REFUSED(chunked, &tight, expected);
    }
    tight.body_max_bytes = UINT64_MAX;
    CHECK_REFUSED(SLICE(POST "Content-Length: 18446744073709551615\r\n\r\n"), &tight, "FINE");
    CHECK_REFUSED(SLICE(BODY "ffffffffffffffff\r\n"), &tight, "FINE");
    CHECK_REFUSED(SLICE(BODY "1\r\nx\r\nffffffffffffffff\r\n"), &tight, "BODY_TOO_LARGE");
}

/* A trailer section of `bytes` bytes, the empty line included. */
static enum http1_refusal trailer_of(size_t bytes)
{
    struct text text;
    text_init(&text, bytes + 1024);
    text_add(&text, SLICE(BODY "0\r\n"));
    size_t end = text.len + bytes;
    while (end - text.len > 64)
        text_add(&text, SLICE("A: bcdefghij\r\n"));
    text_add(&text, SLICE("B:"));
    while (end - text.len > 4)
        text_add_byte(&text, 'b');
    text_add(&text, SLICE("\r\n\r\n"));
    CHECK_OK(text_status(&text));
    CHECK_EQ(text.len, end);
    enum http1_refusal refusal = refusal_of(text_slice(&text), &limits);
    text_fini(&text);
    return refusal;
}

TEST(trailer_of_exactly_the_limit_passes_and_one_byte_more_does_not)
{
    CHECK_EQ(trailer_of(HTTP1_TRAILER_MAX_BYTES - 1), HTTP1_FINE);
    CHECK_EQ(trailer_of(HTTP1_TRAILER_MAX_BYTES), HTTP1_FINE);
    for (size_t more = 1; more < 40; more++)
        CHECK_EQ(trailer_of(HTTP1_TRAILER_MAX_BYTES + more), HTTP1_TRAILER);
    CHECK_EQ(trailer_of(80000), HTTP1_TRAILER);
}

TEST(a_message_without_a_body_is_whole_before_any_byte_of_it)
{
    struct http_request request = {0};
    struct http1_body_parser parser;
    enum http1_refusal refusal;
    struct slice data;
    size_t consumed;
    CHECK_OK(http1_body_init(&parser, &request, &limits, &refusal));
    CHECK_OK(http1_body_parse(&parser, SLICE("next"), &consumed, &data, &refusal));
    CHECK_EQ(consumed, 0);
    CHECK_EQ(data.len, 0);
}

TEST(a_body_is_delivered_in_runs_as_it_comes)
{
    struct http_request request = {.chunked = true};
    struct http1_body_parser parser;
    enum http1_refusal refusal;
    struct slice input = SLICE("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET"), data;
    size_t consumed;
    CHECK_OK(http1_body_init(&parser, &request, &limits, &refusal));
    CHECK_ERR(http1_body_parse(&parser, input, &consumed, &data, &refusal), ERR_AGAIN);
    CHECK_SLICE(data, "abc");
    CHECK(data.data == input.data + 3);
    input = slice_after(input, consumed);
    CHECK_OK(http1_body_parse(&parser, input, &consumed, &data, &refusal));
    CHECK_SLICE(data, "de");
    CHECK_SLICE(slice_after(input, consumed), "GET");
}

TEST(statuses_and_sentences_are_there_for_all)
{
    CHECK_EQ(http1_refusal_status(HTTP1_FINE), 200);
    CHECK_EQ(http1_refusal_status(HTTP1_TARGET_TOO_LONG), 414);
    CHECK_EQ(http1_refusal_status(HTTP1_ENCODING), 501);
    for (int refusal = HTTP1_FINE + 1; refusal < HTTP1_REFUSAL_COUNT; refusal++) {
        int status = http1_refusal_status((enum http1_refusal)refusal);
        CHECK(status >= 400 && status < 600);
        CHECK(strcmp(http_status_text(status), "Unknown") != 0);
        CHECK(strlen(http1_refusal_sentence((enum http1_refusal)refusal)) > 0);
    }
}
