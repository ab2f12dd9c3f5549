/* core_impl - what the files of the core share: core.c (commands, slots), core_batch.c (one decode
 * and what comes of it), core_report.c (what there is to say). Nobody else includes it. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "worker/core.h"
#include "worker/draft.h"
#include "worker/plan.h"
#include "worker/prefix_disk.h"
#include "worker/prefix_tree.h"
#include "worker/sampler.h"
#include "worker/text_out.h"
#include "worker/turns.h"

/* A sequence is on the list of its state (see the picture in core.h). With a slot: PREFILL, DECODE,
 * PARKED. With credit: all but PARKED and SAVED. RETURNING waits for a slot like WAITING, but came
 * from SAVED (rule 8). */
enum seq_state {
    SEQ_WAITING,
    SEQ_RETURNING,
    SEQ_PREFILL,
    SEQ_DECODE,
    SEQ_PARKED,
    SEQ_SAVED,
    SEQ_STATE_COUNT
};

enum { NO_SLOT = -1 };

struct sequence {
    struct list link; /* in core->lists[state] */
    enum seq_state state;
    struct core_job *job;
    struct text_out *text_out;
    token_id *tokens;     /* prompt, then answer */
    uint32_t token_count; /* of both */
    uint32_t tokens_max;  /* room for so many; grows with the answer */
    uint32_t answer_max;
    uint32_t position; /* the slot, or the blob, holds the first so many tokens */
    uint32_t cached;   /* of the prompt, so many were there already */
    /* What the prefix cache wants (core_prefix.c). */
    bool is_noted;                      /* the tree has counted its prompt */
    bool is_filling;                    /* the tree was told that the prompt goes in */
    bool saves_prompt;                  /* as a blob, when it is in */
    uint32_t save_at[PREFIX_SAVES_MAX]; /* rising; a blob of so many tokens, */
    uint32_t save_count;                /* as long as there are some */
    int64_t slot;                       /* or NO_SLOT */
    uint64_t waits_since;               /* turns_seq; of a step, or of when it got its slot */
    void *blob;                         /* of a saved sequence; NULL when position is 0 */
    size_t blob_bytes; /* also what it was when it did not fit: then not tried before it would */
    uint64_t parked_at_us;
    uint64_t deltas_sent, bytes_sent; /* compared with the job's limits */
    uint64_t prefill_us, decode_us;
    /* Behind so many tokens of the answer: all of it, but while mirostat catches up with what was
     * said before it came here. */
    struct sampler_state sampler_state;
    uint32_t followed;
    uint32_t skip_bytes; /* of its next text: the asker has them */
    bool is_done;        /* it ended as answers do: its slot is left with all that was said */
    struct draft *draft; /* NULL: it was never asked for a guess, or there was no memory for it */
};

static inline uint32_t sequence_left(const struct sequence *sequence) /* tokens to put in */
{
    return sequence->token_count - sequence->position;
}

static inline uint32_t sequence_answered(const struct sequence *sequence)
{
    return sequence->token_count - sequence->job->prompt_count;
}

static inline bool sequence_has_credit(const struct sequence *sequence)
{
    return sequence->deltas_sent < sequence->job->event_limit &&
           sequence->bytes_sent < sequence->job->byte_limit;
}

static inline bool core_is_cancelled(const struct sequence *sequence) /* its flag says so */
{
    return atomic_load_explicit(&sequence->job->cancel->cancelled, memory_order_relaxed);
}

struct core_slot {
    struct sequence *owner; /* NULL: it can be taken, and */
    token_id *held;         /* holds these, if the prefix cache is on */
    uint32_t held_count;
    uint64_t held_scope;
    /* Of an answer that settles (core_settle.c): tokens that `held` has, of which those behind
     * held_count are to be put in. */
    struct list settling; /* in core->settling or settling_long; unlinked: there is none */
    uint32_t settle_count;
    struct engine_adapter_set settle_adapters;
};

struct core {
    struct engine *engine;
    struct core_options options;
    struct sampler *sampler;
    struct grammar_masker *masker; /* NULL: no sequence with a grammar came yet */
    token_id *ends;                /* every end token of the vocabulary */
    size_t end_count;

