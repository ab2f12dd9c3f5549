/* report_fuzz - a line is refused or is a report, and what is written of that reads back the same.
 */
#include "base/mem.h"
#include "life/report.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = mem_alloc(size ? size : 1); /* alone in its memory: overreading is seen */
    if (size)
        memcpy(exact, data, size);
    struct report report, again;
    if (report_read(slice_of(exact, size), &report) == ERR_OK) {
        struct text line;
        text_init(&line, 2 * REPORT_LINE_MAX_BYTES);
        report_write(&report, &line);
        ASSERT(text_status(&line) == ERR_OK && line.len <= REPORT_LINE_MAX_BYTES);
        ASSERT(report_read(slice_first(text_slice(&line), line.len - 1), &again) == ERR_OK);
        ASSERT(again.kind == report.kind && again.stuck_ms == report.stuck_ms &&
               again.streams == report.streams);
        ASSERT(slice_eq(again.text, report.text));
        text_fini(&line);
    }
    mem_free(exact);
    return 0;
}
