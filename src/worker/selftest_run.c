/* selftest_run - see selftest_run.h. */
#include "worker/selftest_run.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"

#include <string.h>

enum {
    KEY_MAX_BYTES = 16 * 1024,
    CALIBRATION_PART = 4, /* of the budget: a step of 512 rows of a large model takes a minute */
};

enum phase { PHASE_CALIBRATION, PHASE_TEST, PHASE_OVER };

struct selftest_run {
    struct engine *engine;
    struct core *core;
    struct selftest_options options;
    struct text key; /* the options' and the engine's */
    enum phase phase;
    struct calibration calibration;
    struct engine_row *rows; /* of a step of the calibration */
    struct selftest test;
    struct selftest_record record; /* as it grows */
    bool is_inside;                /* the slots hold what we put there */
    bool is_laid_out_anew;         /* the next decode() is, and takes longer than those behind it */
    bool has_result;               /* that nobody took yet */
    struct text file;              /* nor this */
    uint64_t quiet_since_us;
};

/* --- the file --- */

/* By what is in them: of the same rank all have the same size, and times are set as one likes. */
static void add_adapters(struct text *key, const struct engine_info *info)
{
    for (uint32_t i = 0; i < info->adapter_count; i++) {
        const struct engine_adapter *adapter = &info->adapters[i];
        char digits[SHA256_HEX_BYTES + 1];
        (void)sha256_format(adapter->digest, digits); /* the slice of `digits` */
        text_add_f(key, "|lora=%s,%.9g,%s", adapter->name, (double)adapter->scale, digits);
    }
}

static void make_key(struct selftest_run *run)
{
    const struct engine_info *info = &run->engine->info;
    text_init(&run->key, KEY_MAX_BYTES);
    text_add_f(&run->key, "%s|%s|%s|slots=%u|context=%u|batch=%u|logits=%u|fast=%d|budget=%llu",
               run->options.key ? run->options.key : "", info->build ? info->build : info->kind,
               info->description, info->slots, info->context_tokens, info->batch_tokens,
               info->logits_max, run->options.is_fast, (unsigned long long)run->options.budget_us);
    add_adapters(&run->key, info);
}

static bool has_file(const struct selftest_run *run)
{
    return run->options.path && run->options.path[0] && text_status(&run->key) == ERR_OK;
}

static void tell_core(struct selftest_run *run)
{
    for (uint32_t i = 0; i < run->record.step_count; i++)
        core_learn_step(run->core, &run->record.steps[i].shape, run->record.steps[i].spent_us);
    core_set_draft_rows_exact_max(run->core, run->record.result.draft_rows_exact_max);
}

static bool has_fingerprint(const struct selftest_run *run)
{
    return run->record.result.fingerprint[0] != '\0';
}

/* Its time was up (rule 3): this start has as much again, with steps that may be faster now. What
 * it found of it is told. */
static void test_again(struct selftest_run *run)
{
    struct selftest_result result = {.draft_rows_exact_max = 1};
    memcpy(result.fingerprint, run->record.result.fingerprint, sizeof(result.fingerprint));
    run->record.result = result;
    run->has_result = has_fingerprint(run);
    run->phase = PHASE_TEST;
}

static void take_record(struct selftest_run *run)
{
    tell_core(run);
    if (run->record.result.determinism == NODE_DETERMINISM_UNKNOWN) {
        test_again(run);
        return;
    }
    run->has_result = true;
    run->phase = PHASE_OVER;
}

static void read_file(struct selftest_run *run)
{
    struct err_note note;
    enum err err =
        selftest_record_read(run->options.path, text_slice(&run->key), &run->record, &note);
    if (err == ERR_OK) {
        take_record(run);
    } else if (err != ERR_NOT_FOUND) { /* that one is the way of things: another model, an update */
        log_event(LOG_WARN, "self_test_file_ignored", "file=%s note=%s",
                  log_quote(slice_str(run->options.path), 256),
                  log_quote(slice_str(note.text), sizeof(note.text)));
    }
}

static void make_file(struct selftest_run *run)
{
    if (!has_file(run))
        return;
    text_init(&run->file, SELFTEST_RECORD_MAX_BYTES);
    selftest_record_encode(&run->record, text_slice(&run->key), &run->file);
    ASSERT(text_status(&run->file) == ERR_OK); /* CALIBRATION_STEPS of 48 bytes at most */
}

/* --- life --- */

struct selftest_run *selftest_run_new(struct engine *engine, struct core *core,
                                      const struct selftest_options *options, uint64_t now_us)
{
    const uint32_t rows_min = 8, context_min = 16; /* what selftest_init() asks for */
    if (options->budget_us == 0 || engine->info.reads_only ||
        engine->info.batch_tokens < rows_min || engine->info.context_tokens < context_min)
        return NULL;
    struct selftest_run *run = mem_alloc(sizeof(*run));
    run->engine = engine;
    run->core = core;
    run->options = *options;
    run->quiet_since_us = now_us;
    run->is_laid_out_anew = engine_default_adapters(&engine->info).count > 0;
    run->rows = mem_array(engine->info.batch_tokens, sizeof(*run->rows));
    calibration_init(&run->calibration, &engine->info);
    selftest_init(&run->test, engine, options->is_fast);
    make_key(run);
    if (has_file(run))
        read_file(run);
    return run;
}

void selftest_run_free(struct selftest_run *run)
{
    if (!run)
        return;
    selftest_fini(&run->test);
    text_fini(&run->key);
    text_fini(&run->file);
    mem_free(run->rows);
    mem_free(run);
}

