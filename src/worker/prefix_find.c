/* prefix_find - what to do with a prompt, given who holds what: every way is worked out and the one
 * that saves most time is taken. */
#include "worker/prefix_tree_impl.h"

struct search {
    struct prefix_tree *tree;
    const struct prefix_prompt *prompt;
    struct match match;
    uint32_t most; /* rule 2 */
    struct prefix_answer best;
    struct node *best_blob;
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* --- how much of the prompt the content of a node begins with --- */

static uint32_t common_tokens(const struct match *match, const struct node *node)
{
    const struct node *end = prefix_match_end(match), *other = node;
    while (end != other) {
        if (!end->parent && !other->parent)
            return 0; /* of another scope */
        if (end->depth > other->depth)
            end = end->parent;
        else
            other = other->parent;
    }
    return end == match->next ? match->tokens : end->depth;
}

/* How many of its tokens can be used (rule 3). */
static uint32_t usable_tokens(const struct search *search, const struct node *node)
{
    uint32_t common = common_tokens(&search->match, node);
    if (search->tree->options.can_cut)
        return min_u32(common, search->most);
    return common == node->depth && common <= search->most ? common : 0;
}

/* --- what a slot's content is worth --- */

static uint32_t covered_tokens(const struct node *node) /* saved, or held by another slot, too */
{
    if (node->slots > 1)
        return node->depth;
    while (node->parent && !node->blob)
        node = node->parent;
    return node->depth;
}

static uint32_t lost_tokens(const struct held *held, uint32_t kept)
{
    uint32_t covered = covered_tokens(held->node);
    uint32_t safe = kept > covered ? kept : covered;
    return held->node->depth > safe ? held->node->depth - safe : 0;
}

static double loss_us(const struct prefix_tree *tree, const struct held *held, uint32_t kept)
{
    double age = (double)(tree->prompts - held->used_at);
    return lost_tokens(held, kept) * tree->options.price.recompute_us / (2 + age);
}

enum { KEPT_PART = 4 };

/* Rule 6: is what is lost of the slot worth what saving (and maybe restoring) all of it takes? */
static bool deserves_saving(const struct prefix_tree *tree, const struct held *held, uint32_t kept)
{
    const struct prefix_price *price = &tree->options.price;
    double bytes = tree->bytes_per_token * held->node->depth;
    return tree->options.blob_bytes_max > 0 && bytes <= (double)tree->options.blob_bytes_max &&
           lost_tokens(held, kept) * KEPT_PART >= tree->options.save_tokens &&
           loss_us(tree, held, kept) > bytes * (price->save_us + price->restore_us);
}

/* Rule 9. */
static double neighbours_us(const struct prefix_tree *tree, uint32_t slot)
{
    uint32_t busy = slot > 0 && tree->slots[slot - 1].is_busy;
    busy += slot + 1 < tree->options.slots && tree->slots[slot + 1].is_busy;
    return busy * tree->options.price.gap_us * tree->options.price.answer_tokens;
}

/* The slot that costs least to take, for its content and where it lies: free ones that lie alone
 * cost nothing, and one next to slots that run is worth something. */
static uint32_t cheapest_slot(const struct prefix_tree *tree, double *out_loss_us)
{
    uint32_t best = PREFIX_NO_SLOT;
    bool best_is_free = false;
    for (uint32_t slot = 0; slot < tree->options.slots; slot++) {
        const struct held *held = &tree->slots[slot];
        if (held->is_busy)
            continue;
        double us = loss_us(tree, held, 0) - neighbours_us(tree, slot);
        bool is_free = held->node->depth == 0;
        bool is_better = us < *out_loss_us || (us <= *out_loss_us && is_free && !best_is_free);
        if (best == PREFIX_NO_SLOT || is_better) {
            best = slot;
            best_is_free = is_free;
            *out_loss_us = us;
        }
        if (is_free && tree->options.price.gap_us == 0)
            break; /* there is none better */
    }
    return best;
}

/* --- the ways --- */

static void consider(struct search *search, const struct prefix_answer *way, struct node *blob)
{
    if (way->saves_us <= search->best.saves_us && search->best.slot != PREFIX_NO_SLOT)
        return; /* an earlier one is as good */
    search->best = *way;
    search->best_blob = blob;
}

static double spared_us(const struct search *search, uint32_t tokens)
{
    return tokens * search->tree->options.price.recompute_us;
}

static void consider_cuts(struct search *search)
{
    const struct prefix_tree *tree = search->tree;
    for (uint32_t slot = 0; slot < tree->options.slots; slot++) {
        const struct held *held = &tree->slots[slot];
        uint32_t tokens =
            held->is_busy || !held->node->parent ? 0 : usable_tokens(search, held->node);
        if (tokens == 0)
            continue;
        struct prefix_answer way = {.how = PREFIX_CUT,
                                    .tokens = tokens,
                                    .slot = slot,
                                    .saves_us = spared_us(search, tokens) -
                                                loss_us(tree, held, tokens) +
                                                neighbours_us(tree, slot)};
        consider(search, &way, NULL);
    }
}

static void consider_blob(struct search *search, struct node *node, uint32_t slot, double loss)
{
    const struct prefix_price *price = &search->tree->options.price;
    bool is_here = node->blob != NULL;
    size_t bytes = is_here ? node->blob_bytes : node->disk_bytes;
    uint32_t tokens = bytes > 0 ? usable_tokens(search, node) : 0;
    if (tokens == 0 || (!is_here && search->prompt->without_disk))
        return;
    double byte_us = price->restore_us + (is_here ? 0 : price->fetch_us);
    struct prefix_answer way = {.how = is_here ? PREFIX_RESTORE : PREFIX_FETCH,
                                .tokens = tokens,
                                .slot = slot,
                                .blob = slice_of(node->blob, node->blob_bytes),
                                .blob_count = node->depth,
                                .saves_us =
                                    spared_us(search, tokens) - (double)bytes * byte_us - loss};
    consider(search, &way, node);
}

static struct node *child_of(const struct node *node)
{
    return list_is_empty(&node->children) ? NULL
                                          : CONTAINER_OF(node->children.next, struct node, sibling);
}

/* The node after `node` in depth-first order, below `top`. */
static struct node *next_below(struct node *node, const struct node *top)
{
    struct node *child = child_of(node);
    if (child)
        return child;
    while (node != top && node->sibling.next == &node->parent->children)
        node = node->parent;
    return node == top ? NULL : CONTAINER_OF(node->sibling.next, struct node, sibling);
}

/* Those on the way, the longest first; then some of those that go on where the prompt left the way:
 * they hold more than is needed, and are cut. */
static void consider_blobs(struct search *search, uint32_t slot, double loss)
{
    for (struct node *node = search->match.node; node->parent; node = node->parent)
        consider_blob(search, node, slot, loss);
    if (!search->tree->options.can_cut)
        return;
    struct node *top = prefix_match_end(&search->match), *node = top;
    for (int seen = 0; node && top->parent && seen < PREFIX_SEARCH_NODES; seen++) {
        if (node != search->match.node)
            consider_blob(search, node, slot, loss);
        node = next_below(node, top);
    }
}

static void consider_copies(struct search *search, uint32_t to, double loss)
{
    const struct prefix_tree *tree = search->tree;
    for (uint32_t slot = 0; slot < tree->options.slots && tree->options.can_cut; slot++) {
        const struct held *held = &tree->slots[slot];
        if (!held->is_busy || held->is_filling || !held->node->parent)
            continue;
        uint32_t tokens = usable_tokens(search, held->node);
        struct prefix_answer way = {.how = PREFIX_COPY,
                                    .tokens = tokens,
                                    .slot = to,
                                    .from = slot,
                                    .saves_us = spared_us(search, tokens) -
                                                tree->options.price.copy_us - loss};
        if (tokens > tree->options.context_tokens / 2)
            consider(search, &way, NULL);
    }
}

static void consider_all(struct search *search)
{
    double loss = 0;
    uint32_t slot = cheapest_slot(search->tree, &loss);
    search->best = (struct prefix_answer){.slot = PREFIX_NO_SLOT};
    if (slot == PREFIX_NO_SLOT)
        return;
    consider_cuts(search);
    consider_blobs(search, slot, loss);
    consider_copies(search, slot, loss);
    struct prefix_answer nothing = {.how = PREFIX_NOTHING, .slot = slot, .saves_us = -loss};
    consider(search, &nothing, NULL);
}

/* Of a prompt that choices share, all that can be had of it is worth waiting for, if little else is
 * put in with it: n choices of 20 tokens would be 20 * n rows (docs/design/026). */
static bool is_its_like(const struct search *search, const struct node *filling, uint32_t tokens)
{
    return search->prompt->is_shared && tokens == search->most &&
           filling->depth - tokens < search->tree->options.save_tokens;
}

/* Its prompt is not in yet, so the whole of it need not fit where a model cannot cut: it can be
 * saved on its way.
 */
static void find_whom_to_wait_for(const struct search *search, struct prefix_answer *answer)
{
    const struct prefix_options *options = &search->tree->options;
    uint32_t most = answer->tokens + (options->save_tokens ? options->save_tokens - 1 : 0);
    answer->wait_slot = PREFIX_NO_SLOT;
    for (uint32_t slot = 0; slot < options->slots && options->blob_bytes_max > 0; slot++) {
        const struct held *held = &search->tree->slots[slot];
        if (!held->is_filling)
            continue;
        uint32_t tokens = min_u32(common_tokens(&search->match, held->node), search->most);
        bool is_like = tokens > answer->tokens && is_its_like(search, held->node, tokens);
        if (tokens > most || (is_like && answer->wait_slot == PREFIX_NO_SLOT)) {
            answer->wait_slot = slot;
            answer->wait_tokens = most = tokens;
        }
    }
}

/* --- what to save on the way (rule 6) --- */

static uint32_t seen_before(const struct search *search)
{
    const struct match *match = &search->match;
    if (match->next && match->next->requests > 0)
        return match->tokens;
    const struct node *node = match->node;
    while (node->parent && node->requests == 0)
        node = node->parent;
    return node->depth;
}

/* Does a blob on the way make another one here a waste? One that goes on behind it can be cut. */
static bool is_served(const struct search *search, uint32_t tokens)
{
    uint32_t save_tokens = search->tree->options.save_tokens;
    for (const struct node *node = search->match.node; node->parent; node = node->parent) {
        bool is_near = node->depth + save_tokens > tokens &&
                       (node->depth <= tokens || search->tree->options.can_cut);
        if (node->blob && is_near)
            return true;
    }
    return false;
}

static void add_save(const struct search *search, struct prefix_answer *answer, uint32_t tokens)
{
    const struct prefix_options *options = &search->tree->options;
    uint32_t before = answer->save_count ? answer->save_at[answer->save_count - 1] : 0;
    if (options->blob_bytes_max == 0 || tokens == 0 || tokens > search->most ||
        tokens < answer->tokens || tokens < before + options->save_tokens ||
        is_served(search, tokens))
        return;
    answer->save_at[answer->save_count++] = tokens;
}

static void add_saves(const struct search *search, struct prefix_answer *answer)
{
    uint32_t seen = min_u32(seen_before(search), search->most);
    uint32_t system = search->prompt->system_tokens;
    add_save(search, answer, min_u32(seen, system));
    add_save(search, answer, seen > system ? seen : system);
}

/* --- --- */

struct prefix_answer prefix_tree_find(struct prefix_tree *tree, const struct prefix_prompt *prompt)
{
    ASSERT(prompt->count >= 1);
    prefix_tree_release(tree);
    struct search search = {.tree = tree,
                            .prompt = prompt,
                            .match = prefix_match(tree, prompt->scope, prompt->ids, prompt->count),
                            .most = prompt->count - 1};
    consider_all(&search);
    struct prefix_answer *answer = &search.best;
    find_whom_to_wait_for(&search, answer);
    if (answer->slot == PREFIX_NO_SLOT)
        return *answer;
    const struct held *held = &tree->slots[answer->slot];
    answer->slot_kept = deserves_saving(tree, held, answer->how == PREFIX_CUT ? answer->tokens : 0);
    add_saves(&search, answer);
    if (search.best_blob)
        prefix_tree_hold(tree, search.best_blob);
    return *answer;
}
