/* cpu_list - reading and writing sets of processors. */
#include "base/cpu_list.h"

enum { QUOTE_MAX_BYTES = 32 };

static enum err fail(struct err_note *out_note, struct slice item, const char *why)
{
    return err_note_fail(out_note, ERR_PROTOCOL, "'" SLICE_FMT "' %s",
                         SLICE_ARG(slice_first(item, QUOTE_MAX_BYTES)), why);
}

static enum err add_item(struct slice item, cpu_set_t *cpus, struct err_note *out_note)
{
    struct slice first_text, last_text;
    uint64_t first, last;
    if (!slice_cut(item, '-', &first_text, &last_text))
        last_text = first_text;
    enum err first_err = slice_parse_u64(first_text, CPU_SETSIZE - 1, &first);
    enum err last_err = slice_parse_u64(last_text, CPU_SETSIZE - 1, &last);
    if (first_err == ERR_PROTOCOL || last_err == ERR_PROTOCOL)
        return fail(out_note, item, "is neither a CPU nor a range of them");
    if (first_err != ERR_OK || last_err != ERR_OK)
        return fail(out_note, item, "is beyond the last CPU there can be");
    if (first > last)
        return fail(out_note, item, "goes down");
    for (uint64_t cpu = first; cpu <= last; cpu++) {
        if (CPU_ISSET(cpu, cpus))
            return fail(out_note, item, "names a CPU once more");
        CPU_SET(cpu, cpus);
    }
    return ERR_OK;
}

enum err cpu_list_parse(struct slice text, cpu_set_t *out_cpus, struct err_note *out_note)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (bool is_more = true; is_more;) {
        struct slice item;
        is_more = slice_cut(text, ',', &item, &text);
        TRY(add_item(item, &cpus, out_note));
    }
    *out_cpus = cpus;
    return ERR_OK;
}

static size_t end_of_range(const cpu_set_t *cpus, size_t first)
{
    size_t end = first;
    while (end < CPU_SETSIZE && CPU_ISSET(end, cpus))
        end++;
    return end;
}

void cpu_list_write(const cpu_set_t *cpus, struct text *out)
{
    const char *between = "";
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        size_t end = end_of_range(cpus, cpu);
        if (end == cpu)
            continue;
        text_add_str(out, between);
        text_add_u64(out, cpu);
        if (end - cpu > 1) {
            text_add_byte(out, '-');
            text_add_u64(out, end - 1);
        }
        between = ",";
        cpu = end;
    }
}
