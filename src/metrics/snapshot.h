/* snapshot - a registry as the payload of a WIRE_METRICS record, and back. Pure; the reader trusts
 * nothing. Little-endian, not padded:
 *
 *   u16 families, then of each:
 *     u8 kind; u8 name bytes, name; u8 help bytes, help; u16 series (at least 1), then of each:
 *       u16 label bytes, labels; f64 value; and of a histogram, whose value is the sum of what was
 *       observed: u8 buckets (16), and so many u64, not cumulative
 *
 * The record's stream is the feed's id (random, of this start), its seq the number of the snapshot,
 * flag 1 says that it is the last one. A snapshot is whole, in one record of one frame: the largest
 * registry there can be takes less than SNAPSHOT_MAX_BYTES, and a bus takes frames of 8 MiB. */
#pragma once

#include "base/text.h"
#include "metrics/metrics_impl.h"

enum { SNAPSHOT_MAX_BYTES = 3 * 1024 * 1024, SNAPSHOT_FLAG_LAST = 1 };

void snapshot_write(const struct metrics *metrics, struct text *out);

struct metric_sample {
    enum metric_kind kind;
    struct slice name, help, labels;          /* valid (label.h); borrowed from the payload */
    double value;                             /* finite; of a counter not negative */
    uint64_t buckets[METRIC_SECONDS_BUCKETS]; /* of a histogram; each at most 2^48 */
};

struct snapshot_reader {
    struct slice rest;
    uint32_t families_left, series_left;
    struct metric_sample family; /* what its series share */
    bool failed;
};
struct snapshot_reader snapshot_reader_of(struct slice payload);
/* ERR_AGAIN: no more, and nothing was left over; ERR_PROTOCOL: not of that shape (what came before
 * was fine, and it stays at that). */
MUST_USE enum err snapshot_next(struct snapshot_reader *reader, struct metric_sample *out_sample);
/* ERR_OK: all of it can be read. ERR_LIMIT: too long, or more series than a registry has. */
MUST_USE enum err snapshot_check(struct slice payload);

/* Adds a sample to the series of the same name and labels. ERR_REFUSED, ERR_FULL: as
 * metrics_obtain(). */
MUST_USE enum err metrics_merge(struct metrics *metrics, const struct metric_sample *sample);
