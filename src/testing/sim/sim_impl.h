/* sim_impl - what the files of the simulator share: sim.c (time, deeds), sim_roles.c (processes),
 * sim_asks.c (requests and the checker), sim_plan.c (the seed's draw), sim_trace.c (what frames
 * say), sim_host.c (what a host says of workers that are away). Nobody else includes it. */
#pragma once

#include "ask/ask.h"
#include "manager/manager.h"
#include "testing/sim/agenda.h"
#include "testing/sim/answer.h"
#include "testing/sim/bus_sim.h"
#include "testing/sim/core_inline.h"
#include "testing/sim/sim.h"
#include "worker/worker.h"

enum {
    SIM_PLACES_MAX = 12,
    SIM_ASKS_MAX = 256,
    SIM_MODELS_MAX = 2,
    SIM_INJURIES_MAX = 512,
    SIM_BIRTHS_MAX = 512,
    SIM_START_US = 1000000,
};

/* --- processes --- */

enum role_kind { ROLE_ASKER, ROLE_MANAGER, ROLE_WORKER, ROLE_HOST };

/* One place of the plan, and the process that fills it now. */
struct role {
    struct sim *sim;
    enum role_kind kind;
    uint32_t place, generation;
    uint64_t born_us;
    char name[BUS_SIM_NAME_BYTES];
    bool is_up, is_frozen, is_leaving, is_touched;
    bool is_curtained; /* dead for the others; being taken down */
    bool has_stopped, is_broken;
    struct loop *loop;
    struct bus *bus;
    struct ask_hub *hub;
    struct manager *manager;
    struct worker *worker;
    struct deadline beat; /* of a host */
    uint32_t away_beats;  /* of a worker, as the host counts them */

    uint32_t model, slots; /* of a worker */
    struct core_pace pace;
    struct toy *toy; /* the open engine; NULL: none */
};

/* --- requests --- */

struct sim_ask {
    struct sim *sim;
    struct role *asker;
    uint32_t index, model, generation; /* of the asker */
    struct question question;
    enum request_priority priority;
    bool wants_progress, is_abandoned, is_probe;
    uint32_t read_us; /* between a delta and its consumption; 0: at once */
    struct id id;

    struct ask *ask; /* NULL: not open (any more) */
    bool was_opened, has_ended, is_orphaned, is_cancelled, is_started;
    uint64_t opened_us, ended_us;
    struct answer answer; /* from started on */
    size_t text_bytes, token_count;
    uint32_t held_events, held_bytes, delta_count, usage_tokens;
    struct deadline reading;
    int worker_place; /* who accepted it last; -1: nobody */
    /* As the manager sees it, for rule 5. */
    uint64_t arrival, assigned_us;
};

/* --- what goes wrong --- */

enum injury_kind {
    INJURY_DEATH,   /* killed, told to go, or its engine broke */
    INJURY_FREEZE,  /* counts once the bus takes it for dead */
    INJURY_TROUBLE, /* an engine that hangs, a full queue: counts when it lasts */
};

struct injury { /* something that hit a place, or (place < 0) the network */
    int place;
    enum injury_kind kind;
    uint64_t from_us, until_us; /* UINT64_MAX: goes on */
};

enum deed {
    DEED_ASK,    /* index: the ask */
    DEED_CANCEL, /* index: the ask */
    DEED_START,  /* the rest, index: the place */
    DEED_KILL,
    DEED_LEAVE, /* in order: it drains */
    DEED_FREEZE,
    DEED_THAW,
    DEED_STALL, /* the engine of a worker hangs */
    DEED_UNSTALL,
    DEED_BREAK, /* the engine of a worker fails for good */
    DEED_FULL,
    DEED_EMPTY,
    DEED_WEATHER, /* index: into plan.weather */
    DEED_QUIET,   /* the last fault is over: repairs what is broken still */
    DEED_PROBE,
};

struct planned {
    struct happening happening;
    enum deed deed;
    uint32_t index;
};

struct plan {
    uint32_t place_count, asker_count, model_count;
    uint32_t ask_count;
    struct ask_options ask;
    struct manager_options manager;
    struct worker_options worker;
    uint64_t quiet_us;
    struct bus_sim_weather weather[3]; /* fair, worse, worst */
};

struct sim {
    struct sim_options options;
    uint64_t random, now_us;
    struct bus_sim *bus_sim;
    struct agenda *agenda; /* struct planned */
    struct plan plan;
    struct role roles[SIM_PLACES_MAX];
    struct sim_ask *asks; /* SIM_ASKS_MAX */
    uint32_t asks_open;
    struct injury injuries[SIM_INJURIES_MAX];
    size_t injury_count;
    struct birth {
        char inbox[BUS_SUBJECT_MAX_BYTES];
        uint32_t place;
    } births[SIM_BIRTHS_MAX];
    size_t birth_count;
    uint64_t arrivals;
    bool is_quiet;         /* the last fault is over */
    bool is_over;          /* what happens now is taking down */
    struct ask_stats past; /* of hubs that are gone */
    struct sim_result result;
};

/* --- sim.c --- */

/* Drawn from the seed: 0..limit-1. */
uint32_t sim_below(struct sim *sim, uint32_t limit);
/* From..to. */
uint32_t sim_between(struct sim *sim, uint32_t from, uint32_t to);
/* The first one counts: the run ends with it. */
void sim_fail(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3);
void sim_say(struct sim *sim, const char *format, ...) PRINTF_LIKE(2, 3); /* a line of the trace */
void sim_plan_deed(struct sim *sim, uint64_t at_us, enum deed deed, uint32_t index);

/* --- sim_plan.c --- */

void sim_draw(struct sim *sim);

/* --- sim_roles.c --- */

void role_start(struct role *role);
void role_kill(struct role *role);
void role_leave(struct role *role);
void role_freeze(struct role *role);
void role_thaw(struct role *role);
void role_stall(struct role *role, bool is_stalled);
void role_break_engine(struct role *role);
void role_set_full(struct role *role, bool is_full);
void role_run(struct role *role); /* to sim->now_us, if it can run */
uint64_t role_next_us(const struct role *role);
/* Whole again: nothing of what was done to it lasts. */
void role_repair(struct role *role);
/* Nothing is left in it; called when all asks have ended. */
void role_check_idle(struct role *role);

const char *sim_model(uint32_t model); /* its name */

/* --- sim_host.c --- */

void host_start(struct role *role);
void host_stop(struct role *role);

/* --- sim_asks.c --- */

void sim_ask_open(struct sim_ask *ask);
void sim_ask_cancel(struct sim_ask *ask);
/* Its asker is being taken down, or the run is over. */
void sim_ask_orphan(struct sim_ask *ask);
void sim_ask_fini(struct sim_ask *ask);
void sim_hurt(struct sim *sim, int place, enum injury_kind kind);   /* from now on */
void sim_healed(struct sim *sim, int place, enum injury_kind kind); /* that is over */
void sim_check_order(struct sim *sim, const struct bus_sim_sight *sight);

/* --- sim_trace.c --- */

void sim_trace_frame(struct sim *sim, const struct bus_sim_sight *sight);
