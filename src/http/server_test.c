/* The server as a whole: how many, how it stops. What it costs: server_cost_test.c. */
#include "http/server_rig.h"

#include "loop/thread.h"
#include "testing/test.h"

#include <sys/socket.h>

#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

enum { CLIENTS_MAX = 200 };

static struct server_rig *rig;
static struct client clients[CLIENTS_MAX];

static void open_clients(int count)
{
    for (int i = 0; i < count; i++)
        client_open(&clients[i], rig);
    rig_settle(rig);
}

static void tear_down(int count)
{
    for (int i = 0; i < count; i++)
        client_fini(&clients[i]);
    rig_server_free(rig);
}

static void set_up(int count)
{
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    open_clients(count);
}

/* --- how many --- */

TEST(the_connection_limit_is_exact)
{
    struct http_limits limits = rig_limits();
    limits.connections_max = 3;
    rig = rig_server(&limits);
    open_clients(4);
    for (int i = 0; i < 4; i++) {
        (void)client_send(&clients[i], SLICE(GET)); /* the last one may be closed already */
        client_settle(&clients[i]);
        CHECK_EQ(client_count(&clients[i], "HTTP/1.1 200 OK\r\n"), i < 3);
    }
    CHECK_STR(client_text(&clients[3]),
              "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
              "Content-Type: application/json\r\nContent-Length: 24\r\nRetry-After: 1\r\n"
              "X-Common: \r\n\r\n503 too many connections");
    CHECK(clients[3].eof);
    CHECK_EQ(http_server_stats(rig->server).over_limit, 1);
    CHECK_EQ(http_server_stats(rig->server).accepted, 4);
    tear_down(4);
}

TEST(who_was_turned_away_takes_nobodys_place)
{
    struct http_limits limits = rig_limits();
    limits.connections_max = 1;
    rig = rig_server(&limits);
    open_clients(2); /* the second lingers on */
    client_fini(&clients[0]);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 1);
    client_open(&clients[0], rig);
    client_send_str(&clients[0], GET);
    client_settle(&clients[0]);
    CHECK_EQ(client_count(&clients[0], " 200 OK"), 1);
    tear_down(2);
}

TEST(those_turned_away_are_bounded_too)
{
    struct http_limits limits = rig_limits();
    limits.connections_max = 1;
    rig = rig_server(&limits);
    open_clients(CLIENTS_MAX);
    CHECK_EQ(http_server_stats(rig->server).over_limit, CLIENTS_MAX - 1);
    CHECK_EQ(http_server_connections(rig->server), 1 + 128);
    int answered = 0;
    for (int i = 1; i < CLIENTS_MAX; i++) {
        READ_UNTIL(&clients[i], clients[i].eof || clients[i].reset);
        answered += client_count(&clients[i], " 503 ") == 1;
    }
    CHECK_EQ(answered, 128);
    tear_down(CLIENTS_MAX);
}

TEST(an_address_in_use_is_refused_with_a_sentence)
{
    struct err_note note = {""};
    struct http_limits limits = rig_limits();
    struct http_handler handler = {0};
    struct http_server *server = NULL;
    struct net_address address;
    struct loop *loop = loop_new_virtual(1);
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), 0, &address, &note));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = address.len;
    struct sockaddr *raw = (struct sockaddr *)(void *)address.storage.bytes;
    CHECK(bind(fd, raw, len) == 0 && listen(fd, 1) == 0 && getsockname(fd, raw, &len) == 0);
    CHECK_ERR(http_server_open(loop, &address, &limits, &handler, &server, &note), ERR_REFUSED);
    CHECK(server == NULL);
    CHECK(strlen(note.text) > 0);
    peer_close(fd);
    loop_free(loop);
}

static void answer_bare(void *ctx, struct http_conn *conn, const struct http_request *request)
{
    (void)ctx;
    http_conn_set_tag(conn, SLICE("tag"));
    http_conn_set_tag(conn, SLICE(""));
    http_conn_reply(conn, 200, SLICE(""), SLICE(""), request->path);
}

