/* step_sim - a worker's steps in virtual time, for tests of plan, step_cost and prefix_tree
 * together: requests come, get a slot by what the tree says, are planned and "decoded" by a machine
 * that takes as long as its figures say, and end. No engine: a slot is the ids that were put into
 * it, and which of them went in alone. Holds everybody to their rules in every step (ASSERT, with
 * the seed; step_sim_check.c). Test code only. */
#pragma once

#include "worker/plan.h"
#include "worker/prefix_tree.h"
#include "worker/turns.h"

enum {
    STEP_SIM_SLOTS_MAX = 64,
    STEP_SIM_REQUESTS_MAX = 64,
    STEP_SIM_TENANTS_MAX = 8,
    STEP_SIM_WIDTHS = 6,
    STEP_SIM_GRAPHS = 2, /* of decodes and one length of prompts: in what is measured of steps */
};

struct step_machine {
    double decode_ms[STEP_SIM_WIDTHS]; /* of 1, 2, 3, 4, 8, 16 decodes; others in between */
    double fixed_ms, decode_row_ms, prompt_row_ms; /* of a step with a prompt */
    double graph_ms;    /* of each graph more: rows run with those of sequences that have as many */
    double adapters_ms; /* of a step with other adapters than the last one */
    double pair_us;     /* of any step: what its rows read */
    double noise;       /* relative */
    bool has_pairs;     /* rows that are alone differ (plan.h rule 8), as in profile exact */
    uint32_t hang_chance; /* of 10000 steps, this many take 50 times as long */
};

struct sim_request {
    token_id *ids; /* the prompt's, then the answer's: context_tokens of them */
    uint32_t prompt_count, answer_count, system_tokens;
    uint32_t said_count;          /* of its answer: what another worker said of it (plan.h 7, 8) */
    bool follows;                 /* each of those wants logits (plan.h 7) */
    bool is_shared;               /* a choice (prefix_tree.h) */
    uint32_t guesses;             /* drafts that it has in each step (plan.h 9); <= DRAFT_MAX */
    double guess_odds, told_odds; /* that one is right: in truth, and as plan is told */
    struct engine_adapter_set adapters; /* what tells sets apart here is the first one's scale */
    uint32_t tenant;                    /* < STEP_SIM_TENANTS_MAX */
    uint64_t arrive_us;

    /* What became of it. */
    enum { SIM_COMING, SIM_QUEUED, SIM_FILLING, SIM_DECODING, SIM_ENDED } state;
    uint32_t slot, position, cached, answered;
    uint32_t save_at[PREFIX_SAVES_MAX], save_count;
    bool is_filling;       /* as the tree was told */
    bool saves_prompt;     /* all of it, when it is in */
    bool has_row;          /* in this step */
    uint64_t idle_steps;   /* of its set, since it last had a row */
    uint64_t waits_since;  /* turns.h */
    uint32_t turns_waited; /* that began since it had one, or came */
    uint64_t steps, steps_allowed;
    uint64_t first_us, last_us, worst_gap_us; /* when tokens came */
};

struct sim_slot {
    token_id *ids;
    bool *is_alone; /* went in as the only row of its sequence */
    uint32_t count;
    uint64_t scope; /* of who put them in */
    struct sim_request *owner;
};

struct step_sim {
    uint64_t seed, random;
    struct step_machine machine;
    struct plan_state limits;
    bool uses_cost, has_adapters;
    struct step_cost cost;
    struct turns turns;
    struct sim_turn { /* the same, as step_sim_check.c counts it */
        struct engine_adapter_set adapters;
        uint64_t spent_us, steps, number;
    } turn;
    uint32_t tenant_count, sets_of_tenant[STEP_SIM_TENANTS_MAX];
    struct prefix_options prefix;
    struct prefix_tree *tree; /* NULL: no reuse */
    struct sim_request requests[STEP_SIM_REQUESTS_MAX];
    uint32_t request_count;
    struct sim_slot held[STEP_SIM_SLOTS_MAX];
    struct sim_request *decodes[STEP_SIM_SLOTS_MAX], *prompts[STEP_SIM_SLOTS_MAX]; /* as plan's */
    uint32_t decode_count, prompt_count;
    uint32_t cancel_chance; /* of 10000 steps */
    uint64_t now_us, steps, rows, ended;
    uint64_t drafted, drafts_right;
    double worst_of_target; /* predicted time of a step as a part of its target */
};

/* slots and context from `prefix`; the tree is made when has_tree. */
void step_sim_init(struct step_sim *sim, uint64_t seed, const struct prefix_options *prefix,
                   bool has_tree);
void step_sim_fini(struct step_sim *sim);
/* The prompt's ids are for the caller to fill, and those of what is said of the answer; prompt +
 * answer fit into the context. */
struct sim_request *step_sim_add(struct step_sim *sim, uint64_t arrive_us, uint32_t prompt_count,
                                 uint32_t answer_count);
/* Three steps of each width, and a few of prompts, as a start does. */
void step_sim_calibrate(struct step_sim *sim);
uint32_t step_sim_below(struct step_sim *sim, uint32_t limit);
void step_sim_run(struct step_sim *sim); /* until all have ended */

/* The machine; `graphs` that a step of this batch is. */
double step_machine_us(const struct step_machine *machine, const struct step_shape *shape,
                       uint32_t graphs);
uint32_t step_sim_graphs(const struct step_sim *sim, const struct plan_batch *batch);
uint64_t step_sim_measured_us(struct step_sim *sim, const struct step_shape *shape,
                              uint32_t graphs);
