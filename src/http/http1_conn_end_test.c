/* How a connection ends: deadlines, what the client ends, what the server ends. The rest is in
 * http1_conn_test.c. */
#include "http/http1_conn.h"
#include "http/server_rig.h"

#include "testing/test.h"

#include <poll.h>
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

/* --- deadlines --- */

static void check_timeout(const char *sentence)
{
    client_read(&client);
    CHECK(strstr(client_text(&client), "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"));
    CHECK_EQ(client_count(&client, sentence), 1);
    CHECK(client.eof);
    CHECK_EQ(http_server_stats(rig->server).timeouts, 1);
}

TEST(a_client_that_says_nothing_gets_408_after_head_ms)
{
    set_up();
    rig_settle(rig);
    rig_advance_ms(rig, 999);
    client_read(&client);
    CHECK_STR(client_text(&client), "");
    CHECK(!client.eof);
    rig_advance_ms(rig, 1);
    check_timeout("head took too long");
    tear_down();
}

TEST(dribbling_a_head_does_not_buy_time)
{
    set_up();
    rig_settle(rig);
    for (int i = 0; i < 100; i++) {
        client_send_str(&client, i == 0 ? "GET / HTTP/1.1\r\n" : i % 2 ? "A:" : "\r\n");
        rig_settle(rig);
        CHECK(!client.eof);
        rig_advance_ms(rig, 10);
    }
    check_timeout("head took too long");
    tear_down();
}

TEST(dribbling_a_body_does_not_buy_time)
{
    set_up();
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    rig_settle(rig);
    for (int i = 0; i < 199; i++) {
        client_send_str(&client, "b");
        rig_advance_ms(rig, 10);
    }
    client_read(&client);
    CHECK_STR(client_text(&client), "");
    rig_advance_ms(rig, 10);
    check_timeout("body took too long");
    tear_down();
}

TEST(an_idle_connection_closes_silently_after_idle_ms)
{
    set_up();
    client_send_requests(&client, 1, "");
    client_settle(&client);
    client.in.len = 0;
    rig_advance_ms(rig, 4999);
    client_read(&client);
    CHECK(!client.eof);
    rig_advance_ms(rig, 1);
    client_read(&client);
    CHECK_STR(client_text(&client), "");
    CHECK(client.eof);
    CHECK_EQ(http_server_connections(rig->server), 0);
    CHECK_EQ(http_server_stats(rig->server).timeouts, 0);
    tear_down();
}

TEST(the_first_byte_of_the_next_request_starts_head_ms)
{
    set_up();
    client_send_requests(&client, 1, "");
    client_settle(&client);
    rig_advance_ms(rig, 4900);
    client_send_str(&client, "G");
    rig_settle(rig);
    rig_advance_ms(rig, 999);
    client_read(&client);
    CHECK(!client.eof);
    rig_advance_ms(rig, 1);
    check_timeout("head took too long");
    tear_down();
}