TEST(a_handler_needs_nothing_but_on_request)
{
    struct http_limits limits = rig_limits();
    struct http_handler handler = {.on_request = answer_bare};
    rig = rig_server(&limits);
    http_server_close(&rig->server);
    rig_settle(rig);
    CHECK_OK(http_server_open(rig->net.loop, &rig->address, &limits, &handler, &rig->server, NULL));
    open_clients(1);
    client_send_str(&clients[0], GET "bad\r\n\r\n");
    READ_UNTIL(&clients[0], clients[0].eof);
    CHECK_STR(client_text(&clients[0]),
              "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n/"
              "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    tear_down(1);
}

/* One process goes, the next one takes over its socket: between them nobody is turned away. */
TEST(a_server_on_a_socket_that_was_handed_over_answers_who_waited_there)
{
    struct http_limits limits = rig_limits();
    struct http_handler handler = {.on_request = answer_bare};
    struct err_note note = {""};
    int fd = -1;
    rig = rig_server(&limits);
    http_server_close(&rig->server);
    CHECK_ERR(http_server_adopt(rig->net.loop, -1, &limits, &handler, &rig->server, &note),
              ERR_REFUSED);
    CHECK(rig->server == NULL && strlen(note.text) > 0);
    CHECK_OK(net_listen(&rig->address, &fd, NULL));
    open_clients(1);
    client_send_str(&clients[0], GET);
    client_settle(&clients[0]);
    CHECK_STR(client_text(&clients[0]), "");
    CHECK_OK(http_server_adopt(rig->net.loop, fd, &limits, &handler, &rig->server, NULL));
    READ_UNTIL(&clients[0], client_count(&clients[0], "200 OK") == 1);
    tear_down(1);
}

TEST(default_limits_are_those_of_the_documentation)
{
    struct http_limits limits = http_limits_default();
    CHECK_EQ(limits.connections_max, 10000);
    CHECK_EQ(limits.message.head_max_bytes, 16 * 1024);
    CHECK_EQ(limits.message.fields_max, 100);
    CHECK_EQ(limits.message.body_max_bytes, 8 * 1024 * 1024);
    CHECK_EQ(limits.head_ms, 10000);
    CHECK_EQ(limits.body_ms, 30000);
    CHECK_EQ(limits.idle_ms, 75000);
    CHECK_EQ(limits.stall_ms, 30000);
    CHECK_EQ(limits.drain_ms, 30000);
    CHECK_EQ(limits.out_max_bytes, 256 * 1024);
}

/* --- drain --- */

static int drained_calls;
static void on_drained(void *ctx)
{
    struct server_rig *the_rig = ctx;
    CHECK_EQ(http_server_connections(the_rig->server), 0);
    drained_calls++;
}

static void drain(void)
{
    drained_calls = 0;
    http_server_drain(rig->server, on_drained, rig);
    CHECK_EQ(drained_calls, 0); /* from the loop, never from inside the call */
}

TEST(a_server_without_connections_is_drained_at_once)
{
    set_up(0);
    drain();
    rig_settle(rig);
    CHECK_EQ(drained_calls, 1);
    rig_settle(rig);
    CHECK_EQ(drained_calls, 1);
    tear_down(0);
}

TEST(draining_closes_the_idle_and_finishes_what_has_begun)
{
    enum { IDLE, NEW, HALF_A_BODY, WAITING, STREAMING, READING, COUNT };
    static char big[1000000];
    set_up(0);
    rig->on_visit = visit_wait;
    for (int i = 0; i < COUNT; i++)
        client_open_narrow(&clients[i], rig, i == READING ? 4096 : 0);
    client_send_str(&clients[IDLE], GET);
    client_settle(&clients[IDLE]);
    visit_reply(&rig->visits[0], "before");
    client_send_str(&clients[HALF_A_BODY],
                    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha");
    for (int i = WAITING; i <= READING; i++) {
        client_send_str(&clients[i], GET);
        client_settle(&clients[i]);
    }
    visit_begin(&rig->visits[2]);
    http_conn_reply(rig->visits[3].conn, 200, SLICE(""), SLICE(""), slice_of(big, sizeof big));
    rig_settle(rig);
    CHECK_EQ(http_server_connections(rig->server), COUNT);

    drain();
    READ_UNTIL(&clients[IDLE], clients[IDLE].eof);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == COUNT - 1);

    client_send_str(&clients[NEW], GET GET);
    client_send_str(&clients[HALF_A_BODY], "lf");
    rig_settle(rig);
    CHECK_EQ(rig->visit_count, 6);
    visit_reply(&rig->visits[1], "waited");
    CHECK_OK(http_conn_write(rig->visits[2].conn, SLICE("token")));
    visit_end(&rig->visits[2]);
    visit_reply(&rig->visits[4], "");
    visit_reply(&rig->visits[5], "");
    for (int i = NEW; i < COUNT; i++) {
        READ_UNTIL(&clients[i], clients[i].eof);
        CHECK_EQ(client_count(&clients[i], "HTTP/1.1 200 OK\r\n"), 1);
        CHECK_EQ(client_count(&clients[i], "Connection: close\r\n"),
                 i != STREAMING && i != READING);
        CHECK_EQ(drained_calls, 0);
        client_fini(&clients[i]);
    }
    TURN_UNTIL(&rig->net, drained_calls == 1);
    CHECK_EQ(rig->visit_count, 6); /* one request each, not the pipelined one */
    tear_down(1);
}

TEST(a_draining_server_takes_nobody_in)
{
    set_up(1);
    client_send_str(&clients[0], "GET");
    rig_settle(rig);
    drain();
    rig_settle(rig);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (struct sockaddr *)(void *)rig->address.storage.bytes, rig->address.len) !=
          0);
    peer_close(fd);
    tear_down(1);
}

