/* exchange - see exchange.h. */
#include "exchange.h"

#include "base/clock.h"
#include "base/mem.h"
#include "epoll_us.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 256 << 10,
    EVENTS_PER_TURN = 256,
    /* So many connections fit the usual range of ephemeral ports (28 232) from one address; the
     * next ones come from 127.0.0.2 and so on. */
    CONNECTIONS_PER_SOURCE = 20000,
};

enum err exchange_loop_init(struct exchange_loop *loop, const struct net_address *address,
                            uint64_t timeout_us, struct err_note *out_note)
{
    *loop = (struct exchange_loop){.address = *address, .timeout_us = timeout_us};
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0)
        return err_note_fail(out_note, ERR_SYSTEM, "epoll: %s", strerror(errno));
    loop->buffer = mem_alloc(BUFFER_BYTES);
    loop->now_us = clock_monotonic_us();
    list_init(&loop->order);
    list_init(&loop->doomed);
    return ERR_OK;
}

void exchange_loop_fini(struct exchange_loop *loop)
{
    (void)close(loop->epoll); /* nothing can be lost with it */
    mem_free(loop->buffer);
}

/* --- its end --- */

static void disconnect(struct exchange *exchange)
{
    if (exchange->fd < 0)
        return;
    (void)close(exchange->fd); /* nothing more is wanted of it */
    exchange->fd = -1;
    exchange->loop->connecting -= !exchange->is_connected;
    exchange->is_connected = false;
}

static void stop(struct exchange *exchange)
{
    list_remove(&exchange->link);
    exchange->loop->running--;
    exchange->is_running = false;
}

static void end(struct exchange *exchange)
{
    if (exchange->answer.state != ANSWER_WHOLE || !exchange->answer.keep_alive ||
        exchange->is_hung_up)
        disconnect(exchange);
    stop(exchange);
    exchange->events->on_end(exchange);
}

void exchange_leave(struct exchange *exchange)
{
    disconnect(exchange);
    if (exchange->is_running)
        stop(exchange);
}

void exchange_fini(struct exchange *exchange)
{
    exchange_leave(exchange);
    answer_fini(&exchange->answer);
}

void exchange_hold(struct exchange *exchange)
{
    list_remove(&exchange->link);
}

bool exchange_is_open(const struct exchange *exchange)
{
    return exchange->fd >= 0;
}

/* --- its connection --- */

static enum err set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? ERR_OK : ERR_SYSTEM;
}

/* The nth connection's own address, where one is not enough. IPv4 has a whole network of them. */
static enum err choose_source(const struct exchange_loop *loop, int fd)
{
    uint32_t number = (uint32_t)(loop->connections / CONNECTIONS_PER_SOURCE % 200);
    struct sockaddr_in source = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number)};
    const struct sockaddr *target = (const void *)loop->address.storage.bytes;
    if (number == 0 || target->sa_family != AF_INET)
        return ERR_OK;
    TRY(set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
    return bind(fd, (const void *)&source, sizeof source) == 0 ? ERR_OK : ERR_SYSTEM;
}

static enum err connect_socket(struct exchange *exchange, int fd)
{
    struct exchange_loop *loop = exchange->loop;
    /* A paced one is not woken by bytes. */
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.ptr = exchange};
    if (!exchange->is_paced)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if (exchange->receive_buffer_bytes > 0)
        TRY(set_option(fd, SOL_SOCKET, SO_RCVBUF, exchange->receive_buffer_bytes));
    TRY(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    TRY(choose_source(loop, fd));
    if (connect(fd, (const void *)loop->address.storage.bytes, loop->address.len) != 0 &&
        errno != EINPROGRESS)
        return ERR_SYSTEM;
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return ERR_SYSTEM;
    loop->connections++;
    return ERR_OK;
}

