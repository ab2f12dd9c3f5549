/* server_rig - what the tests of the server stand on: a server on a free port of a loop whose time
 * the test moves, a handler that writes down what it is asked, and clients that are raw sockets.
 * Linked into tests only. Set-up that fails aborts. */
#pragma once

#include "http/server.h"
#include "net/rig.h"

enum { VISITS_MAX = 6000 };

/* One request as the handler saw it, and what became of its reply: the ctx of its events. */
struct visit {
    struct server_rig *rig;
    struct http_conn *conn; /* NULL once the handler has no business with it any more */
    char line[64];          /* "GET /path", cut */
    struct text body;
    int gone_calls, room_calls;
    enum err why; /* of on_gone() */
    size_t sent_bytes;
    /* Run inside those callbacks, after they were noted; may be NULL. */
    void (*on_gone)(struct visit *visit);
    void (*on_room)(struct visit *visit);
    void (*on_sent)(struct visit *visit);
};

struct server_rig {
    struct rig net; /* its loop, for TURN_UNTIL() */
    struct net_address address;
    struct net_claim *claim;
    struct http_server *server; /* NULL once closed */
    struct visit visits[VISITS_MAX];
    int visit_count;
    int head_count; /* calls of on_head() */
    /* The script. on_visit() NULL: answers at once with "METHOD /path body". */
    void (*on_visit)(struct visit *visit, const struct http_request *request);
    enum http_head_verdict (*on_head)(struct server_rig *rig, struct http_conn *conn,
                                      const struct http_request *request);
    void (*on_error_body)(struct server_rig *rig);
    void (*on_answer)(struct server_rig *rig, struct http_conn *conn, int status);
};

/* Limits that no test meets by accident; time is virtual and begins at 1 s. */
struct http_limits rig_limits(void);
struct server_rig *rig_server(const struct http_limits *limits);
/* The same on a loop of the caller's. */
struct server_rig *rig_server_on(struct loop *loop, const struct http_limits *limits);
/* Closes the server if the test has not, waits until nothing of it is left, frees the loop. */
void rig_server_free(struct server_rig *rig);

/* Turns until there is nothing to do: what was sent has been seen, and answered as far as it goes.
 */
void rig_settle(struct server_rig *rig);
void rig_advance_ms(struct server_rig *rig, uint64_t ms);

/* The handler's moves. */
void visit_listen(struct visit *visit);
void visit_reply(struct visit *visit, const char *body); /* 200, text/plain; the end */
void visit_begin(struct visit *visit);                   /* 200, text/plain, streamed */
void visit_end(struct visit *visit);
/* For on_visit: only listens; the test replies later. */
void visit_wait(struct visit *visit, const struct http_request *request);

struct client {
    struct server_rig *rig;
    int fd;
    struct text in; /* what was read so far */
    bool eof, reset;
};
void client_open(struct client *client, struct server_rig *rig);
/* With a receive buffer of about that size: one that can be seen to read slowly. */
void client_open_narrow(struct client *client, struct server_rig *rig, int rcvbuf_bytes);
void client_fini(struct client *client); /* closes if it is open */
/* All of it, with turns of the loop in between when the kernel's buffers are full. False when the
 * server has closed before it took everything. */
bool client_send(struct client *client, struct slice bytes);
void client_send_str(struct client *client, const char *text);
void client_shut(struct client *client); /* FIN */
/* Takes what has arrived, at most max bytes; never waits. */
void client_read_some(struct client *client, size_t max);
void client_read(struct client *client);
/* Lets the server go as far as it can, and reads all that comes of it. */
void client_settle(struct client *client);
/* The bytes read so far, without their Date lines; borrowed until the next call. */
const char *client_text(struct client *client);
size_t client_count(struct client *client, const char *needle); /* how often it occurs in them */
/* GET /0, /1 ..., each with the lines `more`. */
void client_send_requests(struct client *client, int count, const char *more);
/* The rig's answers to them are there, in that order, and no others. */
bool client_has_in_order(struct client *client, int count);

/* Reads and turns until `cond` holds. */
#define READ_UNTIL(client, cond) TURN_UNTIL(&(client)->rig->net, (client_read(client), (cond)))

/* The answer to "GET /path" as the default script gives it. */
#define ANSWER(connection, length, body)                                                           \
    "HTTP/1.1 200 OK\r\nConnection: " connection "\r\nContent-Type: text/plain\r\n"                \
    "Content-Length: " #length "\r\nX-Common: \r\n\r\n" body
