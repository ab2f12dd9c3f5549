/* Listeners and connects: who is accepted, who is refused, and what happens without descriptors. */
#include "net/rig.h"
#include "net/socket.h"
#include "testing/test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { KIB = 1024, MANY = 100 };

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    CHECK_EQ(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

TEST(accepted_sockets_have_the_options_that_make_backpressure_act)
{
    struct rig rig;
    rig_open(&rig, loop_new(), 64 * KIB);
    int peer = peer_connect(&rig.address, 0);
    TURN_UNTIL(&rig, rig.accepted == 1);
    int fd = rig_descriptor(peer);
    CHECK_EQ(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    CHECK_EQ(option_of(fd, SOL_SOCKET, SO_SNDBUF),
             2 * 64 * KIB); /* socket(7): it tells the double */
    CHECK_EQ(option_of(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 16 * KIB);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_stream_knows_its_peer)
{
    struct rig rig;
    char expected[64];
    struct net_address name;
    rig_open(&rig, loop_new(), 64 * KIB);
    int peer = peer_connect(&rig.address, 0);
    TURN_UNTIL(&rig, rig.accepted == 1);
    CHECK_OK(socket_name(peer, &name));
    net_address_format(&name, expected);
    CHECK_STR(stream_peer(rig.ends[0].stream), expected);
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_turn_accepts_a_bounded_number)
{
    struct rig rig;
    int peers[MANY];
    rig_open(&rig, loop_new(), 64 * KIB);
    for (int i = 0; i < MANY; i++)
        peers[i] = peer_connect(&rig.address, 0);
    CHECK(loop_turn(rig.loop, true));
    CHECK_EQ(rig.accepted, 64);
    CHECK(loop_turn(rig.loop, true));
    CHECK_EQ(rig.accepted, MANY);
    for (int i = 0; i < MANY; i++)
        peer_close(peers[i]);
    rig_close(&rig);
}

static void count_and_close(void *ctx, struct stream *stream)
{
    int *count = ctx;
    ++*count;
    stream_close(stream);
}

TEST(two_listeners_share_an_address)
{
    struct rig rig;
    struct listener *second;
    int peers[MANY], taken = 0;
    rig_open(&rig, loop_new(), 64 * KIB);
    CHECK_OK(listener_open(rig.loop, &rig.address, &rig.options, count_and_close, &taken, &second,
                           NULL));
    for (int i = 0; i < MANY; i++)
        peers[i] = peer_connect(&rig.address, 0);
    TURN_UNTIL(&rig, rig.accepted + taken == MANY);
    CHECK(rig.accepted > 0); /* by hash of the addresses: all on one side is 1 in 2^99 */
    CHECK(taken > 0);
    for (int i = 0; i < MANY; i++)
        peer_close(peers[i]);
    listener_close(&second);
    rig_close(&rig);
}

/* --- closing --- */

TEST(closing_a_listener_takes_whoever_is_already_connected)
{
    struct rig rig;
    int peers[MANY];
    char bytes[8];
    rig_open(&rig, loop_new(), 64 * KIB);
    for (int i = 0; i < MANY; i++)
        peers[i] = peer_connect(&rig.address, 0);
    listener_close(&rig.listener);
    CHECK(rig.listener == NULL);
    CHECK_EQ(rig.accepted, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_OK(stream_write(rig.ends[i].stream, SLICE("served")));
    for (int i = 0; i < MANY; i++) {
        TURN_UNTIL(&rig, stream_sent(rig.ends[i].stream) == 6);
        CHECK_EQ(peer_recv(peers[i], bytes, sizeof(bytes)), 6);
        peer_close(peers[i]);
    }
    rig_close(&rig);
}

static void close_listener(struct rig *rig)
{
    listener_close(&rig->listener);
}

TEST(a_listener_may_be_closed_inside_on_accept_and_takes_the_rest_first)
{
    struct rig rig;
    int peers[10];
    rig_open(&rig, loop_new(), 64 * KIB);
    rig.on_accepted = close_listener;
    for (int i = 0; i < 10; i++)
        peers[i] = peer_connect(&rig.address, 0);
    TURN_UNTIL(&rig, rig.accepted > 0);
    CHECK_EQ(rig.accepted, 10);
    CHECK(rig_is_quiet(&rig));
    for (int i = 0; i < 10; i++)
        peer_close(peers[i]);
    rig_close(&rig);
}

TEST(a_closed_listener_refuses_connections)
{
    struct rig rig;
    rig_open(&rig, loop_new(), 64 * KIB);
    listener_close(&rig.listener);
    listener_close(&rig.listener); /* NULL is fine */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, address_raw(&rig.address), rig.address.len) != 0);
    CHECK_EQ(errno, ECONNREFUSED);
    CHECK_EQ(close(fd), 0);
    rig_close(&rig);
}

/* --- sockets that are handed over --- */

struct outcome {
    int calls;
    struct stream *stream;
    enum err why;
};

static void on_connect(void *ctx, struct stream *stream, enum err why)
{
    struct outcome *outcome = ctx;
    *outcome = (struct outcome){outcome->calls + 1, stream, why};
}

struct taker { /* the ctx of a listener that closes what it takes */
    struct listener *listener;
    int taken;
};

static void adopt(struct rig *rig, int fd, struct taker *out_taker)
{
    *out_taker = (struct taker){0};
    CHECK_OK(listener_adopt(rig->loop, fd, &rig->options, count_and_close, &out_taker->taken,
                            &out_taker->listener, NULL));
}

/* The rig without its listener, and a socket that listens in its place. */
static int open_handed_over(struct rig *rig)
{
    int fd;
    rig_open(rig, loop_new(), 64 * KIB);
    listener_close(&rig->listener);
    CHECK_OK(net_listen(&rig->address, &fd, NULL));
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    return fd;
}

TEST(who_connects_while_nobody_accepts_is_taken_by_the_next_to_adopt_the_socket)
{
    struct rig rig;
    struct taker first, second;
    int fd = open_handed_over(&rig), copy = dup(fd), peers[3];
    char byte;
    peers[0] = peer_connect(&rig.address, 0);
    CHECK(rig_is_quiet(&rig));
    adopt(&rig, fd, &first);
    TURN_UNTIL(&rig, first.taken == 1);
    peers[1] = peer_connect(&rig.address, 0);
    listener_close(&first.listener);
    CHECK_EQ(first.taken, 2); /* it was there before the close: nobody is left behind */
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    peers[2] = peer_connect(&rig.address, 0);
    CHECK(rig_is_quiet(&rig)); /* the closed one is not told of what waits at the copy */
    CHECK_EQ(first.taken, 2);
    CHECK_EQ(peer_recv_now(peers[2], &byte, 1), -EAGAIN);
    adopt(&rig, copy, &second);
    TURN_UNTIL(&rig, second.taken == 1);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(peer_recv(peers[i], &byte, 1), 0);
        peer_close(peers[i]);
    }
    listener_close(&second.listener);
    rig_close(&rig);
}

TEST(without_a_copy_the_closed_socket_refuses)
{
    struct rig rig;
    struct taker taker;
    struct outcome outcome = {0};
    int fd = open_handed_over(&rig);
    adopt(&rig, fd, &taker);
    listener_close(&taker.listener);
    enum err err = net_connect(rig.loop, &rig.address, &rig.options, on_connect, &outcome);
    if (err == ERR_OK) {
        TURN_UNTIL(&rig, outcome.calls == 1);
        err = outcome.why;
    }
    CHECK_ERR(err, ERR_REFUSED);
    rig_close(&rig);
}

TEST(an_adopted_socket_of_any_making_gives_connections_the_same_options)
{
    struct rig rig;
    int fd = open_handed_over(&rig);
    CHECK_EQ(fcntl(fd, F_SETFL, 0), 0); /* as a service manager may hand it over */
    CHECK_EQ(fcntl(fd, F_SETFD, 0), 0);
    CHECK_EQ(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){0}, sizeof(int)), 0);
    struct taker taker;
    adopt(&rig, fd, &taker);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    CHECK_EQ(option_of(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 16 * KIB);
    listener_close(&taker.listener);
    rig_close(&rig);
}

