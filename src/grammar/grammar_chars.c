/* grammar_chars - a set of code points as an automaton over the bytes of their UTF-8. All code
 * points that share the first bytes share the states for them, and a run of leading bytes after
 * which anything may follow is one edge: [^"] has 8 states. */
#include "grammar/grammar_impl.h"

#include <stdlib.h>

enum {
    CODE_MAX = 0x10FFFF,
    SURROGATE_FIRST = 0xD800,
    SURROGATE_LAST = 0xDFFF,
    GROUP_BITS = 6,
    GROUPS_MAX = 3,
    STATE_EDGES_MAX = 256
};

/* --- the set --- */

static int compare_ranges(const void *a, const void *b)
{
    const struct char_range *left = a, *right = b;
    return left->low < right->low ? -1 : left->low > right->low;
}

static uint32_t join(struct char_range *ranges, uint32_t count)
{
    uint32_t joined = 0;
    qsort(ranges, count, sizeof(ranges[0]), compare_ranges);
    for (uint32_t i = 0; i < count; i++) {
        struct char_range *last = joined ? &ranges[joined - 1] : NULL;
        if (!last || ranges[i].low > last->high + 1)
            ranges[joined++] = ranges[i];
        else if (ranges[i].high > last->high)
            last->high = ranges[i].high;
    }
    return joined;
}

/* What lies between the joined ranges, in place: the gap before each is written over it. */
static uint32_t negate(struct char_range *ranges, uint32_t count)
{
    uint32_t gaps = 0, next = 1; /* not U+0000 */
    for (uint32_t i = 0; i < count; i++) {
        struct char_range range = ranges[i];
        if (range.low > next)
            ranges[gaps++] = (struct char_range){next, range.low - 1};
        if (range.high + 1 > next)
            next = range.high + 1;
    }
    if (next <= CODE_MAX)
        ranges[gaps++] = (struct char_range){next, CODE_MAX};
    return gaps;
}

/* Surrogates are no characters: UTF-8 has no bytes for them. */
static uint32_t drop_surrogates(struct char_range *ranges, uint32_t count)
{
    uint32_t kept = 0;
    struct char_range behind = {1, 0};
    for (uint32_t i = 0; i < count; i++) {
        struct char_range range = ranges[i];
        if (range.high < SURROGATE_FIRST || range.low > SURROGATE_LAST) {
            ranges[kept++] = range;
            continue;
        }
        if (range.low < SURROGATE_FIRST)
            ranges[kept++] = (struct char_range){range.low, SURROGATE_FIRST - 1};
        if (range.high > SURROGATE_LAST)
            behind = (struct char_range){SURROGATE_LAST + 1, range.high};
    }
    if (behind.low <= behind.high) {
        ranges[kept++] = behind;
        qsort(ranges, kept, sizeof(ranges[0]), compare_ranges);
    }
    return kept;
}

uint32_t char_ranges_normalise(struct char_range *ranges, uint32_t count, bool is_negated)
{
    count = join(ranges, count);
    if (is_negated)
        count = negate(ranges, count);
    return drop_surrogates(ranges, count);
}

/* --- the automaton --- */

struct maker {
    struct grammar *grammar;
    uint32_t first_state;
    uint32_t anything[GROUPS_MAX + 1]; /* the state of so many more bytes of any value, or 0: none
                                          yet, else one more than its number */
};

struct edges {
    struct char_edge items[STATE_EDGES_MAX];
    uint32_t count;
};

static void add_edge(struct edges *edges, uint32_t low, uint32_t high, uint32_t target)
{
    ASSERT(edges->count < STATE_EDGES_MAX); /* they are apart, and of a byte */
    edges->items[edges->count++] =
        (struct char_edge){(uint8_t)low, (uint8_t)high, (uint16_t)target};
}

static enum err add_state(struct maker *maker, const struct edges *edges, uint32_t *out_state)
{
    struct grammar *grammar = maker->grammar;
    uint32_t first_edge = grammar->edge_count;
    for (uint32_t i = 0; i < edges->count; i++) {
        TRY(GROW(grammar->edges, grammar->edge_count, grammar->edge_capacity));
        grammar->edges[grammar->edge_count++] = edges->items[i];
    }
    TRY(GROW(grammar->states, grammar->state_count, grammar->state_capacity));
    *out_state = grammar->state_count - maker->first_state;
    ASSERT(*out_state < CLASS_STATES_MAX); /* a range needs 6 states at most */
    grammar->states[grammar->state_count++] = (struct char_state){first_edge, edges->count};
    return ERR_OK;
}

