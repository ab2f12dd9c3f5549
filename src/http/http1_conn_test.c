/* What a client can do to one connection, and what comes back. How it ends: http1_conn_end_test.c.
 */
#include "http/http1_conn.h"
#include "http/server_rig.h"

#include "base/mem.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>

static struct server_rig *rig;
static struct client client;

static void set_up(void)
{
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    client_open(&client, rig);
}

static void tear_down(void)
{
    client_fini(&client);
    rig_server_free(rig);
}

/* --- input may come in any pieces --- */

static const struct {
    const char *bytes;
    const char *answer;
} exchanges[] = {
    {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", ANSWER("keep-alive", 7, "GET /a ")},
    {"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
     ANSWER("keep-alive", 13, "POST /b hello")},
    {"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n",
     ANSWER("keep-alive", 13, "POST /c hello")},
    {"\r\nPOST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
     ANSWER("keep-alive", 8, "POST /d ")},
    {"GET /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", ANSWER("close", 7, "GET /e ")},
    {"POST /f HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi",
     ANSWER("keep-alive", 10, "POST /f hi")},
};

TEST(a_request_cut_anywhere_gets_the_same_answer)
{
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    for (size_t i = 0; i < ARRAY_COUNT(exchanges); i++) {
        struct slice bytes = slice_str(exchanges[i].bytes);
        for (size_t cut = 0; cut <= bytes.len; cut++) {
            client_open(&client, rig);
            CHECK(client_send(&client, slice_first(bytes, cut)));
            client_settle(&client);
            CHECK_STR(client_text(&client), cut < bytes.len ? "" : exchanges[i].answer);
            CHECK(client_send(&client, slice_after(bytes, cut)));
            client_settle(&client);
            CHECK_STR(client_text(&client), exchanges[i].answer);
            client_fini(&client);
        }
    }
    rig_server_free(rig);
}

TEST(dribbled_requests_on_one_connection_are_all_answered)
{
    set_up();
    struct text expected;
    text_init(&expected, 65536);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 4; i++) {
            struct slice bytes = slice_str(exchanges[i].bytes);
            for (size_t at = 0; at < bytes.len; at++) {
                CHECK(client_send(&client, slice_of(bytes.data + at, 1)));
                rig_settle(rig);
            }
            text_add_str(&expected, exchanges[i].answer);
        }
    }
    client_settle(&client);
    text_add_byte(&expected, '\0');
    CHECK_STR(client_text(&client), expected.data);
    text_fini(&expected);
    tear_down();
}

/* --- pipelining --- */

TEST(a_thousand_pipelined_requests_are_answered_in_order_32_a_turn)
{
    set_up();
    client_send_requests(&client, 1000, "");
    int turns_with_32 = 0;
    while (rig->visit_count < 1000) {
        int before = rig->visit_count;
        CHECK(loop_turn(rig->net.loop, false));
        CHECK(rig->visit_count - before <= HTTP1_REQUESTS_PER_TURN);
        turns_with_32 += rig->visit_count - before == HTTP1_REQUESTS_PER_TURN;
        client_read(&client);
    }
    CHECK(turns_with_32 > 25);
    client_settle(&client);
    CHECK(client_has_in_order(&client, 1000));
    tear_down();
}

static void big_answer(struct visit *visit, const struct http_request *request)
{
    static char body[10000];
    (void)request; /* all get the same */
    http_conn_reply(visit->conn, 200, SLICE("text/plain"), SLICE(""), slice_of(body, sizeof body));
}

/* 5000 requests of 80 bytes are far more than may be kept: reading cannot stop, so they are served
 * as fast as they come. */
TEST(pipelined_requests_that_outgrow_the_input_are_served_beyond_32)
{
    struct http_limits limits = rig_limits();
    limits.out_max_bytes = 4 << 20; /* the answers of one turn must not be what stops it */
    rig = rig_server(&limits);
    client_open(&client, rig);
    client_send_requests(&client, 5000,
                         "X-Filler: ................................................\r\n");
    READ_UNTIL(&client, rig->visit_count == 5000);
    client_settle(&client);
    CHECK(client_has_in_order(&client, 5000));
    tear_down();
}

