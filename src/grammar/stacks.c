/* stacks - a step takes three passes: each entry's character class is asked what the byte does;
 * where a character is whole, calls and ends of rules are followed to the next characters; what
 * comes out is put in order and given its number. */
#include "grammar/stacks_impl.h"

enum {
    ROWS_MAX_BYTES = 1 << 20, /* of known steps; then all are forgotten */
    COLLECT_MIN_ENTRIES = 2048,
    TABLE_MIN = 64
};

/* --- numbers --- */

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static uint64_t hash_of(const struct stacks *stacks, const struct entry *entries, uint32_t count,
                        bool has_empty)
{
    uint64_t hash = mix(has_empty + UINT64_C(0x9e3779b97f4a7c15));
    for (uint32_t i = 0; i < count; i++)
        hash = mix(hash * 3 + mix(stacks->sets[entries[i].below].hash + entries[i].position));
    return hash;
}

static bool is_same(const struct stacks *stacks, uint32_t number, const struct entry *entries,
                    uint32_t count, bool has_empty)
{
    const struct set *set = &stacks->sets[number];
    return set->count == count && set->has_empty == has_empty &&
           (count == 0 ||
            memcmp(&stacks->entries[set->first], entries, count * sizeof(*entries)) == 0);
}

static void table_put(uint32_t *table, uint32_t capacity, uint64_t hash, uint32_t number)
{
    uint32_t place = (uint32_t)hash & (capacity - 1);
    while (table[place] != 0)
        place = (place + 1) & (capacity - 1);
    table[place] = number;
}

static enum err table_grow(struct stacks *stacks)
{
    uint32_t capacity = stacks->table_capacity ? 2 * stacks->table_capacity : TABLE_MIN;
    uint32_t *table = mem_peer_alloc(capacity * sizeof(*table));
    if (!table)
        return ERR_FULL;
    memset(table, 0, capacity * sizeof(*table));
    for (uint32_t i = 1; i < stacks->set_count; i++)
        table_put(table, capacity, stacks->sets[i].hash, i);
    mem_free(stacks->table);
    stacks->table = table;
    stacks->table_capacity = capacity;
    return ERR_OK;
}

static uint32_t saturating_sum(uint32_t a, uint32_t b)
{
    uint32_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT32_MAX : sum;
}

/* The entries may lie in stacks->found, never in stacks->entries. */
static enum err add_set(struct stacks *stacks, const struct entry *entries, uint32_t count,
                        bool has_empty, uint64_t hash, uint32_t *out_set)
{
    struct set set = {.hash = hash, .count = count, .has_empty = has_empty, .entries = count};
    TRY(GROW(stacks->sets, stacks->set_count, stacks->set_capacity));
    while (stacks->entry_capacity - stacks->entry_count < count) {
        uint32_t full = stacks->entry_capacity;
        TRY(GROW(stacks->entries, full, stacks->entry_capacity));
    }
    if (stacks->set_count >= stacks->table_capacity / 2)
        TRY(table_grow(stacks));
    set.first = stacks->entry_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct set *below = &stacks->sets[entries[i].below];
        set.entries = saturating_sum(set.entries, below->entries);
        if (below->depth + 1 > set.depth)
            set.depth = (uint16_t)(below->depth + 1);
        stacks->entries[stacks->entry_count++] = entries[i];
    }
    *out_set = stacks->set_count++;
    stacks->sets[*out_set] = set;
    if (*out_set != STACKS_DEAD)
        table_put(stacks->table, stacks->table_capacity, hash, *out_set);
    return ERR_OK;
}

/* Entries in order, each position once. */
static enum err number_of(struct stacks *stacks, const struct entry *entries, uint32_t count,
                          bool has_empty, uint32_t *out_set)
{
    uint64_t hash = hash_of(stacks, entries, count, has_empty);
    if (count == 0 && !has_empty) {
        *out_set = STACKS_DEAD;
        return ERR_OK;
    }
    for (uint32_t place = (uint32_t)hash & (stacks->table_capacity - 1); stacks->table[place] != 0;
         place = (place + 1) & (stacks->table_capacity - 1)) {
        if (is_same(stacks, stacks->table[place], entries, count, has_empty)) {
            *out_set = stacks->table[place];
            return ERR_OK;
        }
    }
    return add_set(stacks, entries, count, has_empty, hash, out_set);
}

/* --- one step: what there is to do --- */

