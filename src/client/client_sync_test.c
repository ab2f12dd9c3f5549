/* client_sync_test - a caller that waits, against a peer on a thread of its own. */
#include "base/mem.h"
#include "client/client_sync.h"
#include "loop/thread.h"
#include "testing/test.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECONDS 1000000ull

/* Takes one connection, reads a head, says `answer` in pieces of `piece` bytes, and hangs up; or,
 * `waits`, stays until the client has left. */
struct peer {
    int listener;
    struct thread *thread;
    struct client_options options;
    const char *answer;
    size_t piece;
    bool waits, saw_client_leave;
};

static void read_head(int fd)
{
    char bytes[4096];
    size_t len = 0;
    for (ssize_t got; (got = read(fd, bytes + len, sizeof(bytes) - len)) > 0;) {
        len += (size_t)got;
        if (len >= 4 && memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0)
            return;
    }
}

static void be_peer(void *ctx)
{
    struct peer *peer = ctx;
    int fd = accept(peer->listener, NULL, NULL);
    if (fd < 0)
        return;
    read_head(fd);
    size_t len = strlen(peer->answer);
    for (size_t at = 0; at < len;) {
        size_t want = len - at < peer->piece ? len - at : peer->piece;
        ssize_t sent = send(fd, peer->answer + at, want, MSG_NOSIGNAL);
        if (sent < 0)
            break;
        at += (size_t)sent;
    }
    char byte;
    if (peer->waits)
        peer->saw_client_leave = read(fd, &byte, 1) <= 0;
    close(fd);
}

static void peer_start(struct peer *peer, const char *answer, size_t piece)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(name);
    struct err_note note;
    peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(peer->listener, (struct sockaddr *)&name, sizeof(name)) == 0);
    CHECK(listen(peer->listener, 1) == 0);
    CHECK(getsockname(peer->listener, (struct sockaddr *)&name, &bytes) == 0);
    peer->answer = answer;
    peer->piece = piece;
    peer->options =
        (struct client_options){.method = "POST", .target = SLICE("/x"), .total_us = 60 * SECONDS};
    CHECK_OK(
        net_address_parse(SLICE("127.0.0.1"), ntohs(name.sin_port), &peer->options.address, &note));
    CHECK_OK(thread_start("peer", be_peer, peer, &peer->thread));
}

static void peer_stop(struct peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR); /* if nobody came */
    thread_join(&peer->thread);
    close(peer->listener);
}

#define STREAM_HEAD                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

TEST(events_come_one_by_one_however_they_are_cut)
{
    static const char answer[] = STREAM_HEAD "event: a\nid: 7\ndata: one\n\n: ping\ndata: two\n\n";
    for (size_t piece = 1; piece < sizeof(answer); piece += 7) {
        struct peer peer = {0};
        struct client_sync *sync;
        struct sse_event event;
        int status = 0;
        peer_start(&peer, answer, piece);
        CHECK_OK(client_sync_open(&peer.options, &sync));
        CHECK_OK(client_sync_status(sync, &status));
        CHECK_EQ(status, 200);
        CHECK_OK(client_sync_next(sync, &event));
        CHECK_SLICE(event.event, "a");
        CHECK_SLICE(event.id, "7");
        CHECK_SLICE(event.data, "one");
        CHECK_OK(client_sync_next(sync, &event));
        CHECK_SLICE(event.data, "two");
        CHECK_ERR(client_sync_next(sync, &event), ERR_NOT_FOUND);
        CHECK_ERR(client_sync_next(sync, &event), ERR_NOT_FOUND);
        client_sync_close(&sync);
        peer_stop(&peer);
    }
}

TEST(what_came_before_a_broken_end_is_given_first)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                 "Content-Length: 100\r\n\r\ndata: one\n\ndata: half";
    struct peer peer = {0};
    struct client_sync *sync;
    struct sse_event event;
    peer_start(&peer, answer, sizeof(answer));
    CHECK_OK(client_sync_open(&peer.options, &sync));
    CHECK_OK(client_sync_next(sync, &event));
    CHECK_SLICE(event.data, "one");
    CHECK_ERR(client_sync_next(sync, &event), ERR_CLOSED);
    client_sync_close(&sync);
    peer_stop(&peer);
}

TEST(an_answer_that_is_no_stream_is_a_body)
{
    struct peer peer = {0};
    struct client_sync *sync;
    struct sse_event event;
    struct slice body;
    int status = 0;
    peer_start(&peer, "HTTP/1.1 429 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate", 3);
    CHECK_OK(client_sync_open(&peer.options, &sync));
    CHECK_OK(client_sync_status(sync, &status));
    CHECK_EQ(status, 429);
    CHECK_ERR(client_sync_next(sync, &event), ERR_NOT_FOUND);
    CHECK_OK(client_sync_body(sync, &body));
    CHECK_SLICE(body, "late");
    client_sync_close(&sync);
    peer_stop(&peer);
}

TEST(closing_in_the_middle_tells_the_server)
{
    struct peer peer = {.waits = true};
    struct client_sync *sync;
    struct sse_event event;
    peer_start(&peer, STREAM_HEAD "data: one\n\ndata: two\n\n", 1000);
    CHECK_OK(client_sync_open(&peer.options, &sync));
    CHECK_OK(client_sync_next(sync, &event));
    client_sync_close(&sync);
    CHECK(sync == NULL);
    peer_stop(&peer);
    CHECK(peer.saw_client_leave);
    client_sync_close(&sync);
}

TEST(who_waits_in_vain_waits_no_longer_than_it_said)
{
    struct peer peer = {.waits = true};
    struct client_sync *sync;
    struct sse_event event;
    struct slice body;
    int status = 0;
    peer_start(&peer, "", 1);
    peer.options.total_us = 50 * 1000;
    CHECK_OK(client_sync_open(&peer.options, &sync));
    CHECK_ERR(client_sync_status(sync, &status), ERR_TIMEOUT);
    CHECK_ERR(client_sync_next(sync, &event), ERR_TIMEOUT);
    CHECK_ERR(client_sync_body(sync, &body), ERR_TIMEOUT);
    client_sync_close(&sync);
    peer_stop(&peer);
}

TEST(nobody_there_and_nonsense_are_errors)
{
    struct peer peer = {0};
    struct client_sync *sync = NULL;
    struct sse_event event;
    peer_start(&peer, "", 1);
    peer_stop(&peer); /* nobody listens there now */
    CHECK_OK(client_sync_open(&peer.options, &sync));
    CHECK_ERR(client_sync_next(sync, &event), ERR_REFUSED);
    client_sync_close(&sync);
    peer.options.target = SLICE("/ x");
    CHECK_ERR(client_sync_open(&peer.options, &sync), ERR_REFUSED);
    CHECK(sync == NULL);
}

/* Whichever allocation of a peer's size fails: an error, no crash, no leak. */
TEST(without_memory_it_ends_with_an_error)
{
    enum err err = ERR_LIMIT;
    for (unsigned nth = 1; err != ERR_OK; nth++) {
        struct peer peer = {0};
        struct client_sync *sync = NULL;
        struct sse_event event;
        CHECK(nth < 100);
        peer_start(&peer, STREAM_HEAD "data: one\n\n", 1000);
        mem_test_fail_nth(nth);
        err = client_sync_open(&peer.options, &sync);
        if (err == ERR_OK)
            err = client_sync_next(sync, &event);
        mem_test_fail_nth(0);
        CHECK(err == ERR_OK || err == ERR_LIMIT);
        client_sync_close(&sync);
        peer_stop(&peer);
    }
}
