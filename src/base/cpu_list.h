/* cpu_list - a set of processors as people and the kernel write it: "0-3,8". Pure. */
#pragma once

#include "base/err.h"
#include "base/slice.h"
#include "base/text.h"

#include <sched.h>

/* Numbers and rising ranges between commas, nothing else; each CPU at most once, and below
 * CPU_SETSIZE (1024). ERR_PROTOCOL, with what is wrong in the note. */
MUST_USE enum err cpu_list_parse(struct slice text, cpu_set_t *out_cpus, struct err_note *out_note);
/* The shortest text that is read back to the same set. */
void cpu_list_write(const cpu_set_t *cpus, struct text *out);