static bool is_refused(struct rig *rig, int fd, const char *sentence)
{
    struct err_note note = {""};
    struct listener *listener = NULL;
    int count = 0;
    enum err err =
        listener_adopt(rig->loop, fd, &rig->options, count_and_close, &count, &listener, &note);
    if (err == ERR_REFUSED && !listener && strstr(note.text, sentence))
        return true;
    fprintf(stderr, "%s: %s\n", err_name(err), note.text);
    return false;
}

TEST(what_is_not_a_listening_tcp_socket_is_refused_with_a_sentence_and_left_open)
{
    struct rig rig;
    int fd = open_handed_over(&rig), pair[2];
    int bound = -1, file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_OK(socket_bound(&rig.address, SOCKET_SHARED, &bound, NULL));
    size_t descriptors = open_descriptors();
    CHECK(is_refused(&rig, -1, "descriptor -1 is not open"));
    CHECK(is_refused(&rig, 1 << 20, "descriptor 1048576 is not open"));
    CHECK(is_refused(&rig, file, "is not a TCP socket"));
    CHECK(is_refused(&rig, pair[0], "is not a TCP socket"));
    CHECK(is_refused(&rig, datagram, "is not a TCP socket"));
    CHECK(is_refused(&rig, bound, "is a TCP socket that does not listen"));
    CHECK_EQ(open_descriptors(), descriptors);
    CHECK(close(file) == 0 && close(pair[0]) == 0 && close(pair[1]) == 0);
    CHECK(close(datagram) == 0 && close(bound) == 0 && close(fd) == 0);
    rig_close(&rig);
}

