/* server_rig - what the tests of the server stand on. See server_rig.h. */
#include "http/server_rig.h"

#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

enum { IN_MAX_BYTES = 64 << 20 };

/* --- the handler --- */

static void on_gone(void *ctx, enum err why)
{
    struct visit *visit = ctx;
    visit->conn = NULL;
    visit->gone_calls++;
    visit->why = why;
    if (visit->on_gone)
        visit->on_gone(visit);
}

static void on_room(void *ctx)
{
    struct visit *visit = ctx;
    ASSERT(visit->conn);
    visit->room_calls++;
    if (visit->on_room)
        visit->on_room(visit);
}

static void on_sent(void *ctx, size_t bytes)
{
    struct visit *visit = ctx;
    ASSERT(visit->conn && bytes > 0);
    visit->sent_bytes += bytes;
    if (visit->on_sent)
        visit->on_sent(visit);
}

static const struct http_reply_events visit_events = {
    .on_gone = on_gone, .on_room = on_room, .on_sent = on_sent};

void visit_listen(struct visit *visit)
{
    http_conn_listen(visit->conn, &visit_events, visit);
}

void visit_reply(struct visit *visit, const char *body)
{
    struct http_conn *conn = visit->conn;
    visit->conn = NULL;
    http_conn_reply(conn, 200, SLICE("text/plain"), SLICE(""), slice_str(body));
}

void visit_begin(struct visit *visit)
{
    http_conn_begin(visit->conn, 200, SLICE("text/plain"), SLICE(""));
}

void visit_end(struct visit *visit)
{
    struct http_conn *conn = visit->conn;
    visit->conn = NULL;
    http_conn_end(conn);
}

void visit_wait(struct visit *visit, const struct http_request *request)
{
    (void)request; /* it is in visit->line */
    visit_listen(visit);
}

static void visit_answer(struct visit *visit)
{
    struct text body;
    text_init(&body, IN_MAX_BYTES);
    text_add_str(&body, visit->line);
    text_add(&body, SLICE(" "));
    text_add(&body, text_slice(&visit->body));
    struct http_conn *conn = visit->conn;
    visit->conn = NULL;
    http_conn_reply(conn, 200, SLICE("text/plain"), SLICE(""), text_slice(&body));
    text_fini(&body);
}

static void on_request(void *ctx, struct http_conn *conn, const struct http_request *request)
{
    struct server_rig *rig = ctx;
    ASSERT(rig->visit_count < VISITS_MAX);
    struct visit *visit = &rig->visits[rig->visit_count++];
    visit->rig = rig;
    visit->conn = conn;
    snprintf(visit->line, sizeof visit->line, SLICE_FMT " " SLICE_FMT,
             SLICE_ARG(request->method_text), SLICE_ARG(request->path));
    text_init(&visit->body, IN_MAX_BYTES);
    text_add(&visit->body, request->body);
    if (rig->on_visit)
        rig->on_visit(visit, request);
    else
        visit_answer(visit);
}

static enum http_head_verdict on_head(void *ctx, struct http_conn *conn,
                                      const struct http_request *request)
{
    struct server_rig *rig = ctx;
    rig->head_count++;
    ASSERT(request->body.len == 0);
    return rig->on_head ? rig->on_head(rig, conn, request) : HTTP_HEAD_CONTINUE;
}

static void error_body(void *ctx, int status, const char *sentence, struct text *out_body)
{
    struct server_rig *rig = ctx;
    text_add_f(out_body, "%d %s", status, sentence);
    if (rig->on_error_body)
        rig->on_error_body(rig);
}

static void common_fields(void *ctx, struct http_conn *conn, struct text *out_lines)
{
    (void)ctx; /* the tag says it all */
    text_add(out_lines, SLICE("X-Common: "));
    text_add(out_lines, http_conn_tag(conn));
    text_add(out_lines, SLICE("\r\n"));
}

static void on_answer(void *ctx, struct http_conn *conn, int status)
{
    struct server_rig *rig = ctx;
    if (rig->on_answer)
        rig->on_answer(rig, conn, status);
}

/* --- the server --- */

struct http_limits rig_limits(void)
{
    return (struct http_limits){
        .message = {.head_max_bytes = 4096, .fields_max = 50, .body_max_bytes = 1024 * 1024},
        .head_ms = 1000,
        .body_ms = 2000,
        .idle_ms = 5000,
        .stall_ms = 3000,
        .drain_ms = 4000,
        .out_max_bytes = 64 * 1024,
        .connections_max = 100,
    };
}

static void must(enum err err, const struct err_note *note)
{
    ASSERT_MSG(err == ERR_OK, "%s: %s", err_name(err), note->text);
}

struct server_rig *rig_server_on(struct loop *loop, const struct http_limits *limits)
{
    struct err_note note = {""};
    struct server_rig *rig = mem_alloc(sizeof *rig);
    const struct http_handler handler = {.ctx = rig,
                                         .on_head = on_head,
                                         .on_request = on_request,
                                         .error_body = error_body,
                                         .common_fields = common_fields,
                                         .on_answer = on_answer};
    rig->net.loop = loop;
    must(net_address_parse(SLICE("127.0.0.1"), 0, &rig->address, &note), &note);
    must(net_claim_port(&rig->address, "/tmp", &rig->claim, &note), &note);
    must(http_server_open(loop, &rig->address, limits, &handler, &rig->server, &note), &note);
    return rig;
}

