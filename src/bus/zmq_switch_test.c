/* zmq_switch_test - the door of the switch, and peers that do not keep to the protocol. */
#include "testing/test.h"

#if !MILLRACE_HAS_ZMQ
TEST(zmq_switch_is_built_when_libzmq_is_there)
{
    SKIP("libzmq was not found when this was configured (Debian: libzmq3-dev)");
}
#else

#include "base/clock.h"
#include "bus/bus_zmq_link.h"
#include "bus/bus_zmq_rig.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CAP = 64 * 1024 };

/* --- folders --- */

static enum err try_switch(const char *directory)
{
    const struct zmq_switch_config config = {directory, CAP, RIG_NEVER_MS};
    struct zmq_switch *zmq_switch = NULL;
    struct err_note note = {0};
    struct loop *loop = loop_new();
    enum err err = zmq_switch_new(loop, &config, &note, &zmq_switch);
    CHECK((err != ERR_OK) == (note.text[0] != 0));
    zmq_switch_free(&zmq_switch);
    loop_free(loop);
    return err;
}

TEST(a_folder_that_others_can_enter_is_refused)
{
    struct zmq_rig rig;
    zmq_rig_make_directory(&rig);
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
    struct bus_zmq *bus_zmq;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[107 - 4 + 1] = 0; /* "/bus" makes 108 */
    CHECK_ERR(try_switch(path), ERR_LIMIT);
    CHECK_ERR(bus_zmq_new(path, &bus_zmq), ERR_LIMIT);
    path[107 - 4] = 0;
    CHECK_ERR(try_switch(path), ERR_SYSTEM); /* fits, and is not there */
    CHECK_OK(bus_zmq_new(path, &bus_zmq));
    bus_zmq_free(bus_zmq);
}

TEST(a_second_switch_in_a_folder_is_refused)
{
    struct zmq_rig rig;
    zmq_rig_start(&rig, CAP, RIG_NEVER_MS);
    CHECK_ERR(try_switch(rig.directory), ERR_REFUSED);
    zmq_rig_stop(&rig);
}

TEST(another_user_is_not_let_in)
{
    struct zmq_rig rig;
    char path[96];
    if (geteuid() != 0)
        SKIP("only root can become another user");
    zmq_rig_start(&rig, CAP, RIG_NEVER_MS);
    snprintf(path, sizeof(path), "%s/bus", rig.directory);
    CHECK(chmod(rig.directory, 0755) == 0 && chmod(path, 0777) == 0); /* the second line alone */
    struct bus_zmq *bus_zmq;
    struct bus *bus = NULL;
    CHECK_OK(bus_zmq_new(rig.directory, &bus_zmq));
    struct loop *loop = loop_new();
    CHECK(seteuid(65534) == 0);
    enum err as_other = bus_zmq_open(bus_zmq, loop, 300, &bus);
    bus_close(&bus);
    bus_zmq_free(bus_zmq); /* before we are ourselves again, or it would connect as such */
    CHECK(seteuid(0) == 0);
    CHECK_ERR(as_other, ERR_TIMEOUT);
    CHECK_EQ(zmq_switch_count(rig.zmq_switch).peers, 0);
    loop_free(loop);
    zmq_rig_stop(&rig);
}

/* --- peers that do not keep to the protocol --- */

struct rogue {
    void *context, *socket;
};

static void rogue_open_in(struct rogue *rogue, const struct zmq_rig *rig, void *context,
                          const char *id)
{
    char address[128];
    int zero = 0, patience_ms = 30000;
    snprintf(address, sizeof(address), "ipc://%s/bus", rig->directory);
    rogue->context = context;
    rogue->socket = zmq_socket(rogue->context, ZMQ_DEALER);
    CHECK(rogue->socket != NULL);
    zmq_setsockopt(rogue->socket, ZMQ_ROUTING_ID, id, strlen(id));
    zmq_setsockopt(rogue->socket, ZMQ_LINGER, &zero, sizeof(zero));
    zmq_setsockopt(rogue->socket, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms));
    CHECK(zmq_connect(rogue->socket, address) == 0);
}

static void rogue_open(struct rogue *rogue, const struct zmq_rig *rig)
{
    rogue_open_in(rogue, rig, zmq_ctx_new(), "rogue");
}

static void rogue_close(struct rogue *rogue)
{
    zmq_close(rogue->socket);
    zmq_ctx_term(rogue->context);
}

static void rogue_says(struct rogue *rogue, const struct envelope *envelope, const char *frame)
{
    char bytes[ENVELOPE_MAX_BYTES];
    size_t len = envelope_encode(envelope, bytes);
    CHECK(zmq_send(rogue->socket, bytes, len, frame ? ZMQ_SNDMORE : 0) == (int)len);
    if (frame)
        CHECK(zmq_send(rogue->socket, frame, strlen(frame), 0) >= 0);
}

