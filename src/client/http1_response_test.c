/* http1_response_test - what is a response, what is none, and that cuts change neither. */
#include "client/response_test_message.h"
#include "testing/test.h"

static const struct http1_limits wide = {
    .head_max_bytes = 16384, .fields_max = HTTP_FIELDS_MAX, .body_max_bytes = 1 << 20};

static void parse(struct slice input, const struct http1_limits *limits,
                  struct response_message *out_message)
{
    response_parse_cut(input, false, limits, (struct response_cuts){0, 0}, out_message);
}

/* Cut once at every byte, and dribbled byte by byte: always as in one read. */
static void check_every_cut(struct slice input, const struct http1_limits *limits)
{
    struct response_message whole, cut;
    parse(input, limits, &whole);
    for (size_t first = 0; first <= input.len; first++) {
        for (size_t step = 0; step <= 1; step++) {
            response_parse_cut(input, false, limits, (struct response_cuts){first, step}, &cut);
            CHECK(response_messages_agree(&whole, &cut));
            response_message_fini(&cut);
        }
    }
    response_message_fini(&whole);
}

static const struct slice chunked =
    SLICE("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
          "Connection: close\r\n\r\n5\r\ndata:\r\nA\r\n 0123456\n\n\r\n0\r\n\r\n");

TEST(a_chunked_response_is_read)
{
    struct response_message message;
    parse(chunked, &wide, &message);
    CHECK_OK(message.err);
    CHECK_EQ(message.response.status, 200);
    CHECK_EQ(message.response.minor, 1);
    CHECK_SLICE(message.response.reason, "OK");
    CHECK_EQ(message.response.framing, RESPONSE_CHUNKED);
    CHECK(!message.response.keep_alive);
    CHECK_EQ(message.response.field_count, 3);
    CHECK_SLICE(http1_response_field(&message.response, "content-type"), "text/event-stream");
    CHECK(http1_response_field(&message.response, "Retry-After").data == NULL);
    CHECK_SLICE(text_slice(&message.body), "data: 0123456\n\n");
    CHECK_EQ(message.end, chunked.len);
    response_message_fini(&message);
    check_every_cut(chunked, &wide);
}

TEST(what_lies_behind_a_response_is_left)
{
    struct slice input = SLICE("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 3\r\n"
                               "Retry-After: 2\r\n\r\n{}\nHTTP/1.1 200 OK\r\n\r\n");
    struct response_message message;
    parse(input, &wide, &message);
    CHECK_OK(message.err);
    CHECK_EQ(message.response.framing, RESPONSE_LENGTH);
    CHECK_EQ(message.response.content_length, 3);
    CHECK(message.response.keep_alive);
    CHECK_SLICE(text_slice(&message.body), "{}\n");
    CHECK_SLICE(slice_first(slice_after(input, message.end), 4), "HTTP");
    response_message_fini(&message);
    check_every_cut(input, &wide);
}

TEST(a_body_may_end_with_the_connection)
{
    struct slice input = SLICE("HTTP/1.0 200\r\nConnection: keep-alive\r\n\r\nany bytes");
    struct response_message message;
    parse(input, &wide, &message);
    CHECK_ERR(message.err, ERR_AGAIN);
    CHECK_EQ(message.response.framing, RESPONSE_UNTIL_CLOSE);
    CHECK(message.ends_at_fin);
    CHECK(!message.response.keep_alive);
    CHECK_SLICE(text_slice(&message.body), "any bytes");
    response_message_fini(&message);
    check_every_cut(input, &wide);
}

TEST(statuses_without_a_body_have_none)
{
    static const struct {
        struct slice input;
        bool to_head;
    } cases[] = {
        {SLICE("HTTP/1.1 100 Continue\r\n\r\n"), false},
        {SLICE("HTTP/1.1 204 No Content\r\n\r\n"), false},
        {SLICE("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"), false},
        {SLICE("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"), true},
        {SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), true},
        {SLICE("HTTP/1.1 200 OK\r\n\r\n"), true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct response_message message;
        response_parse_cut(cases[i].input, cases[i].to_head, &wide, (struct response_cuts){0, 0},
                           &message);
        CHECK_OK(message.err);
        CHECK_EQ(message.response.framing, RESPONSE_NO_BODY);
        CHECK_EQ(message.end, cases[i].input.len);
        response_message_fini(&message);
    }
}