    struct map *sequences; /* by key */
    struct list lists[SEQ_STATE_COUNT];
    uint32_t counts[SEQ_STATE_COUNT];
    struct core_slot *slots;
    uint32_t *free_slots;                /* without a prefix cache: a stack */
    uint32_t free_slot_count;            /* slots without an owner */
    struct list settling, settling_long; /* slots without an owner, oldest first */
    struct prefix_tree *tree;            /* NULL: no prefix cache */
    struct prefix_price price;
    /* NULL: what is saved is in memory alone. */
    struct prefix_disk *disk;
    struct step_cost cost;              /* what was measured so far */
    struct turns turns;                 /* where the engine has adapters, */
    struct engine_adapter_set adapters; /* and what it computes with */
    uint64_t steps;
    uint32_t draft_rows_exact_max;
    uint32_t draft_pause, draft_pause_next; /* steps without drafts: left, and of the next pause */
    size_t saved_bytes;
    uint64_t kept_us; /* spent on saving and restoring, since the last batch was planned */
    bool broken;

    /* One step: made once, used by each. */
    struct turns_seq *turns_seqs;
    struct plan_seq *plan_decodes, *plan_prompts;
    struct sequence **decodes, **prompts; /* the same in the same order */
    struct plan_seq plan_settles[PLAN_SETTLES_MAX];
    struct core_slot *settles[PLAN_SETTLES_MAX]; /* the same in the same order */
    struct plan_part *parts;
    struct engine_row *rows;
    struct sequence **batch; /* the sequence of each part; what should_abort() looks at */
    uint32_t batch_count;
    atomic_bool abort_wanted; /* should_abort() said yes to this batch */

    /* The next report: results and their text, which lies there in the order of the results; its
     * counts are those that were reported last (core_report.c). */
    struct core_report next;
    uint64_t tokens_sampled, tokens_settled; /* since then */
    uint32_t tokens_drafted, drafts_right, adapter_changes;
};

/* --- core.c --- */

void core_move(struct core *core, struct sequence *sequence, enum seq_state state);
/* To PREFILL or DECODE, by what it has left. */
void core_move_to_run(struct core *core, struct sequence *sequence);
/* To PARKED; its slot stays. */
void core_park(struct core *core, struct sequence *sequence, uint64_t now_us);
/* Behind those that it has. */
void core_keep_token(struct sequence *sequence, token_id token);
/* The result, then everything it held is released and the sequence freed. */
void core_end_done(struct core *core, struct sequence *sequence, enum done_reason reason,
                   struct slice stop);
void core_end_failed(struct core *core, struct sequence *sequence, enum fault fault,
                     struct slice message);
/* Asks every slot what it holds and makes sequence and slot agree (rule 6). */
void core_recover(struct core *core);
/* The same for one, after rows that were put in for nothing. It runs, and may have to start again:
 * core_move_to_run(). */
void core_cut_back(struct core *core, struct sequence *sequence);
/* Of the tokens that are in its slot, so many that what is left of the prompt is not a single row
 * (plan.h rule 8). */
uint32_t core_whole_cells(const struct core *core, const struct sequence *sequence, uint32_t held);
void core_break(struct core *core); /* the engine is beyond help: all are failed in this step */
void core_empty_slot(struct core *core, uint32_t slot);
/* The own blob of a sequence that was saved, into its slot, which is empty. */
void core_restore(struct core *core, struct sequence *sequence);
void core_free_blob(struct core *core, struct sequence *sequence);

/* --- core_prefix.c: with a tree --- */

void core_prefix_init(struct core *core); /* core->tree, if the options want one */
/* Gives the sequence, which waits, the slot from which least is left to put in. False: it is to
 * wait for another's prompt, or for the disk, or the engine broke. There is a slot without an
 * owner. */
bool core_prefix_admit(struct core *core, struct sequence *sequence);
/* Its slot has no owner any more, and keeps what it holds. `tokens` are taken over if the sequence
 * ends, else copied. */
void core_prefix_leave(struct core *core, struct sequence *sequence, bool is_end);
void core_prefix_filled(struct core *core, struct sequence *sequence); /* its position has grown */
void core_prefix_save_due(struct core *core); /* blobs of those that have come to a save_at */
/* After core_recover(): what everybody holds now, the slots without an owner as well. */
void core_prefix_recovered(struct core *core, struct sequence *sequence);
void core_prefix_recover_idle(struct core *core);
void core_prefix_learn_price(struct core *core);