static enum err do_work(struct stacks *stacks)
{
    stacks->total_work++;
    return ++stacks->work > STACKS_STEP_WORK_MAX ? ERR_LIMIT : ERR_OK;
}

static uint32_t *task_place(uint32_t *table, uint32_t capacity, const struct task *tasks,
                            struct task task)
{
    uint64_t hash = mix((uint64_t)task.node << 32 | task.below);
    uint32_t place = (uint32_t)hash & (capacity - 1);
    while (table[place] != 0 && (tasks[table[place] - 1].node != task.node ||
                                 tasks[table[place] - 1].below != task.below))
        place = (place + 1) & (capacity - 1);
    return &table[place];
}

static enum err task_table_grow(struct stacks *stacks)
{
    uint32_t capacity = stacks->task_table_capacity ? 2 * stacks->task_table_capacity : TABLE_MIN;
    uint32_t *table = mem_peer_alloc(capacity * sizeof(*table));
    if (!table)
        return ERR_FULL;
    memset(table, 0, capacity * sizeof(*table));
    for (uint32_t i = 0; i < stacks->task_count; i++)
        *task_place(table, capacity, stacks->tasks, stacks->tasks[i]) = i + 1;
    mem_free(stacks->task_table);
    stacks->task_table = table;
    stacks->task_table_capacity = capacity;
    return ERR_OK;
}

static enum err add_task(struct stacks *stacks, uint32_t node, uint32_t below)
{
    struct task task = {node, below};
    if (stacks->task_count >= stacks->task_table_capacity / 2)
        TRY(task_table_grow(stacks));
    uint32_t *place =
        task_place(stacks->task_table, stacks->task_table_capacity, stacks->tasks, task);
    if (*place != 0)
        return ERR_OK;
    TRY(GROW(stacks->tasks, stacks->task_count, stacks->task_capacity));
    stacks->tasks[stacks->task_count++] = task;
    *place = stacks->task_count;
    return do_work(stacks);
}

static enum err add_found(struct stacks *stacks, uint32_t position, uint32_t below)
{
    TRY(GROW(stacks->found, stacks->found_count, stacks->found_capacity));
    stacks->found[stacks->found_count++] = (struct entry){position, below};
    return ERR_OK;
}

/* The last thing that a rule does needs no way back: it goes on where its caller would. So lists
 * that are written by recursion at the end stay flat. */
static enum err follow_call(struct stacks *stacks, const struct node *node, uint32_t below)
{
    uint32_t pushed;
    if (stacks->grammar->nodes[node->next].kind == NODE_RETURN)
        return add_task(stacks, node->arg, below);
    if (stacks->sets[below].depth >= STACKS_DEPTH_MAX)
        return ERR_LIMIT;
    struct entry entry = {position_of(node->next, 0), below};
    TRY(number_of(stacks, &entry, 1, false, &pushed));
    return add_task(stacks, node->arg, pushed);
}

static enum err follow_return(struct stacks *stacks, uint32_t below)
{
    struct set set = stacks->sets[below];
    stacks->found_empty |= set.has_empty;
    for (uint32_t i = 0; i < set.count; i++) {
        struct entry entry = stacks->entries[set.first + i];
        TRY(add_task(stacks, position_node(entry.position), entry.below));
    }
    return ERR_OK;
}

static enum err follow(struct stacks *stacks, struct task task)
{
    const struct grammar *grammar = stacks->grammar;
    const struct node *node = &grammar->nodes[task.node];
    switch (node->kind) {
    case NODE_CHARS:
        return add_found(stacks, position_of(task.node, grammar->classes[node->arg].start),
                         task.below);
    case NODE_SPLIT:
        TRY(add_task(stacks, node->arg, task.below));
        return add_task(stacks, node->next, task.below);
    case NODE_CALL:
        return follow_call(stacks, node, task.below);
    default:
        return follow_return(stacks, task.below);
    }
}

/* --- one step: what comes out --- */

/* In place, what is equal in the order it had: in which order sets are joined must not depend on
 * whose qsort() it is (rule 1). Few are more than a handful. */
static void insert_sorted(struct entry *entries, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct entry entry = entries[i];
        uint32_t place = i;
        for (; place > 0 && entries[place - 1].position > entry.position; place--)
            entries[place] = entries[place - 1];
        entries[place] = entry;
    }
}

