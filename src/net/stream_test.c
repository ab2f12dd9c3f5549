/* Streams over real loopback sockets: order, bounds, and every way in which a peer can leave. */
#include "base/mem.h"
#include "net/rig.h"
#include "net/socket.h"
#include "testing/test.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { KIB = 1024 };

/* A rig with one raw peer and the accepted end of its connection. */
static struct end *accept_one(struct rig *rig, int *out_peer, int peer_rcvbuf_bytes)
{
    int before = rig->accepted;
    *out_peer = peer_connect(&rig->address, peer_rcvbuf_bytes);
    TURN_UNTIL(rig, rig->accepted == before + 1);
    return &rig->ends[before];
}

/* Writes the pattern from where the stream stands, in pieces, until the stream is full. */
static size_t write_until_full(struct rig *rig, struct end *end, size_t piece_bytes)
{
    char piece[8 * KIB];
    size_t written = 0;
    for (;;) {
        pattern_fill(piece, piece_bytes, written);
        enum err err = stream_write(end->stream, slice_of(piece, piece_bytes));
        if (err == ERR_FULL && !rig_is_quiet(rig))
            return 0; /* spins: the caller's checks fail */
        if (err == ERR_FULL &&
            stream_pending(end->stream) + piece_bytes > rig->options.out_max_bytes)
            return written;
        if (err == ERR_OK)
            written += piece_bytes;
    }
}

/* Reads everything the peer can get, turning the loop, until `total` bytes matched the pattern. */
static size_t drain(struct rig *rig, int peer, size_t total)
{
    char bytes[64 * KIB];
    size_t got = 0;
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (got < total && rig_turn(rig, until_us)) {
        long len = peer_recv_now(peer, bytes, sizeof(bytes));
        if (len == -EAGAIN)
            continue;
        if (len <= 0 || !pattern_matches(slice_of(bytes, (size_t)len), got))
            break;
        got += (size_t)len;
    }
    return got;
}

/* --- bytes --- */

static void echo(struct end *end, enum end_event event)
{
    if (event == END_READ) {
        CHECK_OK(stream_write(end->stream, text_slice(&end->in)));
        text_clear(&end->in);
    }
}

TEST(bytes_come_back_whole_and_in_order)
{
    enum { TOTAL = 300 * KIB };
    struct rig rig;
    struct end client = {0};
    char *bytes = mem_alloc(TOTAL);
    pattern_fill(bytes, TOTAL, 0);
    rig_open(&rig, loop_new(), TOTAL);
    rig.react = echo;
    rig_connect(&rig, &client);
    TURN_UNTIL(&rig, client.stream);
    CHECK_OK(stream_write(client.stream, slice_of(bytes, TOTAL)));
    TURN_UNTIL(&rig, client.in.len == TOTAL);
    CHECK(pattern_matches(text_slice(&client.in), 0));
    CHECK_EQ(stream_sent(client.stream), TOTAL);
    CHECK_EQ(client.sent_bytes, TOTAL);
    CHECK_EQ(stream_pending(client.stream), 0);
    end_close(&client);
    TURN_UNTIL(&rig, !client.stream);
    rig_close(&rig);
    end_fini(&client);
    mem_free(bytes);
}

TEST(what_is_written_in_a_turn_leaves_together)
{
    struct rig rig;
    int peer;
    char bytes[64];
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = accept_one(&rig, &peer, 0);
    CHECK_OK(stream_write(end->stream, SLICE("one ")));
    CHECK_OK(stream_write(end->stream, SLICE("")));
    CHECK_OK(stream_write(end->stream, SLICE("two ")));
    CHECK_OK(stream_write(end->stream, SLICE("three")));
    CHECK_EQ(end->calls[END_SENT], 0); /* not inside the call */
    CHECK_EQ(peer_recv_now(peer, bytes, sizeof(bytes)), -EAGAIN);
    TURN_UNTIL(&rig, end->calls[END_SENT] > 0);
    CHECK_EQ(end->calls[END_SENT], 1);
    CHECK_EQ(peer_recv(peer, bytes, sizeof(bytes)), 13);
    CHECK_SLICE(slice_of(bytes, 13), "one two three");
    peer_close(peer);
    rig_close(&rig);
}

