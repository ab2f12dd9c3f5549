/* rig - what the tests of net/ stand on. See rig.h. */
#include "net/rig.h"

#include "base/mem.h"
#include "net/socket.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>
#include <uv.h>

enum { IN_MAX_BYTES = 16 << 20 };

/* --- ends --- */

static void note(struct end *end, enum end_event event)
{
    end->calls[event]++;
    if (end->calls[END_CLOSED] > (event == END_CLOSED) || (end->deaf && event != END_CLOSED))
        end->late_calls++;
    if (end->react)
        end->react(end, event);
}

static void on_read(void *ctx, struct slice bytes)
{
    struct end *end = ctx;
    text_add(&end->in, bytes);
    if (bytes.len > end->read_max_bytes)
        end->read_max_bytes = bytes.len;
    note(end, END_READ);
}

static void on_eof(void *ctx)
{
    note(ctx, END_EOF);
}

static void on_room(void *ctx)
{
    note(ctx, END_ROOM);
}

static void on_sent(void *ctx, size_t bytes)
{
    struct end *end = ctx;
    end->sent_bytes += bytes;
    note(end, END_SENT);
}

static void on_closed(void *ctx, enum err why)
{
    struct end *end = ctx;
    end->why = why;
    end->stream = NULL;
    note(end, END_CLOSED);
}

static const struct stream_events end_events = {.on_read = on_read,
                                                .on_eof = on_eof,
                                                .on_room = on_room,
                                                .on_sent = on_sent,
                                                .on_closed = on_closed};

void end_start(struct end *end, struct stream *stream)
{
    text_init(&end->in, IN_MAX_BYTES);
    end->stream = stream;
    stream_start(stream, &end_events, end);
}

void end_close(struct end *end)
{
    end->deaf = true;
    stream_close(end->stream);
}

void end_fini(struct end *end)
{
    text_fini(&end->in);
}

/* --- the rig --- */

static void on_accept(void *ctx, struct stream *stream)
{
    struct rig *rig = ctx;
    ASSERT(rig->accepted < RIG_ENDS_MAX);
    struct end *end = &rig->ends[rig->accepted++];
    end->react = rig->react;
    if (rig->leave_unstarted)
        end->stream = stream;
    else
        end_start(end, stream);
    if (rig->on_accepted)
        rig->on_accepted(rig);
}

static void must(enum err err, const struct err_note *note)
{
    ASSERT_MSG(err == ERR_OK, "%s: %s", err_name(err), note->text);
}

void rig_open(struct rig *rig, struct loop *loop, size_t out_max_bytes)
{
    struct err_note note = {""};
    *rig = (struct rig){.loop = loop, .options = {.out_max_bytes = out_max_bytes}};
    rig->ends = mem_array(RIG_ENDS_MAX, sizeof(*rig->ends));
    must(net_address_parse(SLICE("127.0.0.1"), 0, &rig->address, &note), &note);
    must(net_claim_port(&rig->address, "/tmp", &rig->claim, &note), &note);
    must(listener_open(loop, &rig->address, &rig->options, on_accept, rig, &rig->listener, &note),
         &note);
}

static bool streams_left(const struct rig *rig)
{
    for (int i = 0; i < rig->accepted; i++)
        if (rig->ends[i].stream && !rig->leave_unstarted)
            return true;
    return false;
}

void rig_close(struct rig *rig)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    listener_close(&rig->listener);
    for (int i = 0; i < rig->accepted; i++)
        if (rig->ends[i].stream)
            end_close(&rig->ends[i]);
    while (streams_left(rig) && rig_turn(rig, until_us))
        continue;
    ASSERT(!streams_left(rig));
    for (int i = 0; i < rig->accepted; i++) {
        ASSERT(rig->ends[i].late_calls == 0);
        end_fini(&rig->ends[i]);
    }
    mem_free(rig->ends);
    (void)rig_is_quiet(rig); /* lets the listener go */
    net_claim_release(rig->claim);
    loop_free(rig->loop);
}

bool rig_turn(struct rig *rig, uint64_t until_us)
{
    struct pollfd kernel = {.fd = uv_backend_fd(loop_uv(rig->loop)), .events = POLLIN};
    if (!loop_turn(rig->loop, false))
        (void)poll(&kernel, 1, 1); /* either outcome is a reason to look again */
    return clock_monotonic_us() < until_us;
}

bool rig_is_quiet(struct rig *rig)
{
    for (int i = 0; i < RIG_QUIET_TURNS; i++)
        if (!loop_turn(rig->loop, false))
            return true;
    return false;
}

static void on_connect(void *ctx, struct stream *stream, enum err why)
{
    struct end *end = ctx;
    ASSERT_MSG(stream, "%s", err_name(why));
    end_start(end, stream);
}

void rig_connect(struct rig *rig, struct end *out_end)
{
    enum err err = net_connect(rig->loop, &rig->address, &rig->options, on_connect, out_end);
    ASSERT_MSG(err == ERR_OK, "%s", err_name(err));
}

