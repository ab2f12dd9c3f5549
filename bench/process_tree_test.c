/* process_tree_test - a child is found, and what both used is counted, also by threads that ended.
 */
#include "process_tree.h"

#include "loop/thread.h"
#include "testing/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void burn(uint64_t ns)
{
    struct timespec start, now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start); /* it cannot fail */
    do
        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* it cannot fail */
    while ((uint64_t)(now.tv_sec - start.tv_sec) * 1000000000U + (uint64_t)now.tv_nsec -
               (uint64_t)start.tv_nsec <
           ns);
}

static void burn_in_thread(void *ctx)
{
    (void)ctx;
    burn(5000000);
}

static int start_child(void)
{
    int pid = fork();
    if (pid == 0) {
        (void)pause(); /* until it is killed */
        _exit(0);
    }
    CHECK(pid > 0);
    return pid;
}

static void end_child(int pid)
{
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(a_child_is_in_the_tree_until_it_ends)
{
    struct process_tree alone, both, after;
    CHECK(process_tree_read(getpid(), &alone));
    CHECK_EQ(alone.count, 1);
    int child = start_child();
    CHECK(process_tree_read(getpid(), &both));
    CHECK_EQ(both.count, 2);
    CHECK_EQ(both.pids[0], getpid());
    CHECK_EQ(both.pids[1], child);
    CHECK(!both.is_cut);
    end_child(child);
    CHECK(process_tree_read(getpid(), &after));
    CHECK(process_tree_has_all(&both, &alone));
    CHECK(!process_tree_has_all(&after, &both));
}

TEST(a_thread_that_ended_is_still_counted)
{
    struct process_tree before, after;
    struct thread *thread;
    CHECK(process_tree_read(getpid(), &before));
    CHECK_OK(thread_start("burn", burn_in_thread, NULL, &thread));
    thread_join(&thread);
    CHECK(process_tree_read(getpid(), &after));
    CHECK(after.cpu_ns - before.cpu_ns >= 5000000);
}

TEST(memory_is_what_both_have)
{
    struct process_tree alone, both;
    uint64_t alone_kib = 0, both_kib = 0;
    CHECK(process_tree_read(getpid(), &alone));
    CHECK(process_tree_pss(&alone, &alone_kib));
    CHECK(alone_kib > 0);
    int child = start_child();
    CHECK(process_tree_read(getpid(), &both));
    CHECK(process_tree_pss(&both, &both_kib));
    CHECK(both_kib > 0);
    end_child(child);
    CHECK(!process_tree_pss(&both, &both_kib)); /* one is gone */
}

TEST(a_process_that_is_not_there_is_no_tree)
{
    struct process_tree tree;
    int child = start_child();
    end_child(child);
    CHECK(!process_tree_read(child, &tree));
    CHECK_EQ(tree.count, 0);
    CHECK(!process_tree_read(0, &tree));
    CHECK(!process_tree_read(INT32_MAX, &tree));
}
