/* Random lives of the prefix tree beside a model of it that is a few lists: what the tree answers
 * must be worth as much as the best that the lists know of, and be true. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/prefix_tree.h"

#include <math.h>
#include <stdio.h>

enum { SCOPES = 3, IDS_MAX = 16, SLOTS_MAX = 6, LISTED_MAX = 4000, OPERATIONS = 2000, ROUNDS = 50 };

struct listed { /* some ids, and what is known of them */
    uint64_t scope;
    token_id ids[IDS_MAX];
    uint32_t count;
    size_t bytes; /* of a blob */
    double worth;
    uint32_t uses;
    bool is_busy;     /* a slot */
    uint64_t used_at; /* a slot */
};

struct sim {
    uint64_t round, random;
    struct prefix_options options;
    struct prefix_tree *tree;
    bool is_small; /* the tree forgets: what it answers must be true, but not the best */
    struct listed slots[SLOTS_MAX];
    struct listed blobs[LISTED_MAX], prompts[LISTED_MAX], disk[LISTED_MAX];
    uint32_t blob_count, prompt_count, disk_count;
    uint64_t prompts_noted;
    double inflation;
    uint32_t fetched, reused, restored, copied, saved,
        marked; /* so that it is seen that they happen */
};

/* A failure shows the round. */
#define HOLDS(cond) CHECK_EQ((cond) ? 0 : sim->round, 0)

static uint32_t below(struct sim *sim, uint32_t limit)
{
    return (uint32_t)(test_random(&sim->random) % limit);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t common(const struct listed *a, const struct listed *b)
{
    uint32_t count = 0;
    if (a->scope != b->scope)
        return 0;
    while (count < a->count && count < b->count && a->ids[count] == b->ids[count])
        count++;
    return count;
}

static bool is_prefix(const struct listed *prefix, const struct listed *of)
{
    return prefix->scope == of->scope && common(prefix, of) == prefix->count;
}

/* --- what the lists say --- */

static uint32_t usable(const struct sim *sim, const struct listed *prompt,
                       const struct listed *content)
{
    uint32_t tokens = common(prompt, content), most = prompt->count - 1;
    if (sim->options.can_cut)
        return min_u32(tokens, most);
    return tokens == content->count && tokens <= most ? tokens : 0;
}

static double loss_us(const struct sim *sim, uint32_t slot, uint32_t kept)
{
    const struct listed *content = &sim->slots[slot];
    uint32_t safe = kept;
    for (uint32_t i = 0; i < sim->blob_count; i++) {
        if (is_prefix(&sim->blobs[i], content))
            safe = max_u32(safe, sim->blobs[i].count);
    }
    for (uint32_t i = 0; i < sim->options.slots; i++) {
        if (i != slot && sim->slots[i].count == content->count &&
            is_prefix(content, &sim->slots[i]))
            safe = content->count;
    }
    double age = (double)(sim->prompts_noted - content->used_at);
    return (content->count > safe ? content->count - safe : 0) * sim->options.price.recompute_us /
           (2 + age);
}

static double neighbours_us(const struct sim *sim, uint32_t slot)
{
    double us = 0;
    for (uint32_t other = 0; other < sim->options.slots; other++) {
        if ((other + 1 == slot || other == slot + 1) && sim->slots[other].is_busy)
            us += sim->options.price.gap_us * sim->options.price.answer_tokens;
    }
    return us;
}

static double least_loss_us(const struct sim *sim, bool *out_has_slot)
{
    double least = INFINITY;
    for (uint32_t slot = 0; slot < sim->options.slots; slot++) {
        if (!sim->slots[slot].is_busy)
            least = fmin(least, loss_us(sim, slot, 0) - neighbours_us(sim, slot));
    }
    *out_has_slot = least < INFINITY;
    return least;
}

static uint32_t best_common(const struct listed *prompt, const struct listed *list, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < count; i++)
        best = max_u32(best, common(prompt, &list[i]));
    return best;
}

static double best_of_slots(const struct sim *sim, const struct listed *prompt, double loss)
{
    const struct prefix_price *price = &sim->options.price;
    double best = -INFINITY;
    for (uint32_t slot = 0; slot < sim->options.slots; slot++) {
        const struct listed *content = &sim->slots[slot];
        uint32_t tokens = usable(sim, prompt, content);
        double spared_us = tokens * price->recompute_us;
        if (!content->is_busy && tokens > 0)
            best = fmax(best, spared_us - loss_us(sim, slot, tokens) + neighbours_us(sim, slot));
        if (content->is_busy && sim->options.can_cut && tokens > sim->options.context_tokens / 2)
            best = fmax(best, spared_us - price->copy_us - loss);
    }
    return best;
}