/* --- raw peers --- */

int peer_connect(const struct net_address *address, int rcvbuf_bytes)
{
    int fd = socket(address_raw(address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_MSG(fd >= 0, "%s", strerror(errno));
    struct timeval patience = {.tv_sec = RIG_PATIENCE_US / 1000000};
    ASSERT(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    ASSERT(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0);
    if (rcvbuf_bytes > 0)
        socket_set(fd, SOL_SOCKET, SO_RCVBUF, rcvbuf_bytes);
    ASSERT_MSG(connect(fd, address_raw(address), address->len) == 0, "%s", strerror(errno));
    return fd;
}

void peer_send(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        ASSERT_MSG(sent > 0, "%s", strerror(errno));
        bytes = slice_after(bytes, (size_t)sent);
    }
}

long peer_recv(int fd, char *out_bytes, size_t max)
{
    ssize_t got = recv(fd, out_bytes, max, 0);
    return got < 0 ? -errno : got;
}

long peer_recv_now(int fd, char *out_bytes, size_t max)
{
    ssize_t got = recv(fd, out_bytes, max, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

void peer_shut(int fd)
{
    ASSERT(shutdown(fd, SHUT_WR) == 0);
}

void peer_reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    ASSERT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
    ASSERT(close(fd) == 0);
}

void peer_close(int fd)
{
    ASSERT(close(fd) == 0);
}

static bool names_match(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    struct net_address left = {0}, right = {0};
    char left_text[64], right_text[64];
    memcpy(left.storage.bytes, a, sizeof(*a));
    memcpy(right.storage.bytes, b, sizeof(*b));
    net_address_format(&left, left_text);
    net_address_format(&right, right_text);
    return strcmp(left_text, right_text) == 0;
}

int rig_descriptor(int peer)
{
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(own);
    ASSERT(getsockname(peer, (struct sockaddr *)&own, &len) == 0);
    for (int fd = 0; fd < 4 * RIG_ENDS_MAX; fd++) {
        struct sockaddr_storage other = {0};
        len = sizeof(other);
        if (getpeername(fd, (struct sockaddr *)&other, &len) == 0 && names_match(&own, &other))
            return fd;
    }
    ASSERT_MSG(false, "no descriptor leads to this peer");
}

void wait_unread(int fd, int bytes)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    for (int unread = 0; unread < bytes;) {
        ASSERT_MSG(clock_monotonic_us() < until_us, "%d of %d bytes came", unread, bytes);
        ASSERT(ioctl(fd, FIONREAD, &unread) == 0);
    }
}

/* --- the two together --- */

struct end *rig_accept(struct rig *rig, int *out_peer, int rcvbuf_bytes)
{
    int before = rig->accepted;
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    *out_peer = peer_connect(&rig->address, rcvbuf_bytes);
    while (rig->accepted == before && rig_turn(rig, until_us))
        continue;
    ASSERT(rig->accepted == before + 1);
    return &rig->ends[before];
}

size_t end_fill(struct rig *rig, struct end *end, size_t piece_bytes)
{
    char piece[8 * 1024];
    size_t written = 0;
    ASSERT(piece_bytes <= sizeof(piece));
    for (;;) {
        pattern_fill(piece, piece_bytes, written);
        enum err err = stream_write(end->stream, slice_of(piece, piece_bytes));
        ASSERT_MSG(err == ERR_OK || err == ERR_FULL, "%s", err_name(err));
        if (err == ERR_OK) {
            written += piece_bytes;
            continue;
        }
        ASSERT(rig_is_quiet(rig)); /* the kernel takes what it will */
        if (stream_pending(end->stream) + piece_bytes > rig->options.out_max_bytes)
            return written;
    }
}

size_t peer_drain(struct rig *rig, int peer, size_t total)
{
    char bytes[64 * 1024];
    size_t got = 0;
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (got < total && rig_turn(rig, until_us)) {
        long len = peer_recv_now(peer, bytes, sizeof(bytes));
        if (len == -EAGAIN)
            continue;
        if (len <= 0 || !pattern_matches(slice_of(bytes, (size_t)len), got))
            break;
        got += (size_t)len;
    }
    return got;
}

/* --- bytes and budgets --- */

char pattern_at(size_t offset)
{
    return (char)(offset * 31 + (offset >> 8) * 7); /* no period that a lost chunk could hide in */
}

void pattern_fill(char *out_bytes, size_t len, size_t offset)
{
    for (size_t i = 0; i < len; i++)
        out_bytes[i] = pattern_at(offset + i);
}

bool pattern_matches(struct slice bytes, size_t offset)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] != pattern_at(offset + i))
            return false;
    return true;
}

size_t open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    ASSERT(folder);
    size_t count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count; /* with ".", ".." and the folder itself: the same three every time */
}
