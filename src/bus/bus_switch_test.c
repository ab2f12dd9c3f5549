/* bus_switch_test - the door of the switch, and peers that do not keep to the protocol. */
#include "base/clock.h"
#include "bus/bus_switch_peer.h"
#include "bus/bus_unix_rig.h"
#include "testing/test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CAP = 64 * 1024 };

/* --- folders --- */

static enum err try_switch(const char *directory)
{
    const struct bus_switch_config config = {directory, CAP, RIG_NEVER_MS};
    struct bus_switch *bus_switch = NULL;
    struct err_note note = {0};
    struct loop *loop = loop_new();
    enum err err = bus_switch_new(loop, &config, &note, &bus_switch);
    CHECK((err != ERR_OK) == (note.text[0] != 0));
    bus_switch_free(&bus_switch);
    loop_free(loop);
    return err;
}

TEST(a_folder_that_others_can_enter_is_refused)
{
    struct bus_rig rig;
    bus_rig_make_directory(&rig);
    static const mode_t open_modes[] = {0710, 0701, 0750, 0777};
    for (size_t i = 0; i < ARRAY_COUNT(open_modes); i++) {
        CHECK(chmod(rig.directory, open_modes[i]) == 0);
        CHECK_ERR(try_switch(rig.directory), ERR_REFUSED);
    }
    CHECK(chmod(rig.directory, 0700) == 0);
    CHECK_OK(try_switch(rig.directory));
    CHECK(rmdir(rig.directory) == 0); /* and the socket is gone with the switch */
}

TEST(a_folder_that_is_none_is_refused)
{
    CHECK_ERR(try_switch("/proc/self/nothing"), ERR_SYSTEM);
    CHECK_ERR(try_switch("/dev/null"), ERR_REFUSED);
}

TEST(a_path_is_as_long_as_a_socket_may_be)
{
    char path[128];
    struct bus_unix *bus_unix;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[107 - 4 + 1] = 0; /* "/bus" makes 108 */
    CHECK_ERR(try_switch(path), ERR_LIMIT);
    CHECK_ERR(bus_unix_new(path, &bus_unix), ERR_LIMIT);
    path[107 - 4] = 0;
    CHECK_ERR(try_switch(path), ERR_SYSTEM); /* fits, and is not there */
    CHECK_OK(bus_unix_new(path, &bus_unix));
    bus_unix_free(bus_unix);
}

TEST(a_second_switch_in_a_folder_is_refused)
{
    struct bus_rig rig;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    CHECK_ERR(try_switch(rig.directory), ERR_REFUSED);
    bus_rig_stop(&rig);
}

TEST(another_user_is_not_let_in)
{
    struct bus_rig rig;
    char path[96];
    if (geteuid() != 0)
        SKIP("only root can become another user");
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    snprintf(path, sizeof(path), "%s/bus", rig.directory);
    CHECK(chmod(rig.directory, 0755) == 0 && chmod(path, 0777) == 0); /* the second line alone */
    struct bus_unix *bus_unix;
    struct bus *bus = NULL;
    CHECK_OK(bus_unix_new(rig.directory, &bus_unix));
    struct loop *loop = loop_new();
    CHECK(seteuid(65534) == 0);
    enum err as_other = bus_unix_open(bus_unix, loop, 300, &bus);
    bus_close(&bus);
    bus_unix_free(bus_unix); /* before we are ourselves again, or it would connect as such */
    CHECK(seteuid(0) == 0);
    CHECK_ERR(as_other, ERR_TIMEOUT);
    CHECK_EQ(bus_switch_count(rig.bus_switch).peers, 0);
    loop_free(loop);
    bus_rig_stop(&rig);
}

/* --- peers that do not keep to the protocol --- */

struct rogue {
    int fd; /* blocks, for as long as a test is patient */
};