/* More than one turn's worth lies in the kernel when the turns begin. */
static void flood(int peer, size_t len)
{
    char *bytes = mem_alloc(len);
    int fd = rig_descriptor(peer);
    pattern_fill(bytes, len, 0);
    socket_set(fd, SOL_SOCKET, SO_RCVBUF, 4 * (int)len);
    peer_send(peer, slice_of(bytes, len));
    wait_unread(fd, (int)len);
    mem_free(bytes);
}

TEST(at_most_64_KiB_are_read_per_turn)
{
    enum { TOTAL = 150 * KIB };
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = accept_one(&rig, &peer, 0);
    flood(peer, TOTAL);
    CHECK(loop_turn(rig.loop, true));
    CHECK_EQ(end->in.len, 64 * KIB);
    CHECK(loop_turn(rig.loop, true));
    CHECK_EQ(end->in.len, 128 * KIB);
    CHECK(loop_turn(rig.loop, true));
    CHECK_EQ(end->in.len, TOTAL);
    CHECK(pattern_matches(text_slice(&end->in), 0));
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_peer_that_floods_does_not_starve_its_neighbour)
{
    struct rig rig;
    int loud, quiet;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *loud_end = accept_one(&rig, &loud, 0), *quiet_end = accept_one(&rig, &quiet, 0);
    flood(loud, 150 * KIB);
    peer_send(quiet, SLICE("x"));
    wait_unread(rig_descriptor(quiet), 1);
    CHECK(loop_turn(rig.loop, true));
    CHECK_EQ(quiet_end->in.len, 1);
    CHECK_EQ(loud_end->in.len, 64 * KIB);
    peer_close(loud);
    peer_close(quiet);
    rig_close(&rig);
}

/* --- the cap --- */

TEST(a_write_that_would_cross_the_cap_takes_nothing)
{
    char bytes[1001] = {0};
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 1000);
    struct end *end = accept_one(&rig, &peer, 0);
    CHECK_OK(stream_write(end->stream, slice_of(bytes, 999)));
    CHECK_ERR(stream_write(end->stream, slice_of(bytes, 2)), ERR_FULL);
    CHECK_EQ(stream_pending(end->stream), 999);
    CHECK_OK(stream_write(end->stream, slice_of(bytes, 1)));
    CHECK_ERR(stream_write(end->stream, slice_of(bytes, 1)), ERR_FULL);
    CHECK_ERR(stream_write(end->stream, slice_of(bytes, 1001)), ERR_LIMIT); /* never fits */
    CHECK_EQ(stream_pending(end->stream), 1000);
    CHECK_EQ(end->calls[END_ROOM], 0);
    TURN_UNTIL(&rig, end->calls[END_ROOM] == 1); /* two refusals, one call */
    CHECK_EQ(stream_sent(end->stream), 1000);
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(end->calls[END_ROOM], 1);
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_slow_reader_fills_the_queue_and_gets_every_byte_in_the_end)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 128 * KIB);
    struct end *end = accept_one(&rig, &peer, 4 * KIB);
    size_t written = write_until_full(&rig, end, 1000);
    CHECK(written > 128 * KIB);
    CHECK(stream_pending(end->stream) > 127 * KIB);
    CHECK_EQ(stream_sent(end->stream) + stream_pending(end->stream), written);
    /* rule 2: room was told while the kernel still took, and never since */
    int rooms = end->calls[END_ROOM];
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(end->calls[END_ROOM], rooms);
    CHECK_EQ(drain(&rig, peer, written), written);
    CHECK_EQ(end->calls[END_ROOM], rooms + 1);
    CHECK_EQ(stream_pending(end->stream), 0);
    CHECK_EQ(end->sent_bytes, written);
    peer_close(peer);
    rig_close(&rig);
}

static size_t pending_at_room;

static void note_room(struct end *end, enum end_event event)
{
    if (event == END_ROOM)
        pending_at_room = stream_pending(end->stream);
}

