/* grammar - its life. How it is read: grammar_text; how it is laid out: grammar_build. */
#include "grammar/grammar.h"

#include "grammar/grammar_draft.h"

static void draft_fini(struct draft *draft)
{
    map_free(draft->rules_by_name);
    map_free(draft->classes_by_content);
    mem_free(draft->items);
    mem_free(draft->rules);
}

static enum err make(struct draft *draft)
{
    TRY(draft_read(draft));
    return draft_build(draft);
}

enum err grammar_parse(struct slice text, struct grammar **out_grammar, struct err_note *out_note)
{
    struct draft draft = {.text = text,
                          .note = out_note,
                          .grammar = mem_alloc(sizeof(struct grammar)),
                          .rules_by_name = map_new(GRAMMAR_RULES_MAX),
                          .classes_by_content = map_new(GRAMMAR_ITEMS_MAX)};
    struct grammar *grammar = draft.grammar;
    atomic_init(&grammar->refs, 1);
    enum err err = make(&draft);
    draft_fini(&draft);
    if (err != ERR_OK) {
        grammar_unref(grammar);
        return err;
    }
    sha256_of(text, grammar->digest);
    *out_grammar = grammar;
    return ERR_OK;
}

struct grammar *grammar_ref(struct grammar *grammar)
{
    /* Whoever gives a reference has one: nothing is ordered by getting another. */
    atomic_fetch_add_explicit(&grammar->refs, 1, memory_order_relaxed);
    return grammar;
}

void grammar_unref(struct grammar *grammar)
{
    if (!grammar || atomic_fetch_sub_explicit(&grammar->refs, 1, memory_order_acq_rel) != 1)
        return;
    mem_free(grammar->nodes);
    mem_free(grammar->classes);
    mem_free(grammar->states);
    mem_free(grammar->edges);
    mem_free(grammar);
}

const uint8_t *grammar_digest(const struct grammar *grammar)
{
    return grammar->digest;
}

size_t grammar_bytes(const struct grammar *grammar)
{
    return sizeof(*grammar) + grammar->node_capacity * sizeof(*grammar->nodes) +
           grammar->class_capacity * sizeof(*grammar->classes) +
           grammar->state_capacity * sizeof(*grammar->states) +
           grammar->edge_capacity * sizeof(*grammar->edges);
}
