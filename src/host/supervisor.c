/* supervisor - keeps the role processes running. See supervisor.h. */
#include "base/log.h"
#include "base/mem.h"
#include "host/hunger.h"
#include "host/log_pump.h"
#include "host/supervisor_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void tell_change(struct supervisor *self)
{
    self->handler.on_change(self->ctx);
}

/* --- one process --- */

static void apply(struct role *role, enum restart_action action);
static void judge_refused(struct supervisor *self);

static size_t count_lines(struct slice lines)
{
    size_t count = 0;
    for (size_t i = 0; i < lines.len; i++)
        count += lines.data[i] == '\n';
    return count;
}

static void on_lines(void *ctx, struct slice lines)
{
    struct supervisor *self = ((struct run *)ctx)->role->owner;
    if (!log_pump_write(lines)) {
        self->lines_dropped += count_lines(lines);
        return;
    }
    if (self->lines_dropped)
        log_event(LOG_WARN, "role_lines_dropped", "count=%zu", self->lines_dropped);
    self->lines_dropped = 0;
}

static void maybe_serving(struct supervisor *self)
{
    for (size_t i = 0; i < self->options.role_count; i++)
        if (self->roles[i].spec.is_vital && !self->roles[i].restart.was_ever_ready)
            return;
    if (!self->serving_told && self->phase == SERVING) {
        self->serving_told = true;
        self->handler.on_serving(self->ctx, self->address);
    }
}

static void on_ready(struct run *run, struct slice text)
{
    struct role *role = run->role;
    struct supervisor *self = role->owner;
    if (run->is_leaving || run->drains)
        return;
    if (role->spec.listens)
        snprintf(self->address, sizeof(self->address), SLICE_FMT, SLICE_ARG(text));
    apply(role, restart_step(&role->restart, RESTART_IS_READY, now_us(self)));
    maybe_serving(self);
    judge_refused(self);
}

/* By itself: somebody sent it a SIGTERM. From us it knows already. */
static void on_draining(struct run *run)
{
    struct role *role = run->role;
    struct supervisor *self = role->owner;
    if (run->drains)
        return;
    run->drains = true;
    watch_end_by(&run->watch,
                 now_us(self) + (self->options.drain_ms + END_EXTRA_MS) * (uint64_t)US_PER_MS);
    log_event(LOG_INFO, "role_draining", "role=%s name=%s pid=%d", role->spec.role, role->label,
              (int)child_pid(run->child));
    if (!run->is_leaving && self->phase == SERVING)
        apply(role, restart_step(&role->restart, RESTART_DRAINS, now_us(self)));
}

static void on_report(void *ctx, const struct report *report)
{
    struct run *run = ctx;
    switch (report->kind) {
    case REPORT_BEAT:
        watch_beat(&run->watch, report->stuck_ms, now_us(run->role->owner));
        run->streams = report->streams;
        if (report->streams > 0 && !run->is_leaving)
            apply(run->role,
                  restart_step(&run->role->restart, RESTART_WORKS, now_us(run->role->owner)));
        return;
    case REPORT_READY:
        on_ready(run, report->text);
        break;
    case REPORT_DRAINING:
        on_draining(run);
        break;
    case REPORT_FAILED:
        snprintf(run->failed, sizeof(run->failed), SLICE_FMT, SLICE_ARG(report->text));
        break;
    default:
        break;
    }
    tell_change(run->role->owner);
}

MUST_USE static enum err start_run(struct role *role, struct err_note *out_note)
{
    static const struct child_handler handler = {.on_report = on_report, .on_line = on_lines};
    struct supervisor *self = role->owner;
    struct run *run = mem_alloc(sizeof(*run));
    struct child_options options = {.program = self->options.program,
                                    .arguments = {role->spec.role, role->spec.model},
                                    .life_fd = self->life[0],
                                    .config_fd = self->options.config_fd};
    if (role->spec.listens) {
        options.listen_fds = self->options.listen_fds;
        options.listen_count = self->options.listen_count;
    }
    run->role = role;
    watch_start(&run->watch, now_us(self));
    enum err err = child_start(self->loop, &options, &handler, run, &run->child, out_note);
    if (err != ERR_OK) {
        mem_free(run);
        return err;
    }
    log_event(LOG_INFO, "role_started", "role=%s name=%s pid=%d restarts=%llu", role->spec.role,
              role->label, (int)child_pid(run->child), (unsigned long long)role->restart.restarts);
    role->current = run;
    return ERR_OK;
}

