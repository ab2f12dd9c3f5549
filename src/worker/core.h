/* core - the engine side of a worker: slots, batches, sampling, text. Knows tokens, not the bus.
 *
 * The core itself is single-threaded and reads no clock (core_step gets `now_us`), so tests and the
 * simulator drive it step by step; only what it keeps on disk has a thread and a clock of its own
 * (prefix_disk.h). core_thread.h runs it on the engine thread and carries commands and reports
 * across. Life of a sequence:
 *
 *   WAITING --slot free--> PREFILL --prompt in--> DECODE --end--> (reported, gone)
 *      ^                      ^  lost cells         |  ^
 *      |                      +---- (rule 6) -------+  | credit
 *      |                                 no credit  v  |
 *      +-----------credit--------- SAVED <-park_ms- PARKED
 *                                  (blob; slot free)
 *
 * 1. A step decodes one token of every running sequence first, then prefill chunks within the
 *    budget (plan.h). One engine_decode() per step.
 * 2. Everything a step has to say leaves as one report.
 * 3. A sequence emits a delta only while its credit covers it: the deltas and the payload bytes
 * sent so far are below the limits (so the last one may pass byte_limit by what it is long). It
 * parks otherwise; the others go on. End and usage need no credit, nor does, of an answer that was
 * whole when it came (core_said.is_over), what of its text its asker does not have: one last delta.
 * 4. Every sequence that core_start() took ends with exactly one CORE_DONE or CORE_FAILED.
 * 5. What a sequence gets does not depend on its company: own history, counter RNG (seed, index).
 * 6. After a decode() that failed or was aborted, every slot is cut back to what its sequence knows
 *    to be good; what is gone is put in again. The text goes on as if nothing had happened.
 * 7. A decode() is aborted when all its sequences are cancelled, and when the host asks for it. A
 *    step looks at the flags of those that run; the others end with core_cancel(), so that waiting
 *    and saved ones cost a step nothing.
 * 8. Saved sequences get the next free slots before new ones.
 * 9. With a prefix cache (prefix_bytes_max > 0) a slot that is left keeps what it holds until
 * somebody takes it, and what a sequence finds there, or as a blob, or in a busy slot, is not put
 * in again (prefix_tree.h). A new one whose beginning is just being put in by another waits for it,
 * if that is long, or both are choices of one request.
 * Where single rows differ (engine.h) only what prompts put in serves other prompts.
 * None of this shows in what is said (rule 5), but in cached_tokens, and in time: so only jobs of
 * one scope find what others left, or wait for each other.
 * 10. With draft_tokens_max a decoding sequence may have more rows in a step than its own: what it
 * is guessed to say next (draft.h), where plan.h rule 10 finds that this pays. Each row is sampled
 * from as if it were alone, up to the first token that was not guessed; the cells behind it are cut
 * off before anybody else sees the slot. So an answer is what it is without, wherever a row among
 * its own gives the bits that it gives alone: not where single rows differ, nor, with
 * draft_is_exact, beyond the widths, or with other adapters than those, that were tested. And not
 * where cells cannot be cut. After a step for whose drafts the engine had no room (ERR_FULL) there
 * are none for 64 steps, then, if it has none again, for 128 .. 4096.
 * 11. Rows of a step are of one set of adapters; sequences of several sets take turns (turns.h).
 * Jobs of different sets are of different scopes, which whoever makes them sees to: cells of one
 * are never another's.
 * 12. Where single rows differ, and with a prefix cache, the answer of a conversation settles: when
 * its end has been said, its tokens go into the slot that it left once more, as a prompt's, for the
 * next turn begins with them. The slot is free all the while, and what is in of the answer is what
 * is found. It is filler (plan.h rule 11): answers of up to PLAN_SETTLE_ROWS tokens beside others,
 * and longer ones while there is nobody else, in steps of so many rows. A step of nothing else is
 * aborted as soon as the host says that somebody comes (is_awaited), and done again later. What the
 * engine has no room for, or loses, is not tried again. */
#pragma once

#include "base/arena.h"
#include "base/text.h"
#include "engine/engine.h"
#include "grammar/grammar_mask.h"
#include "wire/event.h"
#include "wire/request.h"
#include "worker/prefix_disk.h"
#include "worker/text_out.h"

#include <stdatomic.h>

