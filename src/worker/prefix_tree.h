/* prefix_tree - who holds the cells of which beginning of a prompt, and what to do with a new
 * prompt because of it. A radix tree over token ids: an edge holds a run of ids, a node is a
 * prefix. Pure: no engine, no clock, no I/O; blobs are bytes that it keeps and never looks into.
 *
 * Known at a node: the slots whose content is exactly this prefix, the blob that was saved of it,
 * that a copy of the blob lies on disk, and how many requests had a prompt that begins with it.
 *
 * 1. What a slot holds is what the caller said last. A busy slot may hold more behind it (its
 *    answer grows); the tree is told when it ends, not with every token.
 * 2. At least one token of a prompt is always left to put in: its logits are wanted.
 * 3. Of a model that can cut (options.can_cut), a slot or a blob serves every prompt that begins as
 *    it does. Of one that cannot (recurrent, hybrid, sliding window), only a prompt that contains
 *    the whole of it, and a busy slot none: blobs are then its checkpoints.
 * 4. Bounds: blobs in bytes and number, nodes and ids in memory (ids counted, 4 bytes each). A blob
 *    that does not fit has others dropped for it; a prompt that does not fit has the longest unused
 *    leaves forgotten, and is itself forgotten if what is left is slots and blobs.
 * 5. Which blobs are dropped: GreedyDual-Size-Frequency (Cherkasova 1998, after Cao and Irani
 * 1997). A blob's worth is H = L + uses * (tokens * recompute_us - bytes * restore_us) / bytes, set
 * when it is saved and whenever it is used; the least H goes first and L becomes its H. So old ones
 * age without a clock, and what is dear to compute and small to keep stays longer.
 * 6. Which prefixes deserve a blob: the end of a system prompt that prep marked, and where a prompt
 *    leaves what an earlier request began with, too; unless less than save_tokens more than the
 *    longest blob on the way. Also `slot_kept` of the answer: what an idle slot held that the
 *    new prompt takes over, when it is not saved and nobody else holds it; a quarter of save_tokens
 *    more is enough there, for a chat goes on where it ended: turns of 47 tokens would else find
 *    every second one.
 * 7. Looking up allocates nothing; a prompt that is known allocates nothing either.
 * 8. Ids are said in a scope (one for each tenant): a tree of its own, forgotten with the last that
 * is in it. Nothing of a scope is found, waited for or counted in another. They share the room:
 * slots and bounds, so one scope notices that others are busy, but not with what. What lies on
 * disk is of its scope, too.
 * 9. Where slots next to each other run together for less (docs/design/020), a slot is worth what a
 *    gap costs while a request runs for each of its two neighbours that is busy: a conversation is
 *    not given up for that, an old one is.
 *
 * One thread, the engine's. The life of a request, as step_sim_slots.c goes through it:
 *
 *   may it have a slot?         find(); wait_slot: it waits until that one was saved or has ended,
 *                               and is asked to be saved at wait_tokens
 *   before the slot is touched  slot_kept: engine_seq_save() and save() of what the slot holds
 *   the slot is made ready      as `how` says; of RESTORE: used(), or if the engine refuses the
 *                               blob, lost() and as NOTHING
 *   it has the slot             note(), slot_filling() with the whole prompt
 *   its position is a save_at   engine_seq_save() and save() of so many ids
 *   the prompt is in            slot_busy() with it
 *   the slot lost cells         slot_busy() with what it still holds, or filling() if that is less
 *                               than the prompt, which then goes in again
 *   it ends, or is saved        slot_idle() with what engine_seq_tokens() says is in the slot: it
 *   and leaves its slot         stays there until somebody takes the slot
 *   a slot was emptied          slot_idle() with none */
#pragma once

#include "engine/engine.h"

enum {
    PREFIX_NO_SLOT = UINT32_MAX,
    PREFIX_NOBODYS = 0, /* the scope of those that have no tenant */
    PREFIX_SAVES_MAX = 2,
    PREFIX_SEARCH_NODES = 64, /* below the end of a match so many nodes are looked at for a blob */
    PREFIX_SLOTS_MAX = 16384,
    PREFIX_BLOBS_MAX = 4096,
};

struct prefix_price {     /* measured by the caller (step_cost.h; a save and a restore) */
    double recompute_us;  /* of a prompt token */
    double restore_us;    /* of a byte of a blob */
    double save_us;       /* of a byte of a blob */
    double fetch_us;      /* of a byte of a blob on disk, beside restoring it */
    double copy_us;       /* of a slot from another: the whole stream, whatever it holds */
    double gap_us;        /* of a gap between slots that run, in each step */
    double answer_tokens; /* for so many steps a request runs, a mean */
};

/* A blob is dropped for others, or lost. True: it will be fetched again when it is asked for (the
 * callback may take *blob and write it elsewhere, later); of a lost one nobody asks what this said.
 * Borrows ids; may not call the tree. */
typedef bool prefix_spill_fn(void *ctx, uint64_t scope, const token_id *ids, uint32_t count,
                             void **blob, size_t bytes);

struct prefix_options {
    uint32_t slots; /* 1..PREFIX_SLOTS_MAX */
    uint32_t context_tokens;
    bool can_cut;
    size_t blob_bytes_max; /* 0: no blobs */
    size_t ids_max, nodes_max;
    uint32_t save_tokens; /* rule 6 */
    struct prefix_price price;
    prefix_spill_fn *spill; /* NULL: what is dropped is gone */
    void *spill_ctx;
};
struct prefix_options prefix_options_default(uint32_t slots, uint32_t context_tokens);

struct prefix_tree;
struct prefix_tree *prefix_tree_new(const struct prefix_options *options); /* never NULL */
void prefix_tree_free(struct prefix_tree *tree);
void prefix_tree_set_price(struct prefix_tree *tree, const struct prefix_price *price);