static void rogue_open(struct rogue *rogue, const struct bus_rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = RIG_PATIENCE_US / 1000000};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus", rig->directory);
    rogue->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(rogue->fd >= 0);
    CHECK(setsockopt(rogue->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    CHECK(connect(rogue->fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

static void rogue_close(struct rogue *rogue)
{
    close(rogue->fd);
}

static void rogue_sends(struct rogue *rogue, struct slice bytes)
{
    CHECK_EQ(send(rogue->fd, bytes.data, bytes.len, MSG_NOSIGNAL), bytes.len);
}

/* Length, envelope, frame. */
static struct slice framed_bytes(const struct envelope *envelope, const char *frame,
                                 char out_bytes[1024])
{
    size_t frame_bytes = frame ? strlen(frame) : 0;
    size_t len = FRAMING_LENGTH_BYTES + envelope_encode(envelope, out_bytes + FRAMING_LENGTH_BYTES);
    ASSERT(len + frame_bytes <= 1024);
    framing_put_head(envelope, frame_bytes, out_bytes);
    if (frame_bytes)
        memcpy(out_bytes + len, frame, frame_bytes);
    return slice_of(out_bytes, len + frame_bytes);
}

static void rogue_says(struct rogue *rogue, const struct envelope *envelope, const char *frame)
{
    char bytes[1024];
    rogue_sends(rogue, framed_bytes(envelope, frame, bytes));
}

static void rogue_joins(struct rogue *rogue)
{
    rogue_says(rogue, &(struct envelope){.kind = ENVELOPE_HELLO, .number = 1}, NULL);
}

/* ERR_CLOSED: the switch has ended it. */
static enum err rogue_reads(struct rogue *rogue, char *out_bytes, size_t len)
{
    for (size_t got = 0; got < len;) {
        ssize_t more = recv(rogue->fd, out_bytes + got, len - got, 0);
        if (more == 0 || (more < 0 && errno == ECONNRESET))
            return ERR_CLOSED;
        CHECK(more > 0);
        got += (size_t)more;
    }
    return ERR_OK;
}

static enum err rogue_hears_one(struct rogue *rogue, enum envelope_kind *out_kind,
                                enum err *out_why)
{
    char length[FRAMING_LENGTH_BYTES], bytes[4096];
    struct envelope envelope;
    struct slice frame;
    TRY(rogue_reads(rogue, length, sizeof(length)));
    size_t len = (uint8_t)length[0] | (size_t)(uint8_t)length[1] << 8;
    CHECK(len <= sizeof(bytes) && !length[2] && !length[3]);
    TRY(rogue_reads(rogue, bytes, len));
    CHECK_OK(envelope_decode_front(slice_of(bytes, len), &envelope, &frame));
    *out_kind = envelope.kind;
    *out_why = envelope.why;
    return ERR_OK;
}

/* What comes, up to this kind: what it says of `why`. */
static enum err rogue_hears(struct rogue *rogue, enum envelope_kind expected)
{
    enum envelope_kind kind;
    enum err why;
    do
        CHECK_OK(rogue_hears_one(rogue, &kind, &why));
    while (kind != expected);
    return why;
}

static void rogue_is_cut_off(struct rogue *rogue)
{
    enum envelope_kind kind;
    enum err why;
    while (rogue_hears_one(rogue, &kind, &why) == ERR_OK)
        continue;
    rogue_close(rogue);
}

TEST(who_breaks_the_protocol_is_cut_off_and_nobody_else)
{
    static const struct envelope bad[] = {
        {.kind = ENVELOPE_WELCOME},
        {.kind = ENVELOPE_DELIVER, .subject = {"s", 1}},
        {.kind = ENVELOPE_ACK, .number = 1},
        {.kind = ENVELOPE_ACK, .number = UINT64_MAX},
        {.kind = ENVELOPE_REJECT},
        {.kind = ENVELOPE_REJECT, .number = 1},
        {.kind = ENVELOPE_CLOSE, .number = 1},
    };
    struct bus_rig rig;
    struct end a;
    struct rogue rogue;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_subscribe(&a, "a");
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        rogue_open(&rogue, &rig);
        rogue_joins(&rogue);
        CHECK_OK(rogue_hears(&rogue, ENVELOPE_WELCOME));
        rogue_says(&rogue, &bad[i], envelope_has_frame(bad[i].kind) ? "x" : NULL);
        rogue_is_cut_off(&rogue);
    }
    bus_rig_wait_for_peers(&rig, 1);
    end_publish(&a, "a", 10);
    end_wait(&a, &a.count, 1);
    CHECK_EQ(a.bounced, 0);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* Lengths that are none, lengths above what may be sent, and what is no envelope. */
TEST(who_sends_what_is_no_message_is_cut_off)
{
    static const struct slice garbage[] = {
        {"\0\0\0\0", 4},
        {"\37\0\0\0", 4},
        {"\377\377\377\377", 4},
        {"\0\0\2\0", 4}, /* 128 KiB, and the cap is 64 */
        {"\40\0\0\0\1\14\0\0\0\0\0\1xxxxxxxxxxxxxxxxxxxxxxxx", 36},
        {"\41\0\0\0\1\14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x", 37},
    };
    struct bus_rig rig;
    struct rogue rogue;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++) {
        rogue_open(&rogue, &rig);
        rogue_joins(&rogue);
        rogue_sends(&rogue, garbage[i]);
        rogue_is_cut_off(&rogue);
    }
    bus_rig_wait_for_peers(&rig, 0);
    bus_rig_stop(&rig);
}

TEST(who_does_not_begin_with_hello_is_cut_off)
{
    struct bus_rig rig;
    struct rogue rogue;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    rogue_open(&rogue, &rig);
    rogue_says(&rogue, &(struct envelope){.kind = ENVELOPE_PING, .number = 1}, NULL);
    rogue_is_cut_off(&rogue);
    bus_rig_stop(&rig);
}

TEST(who_says_nothing_at_all_is_cut_off)
{
    struct bus_rig rig;
    struct rogue rogue;
    bus_rig_start(&rig, CAP, 100);
    rogue_open(&rogue, &rig);
    rogue_is_cut_off(&rogue);
    bus_rig_stop(&rig);
}

TEST(who_does_not_read_its_answers_is_cut_off)
{
    struct bus_rig rig;
    struct rogue rogue;
    char ping[1024];
    const struct envelope envelope = {.kind = ENVELOPE_PING, .number = 1};
    struct slice bytes = framed_bytes(&envelope, NULL, ping);
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_WELCOME));
    size_t sent = 0;
    while (send(rogue.fd, bytes.data, bytes.len, MSG_NOSIGNAL) > 0)
        CHECK(++sent < 10 * PEER_ANSWERS_MAX);
    CHECK(sent > PEER_ANSWERS_MAX);
    bus_rig_wait_for_peers(&rig, 0);
    rogue_close(&rogue);
    bus_rig_stop(&rig);
}

TEST(a_message_may_come_byte_by_byte)
{
    struct bus_rig rig;
    struct rogue rogue;
    struct end a;
    char bytes[1024];
    const struct envelope publish = {.kind = ENVELOPE_PUBLISH, .subject = {"a", 1}};
    struct slice message = framed_bytes(&publish, "frame", bytes);
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_subscribe(&a, "a");
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    for (size_t i = 0; i < message.len; i++)
        rogue_sends(&rogue, slice_of(message.data + i, 1));
    end_wait(&a, &a.count, 1);
    rogue_close(&rogue);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* Sending to it fails before its last words are read: they count all the same. */
TEST(what_a_peer_handled_before_it_left_does_not_bounce)
{
    struct bus_rig rig;
    struct rogue rogue;
    struct end a;
    const struct envelope ping = {.kind = ENVELOPE_PING, .number = 1};
    const struct envelope ack = {.kind = ENVELOPE_ACK, .number = 1};
    const struct envelope subscribe = {
        .kind = ENVELOPE_SUBSCRIBE, .number = 1, .subject = {"a", 1}};
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    rogue_says(&rogue, &subscribe, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    end_publish(&a, "a", 10);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_DELIVER));
    bus_rig_hold(&rig);
    rogue_says(&rogue, &ping, NULL); /* the answer to it finds nobody */
    rogue_says(&rogue, &ack, NULL);
    rogue_close(&rogue);
    bus_rig_go_on(&rig);
    bus_rig_wait_for_peers(&rig, 1);
    CHECK_OK(bus_unix_sync(a.bus));
    (void)loop_turn(a.loop, false);
    CHECK_EQ(a.bounced, 0);
    end_close(&a);
    bus_rig_stop(&rig);
}

TEST(who_never_looks_at_its_bounces_is_cut_off)
{
    struct bus_rig rig;
    struct rogue rogue;
    const struct envelope publish = {.kind = ENVELOPE_PUBLISH, .subject = {"nobody", 6}};
    size_t cost = bus_cost(&publish, 1);
    bus_rig_start(&rig, 4096, RIG_NEVER_MS);
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_WELCOME));
    size_t window = 2 * BUS_OUT_WINDOWS * 4096 / cost;
    for (size_t i = 0; i < window; i++)
        rogue_says(&rogue, &publish, "x");
    rogue_says(&rogue, &(struct envelope){.kind = ENVELOPE_PING, .number = 1}, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_PONG));
    CHECK_EQ(bus_switch_count(rig.bus_switch).peers, 1);
    CHECK_EQ(bus_switch_count(rig.bus_switch).waiting, window);
    rogue_says(&rogue, &publish, "x");
    rogue_is_cut_off(&rogue);
    bus_rig_wait_for_peers(&rig, 0);
    CHECK_EQ(bus_switch_count(rig.bus_switch).waiting, 0);
    bus_rig_stop(&rig);
}