/* --- addresses that cannot be served --- */

TEST(listening_where_another_program_listens_is_refused_with_a_sentence)
{
    struct rig rig;
    struct err_note note = {""};
    struct net_address any;
    struct listener *listener;
    int other, count = 0;
    rig_open(&rig, loop_new(), 64 * KIB);
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), 0, &any, NULL));
    CHECK_OK(socket_bound(&any, SOCKET_ALONE, &other, NULL));
    CHECK_EQ(listen(other, 1), 0);
    CHECK_OK(socket_name(other, &any));
    CHECK_ERR(
        listener_open(rig.loop, &any, &rig.options, count_and_close, &count, &listener, &note),
        ERR_REFUSED);
    CHECK(strstr(note.text, "in use by another program") != NULL);
    CHECK_EQ(close(other), 0);
    rig_close(&rig);
}

TEST(listening_on_somebody_elses_address_fails_with_a_sentence)
{
    struct rig rig;
    struct err_note note = {""};
    struct net_address foreign;
    struct listener *listener;
    int count = 0;
    rig_open(&rig, loop_new(), 64 * KIB);
    CHECK_OK(net_address_parse(SLICE("192.0.2.1"), 0, &foreign, NULL)); /* RFC 5737: nobody's */
    CHECK_ERR(
        listener_open(rig.loop, &foreign, &rig.options, count_and_close, &count, &listener, &note),
        ERR_SYSTEM);
    CHECK_STR(note.text, "192.0.2.1:0: this machine has no such address");
    rig_close(&rig);
}

TEST(an_ipv6_wildcard_takes_ipv4_too)
{
    struct rig rig;
    struct net_address wild, four;
    struct net_claim *claim;
    struct listener *listener;
    int count = 0;
    CHECK_OK(net_address_parse(SLICE("::"), 0, &wild, NULL));
    if (net_claim_port(&wild, "/tmp", &claim, NULL) != ERR_OK)
        SKIP("this machine has no IPv6");
    rig_open(&rig, loop_new(), 64 * KIB);
    CHECK_OK(
        listener_open(rig.loop, &wild, &rig.options, count_and_close, &count, &listener, NULL));
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), net_address_port(&wild), &four, NULL));
    int peer = peer_connect(&four, 0);
    TURN_UNTIL(&rig, count == 1);
    peer_close(peer);
    listener_close(&listener);
    net_claim_release(claim);
    rig_close(&rig);
}

/* --- no descriptors left --- */

static struct rlimit real_limit;

/* No descriptor numbered `first_free` or above can be opened; below there is none free. */
static void limit_descriptors(int first_free)
{
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &real_limit), 0);
    struct rlimit low = {.rlim_cur = (rlim_t)first_free, .rlim_max = real_limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
}

static void restore_descriptors(void)
{
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &real_limit), 0);
}

static int first_free_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(close(fd), 0);
    return fd;
}

TEST(without_descriptors_a_connection_is_closed_at_once_and_nothing_spins)
{
    struct rig rig;
    int peers[10];
    char byte;
    rig_open(&rig, loop_new(), 64 * KIB);
    for (int i = 0; i < 10; i++)
        peers[i] = peer_connect(&rig.address, 0);
    size_t descriptors = open_descriptors();
    limit_descriptors(first_free_descriptor());
    bool quiet = rig_is_quiet(&rig);
    restore_descriptors(); /* before any check can leave the test */
    CHECK(quiet);
    CHECK_EQ(rig.accepted, 0);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(peer_recv(peers[i], &byte, 1), 0);
        peer_close(peers[i]);
    }
    CHECK_EQ(open_descriptors(), descriptors - 10); /* the spare one is back */
    int peer = peer_connect(&rig.address, 0);
    TURN_UNTIL(&rig, rig.accepted == 1); /* it serves on */
    peer_close(peer);
    rig_close(&rig);
}