TEST(a_client_that_pipelines_and_never_reads_is_closed)
{
    static const char requests[] =
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    client_open_narrow(&client, rig, 4096);
    rig->on_visit = big_answer;
    while (http_server_connections(rig->server) > 0 || rig->visit_count == 0) {
        (void)client_send(&client, SLICE(requests)); /* fails in the end, which is the point */
        rig_settle(rig);
        CHECK(rig->visit_count < 1000);
    }
    tear_down();
}

TEST(requests_behind_a_pending_reply_wait_for_its_end)
{
    set_up();
    rig->on_visit = visit_wait;
    client_send_requests(&client, 3, "");
    for (int i = 0; i < 3; i++) {
        client_settle(&client);
        CHECK_EQ(rig->visit_count, i + 1);
        visit_reply(&rig->visits[i], "done");
    }
    client_settle(&client);
    CHECK_EQ(client_count(&client, "done"), 3);
    tear_down();
}

/* The bound is the head limit and one read. */
TEST(input_behind_a_pending_reply_is_bounded)
{
    enum { KEPT_MAX = 4096 + HTTP1_READ_MAX_BYTES };
    static char junk[KEPT_MAX + 1];
    memset(junk, 'x', sizeof junk);
    for (int over = -1; over <= 1; over++) {
        set_up();
        rig->on_visit = visit_wait;
        client_send_requests(&client, 1, "");
        rig_settle(rig);
        client_send(&client, slice_of(junk, (size_t)(KEPT_MAX + over)));
        rig_settle(rig);
        CHECK_EQ(rig->visits[0].gone_calls, over > 0);
        CHECK_EQ(http_server_connections(rig->server), over <= 0);
        if (over > 0)
            CHECK_EQ(rig->visits[0].why, ERR_CLOSED);
        tear_down();
    }
}

TEST(without_memory_for_input_behind_a_pending_reply_the_connection_goes)
{
    set_up();
    rig->on_visit = visit_wait;
    client_send_requests(&client, 1, "");
    rig_settle(rig);
    client_send_requests(&client, 1, "");
    mem_test_fail_nth(1);
    rig_settle(rig);
    mem_test_fail_nth(0);
    CHECK_EQ(rig->visits[0].gone_calls, 1);
    CHECK_EQ(rig->visits[0].why, ERR_CLOSED);
    READ_UNTIL(&client, client.reset);
    tear_down();
}

/* --- the body --- */

TEST(the_body_limit_is_exact_by_length_and_by_chunks)
{
    struct http_limits limits = rig_limits();
    limits.message.body_max_bytes = 1000;
    rig = rig_server(&limits);
    for (int chunked = 0; chunked < 2; chunked++) {
        for (int size = 999; size <= 1001; size++) {
            char head[128], body[1100];
            memset(body, 'b', sizeof body);
            if (chunked)
                snprintf(head, sizeof head,
                         "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
                         size);
            else
                snprintf(head, sizeof head,
                         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size);
            client_open(&client, rig);
            client_send_str(&client, head);
            CHECK(client_send(&client, slice_of(body, (size_t)size)));
            if (chunked)
                client_send_str(&client, "\r\n0\r\n\r\n");
            client_settle(&client);
            CHECK_EQ(client_count(&client, size <= 1000 ? " 200 OK" : " 413 Content"), 1);
            client_fini(&client);
        }
    }
    CHECK_EQ(http_server_stats(rig->server).refused, 2);
    rig_server_free(rig);
}

static struct text taken;
static void take_body(struct visit *visit, const struct http_request *request)
{
    CHECK_SLICE(request->body, "mine");
    taken = http_conn_take_body(visit->conn);
    CHECK_EQ(request->body.len, 0);
    visit_listen(visit);
}

TEST(a_body_may_be_taken_over_and_outlives_the_connection)
{
    set_up();
    rig->on_visit = take_body;
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nmine");
    client_settle(&client);
    tear_down();
    CHECK_SLICE(text_slice(&taken), "mine");
    text_fini(&taken);
}

TEST(a_body_of_many_reads_arrives_whole)
{
    static char body[900000];
    set_up();
    pattern_fill(body, sizeof body, 0);
    rig->on_visit = visit_wait;
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n");
    CHECK(client_send(&client, slice_of(body, sizeof body)));
    TURN_UNTIL(&rig->net, rig->visit_count == 1);
    CHECK_SLICES(text_slice(&rig->visits[0].body), slice_of(body, sizeof body));
    tear_down();
}

/* --- limits of the head --- */

