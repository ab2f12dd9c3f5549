/* cpu - whether this one has the instructions that nano_math was built for. */
#pragma once

#include "base/err.h"

/* ERR_REFUSED: it has not; running nano_math would end in an illegal instruction. */
MUST_USE enum err cpu_can_train(struct err_note *out_note);

/* In tests. */
#define cpu_or_skip()                                                                              \
    do {                                                                                           \
        struct err_note cpu_note_;                                                                 \
        if (cpu_can_train(&cpu_note_) != ERR_OK)                                                   \
            SKIP("%s", cpu_note_.text);                                                            \
    } while (0)