TEST(whoever_was_connected_when_the_drain_began_is_served)
{
    set_up(0);
    for (int i = 0; i < 20; i++) { /* completed by the kernel, not yet accepted */
        client_open(&clients[i], rig);
        client_send_str(&clients[i], GET);
    }
    drain();
    for (int i = 0; i < 20; i++) {
        READ_UNTIL(&clients[i], clients[i].eof);
        CHECK_STR(client_text(&clients[i]), ANSWER("close", 6, "GET / "));
    }
    tear_down(20);
}

static void close_server(struct visit *visit)
{
    http_server_close(&visit->rig->server);
}

TEST(a_server_may_be_closed_while_it_drains)
{
    set_up(1);
    rig->on_visit = visit_wait;
    client_send_str(&clients[0], GET);
    rig_settle(rig);
    drain();
    rig_settle(rig);
    close_server(&rig->visits[0]);
    rig_settle(rig);
    CHECK_EQ(drained_calls, 0);
    tear_down(1);
}

/* --- close --- */

TEST(closing_tells_every_handler_once)
{
    set_up(10);
    rig->on_visit = visit_wait;
    for (int i = 0; i < 10; i++)
        client_send_str(&clients[i], GET);
    rig_settle(rig);
    visit_begin(&rig->visits[3]);
    visit_reply(&rig->visits[4], "whole");
    http_server_close(&rig->server);
    CHECK(rig->server == NULL);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(rig->visits[i].gone_calls, i != 4);
        CHECK(i == 4 || rig->visits[i].why == ERR_CANCELLED);
    }
    rig_settle(rig);
    tear_down(10);
}

static void close_inside_request(struct visit *visit, const struct http_request *request)
{
    visit_listen(visit);
    close_server(visit);
    CHECK_EQ(visit->gone_calls, 1);
    CHECK_SLICE(request->path, "/"); /* lent until the callback returns, whatever happens */
}

TEST(a_server_may_be_closed_inside_a_request)
{
    set_up(3);
    rig->on_visit = close_inside_request;
    client_send_str(&clients[0], GET GET);
    rig_settle(rig);
    CHECK_EQ(rig->visit_count, 1);
    tear_down(3);
}

/* Who does not listen cannot know. */
static void close_and_reply(struct visit *visit, const struct http_request *request)
{
    (void)request;
    struct http_conn *conn = visit->conn;
    visit->conn = NULL;
    close_server(visit);
    CHECK_EQ(http_conn_room(conn), 0);
    http_conn_reply(conn, 200, SLICE(""), SLICE(""), SLICE("nobody hears it"));
}

