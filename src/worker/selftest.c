/* selftest - a list of ways to put one text in, and the comparison with the first of them. */
#include "worker/selftest.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "base/text.h"
#include "worker/plan.h"

#include <math.h>

enum { WAY_REFERENCE, WAY_PARTS, WAY_COMPANY }; /* in profile fast drafts are behind the first */

/* How many streams at once, as long as there are slots for them. */
static const uint32_t widths[] = {2, 3, 4, 6, 8, 12, 16};
enum { DRAFT_ROWS_MIN = 2 }; /* of the answer in one step: from so many on all that there are */
/* Of the prompt, in turn: below and above what kernels take at once (4, 8, 16). */
static const uint32_t part_rows[] = {2, 7, 3, 16, 5, 9, 2, 4, 17, 8};

/* What one way does. */
struct way {
    uint32_t lanes;
    uint32_t answer_rows; /* in a step */
    bool cuts_prompt, is_draft;
};

/* --- ways --- */

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t width_count(const struct selftest *test)
{
    uint32_t count = 0;
    while (count < ARRAY_COUNT(widths) && widths[count] <= selftest_slots(test))
        count++;
    return count;
}

/* Most rows that a stream may have in a step: its own, and as core_draft.c finds room for drafts.
 * With rows that differ when they are alone, no test of some hundred of them could show that they
 * do not (7 of 299 did, with nano): so it is not tried. */
static uint32_t draft_rows(const struct selftest *test)
{
    const struct engine_info *info = &test->engine->info;
    if (info->single_rows_differ)
        return 1;
    uint32_t most = min_u32(SELFTEST_DRAFT_ROWS_MAX, info->batch_tokens);
    return info->logits_max == 0 ? most : min_u32(most, 1 + info->logits_max - info->slots);
}

/* The ways with drafts are the last. */
static uint32_t first_draft(const struct selftest *test)
{
    return test->is_fast ? WAY_PARTS : WAY_COMPANY + width_count(test);
}

static uint32_t way_count(const struct selftest *test)
{
    return first_draft(test) + draft_rows(test) - 1;
}

static struct way way_at(const struct selftest *test, uint32_t way)
{
    if (way == WAY_REFERENCE)
        return (struct way){.lanes = 1, .answer_rows = 1};
    if (way >= first_draft(test))
        return (struct way){.lanes = 1,
                            .answer_rows = DRAFT_ROWS_MIN + way - first_draft(test),
                            .cuts_prompt = !test->is_fast,
                            .is_draft = true};
    if (way == WAY_PARTS)
        return (struct way){.lanes = 1, .answer_rows = 1, .cuts_prompt = true};
    return (struct way){.lanes = widths[way - WAY_COMPANY], .answer_rows = 1, .cuts_prompt = true};
}

/* --- life --- */

uint32_t selftest_slots(const struct selftest *test)
{
    uint32_t slots = test->engine->info.slots;
    return slots < SELFTEST_SLOTS_MAX ? slots : SELFTEST_SLOTS_MAX;
}

void selftest_init(struct selftest *test, struct engine *engine, bool is_fast)
{
    const uint32_t prompt = is_fast ? SELFTEST_FAST_PROMPT_TOKENS : SELFTEST_PROMPT_TOKENS;
    const uint32_t text = prompt + SELFTEST_ANSWER_TOKENS;
    uint32_t context = engine->info.context_tokens;
    ASSERT(context >= 16 && engine->info.batch_tokens >= 8);
    *test = (struct selftest){.engine = engine, .is_fast = is_fast};
    test->answer = min_u32(context < text ? context / 4 : text, SELFTEST_ANSWER_TOKENS);
    test->prompt = context < text ? context - test->answer : prompt;
    test->rows = mem_array(engine->info.batch_tokens, sizeof(*test->rows));
    test->result.draft_rows_exact_max = 1;
    selftest_again(test);
}

void selftest_fini(struct selftest *test)
{
    mem_free(test->rows);
    test->rows = NULL;
}

/* Each stream is some steps behind the one before it, more than a whole prompt for some: so there
 * are steps with prompts alone, with both, and with answers alone. */
void selftest_again(struct selftest *test)
{
    test->step = 0;
    for (uint32_t i = 0; i < SELFTEST_SLOTS_MAX; i++)
        test->lanes[i] = (struct selftest_lane){.first_step = 2 * i, .parts = i};
}

struct selftest_result selftest_result(const struct selftest *test)
{
    return test->result;
}

/* --- the rows of a step --- */

