/* snapshot - writes a registry into a payload, reads it back sample by sample. */
#include "metrics/snapshot.h"

#include "metrics/label.h"
#include "wire/little.h"

#include <math.h>

/* So that no sum over nodes and buckets comes near 2^64. */
#define BUCKET_COUNT_MAX ((uint64_t)1 << 48)

enum {
    SERIES_MAX_BYTES = 2 + METRIC_LABELS_MAX_BYTES + 8 + 1 + 8 * METRIC_SECONDS_BUCKETS,
    FAMILY_MAX_BYTES = 1 + 1 + METRIC_NAME_MAX_BYTES + 1 + METRIC_HELP_MAX_BYTES + 2
};
_Static_assert(2 + METRICS_SERIES_MAX * (FAMILY_MAX_BYTES + SERIES_MAX_BYTES) <= SNAPSHOT_MAX_BYTES,
               "any registry fits into one snapshot");
_Static_assert(METRIC_NAME_MAX_BYTES <= UINT8_MAX && METRIC_HELP_MAX_BYTES <= UINT8_MAX &&
                   METRIC_LABELS_MAX_BYTES <= UINT16_MAX && METRICS_SERIES_MAX <= UINT16_MAX,
               "lengths fit their fields");

/* --- writing --- */

static void add_u8(struct text *out, size_t value)
{
    text_add_byte(out, (char)(uint8_t)value);
}

static void add_u16(struct text *out, size_t value)
{
    char bytes[2];
    little_put16(bytes, (uint16_t)value);
    text_add(out, slice_of(bytes, sizeof(bytes)));
}

static void add_u64(struct text *out, uint64_t value)
{
    char bytes[8];
    little_put64(bytes, value);
    text_add(out, slice_of(bytes, sizeof(bytes)));
}

static void add_f64(struct text *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    add_u64(out, bits);
}

static void write_series(const struct metric *metric, struct text *out)
{
    add_u16(out, metric->labels.len);
    text_add(out, metric->labels);
    add_f64(out, metric->value);
    if (metric->family->kind != METRIC_HISTOGRAM)
        return;
    add_u8(out, METRIC_SECONDS_BUCKETS);
    for (size_t i = 0; i < METRIC_SECONDS_BUCKETS; i++)
        add_u64(out, metric->buckets[i]);
}

static void write_family(const struct metric_family *family, struct text *out)
{
    add_u8(out, family->kind);
    add_u8(out, family->name.len);
    text_add(out, family->name);
    add_u8(out, family->help.len);
    text_add(out, family->help);
    add_u16(out, family->series_count);
    LIST_FOREACH (node, &family->series)
        write_series(CONTAINER_OF(node, struct metric, link), out);
}

void snapshot_write(const struct metrics *metrics, struct text *out)
{
    ASSERT(metrics->series_max <= METRICS_SERIES_MAX);
    add_u16(out, metrics->family_count);
    LIST_FOREACH (node, &metrics->families)
        write_family(CONTAINER_OF(node, struct metric_family, link), out);
}

/* --- reading: a take_ that finds too little marks the reader and gives a neutral value --- */

static struct slice take(struct snapshot_reader *reader, size_t bytes)
{
    struct slice taken = slice_first(reader->rest, bytes);
    if (taken.len < bytes || reader->failed) {
        reader->failed = true;
        return (struct slice){NULL, 0};
    }
    reader->rest = slice_after(reader->rest, bytes);
    return taken;
}

static uint8_t take_u8(struct snapshot_reader *reader)
{
    struct slice bytes = take(reader, 1);
    return bytes.len ? (uint8_t)bytes.data[0] : 0;
}

static uint16_t take_u16(struct snapshot_reader *reader)
{
    struct slice bytes = take(reader, 2);
    return bytes.len ? little_get16(bytes.data) : 0;
}

static uint64_t take_u64(struct snapshot_reader *reader)
{
    struct slice bytes = take(reader, 8);
    return bytes.len ? little_get64(bytes.data) : 0;
}

static double take_f64(struct snapshot_reader *reader)
{
    uint64_t bits = take_u64(reader);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void require(struct snapshot_reader *reader, bool ok)
{
    if (!ok)
        reader->failed = true;
}

static void take_family(struct snapshot_reader *reader)
{
    uint8_t kind = take_u8(reader);
    reader->families_left--;
    reader->family.name = take(reader, take_u8(reader));
    reader->family.help = take(reader, take_u8(reader));
    reader->series_left = take_u16(reader);
    require(reader, kind <= METRIC_HISTOGRAM && reader->series_left > 0 &&
                        metric_name_is_valid(reader->family.name) &&
                        metric_help_is_valid(reader->family.help));
    reader->family.kind = reader->failed ? METRIC_COUNTER : (enum metric_kind)kind;
}

static void take_buckets(struct snapshot_reader *reader, struct metric_sample *sample)
{
    require(reader, take_u8(reader) == METRIC_SECONDS_BUCKETS);
    for (size_t i = 0; i < METRIC_SECONDS_BUCKETS; i++) {
        sample->buckets[i] = take_u64(reader);
        require(reader, sample->buckets[i] <= BUCKET_COUNT_MAX);
    }
}

static struct metric_sample take_sample(struct snapshot_reader *reader)
{
    struct metric_sample sample = reader->family;
    reader->series_left--;
    sample.labels = take(reader, take_u16(reader));
    sample.value = take_f64(reader);
    require(reader, metric_labels_are_valid(sample.labels) && isfinite(sample.value) &&
                        (sample.kind != METRIC_COUNTER || sample.value >= 0));
    if (sample.kind == METRIC_HISTOGRAM)
        take_buckets(reader, &sample);
    return sample;
}

struct snapshot_reader snapshot_reader_of(struct slice payload)
{
    struct snapshot_reader reader = {.rest = payload};
    reader.families_left = take_u16(&reader);
    return reader;
}

enum err snapshot_next(struct snapshot_reader *reader, struct metric_sample *out_sample)
{
    if (!reader->failed && reader->series_left == 0) {
        if (reader->families_left == 0) {
            require(reader, reader->rest.len == 0);
            return reader->failed ? ERR_PROTOCOL : ERR_AGAIN;
        }
        take_family(reader);
    }
    if (reader->failed)
        return ERR_PROTOCOL;
    struct metric_sample sample = take_sample(reader);
    if (reader->failed)
        return ERR_PROTOCOL;
    *out_sample = sample;
    return ERR_OK;
}

enum err snapshot_check(struct slice payload)
{
    struct snapshot_reader reader = snapshot_reader_of(payload);
    struct metric_sample sample;
    size_t count = 0;
    enum err err;
    if (payload.len > SNAPSHOT_MAX_BYTES)
        return ERR_LIMIT;
    while ((err = snapshot_next(&reader, &sample)) == ERR_OK)
        if (++count > METRICS_SERIES_MAX)
            return ERR_LIMIT;
    return err == ERR_AGAIN ? ERR_OK : err;
}

enum err metrics_merge(struct metrics *metrics, const struct metric_sample *sample)
{
    struct metric *metric;
    TRY(metrics_obtain(metrics, sample->kind, sample->name, sample->help, sample->labels, &metric));
    metric->value += sample->value;
    if (sample->kind == METRIC_HISTOGRAM)
        for (size_t i = 0; i < METRIC_SECONDS_BUCKETS; i++)
            metric->buckets[i] += sample->buckets[i];
    return ERR_OK;
}
