/* bare_loop - the least that a server of event streams can do, as a limit to compare with: one
 * thread, epoll, and for each POST a stream of events that were formatted before, one write() for
 * every so many of them. It knows nothing of models, queues or JSON.
 *
 *   bare_loop --event-bytes 280 --events 100 --interval-us 10000
 *
 * 1. In each round every open stream gets one write of --events-per-write events (one chunk); what
 *    the socket does not take waits, and the stream sits out rounds until it is gone.
 * 2. A round begins every --interval-us; 0: at once.
 * 3. The last event of a stream is [DONE]. Then the connection may ask again.
 * 4. A GET is answered {"status":"ok"}, so that it has a /health.
 * 5. Ends at SIGTERM, SIGINT, or after --seconds. Only loopback. */
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "epoll_us.h"
#include "http/http1_parser.h"
#include "net/listener.h"

#include <argp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    INPUT_MAX_BYTES = 64 << 10, /* a head must fit; of a body only the length is looked at */
    READY_PER_TURN = 256,
    LISTEN_BACKLOG = 4096,
    EVENT_MIN_BYTES = 96, /* head and tail below, and a microsecond */
    WRITE_MAX_BYTES = 0xffff,
};

static const char stream_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                  "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char ok_answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                "Content-Length: 15\r\n\r\n{\"status\":\"ok\"}";
static const char event_head[] = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"";
static const char event_tail[] = "\"},\"finish_reason\":null}]}\n\n";
static const char done_chunk[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

struct options {
    uint32_t port, event_bytes, events, interval_us, events_per_write, seconds;
    bool has_clock;
};

struct server {
    struct options options;
    int epoll, listener;
    struct list connections; /* all of them */
    struct list streams;     /* those with a stream to write */
    struct text chunk;       /* what one round writes to one stream: a chunk of events */
    char *input;
    uint64_t next_round_us;
};

struct connection {
    struct server *server;
    struct list link;        /* of server->connections */
    struct list stream_link; /* of server->streams, while its socket takes more */
    int fd;
    uint32_t events_left; /* of its stream, [DONE] among them; 0: it has none */
    uint64_t body_left;   /* bytes of a request's body that are still to come */
    struct text input;    /* a head that came in pieces */
    struct text unsent;
};

/* --- writing --- */

static void close_connection(struct connection *connection)
{
    list_remove(&connection->link);
    list_remove(&connection->stream_link);
    (void)close(connection->fd); /* nothing more is wanted of it */
    text_fini(&connection->input);
    text_fini(&connection->unsent);
    mem_free(connection);
}

/* Returns false when the connection is broken, and gone. */
static bool write_bytes(struct connection *connection, struct slice bytes)
{
    if (connection->unsent.len > 0) { /* behind it */
        text_add(&connection->unsent, bytes);
        return true;
    }
    ssize_t sent = send(connection->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        close_connection(connection);
        return false;
    }
    text_add(&connection->unsent, slice_after(bytes, sent > 0 ? (size_t)sent : 0));
    if (connection->unsent.len > 0) /* nothing to look at before the socket says so */
        list_remove(&connection->stream_link);
    return true;
}

static bool write_unsent(struct connection *connection)
{
    struct text unsent = connection->unsent;
    text_init(&connection->unsent, unsent.max_bytes);
    bool is_fine = write_bytes(connection, text_slice(&unsent));
    text_fini(&unsent);
    if (is_fine && connection->unsent.len == 0 && connection->events_left > 0)
        list_push_back(&connection->server->streams, &connection->stream_link);
    return is_fine;
}

static void make_chunk(struct server *server, uint32_t events)
{
    const struct options *options = &server->options;
    struct text *out = &server->chunk;
    size_t filling = options->event_bytes - (sizeof event_head - 1) - (sizeof event_tail - 1);
    text_clear(out);
    text_add_f(out, "%x\r\n", events * options->event_bytes);
    for (uint32_t i = 0; i < events; i++) {
        text_add_str(out, event_head);
        if (options->has_clock)
            text_add_f(out, "%0*llu", (int)filling, (unsigned long long)clock_monotonic_us());
        for (size_t k = 0; !options->has_clock && k < filling; k++)
            text_add_byte(out, 'x');
        text_add_str(out, event_tail);
    }
    text_add_str(out, "\r\n");
}

static void write_round_to(struct connection *connection)
{
    struct server *server = connection->server;
    uint32_t per_write = server->options.events_per_write;
    if (connection->events_left > per_write) {
        if (server->options.has_clock)
            make_chunk(server, per_write);
        connection->events_left -= per_write;
        (void)write_bytes(connection, text_slice(&server->chunk)); /* if it is gone, it is gone */
        return;
    }
    struct text last; /* rare: once per stream */
    text_init(&last, 2 * WRITE_MAX_BYTES);
    if (connection->events_left > 1) {
        make_chunk(server, connection->events_left - 1);
        text_add(&last, text_slice(&server->chunk));
        make_chunk(server, per_write);
    }
    text_add_str(&last, done_chunk);
    connection->events_left = 0;
    list_remove(&connection->stream_link);
    (void)write_bytes(connection, text_slice(&last)); /* if it is gone, it is gone */
    text_fini(&last);
}

static void write_round(struct server *server)
{
    LIST_FOREACH_SAFE (node, &server->streams)
        write_round_to(CONTAINER_OF(node, struct connection, stream_link));
}

/* --- reading --- */

static bool begin_answer(struct connection *connection, enum http_method method)
{
    struct server *server = connection->server;
    if (method != HTTP_POST)
        return write_bytes(connection, slice_of(ok_answer, sizeof ok_answer - 1));
    connection->events_left = server->options.events;
    list_push_back(&server->streams, &connection->stream_link);
    return write_bytes(connection, slice_of(stream_head, sizeof stream_head - 1));
}

/* Returns false when the connection is gone. */
static bool take_head(struct connection *connection)
{
    static const struct http1_limits limits = {.head_max_bytes = INPUT_MAX_BYTES,
                                               .fields_max = HTTP_FIELDS_MAX,
                                               .body_max_bytes = UINT64_MAX};
    struct http_field fields[HTTP_FIELDS_MAX];
    struct http1_head_parser parser;
    struct http_request request;
    enum http1_refusal refusal;
    size_t head_bytes;
    struct slice input = text_slice(&connection->input);
    http1_head_init(&parser); /* heads come whole, nearly always */
    enum err err =
        http1_head_parse(&parser, input, &limits, fields, &request, &head_bytes, &refusal);
    if (err == ERR_AGAIN)
        return true;
    bool is_pipelined = err == ERR_OK && input.len - head_bytes > request.content_length;
    if (err != ERR_OK || request.chunked || is_pipelined || connection->events_left > 0) {
        close_connection(connection); /* nothing that we load with does that */
        return false;
    }
    connection->body_left = request.content_length - (input.len - head_bytes);
    enum http_method method = request.method;
    text_clear(&connection->input);
    return begin_answer(connection, method);
}

static bool take_input(struct connection *connection, struct slice bytes)
{
    size_t body = connection->body_left < bytes.len ? (size_t)connection->body_left : bytes.len;
    connection->body_left -= body;
    bytes = slice_after(bytes, body);
    if (bytes.len == 0)
        return true;
    text_add(&connection->input, bytes);
    if (text_status(&connection->input) == ERR_OK)
        return take_head(connection);
    close_connection(connection);
    return false;
}

static void on_connection_ready(struct connection *connection, uint32_t ready)
{
    ssize_t count;
    if (ready & EPOLLOUT && connection->unsent.len > 0 && !write_unsent(connection))
        return;
    if (!(ready & ~(uint32_t)EPOLLOUT))
        return;
    do {
        count = recv(connection->fd, connection->server->input, INPUT_MAX_BYTES, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN)) {
            close_connection(connection);
            return;
        }
    } while (count > 0 &&
             take_input(connection, slice_of(connection->server->input, (size_t)count)) &&
             count == INPUT_MAX_BYTES);
}

static void accept_all(struct server *server)
{
    int fd, one = 1;
    while ((fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = mem_alloc(sizeof *connection);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.ptr = connection};
        connection->server = server;
        connection->fd = fd;
        list_push_back(&server->connections, &connection->link);
        list_init(&connection->stream_link);
        text_init(&connection->input, INPUT_MAX_BYTES);
        text_init(&connection->unsent, 4 * WRITE_MAX_BYTES);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* slower without */
        if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            close_connection(connection); /* a limit of the machine: the client sees it */
    }
}

/* --- the loop --- */

static volatile sig_atomic_t is_stopped;
static void on_signal(int number)
{
    (void)number;
    is_stopped = 1;
}

static int wait_ready(struct server *server, struct epoll_event *ready, uint64_t until_us)
{
    uint64_t now_us = clock_monotonic_us();
    uint64_t when_us = list_is_empty(&server->streams) ? until_us : server->next_round_us;
    return epoll_wait_us(server->epoll, ready, READY_PER_TURN,
                         when_us > now_us ? when_us - now_us : 0);
}

static void run(struct server *server)
{
    struct epoll_event ready[READY_PER_TURN];
    uint64_t until_us = clock_monotonic_us() + server->options.seconds * UINT64_C(1000000);
    while (!is_stopped && clock_monotonic_us() < until_us) {
        int count = wait_ready(server, ready, until_us);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.ptr)
                on_connection_ready(ready[i].data.ptr, ready[i].events);
            else
                accept_all(server);
        }
        uint64_t now_us = clock_monotonic_us();
        if (now_us < server->next_round_us)
            continue;
        server->next_round_us = now_us + server->options.interval_us;
        write_round(server);
    }
}

