#include "testing/test.h"
#include "base/mem.h"
#include "worker/core_probe.h"
#include "worker/selftest_run.h"
#include "worker/toy_engine.h"

#include <stdlib.h>
#include <unistd.h>

/* A clock on which each decode() takes as many us as it has rows, and 100 more. */
static struct toy_engine toy;
static struct engine_ops ops;
static const struct engine_ops *toy_ops;
static uint64_t clock_now_us;
static enum err fails_next;
static uint64_t step_us = 100, row_us = 1; /* of a decode() */
static uint32_t adapter_count;             /* of the next toy */
static uint8_t first_digest = 1;
static float first_scale;
static struct engine_adapter_set computed_with; /* by the last decode() */
static uint64_t layout_us;                      /* of the first with others */
static struct core *core;
static struct selftest_run *run;
static char path[64];

static uint64_t read_clock(void *host)
{
    (void)host;
    return clock_now_us;
}

static enum err decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    enum err err = fails_next;
    fails_next = ERR_OK;
    clock_now_us += step_us + row_us * count;
    if (!engine_adapter_set_eq(&computed_with, &toy.now))
        clock_now_us += layout_us;
    computed_with = toy.now;
    return err != ERR_OK ? err : toy_ops->decode(engine, rows, count);
}

static void open_all(uint64_t budget_us, const char *key)
{
    struct core_options options = core_options_default();
    options.learns_steps = true;
    options.prefix_bytes_max = 1 << 20;
    toy_engine_init(&toy, 4, 256, 512);
    toy_ops = toy.engine.ops;
    ops = *toy_ops;
    ops.decode = decode;
    toy.engine.ops = &ops;
    toy_engine_add_adapters(&toy, adapter_count);
    toy.adapters[0].digest[0] = first_digest;
    toy.adapters[0].scale = first_scale;
    computed_with = (struct engine_adapter_set){0};
    core = core_new(&toy.engine, &options);
    run = selftest_run_new(
        &toy.engine, core,
        &(struct selftest_options){.budget_us = budget_us, .path = path, .key = key}, clock_now_us);
}

static void close_all(void)
{
    selftest_run_free(run);
    core_free(core);
}

