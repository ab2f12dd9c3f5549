/* grammar_match - triggers are followed with the Knuth-Morris-Pratt automaton, as stop strings are
 * (worker/text_out); what comes behind one goes byte by byte through the stacks. */
#include "grammar/grammar_match.h"

#include "base/mem.h"
#include "grammar/grammar_match_impl.h"

_Static_assert(GRAMMAR_TRIGGER_MAX_BYTES <= UINT8_MAX, "place.matched counts up to it");

/* --- triggers --- */

struct trigger {
    struct grammar_trigger is; /* word: in `bytes` */
    char bytes[GRAMMAR_TRIGGER_MAX_BYTES];
    uint8_t fallback[GRAMMAR_TRIGGER_MAX_BYTES]; /* after n matched, at n - 1: the next shorter */
};

struct grammar_triggers {
    _Atomic uint32_t refs;
    size_t count;
    struct trigger items[];
};

static uint8_t word_step(const struct trigger *trigger, uint8_t matched, char byte)
{
    if (matched == trigger->is.word.len)
        matched = trigger->fallback[matched - 1];
    while (matched > 0 && trigger->bytes[matched] != byte)
        matched = trigger->fallback[matched - 1];
    return (uint8_t)(matched + (trigger->bytes[matched] == byte));
}

static void trigger_init(struct trigger *trigger, const struct grammar_trigger *given)
{
    trigger->is = *given;
    if (given->word.len > 0)
        memcpy(trigger->bytes, given->word.data, given->word.len);
    trigger->is.word = slice_of(trigger->bytes, given->word.len);
    for (size_t i = 1; i < given->word.len; i++)
        trigger->fallback[i] = word_step(trigger, trigger->fallback[i - 1], trigger->bytes[i]);
}

static bool is_word(const struct grammar_trigger *trigger)
{
    return trigger->token == GRAMMAR_NO_TOKEN;
}

static enum err check_trigger(struct grammar_match *match, const struct grammar_trigger *trigger,
                              size_t index, struct err_note *note)
{
    if (trigger->word.len > GRAMMAR_TRIGGER_MAX_BYTES)
        return err_note_fail(note, ERR_LIMIT, "grammar trigger %zu: %zu bytes: allowed are 1..%d",
                             index, trigger->word.len, GRAMMAR_TRIGGER_MAX_BYTES);
    if (!is_word(trigger) && trigger->word.len == 0)
        return ERR_OK;
    if (trigger->word.len == 0)
        return err_note_fail(note, ERR_PROTOCOL, "grammar trigger %zu: the word is empty", index);
    enum err err = ERR_OK;
    if (trigger->is_included)
        err = grammar_match_check(match, GRAMMAR_NO_TOKEN, trigger->word);
    if (err == ERR_REFUSED)
        return err_note_fail(note, err, "grammar trigger %zu: the grammar cannot begin with it",
                             index);
    return err == ERR_OK ? err
                         : err_note_fail(note, err, "grammar trigger %zu: beyond limits", index);
}

enum err grammar_triggers_new(struct grammar *grammar, const struct grammar_trigger *triggers,
                              size_t count, struct grammar_triggers **out_triggers,
                              struct err_note *out_note)
{
    struct grammar_match *match;
    if (count == 0 || count > GRAMMAR_TRIGGERS_MAX)
        return err_note_fail(out_note, count == 0 ? ERR_PROTOCOL : ERR_LIMIT,
                             "%zu grammar triggers: allowed are 1..%d", count,
                             GRAMMAR_TRIGGERS_MAX);
    enum err err = grammar_match_new(grammar, NULL, &match);
    if (err != ERR_OK)
        return err_note_fail(out_note, err, "grammar: its beginning is too large");
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = check_trigger(match, &triggers[i], i, out_note);
    grammar_match_free(match);
    TRY(err);
    struct grammar_triggers *made = mem_alloc(sizeof(*made) + count * sizeof(made->items[0]));
    atomic_init(&made->refs, 1);
    made->count = count;
    for (size_t i = 0; i < count; i++)
        trigger_init(&made->items[i], &triggers[i]);
    *out_triggers = made;
    return ERR_OK;
}

struct grammar_triggers *grammar_triggers_ref(struct grammar_triggers *triggers)
{
    atomic_fetch_add_explicit(&triggers->refs, 1, memory_order_relaxed);
    return triggers;
}

void grammar_triggers_unref(struct grammar_triggers *triggers)
{
    if (triggers && atomic_fetch_sub_explicit(&triggers->refs, 1, memory_order_acq_rel) == 1)
        mem_free(triggers);
}

/* --- going on --- */

/* Keeps memory small: forgets what neither the match nor `set` needs. */
static enum err keep_small(struct grammar_match *match, uint32_t *set)
{
    if (!stacks_want_collect(match->stacks))
        return ERR_OK;
    uint32_t roots[] = {match->place.set, *set};
    TRY(stacks_collect(match->stacks, roots, ARRAY_COUNT(roots)));
    match->place.set = roots[0];
    *set = roots[1];
    return ERR_OK;
}

static enum err follow_text(struct grammar_match *match, struct place *place, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        TRY(stacks_step(match->stacks, place->set, (uint8_t)bytes.data[i], &place->set));
        if (place->set == STACKS_DEAD)
            return ERR_REFUSED;
        TRY(keep_small(match, &place->set));
    }
    return ERR_OK;
}

