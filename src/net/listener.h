/* listener - accepts TCP connections on one address for one loop. Several loops may listen on the
 * same address (SO_REUSEPORT); the kernel spreads connections over them. */
#pragma once

#include "net/stream.h"

/* An address to listen on, resolved once. */
struct net_address {
    union {
        char bytes[128]; /* struct sockaddr_storage */
        long align;
    } storage;
    unsigned len;
};
/* Numeric IPv4/IPv6 ("127.0.0.1", "::1", "[::1]") or "localhost"; no DNS. ERR_PROTOCOL + note. */
MUST_USE enum err net_address_parse(struct slice host, uint16_t port, struct net_address *out,
                                    struct err_note *out_note);
/* "127.0.0.1:8080" or "[::1]:8080". */
void net_address_format(const struct net_address *address, char out_text[64]);
uint16_t net_address_port(const struct net_address *address);
bool net_address_is_loopback(const struct net_address *address);

/* Makes sure nobody serves this address yet: SO_REUSEPORT would let a second process of the same
 * user join in silently and steal half of the connections. A plain bind (no REUSEPORT) of the port
 * finds other programs; held for the life of the process, an exclusive lock file per port in
 * lock_dir finds another of ours in the moment before it listens. With port 0 the kernel picks one
 * and *address is updated. ERR_REFUSED + note: in use (by whom, if known). Call once per address,
 * before the listeners. */
struct net_claim;
MUST_USE enum err net_claim_port(struct net_address *address, const char *lock_dir,
                                 struct net_claim **out_claim, struct err_note *out_note);
void net_claim_release(struct net_claim *claim); /* NULL is fine */

struct listener;
/* Takes over `stream` (call stream_start()). */
typedef void accept_fn(void *ctx, struct stream *stream);

/* Accepted sockets get TCP_NODELAY, SO_SNDBUF 64 KiB and TCP_NOTSENT_LOWAT 16 KiB, else the kernel
 * would swallow whole answers and backpressure would never act. Out of descriptors: the connection
 * is accepted on a spare one and closed at once, so that the queue does not spin. */
MUST_USE enum err listener_open(struct loop *loop, const struct net_address *address,
                                const struct stream_options *options, accept_fn *on_accept,
                                void *ctx, struct listener **out_listener,
                                struct err_note *out_note);
/* A socket that listens, for a process that keeps it and hands it over to those that accept: non-
 * blocking, close-on-exec, SO_REUSEPORT (one for each loop that will accept; the kernel gives each
 * its share of the connections, whether anybody accepts there or not). Who connects while nobody
 * accepts waits in its queue (1024; beyond it the kernel lets the handshake wait). Errors as
 * listener_open(). */
MUST_USE enum err net_listen(const struct net_address *address, int *out_fd,
                             struct err_note *out_note);
/* listener_open() on such a socket. `fd` is taken on success. ERR_REFUSED + note: it is not open,
 * or not a TCP socket that listens; ERR_SYSTEM + note. */
MUST_USE enum err listener_adopt(struct loop *loop, int fd, const struct stream_options *options,
                                 accept_fn *on_accept, void *ctx, struct listener **out_listener,
                                 struct err_note *out_note);
/* Accepts what the kernel has already completed (until EAGAIN), then closes our descriptor: nobody
 * whose connect() succeeded is reset. Of an adopted socket whoever handed it over may keep a copy:
 * then it goes on listening, and who connects from now on waits for the next one to adopt it. (The
 * queue is emptied all the same: we cannot know whether there is such a copy.) */
void listener_close(struct listener **listener);

/* Client side: connects; on_connect gets the stream, or NULL and why (ERR_REFUSED, ERR_TIMEOUT,
 * ERR_SYSTEM), from the loop. An error returned here: it was not even begun, on_connect does not
 * come. The kernel bounds the wait (about two minutes). Used by tests and clients. */
typedef void connect_fn(void *ctx, struct stream *stream, enum err why);
MUST_USE enum err net_connect(struct loop *loop, const struct net_address *address,
                              const struct stream_options *options, connect_fn *on_connect,
                              void *ctx);
/* The same, with a way to give it up: the handle is good until on_connect() begins. */
struct net_attempt;
MUST_USE enum err net_connect_begin(struct loop *loop, const struct net_address *address,
                                    const struct stream_options *options, connect_fn *on_connect,
                                    void *ctx, struct net_attempt **out_attempt);
/* Takes the attempt: its socket is closed at once, and on_connect() does not come. */
void net_connect_cancel(struct net_attempt **attempt);
/* Raises the soft descriptor limit to the hard one; returns the limit now in force. */
uint64_t net_raise_fd_limit(void);
