/* bus_hop - what a frame's way over the bus costs: round trips between two loops on threads of
 * their own, over bus_mem and bus_unix (with its switch), against the bare limit: two threads that
 * read and write a socket pair. Interleaved rounds; medians; CPU of the whole process, and time.
 *
 *     bus_hop [round trips per round]       (10000; 100..10000000) */
#include "base/clock.h"
#include "base/mem.h"
#include "bus/bus_mem.h"
#include "bus/bus_switch.h"
#include "bus/bus_unix.h"
#include "loop/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUNDS = 7, FRAME_BYTES = 200, PEER_BYTES = 8 << 20, DEAD_MS = 10000 };

static uint32_t trips = 10000;

/* One end of a ping-pong on the bus: says what it hears back to the other subject. */
struct side {
    struct loop *loop;
    struct bus *bus;
    struct bus_subscription *subscription;
    struct thread *thread;
    const char *mine, *other;
    uint32_t left; /* of the one that began; 0: it only answers */
    bool begins;
};

static void say(struct side *side)
{
    static const char frame[FRAME_BYTES];
    enum err err = bus_publish(side->bus, slice_str(side->other), (struct slice){0},
                               slice_of(frame, sizeof(frame)));
    ASSERT_MSG(err == ERR_OK, "%s", err_name(err));
}

static void on_message(void *ctx, const struct bus_message *message)
{
    struct side *side = ctx;
    (void)message; /* that it came is all */
    if (side->begins && --side->left == 0)
        loop_stop(side->loop);
    else
        say(side);
}

static void run(void *ctx)
{
    struct side *side = ctx;
    loop_run(side->loop);
}

/* What a round costs, per way. */
struct cost {
    double wall_us, cpu_us;
};

static double cpu_us(void)
{
    struct rusage usage;
    ASSERT(getrusage(RUSAGE_SELF, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static struct cost per_way(uint64_t start_us, double start_cpu_us)
{
    double ways = 2.0 * trips;
    return (struct cost){(double)(clock_monotonic_us() - start_us) / ways,
                         (cpu_us() - start_cpu_us) / ways};
}

/* Endpoints are open, their loops not running yet. */
static struct cost play(struct side *a, struct side *b)
{
    a->begins = true;
    a->left = trips;
    ASSERT(bus_subscribe(a->bus, slice_str(a->mine), (struct slice){0}, on_message, a,
                         &a->subscription) == ERR_OK);
    ASSERT(bus_subscribe(b->bus, slice_str(b->mine), (struct slice){0}, on_message, b,
                         &b->subscription) == ERR_OK);
    ASSERT(thread_start("answers", run, b, &b->thread) == ERR_OK);
    uint64_t start_us = clock_monotonic_us();
    double start_cpu_us = cpu_us();
    say(a);
    loop_run(a->loop);
    struct cost cost = per_way(start_us, start_cpu_us);
    loop_stop(b->loop);
    thread_join(&b->thread);
    bus_close(&a->bus);
    bus_close(&b->bus);
    loop_free(a->loop);
    loop_free(b->loop);
    return cost;
}

static struct cost over_mem(void)
{
    struct bus_mem *mem = bus_mem_new(PEER_BYTES);
    struct side a = {.loop = loop_new(), .mine = "a", .other = "b"};
    struct side b = {.loop = loop_new(), .mine = "b", .other = "a"};
    a.bus = bus_mem_open(mem, a.loop);
    b.bus = bus_mem_open(mem, b.loop);
    struct cost cost = play(&a, &b);
    bus_mem_free(mem);
    return cost;
}

static struct cost over_unix(void)
{
    char directory[] = "/tmp/millrace-bench-XXXXXX";
    struct bus_switch *bus_switch;
    struct bus_unix *ends;
    struct thread *thread;
    struct err_note note;
    struct side hub = {.loop = loop_new()};
    ASSERT(mkdtemp(directory));
    const struct bus_switch_config config = {directory, PEER_BYTES, DEAD_MS};
    ASSERT(bus_switch_new(hub.loop, &config, &note, &bus_switch) == ERR_OK);
    ASSERT(thread_start("switch", run, &hub, &thread) == ERR_OK);
    struct side a = {.loop = loop_new(), .mine = "a", .other = "b"};
    struct side b = {.loop = loop_new(), .mine = "b", .other = "a"};
    ASSERT(bus_unix_new(directory, &ends) == ERR_OK);
    ASSERT(bus_unix_open(ends, a.loop, DEAD_MS, &a.bus) == ERR_OK);
    ASSERT(bus_unix_open(ends, b.loop, DEAD_MS, &b.bus) == ERR_OK);
    struct cost cost = play(&a, &b);
    bus_unix_free(ends);
    loop_stop(hub.loop);
    thread_join(&thread);
    bus_switch_free(&bus_switch);
    loop_free(hub.loop);
    ASSERT(rmdir(directory) == 0);
    return cost;
}

static void answer_on_socket(void *ctx)
{
    char frame[FRAME_BYTES];
    int fd = *(int *)ctx;
    while (recv(fd, frame, sizeof(frame), MSG_WAITALL) == FRAME_BYTES)
        ASSERT(send(fd, frame, sizeof(frame), 0) == FRAME_BYTES);
}

static struct cost over_sockets(void)
{
    int fds[2];
    char frame[FRAME_BYTES] = {0};
    struct thread *thread;
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    ASSERT(thread_start("answers", answer_on_socket, &fds[1], &thread) == ERR_OK);
    uint64_t start_us = clock_monotonic_us();
    double start_cpu_us = cpu_us();
    for (uint32_t i = 0; i < trips; i++) {
        ASSERT(send(fds[0], frame, sizeof(frame), 0) == FRAME_BYTES);
        ASSERT(recv(fds[0], frame, sizeof(frame), MSG_WAITALL) == FRAME_BYTES);
    }
    struct cost cost = per_way(start_us, start_cpu_us);
    close(fds[0]);
    thread_join(&thread);
    close(fds[1]);
    return cost;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof(*values), by_value);
    return values[ROUNDS / 2];
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        struct cost (*play)(void);
    } ways[] = {{"socket pair", over_sockets}, {"bus_mem", over_mem}, {"bus_unix", over_unix}};
    double wall[ARRAY_COUNT(ways)][ROUNDS], cpu[ARRAY_COUNT(ways)][ROUNDS];
    uint64_t given;
    if (argc > 2 ||
        (argc == 2 &&
         (slice_parse_u64(slice_str(argv[1]), 10000000, &given) != ERR_OK || given < 100))) {
        fputs("usage: bus_hop [round trips per round, 100..10000000]\n", stderr);
        return 2;
    }
    if (argc == 2)
        trips = (uint32_t)given;
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
            struct cost cost = ways[i].play();
            wall[i][round] = cost.wall_us;
            cpu[i][round] = cost.cpu_us;
        }
    double limit_wall_us = 0, limit_cpu_us = 0;
    for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
        double wall_us = median(wall[i]), each_cpu_us = median(cpu[i]);
        if (i == 0) {
            limit_wall_us = wall_us;
            limit_cpu_us = each_cpu_us;
        }
        printf("%-12s %6.1f us one way (%.1fx), %6.1f us CPU (%.1fx)\n", ways[i].name, wall_us,
               wall_us / limit_wall_us, each_cpu_us, each_cpu_us / limit_cpu_us);
    }
    return 0;
}
