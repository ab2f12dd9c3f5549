/* What the server costs, what it does without memory, and whatever else clients and handlers do. */
#include "http/server_rig.h"

#include "base/mem.h"
#include "testing/heap.h"
#include "testing/test.h"

#include <stdio.h>
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

/* --- what it costs --- */

enum { IDLE_BUDGET_BYTES = 1536, STREAM_BUDGET_BYTES = 1536 };

static size_t cost_of_each(size_t before, int count)
{
    for (int i = 0; i <= count; i++)
        text_fini(&clients[i].in); /* the client's own memory is not the server's */
    return (heap_bytes() - before) / (size_t)count;
}

TEST(an_idle_connection_fits_its_budget)
{
    enum { COUNT = 90 };
    set_up(1);
    size_t before = heap_bytes();
    for (int i = 1; i <= COUNT; i++) {
        client_open(&clients[i], rig);
        client_send_str(&clients[i], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
        READ_UNTIL(&clients[i], client_count(&clients[i], "body") == 1);
        rig_settle(rig);
        text_fini(&rig->visits[i - 1].body);
    }
    size_t each = cost_of_each(before, COUNT);
    printf("idle connection: %zu bytes\n", each);
    CHECK(each <= IDLE_BUDGET_BYTES);
    tear_down(COUNT + 1);
}

TEST(a_streaming_connection_holds_no_head_and_no_body)
{
    enum { COUNT = 90 };
    static char body[100000];
    set_up(1);
    rig->on_visit = visit_wait;
    size_t before = heap_bytes();
    for (int i = 1; i <= COUNT; i++) {
        client_open(&clients[i], rig);
        client_send_str(&clients[i],
                        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
        CHECK(client_send(&clients[i], slice_of(body, sizeof body)));
        TURN_UNTIL(&rig->net, rig->visit_count == i);
        struct visit *visit = &rig->visits[i - 1];
        visit_begin(visit);
        CHECK_OK(http_conn_write(visit->conn, SLICE("token")));
        rig_settle(rig);
        text_fini(&visit->body);
    }
    size_t each = cost_of_each(before, COUNT);
    printf("streaming connection: %zu bytes\n", each);
    CHECK(each <= STREAM_BUDGET_BYTES);
    tear_down(COUNT + 1);
}

TEST(a_body_that_is_announced_costs_nothing_before_it_comes)
{
    set_up(1);
    size_t before = heap_bytes();
    client_send_str(&clients[0], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    rig_settle(rig);
    CHECK(heap_bytes() - before < 2048);
    static char piece[10000];
    CHECK(client_send(&clients[0], slice_of(piece, sizeof piece)));
    rig_settle(rig);
    CHECK(heap_bytes() - before < 40000); /* the body, doubled at most, and what was read at once */
    tear_down(1);
}

/* --- without memory --- */

/* A bit of everything. Whatever fails, a handler that waits is told or may go on. */
static void live_a_little(void)
{
    static char body[30000];
    rig->visit_count = 0;
    rig->on_visit = visit_wait;
    client_open(&clients[0], rig);
    client_open(&clients[1], rig);
    (void)client_send(&clients[0], SLICE("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                                         "Transfer-Encoding: chunked\r\n\r\n"));
    rig_settle(rig);
    (void)client_send(&clients[0], SLICE("7530\r\n"));
    (void)client_send(&clients[0], slice_of(body, sizeof body));
    (void)client_send(&clients[0], SLICE("\r\n0\r\n\r\n" GET));
    (void)client_send(&clients[1], SLICE("bad\r\n\r\n"));
    rig_settle(rig);
    struct visit *visit = &rig->visits[0];
    if (rig->visit_count > 0 && visit->conn) {
        visit_begin(visit);
        for (int i = 0; i < 5; i++)
            if (visit->conn && http_conn_write(visit->conn, slice_of(body, 7000)) == ERR_OK)
                rig_settle(rig);
        rig_settle(rig);
        if (visit->conn)
            visit_end(visit);
    }
    rig_settle(rig);
    if (rig->visit_count > 1 && rig->visits[1].conn)
        visit_reply(&rig->visits[1], "second");
    rig_settle(rig);
}

static void check_nobody_is_left(void)
{
    client_fini(&clients[0]);
    client_fini(&clients[1]);
    TURN_UNTIL(&rig->net, http_server_connections(rig->server) == 0);
    for (int i = 0; i < rig->visit_count; i++) {
        CHECK(rig->visits[i].conn == NULL);
        CHECK(rig->visits[i].gone_calls <= 1);
        text_fini(&rig->visits[i].body);
        rig->visits[i] = (struct visit){0};
    }
}

/* On a server of its own: the first reply of a server needs memory that later ones find. */
static uint64_t live_with_failure(uint64_t nth)
{
    set_up(0);
    mem_test_fail_nth(nth);
    uint64_t before = mem_peer_count();
    live_a_little();
    uint64_t count = mem_peer_count() - before;
    mem_test_fail_nth(0);
    check_nobody_is_left();
    rig->on_visit = NULL;
    client_open(&clients[0], rig);
    client_open(&clients[1], rig);
    client_send_str(&clients[0], GET);
    client_settle(&clients[0]);
    CHECK_EQ(client_count(&clients[0], " 200 OK"), 1);
    check_nobody_is_left();
    tear_down(0);
    return count;
}

TEST(any_allocation_that_fails_costs_at_most_its_connection)
{
    uint64_t count = live_with_failure(0);
    CHECK(count > 20);
    for (uint64_t nth = 1; nth <= count; nth++)
        (void)live_with_failure(nth); /* a run that fails makes fewer */
}

TEST(without_memory_for_a_body_the_answer_is_503)
{
    static char body[5000];
    set_up(1);
    client_send_str(&clients[0], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n");
    rig_settle(rig);
    CHECK(client_send(&clients[0], slice_of(body, sizeof body)));
    mem_test_fail_nth(2); /* the first is the input's, the second the body's */
    rig_settle(rig);
    mem_test_fail_nth(0);
    READ_UNTIL(&clients[0], clients[0].eof);
    CHECK_EQ(client_count(&clients[0], " 503 Service Unavailable\r\n"), 1);
    tear_down(1);
}

/* --- anything goes --- */

static uint64_t seed;
static uint64_t pick(uint64_t count)
{
    return test_random(&seed) % count;
}

static void act(struct visit *visit)
{
    static char bytes[20000];
    if (!visit->conn)
        return;
    switch (http_conn_is_begun(visit->conn) ? pick(4) : 4 + pick(3)) {
    case 0:
    case 1:
        (void)http_conn_write(visit->conn, slice_of(bytes, pick(sizeof bytes))); /* may be full */
        break;
    case 2:
        visit_end(visit);
        break;
    case 4:
        visit_begin(visit);
        break;
    case 5:
        visit_reply(visit, "answer");
        break;
    default:
        if (pick(4) == 0) {
            struct http_conn *conn = visit->conn;
            visit->conn = NULL;
            http_conn_break(conn);
        }
        break;
    }
}

static void act_at_once(struct visit *visit, const struct http_request *request)
{
    (void)request; /* the seed decides */
    visit_listen(visit);
    act(visit);
}

static void move_client(struct client *client)
{
    static const char *const pieces[] = {
        GET,
        GET GET GET,
        "GET / HT",
        "TP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
        "0123456789",
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "bad\r\n\r\n",
    };
    switch (pick(12)) {
    case 0:
        client_fini(client);
        client_open_narrow(client, rig, 4096);
        break;
    case 1:
        if (!client->eof && !client->reset)
            (void)shutdown(client->fd, SHUT_WR); /* fails when reset, of which we did not read */
        break;
    case 2:
    case 3:
    case 4:
        client_read_some(client, pick(10000));
        break;
    default:
        (void)client_send(client,
                          slice_str(pieces[pick(ARRAY_COUNT(pieces))])); /* it may be gone */
        break;
    }
}

static void ignore_drained(void *ctx)
{
    (void)ctx; /* whether the drain or the close behind it comes first is part of the game */
}

static void walk(uint64_t the_seed)
{
    struct http_limits limits = rig_limits();
    limits.connections_max = 4;
    seed = the_seed;
    rig = rig_server(&limits);
    rig->on_visit = act_at_once;
    open_clients(5);
    for (int step = 0; step < 150; step++) {
        move_client(&clients[pick(5)]);
        for (int turns = (int)pick(3); turns > 0; turns--)
            (void)loop_turn(rig->net.loop, false);
        if (rig->visit_count > 0)
            act(&rig->visits[pick((uint64_t)rig->visit_count)]);
        if (pick(20) == 0)
            rig_advance_ms(rig, pick(3000));
    }
    if (pick(2) == 0) {
        http_server_drain(rig->server, ignore_drained, rig);
        rig_settle(rig);
    }
    http_server_close(&rig->server);
    rig_settle(rig);
    for (int i = 0; i < rig->visit_count; i++) { /* ended, broken or told: exactly one of them */
        bool is_right = rig->visits[i].conn == NULL && rig->visits[i].gone_calls <= 1;
        CHECK_EQ(is_right ? 0 : the_seed, 0); /* shows the seed */
    }
    tear_down(5);
}

TEST(whatever_clients_and_handlers_do_every_handler_is_let_go_once)
{
    for (uint64_t the_seed = 1; the_seed <= 150; the_seed++)
        walk(the_seed);
}