TEST(the_head_limit_is_exact)
{
    set_up();
    for (int size = 4095; size <= 4097; size++) {
        char head[4200];
        int prefix = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
        memset(head + prefix, 'x', (size_t)(size - prefix));
        memcpy(head + size - 4, "\r\n\r\n", 4);
        CHECK(client_send(&client, slice_of(head, (size_t)size)));
        client_settle(&client);
    }
    CHECK_EQ(client_count(&client, " 200 OK"), 2);
    CHECK_EQ(client_count(&client, " 431 Request"), 1);
    tear_down();
}

TEST(the_field_limit_is_exact)
{
    set_up();
    for (int count = 49; count <= 51; count++) { /* one of them is Host */
        client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\n");
        for (int i = 1; i < count; i++)
            client_send_str(&client, "A: 1\r\n");
        client_send_str(&client, "\r\n");
        client_settle(&client);
    }
    CHECK_EQ(client_count(&client, " 200 OK"), 2);
    CHECK_EQ(client_count(&client, " 431 Request"), 1);
    tear_down();
}

/* --- what is malformed is answered, and the connection ends --- */

TEST(malformed_requests_get_their_status_and_a_close)
{
    static const struct {
        const char *bytes;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"G@T / HTTP/1.1\r\n", 400},
        {"GET / HTTP/2.0\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"GET / HTTP/1.1\nHost: x\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", 417},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX", 400},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\n", 400},
    };
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        client_open(&client, rig);
        client_send_str(&client, cases[i].bytes);
        READ_UNTIL(&client, client.eof);
        CHECK(strlen(client_text(&client)) > 12);
        CHECK_EQ(atoi(client_text(&client) + 9), cases[i].status);
        CHECK_EQ(client_count(&client, "Connection: close\r\n"), 1);
        CHECK_EQ(client_count(&client, "Content-Type: application/json\r\n"), 1);
        client_fini(&client);
    }
    CHECK_EQ(rig->visit_count, 0);
    CHECK_EQ(http_server_stats(rig->server).refused, ARRAY_COUNT(cases));
    rig_server_free(rig);
}

TEST(a_refusal_comes_behind_the_answers_that_were_due)
{
    set_up();
    client_send_str(&client, "GET /a HTTP/1.1\r\nHost: x\r\n\r\nbad\r\n\r\nGET /b HTTP/1.1\r\n"
                             "Host: x\r\n\r\n");
    READ_UNTIL(&client, client.eof);
    CHECK(strstr(client_text(&client), ANSWER("keep-alive", 7, "GET /a ") "HTTP/1.1 400 "));
    CHECK_EQ(rig->visit_count, 1);
    tear_down();
}

/* A server that closes at once resets the client before it has read the answer. */
TEST(a_client_that_uploads_too_much_reads_its_413)
{
    static char megabyte[1 << 20];
    set_up();
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n");
    for (int i = 0; i < 95; i++)
        CHECK(client_send(&client, slice_of(megabyte, sizeof megabyte)));
    READ_UNTIL(&client, client.eof);
    CHECK(strstr(client_text(&client), " 413 Content Too Large\r\n"));
    tear_down();
}