TEST(room_is_told_when_half_is_free_and_not_before)
{
    struct rig rig;
    int peer;
    char bytes[2 * KIB];
    rig_open(&rig, loop_new(), 128 * KIB);
    struct end *end = accept_one(&rig, &peer, 4 * KIB);
    size_t written = write_until_full(&rig, end, 1000);
    int rooms = end->calls[END_ROOM];
    end->react = note_room;
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (end->calls[END_ROOM] == rooms && rig_turn(&rig, until_us)) {
        CHECK(stream_pending(end->stream) > 64 * KIB || end->calls[END_ROOM] > rooms);
        (void)peer_recv_now(peer, bytes, sizeof(bytes)); /* a little, or not yet */
    }
    CHECK_EQ(end->calls[END_ROOM], rooms + 1);
    CHECK(pending_at_room <= 64 * KIB);
    CHECK(written > 0);
    peer_close(peer);
    rig_close(&rig);
}

static void retry_big(struct end *end, enum end_event event)
{
    static char big[100 * KIB];
    if (event == END_ROOM)
        CHECK_ERR(stream_write(end->stream, slice_of(big, sizeof(big))), ERR_FULL);
}

TEST(a_refused_big_write_is_not_retried_without_progress)
{
    struct rig rig;
    int peer;
    char bytes[100 * KIB] = {0};
    rig_open(&rig, loop_new(), 128 * KIB);
    struct end *end = accept_one(&rig, &peer, 4 * KIB);
    /* Fill the kernel, then a queue that is less than half full, and still too full for 100 KiB. */
    do
        CHECK_OK(stream_write(end->stream, slice_of(bytes, 4 * KIB)));
    while (rig_is_quiet(&rig) && stream_pending(end->stream) < 40 * KIB);
    end->react = retry_big;
    CHECK_ERR(stream_write(end->stream, slice_of(bytes, sizeof(bytes))), ERR_FULL);
    int sends = end->calls[END_SENT]; /* the kernel may still take a last bit */
    CHECK(rig_is_quiet(&rig));
    CHECK(end->calls[END_ROOM] <= end->calls[END_SENT] - sends);
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_refused_allocation_is_a_full_queue_and_room_follows)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = accept_one(&rig, &peer, 0);
    mem_test_fail_nth(1);
    CHECK_ERR(stream_write(end->stream, SLICE("hello")), ERR_FULL);
    mem_test_fail_nth(0);
    CHECK_EQ(stream_pending(end->stream), 0);
    TURN_UNTIL(&rig, end->calls[END_ROOM] == 1);
    CHECK_OK(stream_write(end->stream, SLICE("hello")));
    TURN_UNTIL(&rig, stream_sent(end->stream) == 5);
    peer_close(peer);
    rig_close(&rig);
}

/* Time passes until the kernel has taken the last bit, which may be some hundred ms later. */
static uint64_t stall(struct rig *rig, struct end *end)
{
    uint64_t before_us, sent;
    do {
        before_us = loop_now_us(rig->loop);
        sent = stream_sent(end->stream);
        loop_advance(rig->loop, 30000000);
    } while (stream_sent(end->stream) != sent);
    return before_us;
}

TEST(progress_stands_still_while_the_peer_does_not_read)
{
    struct rig rig;
    int peer;
    char bytes[4 * KIB];
    size_t written = 0;
    rig_open(&rig, loop_new_virtual(1000000), 64 * KIB);
    struct end *end = accept_one(&rig, &peer, 4 * KIB);
    CHECK_EQ(stream_progress_us(end->stream), loop_now_us(rig.loop)); /* nothing waits */
    loop_advance(rig.loop, 5000000);
    CHECK_EQ(stream_progress_us(end->stream), loop_now_us(rig.loop));
    for (; stream_pending(end->stream) < 32 * KIB; written += sizeof(bytes)) {
        pattern_fill(bytes, sizeof(bytes), written);
        CHECK_OK(stream_write(end->stream, slice_of(bytes, sizeof(bytes))));
        CHECK(rig_is_quiet(&rig));
    }
    CHECK(stream_progress_us(end->stream) <= stall(&rig, end));
    uint64_t silent_us = stream_progress_us(end->stream);
    pattern_fill(bytes, sizeof(bytes), written);
    CHECK_OK(stream_write(end->stream, slice_of(bytes, sizeof(bytes)))); /* ours is no progress */
    CHECK_EQ(stream_progress_us(end->stream), silent_us);
    written += sizeof(bytes);
    CHECK_EQ(drain(&rig, peer, written), written);
    CHECK_EQ(stream_progress_us(end->stream), loop_now_us(rig.loop));
    peer_close(peer);
    rig_close(&rig);
}