static void begin_connection(struct exchange *exchange)
{
    const struct sockaddr *target = (const void *)exchange->loop->address.storage.bytes;
    exchange->sent = 0;
    exchange->is_reused = exchange->is_hung_up = false;
    exchange->fd = socket(target->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    exchange->loop->connecting += exchange->fd >= 0;
    if (exchange->fd >= 0 && connect_socket(exchange, exchange->fd) == ERR_OK)
        return;
    answer_fail(&exchange->answer, "connect: %s", strerror(errno));
    list_remove(&exchange->link); /* on_end must not come inside of exchange_start() */
    list_push_back(&exchange->loop->doomed, &exchange->link);
}

/* Rule 2: a server may close a connection that waits at any time. */
static bool begins_anew(struct exchange *exchange)
{
    if (!exchange->is_reused || exchange->answer.is_touched)
        return false;
    disconnect(exchange);
    begin_connection(exchange);
    return true;
}

static void lose(struct exchange *exchange, int reason)
{
    if (begins_anew(exchange))
        return;
    if (reason)
        answer_fail(&exchange->answer, "%s", strerror(reason));
    else
        answer_end(&exchange->answer);
    end(exchange);
}

/* --- its bytes --- */

static void send_request(struct exchange *exchange)
{
    while (exchange->sent < exchange->request.len) {
        struct slice rest = slice_after(exchange->request, exchange->sent);
        ssize_t sent = send(exchange->fd, rest.data, rest.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            lose(exchange, errno);
            return;
        }
        exchange->sent += (size_t)sent;
    }
}

/* Returns whether this answer goes on. */
static bool take(struct exchange *exchange, struct slice bytes)
{
    struct exchange_loop *loop = exchange->loop;
    struct answer *answer = &exchange->answer;
    uint32_t before = answer->events;
    int status_before = answer->status;
    loop->now_us = clock_monotonic_us();
    loop->bytes += bytes.len;
    loop->reads++;
    answer_feed(answer, bytes);
    if (answer->status != status_before && exchange->events->on_head)
        exchange->events->on_head(exchange);
    if (answer->events > before) {
        if (exchange->first_us == 0)
            exchange->first_us = loop->now_us;
        if (exchange->events->on_events)
            exchange->events->on_events(exchange, answer->events - before);
        exchange->last_us = loop->now_us;
    }
    if (!exchange->is_running)
        return false; /* it left */
    if (answer->state != ANSWER_WHOLE && answer->state != ANSWER_WRONG)
        return true;
    end(exchange);
    return false;
}

enum read {
    READ_FULL,  /* there may be more */
    READ_SHORT, /* there was no more; maybe a FIN */
    READ_OVER   /* nothing now, or this answer has ended */
};

static enum read read_some(struct exchange *exchange, size_t bytes)
{
    ssize_t count = recv(exchange->fd, exchange->loop->buffer, bytes, 0);
    if (count < 0 && errno == EINTR)
        return READ_FULL;
    if (count < 0 && errno == EAGAIN)
        return READ_OVER;
    if (count <= 0) {
        lose(exchange, count == 0 ? 0 : errno);
        return READ_OVER;
    }
    if (!take(exchange, slice_of(exchange->loop->buffer, (size_t)count)))
        return READ_OVER;
    return (size_t)count == bytes ? READ_FULL : READ_SHORT;
}

void exchange_read(struct exchange *exchange, size_t bytes)
{
    ASSERT(exchange->is_paced);
    if (exchange->is_running && exchange->is_connected)
        (void)read_some(exchange, bytes < BUFFER_BYTES ? bytes : BUFFER_BYTES); /* not now */
}

/* An edge is told once: reads until less came than would have fitted, or to the FIN. */
static void read_all(struct exchange *exchange, bool has_fin)
{
    enum read got;
    do
        got = read_some(exchange, BUFFER_BYTES);
    while (got == READ_FULL || (got == READ_SHORT && has_fin));
}

static void on_ready(struct exchange *exchange, uint32_t ready)
{
    bool is_hung_up = ready & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (exchange->fd < 0)
        return; /* it was left in this turn */
    if (!exchange->is_running) {
        if (is_hung_up || ready & EPOLLIN)
            disconnect(exchange); /* rule 2 */
        return;
    }
    exchange->is_hung_up = is_hung_up;
    if (ready & EPOLLOUT) {
        exchange->loop->connecting -= !exchange->is_connected;
        exchange->is_connected = true;
        send_request(exchange);
    }
    if (exchange->fd >= 0 && exchange->is_running && ready & ~(uint32_t)EPOLLOUT)
        read_all(exchange, is_hung_up);
}

/* --- the loop --- */

static void end_doomed(struct exchange_loop *loop)
{
    struct list now;
    list_init(&now); /* those that are doomed from here on wait for the next turn */
    for (struct list *node; (node = list_pop_front(&loop->doomed));)
        list_push_back(&now, node);
    for (struct list *node; (node = list_pop_front(&now));)
        end(CONTAINER_OF(node, struct exchange, link));
}

static struct exchange *oldest(const struct exchange_loop *loop)
{
    return list_is_empty(&loop->order) ? NULL
                                       : CONTAINER_OF(loop->order.next, struct exchange, link);
}

static void end_late(struct exchange_loop *loop)
{
    struct exchange *exchange;
    while ((exchange = oldest(loop)) && exchange->until_us <= loop->now_us) {
        answer_fail(&exchange->answer, "not over after %.3f s", (double)loop->timeout_us / 1e6);
        end(exchange);
    }
}

static uint64_t wait_us(const struct exchange_loop *loop, uint64_t until_us)
{
    const struct exchange *exchange = oldest(loop);
    uint64_t now_us = clock_monotonic_us();
    if (!list_is_empty(&loop->doomed))
        return 0;
    if (exchange && exchange->until_us < until_us)
        until_us = exchange->until_us;
    if (loop->tick_period_us && loop->tick_us < until_us)
        until_us = loop->tick_us;
    return until_us > now_us ? until_us - now_us : 0;
}

void exchange_loop_turn(struct exchange_loop *loop, uint64_t until_us)
{
    struct epoll_event ready[EVENTS_PER_TURN];
    int count = epoll_wait_us(loop->epoll, ready, EVENTS_PER_TURN, wait_us(loop, until_us));
    ASSERT_MSG(count >= 0, "epoll: %s", strerror(errno));
    loop->now_us = clock_monotonic_us();
    for (int i = 0; i < count; i++)
        on_ready(ready[i].data.ptr, ready[i].events);
    end_doomed(loop);
    end_late(loop);
    if (loop->tick_period_us && loop->now_us >= loop->tick_us) {
        loop->tick_us = loop->now_us + loop->tick_period_us;
        loop->tick(loop->tick_ctx);
    }
}

void exchange_loop_every(struct exchange_loop *loop, uint64_t period_us, void (*tick)(void *ctx),
                         void *ctx)
{
    loop->tick_period_us = period_us;
    loop->tick_us = clock_monotonic_us() + period_us;
    loop->tick = tick;
    loop->tick_ctx = ctx;
}

/* --- its beginning --- */

void exchange_init(struct exchange_loop *loop, struct exchange *exchange)
{
    ASSERT(exchange->events && exchange->events->on_end);
    exchange->loop = loop;
    exchange->fd = -1;
    list_init(&exchange->link);
}

void exchange_start(struct exchange *exchange, struct slice request, enum answer_kind kind,
                    uint64_t start_us)
{
    struct exchange_loop *loop = exchange->loop;
    ASSERT(!exchange->is_running);
    answer_fini(&exchange->answer);
    answer_init(&exchange->answer, kind, exchange->events->on_data, exchange);
    exchange->is_running = true;
    exchange->request = request;
    exchange->start_us = start_us;
    exchange->first_us = exchange->last_us = 0;
    exchange->sent = 0;
    loop->running++;
    if (loop->timeout_us) {
        exchange->until_us = clock_monotonic_us() + loop->timeout_us;
        list_push_back(&loop->order, &exchange->link);
    }
    if (exchange->fd < 0) {
        begin_connection(exchange);
    } else {
        exchange->is_reused = true;
        send_request(exchange);
    }
}