/* --- when --- */

static uint32_t slots(const struct selftest_run *run)
{
    uint32_t calibrated = calibration_slots(&run->calibration), tested = selftest_slots(&run->test);
    return calibrated > tested ? calibrated : tested;
}

static bool slots_are_empty(const struct selftest_run *run)
{
    for (uint32_t slot = 0; slot < slots(run); slot++) {
        if (engine_seq_tokens(run->engine, slot) > 0)
            return false;
    }
    return true;
}

uint64_t selftest_run_due_us(const struct selftest_run *run)
{
    if (run->phase == PHASE_OVER)
        return UINT64_MAX;
    if (run->is_inside || slots_are_empty(run))
        return 0;
    return run->quiet_since_us + SELFTEST_QUIET_US;
}

/* --- steps --- */

static void empty_slots(struct selftest_run *run)
{
    if (core_empty_slots(run->core, slots(run)))
        run->is_laid_out_anew = true;
    run->is_inside = false;
}

/* What is in the slots is given up; of the calibration no step that was done. */
static void go_back(struct selftest_run *run, bool was_done)
{
    empty_slots(run);
    calibration_again(&run->calibration, was_done);
    selftest_again(&run->test);
}

void selftest_run_yield(struct selftest_run *run, uint64_t now_us)
{
    run->quiet_since_us = now_us;
    if (run->is_inside)
        go_back(run, true);
}

static void finish(struct selftest_run *run)
{
    empty_slots(run);
    struct selftest_result result = selftest_result(&run->test);
    result.spent_us = run->record.result.spent_us;
    if (!result.fingerprint[0]) /* then that of an earlier start is still right: the key is the same
                                 */
        memcpy(result.fingerprint, run->record.result.fingerprint, sizeof(result.fingerprint));
    run->record.result = result;
    run->phase = PHASE_OVER;
    run->has_result = true;
    core_set_draft_rows_exact_max(run->core, run->record.result.draft_rows_exact_max);
    make_file(run);
}

/* Without a result, and without a file: the engine may only be broken today. */
static void give_up(struct selftest_run *run)
{
    empty_slots(run);
    run->phase = PHASE_OVER;
    log_event(LOG_WARN, "self_test_failed", "note=%s",
              log_quote(SLICE("the engine failed, or gave no numbers"), 64));
}

static uint64_t now(uint64_t (*clock_us)(void *host), void *host)
{
    return clock_us ? clock_us(host) : 0;
}

static void keep_step(struct selftest_run *run, const struct step_shape *shape, uint64_t spent_us)
{
    struct selftest_record *record = &run->record;
    ASSERT(record->step_count < CALIBRATION_STEPS); /* each is done once (calibration.h 4) */
    if (spent_us > SELFTEST_STEP_MAX_US)
        return;
    record->steps[record->step_count++] =
        (struct selftest_step){.shape = *shape, .spent_us = spent_us};
    core_learn_step(run->core, shape, spent_us);
}

static void calibrate(struct selftest_run *run, uint64_t (*clock_us)(void *host), void *host)
{
    uint32_t count;
    struct step_shape shape;
    bool is_over = run->record.result.spent_us > run->options.budget_us / CALIBRATION_PART;
    if (is_over || !calibration_next(&run->calibration, run->rows, &count, &shape)) {
        empty_slots(run);
        run->phase = PHASE_TEST;
        return;
    }
    uint64_t begin_us = now(clock_us, host);
    enum err err = engine_decode(run->engine, run->rows, count);
    uint64_t spent_us = now(clock_us, host) - begin_us;
    run->record.result.spent_us += spent_us;
    if (err == ERR_OK && !run->is_laid_out_anew)
        keep_step(run, &shape, spent_us);
    else if (err == ERR_OK || err == ERR_CANCELLED)
        go_back(run, false);
    else
        give_up(run);
    run->is_laid_out_anew = false;
}

static void test(struct selftest_run *run, uint64_t (*clock_us)(void *host), void *host)
{
    uint64_t begin_us = now(clock_us, host);
    enum selftest_next next = selftest_step(&run->test);
    run->is_laid_out_anew = false; /* it measures nothing */
    run->record.result.spent_us += now(clock_us, host) - begin_us;
    switch (next) {
    case SELFTEST_STEP:
        break;
    case SELFTEST_EMPTY:
        empty_slots(run);
        break;
    case SELFTEST_OVER:
        finish(run);
        break;
    case SELFTEST_BROKEN:
        give_up(run);
        break;
    case SELFTEST_ABORTED:
        go_back(run, false);
        break;
    }
}

void selftest_run_step(struct selftest_run *run, uint64_t (*clock_us)(void *host), void *host)
{
    if (run->record.result.spent_us > run->options.budget_us) {
        finish(run); /* rule 3 */
        return;
    }
    if (!run->is_inside)
        empty_slots(run);
    run->is_inside = true;
    if (run->phase == PHASE_CALIBRATION)
        calibrate(run, clock_us, host);
    else
        test(run, clock_us, host);
}

bool selftest_run_take_result(struct selftest_run *run, struct selftest_result *out_result)
{
    bool has_result = run->has_result;
    run->has_result = false;
    if (has_result)
        *out_result = run->record.result;
    return has_result;
}

struct text selftest_run_take_file(struct selftest_run *run)
{
    struct text file = run->file;
    run->file = (struct text){0};
    return file;
}
