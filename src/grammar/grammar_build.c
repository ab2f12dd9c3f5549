/* grammar_build - a draft to nodes. Items are laid from the back: each is told the node that comes
 * behind it. What is repeated and is more than one class or rule becomes a rule without a name. */
#include "grammar/grammar_draft.h"

/* --- nodes --- */

static enum err add_node(struct draft *draft, struct node node, uint32_t *out_node)
{
    struct grammar *grammar = draft->grammar;
    if (grammar->node_count == GRAMMAR_NODES_MAX)
        return err_note_fail(draft->note, ERR_LIMIT,
                             "grammar: its table has more than %d nodes: fewer or shorter "
                             "repetitions, please",
                             GRAMMAR_NODES_MAX);
    TRY(GROW(grammar->nodes, grammar->node_count, grammar->node_capacity));
    *out_node = grammar->node_count++;
    grammar->nodes[*out_node] = node;
    return ERR_OK;
}

static enum err lay(struct draft *draft, uint32_t item, uint32_t next, uint32_t *out_node);

static enum err lay_split(struct draft *draft, uint32_t first, uint32_t second, uint32_t *out_node)
{
    return add_node(draft, (struct node){NODE_SPLIT, first, second}, out_node);
}

/* Items are few in most sequences; a long one is turned round instead of being laid by recursion.
 */
static uint32_t reverse(struct draft *draft, uint32_t first)
{
    uint32_t reversed = NO_ITEM;
    while (first != NO_ITEM) {
        uint32_t next = draft->items[first].sibling;
        draft->items[first].sibling = reversed;
        reversed = first;
        first = next;
    }
    return reversed;
}

static enum err lay_sequence(struct draft *draft, uint32_t item, uint32_t next, uint32_t *out_node)
{
    uint32_t last = reverse(draft, draft->items[item].arg);
    enum err err = ERR_OK;
    for (uint32_t i = last; i != NO_ITEM && err == ERR_OK; i = draft->items[i].sibling)
        err = lay(draft, i, next, &next);
    draft->items[item].arg = reverse(draft, last);
    *out_node = next;
    return err;
}

static enum err lay_choice(struct draft *draft, uint32_t item, uint32_t next, uint32_t *out_node)
{
    uint32_t chosen = NO_NODE;
    for (uint32_t i = draft->items[item].arg; i != NO_ITEM; i = draft->items[i].sibling) {
        uint32_t node;
        TRY(lay(draft, i, next, &node));
        if (chosen == NO_NODE)
            chosen = node;
        else
            TRY(lay_split(draft, chosen, node, &chosen));
    }
    *out_node = chosen;
    return ERR_OK;
}

/* Once, whatever its min and max. */
static enum err lay_once(struct draft *draft, uint32_t item, uint32_t next, uint32_t *out_node)
{
    uint32_t arg = draft->items[item].arg;
    switch (draft->items[item].kind) {
    case ITEM_CHARS:
        return add_node(draft, (struct node){NODE_CHARS, arg, next}, out_node);
    case ITEM_RULE: /* `arg` becomes the rule's node when all are laid */
        return add_node(draft, (struct node){NODE_CALL, arg, next}, out_node);
    case ITEM_SEQUENCE:
        return lay_sequence(draft, item, next, out_node);
    default:
        return lay_choice(draft, item, next, out_node);
    }
}

/* A rule of its own around what is repeated, so that each time costs one node. */
static enum err wrap_in_rule(struct draft *draft, uint32_t item)
{
    if (draft->rule_count == GRAMMAR_RULES_MAX)
        return err_note_fail(draft->note, ERR_LIMIT,
                             "grammar: more than %d rules and repeated groups", GRAMMAR_RULES_MAX);
    TRY(GROW(draft->rules, draft->rule_count, draft->rule_capacity));
    TRY(GROW(draft->items, draft->item_count, draft->item_capacity));
    uint32_t rule = draft->rule_count++, body = draft->item_count++;
    draft->items[body] = draft->items[item];
    draft->items[body].min = draft->items[body].max = 1;
    draft->items[body].sibling = NO_ITEM;
    draft->items[item].kind = ITEM_RULE;
    draft->items[item].arg = rule;
    draft->rules[rule] = (struct rule){.body = body, .node = NO_NODE};
    return ERR_OK;
}

static bool is_small(const struct item *item)
{
    return item->kind == ITEM_CHARS || item->kind == ITEM_RULE;
}

static enum err lay_endless(struct draft *draft, uint32_t item, uint32_t next, uint32_t *out_node)
{
    uint32_t loop, body;
    TRY(lay_split(draft, next, next, &loop));
    TRY(lay_once(draft, item, loop, &body));
    draft->grammar->nodes[loop].arg = body;
    *out_node = draft->items[item].min == 0 ? loop : body; /* the first time: without a question */
    return ERR_OK;
}

static enum err lay_repeated(struct draft *draft, uint32_t item, uint32_t next, uint32_t *out_node)
{
    uint32_t min = draft->items[item].min, max = draft->items[item].max, end = next;
    if ((min > 1 || (max > 1 && max != REPEAT_NO_END)) && !is_small(&draft->items[item]))
        TRY(wrap_in_rule(draft, item));
    if (max == REPEAT_NO_END) {
        TRY(lay_endless(draft, item, next, &next));
        min -= min > 0;
        max = min;
    }
    for (uint32_t i = min; i < max; i++) {
        TRY(lay_once(draft, item, next, &next));
        TRY(lay_split(draft, next, end, &next));
    }
    for (uint32_t i = 0; i < min; i++)
        TRY(lay_once(draft, item, next, &next));
    *out_node = next;
    return ERR_OK;
}

static enum err lay(struct draft *draft, uint32_t item, uint32_t next, uint32_t *out_node)
{
    if (draft->items[item].min == 1 && draft->items[item].max == 1)
        return lay_once(draft, item, next, out_node);
    return lay_repeated(draft, item, next, out_node);
}

/* More rules may come while they are laid. */
static enum err lay_rules(struct draft *draft)
{
    uint32_t end;
    TRY(add_node(draft, (struct node){.kind = NODE_RETURN}, &end));
    for (uint32_t i = 0; i < draft->rule_count; i++) {
        uint32_t node;
        draft->rules[i].first_node = draft->grammar->node_count;
        TRY(lay(draft, draft->rules[i].body, end, &node));
        draft->rules[i].node = node;
        draft->rules[i].end_node = draft->grammar->node_count;
    }
    return ERR_OK;
}

/* --- all of it --- */

static void link_calls(struct draft *draft)
{
    struct grammar *grammar = draft->grammar;
    for (uint32_t i = 0; i < grammar->node_count; i++) {
        if (grammar->nodes[i].kind == NODE_CALL)
            grammar->nodes[i].arg = draft->rules[grammar->nodes[i].arg].node;
    }
    grammar->start = draft->rules[0].node;
}

static enum err build(struct draft *draft)
{
    TRY(lay_rules(draft));
    TRY(draft_refuse_left_recursion(draft));
    link_calls(draft);
    char_kinds_find(draft->grammar);
    return ERR_OK;
}

enum err draft_build(struct draft *draft)
{
    enum err err = build(draft);
    if (err == ERR_FULL)
        return err_note_fail(draft->note, ERR_FULL, "grammar: no memory for it");
    return err;
}
