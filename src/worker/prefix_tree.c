/* prefix_tree - nodes, what is marked at them, and what is forgotten when there is no room. */
#include "worker/prefix_tree_impl.h"

#include "base/mem.h"

struct prefix_options prefix_options_default(uint32_t slots, uint32_t context_tokens)
{
    return (struct prefix_options){
        .slots = slots,
        .context_tokens = context_tokens,
        .can_cut = true,
        .blob_bytes_max = (size_t)1 << 30,
        .ids_max = (size_t)4 << 20,
        .nodes_max = 32768,
        .save_tokens = 64,
        .price = {.recompute_us = 1000, .restore_us = 0.001, .save_us = 0.001, .fetch_us = 0.005},
    };
}

/* --- edges --- */

static uint64_t edge_key(const struct prefix_tree *tree, const struct node *parent, token_id first)
{
    return (uint64_t)(parent - tree->nodes) << 32 | (uint32_t)first;
}

static void attach(struct prefix_tree *tree, struct node *node, struct node *parent)
{
    node->parent = parent;
    list_push_back(&parent->children, &node->sibling);
    /* As many edges as nodes at most: never full. */
    ASSERT(map_put(tree->edges, edge_key(tree, parent, node->ids[0]), node) == ERR_OK);
}

static void detach(struct prefix_tree *tree, struct node *node)
{
    ASSERT(map_remove(tree->edges, edge_key(tree, node->parent, node->ids[0])) == node);
    list_remove(&node->sibling);
}

static uint32_t equal_ids(const token_id *a, const token_id *b, uint32_t count)
{
    uint32_t equal = 0;
    while (equal < count && a[equal] == b[equal])
        equal++;
    return equal;
}

struct match prefix_match(const struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                          uint32_t count)
{
    struct node *root = map_get(tree->scopes, scope);
    struct match match = {.node = root ? root : tree->nodes};
    while (match.tokens < count) {
        struct node *next = map_get(tree->edges, edge_key(tree, match.node, ids[match.tokens]));
        if (!next)
            break;
        uint32_t left = count - match.tokens;
        uint32_t most = next->id_count < left ? next->id_count : left;
        uint32_t equal = equal_ids(next->ids, ids + match.tokens, most);
        match.tokens += equal;
        if (equal < next->id_count) {
            match.next = next;
            break;
        }
        match.node = next;
    }
    return match;
}

/* --- nodes --- */

static void init_node(struct node *node)
{
    *node = (struct node){0};
    list_init(&node->children);
    list_init(&node->sibling);
    list_init(&node->unused);
    list_init(&node->saved);
}

static struct node *take_root(struct prefix_tree *tree, uint64_t scope)
{
    ASSERT(tree->free_count > 0);
    struct node *node = &tree->nodes[tree->free_nodes[--tree->free_count]];
    init_node(node);
    node->scope = scope;
    ASSERT(map_put(tree->scopes, scope, node) == ERR_OK); /* not more than nodes */
    return node;
}

static struct node *take_node(struct prefix_tree *tree, const token_id *ids, uint32_t id_count)
{
    ASSERT(tree->free_count > 0 && id_count > 0);
    struct node *node = &tree->nodes[tree->free_nodes[--tree->free_count]];
    init_node(node);
    node->id_count = id_count;
    node->ids = mem_array(id_count, sizeof(*ids));
    memcpy(node->ids, ids, id_count * sizeof(*ids));
    tree->ids += id_count;
    return node;
}

static void free_node(struct prefix_tree *tree, struct node *node)
{
    list_remove(&node->unused);
    tree->ids -= node->id_count;
    mem_free(node->ids);
    node->ids = NULL;
    tree->free_nodes[tree->free_count++] = (uint32_t)(node - tree->nodes);
}

static bool is_held(const struct prefix_tree *tree, const struct node *node)
{
    return node->slots > 0 || node->blob || node == tree->answer;
}