static void sort_entries(struct entry *entries, struct entry *spare, uint32_t count)
{
    if (count <= 16) {
        insert_sorted(entries, count);
        return;
    }
    uint32_t half = count / 2, i = 0, j = half;
    sort_entries(entries, spare, half);
    sort_entries(entries + half, spare, count - half);
    for (uint32_t k = 0; k < count; k++) {
        bool takes_left = j == count || (i < half && entries[i].position <= entries[j].position);
        spare[k] = takes_left ? entries[i++] : entries[j++];
    }
    memcpy(entries, spare, count * sizeof(*entries));
}

static enum err unite(struct stacks *stacks, uint32_t a, uint32_t b, uint32_t *out_set);

/* Appends the entries of both, in order and each position once, to stacks->found. */
static enum err merge(struct stacks *stacks, struct set a, struct set b)
{
    for (uint32_t i = 0, j = 0; i < a.count || j < b.count;) {
        struct entry left = {UINT32_MAX, 0}, right = {UINT32_MAX, 0};
        TRY(do_work(stacks));
        if (i < a.count)
            left = stacks->entries[a.first + i];
        if (j < b.count)
            right = stacks->entries[b.first + j];
        i += left.position <= right.position;
        j += right.position <= left.position;
        if (left.position == right.position)
            TRY(unite(stacks, left.below, right.below, &left.below));
        TRY(add_found(stacks, left.position <= right.position ? left.position : right.position,
                      left.position <= right.position ? left.below : right.below));
    }
    return ERR_OK;
}

/* The set of the stacks of both. Recursion is as deep as the stacks, at most. */
static enum err unite(struct stacks *stacks, uint32_t a, uint32_t b, uint32_t *out_set)
{
    if (a == b) {
        *out_set = a;
        return ERR_OK;
    }
    uint32_t first = stacks->found_count;
    enum err err = merge(stacks, stacks->sets[a], stacks->sets[b]);
    if (err == ERR_OK)
        err = number_of(stacks, stacks->found + first, stacks->found_count - first,
                        stacks->sets[a].has_empty || stacks->sets[b].has_empty, out_set);
    stacks->found_count = first;
    return err;
}

/* Sorts what was found and joins what is at the same position. */
static enum err join_found(struct stacks *stacks)
{
    uint32_t joined = 0, count = stacks->found_count;
    if (count == 0)
        return ERR_OK;
    while (stacks->found_capacity < 2 * count) { /* the second half is room for sorting */
        uint32_t full = stacks->found_capacity;
        TRY(GROW(stacks->found, full, stacks->found_capacity));
    }
    sort_entries(stacks->found, stacks->found + count, count);
    for (uint32_t i = 0; i < count; i++) {
        struct entry entry = stacks->found[i];
        if (joined > 0 && stacks->found[joined - 1].position == entry.position) {
            uint32_t both;
            TRY(unite(stacks, stacks->found[joined - 1].below, entry.below, &both));
            stacks->found[joined - 1].below = both;
        } else {
            stacks->found[joined++] = entry;
        }
    }
    stacks->found_count = joined;
    return ERR_OK;
}

static enum err mark_all(struct stacks *stacks)
{
    if (stacks->mark_capacity < stacks->set_count || stacks->mark == UINT32_MAX) {
        uint32_t *marks = mem_peer_grow(stacks->marks, stacks->set_capacity * sizeof(*marks));
        if (!marks)
            return ERR_FULL;
        memset(marks, 0, stacks->set_capacity * sizeof(*marks));
        stacks->marks = marks;
        stacks->mark_capacity = stacks->set_capacity;
        stacks->mark = 0;
    }
    stacks->mark++;
    return ERR_OK;
}

/* Stops counting where it is too much; so deep at most as the stacks are. */
static void count_entries(struct stacks *stacks, uint32_t number, uint32_t *count)
{
    struct set set = stacks->sets[number];
    if (stacks->marks[number] == stacks->mark || *count > STACKS_ENTRIES_MAX)
        return;
    stacks->marks[number] = stacks->mark;
    *count += set.count;
    for (uint32_t i = 0; i < set.count; i++)
        count_entries(stacks, stacks->entries[set.first + i].below, count);
}

/* The sum that a set carries counts what is shared as often as it is. Nearly always that is few
 * enough; else they are really counted. */
static enum err check_size(struct stacks *stacks, uint32_t set)
{
    if (stacks->sets[set].entries <= STACKS_ENTRIES_MAX)
        return ERR_OK;
    uint32_t count = 0;
    TRY(mark_all(stacks));
    count_entries(stacks, set, &count);
    return count > STACKS_ENTRIES_MAX ? ERR_LIMIT : ERR_OK;
}

