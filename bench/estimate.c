/* estimate - see estimate.h. */
#include "estimate.h"

#include "base/err.h"
#include "base/splitmix.h"

#include <stdlib.h>

enum { RESAMPLES = 2000, SEED = 20261121 };

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Orders them. */
static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof(*values), by_value);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

struct estimate estimate_of(const double *values, uint32_t count)
{
    double drawn[ESTIMATE_VALUES_MAX], medians[RESAMPLES];
    uint64_t random = SEED;
    ASSERT(count >= 1 && count <= ESTIMATE_VALUES_MAX);
    for (uint32_t i = 0; i < RESAMPLES; i++) {
        for (uint32_t k = 0; k < count; k++)
            drawn[k] = values[splitmix_next(&random) % count];
        medians[i] = median(drawn, count);
    }
    for (uint32_t k = 0; k < count; k++)
        drawn[k] = values[k];
    qsort(medians, RESAMPLES, sizeof(*medians), by_value);
    return (struct estimate){.low = medians[RESAMPLES / 40],
                             .mid = median(drawn, count),
                             .high = medians[RESAMPLES - 1 - RESAMPLES / 40]};
}

struct estimate estimate_of_ratios(const double *values, const double *others, uint32_t count)
{
    double ratios[ESTIMATE_VALUES_MAX];
    ASSERT(count <= ESTIMATE_VALUES_MAX);
    for (uint32_t i = 0; i < count; i++)
        ratios[i] = values[i] / others[i];
    return estimate_of(ratios, count);
}
