/* answer_test - what is right is right however it is cut, and every lie is seen. */
#include "answer.h"
#include "base/mem.h"
#include "testing/test.h"

#define HEAD    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNK   "f\r\ndata: {\"a\":\"b\"}\r\n2\r\n\n\n\r\n" /* an event in two chunks */
#define DONE    "e\r\ndata: [DONE]\n\n\r\n"
#define END     "0\r\n\r\n"
#define JSON    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"

/* `cut` bytes, then the rest, each alone in its memory. */
static void feed_cut(struct answer *answer, struct slice wire, size_t cut)
{
    struct slice parts[] = {slice_first(wire, cut), slice_after(wire, cut)};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        char *exact = mem_alloc(parts[i].len + 1);
        memcpy(exact, parts[i].data, parts[i].len);
        answer_feed(answer, slice_of(exact, parts[i].len));
        mem_free(exact);
    }
}

static void add_data(void *ctx, struct slice data)
{
    struct text *log = ctx;
    text_add(log, data);
    text_add_byte(log, ';');
}

static void check_right(enum answer_kind kind, struct slice wire, uint32_t events,
                        const char *datas)
{
    for (size_t cut = 0; cut <= wire.len; cut++) {
        struct answer answer;
        struct text log;
        text_init(&log, 4096);
        answer_init(&answer, kind, add_data, &log);
        feed_cut(&answer, wire, cut);
        CHECK_STR(answer.problem, "");
        CHECK_EQ(answer.state, ANSWER_WHOLE);
        CHECK_EQ(answer.events, events);
        CHECK_EQ(answer.status, 200);
        CHECK_SLICES(text_slice(&log), slice_str(datas));
        answer_fini(&answer);
        text_fini(&log);
    }
}

TEST(a_right_stream_is_whole_wherever_it_is_cut)
{
    check_right(ANSWER_OF_EVENTS, SLICE(CHUNKED CHUNK CHUNK DONE END), 3,
                "{\"a\":\"b\"};{\"a\":\"b\"};");
}

TEST(comments_fields_interim_heads_and_cr_lf_are_fine)
{
    check_right(ANSWER_OF_EVENTS,
                SLICE("HTTP/1.1 100 Continue\r\n\r\n" CHUNKED "b\r\n: ping\n\n\n\n\n\r\n"
                      "21\r\nid: 1\r\nevent: x\r\ndata:{\"a\":1}\r\n\r\n\r\n" DONE END),
                2, "{\"a\":1};");
}

TEST(a_stream_may_be_framed_by_its_length)
{
    check_right(ANSWER_OF_EVENTS,
                SLICE(HEAD "Content-Length: 27\r\n\r\ndata: {}\n\ndata: [DONE]\n\n\n\n\n"), 2,
                "{};");
}

TEST(a_json_answer_and_a_page_are_whole_with_their_last_byte)
{
    check_right(ANSWER_OF_JSON, SLICE(JSON "{\"a\":\"b\"}"), 0, "");
    check_right(ANSWER_OF_PAGE, SLICE(JSON "name 12\n\n"), 0, "");
}

TEST(a_stream_until_the_end_of_the_connection_is_whole_then)
{
    struct answer answer;
    answer_init(&answer, ANSWER_OF_EVENTS, NULL, NULL);
    answer_feed(&answer, SLICE(HEAD "\r\ndata: [DONE]\n\n"));
    CHECK_EQ(answer.state, ANSWER_BODY);
    answer_end(&answer);
    CHECK_EQ(answer.state, ANSWER_WHOLE);
    CHECK(!answer.keep_alive);
    answer_fini(&answer);
}

struct lie {
    enum answer_kind kind;
    const char *wire, *problem; /* the beginning of it */
};