static uint32_t index_of(const struct listed *list, uint32_t list_count, uint64_t scope,
                         const token_id *ids, uint32_t count)
{
    uint32_t i = 0;
    while (i < list_count && (list[i].scope != scope || list[i].count != count ||
                              memcmp(list[i].ids, ids, count * sizeof(*ids)) != 0))
        i++;
    return i;
}

static struct listed *blob_of(struct sim *sim, uint64_t scope, const token_id *ids, uint32_t count)
{
    uint32_t i = index_of(sim->blobs, sim->blob_count, scope, ids, count);
    return i < sim->blob_count ? &sim->blobs[i] : NULL;
}

static struct listed *disk_of(struct sim *sim, uint64_t scope, const token_id *ids, uint32_t count)
{
    uint32_t i = index_of(sim->disk, sim->disk_count, scope, ids, count);
    return i < sim->disk_count ? &sim->disk[i] : NULL;
}

static double best_of_list(const struct sim *sim, const struct listed *prompt, uint32_t known,
                           const struct listed *list, uint32_t count, double byte_us)
{
    double best = -INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tokens = usable(sim, prompt, &list[i]);
        bool is_looked_at = is_prefix(&list[i], prompt) || common(&list[i], prompt) == known;
        if (list == sim->disk && /* what is in memory, too, is not fetched */
            index_of(sim->blobs, sim->blob_count, list[i].scope, list[i].ids, list[i].count) <
                sim->blob_count)
            continue;
        if (tokens > 0 && is_looked_at)
            best = fmax(best,
                        tokens * sim->options.price.recompute_us - (double)list[i].bytes * byte_us);
    }
    return best;
}

/* Blobs on the way of the prompt; and those beyond, if they have all of it that is known. */
static double best_of_blobs(const struct sim *sim, const struct listed *prompt, double loss)
{
    const struct prefix_price *price = &sim->options.price;
    uint32_t known = best_common(prompt, sim->prompts, sim->prompt_count);
    known = max_u32(known, best_common(prompt, sim->slots, sim->options.slots));
    known = max_u32(known, best_common(prompt, sim->blobs, sim->blob_count));
    known = max_u32(known, best_common(prompt, sim->disk, sim->disk_count));
    return fmax(best_of_list(sim, prompt, known, sim->blobs, sim->blob_count, price->restore_us),
                best_of_list(sim, prompt, known, sim->disk, sim->disk_count,
                             price->restore_us + price->fetch_us)) -
           loss;
}

static void check_is_best(struct sim *sim, const struct listed *prompt,
                          const struct prefix_answer *answer)
{
    bool has_slot;
    double loss = least_loss_us(sim, &has_slot);
    HOLDS((answer->slot != PREFIX_NO_SLOT) == has_slot);
    if (!has_slot)
        return;
    double best = fmax(-loss, best_of_slots(sim, prompt, loss));
    best = fmax(best, best_of_blobs(sim, prompt, loss));
    HOLDS(answer->saves_us <= best + 1e-6);
    /* Beyond the end of the match only so many nodes are looked at. */
    if (prefix_tree_counts(sim->tree).nodes < PREFIX_SEARCH_NODES)
        HOLDS(answer->saves_us >= best - 1e-6);
}

/* --- what the tree says is true --- */

static void check_fetch(struct sim *sim, const struct listed *prompt,
                        const struct prefix_answer *answer)
{
    token_id ids[IDS_MAX];
    prefix_tree_ids(sim->tree, ids);
    struct listed *disk = disk_of(sim, prompt->scope, ids, answer->blob_count);
    HOLDS(disk && !blob_of(sim, prompt->scope, ids, answer->blob_count));
    HOLDS(answer->tokens <= usable(sim, prompt, disk));
}

static void check_is_true(struct sim *sim, const struct listed *prompt,
                          const struct prefix_answer *answer)
{
    HOLDS(answer->tokens < prompt->count);
    HOLDS(!sim->slots[answer->slot].is_busy);
    if (answer->how == PREFIX_CUT)
        HOLDS(answer->tokens <= usable(sim, prompt, &sim->slots[answer->slot]));
    if (answer->how == PREFIX_COPY) {
        HOLDS(sim->slots[answer->from].is_busy && sim->options.can_cut);
        HOLDS(answer->tokens <= usable(sim, prompt, &sim->slots[answer->from]));
    }
    if (answer->how == PREFIX_RESTORE) {
        token_id ids[IDS_MAX];
        prefix_tree_ids(sim->tree, ids);
        struct listed *blob = blob_of(sim, prompt->scope, ids, answer->blob_count);
        HOLDS(blob != NULL);
        HOLDS(answer->blob.len == blob->bytes);
        HOLDS(memcmp(answer->blob.data, blob->ids, min_u32(4, (uint32_t)blob->bytes)) == 0);
        HOLDS(answer->tokens <= usable(sim, prompt, blob));
    }
    if (answer->how == PREFIX_FETCH)
        check_fetch(sim, prompt, answer);
}