/* --- as many as there may be --- */

enum { MANY = 1024, FDS_PER_PEER = 2 /* a socket at each side */ };

static bool raise_fd_limit(rlim_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < wanted)
        return false;
    limit.rlim_cur = limit.rlim_cur > wanted ? limit.rlim_cur : wanted;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

TEST(one_peer_too_many_is_told_so_and_has_a_place_when_another_left)
{
    struct bus_rig rig;
    static struct rogue rogue[MANY + 1];
    if (!raise_fd_limit(MANY * FDS_PER_PEER + 256))
        SKIP("needs %d descriptors", MANY * FDS_PER_PEER + 256);
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    for (int i = 0; i <= MANY; i++) {
        rogue_open(&rogue[i], &rig);
        rogue_joins(&rogue[i]);
        CHECK_ERR(rogue_hears(&rogue[i], ENVELOPE_WELCOME), i < MANY ? ERR_OK : ERR_FULL);
    }
    bus_rig_wait_for_peers(&rig, MANY);
    rogue_says(&rogue[7], &(struct envelope){.kind = ENVELOPE_CLOSE}, NULL);
    bus_rig_wait_for_peers(&rig, MANY - 1);
    rogue_joins(&rogue[MANY]);
    CHECK_OK(rogue_hears(&rogue[MANY], ENVELOPE_WELCOME));
    for (int i = 0; i < MANY; i += 100) { /* and the others are served as ever */
        rogue_says(&rogue[i], &(struct envelope){.kind = ENVELOPE_PING, .number = 1}, NULL);
        if (i != 7)
            CHECK_OK(rogue_hears(&rogue[i], ENVELOPE_PONG));
    }
    for (int i = 0; i <= MANY; i++)
        rogue_close(&rogue[i]);
    bus_rig_stop(&rig);
}

