/* selftest_record_fuzz - a self-test's file from anywhere: what is believed of it is within its
 * bounds, and comes back the same when it is written again. */
#include "worker/selftest_record.h"

static const struct slice KEY = SLICE("key");

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bounds(const struct selftest_record *record)
{
    const struct selftest_result *result = &record->result;
    size_t digits = strlen(result->fingerprint);
    ASSERT((unsigned)result->determinism < NODE_DETERMINISM_COUNT);
    ASSERT(digits == NODE_FINGERPRINT_BYTES ||
           (digits == 0 && result->determinism == NODE_DETERMINISM_UNKNOWN));
    ASSERT(result->width_max <= SELFTEST_SLOTS_MAX);
    ASSERT(result->draft_rows_exact_max >= 1 &&
           result->draft_rows_exact_max <= SELFTEST_DRAFT_ROWS_MAX);
    ASSERT(record->step_count <= CALIBRATION_STEPS);
}

/* As the next start does it: whatever it says, the costs stay usable. */
static void check_costs(const struct selftest_record *record)
{
    struct step_cost cost;
    step_cost_init(&cost);
    for (uint32_t i = 0; i < record->step_count; i++)
        step_cost_learn(&cost, &record->steps[i].shape, record->steps[i].spent_us);
    for (uint32_t width = 1; width <= 64; width++) {
        struct step_shape shape = {.decode_rows = width, .pairs = width};
        double us = step_cost_us(&cost, &shape);
        ASSERT(us > 0 && us < 1e18);
        ASSERT(step_cost_decode_width(&cost, width) >= 1);
    }
}

static void check_again(const struct selftest_record *record)
{
    struct text text;
    struct selftest_record again;
    text_init(&text, SELFTEST_RECORD_MAX_BYTES);
    selftest_record_encode(record, KEY, &text);
    ASSERT(text_status(&text) == ERR_OK);
    ASSERT(selftest_record_decode(text_slice(&text), KEY, &again, NULL) == ERR_OK);
    ASSERT(again.result.determinism == record->result.determinism);
    ASSERT(again.result.spent_us == record->result.spent_us);
    ASSERT(strcmp(again.result.fingerprint, record->result.fingerprint) == 0);
    ASSERT(again.step_count == record->step_count);
    for (uint32_t i = 0; i < again.step_count; i++) {
        ASSERT(again.steps[i].shape.pairs == record->steps[i].shape.pairs);
        ASSERT(again.steps[i].spent_us == record->steps[i].spent_us);
    }
    text_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct selftest_record record;
    if (size > SELFTEST_RECORD_MAX_BYTES ||
        selftest_record_decode(slice_of(data, size), KEY, &record, NULL) != ERR_OK)
        return 0;
    check_bounds(&record);
    check_costs(&record);
    check_again(&record);
    return 0;
}