static void rogue_joins(struct rogue *rogue)
{
    rogue_says(rogue, &(struct envelope){.kind = ENVELOPE_HELLO, .number = 1}, NULL);
}

/* What comes, up to this kind: what it says of `why`. */
static enum err rogue_hears(struct rogue *rogue, enum envelope_kind expected)
{
    for (int i = 0; i < 100000; i++) {
        char bytes[4096];
        int len = zmq_recv(rogue->socket, bytes, sizeof(bytes), 0), more = 0;
        size_t more_bytes = sizeof(more);
        struct envelope envelope;
        CHECK(len > 0);
        CHECK_OK(envelope_decode(slice_of(bytes, (size_t)len), &envelope));
        zmq_getsockopt(rogue->socket, ZMQ_RCVMORE, &more, &more_bytes);
        if (more)
            CHECK(zmq_recv(rogue->socket, bytes, sizeof(bytes), 0) >= 0);
        if (envelope.kind == expected)
            return envelope.why;
    }
    CHECK(!"it never came");
    return ERR_TIMEOUT;
}

TEST(who_breaks_the_protocol_is_cut_off_and_nobody_else)
{
    static const struct envelope bad[] = {
        {.kind = ENVELOPE_WELCOME},
        {.kind = ENVELOPE_GONE},
        {.kind = ENVELOPE_DELIVER, .subject = {"s", 1}},
        {.kind = ENVELOPE_ACK, .number = 1},
        {.kind = ENVELOPE_ACK, .number = UINT64_MAX},
        {.kind = ENVELOPE_REJECT},
        {.kind = ENVELOPE_REJECT, .number = 1},
        {.kind = ENVELOPE_CLOSE, .number = 1},
    };
    struct zmq_rig rig;
    struct end a;
    struct rogue rogue;
    zmq_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_subscribe(&a, "a");
    rogue_open(&rogue, &rig);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        rogue_joins(&rogue);
        CHECK_OK(rogue_hears(&rogue, ENVELOPE_WELCOME));
        rogue_says(&rogue, &bad[i], envelope_has_frame(bad[i].kind) ? "x" : NULL);
        CHECK_OK(rogue_hears(&rogue, ENVELOPE_GONE));
        zmq_rig_wait_for_peers(&rig, 1);
    }
    static const char *const garbage[] = {"", "x", "\1\6\0\0\0\0\0\0"};
    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++) {
        rogue_joins(&rogue);
        CHECK(zmq_send(rogue.socket, garbage[i], strlen(garbage[i]), 0) >= 0);
        CHECK_OK(rogue_hears(&rogue, ENVELOPE_GONE));
    }
    rogue_joins(&rogue);
    for (int i = 0; i < 5; i++)
        CHECK(zmq_send(rogue.socket, "part", 4, i < 4 ? ZMQ_SNDMORE : 0) == 4);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_GONE));
    zmq_rig_wait_for_peers(&rig, 1);
    end_publish(&a, "a", 10);
    end_wait(&a, &a.count, 1);
    CHECK_EQ(a.bounced, 0);
    rogue_close(&rogue);
    end_close(&a);
    zmq_rig_stop(&rig);
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* Sending to it fails before its last words are read: they count all the same. */
TEST(what_a_peer_handled_before_it_left_does_not_bounce)
{
    struct zmq_rig rig;
    struct rogue rogue;
    struct end a;
    const struct envelope ping = {.kind = ENVELOPE_PING}, ack = {.kind = ENVELOPE_ACK, .number = 1};
    const struct envelope subscribe = {
        .kind = ENVELOPE_SUBSCRIBE, .number = 1, .subject = {"a", 1}};
    zmq_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    size_t descriptors = open_descriptors();
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    rogue_says(&rogue, &subscribe, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    end_publish(&a, "a", 10);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_DELIVER));
    zmq_rig_hold(&rig);
    rogue_says(&rogue, &ping, NULL); /* the answer to it finds nobody */
    rogue_says(&rogue, &ack, NULL);
    int forever = -1;
    zmq_setsockopt(rogue.socket, ZMQ_LINGER, &forever, sizeof(forever));
    rogue_close(&rogue);
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (open_descriptors() > descriptors && clock_monotonic_us() < until_us)
        sched_yield(); /* until the switch's side of the connection is closed as well */
    zmq_rig_go_on(&rig);
    zmq_rig_wait_for_peers(&rig, 1);
    CHECK_OK(bus_zmq_sync(a.bus));
    (void)loop_turn(a.loop, false);
    CHECK_EQ(a.bounced, 0);
    end_close(&a);
    zmq_rig_stop(&rig);
}