/* --- its beginning and end --- */

static void start(struct server *server)
{
    list_init(&server->connections);
    list_init(&server->streams);
    text_init(&server->chunk, 2 * WRITE_MAX_BYTES);
    make_chunk(server, server->options.events_per_write);
    server->input = mem_alloc(INPUT_MAX_BYTES);
}

static void stop(struct server *server)
{
    LIST_FOREACH_SAFE (node, &server->connections) {
        close_connection(CONTAINER_OF(node, struct connection, link));
    }
    text_fini(&server->chunk);
    mem_free(server->input);
    (void)close(server->listener); /* nothing can be lost with them */
    (void)close(server->epoll);
}

static enum err listen_on(struct server *server, uint16_t *out_port, struct err_note *out_note)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int one = 1;
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->epoll < 0 || server->listener < 0 ||
        setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(server->listener, (const void *)&address, sizeof address) != 0 ||
        listen(server->listener, LISTEN_BACKLOG) != 0 ||
        getsockname(server->listener, (void *)&address, &len) != 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listener, &event) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "port %u: %s", server->options.port,
                             strerror(errno));
    *out_port = ntohs(address.sin_port);
    return ERR_OK;
}

struct row {
    const char *name;
    uint32_t min, max;
    size_t offset;
};
#define AT(member) offsetof(struct options, member)
static const struct row rows[] = {
    {"port", 0, UINT16_MAX, AT(port)},
    {"event-bytes", EVENT_MIN_BYTES, 32768, AT(event_bytes)},
    {"events", 1, 100000000, AT(events)},
    {"interval-us", 0, 60000000, AT(interval_us)},
    {"events-per-write", 1, 512, AT(events_per_write)},
    {"seconds", 1, 86400, AT(seconds)},
    {"clock", 0, 1, AT(has_clock)},
};
static const struct argp_option argp_options[] = {
    {"port", 0x100, "PORT", 0, "on 127.0.0.1; 0: the kernel picks one (0)", 0},
    {"event-bytes", 0x101, "B", 0, "bytes of an event, 96..32768 (280)", 0},
    {"events", 0x102, "M", 0, "events of a stream, [DONE] among them (64)", 0},
    {"interval-us", 0x103, "T", 0, "time between two rounds of writes; 0: none (0)", 0},
    {"events-per-write", 0x104, "K", 0, "events in one write, 1..512 (1)", 0},
    {"seconds", 0x105, "S", 0, "ends after so long (600)", 0},
    {"clock", 0x106, NULL, 0, "the text of an event is the microsecond it was made at", 0},
    {0},
};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    uint64_t value = 1; /* of a flag */
    if (key == ARGP_KEY_ARG)
        argp_error(state, "%s: there are only options", text);
    if (key == ARGP_KEY_END && options->event_bytes * options->events_per_write > WRITE_MAX_BYTES)
        argp_error(state, "a write of more than %d bytes", WRITE_MAX_BYTES);
    if (key < 0x100 || key >= 0x100 + (int)ARRAY_COUNT(rows))
        return key == ARGP_KEY_ARG || key == ARGP_KEY_END ? 0 : ARGP_ERR_UNKNOWN;
    const struct row *row = &rows[key - 0x100];
    if (text && (slice_parse_u64(slice_str(text), row->max, &value) != ERR_OK || value < row->min))
        argp_error(state, "%s %s: allowed are %u..%u", row->name, text, row->min, row->max);
    if (row->offset == AT(has_clock))
        options->has_clock = true;
    else
        *(uint32_t *)(void *)((char *)options + row->offset) = (uint32_t)value;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        argp_options, parse_option, NULL, "An SSE server that does next to nothing: the limit.",
        NULL,         NULL,         NULL};
    struct server server = {
        .options = {.event_bytes = 280, .events = 64, .events_per_write = 1, .seconds = 600}};
    struct sigaction action = {.sa_handler = on_signal};
    struct err_note note;
    uint16_t port = 0;
    (void)argp_parse(&argp, argc, argv, 0, NULL, &server.options); /* errors end the process */
    if (listen_on(&server, &port, &note) != ERR_OK) {
        (void)fprintf(stderr, "bare_loop: %s\n",
                      note.text); /* nobody is told when stderr is gone */
        return EXIT_FAILURE;
    }
    (void)net_raise_fd_limit();              /* too few show as connections that nobody accepts */
    (void)sigaction(SIGTERM, &action, NULL); /* these cannot fail */
    (void)sigaction(SIGINT, &action, NULL);
    start(&server);
    printf("bare_loop is listening on http://127.0.0.1:%u\n", port);
    (void)fflush(stdout); /* nobody reads: then nobody knows the port */
    run(&server);
    stop(&server);
    return EXIT_SUCCESS;
}
