/* What a handler can say, and how it leaves. */
#include "http/server_rig.h"

#include "testing/test.h"

#include <poll.h>
#include <stdio.h>

static struct server_rig *rig;
static struct client client;
static struct visit *visit; /* the first one */

/* A handler that waits has got "METHOD /". */
static void set_up_with(const struct http_limits *limits, const char *request, int rcvbuf_bytes)
{
    rig = rig_server(limits);
    rig->on_visit = visit_wait;
    visit = &rig->visits[0];
    client_open_narrow(&client, rig, rcvbuf_bytes);
    client_send_str(&client, request);
    rig_settle(rig);
    CHECK_EQ(rig->visit_count, 1);
}

#define GET      "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_LAST "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void set_up(const char *request)
{
    struct http_limits limits = rig_limits();
    set_up_with(&limits, request, 0);
}

/* As set_up(), with a client whose kernel takes little: what is written soon waits in ours. */
static void set_up_slow_reader(const char *request)
{
    struct http_limits limits = rig_limits();
    set_up_with(&limits, request, 4096);
}

static void tear_down(void)
{
    client_fini(&client);
    rig_server_free(rig);
}

#define HEAD_LINES(connection, framing)                                                            \
    "HTTP/1.1 200 OK\r\nConnection: " connection "\r\nContent-Type: text/plain\r\n" framing        \
    "X-Common: \r\n\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

/* --- framing --- */

TEST(a_stream_is_one_chunk_per_write)
{
    set_up(GET);
    CHECK(!http_conn_is_begun(visit->conn));
    visit_begin(visit);
    CHECK(http_conn_is_begun(visit->conn));
    CHECK_OK(http_conn_write(visit->conn, SLICE("data: 1\n\n")));
    CHECK_OK(http_conn_write(visit->conn, SLICE("data: twenty-two\n\n")));
    client_settle(&client);
    CHECK_STR(client_text(&client),
              HEAD_LINES("keep-alive", CHUNKED) "9\r\ndata: 1\n\n\r\n"
                                                "12\r\ndata: twenty-two\n\n\r\n");
    visit_end(visit);
    client_settle(&client);
    CHECK_STR(client_text(&client),
              HEAD_LINES("keep-alive", CHUNKED) "9\r\ndata: 1\n\n\r\n"
                                                "12\r\ndata: twenty-two\n\n\r\n"
                                                "0\r\n\r\n");
    CHECK(!client.eof);
    tear_down();
}

TEST(an_empty_write_does_not_end_the_stream)
{
    set_up(GET);
    visit_begin(visit);
    CHECK_OK(http_conn_write(visit->conn, SLICE("")));
    CHECK_OK(http_conn_write(visit->conn, SLICE("x")));
    visit_end(visit);
    client_settle(&client);
    CHECK_STR(client_text(&client), HEAD_LINES("keep-alive", CHUNKED) "1\r\nx\r\n0\r\n\r\n");
    tear_down();
}