static void close_and_stream(struct visit *visit, const struct http_request *request)
{
    (void)request;
    struct http_conn *conn = visit->conn;
    visit->conn = NULL;
    close_server(visit);
    http_conn_begin(conn, 200, SLICE(""), SLICE(""));
    CHECK_ERR(http_conn_write(conn, SLICE("nobody hears it")), ERR_CLOSED);
    http_conn_end(conn);
}

TEST(a_reply_to_a_connection_that_was_just_closed_is_harmless)
{
    for (int streams = 0; streams < 2; streams++) {
        set_up(1);
        rig->on_visit = streams ? close_and_stream : close_and_reply;
        client_send_str(&clients[0], GET);
        READ_UNTIL(&clients[0], clients[0].eof || clients[0].reset);
        CHECK_EQ(clients[0].in.len, 0);
        tear_down(1);
    }
}

static enum http_head_verdict close_inside_head(struct server_rig *the_rig, struct http_conn *conn,
                                                const struct http_request *request)
{
    (void)conn, (void)request;
    http_server_close(&the_rig->server);
    return HTTP_HEAD_CONTINUE;
}

TEST(a_server_may_be_closed_inside_a_head)
{
    set_up(1);
    rig->on_head = close_inside_head;
    client_send_str(&clients[0], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    rig_settle(rig);
    CHECK_EQ(rig->visit_count, 0);
    tear_down(1);
}

static void close_inside_error(struct server_rig *the_rig)
{
    http_server_close(&the_rig->server);
}

TEST(a_server_may_be_closed_while_it_refuses)
{
    set_up(1);
    rig->on_error_body = close_inside_error;
    client_send_str(&clients[0], "bad\r\n\r\n");
    rig_settle(rig);
    CHECK(rig->server == NULL);
    tear_down(1);
}

TEST(a_server_may_be_closed_inside_on_gone_on_sent_and_on_room)
{
    for (int place = 0; place < 3; place++) {
        static char bytes[60000];
        set_up(2);
        rig->on_visit = visit_wait;
        client_send_str(&clients[0], GET);
        client_send_str(&clients[1], GET);
        rig_settle(rig);
        struct visit *visit = &rig->visits[0];
        visit->on_gone = place == 0 ? close_server : NULL;
        visit->on_sent = place == 1 ? close_server : NULL;
        visit->on_room = place == 2 ? close_server : NULL;
        if (place == 0) {
            client_shut(&clients[0]);
            client_shut(&clients[1]);
        } else {
            visit_begin(visit);
            CHECK_OK(http_conn_write(visit->conn, slice_of(bytes, sizeof bytes)));
        }
        TURN_UNTIL(&rig->net, rig->server == NULL);
        CHECK_EQ(visit->gone_calls, 1);
        CHECK_EQ(rig->visits[1].gone_calls, 1);
        tear_down(2);
    }
}

/* --- for real: a loop that sleeps, in a thread of its own --- */

static void run_loop(void *ctx)
{
    loop_run(ctx);
}

static void ask_for_real(int fd)
{
    char answer[512];
    size_t len = 0;
    peer_send(fd, SLICE("GET /real HTTP/1.1\r\nHost: x\r\n\r\n"));
    while (!slice_ends_with(slice_of(answer, len), SLICE("GET /real "))) {
        CHECK(len < sizeof answer);
        long got = peer_recv(fd, answer + len, sizeof answer - len);
        CHECK(got > 0);
        len += (size_t)got;
    }
}

TEST(a_real_loop_serves_from_its_own_thread)
{
    struct http_limits limits = rig_limits();
    struct thread *thread;
    int fds[20];
    rig = rig_server_on(loop_new(), &limits);
    CHECK_OK(thread_start("http-test", run_loop, rig->net.loop, &thread));
    for (int i = 0; i < 20; i++)
        fds[i] = peer_connect(&rig->address, 0);
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < 20; i++)
            ask_for_real(fds[i]);
    for (int i = 0; i < 20; i++)
        peer_close(fds[i]);
    loop_stop(rig->net.loop);
    thread_join(&thread);
    CHECK_EQ(rig->visit_count, 100);
    CHECK_EQ(http_server_stats(rig->server).requests, 100);
    rig_server_free(rig);
}