TEST(silence_begins_with_the_write_that_ends_an_empty_queue)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new_virtual(1000000), 64 * KIB);
    struct end *end = accept_one(&rig, &peer, 4 * KIB);
    loop_advance(rig.loop, 60000000); /* an idle minute is nobody's silence */
    uint64_t now_us = loop_now_us(rig.loop);
    CHECK_OK(stream_write(end->stream, SLICE("x")));
    CHECK_EQ(stream_progress_us(end->stream), now_us);
    peer_close(peer);
    rig_close(&rig);
}

/* --- the peer leaves --- */

TEST(a_fin_is_told_once_and_leaves_the_stream_writable)
{
    struct rig rig;
    int peer;
    char bytes[64];
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 4 * KIB);
    CHECK(write_until_full(&rig, end, 1000) > 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &leaving_peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
    struct end *end = accept_one(&rig, &peer, 4 * KIB);
    size_t written = write_until_full(&rig, end, 1000);
    stream_shutdown(end->stream);
    stream_shutdown(end->stream);
    CHECK_ERR(stream_write(end->stream, SLICE("x")), ERR_CLOSED);
    CHECK_EQ(drain(&rig, peer, written), written);
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
    struct end *end = accept_one(&rig, &peer, 0);
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
        struct end *end = accept_one(&rig, &peer, 0);
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
        pair[i] = accept_one(&rig, &peers[i], 0);
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

/* --- budgets --- */

TEST(an_idle_stream_costs_less_than_1_KiB)
{
    enum { COUNT = 100 };
    struct rig rig;
    int peers[COUNT];
    char bytes[32];
    rig_open(&rig, loop_new(), 256 * KIB);
    rig.leave_unstarted = true; /* started by hand below */
    rig.react = echo;
    for (int i = 0; i < COUNT; i++)
        peers[i] = peer_connect(&rig.address, 0);
    size_t before = heap_bytes();
    TURN_UNTIL(&rig, rig.accepted == COUNT);
    size_t idle = heap_bytes();
    CHECK(idle - before < COUNT * KIB);
    rig.leave_unstarted = false;
    for (int i = 0; i < COUNT; i++)
        end_start(&rig.ends[i], rig.ends[i].stream);
    for (int i = 0; i < COUNT; i++)
        peer_send(peers[i], SLICE("hello"));
    for (int i = 0; i < COUNT; i++) {
        TURN_UNTIL(&rig, stream_sent(rig.ends[i].stream) == 5);
        CHECK_EQ(peer_recv(peers[i], bytes, sizeof(bytes)), 5);
        end_fini(&rig.ends[i]);
    }
    CHECK(heap_bytes() - before < COUNT * KIB); /* and none stays behind after use */
    for (int i = 0; i < COUNT; i++)
        peer_close(peers[i]);
    rig_close(&rig);
}

/* One connection of each kind of end: theirs, ours, theirs by force, ours by force. */
static void open_and_close(struct rig *rig, int how)
{
    int peer;
    struct end *end = accept_one(rig, &peer, 0);
    peer_send(peer, SLICE("x"));
    TURN_UNTIL(rig, end->in.len == 1);
    if (how == 0)
        peer_reset(peer);
    else if (how == 1)
        stream_abort(end->stream);
    else
        end_close(end);
    TURN_UNTIL(rig, !end->stream);
    if (how != 0)
        peer_close(peer);
    end_fini(end);
}

TEST(a_thousand_connections_leave_nothing_behind)
{
    enum { WARM_UP = 10, COUNT = 1000 };
    struct rig rig;
    rig_open(&rig, loop_new(), 64 * KIB);
    for (int i = 0; i < WARM_UP; i++)
        open_and_close(&rig, i % 3);
    size_t heap = heap_bytes(), descriptors = open_descriptors();
    for (int i = 0; i < COUNT; i++)
        open_and_close(&rig, i % 3);
    CHECK_EQ(open_descriptors(), descriptors);
    CHECK_EQ(heap_bytes(), heap);
    rig_close(&rig);
}