static void check_saves(struct sim *sim, const struct listed *prompt,
                        const struct prefix_answer *answer)
{
    uint32_t seen =
        min_u32(best_common(prompt, sim->prompts, sim->prompt_count), prompt->count - 1);
    uint32_t before = 0;
    for (uint32_t i = 0; i < answer->save_count; i++) {
        uint32_t at = answer->save_at[i];
        HOLDS(at >= before + sim->options.save_tokens && at >= answer->tokens);
        HOLDS(at > 0 && at < prompt->count);
        HOLDS(at <= seen); /* no system prompts here */
        HOLDS(!blob_of(sim, prompt->scope, prompt->ids, at));
        before = at;
    }
    if (sim->is_small || answer->save_count > 0 || seen < sim->options.save_tokens)
        return;
    /* None: it starts behind it, or a blob is near enough. */
    bool is_served = seen < answer->tokens || sim->options.blob_bytes_max == 0;
    for (uint32_t i = 0; i < sim->blob_count; i++) {
        const struct listed *blob = &sim->blobs[i];
        is_served = is_served ||
                    (is_prefix(blob, prompt) && blob->count + sim->options.save_tokens > seen &&
                     (blob->count <= seen || sim->options.can_cut));
    }
    HOLDS(is_served);
}

/* --- what happens --- */

static void set_worth(struct sim *sim, struct listed *blob)
{
    const struct prefix_price *price = &sim->options.price;
    blob->worth =
        sim->inflation +
        blob->uses * (blob->count * price->recompute_us - (double)blob->bytes * price->restore_us) /
            (double)blob->bytes;
}

static void forget_blob(struct sim *sim, struct listed *blob)
{
    uint32_t index = (uint32_t)(blob - sim->blobs);
    sim->blob_count--;
    memmove(blob, blob + 1, (sim->blob_count - index) * sizeof(*blob));
}

static void forget_disk(struct sim *sim, struct listed *disk)
{
    *disk = sim->disk[--sim->disk_count];
}

static bool on_spill(void *ctx, uint64_t scope, const token_id *ids, uint32_t count, void **blob,
                     size_t bytes)
{
    struct sim *sim = ctx;
    HOLDS(memcmp(*blob, ids, min_u32(count * 4, (uint32_t)bytes)) == 0);
    bool was_there = disk_of(sim, scope, ids, count) != NULL;
    if (was_there)
        forget_disk(sim, disk_of(sim, scope, ids, count));
    if (!was_there && (below(sim, 4) == 0 || sim->disk_count == LISTED_MAX))
        return false;
    struct listed *disk = &sim->disk[sim->disk_count++];
    *disk = (struct listed){.scope = scope, .count = count, .bytes = bytes};
    memcpy(disk->ids, ids, count * sizeof(*ids));
    if (below(sim, 2)) { /* taken, to be written later */
        mem_free(*blob);
        *blob = NULL;
    }
    return true;
}

/* Which blobs the tree has dropped: those that the formula says, one after the other. */
static void follow_drops(struct sim *sim, size_t bytes, const struct listed *kept)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < sim->blob_count; i++)
        sum += sim->blobs[i].bytes;
    while (sum + bytes > sim->options.blob_bytes_max) {
        struct listed *least = NULL;
        for (uint32_t i = 0; i < sim->blob_count; i++) {
            struct listed *blob = &sim->blobs[i];
            bool is_kept = kept && kept->count == blob->count && is_prefix(kept, blob);
            if (!is_kept && (!least || blob->worth < least->worth))
                least = blob;
        }
        if (!least)
            return;
        HOLDS(!prefix_tree_has(sim->tree, least->scope, least->ids, least->count));
        sim->inflation = least->worth;
        sum -= least->bytes;
        forget_blob(sim, least);
    }
}

