/* sim - time, and what happens in it. See sim.h.
 *
 * One step: the next moment at which anything has something to do; then the bus, the deeds of the
 * plan, and every process that can run, until none of them has anything to do at that moment. */
#include "testing/sim/sim_impl.h"

#include "base/log.h"
#include "base/mem.h"
#include "testing/sim/host_calls.h"
#include "testing/test.h"

#include <stdio.h>

enum {
    PEER_BYTES_MAX = 1 << 20,
    ROUNDS_MAX = 100000, /* at one moment: more is an endless loop */
    ENDS_US = 60000000,  /* after the last fault: by then every ask has ended */
};

const char *sim_class_name(enum sim_class class)
{
    static const char *const names[SIM_CLASS_COUNT] = {"calm", "rough", "storm"};
    return names[class];
}

/* --- for the others --- */

uint32_t sim_below(struct sim *sim, uint32_t limit)
{
    return (uint32_t)(test_random(&sim->random) % limit);
}

uint32_t sim_between(struct sim *sim, uint32_t from, uint32_t to)
{
    return from + sim_below(sim, to - from + 1);
}

static double seconds(const struct sim *sim)
{
    return (double)(sim->now_us - SIM_START_US) / 1e6;
}

void sim_say(struct sim *sim, const char *format, ...)
{
    if (!sim->options.prints_trace)
        return;
    va_list args;
    va_start(args, format);
    printf("%10.6f  ", seconds(sim));
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    char what[400];
    va_list args;
    if (!sim->result.is_ok)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    sim->result.is_ok = false;
    snprintf(sim->result.failure, sizeof(sim->result.failure), "at %.6f s: %s", seconds(sim), what);
    sim_say(sim, "!!!! %s", what);
}

void sim_plan_deed(struct sim *sim, uint64_t at_us, enum deed deed, uint32_t index)
{
    struct planned *planned = mem_alloc(sizeof(*planned));
    planned->deed = deed;
    planned->index = index;
    agenda_put(sim->agenda, &planned->happening, at_us);
}

/* --- deeds --- */

static void become_quiet(struct sim *sim)
{
    sim->is_quiet = true;
    bus_sim_set_weather(sim->bus_sim, &sim->plan.weather[0]);
    sim_healed(sim, -1, INJURY_DEATH);
    for (uint32_t i = 0; i < sim->plan.place_count; i++)
        role_repair(&sim->roles[i]);
}

static void change_weather(struct sim *sim, uint32_t index)
{
    if (sim->is_quiet)
        return;
    bus_sim_set_weather(sim->bus_sim, &sim->plan.weather[index]);
    sim_say(sim, "---- weather %u", index);
    if (index == 0)
        sim_healed(sim, -1, INJURY_DEATH);
    else if (sim->plan.weather[index].drop_per_1000 > 0)
        sim_hurt(sim, -1, INJURY_DEATH);
}

/* Every asker asks every model. */
static void probe(struct sim *sim)
{
    sim_say(sim, "---- probe");
    for (uint32_t i = sim->plan.ask_count; i < SIM_ASKS_MAX; i++)
        if (sim->asks[i].is_probe)
            sim_ask_open(&sim->asks[i]);
}

static void do_to_role(struct sim *sim, enum deed deed, struct role *role)
{
    static const char *const names[] = {
        [DEED_KILL] = "kill",   [DEED_LEAVE] = "leave", [DEED_FREEZE] = "freeze",
        [DEED_THAW] = "thaw",   [DEED_STALL] = "stall", [DEED_UNSTALL] = "unstall",
        [DEED_BREAK] = "break", [DEED_FULL] = "full",   [DEED_EMPTY] = "empty"};
    if (deed != DEED_START)
        sim_say(sim, "---- %s %s", names[deed], role->name);
    switch (deed) {
    case DEED_START:
        role_start(role);
        sim_say(sim, "---- start %s", role->name);
        return;
    case DEED_KILL:
        role_kill(role);
        return;
    case DEED_LEAVE:
        role_leave(role);
        return;
    case DEED_FREEZE:
        role_freeze(role);
        return;
    case DEED_THAW:
        role_thaw(role);
        return;
    case DEED_STALL:
    case DEED_UNSTALL:
        role_stall(role, deed == DEED_STALL);
        return;
    case DEED_BREAK:
        role_break_engine(role);
        return;
    default:
        role_set_full(role, deed == DEED_FULL);
        return;
    }
}

/* A fault that was to come after the last one is none. */
static bool is_too_late(const struct sim *sim, enum deed deed)
{
    return sim->is_quiet && (deed == DEED_KILL || deed == DEED_LEAVE || deed == DEED_FREEZE ||
                             deed == DEED_STALL || deed == DEED_BREAK || deed == DEED_FULL);
}

static void act(struct sim *sim, enum deed deed, uint32_t index)
{
    if (is_too_late(sim, deed))
        return;
    switch (deed) {
    case DEED_ASK:
        sim_ask_open(&sim->asks[index]);
        return;
    case DEED_CANCEL:
        sim_ask_cancel(&sim->asks[index]);
        return;
    case DEED_WEATHER:
        change_weather(sim, index);
        return;
    case DEED_QUIET:
        sim_say(sim, "---- quiet");
        become_quiet(sim);
        return;
    case DEED_PROBE:
        probe(sim);
        return;
    default:
        do_to_role(sim, deed, &sim->roles[index]);
        return;
    }
}

/* --- time --- */