TEST(a_stream_to_http_1_0_ends_with_the_connection)
{
    set_up("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    visit_begin(visit);
    CHECK_OK(http_conn_write(visit->conn, SLICE("one ")));
    CHECK_OK(http_conn_write(visit->conn, SLICE("two")));
    visit_end(visit);
    READ_UNTIL(&client, client.eof);
    CHECK_STR(client_text(&client), HEAD_LINES("close", "") "one two");
    tear_down();
}

TEST(head_gets_the_head_alone)
{
    set_up("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    visit_reply(visit, "twelve bytes");
    client_settle(&client);
    CHECK_STR(client_text(&client), HEAD_LINES("keep-alive", "Content-Length: 12\r\n"));
    client.in.len = 0;
    client_send_str(&client, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_settle(rig);
    visit_begin(++visit);
    CHECK_OK(http_conn_write(visit->conn, SLICE("unseen")));
    visit_end(visit);
    client_settle(&client);
    CHECK_STR(client_text(&client), HEAD_LINES("keep-alive", CHUNKED));
    CHECK(!client.eof);
    tear_down();
}

TEST(no_content_and_not_modified_have_no_body)
{
    set_up(GET GET GET);
    for (int i = 0; i < 3; i++, visit++) {
        if (i < 2) {
            http_conn_reply(visit->conn, i ? 304 : 204, SLICE(""), SLICE("A: 1\r\n"),
                            SLICE("never"));
        } else {
            http_conn_begin(visit->conn, 204, SLICE(""), SLICE(""));
            CHECK_OK(http_conn_write(visit->conn, SLICE("never")));
            http_conn_end(visit->conn);
        }
        rig_settle(rig);
    }
    client_settle(&client);
    CHECK_STR(client_text(&client),
              "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\nA: 1\r\nX-Common: \r\n\r\n"
              "HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\nA: 1\r\nX-Common: \r\n\r\n"
              "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\nX-Common: \r\n\r\n");
    tear_down();
}

TEST(every_reply_has_a_date)
{
    set_up(GET);
    visit_reply(visit, "");
    client_settle(&client);
    CHECK_EQ(client_count(&client, "\r\nDate: "), 1);
    CHECK_EQ(client_count(&client, " GMT\r\n"), 1);
    tear_down();
}

static enum http_head_verdict tag_by_method(struct server_rig *the_rig, struct http_conn *conn,
                                            const struct http_request *request)
{
    (void)the_rig;
    CHECK_EQ(http_conn_tag(conn).len, 0);
    if (request->method == HTTP_POST) {
        http_conn_set_tag(conn, SLICE("first"));
        http_conn_set_tag(conn, SLICE("https://origin.example"));
    }
    return HTTP_HEAD_CONTINUE;
}

static enum http_head_verdict mark_by_method(struct server_rig *the_rig, struct http_conn *conn,
                                             const struct http_request *request)
{
    (void)the_rig;
    CHECK_EQ(http_conn_mark(conn), 0);
    if (request->method == HTTP_POST)
        http_conn_set_mark(conn, 7);
    return HTTP_HEAD_CONTINUE;
}

static struct text answers; /* "mark:status " of each */

static void note_answer(struct server_rig *the_rig, struct http_conn *conn, int status)
{
    (void)the_rig;
    text_add_f(&answers, "%u:%d ", http_conn_mark(conn), status);
}

/* The handler's answers and the server's own: of a body too large, of bytes that are no request. */
TEST(each_answer_is_told_once_with_the_mark_of_its_request)
{
    text_init(&answers, 1024);
    set_up(GET);
    rig->on_head = mark_by_method;
    rig->on_answer = note_answer;
    rig->on_visit = NULL;
    CHECK_EQ(answers.len, 0);
    visit_begin(visit);
    CHECK_SLICE(text_slice(&answers), "0:200 "); /* at its head */
    visit_end(visit);
    client_send_str(&client, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" GET
                             "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
    client_settle(&client);
    struct client other;
    client_open(&other, rig);
    client_send_str(&other, "bad\r\n\r\n");
    client_settle(&other);
    CHECK_SLICE(text_slice(&answers), "0:200 7:200 0:200 7:413 0:400 ");
    client_fini(&other);
    tear_down();
    text_fini(&answers);
}

TEST(the_tag_lives_as_long_as_its_request)
{
    set_up(GET);
    rig->on_head = tag_by_method;
    rig->on_visit = NULL;
    visit_reply(visit, "");
    client_send_str(&client, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" GET
                             "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
    client_settle(&client);
    CHECK_EQ(client_count(&client, "X-Common: https://origin.example\r\n"), 2); /* the 413, too */
    CHECK_EQ(client_count(&client, "X-Common: \r\n"), 2);
    CHECK_EQ(client_count(&client, " 413 "), 1);
    tear_down();
}

/* --- room --- */

TEST(the_cap_on_streamed_output_is_exact)
{
    static char bytes[70000];
    for (int over = -1; over <= 1; over++) {
        set_up(GET);
        visit_begin(visit);
        size_t room = http_conn_room(visit->conn);
        CHECK(room > 60000 && room < 65536);
        CHECK_ERR(http_conn_write(visit->conn, slice_of(bytes, room + (size_t)over)),
                  over > 0 ? ERR_FULL : ERR_OK);
        if (over == 0) {
            CHECK_EQ(http_conn_room(visit->conn), 0);
            CHECK_ERR(http_conn_write(visit->conn, SLICE("x")), ERR_FULL);
        } else if (over > 0) {
            CHECK_EQ(http_conn_room(visit->conn), room); /* nothing was taken */
        }
        tear_down();
    }
}

TEST(a_write_that_never_fits_says_so)
{
    static char bytes[64 * 1024];
    set_up(GET);
    visit_begin(visit);
    CHECK_ERR(http_conn_write(visit->conn, slice_of(bytes, sizeof bytes)), ERR_LIMIT);
    tear_down();
}

static char z_bytes[1000];

/* Until ERR_FULL stays: neither the kernel nor we take more. */
static size_t fill(void)
{
    size_t written = 0;
    memset(z_bytes, 'z', sizeof z_bytes);
    for (int refused = 0; refused < 3;) {
        enum err err = http_conn_write(visit->conn, slice_of(z_bytes, sizeof z_bytes));
        if (err == ERR_OK) {
            written += sizeof z_bytes;
            refused = 0;
        } else {
            CHECK_EQ(err, ERR_FULL);
            refused++;
            rig_settle(rig);
        }
    }
    return written;
}

TEST(room_is_announced_when_half_is_free)
{
    set_up_slow_reader(GET);
    visit_begin(visit);
    size_t written = fill();
    int calls = visit->room_calls;
    CHECK(http_conn_room(visit->conn) < 32768);
    TURN_UNTIL(&rig->net, (client_read_some(&client, 1000), visit->room_calls > calls));
    CHECK_EQ(visit->room_calls, calls + 1);
    CHECK(http_conn_room(visit->conn) >= 32768 - 10); /* the frame of a chunk */
    READ_UNTIL(&client, visit->sent_bytes == written);
    CHECK_EQ(visit->room_calls, calls + 1);
    tear_down();
}

TEST(who_only_asks_for_room_hears_of_it_too)
{
    set_up_slow_reader(GET);
    visit_begin(visit);
    for (size_t room; (room = http_conn_room(visit->conn)) > 0;) {
        CHECK_OK(http_conn_write(visit->conn,
                                 slice_of(z_bytes, room < sizeof z_bytes ? room : sizeof z_bytes)));
        rig_settle(rig);
    }
    int calls = visit->room_calls;
    READ_UNTIL(&client, visit->room_calls > calls);
    tear_down();
}

TEST(sent_bytes_are_never_more_than_the_client_can_have_and_exact_in_the_end)
{
    set_up_slow_reader(GET);
    visit_begin(visit);
    size_t written = fill();
    CHECK(visit->sent_bytes > 0 && visit->sent_bytes < written);
    /* No turn from here on: what comes had left user space before. */
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (client_count(&client, "z") < visit->sent_bytes && clock_monotonic_us() < until_us) {
        struct pollfd ready = {.fd = client.fd, .events = POLLIN};
        (void)poll(&ready, 1, 1000); /* or look again */
        client_read(&client);
    }
    CHECK(client_count(&client, "z") >= visit->sent_bytes);
    READ_UNTIL(&client, visit->sent_bytes == written);
    CHECK_EQ(client_count(&client, "z"), written);
    visit_end(visit);
    tear_down();
}

TEST(small_chunks_are_counted_without_their_frames)
{
    set_up(GET);
    visit_begin(visit);
    for (int i = 1; i <= 100; i++) {
        CHECK_OK(http_conn_write(visit->conn, SLICE("z")));
        if (i % 10 == 0) {
            rig_settle(rig);
            CHECK_EQ(visit->sent_bytes, i);
        }
    }
    tear_down();
}

TEST(a_body_that_head_drops_counts_as_sent)
{
    set_up("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    visit_begin(visit);
    for (int i = 1; i <= 5; i++) {
        CHECK(http_conn_room(visit->conn) > 0);
        CHECK_OK(http_conn_write(visit->conn, SLICE("ten bytes.")));
        CHECK_EQ(visit->sent_bytes, 10 * (i - 1)); /* never from inside the call */
        rig_settle(rig);
        CHECK_EQ(visit->sent_bytes, 10 * i);
    }
    tear_down();
}

TEST(a_whole_reply_may_be_larger_than_the_cap)
{
    static char body[1000000];
    set_up_slow_reader(GET GET);
    pattern_fill(body, sizeof body, 0);
    http_conn_reply(visit->conn, 200, SLICE(""), SLICE(""), slice_of(body, sizeof body));
    rig_settle(rig);
    CHECK_EQ(rig->visit_count, 1); /* the next request waits for the client to read */
    TURN_UNTIL(&rig->net, (client_read_some(&client, 5000), rig->visit_count == 2));
    CHECK(client.in.len >
          sizeof body - 400000); /* half of the cap is ours, the rest the kernel's */
    visit_reply(++visit, "next");
    READ_UNTIL(&client, client_count(&client, "\r\n\r\nnext") == 1);
    size_t begin = slice_find(text_slice(&client.in), SLICE("\r\n\r\n")) + 4;
    CHECK(pattern_matches(slice_of(client.in.data + begin, sizeof body), 0));
    tear_down();
}

TEST(a_little_that_waits_does_not_hold_up_the_next_request)
{
    set_up_slow_reader(GET GET);
    visit_begin(visit);
    size_t written = 0; /* until the kernel takes no more, and a little of it is ours */
    for (; written == visit->sent_bytes; written += sizeof z_bytes) {
        CHECK_OK(http_conn_write(visit->conn, slice_of(z_bytes, sizeof z_bytes)));
        rig_settle(rig);
    }
    visit_end(visit);
    rig_settle(rig);
    CHECK_EQ(rig->visit_count, 2);
    tear_down();
}

/* --- a client that does not read --- */

TEST(a_stalled_client_is_reset_after_stall_ms)
{
    set_up_slow_reader(GET);
    visit_begin(visit);
    fill();
    rig_advance_ms(rig, 2999);
    CHECK_EQ(visit->gone_calls, 0);
    rig_advance_ms(rig, 1);
    CHECK_EQ(visit->gone_calls, 1);
    CHECK_EQ(visit->why, ERR_TIMEOUT);
    CHECK_EQ(http_server_stats(rig->server).stalled, 1);
    READ_UNTIL(&client, client.reset);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

TEST(a_client_that_reads_a_little_now_and_then_is_not_stalled)
{
    set_up_slow_reader(GET);
    visit_begin(visit);
    fill();
    for (int i = 0; i < 3; i++) {
        rig_advance_ms(rig, 2000);
        size_t sent = visit->sent_bytes;
        READ_UNTIL(&client, visit->sent_bytes > sent);
        fill();
    }
    CHECK_EQ(visit->gone_calls, 0);
    rig_advance_ms(rig, 3000);
    CHECK_EQ(visit->gone_calls, 1);
    tear_down();
}

TEST(a_silent_stream_is_not_stalled)
{
    set_up(GET);
    visit_begin(visit);
    CHECK_OK(http_conn_write(visit->conn, SLICE("token")));
    rig_settle(rig);
    rig_advance_ms(rig, 100000);
    CHECK_EQ(visit->gone_calls, 0);
    CHECK_OK(http_conn_write(visit->conn, SLICE("token")));
    rig_advance_ms(rig, 100000);
    CHECK_EQ(visit->gone_calls, 0);
    tear_down();
}

TEST(a_whole_reply_stalls_too_whether_it_is_the_last_or_not)
{
    static char body[1000000];
    static const char *const requests[] = {GET, GET_LAST};
    for (int last = 0; last < 2; last++) {
        set_up_slow_reader(requests[last]);
        http_conn_reply(visit->conn, 200, SLICE(""), SLICE(""), slice_of(body, sizeof body));
        rig_settle(rig);
        rig_advance_ms(rig, 2999);
        CHECK_EQ(http_server_connections(rig->server), 1);
        rig_advance_ms(rig, 1);
        CHECK_EQ(http_server_connections(rig->server), 0);
        CHECK_EQ(http_server_stats(rig->server).stalled, 1);
        CHECK_EQ(visit->gone_calls, 0); /* its reply was complete */
        READ_UNTIL(&client, client.reset);
        tear_down();
    }
}

TEST(idle_ms_does_not_cut_off_a_reply_that_is_still_being_read)
{
    static char body[1000000];
    set_up_slow_reader(GET);
    http_conn_reply(visit->conn, 200, SLICE(""), SLICE(""), slice_of(body, sizeof body));
    rig_settle(rig);
    for (int i = 0; i < 8; i++) { /* 16 s, of which no 3 pass without a read; idle_ms is 5 s */
        rig_advance_ms(rig, 2000);
        size_t before = client.in.len;
        READ_UNTIL(&client, client.in.len > before + 50000);
    }
    READ_UNTIL(&client, client.in.len > sizeof body);
    CHECK(!client.eof && !client.reset);
    tear_down();
}

/* --- the end, from anywhere --- */

TEST(a_client_that_hangs_up_in_a_stream_is_gone_at_once)
{
    set_up(GET);
    visit_begin(visit);
    CHECK_OK(http_conn_write(visit->conn, SLICE("token")));
    rig_settle(rig);
    peer_close(client.fd);
    client.fd = -1;
    TURN_UNTIL(&rig->net, visit->gone_calls == 1);
    CHECK_EQ(visit->why, ERR_CLOSED);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

TEST(a_broken_stream_is_reset_and_nobody_is_told)
{
    set_up(GET);
    visit_begin(visit);
    CHECK_OK(http_conn_write(visit->conn, SLICE("half an ev")));
    rig_settle(rig);
    http_conn_break(visit->conn);
    READ_UNTIL(&client, client.reset);
    CHECK_EQ(visit->gone_calls, 0);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

static void break_inside(struct visit *the_visit, const struct http_request *request)
{
    visit_listen(the_visit);
    http_conn_break(the_visit->conn);
    CHECK_SLICE(request->path, "/path"); /* lent until the callback returns, whatever happens */
    CHECK_SLICE(request->body, "body");
}

TEST(breaking_inside_the_callback_leaves_the_request_readable)
{
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    rig->on_visit = break_inside;
    client_open(&client, rig);
    client_send_str(&client, "POST /path HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody" GET);
    READ_UNTIL(&client, client.reset);
    CHECK_EQ(rig->visit_count, 1);
    CHECK_EQ(rig->visits[0].gone_calls, 0);
    tear_down();
}

static void reply_and_look(struct visit *the_visit, const struct http_request *request)
{
    visit_reply(the_visit, "bye");
    CHECK_SLICE(request->path, "/path");
    CHECK_SLICE(request->body, "body");
}

TEST(replying_inside_the_callback_leaves_the_request_readable)
{
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    rig->on_visit = reply_and_look;
    client_open(&client, rig);
    client_send_str(&client, "POST /path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                             "Content-Length: 4\r\n\r\nbody");
    READ_UNTIL(&client, client.eof);
    CHECK_EQ(client_count(&client, "bye"), 1);
    tear_down();
}

TEST(a_stream_may_end_inside_on_sent)
{
    set_up(GET GET);
    visit->on_sent = visit_end;
    visit_begin(visit);
    CHECK_OK(http_conn_write(visit->conn, SLICE("all")));
    client_settle(&client);
    CHECK(strstr(client_text(&client), "3\r\nall\r\n0\r\n\r\n"));
    CHECK_EQ(rig->visit_count, 2);
    CHECK_EQ(visit->gone_calls, 0);
    tear_down();
}

static void break_it(struct visit *the_visit)
{
    struct http_conn *conn = the_visit->conn;
    the_visit->conn = NULL;
    http_conn_break(conn);
}

TEST(a_stream_may_break_inside_on_sent_and_on_room)
{
    for (int inside_room = 0; inside_room < 2; inside_room++) {
        set_up_slow_reader(GET);
        visit_begin(visit);
        fill();
        visit->on_sent = inside_room ? NULL : break_it;
        visit->on_room = inside_room ? break_it : NULL;
        READ_UNTIL(&client, client.reset);
        CHECK_EQ(visit->gone_calls, 0);
        tear_down();
    }
}

static void write_more(struct visit *the_visit)
{
    while (the_visit->body.len < 500000) {
        if (http_conn_write(the_visit->conn, slice_of(z_bytes, sizeof z_bytes)) != ERR_OK)
            return;
        text_add(&the_visit->body, slice_of(z_bytes, sizeof z_bytes));
    }
    visit_end(the_visit);
}

/* How a source without its own pace feeds a client: write until full, go on in on_room(). */
TEST(a_stream_may_be_fed_from_on_room_alone)
{
    memset(z_bytes, 'z', sizeof z_bytes);
    set_up_slow_reader(GET);
    visit->on_room = write_more;
    visit_begin(visit);
    write_more(visit);
    READ_UNTIL(&client, client_count(&client, "\r\n0\r\n\r\n") == 1);
    CHECK_EQ(client_count(&client, "z"), 500000);
    CHECK(visit->room_calls >= 3);
    tear_down();
}

TEST(questions_about_the_connection_have_answers)
{
    set_up(GET);
    CHECK(http_conn_loop(visit->conn) == rig->net.loop);
    CHECK(strncmp(http_conn_peer(visit->conn), "127.0.0.1:", 10) == 0);
    CHECK(http_conn_room(visit->conn) > 65000);
    tear_down();
}
