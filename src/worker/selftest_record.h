/* selftest_record - what a self-test and a calibration found, as a file that the next start reads.
 * JSON; believed only if all of it is right and it was made under the same key: of the model's
 * file, the engine, the processor and whatever else the numbers depend on. */
#pragma once

#include "worker/calibration.h"
#include "worker/selftest.h"

enum {
    SELFTEST_RECORD_MAX_BYTES = 16 * 1024,
    SELFTEST_STEP_MAX_US = 600 * 1000 * 1000 /* a step that took longer is not believed */
};

struct selftest_step { /* measured */
    struct step_shape shape;
    uint64_t spent_us;
};

struct selftest_record {
    struct selftest_result result;
    struct selftest_step steps[CALIBRATION_STEPS];
    uint32_t step_count;
};

/* `key`: any text; its digest stands in the file. `out` holds SELFTEST_RECORD_MAX_BYTES. */
void selftest_record_encode(const struct selftest_record *record, struct slice key,
                            struct text *out);
/* ERR_PROTOCOL, ERR_LIMIT: it is not one, or damaged (note); ERR_NOT_FOUND: of another key or
 * another millrace. */
MUST_USE enum err selftest_record_decode(struct slice bytes, struct slice key,
                                         struct selftest_record *out_record,
                                         struct err_note *out_note);

/* ERR_NOT_FOUND also when there is no file; ERR_SYSTEM: it cannot be read. */
MUST_USE enum err selftest_record_read(const char *path, struct slice key,
                                       struct selftest_record *out_record,
                                       struct err_note *out_note);
/* What encode() made. Whole or not at all, also beside others that write it: PATH.part, renamed,
 * under the folder's lock. ERR_SYSTEM with note. Any thread that may wait for a disk. */
MUST_USE enum err selftest_record_write(const char *path, struct slice bytes,
                                        struct err_note *out_note);
