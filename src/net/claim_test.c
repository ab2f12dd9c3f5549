/* One port, one owner: inside a process, between processes, and against strangers. */
#include "net/rig.h"
#include "net/socket.h"
#include "testing/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A lock_dir of its own, so that a test sees every file that is left behind. */
static char *new_lock_dir(char path[32])
{
    (void)snprintf(path, 32, "/tmp/claim-XXXXXX"); /* it fits */
    CHECK(mkdtemp(path) != NULL);
    return path;
}

static struct net_address loopback(uint16_t port)
{
    struct net_address address;
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), port, &address, NULL));
    return address;
}

static void lock_path(char out_path[PATH_MAX], const char *lock_dir,
                      const struct net_address *address)
{
    (void)snprintf(out_path, PATH_MAX, "%s/port-%u.lock", lock_dir, net_address_port(address));
}

/* Nobody listens yet, and still a stranger's plain bind is refused. */
static void check_is_held(const struct net_address *address)
{
    int stranger;
    CHECK_OK(socket_new(address, &stranger));
    CHECK(bind(stranger, address_raw(address), address->len) != 0);
    CHECK_EQ(errno, EADDRINUSE);
    CHECK_EQ(close(stranger), 0);
}

TEST(a_port_is_held_from_the_claim_on_whether_picked_or_given)
{
    char lock_dir[32], path[PATH_MAX];
    struct net_address address = loopback(0);
    struct stat file;
    new_lock_dir(lock_dir);
    for (int round = 0; round < 2; round++) { /* 0: picked by the kernel; 1: the same, given */
        struct net_claim *claim;
        CHECK_OK(net_claim_port(&address, lock_dir, &claim, NULL));
        CHECK(net_address_port(&address) != 0);
        lock_path(path, lock_dir, &address);
        CHECK_EQ(stat(path, &file), 0);
        check_is_held(&address);
        net_claim_release(claim);
        CHECK(stat(path, &file) != 0);
    }
    CHECK_EQ(rmdir(lock_dir), 0); /* nothing left behind */
}

TEST(claims_of_port_0_get_different_ports)
{
    enum { COUNT = 50 };
    char lock_dir[32];
    struct net_claim *claims[COUNT];
    uint16_t ports[COUNT];
    new_lock_dir(lock_dir);
    for (int i = 0; i < COUNT; i++) {
        struct net_address address = loopback(0);
        CHECK_OK(net_claim_port(&address, lock_dir, &claims[i], NULL));
        ports[i] = net_address_port(&address);
        for (int j = 0; j < i; j++)
            CHECK(ports[i] != ports[j]);
    }
    for (int i = 0; i < COUNT; i++)
        net_claim_release(claims[i]);
    CHECK_EQ(rmdir(lock_dir), 0);
}

TEST(a_second_claim_in_the_same_process_is_refused_until_release)
{
    char lock_dir[32], expected[64];
    struct net_address address = loopback(0);
    struct net_claim *claim, *second;
    struct err_note note = {""};
    CHECK_OK(net_claim_port(&address, new_lock_dir(lock_dir), &claim, NULL));
    CHECK_ERR(net_claim_port(&address, lock_dir, &second, &note), ERR_REFUSED);
    (void)snprintf(expected, sizeof(expected), "port %u is in use by millrace, process %d",
                   net_address_port(&address), (int)getpid());
    CHECK_STR(note.text, expected);
    net_claim_release(claim);
    CHECK_OK(net_claim_port(&address, lock_dir, &claim, &note));
    net_claim_release(claim);
    net_claim_release(NULL);
    CHECK_EQ(rmdir(lock_dir), 0);
}

