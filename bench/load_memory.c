/* load_memory - what connections cost the server in memory, and what they need of us. */
#include "load.h"

#include "base/clock.h"

#include <sys/resource.h>

enum { OTHER_DESCRIPTORS = 64 };

void load_pause(struct load *load, double seconds)
{
    uint64_t until_us = clock_monotonic_us() + (uint64_t)(seconds * 1e6);
    while (clock_monotonic_us() < until_us)
        exchange_loop_turn(&load->loop, until_us);
}

/* 0: not known. */
static uint64_t look(struct load *load)
{
    struct process_tree tree;
    int pid = (int)load->options->pid;
    uint64_t kib = 0;
    if (pid && (!process_tree_read(pid, &tree) || !process_tree_pss(&tree, &kib)))
        load_doubt(load, "the memory of process %d cannot be read", pid);
    return kib;
}

void load_memory_before(struct load *load, struct load_memory *memory)
{
    load_pause(load, load->options->settle_s);
    *memory = (struct load_memory){.before_kib = look(load)};
}

void load_memory_after(struct load *load, struct load_memory *memory)
{
    load_pause(load, load->options->settle_s);
    memory->after_kib = look(load);
}

void load_memory_end(struct load *load, struct load_memory *memory)
{
    memory->end_kib = look(load);
}

void load_report_memory(struct json_out *report, const struct load_memory *memory,
                        uint32_t connections)
{
    if (!memory->before_kib || !memory->after_kib || !memory->end_kib)
        return;
    double grown = ((double)memory->after_kib - (double)memory->before_kib) * 1024;
    json_out_key(report, "pss_kib");
    json_out_begin_object(report);
    json_out_add_u64(report, "before", memory->before_kib);
    json_out_add_u64(report, "after", memory->after_kib);
    json_out_add_u64(report, "end", memory->end_kib);
    if (connections > 0)
        json_out_add_double(report, "per_connection_bytes", grown / connections);
    json_out_end_object(report);
}

enum err load_raise_fd_limit(uint32_t connections, struct err_note *out_note)
{
    struct rlimit limit;
    rlim_t need = (rlim_t)connections + OTHER_DESCRIPTORS;
    ASSERT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    rlim_t may = limit.rlim_max;
    if (limit.rlim_max < need)
        limit.rlim_max = need; /* who is privileged may */
    if (limit.rlim_cur < need)
        limit.rlim_cur = need;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return ERR_OK;
    return err_note_fail(out_note, ERR_LIMIT,
                         "%u connections need %llu descriptors: this process may have %llu "
                         "(ulimit -Hn)",
                         connections, (unsigned long long)need, (unsigned long long)may);
}
