/* How streams end: every way in which a peer can leave, and every way in which we can. */
#include "net/rig.h"
#include "testing/test.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { KIB = 1024 };

/* --- the peer leaves --- */

TEST(a_fin_is_told_once_and_leaves_the_stream_writable)
{
    struct rig rig;
    int peer;
    char bytes[64];
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_send(peer, SLICE("last words"));
    peer_shut(peer);
    TURN_UNTIL(&rig, end->calls[END_EOF] == 1);
    CHECK_SLICES(text_slice(&end->in), SLICE("last words"));
    CHECK(rig_is_quiet(&rig)); /* a FIN stays readable for ever: we must have stopped looking */
    CHECK_OK(stream_write(end->stream, SLICE("answer")));
    TURN_UNTIL(&rig, stream_sent(end->stream) == 6);
    CHECK_EQ(peer_recv(peer, bytes, sizeof(bytes)), 6);
    CHECK_EQ(end->calls[END_EOF], 1);
    CHECK_EQ(end->calls[END_CLOSED], 0);
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_reset_is_noticed_while_idle)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_reset(peer);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_ERR(end->why, ERR_CLOSED);
    CHECK_EQ(end->calls[END_EOF], 0);
    rig_close(&rig);
}

TEST(a_reset_behind_unread_bytes_gives_the_bytes_and_is_a_reset)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_send(peer, SLICE("bye"));
    peer_reset(peer);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_SLICES(text_slice(&end->in), SLICE("bye"));
    CHECK_ERR(end->why, ERR_CLOSED);
    CHECK_EQ(end->calls[END_EOF], 0);
    rig_close(&rig);
}

TEST(a_reset_after_a_fin_is_noticed_while_idle)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_shut(peer);
    TURN_UNTIL(&rig, end->calls[END_EOF] == 1);
    CHECK(rig_is_quiet(&rig));
    peer_reset(peer);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_ERR(end->why, ERR_CLOSED);
    rig_close(&rig);
}

TEST(a_reset_is_noticed_while_the_queue_is_blocked)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
    CHECK(end_fill(&rig, end, 1000) > 0);
    peer_reset(peer);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_ERR(end->why, ERR_CLOSED);
    rig_close(&rig);
}

TEST(writing_to_a_peer_that_has_left_closes)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_close(peer); /* FIN; what we send now is answered with RST */
    TURN_UNTIL(&rig, end->calls[END_EOF] == 1);
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (end->stream && rig_turn(&rig, until_us))
        if (end->stream && stream_write(end->stream, SLICE("x")) != ERR_OK)
            CHECK(end->stream == NULL || end->calls[END_CLOSED] == 0); /* on its way */
    CHECK_EQ(end->calls[END_CLOSED], 1);
    CHECK_ERR(end->why, ERR_CLOSED);
    rig_close(&rig);
}

static int leaving_peer;

/* Between the I/O of the turn and its flush the peer breaks off: the flush runs into the reset
 * before the loop has seen it. After a FIN that is EPIPE, the one that comes with a signal. */
static void leave_and_write(struct end *end, enum end_event event)
{
    if (event != END_EOF)
        return;
    int fd = rig_descriptor(leaving_peer);
    struct tcp_info info = {0};
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    peer_reset(leaving_peer);
    while (info.tcpi_state != TCP_CLOSE && clock_monotonic_us() < until_us) {
        socklen_t len = sizeof(info);
        CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    }
    CHECK_OK(stream_write(end->stream, SLICE("x")));
}

TEST(a_flush_into_a_reset_closes_and_raises_no_signal)
{
    struct rig rig;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &leaving_peer, 0);
    end->react = leave_and_write;
    peer_shut(leaving_peer);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_ERR(end->why, ERR_CLOSED);
    CHECK_EQ(end->sent_bytes, 0);
    rig_close(&rig);
}

TEST(urgent_bytes_do_not_make_the_loop_spin)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_send(peer, SLICE("ab"));
    CHECK_EQ(send(peer, "!", 1, MSG_OOB), 1);
    TURN_UNTIL(&rig, end->in.len == 2);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(send(peer, "?", 1, MSG_OOB), 1);
    peer_shut(peer);
    TURN_UNTIL(&rig, end->calls[END_EOF] == 1);
    CHECK(rig_is_quiet(&rig));
    peer_close(peer);
    rig_close(&rig);
}

/* --- we leave --- */

TEST(close_sends_fin_and_is_told_once_from_the_loop)
{
    struct rig rig;
    int peer;
    char byte;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    struct stream *stream = end->stream;
    end_close(end);
    stream_close(stream); /* harmless twice */
    stream_abort(stream);
    stream_shutdown(stream);
    CHECK_EQ(end->calls[END_CLOSED], 0); /* not inside the call */
    CHECK_ERR(stream_write(stream, SLICE("x")), ERR_CLOSED);
    CHECK_EQ(stream_pending(stream), 0);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_ERR(end->why, ERR_OK);
    CHECK_EQ(peer_recv(peer, &byte, 1), 0);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(end->calls[END_CLOSED], 1);
    peer_close(peer);
    rig_close(&rig);
}