/* `kept`: the blob that the last answer holds. */
static void save(struct sim *sim, uint64_t scope, const token_id *ids, uint32_t count,
                 const struct listed *kept)
{
    size_t bytes = count * 4 + below(sim, 8);
    void *blob = mem_alloc(bytes);
    memcpy(blob, ids, count * sizeof(*ids));
    bool is_kept = kept && kept->scope == scope && kept->count == count &&
                   memcmp(kept->ids, ids, count * 4) == 0;
    enum err err = prefix_tree_save(sim->tree, scope, ids, count, &blob, bytes);
    HOLDS((err == ERR_OK) == (blob == NULL));
    if (bytes <= sim->options.blob_bytes_max)
        follow_drops(sim, bytes, kept);
    HOLDS(prefix_tree_has(sim->tree, scope, ids, count) == (err == ERR_OK));
    mem_free(blob);
    if (err != ERR_OK || is_kept)
        return;
    if (blob_of(sim, scope, ids, count))
        forget_blob(sim, blob_of(sim, scope, ids, count));
    HOLDS(sim->blob_count < LISTED_MAX);
    struct listed *listed = &sim->blobs[sim->blob_count++];
    *listed = (struct listed){.scope = scope, .count = count, .bytes = bytes, .uses = 1};
    memcpy(listed->ids, ids, count * sizeof(*ids));
    set_worth(sim, listed);
    sim->saved++;
}

static void set_slot(struct sim *sim, uint32_t slot, const struct listed *content, bool is_busy)
{
    if (is_busy)
        prefix_tree_slot_busy(sim->tree, content->scope, slot, content->ids, content->count);
    else
        prefix_tree_slot_idle(sim->tree, content->scope, slot, content->ids, content->count);
    sim->slots[slot] = *content;
    if (prefix_tree_slot_tokens(sim->tree, slot) == 0) { /* no room for it in the tree */
        HOLDS(content->count == 0 || sim->is_small);
        sim->slots[slot].count = 0;
    }
    sim->slots[slot].is_busy = is_busy;
    sim->slots[slot].used_at = sim->prompts_noted;
}

static struct listed random_ids(struct sim *sim, uint32_t most)
{
    struct listed listed = {.scope = below(sim, SCOPES), .count = 1 + below(sim, most)};
    for (uint32_t i = 0; i < listed.count; i++)
        listed.ids[i] = below(sim, 5) ? 1 : (token_id)below(sim, 3);
    return listed;
}

static void note(struct sim *sim, const struct listed *prompt)
{
    struct prefix_prompt noted = {
        .scope = prompt->scope, .ids = prompt->ids, .count = prompt->count};
    prefix_tree_note(sim->tree, &noted);
    sim->prompts_noted++;
    for (uint32_t i = 0; i < sim->prompt_count; i++) {
        if (sim->prompts[i].count == prompt->count && is_prefix(prompt, &sim->prompts[i]))
            return;
    }
    HOLDS(sim->prompt_count < LISTED_MAX);
    sim->prompts[sim->prompt_count++] = *prompt;
}

static void use_blob(struct sim *sim, const struct listed *kept)
{
    prefix_tree_used(sim->tree);
    struct listed *blob = blob_of(sim, kept->scope, kept->ids, kept->count);
    HOLDS(blob != NULL);
    blob->uses++;
    set_worth(sim, blob);
    sim->restored++;
}

/* What is on disk comes back, or turns out to be gone. */
static void fetch(struct sim *sim, uint64_t scope, const struct prefix_answer *answer)
{
    token_id ids[IDS_MAX];
    prefix_tree_ids(sim->tree, ids);
    sim->fetched++;
    if (below(sim, 4)) {
        save(sim, scope, ids, answer->blob_count, NULL);
    } else {
        prefix_tree_lost(sim->tree, scope, ids, answer->blob_count);
        forget_disk(sim, disk_of(sim, scope, ids, answer->blob_count));
    }
}

