/* hunger_test - processes that run, sleep, are stopped, and are gone. */
#include "host/hunger.h"
#include "testing/test.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(the_state_is_behind_the_last_parenthesis)
{
    CHECK_EQ(hunger_parse_state(SLICE("12 (millrace) R 1 12 12 0")), 'R');
    CHECK_EQ(hunger_parse_state(SLICE("12 (a) R (b) S 1 12")), 'S');
    CHECK_EQ(hunger_parse_state(SLICE("12 ()) T")), 'T');
    CHECK_EQ(hunger_parse_state(SLICE("")), '?');
    CHECK_EQ(hunger_parse_state(SLICE("12 (millrace")), '?');
    CHECK_EQ(hunger_parse_state(SLICE("12 (millrace)")), '?');
    CHECK_EQ(hunger_parse_state(SLICE("12 (millrace) ")), '?');
    CHECK_EQ(hunger_parse_state(SLICE("12 (millrace)R 1")), '?');
}

enum deed { SPINS, SLEEPS, WAITS_IN_THE_KERNEL };

static pid_t child_that(enum deed deed)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    alarm(60); /* never an orphan */
    for (volatile unsigned turns = 0; deed == SPINS;)
        turns++;
    pid_t parent = getpid();
    if (deed == WAITS_IN_THE_KERNEL && vfork() == 0) { /* its parent sleeps as in a page fault */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);        /* else its alarm */
        if (getppid() != parent) /* it was killed before that: nobody will tell us */
            _exit(0);
        alarm(60);
        for (;;)
            pause();
    }
    for (;;)
        pause();
}

/* A child gets its state a moment after it was made, and no event tells of it: asked until then,
 * not for ever. */
static bool becomes(pid_t pid, bool expected)
{
    for (int i = 0; i < 30000; i++) {
        if (hunger_of(pid) == expected)
            return true;
        usleep(1000);
    }
    return false;
}

static void end(pid_t pid)
{
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

TEST(who_computes_is_hungry_until_it_is_stopped)
{
    pid_t pid = child_that(SPINS);
    int status;
    CHECK(becomes(pid, true));
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK(!hunger_of(pid));
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(becomes(pid, true));
    end(pid);
    CHECK(!hunger_of(pid));
}

TEST(who_waits_for_something_is_not)
{
    pid_t pid = child_that(SLEEPS);
    CHECK(becomes(pid, false));
    end(pid);
}

static char state_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    size_t got = fread(text, 1, sizeof(text), file);
    fclose(file);
    return hunger_parse_state(slice_of(text, got));
}

TEST(who_waits_where_no_signal_wakes_it_is)
{
    pid_t pid = child_that(WAITS_IN_THE_KERNEL);
    for (int i = 0; state_of(pid) != 'D'; i++) { /* becomes() is true before, while it runs */
        CHECK(i < 30000);
        usleep(1000);
    }
    CHECK(hunger_of(pid));
    end(pid);
}

TEST(any_thread_counts)
{
    CHECK(hunger_of(getpid())); /* this one runs, or it could not ask */
}