/* --- what to do with a prompt --- */

struct prefix_prompt {
    uint64_t scope;
    const token_id *ids;
    uint32_t count;         /* >= 1 */
    uint32_t system_tokens; /* where the system prompt (and tools) end; 0: not known */
    bool without_disk;      /* what lies there does not come: never FETCH, but the next best */
    bool is_shared; /* by the choices of one request, which come at once: it waits for its like
                       whatever its length (wait_slot) */
};

enum prefix_how {
    PREFIX_NOTHING, /* into an empty slot from the first token on */
    PREFIX_CUT,     /* the slot has it: engine_seq_cut(slot, tokens) if it holds more */
    PREFIX_RESTORE, /* empty the slot, engine_seq_restore(slot, blob), cut to `tokens` if longer */
    PREFIX_FETCH,   /* its blob is on disk: fetch it, prefix_tree_save() it, find again */
    PREFIX_COPY,    /* empty the slot, copy `from` whole, cut to `tokens` */
};

struct prefix_answer {
    enum prefix_how how;
    uint32_t tokens;     /* that are there then and need not be put in */
    uint32_t slot;       /* to run in: free, or idle; PREFIX_NO_SLOT: all are busy (how: NOTHING) */
    uint32_t from;       /* COPY: the busy slot */
    struct slice blob;   /* RESTORE: stays until the next prefix_tree_find() or _lost() */
    uint32_t blob_count; /* RESTORE, FETCH: ids that it is of, at least `tokens` */
    double saves_us; /* what it is worth against NOTHING in an empty slot that lies alone; < 0: what
                        is lost */
    bool slot_kept;  /* rule 6: save `slot` before anything is done with it */
    /* A prompt that is being put in has `wait_tokens` of this one, and that is at least save_tokens
     * more than `tokens`: better let the older one go on, have it saved there (plan_seq.save_at; if
     * it is beyond already, and the model can cut, at its end), save, and find again. Whoever comes
     * second would have waited for its rows anyway. One that is_shared waits for fewer, too, where
     * they are all that it could be spared, and the older one ends less than save_tokens behind
     * them: it is another choice, or soon done. The slot, or PREFIX_NO_SLOT. */
    uint32_t wait_slot, wait_tokens;
    /* Where to save a blob on the way (plan_seq.save_at), rising; > 0, < count. One at `tokens` is
     * to be saved at once. */
    uint32_t save_at[PREFIX_SAVES_MAX];
    uint32_t save_count;
};

/* Of all ways the one that saves most time: the tokens not computed, less what the way costs, less
 * what is lost with the content of the slot that it takes. Equal ones in this order: an idle slot
 * that holds the longest match is cut; a blob is restored; a busy slot is copied, and only when the
 * prefix fills more than half of the stream (all of it is copied); nothing.
 * What is lost with an idle slot: the tokens beyond what is used of it and beyond the longest blob
 * on its way, at recompute_us, over 2 + the number of prompts since it was last used: a guess at
 * how likely it is to be asked for again. A free slot loses nothing. Changes nothing but which blob
 * is held for the answer: what is saved before it is used does not push it out. */
struct prefix_answer prefix_tree_find(struct prefix_tree *tree, const struct prefix_prompt *prompt);
/* The blob of the last answer did its work: it counts as used. Harmless when there was none. */
void prefix_tree_used(struct prefix_tree *tree);
/* The ids that the blob of the last answer (blob_count > 0) is of: room for blob_count. */
void prefix_tree_ids(const struct prefix_tree *tree, token_id *out_ids);
/* A request with this prompt goes in (once for each): it is remembered, counted, and young. */
void prefix_tree_note(struct prefix_tree *tree, const struct prefix_prompt *prompt);

/* --- what slots hold --- */

/* The slot will hold these when its prompt is in: nobody can use them yet, but may wait for them.
 */
void prefix_tree_slot_filling(struct prefix_tree *tree, uint64_t scope, uint32_t slot,
                              const token_id *ids, uint32_t count);
/* From now on, the slot holds (begins with) these; count 0: it is free, when idle. */
void prefix_tree_slot_busy(struct prefix_tree *tree, uint64_t scope, uint32_t slot,
                           const token_id *ids, uint32_t count);
void prefix_tree_slot_idle(struct prefix_tree *tree, uint64_t scope, uint32_t slot,
                           const token_id *ids, uint32_t count);
/* How many tokens the tree believes to be in it. */
uint32_t prefix_tree_slot_tokens(const struct prefix_tree *tree, uint32_t slot);

/* --- blobs --- */

/* Of exactly these ids (>= 1). Takes *blob (mem_alloc'd); an older one of the same ids is replaced.
 * ERR_FULL: larger than all blobs may be, or there is no node for it; then it is not taken. */
MUST_USE enum err prefix_tree_save(struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                                   uint32_t count, void **blob, size_t bytes);
/* Is one of exactly these ids in memory? */
bool prefix_tree_has(const struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                     uint32_t count);
/* A copy of so many bytes lies on disk: found there at the start, or written since. */
void prefix_tree_on_disk(struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                         uint32_t count, size_t bytes);
/* The blob of exactly these ids was refused by the engine, or could not be fetched: forgotten in
 * memory and on disk, also when spill() takes it over. Harmless when there is none. */
void prefix_tree_lost(struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                      uint32_t count);

struct prefix_counts {
    size_t nodes, ids, blobs, blob_bytes, on_disk;
    uint64_t blobs_dropped, prompts_forgotten; /* ever */
};
struct prefix_counts prefix_tree_counts(const struct prefix_tree *tree);
/* ASSERTs that everything agrees with everything. For tests: it visits all. */
void prefix_tree_check(const struct prefix_tree *tree);
