/* exchange_test - connections that are kept, lost, left and replaced, against a server's end of
 * them that the test holds in its hands. */
#include "exchange.h"

#include "base/clock.h"
#include "testing/test.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
#define HEAD    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 24\r\n\r\n"
#define EVENT   "data: {}\n\n"
#define DONE    "data: [DONE]\n\n"

enum { WAIT_MS = 60 * 1000 }; /* for what must come */

struct rig {
    int listener;
    struct exchange_loop loop;
    struct exchange exchange;
    uint32_t heads, events, ends, ticks;
    bool leaves; /* at its first event */
};

static void on_head(struct exchange *exchange)
{
    struct rig *rig = exchange->ctx;
    rig->heads++;
}

static void on_events(struct exchange *exchange, uint32_t count)
{
    struct rig *rig = exchange->ctx;
    rig->events += count;
    if (rig->leaves)
        exchange_leave(exchange);
}

static void on_end(struct exchange *exchange)
{
    struct rig *rig = exchange->ctx;
    rig->ends++;
}

static const struct exchange_events rig_events = {
    .on_head = on_head, .on_events = on_events, .on_end = on_end};

static void rig_init(struct rig *rig, uint64_t timeout_us)
{
    struct net_address address;
    struct err_note note;
    struct sockaddr_in bound = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof bound;
    *rig = (struct rig){.exchange = {.events = &rig_events, .ctx = rig}};
    rig->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(rig->listener >= 0);
    CHECK_EQ(bind(rig->listener, (const void *)&bound, sizeof bound), 0);
    CHECK_EQ(listen(rig->listener, 16), 0);
    CHECK_EQ(getsockname(rig->listener, (void *)&bound, &len), 0);
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), ntohs(bound.sin_port), &address, &note));
    CHECK_OK(exchange_loop_init(&rig->loop, &address, timeout_us, &note));
    exchange_init(&rig->loop, &rig->exchange);
}

static void rig_fini(struct rig *rig)
{
    exchange_fini(&rig->exchange);
    CHECK_EQ(rig->loop.running, 0);
    CHECK_EQ(rig->loop.connecting, 0);
    exchange_loop_fini(&rig->loop);
    if (rig->listener >= 0)
        (void)close(rig->listener); /* nothing can be lost with it */
}

static void start(struct rig *rig)
{
    exchange_start(&rig->exchange, SLICE(REQUEST), ANSWER_OF_EVENTS, clock_monotonic_us());
}

/* Turns until `count` is `wanted`. */
static void turn_until(struct rig *rig, const uint32_t *count, uint32_t wanted)
{
    uint64_t until_us = clock_monotonic_us() + WAIT_MS * UINT64_C(1000);
    while (*count != wanted && clock_monotonic_us() < until_us)
        exchange_loop_turn(&rig->loop, until_us);
    CHECK_EQ(*count, wanted);
}

static void turn_until_connected(struct rig *rig)
{
    turn_until(rig, &rig->loop.connecting, 0);
}