/* A node that tells nothing its only child does not: the child takes its edge over. */
static void merge_with_child(struct prefix_tree *tree, struct node *node)
{
    struct node *child = CONTAINER_OF(node->children.next, struct node, sibling);
    struct node *parent = node->parent;
    uint32_t count = node->id_count + child->id_count;
    token_id *ids = mem_array(count, sizeof(*ids));
    memcpy(ids, node->ids, node->id_count * sizeof(*ids));
    memcpy(ids + node->id_count, child->ids, child->id_count * sizeof(*ids));
    detach(tree, child);
    detach(tree, node);
    mem_free(child->ids);
    tree->ids += node->id_count; /* given back by free_node() */
    child->ids = ids;
    child->id_count = count;
    free_node(tree, node);
    attach(tree, child, parent);
}

static void remove_leaf(struct prefix_tree *tree, struct node *node)
{
    tree->counts.on_disk -= node->disk_bytes > 0;
    detach(tree, node);
    free_node(tree, node);
}

/* Something was taken off the node: is it, and are those above it, still worth their memory? */
static void tidy(struct prefix_tree *tree, struct node *node)
{
    while (node->parent && !is_held(tree, node)) {
        struct node *parent = node->parent;
        bool tells = node->requests > 0 || node->disk_bytes > 0;
        if (list_is_empty(&node->children)) {
            if (tells) {
                if (!list_is_linked(&node->unused))
                    list_push_back(&tree->unused, &node->unused);
                return;
            }
            remove_leaf(tree, node);
            node = parent;
            continue;
        }
        const struct node *child = CONTAINER_OF(node->children.next, struct node, sibling);
        bool is_only = node->children.next == node->children.prev;
        if (is_only && node->disk_bytes == 0 && child->requests == node->requests)
            merge_with_child(tree, node);
        return;
    }
    bool is_root = !node->parent && node != tree->nodes;
    if (is_root && node->slots == 0 && list_is_empty(&node->children)) { /* rule 8 */
        ASSERT(map_remove(tree->scopes, node->scope) == node);
        free_node(tree, node);
    }
}

/* Rule 4. Its parent may become a leaf, and is young again then: what several prompts had in common
 * is remembered longer than they are. */
static bool forget_oldest(struct prefix_tree *tree)
{
    if (list_is_empty(&tree->unused))
        return false;
    struct node *node = CONTAINER_OF(tree->unused.next, struct node, unused);
    struct node *parent = node->parent;
    remove_leaf(tree, node);
    tree->counts.prompts_forgotten++;
    tidy(tree, parent);
    return true;
}

static bool make_room(struct prefix_tree *tree, uint32_t nodes, uint32_t ids)
{
    while (tree->free_count < nodes || tree->ids + ids > tree->options.ids_max) {
        if (!forget_oldest(tree))
            return false;
    }
    return true;
}

/* Ends an edge in the middle: the new node is above `node`, which keeps what is marked at it. */
static struct node *split(struct prefix_tree *tree, struct node *node, uint32_t at)
{
    struct node *parent = node->parent;
    detach(tree, node);
    struct node *upper = take_node(tree, node->ids, at);
    tree->ids -= at;
    node->id_count -= at;
    memmove(node->ids, node->ids + at, node->id_count * sizeof(*node->ids));
    node->ids = mem_grow(node->ids, node->id_count * sizeof(*node->ids)); /* gives back the rest */
    upper->depth = node->depth - node->id_count;
    upper->requests = node->requests;
    attach(tree, upper, parent);
    attach(tree, node, upper);
    return upper;
}

/* The node of exactly these ids, made if need be; NULL: no room, and nothing has changed but what
 * was forgotten. */
static struct node *insert(struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                           uint32_t count)
{
    ASSERT_MSG(count <= tree->options.context_tokens, "%u ids of %u", count,
               tree->options.context_tokens);
    if (count == 0)
        return tree->nodes;
    struct match match = prefix_match(tree, scope, ids, count);
    struct node *end = prefix_match_end(&match);
    if (match.tokens == count && !match.next)
        return end;
    list_remove(&end->unused);
    end->slots++; /* stays while room is made; so does all above it */
    bool has_room = make_room(tree, 2, count - match.tokens); /* a fork or a root, and a leaf */
    end->slots--;
    match = prefix_match(tree, scope, ids, count); /* nodes above may have become one */
    if (!has_room) {
        tidy(tree, end);
        return NULL;
    }
    struct node *node = match.node == tree->nodes ? take_root(tree, scope) : match.node;
    if (match.next)
        node = split(tree, match.next, match.tokens - match.node->depth);
    if (match.tokens < count) {
        struct node *leaf = take_node(tree, ids + match.tokens, count - match.tokens);
        leaf->depth = count;
        attach(tree, leaf, node);
        node = leaf;
    }
    if (match.next)
        tidy(tree, match.next); /* back on the list of unused ones, if it is a leaf */
    return node;
}