TEST(a_peer_that_begins_anew_keeps_what_it_names_again_and_loses_the_rest)
{
    struct bus_rig rig;
    struct end a;
    struct rogue rogue;
    const struct envelope kept = {.kind = ENVELOPE_SUBSCRIBE, .number = 1, .subject = {"kept", 4}};
    const struct envelope left = {.kind = ENVELOPE_SUBSCRIBE, .number = 2, .subject = {"left", 4}};
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    rogue_says(&rogue, &kept, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    rogue_says(&rogue, &left, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    end_publish(&a, "kept", 10);
    CHECK_OK(bus_unix_sync(a.bus)); /* it waits at the rogue, who never acknowledges */
    rogue_joins(&rogue);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_WELCOME)); /* what came before it has bounced */
    end_wait(&a, &a.bounced, 1);
    CHECK_EQ(a.why, ERR_AGAIN);
    end_publish(&a, "kept", 10); /* not named again yet, and it holds */
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_DELIVER));
    rogue_says(&rogue, &kept, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    rogue_says(&rogue, &(struct envelope){.kind = ENVELOPE_PING, .number = 1}, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_PONG));
    end_publish(&a, "kept", 10);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_DELIVER));
    end_publish(&a, "left", 10);
    end_wait(&a, &a.bounced, 2);
    CHECK_EQ(a.why, ERR_NOT_FOUND);
    rogue_says(&rogue, &kept, NULL); /* twice in one life is against the protocol */
    rogue_is_cut_off(&rogue);
    end_close(&a);
    bus_rig_stop(&rig);
}
