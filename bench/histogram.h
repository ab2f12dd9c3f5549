/* histogram - durations in buckets that are at most 1/32 of their value wide, for percentiles in
 * fixed memory (15 KiB). Microseconds up to UINT64_MAX, and the largest as it is. One thread. */
#pragma once

#include "base/err.h"

enum { HISTOGRAM_SUB_BITS = 5, HISTOGRAM_SUBS = 1 << HISTOGRAM_SUB_BITS };

struct histogram { /* zeroed: empty */
    uint64_t counts[(64 - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUBS];
    uint64_t total, max;
};

/* Below HISTOGRAM_SUBS the value itself; above it HISTOGRAM_SUBS buckets per power of two. */
static inline size_t histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_SUBS)
        return (size_t)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return (size_t)(shift + 1) * HISTOGRAM_SUBS + (size_t)(value >> shift) - HISTOGRAM_SUBS;
}

static inline uint64_t histogram_bucket_start(size_t bucket)
{
    if (bucket < HISTOGRAM_SUBS)
        return bucket;
    unsigned shift = (unsigned)(bucket / HISTOGRAM_SUBS) - 1;
    return (uint64_t)(bucket % HISTOGRAM_SUBS + HISTOGRAM_SUBS) << shift;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->counts[histogram_bucket(value)]++;
    histogram->total++;
    if (value > histogram->max)
        histogram->max = value;
}

/* The start of the bucket in which the value of that rank lies; 0 when empty. `percent` 1..100. */
static inline uint64_t histogram_percentile(const struct histogram *histogram, unsigned percent)
{
    uint64_t rank = (histogram->total * percent + 99) / 100, seen = 0;
    for (size_t bucket = 0; bucket < ARRAY_COUNT(histogram->counts); bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= rank && seen > 0)
            return histogram_bucket_start(bucket);
    }
    return 0;
}