/* --- life --- */

struct prefix_tree *prefix_tree_new(const struct prefix_options *options)
{
    ASSERT(options->slots >= 1 && options->slots <= PREFIX_SLOTS_MAX);
    ASSERT(options->nodes_max >= 4 && options->nodes_max < UINT32_MAX);
    struct prefix_tree *tree = mem_alloc(sizeof(*tree));
    tree->options = *options;
    tree->nodes =
        mem_array(options->nodes_max, sizeof(*tree->nodes)); /* touched as they are used */
    tree->free_nodes = mem_array(options->nodes_max, sizeof(*tree->free_nodes));
    for (size_t i = options->nodes_max - 1; i > 0; i--)
        tree->free_nodes[tree->free_count++] = (uint32_t)i;
    tree->scopes = map_new(options->nodes_max);
    tree->edges = map_new(options->nodes_max);
    tree->slots = mem_array(options->slots, sizeof(*tree->slots));
    tree->scratch = mem_array(options->context_tokens, sizeof(*tree->scratch));
    list_init(&tree->unused);
    list_init(&tree->saved);
    init_node(tree->nodes);
    for (uint32_t slot = 0; slot < options->slots; slot++)
        tree->slots[slot].node = tree->nodes;
    tree->nodes->slots = options->slots;
    return tree;
}

void prefix_tree_free(struct prefix_tree *tree)
{
    if (!tree)
        return;
    size_t cursor = 0;
    uint64_t key;
    void *value;
    while (map_next(tree->edges, &cursor, &key, &value)) {
        struct node *node = value;
        mem_free(node->ids);
        mem_free(node->blob);
    }
    map_free(tree->edges);
    map_free(tree->scopes);
    mem_free(tree->nodes);
    mem_free(tree->free_nodes);
    mem_free(tree->slots);
    mem_free(tree->scratch);
    mem_free(tree);
}

void prefix_tree_set_price(struct prefix_tree *tree, const struct prefix_price *price)
{
    tree->options.price = *price;
}

/* --- prompts --- */

void prefix_tree_note(struct prefix_tree *tree, const struct prefix_prompt *prompt)
{
    struct node *node = insert(tree, prompt->scope, prompt->ids, prompt->count);
    tree->prompts++;
    if (!node) {
        tree->counts.prompts_forgotten++;
        return;
    }
    for (struct node *up = node; up; up = up->parent)
        up->requests += up->requests < UINT32_MAX;
    list_remove(&node->unused);
    tidy(tree, node); /* a leaf that nobody holds goes to the young end of the list */
}

/* --- slots --- */

static struct held *slot_set(struct prefix_tree *tree, uint64_t scope, uint32_t slot,
                             const token_id *ids, uint32_t count)
{
    ASSERT(slot < tree->options.slots);
    struct held *held = &tree->slots[slot];
    struct node *before = held->node, *node = insert(tree, scope, ids, count);
    if (!node) { /* then nobody can make use of it, which is never wrong */
        tree->counts.prompts_forgotten++;
        node = tree->nodes;
    }
    list_remove(&node->unused);
    node->slots++;
    before->slots--;
    *held = (struct held){.node = node, .used_at = tree->prompts};
    tidy(tree, before);
    return held;
}

void prefix_tree_slot_filling(struct prefix_tree *tree, uint64_t scope, uint32_t slot,
                              const token_id *ids, uint32_t count)
{
    struct held *held = slot_set(tree, scope, slot, ids, count);
    held->is_busy = held->is_filling = true;
}

void prefix_tree_slot_busy(struct prefix_tree *tree, uint64_t scope, uint32_t slot,
                           const token_id *ids, uint32_t count)
{
    slot_set(tree, scope, slot, ids, count)->is_busy = true;
}