static void kill_run(struct run *run, const char *why)
{
    run->killed_as = why;
    log_event(LOG_WARN, "role_killed", "role=%s name=%s pid=%d why=%s stuck_ms=%u",
              run->role->spec.role, run->role->label, (int)child_pid(run->child), why,
              run->watch.stuck_ms);
    child_signal(run->child, SIGKILL);
}

/* --- stopping (rule 3) --- */

typedef void run_fn(struct run *run);

static void for_each_run(struct supervisor *self, run_fn *call)
{
    for (size_t i = 0; i < self->options.role_count; i++) {
        LIST_FOREACH_SAFE (link, &self->roles[i].leaving)
            call(CONTAINER_OF(link, struct run, link));
        if (self->roles[i].current)
            call(self->roles[i].current);
    }
}

static size_t count_runs(const struct supervisor *self, bool only_listening)
{
    size_t count = 0;
    for (size_t i = 0; i < self->options.role_count; i++)
        if (!only_listening || self->roles[i].spec.listens)
            count += self->roles[i].leaving_count + (self->roles[i].current != NULL);
    return count;
}

static void tell_to_end(struct run *run, uint32_t within_ms)
{
    run->drains = true;
    watch_end_by(&run->watch, now_us(run->role->owner) + within_ms * (uint64_t)US_PER_MS);
    child_signal(run->child, SIGTERM);
}

static void end_listening(struct run *run)
{
    if (run->role->spec.listens)
        tell_to_end(run, run->role->owner->options.drain_ms + END_EXTRA_MS);
}

static void end_any(struct run *run)
{
    tell_to_end(run, END_EXTRA_MS);
}

static void kill_any(struct run *run)
{
    run->killed_as = "stopping";
    child_signal(run->child, SIGKILL);
}

static void become_stopped(struct supervisor *self)
{
    self->phase = STOPPED;
    deadline_clear(&self->look);
    deadline_clear(&self->phase_end);
    self->handler.on_stopped(self->ctx, self->status);
}

static void maybe_next_phase(struct supervisor *self)
{
    if (self->phase == STOPPING_LISTENERS && count_runs(self, true) == 0) {
        self->phase = STOPPING_REST;
        for_each_run(self, end_any);
    }
    if (self->phase != SERVING && self->phase != STOPPED && count_runs(self, false) == 0)
        become_stopped(self);
}

/* The watch kills who is late in the other phases; this one ends the wait for a process that the
 * kernel does not let go. */
static void on_phase_end(void *ctx)
{
    struct supervisor *self = ctx;
    if (self->phase == STOPPED)
        return;
    if (count_runs(self, false) > 0) {
        log_event(LOG_ERROR, "role_unkillable", "count=%zu", count_runs(self, false));
        self->status = self->status ? self->status : 1;
    }
    become_stopped(self);
}

static void begin_phase(struct supervisor *self, enum phase phase, uint32_t at_most_ms)
{
    self->phase = phase;
    for (size_t i = 0; i < self->options.role_count; i++)
        deadline_clear(&self->roles[i].due);
    deadline_after(&self->phase_end, at_most_ms * (uint64_t)US_PER_MS);
    loop_defer(self->loop, &self->advance);
}

void supervisor_stop(struct supervisor *self, int status)
{
    if (self->phase != SERVING)
        return;
    self->status = status;
    begin_phase(self, STOPPING_LISTENERS, self->options.drain_ms + 4 * END_EXTRA_MS);
    for_each_run(self, end_listening);
}

void supervisor_kill(struct supervisor *self, int status)
{
    if (self->phase == STOPPED)
        return;
    self->status = status;
    begin_phase(self, KILLING, END_EXTRA_MS);
    for_each_run(self, kill_any);
}

/* --- starting anew --- */

static void give_up(struct role *role, const char *sentence)
{
    struct supervisor *self = role->owner;
    if (self->phase != SERVING)
        return;
    supervisor_stop(self, 1);
    self->handler.on_give_up(self->ctx, &role->spec, sentence);
}

/* The successor is there: this one only finishes what it has (rule 1). */
static void let_go(struct role *role)
{
    struct run *run = role->current;
    role->current = NULL;
    run->is_leaving = true;
    list_push_back(&role->leaving, &run->link);
    if (++role->leaving_count > SUPERVISOR_LEAVING_MAX)
        kill_run(CONTAINER_OF(role->leaving.next, struct run, link), "too_many_leaving");
}