static void begin_step(struct stacks *stacks)
{
    /* One by one, for the table may be large from a step long ago; the last first, so that what was
     * put behind another one is still found. */
    while (stacks->task_count > 0) {
        *task_place(stacks->task_table, stacks->task_table_capacity, stacks->tasks,
                    stacks->tasks[stacks->task_count - 1]) = 0;
        stacks->task_count--;
    }
    stacks->found_count = stacks->work = 0;
    stacks->found_empty = false;
}

static enum err end_step(struct stacks *stacks, uint32_t *out_set)
{
    uint32_t set;
    for (uint32_t i = 0; i < stacks->task_count; i++)
        TRY(follow(stacks, stacks->tasks[i]));
    TRY(join_found(stacks));
    TRY(number_of(stacks, stacks->found, stacks->found_count, stacks->found_empty, &set));
    TRY(check_size(stacks, set));
    *out_set = set;
    return ERR_OK;
}

enum err stacks_step(struct stacks *stacks, uint32_t number, uint8_t byte, uint32_t *out_set)
{
    const struct grammar *grammar = stacks->grammar;
    struct set set = stacks->sets[number];
    begin_step(stacks);
    stacks->total_work += set.count;
    for (uint32_t i = 0; i < set.count; i++) {
        struct entry entry = stacks->entries[set.first + i];
        uint32_t at = position_node(entry.position);
        const struct node *node = &grammar->nodes[at];
        uint32_t state = char_step(grammar, node->arg, position_state(entry.position), byte);
        if (state == CHAR_DONE)
            TRY(add_task(stacks, node->next, entry.below));
        else if (state != CHAR_DEAD)
            TRY(add_found(stacks, position_of(at, state), entry.below));
    }
    return end_step(stacks, out_set);
}

/* --- known steps --- */

static void forget_rows(struct stacks *stacks)
{
    for (uint32_t i = 0; i < stacks->set_count; i++)
        stacks->sets[i].row = 0;
    stacks->row_count = 0;
}

static enum err add_row(struct stacks *stacks, struct set *set)
{
    size_t row_bytes = stacks->grammar->byte_kind_count * sizeof(uint32_t);
    if (stacks->row_count == stacks->row_capacity) {
        uint32_t capacity = stacks->row_capacity ? 2 * stacks->row_capacity : 8;
        if (capacity * row_bytes > ROWS_MAX_BYTES) {
            forget_rows(stacks);
        } else {
            uint32_t *rows = mem_peer_grow(stacks->rows, capacity * row_bytes);
            if (!rows)
                return ERR_FULL;
            stacks->rows = rows;
            stacks->row_capacity = capacity;
        }
    }
    memset(stacks->rows + stacks->row_count * stacks->grammar->byte_kind_count, 0, row_bytes);
    set->row = ++stacks->row_count;
    return ERR_OK;
}

enum err stacks_learn_step(struct stacks *stacks, uint32_t number, uint8_t byte, uint32_t *out_set)
{
    const struct grammar *grammar = stacks->grammar;
    uint32_t kind = grammar->byte_kind[byte], step;
    enum err err = stacks_step(stacks, number, byte, &step);
    if (err == ERR_LIMIT)
        step = STACKS_DEAD;
    else if (err != ERR_OK)
        return err;
    struct set *set = &stacks->sets[number];
    if (set->row == 0)
        TRY(add_row(stacks, set));
    stacks->rows[(set->row - 1) * grammar->byte_kind_count + kind] = step + 1;
    *out_set = step;
    return ERR_OK;
}

/* --- questions --- */

bool stacks_can_end(const struct stacks *stacks, uint32_t set)
{
    return stacks->sets[set].has_empty;
}

uint64_t stacks_hash(const struct stacks *stacks, uint32_t set)
{
    return stacks->sets[set].hash;
}

size_t stacks_bytes(const struct stacks *stacks)
{
    return sizeof(*stacks) + stacks->set_capacity * sizeof(*stacks->sets) +
           (stacks->entry_capacity + stacks->found_capacity) * sizeof(struct entry) +
           (stacks->table_capacity + stacks->task_table_capacity + stacks->mark_capacity) *
               sizeof(uint32_t) +
           stacks->task_capacity * sizeof(*stacks->tasks) +
           stacks->row_capacity * stacks->grammar->byte_kind_count * sizeof(uint32_t);
}