/* Set by the bus side, seen by the abort callback inside a running batch. Shared by two threads. */
struct cancel_flag {
    atomic_bool cancelled;
    atomic_int refs;
};
struct cancel_flag *cancel_flag_new(void); /* one ref */
struct cancel_flag *cancel_flag_ref(struct cancel_flag *flag);
void cancel_flag_unref(struct cancel_flag *flag); /* NULL is fine */

/* What of an answer is there already, in a job that goes on behind it; replay.h makes it. */
struct core_said {
    uint32_t count;            /* tokens, behind the prompt in job->prompt */
    struct text_out *text_out; /* behind them; taken by core_start(). NULL: at the beginning */
    struct text unsaid;        /* of their text, what the asker does not have */
    uint32_t skip_bytes;       /* of the text behind them, what it has */
    bool is_over;              /* nothing comes behind them, for this reason, */
    enum done_reason reason;
    struct slice stop; /* and of DONE_STOP this one of job->stops */
};

/* What to generate. Made by the bus side (prep) with mem_alloc(), taken over whole by
 * core_start(). */
struct core_job {
    uint64_t key; /* the stream handle, unique among the living */
    /* Whose prompt it is (rule 9): made of the tenant and the adapters; 0: of neither. */
    uint64_t scope;
    uint64_t tenant; /* whose turns it takes (turns.h); 0: nobody's */
    struct engine_adapter_set adapters;
    struct arena *arena;       /* holds stops and bias, NULL if there are none; released with it */
    token_id *prompt;          /* ids below vocab_size; mem_free()d, or taken by core_start() */
    uint32_t prompt_count;     /* >= 1, prompt + 1 <= context */
    uint32_t system_tokens;    /* a system prompt ends behind so many of them; 0: not known */
    struct core_said said;     /* count <= max_tokens */
    struct sampling sampling;  /* seed resolved: has_seed is true */
    const struct slice *stops; /* valid UTF-8 */
    size_t stop_count;
    uint32_t max_tokens; /* >= 1; already bounded by the context */
    bool ignore_eos;     /* end tokens are never picked */
    bool want_progress;
    bool prompt_is_shared; /* others with the same come: it is saved when it is in (rule 9) */
    bool is_conversation;  /* its answer will likely come again, in the next prompt (rule 12) */
    /* What the answer has to look like, at its beginning, or behind what is said of it (with
     * mirostat always at its beginning); NULL: anything. Its tokens are those of `vocab`, which is
     * the same for all jobs and outlives the core. */
    struct grammar_match *match;
    const struct grammar_vocab *vocab;
    struct cancel_flag *cancel; /* one ref, taken */
    uint64_t event_limit;       /* deltas allowed so far (cumulative count) */
    uint64_t byte_limit;        /* and bytes of their payloads (cumulative; event.h: delta) */
};
void core_job_free(struct core_job **job); /* NULL inside is fine */

/* Per sequence, in this order: any PREFILL, STARTED, any DELTA, then DONE or FAILED. */
enum core_kind {
    CORE_STARTED, /* the prompt is in; the first delta (or the end) follows in the same report */
    CORE_PREFILL, /* with want_progress: at most one a step */
    CORE_DELTA,
    CORE_DONE,
    CORE_FAILED
};

struct core_result {
    enum core_kind kind;
    uint64_t key;
    uint32_t done_tokens, total_tokens; /* PREFILL */
    /* DELTA: whole characters. DONE: the stop string, when reason is DONE_STOP. FAILED: why. */
    struct slice text;
    /* DELTA: the id sampled, also while its text is held back. The end token is none: it shows as
     * DONE_EOS, and text that it lets go of is a delta without an id. */
    token_id token;
    uint32_t token_count;                      /* DELTA: 1, or 0 */
    enum done_reason reason;                   /* DONE */
    enum fault fault;                          /* FAILED */
    uint32_t prompt_tokens, completion_tokens; /* STARTED, DONE, FAILED */
    uint32_t cached_tokens; /* as they: of the prompt, those that were not put in (rule 9) */
    uint64_t prefill_us, decode_us; /* STARTED, DONE, FAILED: of the decode()s it was part of */
};

/* Of one step. Its memory is the caller's, and grows to what the largest step so far had to say
 * (with every step used anew: a stream that runs on costs no allocation). */