static void new_path(void)
{
    snprintf(path, sizeof(path), "/tmp/millrace-selftest-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(unlink(path), 0);
}

/* As whoever runs it does. */
static void write_file(void)
{
    struct text file = selftest_run_take_file(run);
    struct err_note note;
    if (file.len > 0)
        (void)selftest_record_write(path, text_slice(&file), &note); /* a test has it fail */
    text_fini(&file);
}

/* To its end; how many steps it took. */
static uint32_t run_all(void)
{
    uint32_t steps = 0;
    while (selftest_run_due_us(run) <= clock_now_us) {
        selftest_run_step(run, read_clock, NULL);
        CHECK(++steps < 100000);
    }
    write_file();
    return steps;
}

static void check_slots_are_empty(void)
{
    for (uint32_t slot = 0; slot < 4; slot++)
        CHECK_EQ(engine_seq_tokens(&toy.engine, slot), 0);
}

TEST(what_one_run_found_the_next_start_knows)
{
    struct selftest_result first, second;
    new_path();
    open_all(UINT64_C(1) << 40, "key");
    CHECK(!selftest_run_take_result(run, &first));
    CHECK(run_all() > CALIBRATION_TIMES * 4);
    CHECK(selftest_run_take_result(run, &first));
    CHECK(!selftest_run_take_result(run, &second)); /* once */
    CHECK_EQ(first.determinism, NODE_EXACT);
    CHECK(first.spent_us > 1000);
    check_slots_are_empty();
    close_all();
    open_all(UINT64_C(1) << 40, "key");
    CHECK(selftest_run_take_result(run, &second));
    CHECK_EQ(selftest_run_due_us(run), UINT64_MAX);
    CHECK_EQ(toy.decodes, 0);
    CHECK_STR(second.fingerprint, first.fingerprint);
    CHECK_EQ(second.determinism, NODE_EXACT);
    CHECK_EQ(second.spent_us, first.spent_us);
    close_all();
    open_all(UINT64_C(1) << 40, "another key");
    CHECK(!selftest_run_take_result(run, &second));
    CHECK_EQ(selftest_run_due_us(run), 0);
    close_all();
    CHECK_EQ(unlink(path), 0);
}

/* Digits of the longest number among the steps that the file has. */
static size_t digits_of_steps(void)
{
    char bytes[SELFTEST_RECORD_MAX_BYTES];
    size_t longest = 0, digits = 0;
    FILE *file = fopen(path, "rb");
    CHECK(file);
    struct slice all = slice_of(bytes, fread(bytes, 1, sizeof(bytes), file));
    CHECK_EQ(fclose(file), 0);
    size_t at = slice_find(all, SLICE("\"steps\":"));
    CHECK(at != SLICE_NPOS);
    for (; at < all.len; at++) {
        digits = all.data[at] >= '0' && all.data[at] <= '9' ? digits + 1 : 0;
        longest = digits > longest ? digits : longest;
    }
    return longest;
}

static void run_somebody_with(const struct engine_adapter_set *set)
{
    static const token_id prompt[] = {1, 2};
    static struct probes probes;
    probes = (struct probes){.core = core};
    core_report_init(&probes.report);
    struct probe *probe = probe_make(&probes, 0, prompt, ARRAY_COUNT(prompt));
    probe->job.max_tokens = 1;
    probe->job.adapters = *set;
    probe->job.scope = 1;
    probe_start(&probes, 0);
    probes_run(&probes);
    CHECK(probe->is_ended && engine_adapter_set_eq(&computed_with, set));
    cancel_flag_unref(probe->cancel);
    text_fini(&probe->text);
    core_report_fini(&probes.report);
}

/* Somebody with other adapters comes again and again while steps are measured, and each time the
 * next is a thousand times as long. */
TEST(the_laying_out_for_other_adapters_is_not_measured)
{
    const struct engine_adapter_set other = {.count = 1, .uses = {{0, 0.5f}}};
    uint32_t taken = 0;
    new_path();
    adapter_count = 1;
    first_scale = 1;
    layout_us = 777000;
    open_all(UINT64_C(1) << 40, "key");
    while (selftest_run_due_us(run) <= clock_now_us) {
        selftest_run_step(run, read_clock, NULL);
        if (++taken % 7 != 0 || taken > CALIBRATION_STEPS)
            continue;
        selftest_run_yield(run, clock_now_us);
        run_somebody_with(&other);
        clock_now_us += SELFTEST_QUIET_US;
    }
    CHECK(taken > CALIBRATION_STEPS);
    write_file();
    CHECK(digits_of_steps() < 6); /* attention may have five; 100 us and 512 rows have three */
    close_all();
    adapter_count = 0;
    first_scale = 0;
    layout_us = 0;
    CHECK_EQ(unlink(path), 0);
}

/* Of the same name, scale and size. */
TEST(what_was_found_with_another_adapter_is_not_known)
{
    struct selftest_result result;
    new_path();
    adapter_count = 1;
    open_all(UINT64_C(1) << 40, "key");
    run_all();
    close_all();
    open_all(UINT64_C(1) << 40, "key");
    CHECK(selftest_run_take_result(run, &result));
    close_all();
    first_digest = 2;
    open_all(UINT64_C(1) << 40, "key");
    CHECK(!selftest_run_take_result(run, &result));
    CHECK_EQ(selftest_run_due_us(run), 0);
    close_all();
    first_digest = 1;
    adapter_count = 0;
    CHECK_EQ(unlink(path), 0);
}

/* Steps of a request between any two steps of it; a step that is aborted comes again. */
TEST(whoever_interrupts_it_the_result_is_the_same)
{
    struct selftest_result alone, result;
    path[0] = '\0';
    open_all(UINT64_C(1) << 40, "");
    uint32_t steps = run_all();
    CHECK(selftest_run_take_result(run, &alone));
    close_all();
    for (uint32_t at = 0; at < steps; at += 3) {
        open_all(UINT64_C(1) << 40, "");
        for (uint32_t i = 0; i < at; i++)
            selftest_run_step(run, read_clock, NULL);
        fails_next = at % 2 ? ERR_CANCELLED : ERR_OK;
        if (selftest_run_due_us(run) == 0)
            selftest_run_step(run, read_clock, NULL);
        selftest_run_yield(run, clock_now_us);
        check_slots_are_empty();
        fails_next = ERR_OK;
        (void)run_all();
        CHECK(selftest_run_take_result(run, &result));
        CHECK_STR(result.fingerprint, alone.fingerprint);
        CHECK_EQ(result.determinism, NODE_EXACT);
        CHECK(result.spent_us >= alone.spent_us || at % 2 == 0);
        close_all();
    }
}

/* The calibration loses nothing by that, and says nothing twice. */
TEST(a_request_behind_every_step_is_borne)
{
    struct selftest_result result;
    new_path();
    open_all(UINT64_C(1) << 40, "key");
    for (uint32_t i = 0; i < 2 * CALIBRATION_STEPS; i++) {
        selftest_run_step(run, read_clock, NULL);
        selftest_run_yield(run, clock_now_us);
    }
    (void)run_all();
    CHECK(selftest_run_take_result(run, &result));
    CHECK_EQ(result.determinism, NODE_EXACT);
    close_all();
    CHECK_EQ(unlink(path), 0);
}

TEST(slots_that_hold_something_are_left_until_it_has_been_quiet)
{
    const struct engine_row row = {.token = 3};
    path[0] = '\0';
    open_all(UINT64_C(1) << 40, "");
    CHECK_OK(engine_decode(&toy.engine, &row, 1));
    uint64_t quiet_us = clock_now_us;
    selftest_run_yield(run, quiet_us);
    CHECK_EQ(selftest_run_due_us(run), quiet_us + SELFTEST_QUIET_US);
    clock_now_us = quiet_us + SELFTEST_QUIET_US;
    CHECK(run_all() > 10);
    check_slots_are_empty();
    close_all();
}

/* Rule 3. */
TEST(a_test_that_takes_too_long_ends_unknown_and_the_next_start_tries_again)
{
    struct selftest_result result;
    new_path();
    open_all(500, "key");
    (void)run_all();
    CHECK(selftest_run_take_result(run, &result));
    CHECK_EQ(result.determinism, NODE_DETERMINISM_UNKNOWN);
    CHECK(result.spent_us > 500 && result.spent_us < 500 + 100 + 512 + 1);
    check_slots_are_empty();
    close_all();
    open_all(500, "key");
    CHECK(!selftest_run_take_result(run, &result));
    CHECK_EQ(selftest_run_due_us(run), 0);
    step_us = row_us = 0; /* whatever it was that slowed it down */
    (void)run_all();
    step_us = 100, row_us = 1;
    CHECK(selftest_run_take_result(run, &result));
    CHECK_EQ(result.determinism, NODE_EXACT);
    close_all();
    open_all(500, "key");
    CHECK(selftest_run_take_result(run, &result));
    CHECK_EQ(result.determinism, NODE_EXACT);
    CHECK_EQ(selftest_run_due_us(run), UINT64_MAX);
    close_all();
    CHECK_EQ(unlink(path), 0);
}

/* A successor of a worker knows it before it is ready, also of a model whose test is never over. */
TEST(a_fingerprint_is_kept_although_the_rest_was_not_found_in_time)
{
    struct selftest_result first, result;
    new_path();
    open_all(8000, "key");
    (void)run_all();
    CHECK(selftest_run_take_result(run, &first));
    CHECK_EQ(first.determinism, NODE_DETERMINISM_UNKNOWN);
    CHECK_EQ(strlen(first.fingerprint), NODE_FINGERPRINT_BYTES);
    close_all();
    for (int i = 0; i < 2; i++) {
        open_all(8000, "key");
        CHECK(selftest_run_take_result(run, &result));
        CHECK_EQ(result.determinism, NODE_DETERMINISM_UNKNOWN);
        CHECK_STR(result.fingerprint, first.fingerprint);
        CHECK_EQ(selftest_run_due_us(run), 0); /* the rest is looked for again */
        step_us = 10000;                       /* and this time nothing at all is found */
        (void)run_all();
        step_us = 100;
        CHECK(selftest_run_take_result(run, &result));
        CHECK_STR(result.fingerprint, first.fingerprint);
        close_all();
    }
    CHECK_EQ(unlink(path), 0);
}

/* The whole calibration would take longer than that; the first ways of the test do not. */
TEST(a_calibration_leaves_most_of_the_time_to_the_test)
{
    struct selftest_result result;
    path[0] = '\0';
    open_all(8000, "");
    (void)run_all();
    CHECK(selftest_run_take_result(run, &result));
    CHECK_EQ(strlen(result.fingerprint), NODE_FINGERPRINT_BYTES);
    close_all();
}

TEST(an_engine_that_fails_ends_it_without_a_result)
{
    struct selftest_result result;
    path[0] = '\0';
    open_all(UINT64_C(1) << 40, "");
    fails_next = ERR_SYSTEM;
    selftest_run_step(run, read_clock, NULL);
    CHECK_EQ(selftest_run_due_us(run), UINT64_MAX);
    CHECK(!selftest_run_take_result(run, &result));
    close_all();
}

TEST(without_a_budget_or_with_a_model_that_only_reads_there_is_none)
{
    open_all(0, "");
    CHECK(run == NULL);
    toy.engine.info.reads_only = true;
    CHECK(selftest_run_new(&toy.engine, core, &(struct selftest_options){.budget_us = 1}, 0) ==
          NULL);
    close_all();
}

TEST(a_file_that_is_damaged_or_cannot_be_written_costs_only_the_test)
{
    struct selftest_result result;
    new_path();
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fputs("{\"version\":1,", file) >= 0);
    CHECK_EQ(fclose(file), 0);
    open_all(UINT64_C(1) << 40, "key");
    (void)run_all();
    CHECK(selftest_run_take_result(run, &result));
    CHECK_EQ(result.determinism, NODE_EXACT);
    close_all();
    CHECK_EQ(unlink(path), 0);
    snprintf(path, sizeof(path), "/nonexistent/self-test.json");
    open_all(UINT64_C(1) << 40, "key");
    (void)run_all();
    CHECK(selftest_run_take_result(run, &result));
    CHECK_EQ(result.determinism, NODE_EXACT);
    close_all();
}
