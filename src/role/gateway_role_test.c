/* gateway_role_test - threads, sockets and reloads of a gateway over bus_mem: who owns what, also
 * when it does not come to anything. What it serves is shown by the tests of the gateway. */
#include "role/gateway_role.h"

#include "base/clock.h"
#include "bus/bus_mem.h"
#include "loop/thread.h"
#include "testing/test.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

enum { PATIENCE_US = 30 * 1000 * 1000, HANG_LOOK_US = 5000 };

static struct {
    struct config *config;
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct role_place place;
    struct net_address address;
    struct gateway_role *role;
    int buses_left;    /* then open_bus() fails */
    bool one_may_hang; /* the first thread: when shall_hang, until let_go */
    atomic_bool shall_hang;
    struct deadline hang;
    sem_t let_go;
} rig;

static void hang(void *ctx)
{
    (void)ctx;
    if (!atomic_load(&rig.shall_hang)) {
        deadline_after(&rig.hang, HANG_LOOK_US);
        return;
    }
    while (sem_wait(&rig.let_go) != 0)
        CHECK_EQ(errno, EINTR);
}

static enum err open_bus(void *ctx, struct loop *loop, struct bus **out_bus,
                         struct err_note *out_note)
{
    (void)ctx;
    if (rig.buses_left-- == 0)
        return err_note_fail(out_note, ERR_TIMEOUT, "no more of them");
    *out_bus = bus_mem_open(rig.bus_mem, loop);
    if (rig.one_may_hang) {
        rig.one_may_hang = false;
        deadline_init(&rig.hang, loop, hang, NULL);
        deadline_after(&rig.hang, 0);
    }
    return ERR_OK;
}

static void begin(void)
{
    char *argv[] = {(char *)(uintptr_t) "test", NULL};
    rig.buses_left = GATEWAY_THREADS_MAX;
    CHECK_OK(config_load(1, argv, (char *const[]){NULL}, &rig.config, NULL));
    rig.loop = loop_new();
    rig.bus_mem = bus_mem_new(1024 * 1024);
    rig.place = (struct role_place){.config = rig.config, .open_bus = open_bus};
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), 0, &rig.address, NULL));
}

static void end(void)
{
    gateway_role_close(&rig.role);
    bus_mem_free(rig.bus_mem);
    loop_free(rig.loop);
    config_free(rig.config);
}

/* Sockets that listen, as a host hands them over. */
static void listen_some(int *fds, size_t count)
{
    struct net_claim *claim;
    CHECK_OK(net_claim_port(&rig.address, "/tmp", &claim, NULL));
    for (size_t i = 0; i < count; i++)
        CHECK_OK(net_listen(&rig.address, &fds[i], NULL));
    net_claim_release(claim);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void on_drained(void *ctx)
{
    (void)ctx;
    loop_stop(rig.loop);
}

TEST(there_is_a_thread_for_each_core_and_no_more_than_were_asked_for)
{
    unsigned cores = thread_cores();
    struct config config = {.worker_threads = 1};
    CHECK_EQ(gateway_role_threads(&config), 1);
    config.worker_threads = 256;
    CHECK_EQ(gateway_role_threads(&config),
             cores < GATEWAY_THREADS_MAX ? cores : GATEWAY_THREADS_MAX);
}

TEST(one_thread_serves_each_socket_and_owns_it)
{
    int fds[3];
    begin();
    listen_some(fds, 3);
    CHECK_OK(gateway_role_open(&rig.place, rig.loop, &rig.address, fds, 3, &rig.role, NULL));
    CHECK_EQ(rig.buses_left, GATEWAY_THREADS_MAX - 3);
    CHECK_OK(gateway_role_start(rig.role));
    gateway_role_drain(rig.role, 1000, on_drained, NULL);
    loop_run(rig.loop);
    gateway_role_close(&rig.role);
    for (size_t i = 0; i < 3; i++)
        CHECK(!is_open(fds[i]));
    end();
}

TEST(sockets_are_closed_when_it_cannot_open)
{
    int fds[3];
    struct err_note note;
    begin();
    listen_some(fds, 3);
    rig.buses_left = 1;
    CHECK_ERR(gateway_role_open(&rig.place, rig.loop, &rig.address, fds, 3, &rig.role, &note),
              ERR_TIMEOUT);
    CHECK_STR(note.text, "no more of them");
    CHECK(rig.role == NULL);
    for (size_t i = 0; i < 3; i++)
        CHECK(!is_open(fds[i]));
    end();
}

static void wait_until_it_is_alive(bool is_alive)
{
    uint64_t until = clock_monotonic_us() + PATIENCE_US;
    while (gateway_role_is_alive(rig.role) != is_alive)
        CHECK(clock_monotonic_us() < until);
}

TEST(it_is_alive_while_every_thread_turns)
{
    begin();
    rig.one_may_hang = true;
    CHECK_OK(sem_init(&rig.let_go, 0, 0));
    CHECK_OK(gateway_role_open(&rig.place, rig.loop, &rig.address, NULL, 0, &rig.role, NULL));
    CHECK(!gateway_role_is_alive(rig.role)); /* nothing runs yet */
    CHECK_OK(gateway_role_start(rig.role));
    wait_until_it_is_alive(true);
    atomic_store(&rig.shall_hang, true);
    wait_until_it_is_alive(false);
    CHECK_OK(sem_post(&rig.let_go));
    wait_until_it_is_alive(true);
    CHECK_EQ(gateway_role_streams(rig.role), 0);
    end();
    CHECK_OK(sem_destroy(&rig.let_go));
}

TEST(reloads_are_let_go_when_every_thread_has_them_also_when_nothing_runs)
{
    begin();
    CHECK_OK(gateway_role_open(&rig.place, rig.loop, &rig.address, NULL, 0, &rig.role, NULL));
    for (int i = 0; i < 40; i++) {
        char *argv[] = {(char *)(uintptr_t) "test", NULL};
        struct config *config;
        if (i == 20) /* what waited is taken in now */
            CHECK_OK(gateway_role_start(rig.role));
        CHECK_OK(config_load(1, argv, (char *const[]){NULL}, &config, NULL));
        gateway_role_reload(rig.role, &config);
        CHECK(config == NULL);
    }
    gateway_role_drain(rig.role, 0, on_drained, NULL);
    loop_run(rig.loop);
    end();
}
