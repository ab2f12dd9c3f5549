/* sim_roles - processes: started, killed, frozen, taken down. Each has a loop of its own.
 *
 * A killed process is cut off from the bus at once; what it was is then taken down behind the
 * curtain, on its own loop, in which time goes on without the others. So nothing leaks, and the
 * others see what they would see of a process that is gone. */
#include "testing/sim/sim_impl.h"

#include "base/mem.h"

#include <stdio.h>

enum {
    CURTAIN_STEP_US = 100000,
    CURTAIN_STEPS_MAX = 200,
    TURNS_MAX = 10000,
    DRAIN_MS = 300,
    RESTART_MAX_US = 300000, /* after the last fault: how long a host needs */
};

struct toy { /* a toy engine that can be closed */
    struct toy_engine toy_engine;
    struct engine_ops ops;
    struct role *role;
};

static void toy_close(struct engine *engine)
{
    struct toy *toy = CONTAINER_OF(engine, struct toy, toy_engine.engine);
    toy->role->toy = NULL;
    mem_free(toy);
}

static enum err open_toy(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                         struct engine **out_engine, struct err_note *out_note)
{
    (void)on_progress, (void)progress_ctx, (void)out_note;
    struct role *role = ctx;
    struct toy *toy = mem_alloc(sizeof(*toy));
    toy_engine_init(&toy->toy_engine, role->slots, TOY_CONTEXT_MAX, 64);
    toy->ops = *toy->toy_engine.engine.ops;
    toy->ops.close = toy_close;
    toy->toy_engine.engine.ops = &toy->ops;
    toy->role = role;
    role->toy = toy;
    *out_engine = &toy->toy_engine.engine;
    return ERR_OK;
}

/* --- running --- */

uint64_t role_next_us(const struct role *role)
{
    if (!role->is_up || role->is_frozen)
        return UINT64_MAX;
    return role->is_touched ? role->sim->now_us : loop_next_us(role->loop);
}

static void catch_up(struct role *role)
{
    uint64_t loop_us = loop_now_us(role->loop);
    if (loop_us < role->sim->now_us)
        loop_skip(role->loop, role->sim->now_us - loop_us);
}

static void take_down(struct role *role);

/* A turn costs a few system calls: only for those who have something to do. */
static bool has_to_run(const struct role *role)
{
    return role->is_up && !role->is_frozen &&
           (role->is_touched || loop_next_us(role->loop) <= role->sim->now_us ||
            bus_sim_has_arrived(role->bus));
}

void role_run(struct role *role)
{
    if (!has_to_run(role))
        return;
    catch_up(role);
    role->is_touched = false;
    for (int turns = 0; loop_turn(role->loop, false); turns++)
        ASSERT_MSG(turns < TURNS_MAX, "%s is busy for ever", role->name);
    if (role->is_leaving && role->has_stopped) {
        take_down(role);
        sim_plan_deed(role->sim, role->sim->now_us + sim_between(role->sim, 1000, RESTART_MAX_US),
                      DEED_START, role->place);
    }
}

/* --- starting --- */

static void on_ready(void *ctx)
{
    struct role *role = ctx;
    sim_say(role->sim, "---- %s ready", role->name);
}

static void on_failed(void *ctx, enum err why, const char *note)
{
    struct role *role = ctx;
    if (!role->is_broken)
        sim_fail(role->sim, "%s could not open its engine: %s (%s)", role->name, err_name(why),
                 note);
}

const char *sim_model(uint32_t model)
{
    static const char *const names[SIM_MODELS_MAX] = {"alpha", "beta"};
    return names[model];
}

static void start_worker(struct role *role)
{
    struct worker_options options = role->sim->plan.worker;
    options.model = sim_model(role->model);
    options.engine_kind = "toy";
    options.open_engine = open_toy;
    options.open_ctx = role;
    role->pace.is_stalled = false;
    core_inline_next(&role->pace);
    enum err err = worker_start(role->bus, &options, on_ready, on_failed, role, &role->worker);
    ASSERT_MSG(err == ERR_OK, "worker_start: %s", err_name(err));
}

static void start_manager(struct role *role)
{
    enum err err = manager_open(role->bus, &role->sim->plan.manager, &role->manager);
    ASSERT_MSG(err == ERR_OK, "manager_open: %s", err_name(err));
}

