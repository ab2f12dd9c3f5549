/* thread_cpus - sched_setaffinity(2), asked first: it takes what it can of a set, and is silent
 * about the rest. */
#include "engine/thread_cpus.h"

#include "base/cpu_list.h"

#include <errno.h>
#include <string.h>

enum { LIST_MAX_BYTES = 8192 }; /* every second CPU of 1024 */

static enum err fail_as_not_ours(const cpu_set_t *cpus, const cpu_set_t *ours,
                                 struct err_note *out_note)
{
    struct text wanted, allowed;
    text_init(&wanted, LIST_MAX_BYTES);
    text_init(&allowed, LIST_MAX_BYTES);
    cpu_list_write(cpus, &wanted);
    cpu_list_write(ours, &allowed);
    enum err err = err_note_fail(out_note, ERR_LIMIT,
                                 "llama_cpus is " SLICE_FMT ", and this process may use " SLICE_FMT
                                 " only (its cgroup's cpuset, or taskset)",
                                 SLICE_ARG(text_slice(&wanted)), SLICE_ARG(text_slice(&allowed)));
    text_fini(&wanted);
    text_fini(&allowed);
    return err;
}

enum err thread_cpus_set(const cpu_set_t *cpus, struct thread_cpus *out_own,
                         struct err_note *out_note)
{
    struct thread_cpus own = {.is_set = true};
    cpu_set_t usable;
    if (!cpus)
        return ERR_OK;
    if (sched_getaffinity(0, sizeof(own.before), &own.before) != 0)
        return err_note_fail(out_note, ERR_LIMIT, "cannot tell which CPUs may be used: %s",
                             strerror(errno));
    CPU_AND(&usable, cpus, &own.before);
    if (!CPU_EQUAL(&usable, cpus))
        return fail_as_not_ours(cpus, &own.before, out_note);
    if (sched_setaffinity(0, sizeof(*cpus), cpus) != 0)
        return err_note_fail(out_note, ERR_LIMIT, "cannot stay on the CPUs of llama_cpus: %s",
                             strerror(errno));
    *out_own = own;
    return ERR_OK;
}

void thread_cpus_undo(struct thread_cpus *own)
{
    if (own->is_set)
        (void)sched_setaffinity(0, sizeof(own->before), &own->before); /* it was so before */
    own->is_set = false;
}
