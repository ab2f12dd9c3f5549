/* metrics_rig - pages and lines. */
#include "metrics/metrics_rig.h"

bool has_line(const struct text *text, const char *line)
{
    struct slice rest = text_slice(text), next;
    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &next, &rest); /* the last line may lack its end */
        if (slice_eq_str(next, line))
            return true;
    }
    return false;
}

struct text page_of(struct metrics_table *table)
{
    struct text page;
    text_init(&page, 16 * 1024 * 1024);
    metrics_table_write(table, &page);
    ASSERT(text_status(&page) == ERR_OK);
    return page;
}