struct server_rig *rig_server(const struct http_limits *limits)
{
    return rig_server_on(loop_new_virtual(1000000), limits);
}

void rig_server_free(struct server_rig *rig)
{
    http_server_close(&rig->server);
    rig_settle(rig);
    for (int i = 0; i < rig->visit_count; i++)
        text_fini(&rig->visits[i].body);
    net_claim_release(rig->claim);
    loop_free(rig->net.loop); /* ASSERTs that nothing is armed any more */
    mem_free(rig);
}

void rig_settle(struct server_rig *rig)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (loop_turn(rig->net.loop, false))
        ASSERT_MSG(clock_monotonic_us() < until_us, "the loop finds no rest");
}

void rig_advance_ms(struct server_rig *rig, uint64_t ms)
{
    loop_advance(rig->net.loop, ms * 1000);
}

/* --- clients --- */

void client_open_narrow(struct client *client, struct server_rig *rig, int rcvbuf_bytes)
{
    *client = (struct client){.rig = rig};
    client->fd = peer_connect(&rig->address, rcvbuf_bytes);
    int at_once = 1; /* what a test sends arrives, however small */
    ASSERT(setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once) == 0);
    text_init(&client->in, IN_MAX_BYTES);
}

void client_open(struct client *client, struct server_rig *rig)
{
    client_open_narrow(client, rig, 0);
}

void client_fini(struct client *client)
{
    if (client->fd >= 0)
        peer_close(client->fd);
    client->fd = -1;
    text_fini(&client->in);
}

bool client_send(struct client *client, struct slice bytes)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (bytes.len > 0) {
        ssize_t sent = send(client->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent > 0)
            bytes = slice_after(bytes, (size_t)sent);
        else
            ASSERT_MSG(rig_turn(&client->rig->net, until_us), "the server does not read");
    }
    return true;
}

void client_send_str(struct client *client, const char *text)
{
    ASSERT(client_send(client, slice_str(text)));
}

void client_shut(struct client *client)
{
    peer_shut(client->fd);
}

/* An ack that waits 40 ms for company would hold back what the server's kernel has for us, and no
 * virtual clock helps there. */
static void ack_now(struct client *client)
{
    int quick = 1;
    if (client->fd >= 0 && !client->reset)
        (void)setsockopt(client->fd, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof quick); /* a hint */
}

void client_read_some(struct client *client, size_t max)
{
    while (max > 0 && !client->eof && !client->reset) {
        size_t part = max < 65536 ? max : 65536;
        char *room = text_reserve(&client->in, part);
        ASSERT(room);
        long got = peer_recv_now(client->fd, room, part);
        if (got == -EAGAIN)
            return;
        client->eof = got == 0;
        client->reset = got < 0;
        if (got > 0) {
            client->in.len += (size_t)got;
            max -= (size_t)got;
        }
    }
}

void client_read(struct client *client)
{
    client_read_some(client, SIZE_MAX);
}

void client_settle(struct client *client)
{
    size_t before;
    do {
        before = client->in.len;
        rig_settle(client->rig);
        client_read(client);
        ack_now(client);
    } while (client->in.len != before);
}

const char *client_text(struct client *client)
{
    static struct text shown;
    text_fini(&shown);
    text_init(&shown, IN_MAX_BYTES);
    struct slice rest = text_slice(&client->in);
    for (size_t at; (at = slice_find(rest, SLICE("Date: "))) != SLICE_NPOS;) {
        text_add(&shown, slice_first(rest, at));
        rest = slice_after(rest, at);
        rest = slice_after(rest, slice_find(rest, SLICE("\n")) + 1);
    }
    text_add(&shown, rest);
    text_add_byte(&shown, '\0');
    ASSERT(text_status(&shown) == ERR_OK);
    return shown.data;
}

size_t client_count(struct client *client, const char *needle)
{
    size_t count = 0;
    struct slice rest = text_slice(&client->in), wanted = slice_str(needle);
    for (size_t at; (at = slice_find(rest, wanted)) != SLICE_NPOS; count++)
        rest = slice_after(rest, at + wanted.len);
    return count;
}

void client_send_requests(struct client *client, int count, const char *more)
{
    struct text all;
    text_init(&all, 16 << 20);
    for (int i = 0; i < count; i++)
        text_add_f(&all, "GET /%d HTTP/1.1\r\nHost: x\r\n%s\r\n", i, more);
    ASSERT(client_send(client, text_slice(&all)));
    text_fini(&all);
}

bool client_has_in_order(struct client *client, int count)
{
    const char *at = client_text(client);
    for (int i = 0; i < count; i++) {
        char wanted[32];
        snprintf(wanted, sizeof(wanted), "\r\n\r\nGET /%d ", i);
        at = strstr(at, wanted);
        if (!at)
            return false;
        at += strlen(wanted);
    }
    return client_count(client, "HTTP/1.1 200 OK") == (size_t)count;
}
