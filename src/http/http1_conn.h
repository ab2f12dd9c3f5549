/* http1_conn - one HTTP/1.1 server connection, from accept to close. Internal to http/; it is what
 * struct http_conn of server.h is today.
 *
 *   accept --> HEAD --head whole--> BODY --body whole--> WAIT --begin--> REPLY --end--> FLUSH
 *               ^ \________________no body_______________/                                |
 *               |                                                                         |
 *               +---- first byte ---- IDLE <------------------- all of it has left -------+
 *               +------------- the next request is already here (pipelining) -------------+
 *
 *   any --refused, deadline, last reply, client's FIN--> DRAIN --FIN or drain_ms--> CLOSED
 *   any --stalled, reset, broken, server close---------> CLOSED
 *
 *   state   input            output                deadline   when it passes
 *   HEAD    request head     rest of the reply     head_ms    queue 408, DRAIN
 *   BODY    request body     100 Continue          body_ms    queue 408, DRAIN
 *   WAIT    kept             rest of the reply     -          the handler has its own
 *   REPLY   kept             head, body            -
 *   FLUSH   kept             rest of the reply     -
 *   IDLE    first byte       nothing               idle_ms    CLOSED
 *   DRAIN   discarded        rest, FIN             drain_ms   CLOSED (counts once all has left)
 *   CLOSED  -                -                     -
 *   In every state: output waits and the kernel took none of it for stall_ms: CLOSED by RST.
 *
 * 1. One request at a time. What the client sends meanwhile is kept, at most head_max_bytes +
 *    HTTP1_READ_MAX_BYTES; reading never stops, so more than that closes the connection. If it
 *    closes after this reply anyway, the bytes are discarded instead.
 * 2. A handler is attached from http_conn_listen() to the end of the reply. If the connection
 *    leaves that stretch otherwise, it gets on_gone(), once.
 * 3. Requests are served in the deferred part of a turn, at most HTTP1_REQUESTS_PER_TURN of them,
 *    and none while more than half of out_max_bytes waits to be read by the client. Only input
 *    that would outgrow rule 1 is served at once.
 * 4. Streamed output never exceeds out_max_bytes: such a write takes nothing and returns ERR_FULL.
 *    What is not a stream (a head, a whole reply, the last chunk) is queued in any case, once.
 * 5. A head is kept as bytes until its request has been handled, and parsed again when the body is
 *    whole: no pointers into a buffer that moves. After that both buffers are released.
 * 6. CLOSED is entered once; memory goes when the stream has closed, at the end of that turn.
 *
 * Belongs to the loop thread that accepted it. */
#pragma once

#include "http/http1_write.h"
#include "http/server.h"

enum http1_state {
    HTTP1_HEAD,
    HTTP1_BODY,
    HTTP1_WAIT,
    HTTP1_REPLY,
    HTTP1_FLUSH,
    HTTP1_IDLE,
    HTTP1_DRAIN,
    HTTP1_CLOSED,
    HTTP1_STATE_COUNT
};
const char *http1_state_name(enum http1_state state); /* "HEAD" */

enum {
    HTTP1_READ_MAX_BYTES = 64 * 1024, /* what stream.h reads per turn (its rule 4) */
    HTTP1_REQUESTS_PER_TURN = 32,
    /* DRAIN reads on so that the client, still sending, gets our answer and not a reset; up to
     * here: a client that uploads 100 MB where 8 are allowed still learns of it. */
    HTTP1_DISCARD_MAX_BYTES = 128 * 1024 * 1024,
    HTTP1_SERVER_TEXT_MAX_BYTES = 64 * 1024, /* a reply's head; error_body()'s text */
};

/* What the connections of one server have in common. It outlives them. */
struct http1_shared {
    struct loop *loop;
    struct http_limits limits;
    struct http_handler handler;
    struct http_server_stats stats;
    struct http_date date;
    struct text head;  /* where reply heads are made; empty between them */
    struct list conns; /* all of them, until their stream has closed */
    bool is_draining;  /* replies say Connection: close */
    /* The stream has closed; `conn` is off the list and goes at the end of the turn. */
    void (*on_closed)(void *ctx, struct http_conn *conn);
    void *ctx;
};

/* Takes `stream`. Starts in HEAD. */
struct http_conn *http1_conn_open(struct http1_shared *shared, struct stream *stream);
/* Instead of reading a request: answers and enters DRAIN. `fields` as in http_conn_reply(). */
void http1_conn_turn_away(struct http_conn *conn, int status, const char *sentence,
                          struct slice fields);
bool http1_conn_was_turned_away(const struct http_conn *conn);
/* The server drains: closes if IDLE, else after the reply that is due. */
void http1_conn_drain(struct http_conn *conn);
/* CLOSED from any state; harmless twice. An attached handler gets on_gone(why) before it returns.
 */
void http1_conn_close(struct http_conn *conn, enum err why);

struct http_conn *http1_conn_of(struct list *link); /* an entry of shared->conns */
