/* client_request - one HTTP exchange as an object: connect, send, response head, body or events,
 * end. What libmillrace, tests and tools stand on.
 *
 *   CONNECT --connected--> HEAD --final head--> BODY --body whole--> END --FIN, or end_us--> DONE
 *                                    \_________no body_______________/
 *   any --error, deadline, cancel--> DONE
 *
 *   state    waits for            deadline (0: none)                 when it passes
 *   CONNECT  the handshake        connect_us, since the start        ERR_TIMEOUT
 *   HEAD     the final head       head_us, since it was connected    ERR_TIMEOUT
 *   BODY     the rest of it       idle_us, since bytes last came     ERR_TIMEOUT
 *   END      the peer's FIN       end_us, since the body was whole   ERR_OK
 *   all                           total_us, since the start          ERR_TIMEOUT; in END: ERR_OK
 *
 * 1. on_done() comes exactly once, from the loop, never inside client_request_start() or
 *    client_request_cancel(); after it, and after a cancel, no other callback comes. The handle is
 *    good until on_done() returns; memory goes at the end of that turn.
 * 2. What is held is bounded: the request until it has left, head_max_bytes of a response head,
 *    event_max_bytes of an unfinished event. Body bytes are handed on as they come. Reading never
 *    pauses (net rule 1): who cannot keep up cancels.
 * 3. One exchange, one connection: the request says "Connection: close", and in END a byte from
 *    the peer is an error (RESPONSE_BYTES_AFTER). With end_us 0 there is no END: what may come
 *    behind the answer is not looked at.
 * Belongs to the loop's thread. */
#pragma once

#include "client/http1_response.h"
#include "loop/loop.h"
#include "net/listener.h"
#include "sse/sse.h"

enum client_state {
    CLIENT_CONNECT,
    CLIENT_HEAD,
    CLIENT_BODY,
    CLIENT_END,
    CLIENT_DONE,
    CLIENT_STATE_COUNT
};
const char *client_state_name(enum client_state state); /* "CONNECT" */

enum {
    CLIENT_INTERIM_MAX = 8,                /* 1xx responses before the final one */
    CLIENT_REQUEST_MAX_BYTES = 64 << 20,   /* head and body of what we send */
    CLIENT_HEAD_BYTES_DEFAULT = 16 * 1024, /* where an option is 0 */
    CLIENT_EVENT_BYTES_DEFAULT = 1 << 20,
};

struct client_options {
    struct net_address address;
    const char *method; /* "POST": a token, ours; "HEAD" gets no body */
    struct slice target;
    struct slice fields; /* whole lines "Name: value\r\n", without Host, Content-Length and
                            Connection; the caller's: only line ends are checked */
    struct slice body;
    uint64_t connect_us, head_us, idle_us, end_us, total_us;
    size_t head_max_bytes;   /* 0: the default above */
    uint64_t body_max_bytes; /* 0: no bound; nothing is kept here */
    size_t event_max_bytes;  /* 0: the default above */
};

struct client_result {
    enum err err;                  /* ERR_OK: a whole response, whatever its status */
    enum client_state at;          /* the state that it ended in */
    int status;                    /* of the final head; 0: there was none */
    bool peer_closed;              /* the peer ended the connection */
    uint64_t body_bytes;           /* without chunk framing */
    enum response_refusal refusal; /* of ERR_PROTOCOL and ERR_LIMIT by the response parser */
};

struct client_events {
    /* The final head (1xx are passed over). Borrowed until it returns. May be NULL. */
    void (*on_head)(void *ctx, const struct http1_response *response);
    /* Body bytes as they come. May be NULL. */
    void (*on_body)(void *ctx, struct slice bytes);
    /* Given, and the response is a 200 text/event-stream: its events, and no on_body(). The bytes
     * of an event that is not finished at the body's end are dropped (WHATWG). */
    void (*on_event)(void *ctx, const struct sse_event *event);
    /* ERR_OK; ERR_REFUSED, ERR_SYSTEM: not connected; ERR_TIMEOUT; ERR_CLOSED: the connection ended
     * before the response did; ERR_PROTOCOL, ERR_LIMIT: see refusal (ERR_LIMIT with RESPONSE_FINE:
     * an event above event_max_bytes, or no memory); ERR_CANCELLED. */
    void (*on_done)(void *ctx, const struct client_result *result);
};

struct client_request;

/* Copies what it needs of `options`; `events` must stay valid until on_done() (a static const).
 * Callbacks may cancel. Any failure to connect is told by on_done(). Errors here, where nothing was
 * begun: ERR_LIMIT: the request is above CLIENT_REQUEST_MAX_BYTES, or no memory for it;
 * ERR_REFUSED: method, target or fields could not be sent as one well-formed request. */
MUST_USE enum err client_request_start(struct loop *loop, const struct client_options *options,
                                       const struct client_events *events, void *ctx,
                                       struct client_request **out_request);
/* Closes the connection at once; on_done() follows with ERR_CANCELLED (or with what had already
 * been decided). Harmless twice, and in every callback. */
void client_request_cancel(struct client_request *request);
enum client_state client_request_state(const struct client_request *request);
