/* rig - what the tests of net/ stand on: a loop with a listener on a free port, ends of streams
 * that write down what happens to them, and raw sockets for peers that do as they like. Linked
 * into tests only. Set-up that fails aborts. */
#pragma once

#include "base/clock.h"
#include "base/text.h"
#include "net/listener.h"

enum {
    RIG_ENDS_MAX = 1100,
    RIG_PATIENCE_US = 20 * 1000 * 1000, /* a failing wait ends here; a passing one takes its ms */
    RIG_QUIET_TURNS = 32,
};

enum end_event { END_READ, END_EOF, END_ROOM, END_SENT, END_CLOSED, END_EVENTS };

/* One side of a connection: the ctx of its stream. */
struct end {
    struct stream *stream; /* NULL before it is there, and after on_closed() */
    struct text in;        /* what was read */
    int calls[END_EVENTS]; /* how often each callback came */
    int late_calls;        /* callbacks that came after `deaf` or on_closed(): must stay 0 */
    size_t sent_bytes;     /* sum of on_sent() */
    size_t read_max_bytes; /* the longest on_read() */
    enum err why;          /* of on_closed() or on_connect() */
    bool deaf;             /* the test has closed it: only on_closed() may follow */
    void (*react)(struct end *end,
                  enum end_event event); /* runs inside the callbacks; may be NULL */
};

struct rig {
    struct loop *loop;
    struct net_address address;
    struct net_claim *claim;
    struct listener *listener;
    struct stream_options options;
    struct end *ends; /* RIG_ENDS_MAX, allocated at once; the accepted ones, in order */
    int accepted;
    bool leave_unstarted;                                 /* on_accept() only keeps the stream */
    void (*react)(struct end *end, enum end_event event); /* given to accepted ends */
    void (*on_accepted)(struct rig *rig);                 /* inside on_accept(); may be NULL */
};

void rig_open(struct rig *rig, struct loop *loop, size_t out_max_bytes);
/* Closes every stream that is left, waits for their on_closed(), frees all, the loop too. */
void rig_close(struct rig *rig);

/* One turn, after waiting at most a millisecond for something to do. False once `until_us` of the
 * monotonic clock has passed. */
bool rig_turn(struct rig *rig, uint64_t until_us);
/* Runs until a turn finds nothing to do; false if RIG_QUIET_TURNS turns always found something: the
 * loop spins. */
bool rig_is_quiet(struct rig *rig);

/* Turns until `cond` holds; then it is checked, so that a failure shows it. */
#define TURN_UNTIL(rig, cond)                                                                      \
    do {                                                                                           \
        uint64_t until_us_ = clock_monotonic_us() + RIG_PATIENCE_US;                               \
        while (!(cond) && rig_turn(rig, until_us_))                                                \
            continue;                                                                              \
        CHECK(cond);                                                                               \
    } while (0)

/* Client side, on the same loop, through net_connect(). */
void rig_connect(struct rig *rig, struct end *out_end);
void end_start(struct end *end, struct stream *stream);
void end_close(struct end *end);
void end_fini(struct end *end);

/* A raw client and its accepted end. rcvbuf_bytes as peer_connect(). */
struct end *rig_accept(struct rig *rig, int *out_peer, int rcvbuf_bytes);
/* Writes the pattern in pieces (8 KiB at most) until the kernel takes no more and the stream is
 * full. Returns how many bytes that was. Aborts if the loop spins meanwhile. */
size_t end_fill(struct rig *rig, struct end *end, size_t piece_bytes);
/* Turns and reads until the peer has `total` bytes. Returns how many came that match the pattern.
 */
size_t peer_drain(struct rig *rig, int peer, size_t total);

/* A raw client. rcvbuf_bytes 0: the system's default. Its calls give up after RIG_PATIENCE_US. */
int peer_connect(const struct net_address *address, int rcvbuf_bytes);
void peer_send(int fd, struct slice bytes);
/* What recv(2) says: bytes, 0 for FIN, -errno. */
long peer_recv(int fd, char *out_bytes, size_t max);
long peer_recv_now(int fd, char *out_bytes, size_t max); /* the same, without waiting */
void peer_shut(int fd);
void peer_reset(int fd); /* closes with RST */
void peer_close(int fd);

/* Our descriptor of the connection whose other end is `peer`, for a look from below. */
int rig_descriptor(int peer);
/* Waits until the kernel holds at least `bytes` that `fd` has not read. */
void wait_unread(int fd, int bytes);

/* The byte at `offset` of the endless text that the big transfers carry. */
char pattern_at(size_t offset);
void pattern_fill(char *out_bytes, size_t len, size_t offset);
bool pattern_matches(struct slice bytes, size_t offset);

size_t open_descriptors(void);