static void start_asker(struct role *role)
{
    enum err err = ask_hub_new(role->bus, &role->sim->plan.ask, &role->hub);
    ASSERT_MSG(err == ERR_OK, "ask_hub_new: %s", err_name(err));
}

static void remember_birth(struct role *role)
{
    struct sim *sim = role->sim;
    struct slice inbox = bus_inbox(role->bus);
    ASSERT(sim->birth_count < SIM_BIRTHS_MAX);
    struct birth *birth = &sim->births[sim->birth_count++];
    snprintf(birth->inbox, sizeof(birth->inbox), SLICE_FMT, SLICE_ARG(inbox));
    birth->place = role->place;
}

void role_start(struct role *role)
{
    static const char letters[] = "amwh";
    if (role->is_up)
        return;
    snprintf(role->name, sizeof(role->name), "%c%u.%u", letters[role->kind], role->place,
             ++role->generation);
    role->loop = loop_new_virtual(role->sim->now_us);
    role->bus = bus_sim_open(role->sim->bus_sim, role->loop, role->name);
    role->born_us = role->sim->now_us;
    role->is_up = role->is_touched = true;
    role->is_frozen = role->is_leaving = role->is_broken = role->has_stopped = false;
    role->is_curtained = false;
    remember_birth(role);
    if (role->kind == ROLE_ASKER)
        start_asker(role);
    else if (role->kind == ROLE_MANAGER)
        start_manager(role);
    else if (role->kind == ROLE_WORKER)
        start_worker(role);
    else
        host_start(role);
    sim_healed(role->sim, (int)role->place, INJURY_DEATH);
}

/* --- taking down --- */

static void on_stopped(void *ctx)
{
    struct role *role = ctx;
    role->has_stopped = true;
}

static void wait_behind_curtain(struct role *role)
{
    for (int steps = 0; !role->has_stopped; steps++) {
        ASSERT_MSG(steps < CURTAIN_STEPS_MAX, "%s does not stop", role->name);
        loop_advance(role->loop, CURTAIN_STEP_US);
    }
}

static void take_down_worker(struct role *role)
{
    core_pace_stall(&role->pace, false); /* else it would wait for its engine, as it should */
    if (!role->is_leaving)
        worker_stop(role->worker, 0, on_stopped, role);
    wait_behind_curtain(role);
    worker_free(&role->worker);
}

static void take_down_manager(struct role *role)
{
    manager_close(&role->manager);
}

static void remember_stats(struct role *role)
{
    struct ask_stats stats = ask_hub_stats(role->hub);
    struct ask_stats *past = &role->sim->past;
    past->opened += stats.opened;
    past->ended += stats.ended;
    past->repeated_submits += stats.repeated_submits;
    past->resends_asked += stats.resends_asked;
    past->duplicates_dropped += stats.duplicates_dropped;
    past->lost += stats.lost;
    past->reruns += stats.reruns;
    past->continued += stats.continued;
}

static void take_down_asker(struct role *role)
{
    struct sim *sim = role->sim;
    remember_stats(role);
    for (uint32_t i = 0; i < SIM_ASKS_MAX; i++)
        if (sim->asks[i].asker == role)
            sim_ask_orphan(&sim->asks[i]);
    ask_hub_drain(role->hub, on_stopped, role);
    wait_behind_curtain(role);
    ask_hub_free(role->hub);
    role->hub = NULL;
}

static void take_down(struct role *role)
{
    role->is_curtained = true;
    catch_up(role);
    if (role->kind == ROLE_ASKER)
        take_down_asker(role);
    else if (role->kind == ROLE_MANAGER)
        take_down_manager(role);
    else if (role->kind == ROLE_WORKER)
        take_down_worker(role);
    else
        host_stop(role);
    bus_close(&role->bus);
    while (loop_turn(role->loop, false))
        continue;
    loop_free(role->loop);
    role->loop = NULL;
    role->is_up = false;
}

/* --- what is done to them --- */

void role_kill(struct role *role)
{
    if (!role->is_up)
        return;
    sim_healed(role->sim, (int)role->place, INJURY_FREEZE);
    sim_healed(role->sim, (int)role->place, INJURY_TROUBLE);
    sim_hurt(role->sim, (int)role->place, INJURY_DEATH);
    bus_sim_kill(role->bus);
    take_down(role);
}