static token_id token_at(const struct selftest *test, uint32_t position)
{
    uint64_t mixed = (position + 1) * UINT64_C(0x9E3779B97F4A7C15);
    return (token_id)((mixed >> 32) % test->engine->info.vocab_size);
}

/* plan.h rule 8: no part of a prompt is one row, for which there has to be room for three. */
static uint32_t prompt_rows(const struct selftest *test, struct selftest_lane *lane,
                            const struct way *way, uint32_t room)
{
    uint32_t left = test->prompt - lane->position, rows = left;
    if (room < PLAN_PAIR_ROWS)
        return 0;
    if (way->cuts_prompt)
        rows = part_rows[lane->parts++ % ARRAY_COUNT(part_rows)];
    rows = min_u32(rows, min_u32(left, room));
    if (left - rows != 1)
        return rows;
    return rows < room ? left : rows - 1;
}

static uint32_t whole_text(const struct selftest *test)
{
    return test->prompt + test->answer;
}

static uint32_t lane_rows(const struct selftest *test, struct selftest_lane *lane,
                          const struct way *way, uint32_t room)
{
    if (test->step < lane->first_step)
        return 0;
    if (lane->position < test->prompt)
        return prompt_rows(test, lane, way, room);
    return min_u32(min_u32(way->answer_rows, room), whole_text(test) - lane->position);
}

/* Of each stream the last row gives logits, once its prompt is in; of drafts, and what they are
 * behind, each: so the last layer and the output have as many rows as when they are verified. What
 * does not fit into the batch waits: the first streams are through sooner. */
static uint32_t fill_rows(struct selftest *test, const struct way *way)
{
    uint32_t count = 0, batch = test->engine->info.batch_tokens;
    for (uint32_t slot = 0; slot < way->lanes; slot++) {
        struct selftest_lane *lane = &test->lanes[slot];
        uint32_t rows = lane_rows(test, lane, way, batch - count);
        for (uint32_t i = 0; i < rows; i++, lane->position++)
            test->rows[count++] =
                (struct engine_row){.token = token_at(test, lane->position),
                                    .position = lane->position,
                                    .slot = slot,
                                    .wants_logits = lane->position + 1 >= test->prompt &&
                                                    (way->is_draft || i + 1 == rows)};
    }
    return count;
}

static bool is_through(const struct selftest *test, const struct way *way)
{
    for (uint32_t i = 0; i < way->lanes; i++) {
        if (test->lanes[i].position < whole_text(test))
            return false;
    }
    return true;
}

/* --- what came of it --- */