TEST(without_even_a_spare_descriptor_accepting_pauses_and_goes_on_later)
{
    struct rig rig;
    rig_open(&rig, loop_new_virtual(1000000), 64 * KIB);
    int peer = peer_connect(&rig.address, 0);
    limit_descriptors(3); /* below the spare one: even that number cannot be opened again */
    bool quiet = rig_is_quiet(&rig);
    loop_advance(rig.loop, 1000000); /* ten tries, all in vain; an endless loop would ASSERT */
    int accepted = rig.accepted;
    restore_descriptors();
    CHECK(quiet);
    CHECK_EQ(accepted, 0);
    loop_advance(rig.loop, 99999);
    loop_advance(rig.loop, 1);
    CHECK_EQ(rig.accepted, 1);
    /* Now the spare one is missing; it is opened again when it is needed. */
    int second = peer_connect(&rig.address, 0);
    char byte;
    int hole = first_free_descriptor();
    int filler = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_EQ(filler, hole);
    limit_descriptors(first_free_descriptor());
    CHECK_EQ(close(filler), 0); /* one free: it becomes the connection */
    quiet = rig_is_quiet(&rig);
    restore_descriptors();
    CHECK(quiet);
    CHECK_EQ(rig.accepted, 2);
    CHECK_EQ(peer_recv_now(second, &byte, 1), -EAGAIN);
    peer_close(peer);
    peer_close(second);
    rig_close(&rig);
}

TEST(a_paused_listener_may_be_closed)
{
    struct rig rig;
    rig_open(&rig, loop_new_virtual(1000000), 64 * KIB);
    int peer = peer_connect(&rig.address, 0);
    limit_descriptors(3);
    bool quiet = rig_is_quiet(&rig);
    restore_descriptors();
    CHECK(quiet);
    listener_close(&rig.listener); /* takes the one that waits: descriptors are back */
    CHECK_EQ(rig.accepted, 1);
    loop_advance(rig.loop, 1000000);
    peer_close(peer);
    rig_close(&rig);
}

/* --- connecting --- */

TEST(a_connect_completes_once_from_the_loop)
{
    struct rig rig;
    struct outcome outcome = {0};
    char expected[64];
    rig_open(&rig, loop_new(), 64 * KIB);
    net_address_format(&rig.address, expected);
    CHECK_OK(net_connect(rig.loop, &rig.address, &rig.options, on_connect, &outcome));
    CHECK_EQ(outcome.calls, 0);
    TURN_UNTIL(&rig, outcome.calls == 1);
    CHECK_OK(outcome.why);
    CHECK_STR(stream_peer(outcome.stream), expected);
    stream_close(outcome.stream);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(outcome.calls, 1);
    rig_close(&rig);
}

TEST(a_refused_connect_says_so)
{
    struct rig rig;
    struct outcome outcome = {0};
    rig_open(&rig, loop_new(), 64 * KIB);
    size_t descriptors = open_descriptors();
    listener_close(&rig.listener);
    enum err err = net_connect(rig.loop, &rig.address, &rig.options, on_connect, &outcome);
    if (err == ERR_OK) { /* else the kernel knew at once, which it may */
        TURN_UNTIL(&rig, outcome.calls == 1);
        CHECK(outcome.stream == NULL);
        err = outcome.why;
    }
    CHECK_ERR(err, ERR_REFUSED);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(open_descriptors(), descriptors - 2); /* the listener's and its spare one */
    rig_close(&rig);
}

/* The kernel has shaken hands by then: the other side sees a connection that ends at once. */
TEST(a_connect_that_was_given_up_is_never_told_of)
{
    struct rig rig;
    struct outcome outcome = {0};
    struct net_attempt *attempt = NULL;
    rig_open(&rig, loop_new(), 64 * KIB);
    size_t descriptors = open_descriptors();
    CHECK_OK(
        net_connect_begin(rig.loop, &rig.address, &rig.options, on_connect, &outcome, &attempt));
    CHECK(attempt != NULL);
    net_connect_cancel(&attempt);
    CHECK(attempt == NULL);
    TURN_UNTIL(&rig, rig.accepted == 1 && rig.ends[0].calls[END_EOF] == 1);
    end_close(&rig.ends[0]);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(outcome.calls, 0);
    CHECK_EQ(open_descriptors(), descriptors);
    rig_close(&rig);
}

TEST(a_connect_that_cannot_begin_fails_in_the_call)
{
    struct rig rig;
    struct outcome outcome = {0};
    struct net_address group;
    rig_open(&rig, loop_new(), 64 * KIB);
    size_t descriptors = open_descriptors();
    CHECK_OK(net_address_parse(SLICE("224.0.0.1"), 80, &group, NULL)); /* TCP knows no multicast */
    CHECK_ERR(net_connect(rig.loop, &group, &rig.options, on_connect, &outcome), ERR_SYSTEM);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(outcome.calls, 0);
    CHECK_EQ(open_descriptors(), descriptors);
    rig_close(&rig);
}