/* As the core will: find, save what goes, take the slot, note, put in, save on the way. */
static void run_prompt(struct sim *sim)
{
    struct listed prompt = random_ids(sim, IDS_MAX - 4), kept = {.scope = prompt.scope};
    struct prefix_prompt asked = {.scope = prompt.scope, .ids = prompt.ids, .count = prompt.count};
    struct prefix_answer answer = prefix_tree_find(sim->tree, &asked);
    if (!sim->is_small)
        check_is_best(sim, &prompt, &answer);
    if (answer.slot == PREFIX_NO_SLOT)
        return;
    check_is_true(sim, &prompt, &answer);
    check_saves(sim, &prompt, &answer);
    if (answer.how == PREFIX_FETCH) {
        fetch(sim, prompt.scope, &answer);
        return; /* and asks again some time */
    }
    if (answer.how == PREFIX_RESTORE) {
        kept.count = answer.blob_count;
        prefix_tree_ids(sim->tree, kept.ids);
    }
    struct listed *slot = &sim->slots[answer.slot];
    if (answer.slot_kept)
        save(sim, slot->scope, slot->ids, slot->count, kept.count ? &kept : NULL);
    if (answer.how == PREFIX_RESTORE)
        use_blob(sim, &kept);
    sim->reused += answer.how == PREFIX_CUT;
    sim->copied += answer.how == PREFIX_COPY;
    sim->marked += answer.save_count;
    note(sim, &prompt);
    set_slot(sim, answer.slot, &prompt, true);
    for (uint32_t i = 0; i < answer.save_count; i++)
        save(sim, prompt.scope, prompt.ids, answer.save_at[i], kept.count ? &kept : NULL);
}

static void end_one(struct sim *sim)
{
    uint32_t slot = below(sim, sim->options.slots);
    struct listed content = sim->slots[slot], more = random_ids(sim, 4);
    if (!content.is_busy)
        return;
    if (below(sim, 5) == 0) {
        content.count = 0;
    } else if (content.count > 0) {
        memcpy(content.ids + content.count, more.ids, more.count * sizeof(more.ids[0]));
        content.count += more.count;
    }
    set_slot(sim, slot, &content, false);
}

static void lose_one(struct sim *sim)
{
    if (sim->blob_count == 0)
        return;
    struct listed *blob = &sim->blobs[below(sim, sim->blob_count)];
    prefix_tree_lost(sim->tree, blob->scope, blob->ids, blob->count);
    HOLDS(!prefix_tree_has(sim->tree, blob->scope, blob->ids, blob->count));
    if (disk_of(sim, blob->scope, blob->ids, blob->count))
        forget_disk(sim, disk_of(sim, blob->scope, blob->ids, blob->count));
    forget_blob(sim, blob);
}

static void start(struct sim *sim, uint64_t round)
{
    memset(sim->slots, 0, sizeof(sim->slots));
    sim->blob_count = sim->prompt_count = sim->disk_count = 0;
    sim->prompts_noted = 0;
    sim->inflation = 0;
    sim->round = sim->random = round;
    sim->is_small = round % 2;
    sim->options = prefix_options_default(1 + below(sim, SLOTS_MAX), IDS_MAX + 4);
    sim->options.can_cut = below(sim, 3) > 0;
    sim->options.blob_bytes_max = below(sim, 8) ? 20 + below(sim, 600) : 0;
    sim->options.save_tokens = 1 + below(sim, 4);
    sim->options.nodes_max = sim->is_small ? 4 + below(sim, 60) : 4 * LISTED_MAX;
    sim->options.ids_max = sim->is_small ? 10 + below(sim, 200) : (size_t)1 << 20;
    sim->options.price = (struct prefix_price){.recompute_us = 1 + below(sim, 100),
                                               .restore_us = below(sim, 10),
                                               .fetch_us = below(sim, 4),
                                               .save_us = below(sim, 3),
                                               .copy_us = below(sim, 200),
                                               .gap_us = below(sim, 2) ? below(sim, 20) : 0,
                                               .answer_tokens = below(sim, 10)};
    sim->options.spill = below(sim, 2) ? on_spill : NULL;
    sim->options.spill_ctx = sim;
    sim->tree = prefix_tree_new(&sim->options);
}

TEST(a_hundred_thousand_operations_agree_with_lists)
{
    struct sim *sim = mem_alloc(sizeof(*sim));
    uint64_t rounds = test_seeds(ROUNDS);
    for (uint64_t round = 1; round <= rounds; round++) {
        start(sim, round);
        for (int i = 0; i < OPERATIONS; i++) {
            uint32_t what = below(sim, 100);
            if (what < 55)
                run_prompt(sim);
            else if (what < 98)
                end_one(sim);
            else
                lose_one(sim);
            if (i % 50 == 0)
                prefix_tree_check(sim->tree);
        }
        prefix_tree_check(sim->tree);
        prefix_tree_free(sim->tree);
    }
    printf("%u fetched, %u cut, %u restored, %u copied, %u saved, %u to be saved on the way\n",
           sim->fetched, sim->reused, sim->restored, sim->copied, sim->saved, sim->marked);
    CHECK(sim->fetched > 0 && sim->reused > 0 && sim->restored > 0 && sim->copied > 0 &&
          sim->saved > 0);
    mem_free(sim);
}
