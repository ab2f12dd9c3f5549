/* thread_test - names, signals, failure to start, and how many cores there are. */
#include "loop/thread.h"

#include "loop/cores.h"
#include "testing/test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
    char name[16];
    sigset_t blocked;
};

static void look_around(void *ctx)
{
    struct seen *seen = ctx;
    pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
    pthread_sigmask(SIG_BLOCK, NULL, &seen->blocked);
}

TEST(a_thread_has_its_name_and_takes_no_signals_but_faults)
{
    struct seen seen;
    struct thread *thread;
    sigset_t mine;
    CHECK_OK(thread_start("fifteen-letters", look_around, &seen, &thread));
    thread_join(&thread);
    CHECK(thread == NULL);
    thread_join(&thread); /* harmless */
    CHECK_STR(seen.name, "fifteen-letters");
    CHECK(sigismember(&seen.blocked, SIGTERM) == 1);
    CHECK(sigismember(&seen.blocked, SIGPIPE) == 1);
    CHECK(sigismember(&seen.blocked, SIGSEGV) == 0);
    pthread_sigmask(SIG_BLOCK, NULL, &mine);
    CHECK(sigismember(&mine, SIGTERM) == 0); /* the starter's mask is as before */
}

struct places {
    cpu_set_t starter, started;
};

static void see_place(void *ctx)
{
    CHECK_EQ(sched_getaffinity(0, sizeof(cpu_set_t), ctx), 0);
}

static void start_one_from_the_last_processor(void *ctx)
{
    struct places *places = ctx;
    struct thread *thread;
    int cpu = CPU_SETSIZE - 1;
    see_place(&places->starter);
    while (!CPU_ISSET(cpu, &places->starter))
        cpu--;
    CPU_ZERO(&places->starter);
    CPU_SET(cpu, &places->starter);
    CHECK_EQ(sched_setaffinity(0, sizeof places->starter, &places->starter), 0);
    CHECK_OK(thread_start("started", see_place, &places->started, &thread));
    thread_join(&thread);
    see_place(&places->starter);
}

/* With one processor there is nothing to tell apart. */
TEST(a_thread_runs_where_the_main_one_may_and_not_where_its_starter_stays)
{
    struct places places;
    struct thread *thread;
    cpu_set_t mine;
    see_place(&mine);
    CHECK_OK(thread_start("starter", start_one_from_the_last_processor, &places, &thread));
    thread_join(&thread);
    CHECK_EQ(CPU_COUNT(&places.starter), 1);
    CHECK(CPU_EQUAL(&places.started, &mine));
}

/* In a child, because limits cannot be raised again. 77: the limit does not bind (root). */
static void start_one_too_many(void)
{
    struct seen seen;
    struct thread *thread = NULL;
    struct rlimit none = {0};
    if (setrlimit(RLIMIT_NPROC, &none) != 0)
        _exit(77);
    enum err err = thread_start("extra", look_around, &seen, &thread);
    if (err == ERR_OK)
        _exit(77);
    _exit(err == ERR_SYSTEM && thread == NULL && errno == EAGAIN ? 0 : 1);
}

TEST(a_thread_that_cannot_start_is_an_error)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(77);
        start_one_too_many();
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        SKIP("the limit on threads cannot be lowered here");
    CHECK_EQ(WEXITSTATUS(status), 0);
}

TEST(cores_are_at_least_one_and_follow_affinity)
{
    cpu_set_t before, one;
    CHECK(thread_cores() >= 1);
    CHECK_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    unsigned cores = thread_cores();
    CHECK_EQ(sched_setaffinity(0, sizeof before, &before), 0);
    CHECK_EQ(cores, 1);
    CHECK(thread_cores() <= (unsigned)CPU_COUNT(&before));
}

TEST(a_cpu_quota_is_rounded_up_and_only_lowers)
{
    static const struct {
        const char *cpu_max;
        unsigned cores;
    } cases[] = {
        {"max 100000\n", 8},
        {"200000 100000\n", 2},
        {"200001 100000\n", 3},
        {"199999 100000", 2},
        {"1000 100000\n", 1},
        {"0 100000\n", 1},
        {"800000 100000\n", 8},
        {"900000 100000\n", 8},
        {"9223372036854775807 1\n", 8},
        {"99999999999999999999 1\n", 8}, /* not a number that we know: no limit */
        {"200000 0\n", 8},
        {"200000\n", 8},
        {"200000 x\n", 8},
        {"-1 100000\n", 8},
        {" \n", 8},
        {"", 8},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        CHECK_EQ(cores_under_quota(8, slice_str(cases[i].cpu_max)), cases[i].cores);
}

TEST(the_v2_group_is_found_among_others)
{
    struct slice path;
    CHECK(cores_cgroup_path(SLICE("0::/\n"), &path));
    CHECK_SLICE(path, "");
    CHECK(cores_cgroup_path(SLICE("12:cpu:/old\n0::/a.slice/b.service\n"), &path));
    CHECK_SLICE(path, "a.slice/b.service");
    CHECK(cores_cgroup_path(SLICE("0::/cut"), &path));
    CHECK_SLICE(path, "cut");
    CHECK(!cores_cgroup_path(SLICE("12:cpu:/old\n"), &path));
    CHECK(!cores_cgroup_path(SLICE("10::/\n"), &path));
    CHECK(!cores_cgroup_path(SLICE("0::\n"), &path));
    CHECK(!cores_cgroup_path(SLICE(""), &path));
}