static uint64_t earlier(uint64_t a_us, uint64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

static uint64_t next_us(const struct sim *sim)
{
    uint64_t next = earlier(bus_sim_next_us(sim->bus_sim), agenda_next_us(sim->agenda));
    for (uint32_t i = 0; i < sim->plan.place_count; i++)
        next = earlier(next, role_next_us(&sim->roles[i]));
    return next;
}

static void live_through_moment(struct sim *sim)
{
    host_calls_set_now(sim->now_us);
    bus_sim_run(sim->bus_sim, sim->now_us);
    for (struct happening *due; (due = agenda_take(sim->agenda, sim->now_us));) {
        struct planned *planned = CONTAINER_OF(due, struct planned, happening);
        act(sim, planned->deed, planned->index);
        mem_free(planned);
    }
    for (uint32_t i = 0; i < sim->plan.place_count; i++)
        role_run(&sim->roles[i]);
}

/* Stops earlier when something is wrong, or `is_over` says so. */
static void live_until(struct sim *sim, uint64_t until_us, bool (*is_over)(const struct sim *sim))
{
    uint32_t rounds = 0;
    while (sim->result.is_ok && !(is_over && is_over(sim))) {
        uint64_t next = next_us(sim);
        if (next > until_us)
            break;
        rounds = next > sim->now_us ? 0 : rounds + 1;
        ASSERT_MSG(rounds < ROUNDS_MAX, "still busy at %llu us", (unsigned long long)next);
        if (next > sim->now_us)
            sim->now_us = next;
        live_through_moment(sim);
    }
    if (!is_over && sim->result.is_ok && sim->now_us < until_us)
        sim->now_us = until_us;
}

static bool nobody_asks(const struct sim *sim)
{
    return sim->asks_open == 0;
}

/* --- the run --- */

static void on_frame(void *ctx, const struct bus_sim_sight *sight)
{
    struct sim *sim = ctx;
    sim->result.frames++;
    sim_trace_frame(sim, sight);
    if (sim->options.class == SIM_CALM)
        sim_check_order(sim, sight);
}

static void check_ends(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_ASKS_MAX; i++) {
        const struct sim_ask *ask = &sim->asks[i];
        if (ask->was_opened && !ask->has_ended && !ask->is_orphaned)
            sim_fail(sim, "ask %u has not ended, %llu s after it was opened", i,
                     (unsigned long long)(sim->now_us - ask->opened_us) / 1000000);
    }
}

static void live(struct sim *sim)
{
    uint64_t probed_us = sim->plan.quiet_us + SIM_RECOVERY_US;
    live_until(sim, probed_us, NULL);
    live_until(sim, probed_us + ENDS_US, nobody_asks);
    check_ends(sim);
    live_until(sim, sim->now_us + SIM_SETTLE_US, NULL);
    for (uint32_t i = 0; i < sim->plan.place_count; i++)
        role_check_idle(&sim->roles[i]);
}

static void gather(struct sim *sim)
{
    struct sim_result *result = &sim->result;
    result->virtual_us = sim->now_us - SIM_START_US;
    result->reruns = sim->past.reruns;
    result->continued = sim->past.continued;
    result->repeats = sim->past.repeated_submits;
    if (sim->options.class != SIM_CALM)
        return;
    /* A resend is none: a question that crosses the assignment is answered with it. */
    if (sim->past.reruns || sim->past.repeated_submits || sim->past.lost)
        sim_fail(sim, "without faults: %llu reruns, %llu repeated submits, %llu lost",
                 (unsigned long long)sim->past.reruns,
                 (unsigned long long)sim->past.repeated_submits,
                 (unsigned long long)sim->past.lost);
}

static void open_world(struct sim *sim)
{
    uint64_t seed = sim->options.seed * 3 + (uint64_t)sim->options.class;
    sim->random = seed;
    sim->now_us = SIM_START_US;
    sim->result = (struct sim_result){.is_ok = true, .hash = UINT64_C(0xcbf29ce484222325)};
    host_calls_set_seed(test_random(&sim->random));
    host_calls_set_now(sim->now_us);
    sim->bus_sim =
        bus_sim_new(test_random(&sim->random), sim->now_us, PEER_BYTES_MAX, on_frame, sim);
    sim->agenda = agenda_new();
    sim->asks = mem_array(SIM_ASKS_MAX, sizeof(*sim->asks));
    sim_draw(sim);
    bus_sim_set_weather(sim->bus_sim, &sim->plan.weather[0]);
}

static void close_world(struct sim *sim)
{
    sim->is_over = true;
    for (uint32_t i = 0; i < SIM_ASKS_MAX; i++)
        sim_ask_orphan(&sim->asks[i]);
    for (uint32_t i = 0; i < sim->plan.place_count; i++)
        if (sim->roles[i].is_up)
            role_kill(&sim->roles[i]);
    for (struct happening *left; (left = agenda_take(sim->agenda, UINT64_MAX));)
        mem_free(CONTAINER_OF(left, struct planned, happening));
    gather(sim);
    for (uint32_t i = 0; i < SIM_ASKS_MAX; i++)
        sim_ask_fini(&sim->asks[i]);
    agenda_free(sim->agenda);
    bus_sim_free(sim->bus_sim);
    mem_free(sim->asks);
}

void sim_run(const struct sim_options *options, struct sim_result *out_result)
{
    struct sim *sim = mem_alloc(sizeof(*sim));
    log_set_level(LOG_ERROR);
    sim->options = *options;
    open_world(sim);
    live(sim);
    close_world(sim);
    *out_result = sim->result;
    mem_free(sim);
}