void prefix_tree_slot_idle(struct prefix_tree *tree, uint64_t scope, uint32_t slot,
                           const token_id *ids, uint32_t count)
{
    slot_set(tree, scope, slot, ids, count);
}

uint32_t prefix_tree_slot_tokens(const struct prefix_tree *tree, uint32_t slot)
{
    return tree->slots[slot].node->depth;
}

/* --- blobs --- */

static void set_worth(struct prefix_tree *tree, struct node *node)
{
    const struct prefix_price *price = &tree->options.price;
    double spared_us =
        node->depth * price->recompute_us - (double)node->blob_bytes * price->restore_us;
    node->worth = tree->inflation + node->uses * spared_us / (double)node->blob_bytes;
}

/* Its bytes go; the node stays as long as it tells something. */
static void drop_blob(struct prefix_tree *tree, struct node *node)
{
    mem_free(node->blob);
    node->blob = NULL;
    tree->counts.blob_bytes -= node->blob_bytes;
    tree->counts.blobs--;
    node->blob_bytes = 0;
    list_remove(&node->saved);
}

static void ids_of(const struct node *node, token_id *out_ids)
{
    for (; node->parent; node = node->parent)
        memcpy(out_ids + node->depth - node->id_count, node->ids,
               node->id_count * sizeof(*out_ids));
}

static uint64_t scope_of(const struct node *node)
{
    while (node->parent)
        node = node->parent;
    return node->scope;
}

static void spill(struct prefix_tree *tree, struct node *node)
{
    const struct prefix_options *options = &tree->options;
    if (!options->spill)
        return;
    ids_of(node, tree->scratch);
    bool is_there = options->spill(options->spill_ctx, scope_of(node), tree->scratch, node->depth,
                                   &node->blob, node->blob_bytes);
    tree->counts.on_disk += is_there && node->disk_bytes == 0;
    if (is_there)
        node->disk_bytes = node->blob_bytes;
}

/* Rule 5. Looks at all: at most PREFIX_BLOBS_MAX, when a blob of megabytes has just been made. */
static bool drop_least_worth(struct prefix_tree *tree)
{
    struct node *least = NULL;
    LIST_FOREACH (link, &tree->saved) {
        struct node *node = CONTAINER_OF(link, struct node, saved);
        if (node != tree->answer && (!least || node->worth < least->worth))
            least = node;
    }
    if (!least)
        return false;
    tree->inflation = least->worth;
    spill(tree, least);
    drop_blob(tree, least);
    tree->counts.blobs_dropped++;
    tidy(tree, least);
    return true;
}

enum err prefix_tree_save(struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                          uint32_t count, void **blob, size_t bytes)
{
    ASSERT(count >= 1 && bytes > 0);
    size_t most = tree->options.blob_bytes_max;
    if (bytes > most)
        return ERR_FULL;
    while (tree->counts.blob_bytes + bytes > most || tree->counts.blobs == PREFIX_BLOBS_MAX) {
        if (!drop_least_worth(tree))
            return ERR_FULL;
    }
    struct node *node = insert(tree, scope, ids, count);
    if (!node)
        return ERR_FULL;
    if (node->blob && node == tree->answer) { /* borrowed; and the new one says the same */
        mem_free(*blob);
        *blob = NULL;
        return ERR_OK;
    }
    if (node->blob)
        drop_blob(tree, node);
    list_remove(&node->unused);
    node->blob = *blob;
    *blob = NULL;
    node->blob_bytes = bytes;
    node->uses = 1;
    set_worth(tree, node);
    list_push_back(&tree->saved, &node->saved);
    tree->counts.blobs++;
    tree->counts.blob_bytes += bytes;
    tree->bytes_per_token = (double)bytes / count;
    return ERR_OK;
}

static struct node *exactly(const struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                            uint32_t count)
{
    struct match match = prefix_match(tree, scope, ids, count);
    return match.tokens == count && !match.next ? match.node : NULL;
}

bool prefix_tree_has(const struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                     uint32_t count)
{
    const struct node *node = exactly(tree, scope, ids, count);
    return node && node->blob;
}

