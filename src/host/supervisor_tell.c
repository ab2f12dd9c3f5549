/* supervisor_tell - the supervisor in words: log lines, notes, rows. */
#include "base/log.h"
#include "host/supervisor_impl.h"

#include <stdio.h>

void supervisor_label(struct role *role)
{
    const struct role_spec *spec = &role->spec;
    if (spec->model && spec->number > 0)
        snprintf(role->label, sizeof(role->label), "%.256s#%u", spec->model, spec->number);
    else
        snprintf(role->label, sizeof(role->label), "%.256s", spec->model ? spec->model : "-");
}

/* Who ended as told has no last words worth reading. */
void supervisor_describe_end(struct run *run, const struct child_end *end, bool expected)
{
    char *note = run->role->note;
    struct slice words = expected ? (struct slice){0} : child_last_words(run->child);
    int len =
        snprintf(note, NOTE_BYTES, "%s %d%s%s", end->was_signal ? "signal" : "status", end->number,
                 run->killed_as ? ", killed: " : "", run->killed_as ? run->killed_as : "");
    if (run->failed[0])
        snprintf(note + len, NOTE_BYTES - (size_t)len, ": %s", run->failed);
    else if (words.len)
        snprintf(note + len, NOTE_BYTES - (size_t)len, "; last words: " SLICE_FMT,
                 SLICE_ARG(words));
}

void supervisor_log_end(const struct run *run, int pid, const struct child_end *end, bool expected)
{
    const struct role *role = run->role;
    uint64_t lived_us = now_us(role->owner) - run->watch.started_us;
    log_event(expected ? LOG_INFO : LOG_WARN, "role_ended",
              "role=%s name=%s pid=%d %s=%d lived_ms=%llu expected=%s note=%s", role->spec.role,
              role->label, pid, end->was_signal ? "signal" : "status", end->number,
              (unsigned long long)(lived_us / US_PER_MS), expected ? "true" : "false",
              log_quote(slice_str(role->note), 512));
}

void supervisor_log_held(const struct role *role)
{
    uint64_t wait_us = role->restart.due_us - now_us(role->owner);
    log_event(LOG_ERROR, "role_held_back", "role=%s name=%s crashes=%u again_in_s=%llu note=%s",
              role->spec.role, role->label, role->restart.useless_row,
              (unsigned long long)(wait_us / (US_PER_MS * 1000ull)),
              log_quote(slice_str(role->note), 512));
}

static void fill_row(const struct role *role, const struct run *run, struct supervisor_row *out)
{
    *out = (struct supervisor_row){.spec = &role->spec,
                                   .pid = run ? (int)child_pid(run->child) : 0,
                                   .state = restart_state_name(role->restart.state),
                                   .restart = role->restart.state,
                                   .is_leaving = run && run->is_leaving,
                                   .restarts = role->restart.restarts,
                                   .started_us = run ? run->watch.started_us : 0,
                                   .streams = run ? run->streams : 0,
                                   .note = role->note};
    if (run && run->drains)
        out->state = restart_state_name(RESTART_DRAINING);
}

size_t supervisor_rows(const struct supervisor *self, struct supervisor_row *out_rows, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < self->options.role_count; i++) {
        const struct role *role = &self->roles[i];
        LIST_FOREACH (link, &role->leaving)
            if (count < max)
                fill_row(role, CONTAINER_OF(link, struct run, link), &out_rows[count++]);
        if (count < max)
            fill_row(role, role->current, &out_rows[count++]);
    }
    return count;
}