TEST(nobody_may_send_for_ever_into_a_closed_ear)
{
    static char megabyte[1 << 20];
    set_up();
    client_send_str(&client, "bad\r\n\r\n");
    rig_settle(rig);
    size_t sent = 0;
    while (sent < 2ull * HTTP1_DISCARD_MAX_BYTES &&
           client_send(&client, slice_of(megabyte, sizeof megabyte)))
        sent += sizeof megabyte;
    CHECK(sent >= HTTP1_DISCARD_MAX_BYTES);
    CHECK(sent < 2ull * HTTP1_DISCARD_MAX_BYTES);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

/* --- 100-continue --- */

#define EXPECTING "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"

TEST(a_client_that_waits_is_told_to_continue)
{
    set_up();
    client_send_str(&client, EXPECTING);
    client_settle(&client);
    CHECK_STR(client_text(&client), "HTTP/1.1 100 Continue\r\n\r\n");
    client_send_str(&client, "hi");
    client_settle(&client);
    CHECK_STR(client_text(&client),
              "HTTP/1.1 100 Continue\r\n\r\n" ANSWER("keep-alive", 9, "POST / hi"));
    tear_down();
}

TEST(a_client_that_does_not_wait_is_not_told)
{
    set_up();
    client_send_str(&client, EXPECTING "h");
    client_settle(&client);
    CHECK_STR(client_text(&client), "");
    client_send_str(&client, "i");
    client_settle(&client);
    CHECK_STR(client_text(&client), ANSWER("keep-alive", 9, "POST / hi"));
    tear_down();
}

TEST(no_body_and_http_1_0_have_nothing_to_continue)
{
    set_up();
    client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n");
    client_settle(&client);
    CHECK_STR(client_text(&client), ANSWER("keep-alive", 6, "GET / "));
    client_send_str(&client,
                    "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client_settle(&client);
    CHECK_EQ(client_count(&client, "100"), 0);
    tear_down();
}

/* --- answers to the head alone --- */

static enum http_head_verdict refuse_head(struct server_rig *the_rig, struct http_conn *conn,
                                          const struct http_request *request)
{
    (void)the_rig;
    struct slice path = request->path;
    http_conn_reply(conn, 403, SLICE("text/plain"), SLICE(""), SLICE("no"));
    CHECK(slice_starts_with(path, SLICE("/"))); /* the request outlives the reply */
    return HTTP_HEAD_REPLIED;
}

TEST(a_refused_head_is_not_told_to_continue_and_its_body_is_not_read)
{
    set_up();
    rig->on_head = refuse_head;
    client_send_str(&client, EXPECTING);
    READ_UNTIL(&client, client.eof);
    CHECK_STR(client_text(&client),
              "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain\r\n"
              "Content-Length: 2\r\nX-Common: \r\n\r\nno");
    CHECK_EQ(rig->visit_count, 0);
    tear_down();
}

TEST(a_refused_head_whose_body_is_already_here_closes_too)
{
    set_up();
    rig->on_head = refuse_head;
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 29\r\n\r\n"
                             "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
    READ_UNTIL(&client, client.eof);
    CHECK_EQ(client_count(&client, "HTTP/1.1"), 1);
    CHECK_EQ(rig->head_count, 1);
    tear_down();
}

TEST(a_refused_head_without_body_keeps_the_connection)
{
    set_up();
    rig->on_head = refuse_head;
    client_send_requests(&client, 3, "");
    client_settle(&client);
    CHECK_EQ(client_count(&client, "403 Forbidden\r\nConnection"), 0); /* Date is between them */
    CHECK_EQ(client_count(&client, " 403 Forbidden\r\n"), 3);
    CHECK_EQ(client_count(&client, "Connection: keep-alive"), 3);
    CHECK(!client.eof);
    tear_down();
}

static struct http_conn *held;
static enum http_head_verdict hold_head(struct server_rig *the_rig, struct http_conn *conn,
                                        const struct http_request *request)
{
    (void)the_rig, (void)request;
    held = conn;
    return HTTP_HEAD_CONTINUE;
}

TEST(a_handler_that_does_not_want_the_rest_of_a_body_may_answer_meanwhile)
{
    set_up();
    rig->on_head = hold_head;
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
    rig_settle(rig);
    http_conn_reply(held, 400, SLICE("text/plain"), SLICE(""), SLICE("enough"));
    client_send_str(&client, "the other half");
    READ_UNTIL(&client, client.eof);
    CHECK(strstr(client_text(&client), "Connection: close\r\n"));
    CHECK(strstr(client_text(&client), "\r\n\r\nenough"));
    CHECK_EQ(rig->visit_count, 0);
    tear_down();
}

static enum http_head_verdict stream_from_head(struct server_rig *the_rig, struct http_conn *conn,
                                               const struct http_request *request)
{
    (void)the_rig, (void)request;
    held = conn;
    http_conn_begin(conn, 200, SLICE("text/plain"), SLICE(""));
    return HTTP_HEAD_REPLIED;
}

TEST(a_stream_that_began_at_the_head_discards_the_body)
{
    static char body[200000];
    set_up();
    rig->on_head = stream_from_head;
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
    CHECK(client_send(&client, slice_of(body, sizeof body)));
    rig_settle(rig);
    CHECK_OK(http_conn_write(held, SLICE("still here")));
    http_conn_end(held);
    READ_UNTIL(&client, client.eof);
    CHECK(strstr(client_text(&client), "\r\n\r\na\r\nstill here\r\n0\r\n\r\n"));
    tear_down();
}