/* A start that fails is a crash before ready: the next one has its distance, or it is held back. */
static void start_again(struct role *role)
{
    struct err_note note;
    for (enum restart_action action = RESTART_START; action == RESTART_START;) {
        if (start_run(role, &note) == ERR_OK)
            return;
        log_event(LOG_ERROR, "role_not_started", "role=%s name=%s why=%s", role->spec.role,
                  role->label, log_quote(slice_str(note.text), 512));
        snprintf(role->note, sizeof(role->note), "%s", note.text);
        action = restart_step(&role->restart, RESTART_CRASHED, now_us(role->owner));
        if (action != RESTART_START)
            apply(role, action);
    }
}

static void arm_due(struct role *role)
{
    uint64_t due_us = restart_due_us(&role->restart);
    if (due_us == UINT64_MAX || role->owner->phase != SERVING)
        deadline_clear(&role->due);
    else
        deadline_at(&role->due, due_us);
}

static void apply(struct role *role, enum restart_action action)
{
    switch (action) {
    case RESTART_START_ANOTHER:
        let_go(role);
        start_again(role);
        break;
    case RESTART_START:
        start_again(role);
        break;
    case RESTART_HOLD:
        supervisor_log_held(role);
        break;
    case RESTART_GIVE_UP:
        give_up(role, role->note);
        break;
    case RESTART_NOTHING:
        break;
    }
    arm_due(role);
}

/* --- a role that says why it cannot start --- */

static bool serves_the_same(const struct role *a, const struct role *b)
{
    return a == b || (a->spec.model && b->spec.model && strcmp(a->spec.model, b->spec.model) == 0);
}

static bool was_model_ever_ready(const struct role *role)
{
    const struct supervisor *self = role->owner;
    for (size_t i = 0; i < self->options.role_count; i++)
        if (serves_the_same(&self->roles[i], role) && self->roles[i].restart.was_ever_ready)
            return true;
    return false;
}

static bool may_another_start(const struct role *role)
{
    const struct supervisor *self = role->owner;
    for (size_t i = 0; i < self->options.role_count; i++) {
        const struct role *other = &self->roles[i];
        if (serves_the_same(other, role) && !other->refused[0] &&
            other->restart.state != RESTART_HELD_BACK)
            return true;
    }
    return false;
}

/* A model that nobody can load ends the start: nobody should find out by its 503s. One of several
 * workers that does not fit beside the others is as one that crashed. Not before the address was
 * told: whoever started us reads that first, however fast a role fails. If the vital ones never get
 * so far, that is the end. */
static void judge_refused(struct supervisor *self)
{
    for (size_t i = 0; i < self->options.role_count && self->phase == SERVING; i++) {
        struct role *role = &self->roles[i];
        if (!role->refused[0])
            continue;
        if (was_model_ever_ready(role)) {
            role->refused[0] = '\0';
            apply(role, restart_step(&role->restart, RESTART_CRASHED, now_us(self)));
        } else if (!may_another_start(role) && (self->serving_told || role->spec.is_vital)) {
            give_up(role, role->refused);
        }
    }
}

static void on_due(void *ctx)
{
    struct role *role = ctx;
    apply(role, restart_step(&role->restart, RESTART_TIME, now_us(role->owner)));
    judge_refused(role->owner);
    tell_change(role->owner);
}

/* --- ends --- */

static void on_current_ended(struct role *role, const struct run *run, bool expected)
{
    struct supervisor *self = role->owner;
    role->current = NULL;
    if (self->phase != SERVING)
        return;
    if (run->failed[0] && !role->restart.was_ever_ready)
        memcpy(role->refused, run->failed, sizeof(role->refused));
    else
        apply(role, restart_step(&role->restart, expected ? RESTART_ENDED : RESTART_CRASHED,
                                 now_us(self)));
    judge_refused(self);
}

static void on_run_ended(struct run *run, int pid, const struct child_end *end)
{
    struct role *role = run->role;
    struct supervisor *self = role->owner;
    /* By SIGTERM ends who was told to before it could listen to it. */
    bool ended_well = end->was_signal ? end->number == SIGTERM : end->number == 0;
    bool expected = run->drains && !run->killed_as && ended_well;
    supervisor_describe_end(run, end, expected);
    supervisor_log_end(run, pid, end, expected);
    if (run->is_leaving) {
        list_remove(&run->link);
        role->leaving_count--;
    } else {
        on_current_ended(role, run, expected);
    }
    child_free(&run->child);
    mem_free(run);
    tell_change(self);
}

static void look_for_end(struct run *run)
{
    struct child_end end;
    int pid = (int)child_pid(run->child);
    if (child_has_ended(run->child, &end))
        on_run_ended(run, pid, &end);
}

static void on_advance(void *ctx)
{
    maybe_next_phase(ctx);
}

