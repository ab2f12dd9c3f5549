/* Tests of a thread on some processors only. They change only their own process. */
#include "engine/thread_cpus.h"

#include "testing/test.h"

static cpu_set_t current(void)
{
    cpu_set_t cpus;
    CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
    return cpus;
}

static cpu_set_t last_of(const cpu_set_t *cpus)
{
    cpu_set_t last;
    int cpu = CPU_SETSIZE - 1;
    while (!CPU_ISSET(cpu, cpus))
        cpu--;
    CPU_ZERO(&last);
    CPU_SET(cpu, &last);
    return last;
}

TEST(a_thread_stays_where_it_is_told_until_that_is_undone)
{
    cpu_set_t before = current(), one = last_of(&before);
    struct thread_cpus own = {0};
    struct err_note note = {{0}};
    CHECK_OK(thread_cpus_set(&one, &own, &note));
    cpu_set_t now = current();
    CHECK(CPU_EQUAL(&now, &one));
    thread_cpus_undo(&own);
    now = current();
    CHECK(CPU_EQUAL(&now, &before));
    thread_cpus_undo(&own);
}

TEST(none_named_changes_nothing)
{
    cpu_set_t before = current();
    struct thread_cpus own = {0};
    CHECK_OK(thread_cpus_set(NULL, &own, NULL));
    CHECK(!own.is_set);
    thread_cpus_undo(&own);
    cpu_set_t now = current();
    CHECK(CPU_EQUAL(&now, &before));
}

TEST(one_that_is_not_ours_is_refused_with_those_that_are)
{
    cpu_set_t before = current(), one = last_of(&before);
    struct thread_cpus outer = {0}, own = {0};
    struct err_note note = {{0}};
    CHECK_OK(thread_cpus_set(&one, &outer, &note)); /* so that there is one that is not */
    cpu_set_t wanted = one;
    CPU_SET(CPU_ISSET(0, &one) ? 1 : 0, &wanted);
    CHECK_ERR(thread_cpus_set(&wanted, &own, &note), ERR_LIMIT);
    CHECK(!own.is_set);
    CHECK(strstr(note.text, "llama_cpus is 0") || strstr(note.text, "llama_cpus is 1"));
    CHECK(strstr(note.text, "and this process may use "));
    cpu_set_t now = current();
    CHECK(CPU_EQUAL(&now, &one));
    thread_cpus_undo(&outer);
}