/* The server's end of the next connection. */
static int accept_one(struct rig *rig)
{
    struct pollfd ready = {.fd = rig->listener, .events = POLLIN};
    CHECK_EQ(poll(&ready, 1, WAIT_MS), 1);
    int fd = accept4(rig->listener, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static void expect_request(int fd)
{
    char got[sizeof REQUEST];
    CHECK_EQ(recv(fd, got, sizeof REQUEST - 1, MSG_WAITALL), sizeof REQUEST - 1);
    CHECK_SLICE(slice_of(got, sizeof REQUEST - 1), REQUEST);
}

static void say(int fd, const char *bytes)
{
    CHECK_EQ(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

TEST(one_connection_carries_one_exchange_after_the_other)
{
    struct rig rig;
    rig_init(&rig, 0);
    int fd = -1;
    for (uint32_t n = 1; n <= 3; n++) {
        start(&rig);
        turn_until_connected(&rig);
        fd = fd < 0 ? accept_one(&rig) : fd;
        expect_request(fd);
        say(fd, HEAD EVENT DONE);
        turn_until(&rig, &rig.ends, n);
        CHECK_EQ(rig.exchange.answer.state, ANSWER_WHOLE);
        CHECK_EQ(rig.events, 2 * n);
        CHECK_EQ(rig.heads, n);
    }
    CHECK_EQ(rig.loop.connections, 1);
    CHECK(exchange_is_open(&rig.exchange));
    (void)close(fd); /* the test is over */
    rig_fini(&rig);
}

TEST(a_connection_that_was_closed_between_two_exchanges_is_replaced)
{
    struct rig rig;
    rig_init(&rig, 0);
    start(&rig);
    turn_until_connected(&rig);
    int fd = accept_one(&rig);
    expect_request(fd);
    say(fd, HEAD EVENT DONE);
    turn_until(&rig, &rig.ends, 1);
    (void)close(fd); /* the loop has not seen it when the next one starts */
    start(&rig);
    while (rig.loop.connections < 2)
        exchange_loop_turn(&rig.loop, UINT64_MAX);
    turn_until_connected(&rig);
    fd = accept_one(&rig);
    expect_request(fd);
    say(fd, HEAD EVENT DONE);
    turn_until(&rig, &rig.ends, 2);
    CHECK_EQ(rig.exchange.answer.state, ANSWER_WHOLE);
    (void)close(fd); /* the test is over */
    rig_fini(&rig);
}

TEST(a_connection_that_is_closed_in_an_answer_is_not_replaced)
{
    struct rig rig;
    rig_init(&rig, 0);
    start(&rig);
    turn_until_connected(&rig);
    int fd = accept_one(&rig);
    expect_request(fd);
    say(fd, HEAD EVENT DONE);
    turn_until(&rig, &rig.ends, 1);
    start(&rig);
    expect_request(fd);
    say(fd, "H");
    (void)close(fd); /* the lie of this test */
    turn_until(&rig, &rig.ends, 2);
    CHECK_EQ(rig.exchange.answer.state, ANSWER_WRONG);
    CHECK_STR(rig.exchange.answer.problem, "the connection ended in the head");
    CHECK_EQ(rig.loop.connections, 1);
    rig_fini(&rig);
}

TEST(an_answer_and_the_end_of_its_connection_may_come_together)
{
    struct rig rig;
    rig_init(&rig, 0);
    for (uint32_t n = 1; n <= 2; n++) {
        start(&rig);
        turn_until_connected(&rig);
        int fd = accept_one(&rig);
        expect_request(fd);
        say(fd, HEAD EVENT DONE);
        (void)close(fd); /* at once */
        turn_until(&rig, &rig.ends, n);
        CHECK_EQ(rig.exchange.answer.state, ANSWER_WHOLE);
        CHECK_EQ(rig.loop.connections, n);
    }
    rig_fini(&rig);
}

TEST(who_leaves_at_an_event_hears_no_more_and_the_server_sees_it)
{
    struct rig rig;
    char byte;
    rig_init(&rig, 0);
    rig.leaves = true;
    start(&rig);
    turn_until_connected(&rig);
    int fd = accept_one(&rig);
    expect_request(fd);
    say(fd, HEAD EVENT);
    turn_until(&rig, &rig.events, 1);
    CHECK_EQ(recv(fd, &byte, 1, 0), 0);
    CHECK_EQ(rig.ends, 0);
    CHECK(!rig.exchange.is_running);
    CHECK(!exchange_is_open(&rig.exchange));
    (void)close(fd); /* the test is over */
    rig_fini(&rig);
}

TEST(a_start_that_fails_ends_in_a_turn_not_in_the_start)
{
    struct rig rig;
    rig_init(&rig, 0);
    (void)close(rig.listener); /* nobody is there */
    rig.listener = -1;
    for (uint32_t n = 1; n <= 2; n++) {
        start(&rig);
        CHECK_EQ(rig.ends, n - 1);
        turn_until(&rig, &rig.ends, n);
        CHECK_EQ(rig.exchange.answer.state, ANSWER_WRONG);
        CHECK(slice_find(slice_str(rig.exchange.answer.problem), SLICE("Connection refused")) !=
              SLICE_NPOS);
    }
    rig_fini(&rig);
}

TEST(what_takes_too_long_is_wrong_unless_it_is_held)
{
    struct rig rig;
    struct exchange held = {.events = &rig_events, .ctx = &rig};
    rig_init(&rig, 1000);
    exchange_init(&rig.loop, &held);
    exchange_start(&held, SLICE(REQUEST), ANSWER_OF_EVENTS, clock_monotonic_us());
    exchange_hold(&held);
    start(&rig);
    turn_until(&rig, &rig.ends, 1);
    CHECK_EQ(rig.exchange.answer.state, ANSWER_WRONG);
    CHECK_STR(rig.exchange.answer.problem, "not over after 0.001 s");
    CHECK(held.is_running);
    exchange_fini(&held);
    rig_fini(&rig);
}

TEST(a_paced_exchange_is_read_as_it_is_told)
{
    struct rig rig;
    struct exchange other = {.events = &rig_events, .ctx = &rig};
    rig_init(&rig, 0);
    rig.exchange.is_paced = true;
    start(&rig);
    turn_until_connected(&rig);
    int fd = accept_one(&rig);
    expect_request(fd);
    say(fd, HEAD EVENT DONE);
    exchange_init(&rig.loop, &other); /* one that is not paced shows that there were turns */
    exchange_start(&other, SLICE(REQUEST), ANSWER_OF_EVENTS, clock_monotonic_us());
    turn_until_connected(&rig);
    int other_fd = accept_one(&rig);
    expect_request(other_fd);
    say(other_fd, HEAD EVENT DONE);
    turn_until(&rig, &rig.ends, 1);
    CHECK_EQ(rig.exchange.answer.events, 0);
    for (size_t i = 1; i < sizeof(HEAD EVENT DONE) - 1; i++)
        exchange_read(&rig.exchange, 1);
    CHECK_EQ(rig.exchange.answer.events, 1);
    CHECK(rig.exchange.is_running);
    exchange_read(&rig.exchange, 1);
    CHECK_EQ(rig.exchange.answer.state, ANSWER_WHOLE);
    CHECK_EQ(rig.ends, 2);
    exchange_fini(&other);
    (void)close(fd); /* the test is over */
    (void)close(other_fd);
    rig_fini(&rig);
}

static void on_tick(void *ctx)
{
    struct rig *rig = ctx;
    rig->ticks++;
}

TEST(the_tick_comes_until_it_is_taken_back)
{
    struct rig rig;
    rig_init(&rig, 0);
    exchange_loop_every(&rig.loop, 100, on_tick, &rig);
    turn_until(&rig, &rig.ticks, 3);
    exchange_loop_every(&rig.loop, 0, NULL, NULL);
    exchange_loop_turn(&rig.loop, clock_monotonic_us() + 1000);
    CHECK_EQ(rig.ticks, 3);
    rig_fini(&rig);
}