void prefix_tree_on_disk(struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                         uint32_t count, size_t bytes)
{
    ASSERT(count >= 1 && bytes > 0);
    struct node *node = insert(tree, scope, ids, count);
    if (!node)
        return;
    tree->counts.on_disk += node->disk_bytes == 0;
    node->disk_bytes = bytes;
    tidy(tree, node);
}

void prefix_tree_hold(struct prefix_tree *tree, struct node *node)
{
    list_remove(&node->unused);
    tree->answer = node;
}

void prefix_tree_release(struct prefix_tree *tree)
{
    struct node *node = tree->answer;
    tree->answer = NULL;
    if (node)
        tidy(tree, node);
}

void prefix_tree_used(struct prefix_tree *tree)
{
    struct node *node = tree->answer;
    if (!node || !node->blob)
        return;
    node->uses += node->uses < UINT32_MAX;
    set_worth(tree, node);
}

void prefix_tree_lost(struct prefix_tree *tree, uint64_t scope, const token_id *ids, uint32_t count)
{
    struct node *node = exactly(tree, scope, ids, count);
    if (!node || !node->parent)
        return;
    if (node == tree->answer)
        tree->answer = NULL;
    if (node->blob) {
        spill(tree, node); /* who still reads it takes it over */
        drop_blob(tree, node);
    }
    tree->counts.on_disk -= node->disk_bytes > 0;
    node->disk_bytes = 0;
    tidy(tree, node);
}

void prefix_tree_ids(const struct prefix_tree *tree, token_id *out_ids)
{
    ASSERT(tree->answer);
    ids_of(tree->answer, out_ids);
}

struct prefix_counts prefix_tree_counts(const struct prefix_tree *tree)
{
    struct prefix_counts counts = tree->counts;
    counts.nodes = map_count(tree->edges);
    counts.ids = tree->ids;
    return counts;
}

/* --- check --- */

static void check_node(const struct prefix_tree *tree, const struct node *node)
{
    ASSERT(node->id_count > 0 && node->depth == node->parent->depth + node->id_count);
    ASSERT(node->requests <= node->parent->requests);
    ASSERT((node->blob != NULL) == list_is_linked(&node->saved));
    ASSERT((node->blob != NULL) == (node->blob_bytes > 0));
    bool is_leaf = list_is_empty(&node->children), is_free = !is_held(tree, node);
    ASSERT(list_is_linked(&node->unused) == (is_leaf && is_free));
    ASSERT(!is_leaf || !is_free || node->requests > 0 || node->disk_bytes > 0);
}

static void check_scopes(const struct prefix_tree *tree)
{
    size_t cursor = 0;
    uint64_t scope;
    void *value;
    ASSERT(list_is_empty(&tree->nodes->children));
    while (map_next(tree->scopes, &cursor, &scope, &value)) {
        const struct node *root = value;
        ASSERT(!root->parent && root->scope == scope && !list_is_empty(&root->children));
        ASSERT(root->slots == 0 && root->depth == 0 && !root->blob && root->disk_bytes == 0);
    }
}

void prefix_tree_check(const struct prefix_tree *tree)
{
    size_t cursor = 0, ids = 0, bytes = 0, blobs = 0, on_disk = 0, slots = tree->nodes->slots;
    uint64_t key;
    void *value;
    while (map_next(tree->edges, &cursor, &key, &value)) {
        const struct node *node = value;
        ASSERT(key == edge_key(tree, node->parent, node->ids[0]));
        check_node(tree, node);
        ids += node->id_count;
        bytes += node->blob_bytes;
        blobs += node->blob != NULL;
        on_disk += node->disk_bytes > 0;
        slots += node->slots;
    }
    ASSERT(ids == tree->ids && ids <= tree->options.ids_max);
    ASSERT(bytes == tree->counts.blob_bytes && bytes <= tree->options.blob_bytes_max);
    ASSERT(blobs == tree->counts.blobs && on_disk == tree->counts.on_disk);
    ASSERT(slots == tree->options.slots);
    check_scopes(tree);
    ASSERT(map_count(tree->edges) + map_count(tree->scopes) + tree->free_count + 1 ==
           tree->options.nodes_max);
}