static enum err bind(struct grammar_match *match, struct place *place, bool is_included,
                     struct slice trigger)
{
    place->is_bound = true;
    return is_included ? follow_text(match, place, trigger) : ERR_OK;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* One more byte of text; the trigger that it completes, or NULL. */
static const struct trigger *wait_step(const struct grammar_triggers *triggers, struct place *place,
                                       char byte)
{
    const struct trigger *complete = NULL;
    for (size_t i = 0; i < triggers->count; i++) {
        const struct trigger *trigger = &triggers->items[i];
        if (!is_word(&trigger->is))
            continue;
        uint8_t before = place->matched[i], matched = word_step(trigger, before, byte);
        /* Behind the first letter of the answer, what began there may go on, and nothing begin. */
        if (trigger->is.only_at_start && place->has_text && (before == 0 || matched != before + 1))
            matched = 0;
        place->matched[i] = matched;
        if (matched == trigger->is.word.len && (!complete || matched > complete->is.word.len))
            complete = trigger;
    }
    place->has_text |= !is_blank(byte);
    return complete;
}

static enum err wait_text(struct grammar_match *match, struct place *place, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        const struct trigger *trigger = wait_step(match->triggers, place, bytes.data[i]);
        if (!trigger)
            continue;
        TRY(bind(match, place, trigger->is.is_included, trigger->is.word));
        return follow_text(match, place, slice_after(bytes, i + 1));
    }
    return ERR_OK;
}

static const struct trigger *trigger_of_token(const struct grammar_triggers *triggers,
                                              uint32_t token)
{
    for (size_t i = 0; i < triggers->count; i++) {
        if (!is_word(&triggers->items[i].is) && triggers->items[i].is.token == token)
            return &triggers->items[i];
    }
    return NULL;
}

static enum err go_on(struct grammar_match *match, struct place *place, uint32_t token,
                      struct slice bytes)
{
    if (place->is_bound)
        return follow_text(match, place, bytes);
    const struct trigger *trigger =
        token == GRAMMAR_NO_TOKEN ? NULL : trigger_of_token(match->triggers, token);
    if (trigger)
        return bind(match, place, trigger->is.is_included,
                    trigger->is.word.len > 0 ? trigger->is.word : bytes);
    return wait_text(match, place, bytes);
}

enum err grammar_match_accept(struct grammar_match *match, uint32_t token, struct slice bytes)
{
    struct place place = match->place;
    TRY(go_on(match, &place, token, bytes));
    match->place = place;
    return ERR_OK;
}

enum err grammar_match_check(struct grammar_match *match, uint32_t token, struct slice bytes)
{
    struct place place = match->place;
    return go_on(match, &place, token, bytes);
}

/* --- questions --- */

bool grammar_match_is_bound(const struct grammar_match *match)
{
    return match->place.is_bound;
}

bool grammar_match_can_end(const struct grammar_match *match)
{
    return !match->place.is_bound || stacks_can_end(match->stacks, match->place.set);
}

bool grammar_match_is_over(const struct grammar_match *match)
{
    return match->place.is_bound && stacks_is_over(match->place.set);
}

uint64_t grammar_match_hash(const struct grammar_match *match)
{
    uint64_t hash = stacks_hash(match->stacks, match->place.set);
    if (match->place.is_bound)
        return hash;
    hash = hash * 3 + 1 + match->place.has_text;
    for (size_t i = 0; i < GRAMMAR_TRIGGERS_MAX; i++)
        hash = (hash ^ match->place.matched[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return hash;
}

size_t grammar_match_bytes(const struct grammar_match *match)
{
    return sizeof(*match) + stacks_bytes(match->stacks);
}

/* --- life --- */

static struct grammar_match *match_alloc(struct grammar *grammar, struct grammar_triggers *triggers)
{
    struct grammar_match *match = mem_alloc(sizeof(*match));
    match->grammar = grammar_ref(grammar);
    match->triggers = triggers ? grammar_triggers_ref(triggers) : NULL;
    return match;
}

enum err grammar_match_new(struct grammar *grammar, struct grammar_triggers *triggers,
                           struct grammar_match **out_match)
{
    struct grammar_match *match = match_alloc(grammar, triggers);
    match->place.is_bound = !triggers;
    enum err err = stacks_new(grammar, &match->stacks, &match->place.set);
    if (err != ERR_OK) {
        grammar_match_free(match);
        return err;
    }
    *out_match = match;
    return ERR_OK;
}

enum err grammar_match_clone(const struct grammar_match *match, struct grammar_match **out_clone)
{
    struct grammar_match *clone = match_alloc(match->grammar, match->triggers);
    clone->place = match->place;
    enum err err = stacks_clone(match->stacks, match->place.set, &clone->stacks, &clone->place.set);
    if (err != ERR_OK) {
        grammar_match_free(clone);
        return err;
    }
    *out_clone = clone;
    return ERR_OK;
}

void grammar_match_free(struct grammar_match *match)
{
    if (!match)
        return;
    stacks_free(match->stacks);
    grammar_triggers_unref(match->triggers);
    grammar_unref(match->grammar);
    mem_free(match);
}
