/* grammar_left - finds rules that may begin with themselves: following one would never come to a
 * character.
 *
 * First, which nodes of each rule can be reached without matching anything. A call in the way is
 * passed once its rule is known to match nothing too; until then it waits for that. So every node
 * is taken up once, and all of it is linear. Then a search for a cycle among the reached calls. */
#include "grammar/grammar_draft.h"

struct search {
    struct draft *draft;
    uint32_t *owners;  /* per node: its rule, and one, when it has been reached */
    uint32_t *pending; /* nodes that were reached and not looked at */
    uint32_t *waiting; /* per call: the next one that waits for the same rule, or NO_NODE */
    uint32_t pending_count;
    uint32_t *first_waiting; /* per rule: a call, or NO_NODE */
    bool *is_empty;          /* per rule: it may match nothing */
    uint8_t *visits;         /* per rule, for the second part */
    struct open_rule *opened;
};

/* A rule on the way down, and its node that is looked at next. */
struct open_rule {
    uint32_t rule, node;
};

static void rule_is_empty(struct search *search, uint32_t rule)
{
    if (search->is_empty[rule])
        return;
    search->is_empty[rule] = true;
    for (uint32_t call = search->first_waiting[rule]; call != NO_NODE;
         call = search->waiting[call]) /* back to the list of those to look at */
        search->pending[search->pending_count++] = call;
}

/* A node is pending at most twice: when it is reached, and as a call that has waited. */
static void reach(struct search *search, uint32_t rule, uint32_t node)
{
    if (search->draft->grammar->nodes[node].kind == NODE_RETURN) {
        rule_is_empty(search, rule);
    } else if (search->owners[node] == 0) {
        search->owners[node] = rule + 1;
        search->pending[search->pending_count++] = node;
    }
}

static void look_at(struct search *search, uint32_t number)
{
    const struct node *node = &search->draft->grammar->nodes[number];
    uint32_t rule = search->owners[number] - 1;
    if (node->kind == NODE_SPLIT) {
        reach(search, rule, node->arg);
        reach(search, rule, node->next);
    } else if (node->kind == NODE_CALL && search->is_empty[node->arg]) {
        reach(search, rule, node->next);
    } else if (node->kind == NODE_CALL) {
        search->waiting[number] = search->first_waiting[node->arg];
        search->first_waiting[node->arg] = number;
    }
}

static void reach_all(struct search *search)
{
    for (uint32_t i = 0; i < search->draft->rule_count; i++) {
        search->first_waiting[i] = NO_NODE;
        search->is_empty[i] = false;
        search->visits[i] = 0;
    }
    for (uint32_t i = 0; i < search->draft->rule_count; i++) {
        reach(search, i, search->draft->rules[i].node);
        while (search->pending_count > 0)
            look_at(search, search->pending[--search->pending_count]);
    }
}

enum { NOT_VISITED, BEING_VISITED, VISITED };

static enum err fail(struct draft *draft, uint32_t number)
{
    const struct rule *rule = &draft->rules[number];
    if (rule->name.len == 0)
        return err_note_fail(draft->note, ERR_REFUSED,
                             "grammar: left recursion through a repeated group: a rule may begin "
                             "with itself");
    return draft_fail(draft, rule->defined, ERR_REFUSED,
                      "left recursion: rule " SLICE_FMT
                      " may begin with itself; write x ::= y z* instead of x ::= y | x z",
                      SLICE_ARG(slice_first(rule->name, 64)));
}

/* Depth first, without recursion: a grammar may be 8192 rules deep. */
static enum err find_cycle(struct search *search, uint32_t root)
{
    struct draft *draft = search->draft;
    uint32_t depth = 1;
    search->opened[0] = (struct open_rule){root, draft->rules[root].first_node};
    search->visits[root] = BEING_VISITED;
    while (depth > 0) {
        struct open_rule *top = &search->opened[depth - 1];
        if (top->node == draft->rules[top->rule].end_node) {
            search->visits[top->rule] = VISITED;
            depth--;
            continue;
        }
        uint32_t number = top->node++;
        const struct node *node = &draft->grammar->nodes[number];
        if (node->kind != NODE_CALL || search->owners[number] == 0)
            continue;
        if (search->visits[node->arg] == BEING_VISITED)
            return fail(draft, node->arg);
        if (search->visits[node->arg] == NOT_VISITED) {
            search->visits[node->arg] = BEING_VISITED;
            search->opened[depth++] =
                (struct open_rule){node->arg, draft->rules[node->arg].first_node};
        }
    }
    return ERR_OK;
}

static enum err search_all(struct search *search)
{
    reach_all(search);
    for (uint32_t i = 0; i < search->draft->rule_count; i++) {
        if (search->visits[i] == NOT_VISITED)
            TRY(find_cycle(search, i));
    }
    return ERR_OK;
}

enum err draft_refuse_left_recursion(struct draft *draft)
{
    uint32_t nodes = draft->grammar->node_count, rules = draft->rule_count;
    struct search search = {.draft = draft,
                            .owners = mem_peer_alloc(nodes * sizeof(uint32_t)),
                            .pending = mem_peer_alloc(2 * nodes * sizeof(uint32_t)),
                            .waiting = mem_peer_alloc(nodes * sizeof(uint32_t)),
                            .first_waiting = mem_peer_alloc(rules * sizeof(uint32_t)),
                            .is_empty = mem_peer_alloc(rules * sizeof(bool)),
                            .visits = mem_peer_alloc(rules),
                            .opened = mem_peer_alloc(rules * sizeof(struct open_rule))};
    enum err err = ERR_FULL;
    if (search.owners && search.pending && search.waiting && search.first_waiting &&
        search.is_empty && search.visits && search.opened) {
        memset(search.owners, 0, nodes * sizeof(uint32_t));
        err = search_all(&search);
    }
    mem_free(search.owners);
    mem_free(search.pending);
    mem_free(search.waiting);
    mem_free(search.first_waiting);
    mem_free(search.is_empty);
    mem_free(search.visits);
    mem_free(search.opened);
    return err;
}