/* --- core_settle.c: with a tree; without one there is nothing in the lists --- */

/* Of the tokens of a sequence that leaves its slot, of which `held` serve prompts: so many are to
 * be in the slot. */
uint32_t core_settle_until(const struct core *core, const struct sequence *sequence, uint32_t held);
/* `held` of the slot has `until` tokens. */
void core_settle_begin(struct core *core, struct core_slot *slot, uint32_t until,
                       const struct engine_adapter_set *adapters);
/* The slot is taken, or holds less than it did. Harmless when nothing settles in it. */
void core_settle_stop(struct core_slot *slot);
bool core_settle_has_work(const struct core *core);
/* With which a step computes in which no sequence takes part; NULL: nothing settles. */
const struct engine_adapter_set *core_settle_adapters(const struct core *core);
/* For the plan: core->plan_settles and core->settles. Returns how many. `adapters` NULL: there are
 * none. */
uint32_t core_settle_offer(struct core *core, const struct engine_adapter_set *adapters);
/* The last rows of core->rows. */
void core_settle_rows(struct core *core, const struct plan_batch *batch, uint32_t first_row);
void core_settle_done(struct core *core, const struct plan_batch *batch);    /* it went well */
void core_settle_refused(struct core *core, const struct plan_batch *batch); /* no room for them */

/* --- core_disk.c: with a tree --- */

void core_disk_open(struct core *core); /* core->disk, if the options want one */
/* With core->disk. What came from it, once a step. */
void core_disk_poll(struct core *core);
/* The answer's blob lies there: is it worth waiting for? */
bool core_disk_comes(struct core *core, uint64_t scope, const struct prefix_answer *answer);

/* --- core_batch.c --- */

uint64_t core_clock_us(const struct core *core); /* 0 without a clock */

void core_run_batch(struct core *core, uint64_t now_us);
bool core_should_abort(void *ctx);
void core_on_progress(void *ctx);

/* Its answer was whole when it came: says what the asker does not have of it, and ends it. */
void core_say_all(struct core *core, struct sequence *sequence);

/* Of the decode()s that follow, until another set is named. */
void core_use_adapters(struct core *core, const struct engine_adapter_set *set);

/* --- core_draft.c --- */

/* How many guessed tokens may be in this step (core.h rule 10). */
uint32_t core_draft_rows(const struct core *core);
/* A step with so many of them is done; or the engine had no room for them: for a while there are
 * none, longer each time. */
void core_draft_done(struct core *core, uint32_t count);
void core_draft_refused(struct core *core);
/* What is guessed behind the row of a sequence that decodes. */
void core_draft_offer(const struct core *core, struct sequence *sequence,
                      struct plan_seq *out_plan);

/* --- core_grammar.c --- */

/* The next token of the sequence from the row, as its grammar allows it; it is then behind that
 * token. With `said` it is this one, whatever the draw: what mirostat and grammar make of it is all
 * that is wanted. (They differ only where the engine is not exact.) ERR_OK, or why there is none:
 * *out_fault and *out_why say it. */
MUST_USE enum err core_pick(struct core *core, struct sequence *sequence, size_t row,
                            const token_id *said, token_id *out_token, enum fault *out_fault,
                            struct slice *out_why);
/* There is nothing more that it could say. */
bool core_is_said(const struct sequence *sequence);

/* --- core_report.c --- */

void core_say_started(struct core *core, const struct sequence *sequence);
void core_say_prefill(struct core *core, const struct sequence *sequence);
/* The text is what core->next.text has from text_at on; `token` NULL: none. Returns the bytes of
 * the event's payload. */
size_t core_say_delta(struct core *core, const struct sequence *sequence, const token_id *token,
                      size_t text_at);
void core_say_done(struct core *core, const struct sequence *sequence, enum done_reason reason,
                   struct slice stop);
void core_say_failed(struct core *core, const struct sequence *sequence, enum fault fault,
                     struct slice message);
bool core_take_report(struct core *core, struct core_report *report); /* as core_step() */