static const struct lie lies[] = {
    {ANSWER_OF_EVENTS, CHUNKED CHUNK END, "the stream ended without [DONE]"},
    {ANSWER_OF_EVENTS, CHUNKED DONE CHUNK END, "an event behind [DONE]"},
    {ANSWER_OF_EVENTS, CHUNKED DONE DONE END, "an event behind [DONE]"},
    {ANSWER_OF_EVENTS, CHUNKED DONE END "\n", "bytes behind the end of the answer"},
    {ANSWER_OF_EVENTS, CHUNKED "d\r\ndata: [DONE]\n\r\n" END, "the stream ended in an event"},
    {ANSWER_OF_EVENTS, CHUNKED DONE "5\r\ndata:\r\n" END, "the stream ended in an event"},
    {ANSWER_OF_EVENTS, CHUNKED "c\r\ndata: tok1\n\n\r\n" DONE END, "an event that is no object"},
    {ANSWER_OF_EVENTS, CHUNKED "9\r\ndata: {\n\n\r\n" DONE END, "an event that is no object"},
    {ANSWER_OF_EVENTS, CHUNKED "13\r\ndata: {}\ndata: {}\n\n\r\n" DONE END,
     "an event with two lines of data"},
    {ANSWER_OF_EVENTS, CHUNKED "15\r\ndata: {\"error\":\"oh\"}\n\r\n" DONE END, "an error event"},
    {ANSWER_OF_EVENTS, CHUNKED "f\r\nevent: error\n\n\n\r\n" DONE END, "an error event"},
    {ANSWER_OF_EVENTS, CHUNKED "x\r\n", "chunks or trailers are malformed"},
    {ANSWER_OF_EVENTS, CHUNKED "1\r\n\nX", "chunks or trailers are malformed"},
    {ANSWER_OF_EVENTS, "HTTP/1.1 2OO OK\r\n\r\n", "status is not three digits"},
    {ANSWER_OF_EVENTS, JSON "{\"a\":\"b\"}", "a 200 that is no event stream"},
    {ANSWER_OF_JSON, CHUNKED DONE END, "a 200 that is an event stream"},
    {ANSWER_OF_JSON, JSON "[\"a\",\"b\"]", "a body that is no object"},
    {ANSWER_OF_EVENTS, "HTTP/1.1 429 X\r\nContent-Length: 4\r\n\r\nbusy", "status 429: busy"},
    {ANSWER_OF_PAGE, "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "status 503: "},
};

TEST(every_lie_is_seen_wherever_it_is_cut)
{
    for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
        struct slice wire = slice_str(lies[i].wire);
        for (size_t cut = 0; cut <= wire.len; cut++) {
            struct answer answer;
            answer_init(&answer, lies[i].kind, NULL, NULL);
            feed_cut(&answer, wire, cut);
            CHECK_EQ(answer.state, ANSWER_WRONG);
            CHECK_SLICES(slice_first(slice_str(answer.problem), strlen(lies[i].problem)),
                         slice_str(lies[i].problem));
            answer_fini(&answer);
        }
    }
}

TEST(an_end_before_the_end_is_wrong_everywhere)
{
    struct slice wire = SLICE(CHUNKED CHUNK DONE END);
    for (size_t cut = 0; cut < wire.len; cut++) {
        struct answer answer;
        answer_init(&answer, ANSWER_OF_EVENTS, NULL, NULL);
        answer_feed(&answer, slice_first(wire, cut));
        CHECK(answer.state == ANSWER_HEAD || answer.state == ANSWER_BODY);
        answer_end(&answer);
        CHECK_EQ(answer.state, ANSWER_WRONG);
        CHECK_EQ(answer.is_touched, cut > 0);
        answer_fini(&answer);
    }
}

/* An event whose line has `bytes`, cut at `cut`. */
static enum answer_state state_after_line(size_t bytes, size_t cut)
{
    struct text wire;
    struct answer answer;
    text_init(&wire, bytes + 1024);
    text_add_f(&wire, HEAD "Content-Length: %zu\r\n\r\n", bytes + 100);
    size_t head_bytes = wire.len;
    text_add_str(&wire, "data: {");
    while (wire.len < head_bytes + bytes - 1)
        text_add_byte(&wire, 'x');
    text_add_str(&wire, "}\n\n");
    answer_init(&answer, ANSWER_OF_EVENTS, NULL, NULL);
    feed_cut(&answer, text_slice(&wire), head_bytes + cut);
    enum answer_state state = answer.state;
    CHECK_EQ(answer.events, state == ANSWER_BODY ? 1 : 0);
    answer_fini(&answer);
    text_fini(&wire);
    return state;
}

TEST(a_line_has_a_largest_length_in_one_piece_or_two)
{
    for (int cut = 0; cut < 2; cut++) {
        CHECK_EQ(state_after_line(ANSWER_LINE_MAX_BYTES - 1, (size_t)cut * 1000), ANSWER_BODY);
        CHECK_EQ(state_after_line(ANSWER_LINE_MAX_BYTES, (size_t)cut * 1000), ANSWER_BODY);
        CHECK_EQ(state_after_line(ANSWER_LINE_MAX_BYTES + 1, (size_t)cut * 1000), ANSWER_WRONG);
    }
}

TEST(the_first_reason_stays)
{
    struct answer answer;
    answer_init(&answer, ANSWER_OF_EVENTS, NULL, NULL);
    answer_fail(&answer, "first");
    answer_fail(&answer, "second");
    answer_end(&answer);
    CHECK_STR(answer.problem, "first");
    answer_fini(&answer);
}
