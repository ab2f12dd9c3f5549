/* http1_conn_impl - what http1_conn.c (the machine), http1_request.c (what is read) and
 * http1_reply.c (what is said) share. Nobody else includes it. */
#pragma once

#include "http/http1_conn.h"
#include "http/http1_input.h"

/* One request and its reply; zeroed when it is over. */
struct http1_exchange {
    const struct http_reply_events *events; /* rule 2; NULL: nobody listens */
    void *events_ctx;
    size_t body_queued; /* bytes of the reply's body that were accepted */
    size_t body_sent;   /* of these, reported through on_sent() */
    char *tag;          /* NULL: none */
    uint32_t mark;
    uint8_t tag_bytes;
    uint8_t minor;   /* the client speaks HTTP/1.minor */
    bool is_head;    /* the reply has no body, whatever its head says */
    bool has_body;   /* the request has one */
    bool is_last;    /* the connection closes after the reply */
    bool is_chunked; /* how the reply's body is framed */
    bool drops_body; /* HEAD, 204, 304 */
    bool wants_room; /* on_room() is owed */
};

struct http_conn {
    struct list link; /* of shared->conns */
    struct http1_shared *shared;
    struct stream *stream;
    enum http1_state state;
    uint32_t requests;
    uint64_t state_ends_us; /* UINT64_MAX: never */
    struct deadline deadline;
    struct deferred serve;
    struct free_later free_later;
    struct http1_input input; /* [head][body, until it is parsed][what came behind] */
    struct http1_head_parser head_parser;
    struct http1_body_parser body_parser;
    size_t head_bytes;    /* of the present request */
    size_t request_bytes; /* of the input, that go when it has been handled */
    struct text body;
    struct http_request *running; /* lent to a callback right now; NULL outside of it */
    size_t discarded;
    struct http1_exchange x;
    bool peer_eof;
    bool is_broken; /* a write failed: serve() ends it, so that on_gone() comes from the loop */
    bool was_turned_away;
};

/* http1_conn.c */
void http1_conn_set_state(struct http_conn *conn, enum http1_state next);
void http1_conn_arm_deadline(struct http_conn *conn);
void http1_conn_release_request(struct http_conn *conn);
void http1_conn_forget_exchange(struct http_conn *conn);
/* DRAIN, and on_gone(why) if a handler is attached. Not from DRAIN or CLOSED. */
void http1_conn_enter_drain(struct http_conn *conn, enum err why);
/* As http1_conn_close(), with RST: the client must not take what it has for a whole answer. */
void http1_conn_abort(struct http_conn *conn, enum err why);

void http1_conn_refuse_malformed(struct http_conn *conn, enum http1_refusal refusal);
/* The answer is 503 where one is still due, else the connection goes. */
void http1_conn_out_of_memory(struct http_conn *conn);

/* http1_request.c: one step each. False when it has to wait for more bytes, or refused. */
bool http1_conn_read_head(struct http_conn *conn);
bool http1_conn_read_body(struct http_conn *conn);

/* http1_reply.c */
void http1_conn_queue(struct http_conn *conn, struct slice bytes);
void http1_conn_queue_error(struct http_conn *conn, int status, struct slice fields,
                            struct slice body);
void http1_conn_report_sent(struct http_conn *conn);
void http1_conn_offer_room(struct http_conn *conn);
