/* family - the families by name, and which of them a document of training comes from. */
#include "nano/family.h"

#include "base/hash.h"

const struct family *const families[FAMILY_COUNT] = {
    &family_facts, &family_copying, &family_calls, &family_results,
    &family_logs,  &family_values,  &family_chat,  &family_stories,
};

void score_count(struct score *score, enum gate gate, bool is_right)
{
    score->asked[gate]++;
    score->right[gate] += is_right;
}

/* Far from each other for neighbouring indices and seeds. */
static struct choice choice_of(uint64_t seed, uint64_t index, uint64_t purpose)
{
    uint64_t state = seed ^ purpose;
    state = splitmix_next(&state) ^ index;
    return (struct choice){splitmix_next(&state)};
}

static const struct family *family_by_share(struct choice *choice)
{
    size_t drawn = choice_below(choice, 100), i = 0;
    while (drawn >= families[i]->share)
        drawn -= families[i++]->share;
    return families[i];
}

const struct family *family_draw(struct sample *out_sample, uint64_t seed, uint64_t index)
{
    struct choice choice = choice_of(seed, index, HASH_START);
    const struct family *family = family_by_share(&choice);
    sample_clear(out_sample);
    family->make(out_sample, &choice, SPLIT_TRAIN);
    return family;
}

void family_examine(struct sample *out_sample, const struct family *family, uint64_t seed,
                    uint64_t index)
{
    struct choice choice = choice_of(seed, index, hash_bytes(slice_str(family->name)));
    sample_clear(out_sample);
    family->make(out_sample, &choice, SPLIT_TEST);
}

/* Every fifth, from index 4 on. */
size_t list_part(struct choice *choice, size_t count, enum split split)
{
    ASSERT(count >= 5);
    size_t test_count = count / 5;
    if (split == SPLIT_TEST)
        return 5 * choice_below(choice, test_count) + 4;
    size_t nth = choice_below(choice, count - test_count);
    return nth + nth / 4;
}