#define HEAD(fields) SLICE("HTTP/1.1 200 OK\r\n" fields "\r\n\r\n")

static const struct {
    enum response_refusal refusal;
    struct slice input;
} refused[] = {
    {RESPONSE_VERSION, SLICE("\x16\x03\x01")},
    {RESPONSE_VERSION, SLICE("HTTP/2 200")},
    {RESPONSE_VERSION, SLICE("HTTP/1.2 200 OK\r\n")},
    {RESPONSE_VERSION, SLICE("http/1.1 200 OK\r\n")},
    {RESPONSE_VERSION, SLICE("\r\nHTTP/1.1 200 OK\r\n")},
    {RESPONSE_LINE_END, SLICE("HTTP/1.1\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1\r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1 \r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1 20\r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1 2000 OK\r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1 600 OK\r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1 099 OK\r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1 +20 OK\r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1  200 OK\r\n")},
    {RESPONSE_STATUS, SLICE("HTTP/1.1\t200 OK\r\n")},
    {RESPONSE_REASON, SLICE("HTTP/1.1 200 O\x7fK\r\n")},
    {RESPONSE_REASON, SLICE("HTTP/1.1 200 O\rK\r\n")},
    {RESPONSE_REASON, SLICE("HTTP/1.1 200 O\0K\r\n")},
    {RESPONSE_LINE_END, SLICE("HTTP/1.1 200 OK\n")},
    {RESPONSE_LINE_END, SLICE("HTTP/1.1 200 OK\r\nA: b\n")},
    {RESPONSE_LINE_END, SLICE("HTTP/1.1 200 OK\r\n\n")},
    {RESPONSE_FIELD_NAME, HEAD("A : b")},
    {RESPONSE_FIELD_NAME, HEAD(": b")},
    {RESPONSE_FIELD_NAME, HEAD("no colon")},
    {RESPONSE_FIELD_NAME, HEAD("A\0B: c")},
    {RESPONSE_FIELD_VALUE, HEAD("A: b\0c")},
    {RESPONSE_FIELD_VALUE, HEAD("A: b\rc")},
    {RESPONSE_FOLDED, HEAD("A: b\r\n c")},
    {RESPONSE_FOLDED, HEAD("\tA: b")},
    {RESPONSE_LENGTH_TWICE, HEAD("Content-Length: 1\r\nContent-Length: 1")},
    {RESPONSE_LENGTH_FORM, HEAD("Content-Length: 1, 1")},
    {RESPONSE_LENGTH_FORM, HEAD("Content-Length: 0x1")},
    {RESPONSE_LENGTH_FORM, HEAD("Content-Length: -1")},
    {RESPONSE_LENGTH_FORM, HEAD("Content-Length: 01")},
    {RESPONSE_LENGTH_FORM, HEAD("Content-Length:")},
    {RESPONSE_LENGTH_FORM, HEAD("Content-Length:\t1")},
    {RESPONSE_BODY_TOO_LARGE, HEAD("Content-Length: 18446744073709551616")},
    {RESPONSE_BODY_TOO_LARGE, HEAD("Content-Length: 1048577")},
    {RESPONSE_LENGTH_AND_CHUNKED, HEAD("Content-Length: 1\r\nTransfer-Encoding: chunked")},
    {RESPONSE_LENGTH_AND_CHUNKED, HEAD("Transfer-Encoding: chunked\r\nContent-Length: 1")},
    {RESPONSE_ENCODING, HEAD("Transfer-Encoding: gzip, chunked")},
    {RESPONSE_ENCODING, HEAD("Transfer-Encoding: identity")},
    {RESPONSE_ENCODING, HEAD("Transfer-Encoding:\tchunked")},
    {RESPONSE_ENCODING_TWICE, HEAD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")},
    {RESPONSE_ENCODING_ON_10, SLICE("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {RESPONSE_BODY_FORBIDDEN, SLICE("HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n")},
    {RESPONSE_BODY_FORBIDDEN, SLICE("HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {RESPONSE_BODY_FORBIDDEN, SLICE("HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {RESPONSE_SWITCHED, SLICE("HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\n")},
    {RESPONSE_BODY_FORM, HEAD("Transfer-Encoding: chunked\r\n\r\n\r\n")},
    {RESPONSE_BODY_FORM, HEAD("Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx")},
    {RESPONSE_BODY_FORM, HEAD("Transfer-Encoding: chunked\r\n\r\n1\r\nxyz")},
    {RESPONSE_BODY_FORM, HEAD("Transfer-Encoding: chunked\r\n\r\n1\nx")},
    {RESPONSE_BODY_FORM, HEAD("Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1")},
    {RESPONSE_BODY_TOO_LARGE, HEAD("Transfer-Encoding: chunked\r\n\r\n100001\r\n")},
};

TEST(every_wrong_form_is_refused_by_name_wherever_it_is_cut)
{
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        struct response_message message;
        parse(refused[i].input, &wide, &message);
        CHECK_STR(response_refusal_name(message.refusal),
                  response_refusal_name(refused[i].refusal));
        CHECK_ERR(message.err, response_refusal_err(refused[i].refusal));
        CHECK(response_refusal_sentence(message.refusal)[0] != 0);
        response_message_fini(&message);
        check_every_cut(refused[i].input, &wide);
    }
}

TEST(a_head_ends_within_its_limit_or_is_refused)
{
    struct slice input = SLICE("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n");
    for (size_t max = 0; max <= input.len + 1; max++) {
        struct http1_limits limits = wide;
        struct response_message message;
        limits.head_max_bytes = max;
        parse(input, &limits, &message);
        CHECK_EQ(message.refusal, max < input.len ? RESPONSE_HEAD_TOO_LARGE : RESPONSE_FINE);
        CHECK_ERR(message.err, max < input.len ? ERR_LIMIT : ERR_OK);
        response_message_fini(&message);
        check_every_cut(input, &limits);
    }
}

TEST(fields_are_counted_to_the_limit)
{
    struct slice input = SLICE("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n");
    for (size_t max = 2; max <= 4; max++) {
        struct http1_limits limits = wide;
        struct response_message message;
        limits.fields_max = max;
        parse(input, &limits, &message);
        CHECK_EQ(message.refusal, max < 3 ? RESPONSE_TOO_MANY_FIELDS : RESPONSE_FINE);
        response_message_fini(&message);
        check_every_cut(input, &limits);
    }
}

TEST(bodies_of_every_framing_keep_to_the_limit)
{
    static const struct slice inputs[] = {
        HEAD("Content-Length: 4\r\n\r\nfour"),
        HEAD("Transfer-Encoding: chunked\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n"),
        SLICE("HTTP/1.1 200 OK\r\n\r\nfour"),
    };
    for (size_t i = 0; i < ARRAY_COUNT(inputs); i++) {
        for (size_t max = 3; max <= 5; max++) {
            struct http1_limits limits = wide;
            struct response_message message;
            limits.body_max_bytes = max;
            parse(inputs[i], &limits, &message);
            CHECK_EQ(message.refusal, max < 4 ? RESPONSE_BODY_TOO_LARGE : RESPONSE_FINE);
            CHECK_ERR(message.err, max < 4 ? ERR_LIMIT : i == 2 ? ERR_AGAIN : ERR_OK);
            response_message_fini(&message);
            check_every_cut(inputs[i], &limits);
        }
    }
}

TEST(a_head_cut_short_is_waited_for)
{
    for (size_t len = 0; len < chunked.len; len++) {
        struct response_message message;
        parse(slice_first(chunked, len), &wide, &message);
        CHECK_ERR(message.err, ERR_AGAIN);
        CHECK(!message.ends_at_fin);
        response_message_fini(&message);
    }
}
