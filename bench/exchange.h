/* exchange - many connections to one server that send requests and have the answers judged, in one
 * thread, as cheaply as it can be: epoll (edge-triggered: a connection is registered once), one big
 * read buffer for all, one clock reading per read.
 *
 * 1. An exchange is one request and its answer. Every one that was started ends exactly once: with
 *    on_end (answer.state WHOLE or WRONG), from exchange_loop_turn(), or in exchange_leave().
 * 2. Its connection stays for the next start where the server lets it; one that the server closed
 *    between two of them, or before it answered a byte of the second, is replaced (once).
 * 3. An exchange that takes longer than the loop's timeout_us is WRONG. 0: none does.
 * 4. A paced exchange is read only by exchange_read(), as slowly as its owner likes. */
#pragma once

#include "answer.h"
#include "base/list.h"
#include "net/listener.h"

struct exchange;

struct exchange_events {
    /* The head came, with answer.status. NULL: nobody wants it. */
    void (*on_head)(struct exchange *exchange);
    /* `count` (1..) events came with one read; may call exchange_leave(). NULL: nobody wants it. */
    void (*on_events)(struct exchange *exchange, uint32_t count);
    /* May start it again. */
    void (*on_end)(struct exchange *exchange);
    answer_data_fn *on_data; /* see answer.h; ctx is the exchange */
};

struct exchange_loop {
    /* Only to be read. */
    uint64_t now_us; /* CLOCK_MONOTONIC, when the last read returned */
    uint64_t bytes;  /* received */
    uint64_t reads;  /* that brought bytes */
    uint64_t connections;
    uint32_t running;
    uint32_t connecting; /* of those: their connections are being made */

    /* Private. */
    struct net_address address;
    uint64_t timeout_us;
    uint64_t tick_period_us, tick_us;
    void (*tick)(void *ctx);
    void *tick_ctx;
    int epoll;
    char *buffer;
    struct list order;  /* of those that have a timeout, by start */
    struct list doomed; /* could not even begin: on_end comes with the next turn */
};

struct exchange {
    /* Set by the owner, before the first start. */
    const struct exchange_events *events;
    void *ctx;
    bool is_paced;
    int receive_buffer_bytes; /* of the socket; 0: as the system has it */

    /* Only to be read. */
    struct answer answer;
    uint64_t start_us; /* as given */
    uint64_t first_us; /* of its first event; 0: none came */
    uint64_t last_us;  /* of its last event */
    bool is_running;

    /* Private. */
    struct exchange_loop *loop;
    struct slice request;
    size_t sent;
    int fd; /* -1: none */
    bool is_connected, is_reused, is_hung_up;
    uint64_t until_us;
    struct list link;
};

/* ERR_SYSTEM + note. */
MUST_USE enum err exchange_loop_init(struct exchange_loop *loop, const struct net_address *address,
                                     uint64_t timeout_us, struct err_note *out_note);
void exchange_loop_fini(struct exchange_loop *loop);
/* From now on `tick` comes about every period_us, from exchange_loop_turn(); 0: no more. There is
 * one; periods that passed meanwhile are one. */
void exchange_loop_every(struct exchange_loop *loop, uint64_t period_us, void (*tick)(void *ctx),
                         void *ctx);
/* Waits, at most until that time (0: not at all; UINT64_MAX: for the next thing) and at most a
 * minute, and handles what came. Keeps to the timeouts. */
void exchange_loop_turn(struct exchange_loop *loop, uint64_t until_us);

/* A zeroed exchange, whose owner's fields are set. */
void exchange_init(struct exchange_loop *loop, struct exchange *exchange);
/* `request` stays the owner's and unchanged while it runs. `start_us` is when it should have begun:
 * what is measured counts from there. */
void exchange_start(struct exchange *exchange, struct slice request, enum answer_kind kind,
                    uint64_t start_us);
/* Reads at most `bytes`, of a paced one. */
void exchange_read(struct exchange *exchange, size_t bytes);
/* No timeout any more: it has shown what it should, and is kept open. */
void exchange_hold(struct exchange *exchange);
/* Its connection is open, whether it runs or waits for its next start. */
bool exchange_is_open(const struct exchange *exchange);
/* Ends it without on_end(): the connection is closed. Fine when it does not run. */
void exchange_leave(struct exchange *exchange);
/* Leaves, and gives its memory back. */
void exchange_fini(struct exchange *exchange);