struct core_report {
    struct core_result *results; /* their slices point into `text` */
    size_t result_count, results_max;
    struct text text;
    uint32_t slots_free;      /* that a new sequence could take now */
    uint32_t running, parked; /* parked: also the saved ones */
    uint32_t waiting;    /* that core_start() took, and saved ones with credit, without a slot */
    size_t prefix_bytes; /* that blobs of prefixes take */
    struct prefix_disk_counts disk;
    uint32_t tokens_drafted, drafts_right; /* in this step (rule 10) */
    uint64_t tokens_sampled;               /* in this step */
    uint64_t tokens_settled;  /* since the last report (rule 12): by themselves they are no news */
    uint32_t adapter_changes; /* 1: this step had another set than the one before */
    /* The engine failed for good: every sequence was failed, and those that still come will be. */
    bool broken;
};

struct core_options {
    /* Budget of a step with decoding company; default 64. Not used with learns_steps. */
    uint32_t prefill_tokens;
    uint32_t prefill_alone_tokens; /* without; default 0: the batch size */
    uint32_t park_ms;              /* 2000 */
    size_t saved_bytes_max; /* cap on all blobs; above it a parked sequence keeps its slot; 1 GiB */
    /* Steps are measured (clock_us), and those with decoding company take as much of the prompts as
     * fits the time that step_cost finds for target_itl_ms (0: by itself). */
    bool learns_steps;
    uint32_t target_itl_ms;
    /* Cap on all blobs of prefixes. 0, the default: no prefix cache, slots are emptied at once. */
    size_t prefix_bytes_max;
    uint32_t prefix_save_tokens; /* less than so many are not saved or waited for, but
                                    of a prompt that choices share (rule 9); 64 */
    /* With a prefix cache: what is saved is kept there, too; bytes_max 0, the default: nothing is.
     * What it points to is read by core_new() alone. A folder that cannot be is a warning. */
    struct prefix_disk_options prefix_disk;
    /* Guessed tokens in a step, of all sequences together; 0, the default: none (rule 10). What is
     * above DRAFT_MAX counts as that. */
    uint32_t draft_tokens_max;
    bool draft_is_exact; /* only as core_set_draft_rows_exact_max() allows */
    /* What the host of the core adds; all may be NULL. */
    uint64_t (*clock_us)(void *host); /* to measure a decode() with; NULL: it takes no time */
    /* Called now and then from inside decode(), maybe on a compute thread: true gives it up. */
    bool (*poll)(void *host);
    /* The same in a decode() that no sequence takes part in: somebody comes, who need not wait for
     * its end (rule 12; selftest_run.h). */
    bool (*is_awaited)(void *host);
    /* Called now and then from inside decode() while the engine gets on, from the same threads. */
    void (*on_progress)(void *host);
    void *host;
};
struct core_options core_options_default(void);

struct core;
/* Borrows the engine; sets its should_abort and on_progress. Never NULL. */
struct core *core_new(struct engine *engine, const struct core_options *options);
/* Sequences still there are dropped without a result; the engine's slots are left as they are. */
void core_free(struct core *core);

/* A self-test found, with the adapters that who names none gets, that so many rows of one sequence
 * in a step, and any fewer, give the bits of as many steps of one row. 1, as at the beginning: none
 * are drafted with draft_is_exact. */
void core_set_draft_rows_exact_max(struct core *core, uint32_t rows);

/* Takes *job. Always succeeds: refusals were decided before. */
void core_start(struct core *core, struct core_job **job);
/* -> CORE_DONE cancelled in the next step. */
void core_cancel(struct core *core, uint64_t key);
/* Limits only grow: a lower one is an old one. Keys that are not known (any more) are passed over,
 * as in core_cancel(). */
void core_credit(struct core *core, uint64_t key, uint64_t event_limit, uint64_t byte_limit);
/* Something to do now? If not, *out_wake_us is when there will be (UINT64_MAX: only on a command).
 */
bool core_has_work(const struct core *core, uint64_t now_us, uint64_t *out_wake_us);
/* One step. False: there is nothing to say (no result; slots and counts as they were said last),
 * and *report is as it was. What it held before is overwritten. */
bool core_step(struct core *core, uint64_t now_us, struct core_report *report);
/* Any thread that has it to itself. */
void core_report_init(struct core_report *report);
void core_report_fini(struct core_report *report); /* zeroed memory is fine */
