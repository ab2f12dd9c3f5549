/* Streams over real loopback sockets: order, bounds, backpressure, budgets. How they end is in
 * stream_end_test.c. */
#include "base/mem.h"
#include "net/rig.h"
#include "net/socket.h"
#include "testing/heap.h"
#include "testing/test.h"

#include <errno.h>

enum { KIB = 1024 };

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
    struct end *end = rig_accept(&rig, &peer, 0);
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
    struct end *end = rig_accept(&rig, &peer, 0);
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
    struct end *loud_end = rig_accept(&rig, &loud, 0), *quiet_end = rig_accept(&rig, &quiet, 0);
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
    struct end *end = rig_accept(&rig, &peer, 0);
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
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
    size_t written = end_fill(&rig, end, 1000);
    CHECK(written > 128 * KIB);
    CHECK(stream_pending(end->stream) > 127 * KIB);
    CHECK_EQ(stream_sent(end->stream) + stream_pending(end->stream), written);
    /* rule 2: room was told while the kernel still took, and never since */
    int rooms = end->calls[END_ROOM];
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(end->calls[END_ROOM], rooms);
    CHECK_EQ(peer_drain(&rig, peer, written), written);
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
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
    size_t written = end_fill(&rig, end, 1000);
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
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
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
    struct end *end = rig_accept(&rig, &peer, 0);
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
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
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
    CHECK_EQ(peer_drain(&rig, peer, written), written);
    CHECK_EQ(stream_progress_us(end->stream), loop_now_us(rig.loop));
    peer_close(peer);
    rig_close(&rig);
}

TEST(silence_begins_with_the_write_that_ends_an_empty_queue)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new_virtual(1000000), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
    loop_advance(rig.loop, 60000000); /* an idle minute is nobody's silence */
    uint64_t now_us = loop_now_us(rig.loop);
    CHECK_OK(stream_write(end->stream, SLICE("x")));
    CHECK_EQ(stream_progress_us(end->stream), now_us);
    peer_close(peer);
    rig_close(&rig);
}

/* --- what was gathered already --- */

TEST(what_is_sent_leaves_inside_the_call)
{
    struct rig rig;
    int peer;
    char bytes[64];
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    CHECK_OK(stream_send(end->stream, SLICE("hello")));
    CHECK_EQ(stream_pending(end->stream), 0);
    CHECK_EQ(stream_sent(end->stream), 5);
    CHECK_EQ(peer_recv(peer, bytes, sizeof(bytes)), 5); /* and no turn was run */
    CHECK_SLICE(slice_of(bytes, 5), "hello");
    CHECK_OK(stream_send(end->stream, SLICE("")));
    CHECK(rig_is_quiet(&rig));
    CHECK_EQ(end->calls[END_SENT], 0); /* the caller saw it */
    peer_close(peer);
    rig_close(&rig);
}

TEST(what_is_sent_goes_behind_what_waits)
{
    struct rig rig;
    int peer;
    char bytes[64];
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    CHECK_OK(stream_write(end->stream, SLICE("one ")));
    CHECK_OK(stream_send(end->stream, SLICE("two ")));
    CHECK_OK(stream_write(end->stream, SLICE("three")));
    CHECK_EQ(stream_pending(end->stream), 13);
    CHECK_EQ(peer_recv_now(peer, bytes, sizeof(bytes)), -EAGAIN);
    TURN_UNTIL(&rig, stream_pending(end->stream) == 0);
    CHECK_EQ(peer_recv(peer, bytes, sizeof(bytes)), 13);
    CHECK_SLICE(slice_of(bytes, 13), "one two three");
    CHECK_EQ(end->calls[END_SENT], 1);
    peer_close(peer);
    rig_close(&rig);
}

TEST(what_the_kernel_does_not_take_of_a_send_waits_in_its_place)
{
    enum { PIECE = 3000, CAP = 64 * KIB };
    struct rig rig;
    int peer;
    char bytes[CAP + 1];
    size_t written = 0;
    rig_open(&rig, loop_new(), CAP);
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
    CHECK_ERR(stream_send(end->stream, slice_of(bytes, CAP + 1)), ERR_LIMIT);
    for (; CAP - stream_pending(end->stream) >= PIECE; written += PIECE) {
        pattern_fill(bytes, PIECE, written);
        CHECK_OK(stream_send(end->stream, slice_of(bytes, PIECE)));
    }
    size_t pending = stream_pending(end->stream);
    CHECK_EQ(stream_sent(end->stream) + pending, written);
    CHECK_ERR(stream_send(end->stream, slice_of(bytes, PIECE)), ERR_FULL);
    CHECK_EQ(stream_pending(end->stream), pending);
    CHECK_EQ(peer_drain(&rig, peer, written), written);
    CHECK_EQ(stream_sent(end->stream), written);
    TURN_UNTIL(&rig, end->calls[END_ROOM] == 1);
    CHECK_OK(stream_send(end->stream, SLICE("again")));
    CHECK_EQ(stream_pending(end->stream), 0);
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_send_to_a_peer_that_is_gone_is_told_from_the_loop)
{
    struct rig rig;
    int peer;
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    peer_reset(peer);
    (void)stream_send(end->stream, SLICE("x")); /* the kernel may know of the reset, or not yet */
    CHECK_EQ(end->calls[END_CLOSED], 0);
    TURN_UNTIL(&rig, end->calls[END_CLOSED] == 1);
    CHECK_EQ(end->why, ERR_CLOSED);
    rig_close(&rig);
}

TEST(a_send_after_the_close_is_refused)
{
    struct rig rig;
    int peer;
    char bytes[8];
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 0);
    stream_shutdown(end->stream);
    CHECK_ERR(stream_send(end->stream, SLICE("x")), ERR_CLOSED);
    TURN_UNTIL(&rig, peer_recv_now(peer, bytes, sizeof(bytes)) == 0);
    end->deaf = true;
    stream_close(end->stream);
    CHECK_ERR(stream_send(end->stream, SLICE("x")), ERR_CLOSED);
    peer_close(peer);
    rig_close(&rig);
}

TEST(a_send_without_memory_for_its_rest_can_still_be_aborted)
{
    enum { PIECE = 3000 };
    struct rig rig;
    int peer;
    char bytes[PIECE] = {0};
    rig_open(&rig, loop_new(), 64 * KIB);
    struct end *end = rig_accept(&rig, &peer, 4 * KIB);
    enum err err = ERR_OK;
    mem_test_fail_nth(1);
    while (err == ERR_OK) /* until the kernel leaves something */
        err = stream_send(end->stream, slice_of(bytes, PIECE));
    CHECK_EQ(err, ERR_FULL);
    CHECK_EQ(stream_pending(end->stream), 0);
    end->deaf = true;
    stream_abort(end->stream);
    TURN_UNTIL(&rig, !end->stream);
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
    struct end *end = rig_accept(rig, &peer, 0);
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