/* FNV-1a over words: any one number that differs makes another hash. */
static uint64_t hash_words(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t hash = HASH_START;
    for (; len >= sizeof(uint32_t); at += sizeof(uint32_t), len -= sizeof(uint32_t)) {
        uint32_t word;
        memcpy(&word, at, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
    }
    return hash_add(hash, slice_of(at, len));
}

/* The last row of the prompt and those of the answer. */
static bool same_logits(struct selftest *test, const struct engine_row *row, const float *logits)
{
    uint32_t index = row->position + 1 - test->prompt;
    uint64_t hash = hash_words(logits, test->engine->info.vocab_size * sizeof(*logits));
    if (test->way == WAY_REFERENCE)
        test->logits[index] = hash;
    return test->logits[index] == hash;
}

enum verdict { SAME, DIFFERENT, NO_NUMBERS };

static enum verdict compare_rows(struct selftest *test, uint32_t count)
{
    enum verdict verdict = SAME;
    for (uint32_t i = 0; i < count; i++) {
        if (!test->rows[i].wants_logits)
            continue;
        const float *logits = engine_logits(test->engine, i);
        if (!isfinite(logits[0]))
            return NO_NUMBERS;
        if (!same_logits(test, &test->rows[i], logits))
            verdict = DIFFERENT;
    }
    return verdict;
}

/* A blob knows which slot it is of: what another one holds is hashed as slot 0 would save it. */
static bool bring_to_slot_0(struct engine *engine, const void *blob, size_t bytes)
{
    return engine_seq_cut(engine, 0, 0) == ERR_OK &&
           engine_seq_restore(engine, 0, blob, bytes) == ERR_OK;
}

/* 0: the engine has no memory for the blob now. */
static uint64_t cells_hash(struct engine *engine, uint32_t slot)
{
    void *blob;
    size_t bytes;
    if (engine_seq_save(engine, slot, &blob, &bytes) != ERR_OK)
        return 0;
    uint64_t hash = 0;
    if (slot == 0)
        hash = hash_words(blob, bytes);
    else if (bring_to_slot_0(engine, blob, bytes))
        hash = cells_hash(engine, 0);
    mem_free(blob);
    return hash;
}

/* All cells are compared: of what differs in them rounding hides most from the logits. */
static bool same_cells(struct selftest *test, uint32_t slot)
{
    if (!test->engine->info.can_save)
        return true;
    uint64_t hash = cells_hash(test->engine, slot);
    if (test->way == WAY_REFERENCE)
        test->cells = hash;
    return hash == test->cells || hash == 0 || test->cells == 0;
}

/* Slot 0 first: the others come into it. */
static bool all_cells_are_same(struct selftest *test, const struct way *way)
{
    bool is_same = true;
    for (uint32_t slot = 0; slot < way->lanes && is_same; slot++)
        is_same = same_cells(test, slot);
    return is_same;
}

/* An answer may be made with any of them: workers that have others are not the same. */
static void add_adapters(const struct engine_info *info, uint8_t digest[SHA256_BYTES])
{
    struct text text;
    text_init(&text, 8192); /* of all, a third as much */
    text_add(&text, slice_of(digest, SHA256_BYTES));
    for (uint32_t i = 0; i < info->adapter_count; i++) {
        const struct engine_adapter *adapter = &info->adapters[i];
        text_add_f(&text, "|%s|%.9g|", adapter->name, (double)adapter->scale);
        text_add(&text, slice_of(adapter->digest, sizeof(adapter->digest)));
    }
    ASSERT(text_status(&text) == ERR_OK);
    sha256_of(text_slice(&text), digest);
    text_fini(&text);
}

static void make_fingerprint(struct selftest *test)
{
    struct sha { /* in the order of the machine: another one has other logits anyway */
        uint64_t vocab_size, answer, logits[SELFTEST_ANSWER_TOKENS + 1];
    } sha = {.vocab_size = test->engine->info.vocab_size, .answer = test->answer};
    uint8_t digest[SHA256_BYTES];
    char digits[SHA256_HEX_BYTES + 1];
    memcpy(sha.logits, test->logits, sizeof(sha.logits));
    sha256_of(slice_of(&sha, sizeof(sha)), digest);
    if (test->engine->info.adapter_count > 0)
        add_adapters(&test->engine->info, digest);
    (void)sha256_format(digest, digits); /* the slice of `digits` */
    memcpy(test->result.fingerprint, digits, NODE_FINGERPRINT_BYTES);
}

/* --- steps --- */

static enum selftest_next end(struct selftest *test, enum node_determinism determinism)
{
    test->result.determinism = test->is_fast ? NODE_COMPATIBLE : determinism;
    return SELFTEST_OVER;
}

/* It is exact for all widths, but not with drafts of so many rows. */
static enum selftest_next end_of_difference(struct selftest *test, const struct way *way)
{
    return end(test, way->is_draft ? NODE_EXACT : NODE_COMPATIBLE);
}

static enum selftest_next end_way(struct selftest *test, const struct way *way)
{
    bool is_same = all_cells_are_same(test, way);
    if (test->way == WAY_REFERENCE)
        make_fingerprint(test);
    if (!is_same)
        return end_of_difference(test, way);
    if (way->is_draft)
        test->result.draft_rows_exact_max = way->answer_rows;
    else if (test->way != WAY_REFERENCE)
        test->result.width_max = way->lanes;
    test->way++;
    selftest_again(test);
    return test->way < way_count(test) ? SELFTEST_EMPTY : end(test, NODE_EXACT);
}

/* The rows are in. */
static enum selftest_next judge(struct selftest *test, const struct way *way, uint32_t count)
{
    switch (compare_rows(test, count)) {
    case NO_NUMBERS:
        return SELFTEST_BROKEN;
    case DIFFERENT:
        return end_of_difference(test, way);
    case SAME:
        break;
    }
    return is_through(test, way) ? end_way(test, way) : SELFTEST_STEP;
}

enum selftest_next selftest_step(struct selftest *test)
{
    struct way way = way_at(test, test->way);
    uint32_t count = fill_rows(test, &way);
    test->step++;
    if (count == 0)
        return SELFTEST_STEP; /* the next stream is still to begin */
    enum err err = engine_decode(test->engine, test->rows, count);
    if (err == ERR_OK)
        return judge(test, &way, count);
    return err == ERR_CANCELLED ? SELFTEST_ABORTED : SELFTEST_BROKEN;
}