static enum err anything_state(struct maker *maker, uint32_t groups, uint32_t *out_state)
{
    if (groups == 0) {
        *out_state = CHAR_DONE;
        return ERR_OK;
    }
    if (maker->anything[groups] == 0) {
        struct edges edges = {.count = 0};
        uint32_t then, state;
        TRY(anything_state(maker, groups - 1, &then));
        add_edge(&edges, 0x80, 0xBF, then);
        TRY(add_state(maker, &edges, &state));
        maker->anything[groups] = state + 1;
    }
    *out_state = maker->anything[groups] - 1;
    return ERR_OK;
}

static enum err add_edges(struct maker *maker, const struct char_range *ranges, uint32_t count,
                          struct char_range clip, uint32_t groups, uint32_t prefix,
                          struct edges *edges);

/* The state for what comes behind the leading bits `lead`, of which not everything may follow. */
static enum err partial_state(struct maker *maker, const struct char_range *ranges, uint32_t count,
                              struct char_range clip, uint32_t groups, uint32_t *out_state)
{
    struct edges edges = {.count = 0};
    TRY(add_edges(maker, ranges, count, clip, groups - 1, 0x80, &edges));
    return add_state(maker, &edges, out_state);
}

/* Edges for the code points within `clip`; their leading byte is `prefix` with the bits above the
 * last `groups` groups of six. */
static enum err add_edges(struct maker *maker, const struct char_range *ranges, uint32_t count,
                          struct char_range clip, uint32_t groups, uint32_t prefix,
                          struct edges *edges)
{
    uint32_t shift = groups * GROUP_BITS, mask = prefix == 0x80 ? 0x3F : 0x7F;
    for (uint32_t i = 0, at = clip.low; i < count && at <= clip.high;) {
        if (ranges[i].high < at) {
            i++;
            continue;
        }
        at = ranges[i].low > at ? ranges[i].low : at;
        if (at > clip.high)
            break;
        uint32_t last = ranges[i].high < clip.high ? ranges[i].high : clip.high;
        uint32_t lead = at >> shift, target;
        struct char_range under = {lead << shift, ((lead + 1) << shift) - 1};
        if (under.low >= clip.low && ranges[i].low <= under.low && last >= under.high) {
            uint32_t last_lead = ((last + 1) >> shift) - 1;
            TRY(anything_state(maker, groups, &target));
            add_edge(edges, prefix | (lead & mask), prefix | (last_lead & mask), target);
            at = (last_lead + 1) << shift;
        } else {
            at = under.high + 1;
            under.low = under.low > clip.low ? under.low : clip.low; /* nothing overlong */
            under.high = under.high < clip.high ? under.high : clip.high;
            TRY(partial_state(maker, ranges + i, count - i, under, groups, &target));
            add_edge(edges, prefix | (lead & mask), prefix | (lead & mask), target);
        }
    }
    return ERR_OK;
}

static enum err make_class(struct maker *maker, const struct char_range *ranges, uint32_t count,
                           uint32_t *out_start)
{
    static const struct {
        struct char_range codes;
        uint32_t prefix;
    } lengths[] = {{{0, 0x7F}, 0x00},
                   {{0x80, 0x7FF}, 0xC0},
                   {{0x800, 0xFFFF}, 0xE0},
                   {{0x10000, CODE_MAX}, 0xF0}};
    struct edges edges = {.count = 0};
    for (uint32_t groups = 0; groups < ARRAY_COUNT(lengths); groups++)
        TRY(add_edges(maker, ranges, count, lengths[groups].codes, groups, lengths[groups].prefix,
                      &edges));
    return add_state(maker, &edges, out_start);
}

enum err char_class_add(struct grammar *grammar, const struct char_range *ranges, uint32_t count,
                        uint32_t *out_class)
{
    struct maker maker = {.grammar = grammar, .first_state = grammar->state_count};
    uint32_t start;
    TRY(make_class(&maker, ranges, count, &start));
    TRY(GROW(grammar->classes, grammar->class_count, grammar->class_capacity));
    *out_class = grammar->class_count;
    grammar->classes[grammar->class_count++] = (struct char_class){maker.first_state, start};
    return ERR_OK;
}

void char_kinds_find(struct grammar *grammar)
{
    bool is_first[257] = {true}; /* of a kind */
    for (uint32_t i = 0; i < grammar->edge_count; i++)
        is_first[grammar->edges[i].low] = is_first[grammar->edges[i].high + 1] = true;
    uint32_t kind = 0;
    for (uint32_t byte = 0; byte < 256; byte++) {
        kind += byte > 0 && is_first[byte];
        grammar->byte_kind[byte] = (uint8_t)kind;
    }
    grammar->byte_kind_count = kind + 1;
}