/* It is told to go, and goes when it has said all. */
void role_leave(struct role *role)
{
    if (!role->is_up || role->is_frozen || role->is_leaving ||
        (role->kind != ROLE_WORKER && role->kind != ROLE_MANAGER))
        return;
    sim_hurt(role->sim, (int)role->place,
             INJURY_DEATH); /* what runs longer than it drains is cut off */
    catch_up(role);
    role->is_leaving = role->is_touched = true;
    if (role->kind == ROLE_WORKER)
        worker_stop(role->worker, DRAIN_MS, on_stopped, role);
    else
        manager_drain(role->manager, on_stopped, role);
}

void role_freeze(struct role *role)
{
    if (!role->is_up || role->is_frozen)
        return;
    sim_hurt(role->sim, (int)role->place, INJURY_FREEZE);
    role->is_frozen = true;
    bus_sim_freeze(role->bus);
}

void role_thaw(struct role *role)
{
    if (!role->is_up || !role->is_frozen)
        return;
    role->is_frozen = false;
    role->is_touched = true;
    bus_sim_thaw(role->bus);
    sim_healed(role->sim, (int)role->place, INJURY_FREEZE);
}

void role_stall(struct role *role, bool is_stalled)
{
    if (!role->is_up || role->kind != ROLE_WORKER || role->pace.is_stalled == is_stalled)
        return;
    catch_up(role);
    core_pace_stall(&role->pace, is_stalled);
    if (is_stalled)
        sim_hurt(role->sim, (int)role->place, INJURY_TROUBLE);
    else
        sim_healed(role->sim, (int)role->place, INJURY_TROUBLE);
}

/* The host would start such a worker anew: the plan does. */
void role_break_engine(struct role *role)
{
    if (!role->is_up || !role->toy)
        return;
    sim_hurt(role->sim, (int)role->place, INJURY_DEATH);
    role->is_broken = true;
    role->toy->toy_engine.next_decode = ERR_SYSTEM;
}

void role_set_full(struct role *role, bool is_full)
{
    if (!role->is_up)
        return;
    bool in_is_full = is_full && sim_below(role->sim, 2);
    bus_sim_set_full(role->bus, in_is_full, is_full && !in_is_full);
    if (is_full)
        sim_hurt(role->sim, (int)role->place, INJURY_TROUBLE);
    else
        sim_healed(role->sim, (int)role->place, INJURY_TROUBLE);
}

void role_repair(struct role *role)
{
    struct sim *sim = role->sim;
    role_stall(role, false);
    role_thaw(role);
    role_set_full(role, false);
    if (role->is_broken)
        role_kill(role);
    if (!role->is_up)
        sim_plan_deed(sim, sim->now_us + sim_below(sim, RESTART_MAX_US), DEED_START, role->place);
}

/* --- at rest --- */

static void check_worker(const struct role *role)
{
    struct worker_stats stats = worker_stats(role->worker);
    if (stats.running || stats.queued || stats.parked || stats.slots_free != role->slots)
        sim_fail(role->sim, "%s at rest: %u running, %u queued, %u parked, %u of %u slots free",
                 role->name, stats.running, stats.queued, stats.parked, stats.slots_free,
                 role->slots);
    for (uint32_t slot = 0; role->toy && slot < role->slots; slot++)
        if (role->toy->toy_engine.held[slot] != 0)
            sim_fail(role->sim, "%s at rest: slot %u holds %u tokens", role->name, slot,
                     role->toy->toy_engine.held[slot]);
}

static void check_manager(const struct role *role)
{
    struct manager_stats stats = manager_stats(role->manager);
    uint32_t workers = 0;
    for (uint32_t i = 0; i < role->sim->plan.place_count; i++)
        workers += role->sim->roles[i].kind == ROLE_WORKER;
    if (stats.queued || stats.assigned || stats.nodes != workers)
        sim_fail(role->sim, "%s at rest: %u queued, %u assigned, %u of %u nodes", role->name,
                 stats.queued, stats.assigned, stats.nodes, workers);
}

void role_check_idle(struct role *role)
{
    if (!role->sim->result.is_ok)
        return;
    if (!role->is_up)
        sim_fail(role->sim, "%s is not there", role->name);
    else if (role->kind == ROLE_WORKER)
        check_worker(role);
    else if (role->kind == ROLE_MANAGER)
        check_manager(role);
    else if (role->kind == ROLE_ASKER && ask_hub_count(role->hub) > 0)
        sim_fail(role->sim, "%s at rest: %zu asks", role->name, ask_hub_count(role->hub));
}