static void reap_all(struct supervisor *self)
{
    for_each_run(self, look_for_end);
    maybe_next_phase(self);
}

static void on_child_signal(uv_signal_t *handle, int number)
{
    (void)number;
    reap_all(handle->data);
}

/* --- looking after them --- */

static void look_at(struct run *run)
{
    struct supervisor *self = run->role->owner;
    const struct watch_rules *rules = &self->options.watch;
    enum watch_verdict verdict = watch_look(&run->watch, rules, now_us(self));
    if (verdict == WATCH_SILENT && hunger_of((int)child_pid(run->child)))
        verdict = watch_look_hungry(&run->watch, rules, now_us(self));
    if (verdict != WATCH_FINE && !run->killed_as)
        kill_run(run, watch_verdict_name(verdict));
}

static void forgive(struct run *run)
{
    watch_forgive(&run->watch, now_us(run->role->owner));
}

static void on_look(void *ctx)
{
    struct supervisor *self = ctx;
    bool was_held_up = now_us(self) - self->looked_us > 4 * SUPERVISOR_LOOK_MS * US_PER_MS;
    for_each_run(self, was_held_up ? forgive : look_at);
    self->looked_us = now_us(self);
    deadline_round(&self->look, SUPERVISOR_LOOK_MS * US_PER_MS);
    reap_all(self); /* a SIGCHLD is enough; this costs nothing */
}

static void reload_run(struct run *run)
{
    child_signal(run->child, SIGHUP);
}

void supervisor_reload(struct supervisor *self)
{
    if (self->phase != SERVING)
        return;
    for_each_run(self, reload_run);
    for (size_t i = 0; i < self->options.role_count; i++) {
        struct role *role = &self->roles[i];
        apply(role, restart_step(&role->restart, RESTART_RETRY, now_us(self)));
    }
    tell_change(self);
}

/* --- life --- */

static void init_role(struct supervisor *self, size_t i)
{
    struct role *role = &self->roles[i];
    role->owner = self;
    role->spec = self->options.roles[i];
    supervisor_label(role);
    list_init(&role->leaving);
    deadline_init(&role->due, self->loop, on_due, role);
    restart_init(&role->restart, role->spec.overlaps, role->spec.is_vital, now_us(self));
}

static enum err start_all(struct supervisor *self, struct err_note *out_note)
{
    if (pipe2(self->life, O_CLOEXEC) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "no pipe for the roles: %s", strerror(errno));
    for (size_t i = 0; i < self->options.role_count; i++)
        TRY(start_run(&self->roles[i], out_note));
    return ERR_OK;
}

enum err supervisor_new(struct loop *loop, const struct supervisor_options *options,
                        const struct supervisor_handler *handler, void *ctx,
                        struct supervisor **out_supervisor, struct err_note *out_note)
{
    ASSERT(options->role_count <= SUPERVISOR_ROLES_MAX);
    struct supervisor *self = mem_alloc(sizeof(*self));
    self->loop = loop;
    self->options = *options;
    self->handler = *handler;
    self->ctx = ctx;
    self->life[0] = self->life[1] = -1;
    for (size_t i = 0; i < options->role_count; i++)
        init_role(self, i);
    deadline_init(&self->look, loop, on_look, self);
    deadline_init(&self->phase_end, loop, on_phase_end, self);
    deferred_init(&self->advance, on_advance, self);
    ASSERT(uv_signal_init(loop_uv(loop), &self->ended) == 0);
    self->ended.data = self;
    ASSERT(uv_signal_start(&self->ended, on_child_signal, SIGCHLD) == 0);
    self->looked_us = now_us(self);
    deadline_round(&self->look, SUPERVISOR_LOOK_MS * US_PER_MS);
    enum err err = start_all(self, out_note);
    if (err != ERR_OK) {
        supervisor_free(self);
        return err;
    }
    *out_supervisor = self;
    return ERR_OK;
}

static void free_run(struct run *run)
{
    child_free(&run->child);
    mem_free(run);
}

static void on_signal_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void supervisor_free(struct supervisor *self)
{
    if (!self)
        return;
    for_each_run(self, kill_any); /* all of them first, then each is waited for */
    for_each_run(self, free_run);
    for (size_t i = 0; i < self->options.role_count; i++)
        deadline_clear(&self->roles[i].due);
    deadline_clear(&self->look);
    deadline_clear(&self->phase_end);
    deferred_cancel(&self->advance);
    for (size_t i = 0; i < ARRAY_COUNT(self->life); i++)
        if (self->life[i] >= 0)
            (void)close(self->life[i]);
    uv_close((uv_handle_t *)&self->ended, on_signal_closed);
}