/* A child that claims `address`, writes one byte, and keeps the claim until it is killed. */
static pid_t start_holder(const struct net_address *address, const char *lock_dir)
{
    int pipe_fds[2];
    char byte = 0;
    CHECK_EQ(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        struct net_address own = *address;
        struct net_claim *claim;
        bool held = net_claim_port(&own, lock_dir, &claim, NULL) == ERR_OK;
        if (!held || write(pipe_fds[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK(child > 0);
    CHECK_EQ(close(pipe_fds[1]), 0);
    CHECK_EQ(read(pipe_fds[0], &byte, 1), 1); /* 0 if the child gave up */
    CHECK_EQ(close(pipe_fds[0]), 0);
    return child;
}

static void kill_holder(pid_t child)
{
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

TEST(another_process_is_named_and_its_death_frees_the_port)
{
    char lock_dir[32], expected[64];
    struct net_address address = loopback(0);
    struct net_claim *claim;
    struct err_note note = {""};
    CHECK_OK(net_claim_port(&address, new_lock_dir(lock_dir), &claim, NULL));
    net_claim_release(claim); /* a port that is free, as far as anyone can know */
    pid_t child = start_holder(&address, lock_dir);
    CHECK_ERR(net_claim_port(&address, lock_dir, &claim, &note), ERR_REFUSED);
    (void)snprintf(expected, sizeof(expected), "port %u is in use by millrace, process %d",
                   net_address_port(&address), (int)child);
    CHECK_STR(note.text, expected);
    kill_holder(child); /* leaves the file behind, not the lock */
    CHECK_OK(net_claim_port(&address, lock_dir, &claim, &note));
    net_claim_release(claim);
    CHECK_EQ(rmdir(lock_dir), 0);
}

TEST(a_child_is_refused_what_its_parent_holds_and_cannot_drop_it)
{
    char lock_dir[32], path[PATH_MAX];
    struct net_address address = loopback(0);
    struct net_claim *claim;
    struct stat file;
    int status;
    CHECK_OK(net_claim_port(&address, new_lock_dir(lock_dir), &claim, NULL));
    pid_t child = fork();
    if (child == 0) {
        struct net_claim *second;
        enum err err = net_claim_port(&address, lock_dir, &second, NULL);
        net_claim_release(claim);
        _exit(err == ERR_REFUSED ? 0 : 1);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    lock_path(path, lock_dir, &address);
    CHECK_EQ(stat(path, &file), 0);
    struct net_claim *second;
    CHECK_ERR(net_claim_port(&address, lock_dir, &second, NULL), ERR_REFUSED);
    net_claim_release(claim);
    CHECK_EQ(rmdir(lock_dir), 0);
}

/* Strangers know nothing of our locks: with and without SO_REUSEPORT. */
TEST(a_port_that_a_stranger_listens_on_is_refused)
{
    for (int shared = 0; shared < 2; shared++) {
        char lock_dir[32], expected[128], where[64];
        struct net_address address = loopback(0);
        struct net_claim *claim;
        struct err_note note = {""};
        int stranger;
        CHECK_OK(socket_bound(&address, shared ? SOCKET_SHARED : SOCKET_ALONE, &stranger, NULL));
        CHECK_EQ(listen(stranger, 1), 0);
        CHECK_OK(socket_name(stranger, &address));
        CHECK_ERR(net_claim_port(&address, new_lock_dir(lock_dir), &claim, &note), ERR_REFUSED);
        net_address_format(&address, where);
        (void)snprintf(expected, sizeof(expected), "%s is in use by another program", where);
        CHECK_STR(note.text, expected);
        CHECK_EQ(close(stranger), 0);
        CHECK_OK(net_claim_port(&address, lock_dir, &claim, &note)); /* no lock was left */
        net_claim_release(claim);
        CHECK_EQ(rmdir(lock_dir), 0);
    }
}

TEST(ours_with_another_lock_dir_is_found_once_it_listens)
{
    struct rig rig;
    char lock_dir[32];
    struct net_claim *claim;
    struct err_note note = {""};
    rig_open(&rig, loop_new(), 1024); /* its lock_dir is /tmp */
    CHECK_ERR(net_claim_port(&rig.address, new_lock_dir(lock_dir), &claim, &note), ERR_REFUSED);
    CHECK(strstr(note.text, "in use by another program") != NULL);
    rig_close(&rig);
    CHECK_EQ(rmdir(lock_dir), 0);
}

TEST(connections_that_linger_after_a_server_do_not_block_its_restart)
{
    struct rig rig;
    char byte;
    struct net_claim *claim;
    rig_open(&rig, loop_new(), 1024);
    struct net_address address = rig.address;
    int peer = peer_connect(&rig.address, 0);
    TURN_UNTIL(&rig, rig.accepted == 1);
    end_close(&rig.ends[0]); /* we close first: TIME_WAIT is ours */
    TURN_UNTIL(&rig, !rig.ends[0].stream);
    CHECK_EQ(peer_recv(peer, &byte, 1), 0);
    peer_close(peer);
    rig_close(&rig);
    CHECK_OK(net_claim_port(&address, "/tmp", &claim, NULL));
    net_claim_release(claim);
}

TEST(a_lock_dir_that_cannot_be_used_is_an_error_with_a_sentence)
{
    char long_dir[PATH_MAX + 1], lock_dir[32], path[PATH_MAX], expected[600];
    struct net_address address = loopback(0);
    struct net_claim *claim;
    struct err_note note = {""};
    memset(long_dir, 'd', PATH_MAX);
    long_dir[PATH_MAX] = '\0';
    CHECK_ERR(net_claim_port(&address, long_dir, &claim, &note), ERR_LIMIT);
    CHECK(strstr(note.text, "lock_dir") != NULL);

    address = loopback(9);
    CHECK_ERR(net_claim_port(&address, "/nonexistent/dir", &claim, &note), ERR_SYSTEM);
    CHECK_STR(note.text, "cannot open the lock file /nonexistent/dir/port-9.lock: "
                         "No such file or directory");

    /* In a shared folder another user may have put a symlink there: never write through it. */
    lock_path(path, new_lock_dir(lock_dir), &address);
    CHECK_EQ(symlink("/tmp/claim-victim", path), 0);
    CHECK_ERR(net_claim_port(&address, lock_dir, &claim, &note), ERR_SYSTEM);
    (void)snprintf(expected, sizeof(expected),
                   "cannot open the lock file %.200s: Too many levels of symbolic links", path);
    CHECK_STR(note.text, expected);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(rmdir(lock_dir), 0);
}

TEST(a_lock_file_with_nonsense_in_it_is_only_a_lock)
{
    static const char *const contents[] = {"", "12", "x\n", "99999999999999999999\n", "-1\n"};
    char lock_dir[32], path[PATH_MAX], expected[64];
    struct net_address address = loopback(0);
    struct net_claim *claim, *second;
    CHECK_OK(net_claim_port(&address, new_lock_dir(lock_dir), &claim, NULL));
    lock_path(path, lock_dir, &address);
    (void)snprintf(expected, sizeof(expected), "port %u is in use by another millrace",
                   net_address_port(&address));
    for (size_t i = 0; i < ARRAY_COUNT(contents); i++) {
        struct err_note note = {""};
        FILE *file = fopen(path, "w"); /* the same file, so the lock stays */
        CHECK(file && fputs(contents[i], file) >= 0 && fclose(file) == 0);
        CHECK_ERR(net_claim_port(&address, lock_dir, &second, &note), ERR_REFUSED);
        CHECK_STR(note.text, expected);
    }
    net_claim_release(claim);
    CHECK_EQ(rmdir(lock_dir), 0);
}

/* --- many at once --- */

enum { RACE_ROUNDS = 300, RACE_WON = 0, RACE_NEVER_WON, RACE_COLLISION, RACE_FAILURE };

/* While it has the port it also has `path` by O_EXCL: the kernel's word that it is alone. */
static int claim_many_times(struct net_address address, const char *lock_dir, const char *path)
{
    int outcome = RACE_NEVER_WON;
    for (int i = 0; i < RACE_ROUNDS; i++) {
        struct net_claim *claim;
        enum err err = net_claim_port(&address, lock_dir, &claim, NULL);
        if (err == ERR_REFUSED)
            continue;
        if (err != ERR_OK)
            return RACE_FAILURE;
        int alone = open(path, O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (alone < 0)
            return RACE_COLLISION;
        (void)close(alone); /* the name is what counts */
        if (unlink(path) != 0)
            return RACE_COLLISION;
        net_claim_release(claim);
        outcome = RACE_WON;
    }
    return outcome;
}

TEST(of_many_processes_that_start_together_one_at_a_time_has_the_port)
{
    enum { PROCESSES = 4 };
    char lock_dir[32], path[64];
    struct net_address address = loopback(0);
    struct net_claim *claim;
    pid_t children[PROCESSES];
    int winners = 0;
    CHECK_OK(net_claim_port(&address, new_lock_dir(lock_dir), &claim, NULL));
    net_claim_release(claim);
    (void)snprintf(path, sizeof(path), "%s/alone", lock_dir);
    for (int i = 0; i < PROCESSES; i++)
        if ((children[i] = fork()) == 0)
            _exit(claim_many_times(address, lock_dir, path));
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        CHECK_EQ(waitpid(children[i], &status, 0), children[i]);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == RACE_WON || WEXITSTATUS(status) == RACE_NEVER_WON);
        winners += WEXITSTATUS(status) == RACE_WON;
    }
    CHECK(winners > 0);
    CHECK_EQ(rmdir(lock_dir), 0);
}
