/* sim_test - the whole service, many seeds. MILLRACE_SIM_SEEDS=N: so many of each class (./check
 * --all sets it). One seed again, with every frame: MILLRACE_SIM_REPLAY=rough:17 sim_test. */
#include "testing/test.h"
#include "testing/sim/sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEEDS = 60 };

static char running[128]; /* what to say if the process aborts */

static void on_abort(int signal)
{
    (void)signal;
    ssize_t written = write(STDERR_FILENO, running, strlen(running));
    (void)written; /* nothing left to do about it */
}

static void announce(enum sim_class class, uint64_t seed)
{
    snprintf(running, sizeof(running), "replay with: MILLRACE_SIM_REPLAY=%s:%llu sim_test\n",
             sim_class_name(class), (unsigned long long)seed);
    signal(SIGABRT, on_abort);
}

static void run_one(enum sim_class class, uint64_t seed, bool prints_trace,
                    struct sim_result *out_result)
{
    struct sim_options options = {.class = class, .seed = seed, .prints_trace = prints_trace};
    announce(class, seed);
    sim_run(&options, out_result);
    if (!out_result->is_ok)
        fprintf(stderr, "%s seed %llu %s\n%s", sim_class_name(class), (unsigned long long)seed,
                out_result->failure, running);
}

static void add(struct sim_result *sum, const struct sim_result *result)
{
    sum->frames += result->frames;
    sum->virtual_us += result->virtual_us;
    sum->asks += result->asks;
    sum->whole += result->whole;
    sum->cancelled += result->cancelled;
    sum->refused += result->refused;
    sum->lost += result->lost;
    sum->faults += result->faults;
    sum->reruns += result->reruns;
    sum->repeats += result->repeats;
    sum->continued += result->continued;
}

static struct sim_result run_class(enum sim_class class)
{
    struct sim_result sum = {0};
    uint64_t failed = 0, count = test_seeds(SEEDS);
    if (getenv("MILLRACE_SIM_REPLAY"))
        SKIP("one seed is replayed");
    for (uint64_t seed = 1; seed <= count; seed++) {
        struct sim_result result;
        run_one(class, seed, false, &result);
        failed += !result.is_ok;
        add(&sum, &result);
    }
    printf("%s: %llu seeds, %llu s, %llu frames, %u faults; %u asks: %u whole, %u cancelled, "
           "%u refused, %u lost; %llu reruns (%llu in mid-stream), %llu repeats\n",
           sim_class_name(class), (unsigned long long)count,
           (unsigned long long)sum.virtual_us / 1000000, (unsigned long long)sum.frames, sum.faults,
           sum.asks, sum.whole, sum.cancelled, sum.refused, sum.lost,
           (unsigned long long)sum.reruns, (unsigned long long)sum.continued,
           (unsigned long long)sum.repeats);
    CHECK_EQ(failed, 0);
    return sum;
}

TEST(without_faults_every_answer_is_whole_and_nothing_is_repeated)
{
    struct sim_result sum = run_class(SIM_CALM);
    CHECK(sum.faults == 0 && sum.lost == 0 && sum.whole > 0);
}

TEST(whatever_dies_every_answer_is_right_and_ends_once)
{
    struct sim_result sum = run_class(SIM_ROUGH);
    CHECK(sum.faults > 0 && sum.whole > 0 && sum.reruns > 0 && sum.continued > 0);
}

TEST(even_on_a_bus_that_drops_repeats_and_reorders)
{
    struct sim_result sum = run_class(SIM_STORM);
    CHECK(sum.faults > 0 && sum.whole > 0);
}

TEST(the_same_seed_gives_the_same_run)
{
    if (getenv("MILLRACE_SIM_REPLAY"))
        SKIP("one seed is replayed");
    for (enum sim_class class = 0; class < SIM_CLASS_COUNT; class ++) {
        struct sim_result first, second;
        run_one(class, 1, false, &first);
        run_one(class, 1, false, &second);
        CHECK_EQ(first.hash, second.hash);
        CHECK_EQ(first.frames, second.frames);
    }
}

TEST(replay)
{
    const char *wanted = getenv("MILLRACE_SIM_REPLAY");
    if (!wanted)
        SKIP("MILLRACE_SIM_REPLAY=class:seed replays one");
    struct slice name, number;
    uint64_t seed;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was printed is there when it aborts */
    CHECK(slice_cut(slice_str(wanted), ':', &name, &number));
    CHECK_OK(slice_parse_u64(number, UINT64_MAX, &seed));
    for (enum sim_class class = 0; class < SIM_CLASS_COUNT; class ++) {
        struct sim_result result;
        if (!slice_eq_str(name, sim_class_name(class)))
            continue;
        run_one(class, seed, true, &result);
        CHECK(result.is_ok);
        return;
    }
    CHECK(!"the class is one of calm, rough, storm");
}