TEST(close_drops_what_is_queued)
{
    struct rig rig;
    int peer;
    char byte;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    CHECK_OK(stream_write(end->stream, SLICE("never sent")));
    end_close(end);
    CHECK_EQ(stream_pending(end->stream), 0);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_EQ(peer_recv(peer, &byte, 1), 0);
    CHECK_EQ(end->sent_bytes, 0);
    peer_close(peer);
    rig_close(&rig);
}

TEST(abort_sends_a_reset)
{
    struct rig rig;
    int peer;
    char byte;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    end->deaf = true;
    stream_abort(end->stream);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_ERR(end->why, ERR_OK);
    CHECK_EQ(peer_recv(peer, &byte, 1), -ECONNRESET);
    peer_close(peer);
    rig_close(&rig);
}

TEST(shutdown_sends_fin_behind_everything_queued_and_reads_on)
{
    struct rig rig;
    int peer;
    char byte;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
    size_t written = end_fill(&rig, end, 1000);
    stream_shutdown(end->stream);
    stream_shutdown(end->stream);
    CHECK_ERR(stream_write(end->stream, SLICE("x")), ERR_CLOSED);
    CHECK_EQ(peer_drain(&rig, peer, written), written);
    TURN_UNTIL(&rig, rig_is_quiet(&rig));
    CHECK_EQ(peer_recv(peer, &byte, 1), 0);
    peer_send(peer, SLICE("still heard"));
    TURN_UNTIL(&rig, end->in.len == 11);
    peer_shut(peer);
    TURN_UNTIL(&rig, end->calls[END_EOF] == 1);
    CHECK(rig_is_quiet(&rig)); /* EPOLLHUP from now on: it must not spin */
    CHECK_EQ(end->calls[END_CLOSED], 0);
    peer_close(peer);
    rig_close(&rig);
}

TEST(shutdown_after_the_peers_fin_does_not_spin)
{
    struct rig rig;
    int peer;
    char byte;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_shut(peer);
    TURN_UNTIL(&rig, end->calls[END_EOF] == 1);
    stream_shutdown(end->stream);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(peer_recv(peer, &byte, 1), 0);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(end->calls[END_CLOSED], 0);
    peer_close(peer);
    rig_close(&rig);
}

static enum end_event close_at;

static void close_there(struct end *end, enum end_event event)
{
    if (event == close_at)
        end_close(end);
}

/* Every callback may close; nothing but on_closed() follows it (late_calls, in rig_close()). */
TEST(a_stream_may_be_closed_inside_any_of_its_callbacks)
{
    for (close_at = END_READ; close_at < END_CLOSED; close_at++) {
        struct rig rig;
        int peer;
        char bytes[1000] = {0};
        rig_open(&rig, loop_new(), 1000);
        struct end *end = rig_accept(&rig, &peer, 0);
        end->react = close_there;
        CHECK_OK(stream_write(end->stream, slice_of(bytes, sizeof(bytes))));
        CHECK_ERR(stream_write(end->stream, SLICE("x")), ERR_FULL);
        peer_send(peer, SLICE("hello"));
        peer_shut(peer);
        TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
        CHECK_EQ(end->calls[close_at], 1);
        CHECK_EQ(end->late_calls, 0);
        CHECK_ERR(end->why, ERR_OK);
        peer_close(peer);
        rig_close(&rig);
    }
}

static struct end *pair[2];

static void close_the_other(struct end *end, enum end_event event)
{
    struct end *other = end == pair[0] ? pair[1] : pair[0];
    if (event == END_READ)
        end_close(other);
}

TEST(a_stream_closed_by_its_neighbour_in_the_same_turn_reads_no_more)
{
    struct rig rig;
    int peers[2];
    rig_open(&rig, loop_new(), 64 * KIB);
    for (int i = 0; i < 2; i++) {
        pair[i] = rig_accept(&rig, &peers[i], 0);
        pair[i]->react = close_the_other;
    }
    for (int i = 0; i < 2; i++) {
        peer_send(peers[i], SLICE("x"));
        wait_unread(rig_descriptor(peers[i]), 1); /* both are ready when the turn begins */
    }
    TURN_UNTIL(&rig, pair[0]->calls[END_CLOSED] + pair[1]->calls[END_CLOSED] == 1);
    CHECK_EQ(pair[0]->calls[END_READ] + pair[1]->calls[END_READ], 1);
    peer_close(peers[0]);
    peer_close(peers[1]);
    rig_close(&rig);
}

TEST(a_stream_that_nobody_started_may_be_closed)
{
    struct rig rig;
    rig_open(&rig, loop_new(), 64 * KIB);
    rig.leave_unstarted = true;
    int peer = peer_connect(&rig.address, 0);
    TURN_UNTIL(&rig, rig.accepted == 1);
    CHECK_OK(stream_write(rig.ends[0].stream, SLICE("x")));
    CHECK(rig_is_quiet(&rig));
    stream_close(rig.ends[0].stream);
    rig.ends[0].stream = NULL;
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(rig.ends[0].calls[END_CLOSED], 0); /* there is nobody to tell */
    peer_close(peer);
    rig_close(&rig);
}