TEST(zero_means_never)
{
    struct http_limits limits = rig_limits();
    limits.head_ms = limits.body_ms = limits.idle_ms = limits.stall_ms = limits.drain_ms = 0;
    rig = rig_server(&limits);
    struct client clients[4];
    for (int i = 0; i < 4; i++)
        client_open(&clients[i], rig);
    client_send_str(&clients[1], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    client_send_str(&clients[2], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    client_send_str(&clients[3], "bad\r\n\r\n");
    rig_settle(rig);
    rig_advance_ms(rig, 1000ull * 3600 * 24 * 365);
    CHECK_EQ(http_server_connections(rig->server), 4);
    for (int i = 0; i < 4; i++)
        client_fini(&clients[i]);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    rig_server_free(rig);
}

/* A turn that comes late must not take it out on a client whose bytes are there. On a real loop,
 * where a turn can be late: what we wait for is the deadline. */
TEST(bytes_that_came_before_the_deadline_was_looked_at_count)
{
    struct http_limits limits = rig_limits();
    limits.head_ms = 20;
    rig = rig_server_on(loop_new(), &limits);
    client_open(&client, rig);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 1);
    uint64_t late_us = clock_monotonic_us() + 2ull * limits.head_ms * 1000;
    client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (clock_monotonic_us() < late_us)
        (void)poll(NULL, 0, 1); /* the time, or a signal */
    READ_UNTIL(&client, client.in.len > 0);
    CHECK_EQ(client_count(&client, " 200 OK"), 1);
    tear_down();
}

TEST(a_pending_reply_has_no_deadline_of_the_server)
{
    set_up();
    rig->on_visit = visit_wait;
    client_send_requests(&client, 1, "");
    rig_settle(rig);
    rig_advance_ms(rig, 1000000);
    CHECK_EQ(rig->visits[0].gone_calls, 0);
    visit_reply(&rig->visits[0], "at last");
    client_settle(&client);
    CHECK_EQ(client_count(&client, "at last"), 1);
    tear_down();
}

/* --- the client's end --- */

TEST(a_client_that_half_closes_gets_what_is_answered_at_once)
{
    set_up();
    client_send_requests(&client, 100, "");
    client_shut(&client);
    READ_UNTIL(&client, client.eof);
    CHECK(client_has_in_order(&client, 100));
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

TEST(a_fin_while_a_reply_is_pending_means_gone)
{
    set_up();
    rig->on_visit = visit_wait;
    client_send_requests(&client, 1, "");
    rig_settle(rig);
    client_shut(&client);
    TURN_UNTIL(&rig->net, rig->visits[0].gone_calls == 1);
    CHECK_EQ(rig->visits[0].why, ERR_CLOSED);
    READ_UNTIL(&client, client.eof);
    CHECK_STR(client_text(&client), "");
    tear_down();
}

TEST(a_fin_right_behind_the_request_means_gone_too)
{
    set_up();
    rig->on_visit = visit_wait;
    client_send_requests(&client, 1, "");
    client_shut(&client);
    TURN_UNTIL(&rig->net, rig->visits[0].gone_calls == 1);
    CHECK_EQ(rig->visits[0].why, ERR_CLOSED);
    tear_down();
}

TEST(a_fin_in_the_middle_of_a_request_closes_silently)
{
    static const char *const beginnings[] = {
        "", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel"};
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    for (size_t i = 0; i < ARRAY_COUNT(beginnings); i++) {
        client_open(&client, rig);
        client_send_str(&client, beginnings[i]);
        rig_settle(rig);
        client_shut(&client);
        READ_UNTIL(&client, client.eof);
        CHECK_STR(client_text(&client), "");
        TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
        client_fini(&client);
    }
    CHECK_EQ(rig->visit_count, 0);
    rig_server_free(rig);
}

TEST(a_reset_while_a_reply_is_pending_means_gone)
{
    set_up();
    rig->on_visit = visit_wait;
    client_send_requests(&client, 1, "");
    rig_settle(rig);
    peer_reset(client.fd);
    client.fd = -1;
    TURN_UNTIL(&rig->net, rig->visits[0].gone_calls == 1);
    CHECK_EQ(rig->visits[0].why, ERR_CLOSED);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

static enum http_head_verdict let_go_on(struct server_rig *the_rig, struct http_conn *conn,
                                        const struct http_request *request)
{
    (void)the_rig, (void)conn, (void)request;
    return HTTP_HEAD_CONTINUE;
}

TEST(a_handler_that_does_not_listen_is_left_in_peace)
{
    set_up();
    rig->on_head = let_go_on;
    client_send_str(&client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    rig_settle(rig);
    client_shut(&client);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

static enum http_head_verdict listen_at_head(struct server_rig *the_rig, struct http_conn *conn,
                                             const struct http_request *request)
{
    (void)request;
    struct visit *visit = &the_rig->visits[the_rig->visit_count++];
    visit->rig = the_rig;
    visit->conn = conn;
    visit_listen(visit);
    return HTTP_HEAD_CONTINUE;
}

TEST(who_listens_from_the_head_on_hears_what_became_of_the_body)
{
    static const struct {
        const char *body;
        bool shut;
        uint64_t wait_ms;
        enum err why;
    } cases[] = {
        {"zz", false, 0, ERR_PROTOCOL},
        {"", false, 2000, ERR_TIMEOUT},
        {"5\r\n", true, 0, ERR_CLOSED},
        {"fffffff\r\n", false, 0, ERR_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set_up();
        rig->on_head = listen_at_head;
        client_send_str(&client,
                        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        client_send_str(&client, cases[i].body);
        if (cases[i].shut)
            client_shut(&client);
        rig_settle(rig);
        rig_advance_ms(rig, cases[i].wait_ms);
        CHECK_EQ(rig->visits[0].gone_calls, 1);
        CHECK_EQ(rig->visits[0].why, cases[i].why);
        tear_down();
    }
}

/* --- how it ends --- */

TEST(after_the_last_reply_the_clients_fin_closes_at_once)
{
    set_up();
    client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    READ_UNTIL(&client, client.eof);
    CHECK_EQ(http_server_connections(rig->server), 1);
    client_shut(&client);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    tear_down();
}

TEST(after_the_last_reply_a_client_that_stays_is_closed_after_drain_ms)
{
    set_up();
    client_send_str(&client, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    READ_UNTIL(&client, client.eof);
    rig_advance_ms(rig, 3999);
    CHECK_EQ(http_server_connections(rig->server), 1);
    rig_advance_ms(rig, 1);
    CHECK_EQ(http_server_connections(rig->server), 0);
    tear_down();
}

TEST(what_comes_behind_the_last_request_is_not_served)
{
    set_up();
    client_send_str(&client, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                             "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    READ_UNTIL(&client, client.eof);
    CHECK_STR(client_text(&client), ANSWER("close", 7, "GET /a "));
    CHECK_EQ(rig->visit_count, 1);
    tear_down();
}

TEST(http_1_0_closes_unless_it_asks_not_to)
{
    set_up();
    client_send_str(&client, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_settle(&client);
    CHECK_STR(client_text(&client), ANSWER("keep-alive", 7, "GET /a "));
    CHECK(!client.eof);
    client_send_str(&client, "GET /b HTTP/1.0\r\n\r\n");
    READ_UNTIL(&client, client.eof);
    CHECK(strstr(client_text(&client), ANSWER("close", 7, "GET /b ")));
    tear_down();
}

TEST(every_state_has_a_name)
{
    for (int state = 0; state < HTTP1_STATE_COUNT; state++)
        CHECK(strcmp(http1_state_name((enum http1_state)state), "?") != 0);
    CHECK_STR(http1_state_name(HTTP1_STATE_COUNT), "?");
}
