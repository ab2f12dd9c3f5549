/* grammar_mask - a walk over the tree of pieces with the places of all beginnings on the way in
 * hand, one per depth. */
#include "grammar/grammar_mask.h"

#include "base/mem.h"
#include "grammar/grammar_match_impl.h"
#include "grammar/grammar_vocab.h"
#include "grammar/stacks_impl.h"

struct kept_mask {
    uint8_t digest[SHA256_BYTES]; /* of the grammar */
    uint64_t place;               /* grammar_match_hash() */
    uint64_t used;                /* the turn it was last used in; 0 = not filled */
    uint64_t *bits;
};

struct grammar_masker {
    const struct grammar_vocab *vocab;
    size_t words; /* of a mask */
    size_t kept_max;
    uint64_t turn;
    struct grammar_masker_counts counts;
    struct kept_mask kept[];
};

struct grammar_masker *grammar_masker_new(const struct grammar_vocab *vocab, size_t cache_max)
{
    size_t kept_max = cache_max > 0 ? cache_max : 1;
    struct grammar_masker *masker = mem_alloc(sizeof(*masker) + kept_max * sizeof(masker->kept[0]));
    masker->vocab = vocab;
    masker->words = ((size_t)vocab->count + 63) / 64;
    masker->kept_max = kept_max;
    return masker;
}

void grammar_masker_free(struct grammar_masker *masker)
{
    if (!masker)
        return;
    for (size_t i = 0; i < masker->kept_max; i++)
        mem_free(masker->kept[i].bits);
    mem_free(masker);
}

struct grammar_masker_counts grammar_masker_counts(const struct grammar_masker *masker)
{
    return masker->counts;
}

/* --- the cache --- */

/* The mask of that place, or the one to be filled with it: one that is free, or the longest unused.
 */
static struct kept_mask *kept_for(struct grammar_masker *masker, const uint8_t *digest,
                                  uint64_t place)
{
    struct kept_mask *oldest = &masker->kept[0];
    for (size_t i = 0; i < masker->kept_max; i++) {
        struct kept_mask *kept = &masker->kept[i];
        if (kept->used != 0 && kept->place == place &&
            memcmp(kept->digest, digest, SHA256_BYTES) == 0)
            return kept;
        if (kept->used < oldest->used)
            oldest = kept;
    }
    oldest->used = 0;
    memcpy(oldest->digest, digest, SHA256_BYTES);
    oldest->place = place;
    return oldest;
}

/* --- filling one --- */

static void set_bit(uint64_t *bits, uint32_t token)
{
    bits[token / 64] |= UINT64_C(1) << (token % 64);
}

static enum err check_work(const struct grammar_match *match, uint64_t work_before)
{
    return match->stacks->total_work - work_before > GRAMMAR_MASK_WORK_MAX ? ERR_LIMIT : ERR_OK;
}

/* As keep_small() of grammar_match, with all places in hand. */
static enum err keep_small(struct grammar_match *match, uint32_t *sets, size_t count)
{
    if (!stacks_want_collect(match->stacks))
        return ERR_OK;
    TRY(stacks_collect(match->stacks, sets, count));
    match->place.set = sets[0];
    return ERR_OK;
}

static enum err fill_bound(const struct grammar_vocab *vocab, struct grammar_match *match,
                           uint64_t *bits)
{
    uint32_t sets[GRAMMAR_PIECE_MAX_BYTES + 1] = {match->place.set}; /* by bytes of the beginning */
    uint64_t work_before = match->stacks->total_work;
    for (uint32_t i = 0; i < vocab->node_count;) {
        const struct piece_node *node = &vocab->nodes[i];
        uint32_t *set = &sets[node->depth];
        uint32_t set_count = match->stacks->set_count;
        TRY(stacks_step_known(match->stacks, sets[node->depth - 1], node->byte, set));
        TRY(check_work(match, work_before));
        if (*set == STACKS_DEAD) {
            i = node->after;
            continue;
        }
        for (uint32_t j = node->first_token; j < node[1].first_token; j++)
            set_bit(bits, vocab->tokens[j]);
        if (match->stacks->set_count != set_count) /* else there is nothing new to collect */
            TRY(keep_small(match, sets, (size_t)node->depth + 1));
        i++;
    }
    if (stacks_can_end(match->stacks, sets[0])) {
        for (uint32_t i = 0; i < vocab->end_count; i++)
            set_bit(bits, vocab->ends[i]);
    }
    return ERR_OK;
}

static enum err fill_waiting(const struct grammar_vocab *vocab, struct grammar_match *match,
                             uint64_t *bits)
{
    uint64_t work_before = match->stacks->total_work;
    for (uint32_t token = 0; token < vocab->count; token++) {
        TRY(check_work(match, work_before));
        enum err err = grammar_match_check(match, token, vocab_piece(vocab, token));
        if (err == ERR_OK)
            set_bit(bits, token);
        else if (err != ERR_REFUSED && err != ERR_LIMIT)
            return err;
    }
    return ERR_OK;
}

enum err grammar_mask(struct grammar_masker *masker, struct grammar_match *match,
                      const uint64_t **out_bits)
{
    struct kept_mask *kept =
        kept_for(masker, grammar_digest(match->grammar), grammar_match_hash(match));
    /* Triggers are not part of the key: what waits is walked for each time. */
    if (kept->used == 0 || !match->place.is_bound) {
        if (!kept->bits)
            kept->bits = mem_array(masker->words, sizeof(*kept->bits));
        memset(kept->bits, 0, masker->words * sizeof(*kept->bits));
        masker->counts.walks++;
        kept->used = 0;
        TRY(match->place.is_bound ? fill_bound(masker->vocab, match, kept->bits)
                                  : fill_waiting(masker->vocab, match, kept->bits));
    } else {
        masker->counts.hits++;
    }
    if (match->place.is_bound)
        kept->used = ++masker->turn;
    *out_bits = kept->bits;
    return ERR_OK;
}
