/* metrics_snapshot_fuzz - a snapshot that is accepted can be added to a registry and shown, and the
 * page is one that a scraper can read, line by line; the registry's own snapshot comes back the
 * same. */
#include "metrics/exposition.h"
#include "metrics/label.h"
#include "metrics/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct metrics *merged(struct slice payload, size_t *out_count)
{
    struct metrics *metrics = metrics_new();
    struct snapshot_reader reader = snapshot_reader_of(payload);
    struct metric_sample sample;
    enum err err;
    *out_count = 0;
    while ((err = snapshot_next(&reader, &sample)) == ERR_OK) {
        enum err merge = metrics_merge(metrics, &sample);
        ASSERT(merge == ERR_OK || merge == ERR_REFUSED || merge == ERR_FULL);
        ++*out_count;
    }
    ASSERT(err == ERR_AGAIN || err == ERR_PROTOCOL);
    return metrics;
}

/* name, labels if there are any, space, number. */
static void check_sample(struct slice line)
{
    size_t name = 0;
    while (name < line.len && line.data[name] != '{' && line.data[name] != ' ')
        name++;
    /* _bucket, _sum and _count are not part of the name's bound. */
    size_t own = name < METRIC_NAME_MAX_BYTES ? name : METRIC_NAME_MAX_BYTES;
    ASSERT(metric_name_is_valid(slice_first(line, own)));
    size_t end = line.len;
    while (end > 0 && line.data[end - 1] != ' ')
        end--;
    ASSERT(end > 0 && end < line.len && (end == name + 1 || line.data[end - 2] == '}'));
}

static void check_page(struct slice page)
{
    struct slice line;
    ASSERT(page.len == 0 || page.data[page.len - 1] == '\n');
    while (page.len > 0) {
        ASSERT(slice_cut(page, '\n', &line, &page));
        if (!slice_starts_with(line, SLICE("# HELP ")) &&
            !slice_starts_with(line, SLICE("# TYPE ")))
            check_sample(line);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice payload = slice_of(data, size);
    size_t count, again_count;
    struct text page, first, second;
    struct metrics *metrics = merged(payload, &count);
    text_init(&page, SIZE_MAX / 2);
    text_init(&first, SNAPSHOT_MAX_BYTES);
    text_init(&second, SNAPSHOT_MAX_BYTES);
    exposition_write(metrics, &page);
    check_page(text_slice(&page));
    snapshot_write(metrics, &first);
    ASSERT(text_status(&first) == ERR_OK);
    if (snapshot_check(text_slice(&first)) == ERR_OK) { /* else a sum went out of range */
        struct metrics *again = merged(text_slice(&first), &again_count);
        ASSERT(again_count == metrics->series_count && again_count <= count);
        snapshot_write(again, &second);
        ASSERT(slice_eq(text_slice(&first), text_slice(&second)));
        metrics_free(again);
    }
    text_fini(&page);
    text_fini(&first);
    text_fini(&second);
    metrics_free(metrics);
    return 0;
}
