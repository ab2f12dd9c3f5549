/* estimate - the median of some values and the interval it lies in with 95 %, by resampling with a
 * fixed seed, as benchlib/stats.py does it: the same values give the same interval. */
#pragma once

#include <stdint.h>

enum { ESTIMATE_VALUES_MAX = 99 };

struct estimate {
    double low, mid, high;
};

/* Of 1..ESTIMATE_VALUES_MAX values. */
struct estimate estimate_of(const double *values, uint32_t count);
/* Of values[i] / others[i], round by round: what a round's two have in common cancels. */
struct estimate estimate_of_ratios(const double *values, const double *others, uint32_t count);