/* --- life --- */

static enum err add_first_sets(struct stacks *stacks)
{
    uint32_t dead, below;
    TRY(add_set(stacks, NULL, 0, false, hash_of(stacks, NULL, 0, false), &dead));
    TRY(add_set(stacks, NULL, 0, true, hash_of(stacks, NULL, 0, true), &below));
    ASSERT(dead == STACKS_DEAD && below == STACKS_BELOW);
    return ERR_OK;
}

static enum err begin(struct stacks *stacks, uint32_t *out_start)
{
    TRY(add_first_sets(stacks));
    TRY(add_task(stacks, stacks->grammar->start, STACKS_BELOW));
    return end_step(stacks, out_start);
}

enum err stacks_new(const struct grammar *grammar, struct stacks **out_stacks, uint32_t *out_start)
{
    struct stacks *stacks = mem_alloc(sizeof(*stacks));
    stacks->grammar = grammar;
    enum err err = begin(stacks, out_start);
    if (err != ERR_OK) {
        stacks_free(stacks);
        return err;
    }
    *out_stacks = stacks;
    return ERR_OK;
}

void stacks_free(struct stacks *stacks)
{
    if (!stacks)
        return;
    mem_free(stacks->sets);
    mem_free(stacks->entries);
    mem_free(stacks->table);
    mem_free(stacks->rows);
    mem_free(stacks->tasks);
    mem_free(stacks->task_table);
    mem_free(stacks->found);
    mem_free(stacks->marks);
    mem_free(stacks);
}

/* --- copies --- */

/* Copies `number` with all below it, if it has not been: moved[] has its number there, and one. As
 * deep as the stacks are. */
static enum err copy_set(const struct stacks *from, struct stacks *to, uint32_t *moved,
                         uint32_t number)
{
    struct set set = from->sets[number];
    if (moved[number] != 0)
        return ERR_OK;
    for (uint32_t i = 0; i < set.count; i++)
        TRY(copy_set(from, to, moved, from->entries[set.first + i].below));
    uint32_t first = to->found_count, copy;
    for (uint32_t i = 0; i < set.count; i++) {
        struct entry entry = from->entries[set.first + i];
        TRY(add_found(to, entry.position, moved[entry.below] - 1));
    }
    TRY(add_set(to, to->found + first, set.count, set.has_empty, set.hash, &copy));
    to->found_count = first;
    moved[number] = copy + 1;
    return ERR_OK;
}

/* `to` is new and has nothing; roots[] become its numbers. */
static enum err copy_roots(const struct stacks *from, struct stacks *to, uint32_t *roots,
                           size_t count)
{
    uint32_t *moved = mem_peer_alloc(from->set_count * sizeof(*moved));
    enum err err = moved ? add_first_sets(to) : ERR_FULL;
    if (err == ERR_OK) {
        memset(moved, 0, from->set_count * sizeof(*moved));
        moved[STACKS_DEAD] = STACKS_DEAD + 1;
        moved[STACKS_BELOW] = STACKS_BELOW + 1;
    }
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = copy_set(from, to, moved, roots[i]);
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        roots[i] = moved[roots[i]] - 1;
    to->collected_entries = to->entry_count;
    mem_free(moved);
    return err;
}

enum err stacks_clone(const struct stacks *stacks, uint32_t set, struct stacks **out_stacks,
                      uint32_t *out_set)
{
    struct stacks *clone = mem_alloc(sizeof(*clone));
    clone->grammar = stacks->grammar;
    enum err err = copy_roots(stacks, clone, &set, 1);
    if (err != ERR_OK) {
        stacks_free(clone);
        return err;
    }
    *out_set = set;
    *out_stacks = clone;
    return ERR_OK;
}

bool stacks_want_collect(const struct stacks *stacks)
{
    return stacks->entry_count > COLLECT_MIN_ENTRIES + 2 * stacks->collected_entries;
}

enum err stacks_collect(struct stacks *stacks, uint32_t *roots, size_t count)
{
    struct stacks *fresh = mem_alloc(sizeof(*fresh));
    fresh->grammar = stacks->grammar;
    fresh->total_work = stacks->total_work;
    enum err err = copy_roots(stacks, fresh, roots, count);
    if (err == ERR_OK) {
        struct stacks old = *stacks;
        *stacks = *fresh;
        *fresh = old;
    }
    stacks_free(fresh);
    return err;
}