TEST(who_never_looks_at_its_bounces_is_cut_off)
{
    struct zmq_rig rig;
    struct rogue rogue;
    const struct envelope publish = {.kind = ENVELOPE_PUBLISH, .subject = {"nobody", 6}};
    size_t cost = zlink_cost(&publish, 1);
    zmq_rig_start(&rig, 4096, RIG_NEVER_MS);
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_WELCOME));
    size_t window = 2 * ZLINK_OUT_WINDOWS * 4096 / cost;
    for (size_t i = 0; i < window; i++)
        rogue_says(&rogue, &publish, "x");
    rogue_says(&rogue, &(struct envelope){.kind = ENVELOPE_PING}, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_PONG));
    CHECK_EQ(zmq_switch_count(rig.zmq_switch).peers, 1);
    CHECK_EQ(zmq_switch_count(rig.zmq_switch).waiting, window);
    rogue_says(&rogue, &publish, "x");
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_GONE));
    zmq_rig_wait_for_peers(&rig, 0);
    CHECK_EQ(zmq_switch_count(rig.zmq_switch).waiting, 0);
    rogue_close(&rogue);
    zmq_rig_stop(&rig);
}

/* --- as many as there may be --- */

enum { MANY = 1024, FDS_PER_PEER = 4 /* a socket and a signal at each side */ };

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
    struct zmq_rig rig;
    static struct rogue rogue[MANY + 1];
    if (!raise_fd_limit(MANY * FDS_PER_PEER + 256))
        SKIP("needs %d descriptors", MANY * FDS_PER_PEER + 256);
    zmq_rig_start(&rig, CAP, RIG_NEVER_MS);
    void *context = zmq_ctx_new();
    CHECK(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, MANY + 16) == 0);
    for (int i = 0; i <= MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "peer-%d", i);
        rogue_open_in(&rogue[i], &rig, context, id);
        rogue_joins(&rogue[i]);
        CHECK_ERR(rogue_hears(&rogue[i], ENVELOPE_WELCOME), i < MANY ? ERR_OK : ERR_FULL);
    }
    zmq_rig_wait_for_peers(&rig, MANY);
    rogue_says(&rogue[7], &(struct envelope){.kind = ENVELOPE_CLOSE}, NULL);
    zmq_rig_wait_for_peers(&rig, MANY - 1);
    rogue_joins(&rogue[MANY]);
    CHECK_OK(rogue_hears(&rogue[MANY], ENVELOPE_WELCOME));
    for (int i = 0; i < MANY; i += 100) { /* and the others are served as ever */
        rogue_says(&rogue[i], &(struct envelope){.kind = ENVELOPE_PING}, NULL);
        if (i != 7)
            CHECK_OK(rogue_hears(&rogue[i], ENVELOPE_PONG));
    }
    for (int i = 0; i <= MANY; i++)
        zmq_close(rogue[i].socket);
    zmq_ctx_term(context);
    zmq_rig_stop(&rig);
}

TEST(a_peer_that_begins_anew_keeps_what_it_names_again_and_loses_the_rest)
{
    struct zmq_rig rig;
    struct end a;
    struct rogue rogue;
    const struct envelope kept = {.kind = ENVELOPE_SUBSCRIBE, .number = 1, .subject = {"kept", 4}};
    const struct envelope left = {.kind = ENVELOPE_SUBSCRIBE, .number = 2, .subject = {"left", 4}};
    zmq_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    rogue_open(&rogue, &rig);
    rogue_joins(&rogue);
    rogue_says(&rogue, &kept, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    rogue_says(&rogue, &left, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    end_publish(&a, "kept", 10);
    CHECK_OK(bus_zmq_sync(a.bus)); /* it waits at the rogue, who never acknowledges */
    rogue_joins(&rogue);
    end_wait(&a, &a.bounced, 1);
    CHECK_EQ(a.why, ERR_AGAIN);
    end_publish(&a, "kept", 10); /* not named again yet, and it holds */
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_DELIVER));
    rogue_says(&rogue, &kept, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_CONFIRM));
    rogue_says(&rogue, &(struct envelope){.kind = ENVELOPE_PING}, NULL);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_PONG));
    end_publish(&a, "kept", 10);
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_DELIVER));
    end_publish(&a, "left", 10);
    end_wait(&a, &a.bounced, 2);
    CHECK_EQ(a.why, ERR_NOT_FOUND);
    rogue_says(&rogue, &kept, NULL); /* twice in one life is against the protocol */
    CHECK_OK(rogue_hears(&rogue, ENVELOPE_GONE));
    rogue_close(&rogue);
    end_close(&a);
    zmq_rig_stop(&rig);
}
#endif
