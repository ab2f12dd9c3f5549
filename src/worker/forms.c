/* forms - from what a request asks for to a match at its beginning. */
#include "worker/forms.h"

#include "base/list.h"
#include "base/mem.h"
#include "grammar/schema.h"

_Static_assert((int)FORM_TEXT_MAX_BYTES == (int)GRAMMAR_TEXT_MAX_BYTES,
               "what travels can be parsed");
_Static_assert((int)FORM_TEXT_MAX_BYTES == (int)SCHEMA_MAX_BYTES, "what travels can be parsed");
_Static_assert((int)FORM_TRIGGERS_MAX == (int)GRAMMAR_TRIGGERS_MAX, "what travels can be made");
_Static_assert((int)FORM_TRIGGER_MAX_BYTES == (int)GRAMMAR_TRIGGER_MAX_BYTES,
               "what travels can be made");

struct kept {
    uint8_t key[SHA256_BYTES];
    struct grammar *grammar; /* NULL: a free place */
    size_t bytes;
    uint64_t used;
};

struct forms {
    struct loop *loop;
    struct grammar_vocab *vocab; /* NULL: not made yet */
    bool is_making_vocab;
    struct list waiting; /* orders, for the vocabulary */
    struct kept kept[FORMS_KEPT_MAX];
    uint64_t turn;
    struct forms_stats stats;
};

struct form_order {
    struct engine *engine;
    struct form form; /* its slices are in bytes[] */
    struct grammar_trigger triggers[FORM_TRIGGERS_MAX];
    uint8_t key[SHA256_BYTES];

    /* From forms_get() on. */
    struct forms *forms;
    form_done_fn *on_done;
    void *ctx;
    struct list link;       /* in forms->waiting */
    struct loop_work *work; /* on the pool, or about to be */
    bool makes_vocab, is_cancelled;
    /* What is there, or is made on the pool. */
    struct grammar_vocab *vocab;
    struct grammar *grammar;
    struct grammar_match *match;
    enum err err;
    struct err_note note;
    size_t used; /* of bytes[] */
    char bytes[];
};

/* --- orders --- */

static struct slice keep(struct form_order *order, struct slice text)
{
    char *copy = order->bytes + order->used;
    if (text.len)
        memcpy(copy, text.data, text.len);
    order->used += text.len;
    return slice_of(copy, text.len);
}

/* The kind is the first byte, so that a grammar is never taken for a schema. */
static void make_key(struct form_order *order, const struct form *form)
{
    char kind = (char)('0' + (int)form->kind);
    struct slice whole = keep(order, slice_of(&kind, 1));
    order->form.text = keep(order, form->text);
    whole.len += form->text.len;
    sha256_of(whole, order->key);
}

/* A token stands for its own bytes, unless it was told what for. */
static struct grammar_trigger trigger_of(struct form_order *order,
                                         const struct form_trigger *trigger)
{
    bool is_token = trigger->token != FORM_NO_TOKEN;
    return (struct grammar_trigger){.word = keep(order, trigger->word),
                                    .token = is_token ? (uint32_t)trigger->token : GRAMMAR_NO_TOKEN,
                                    .only_at_start = trigger->only_at_start,
                                    .is_included = trigger->is_included};
}

static size_t bytes_of(const struct form *form)
{
    size_t bytes = 1 + form->text.len + form->param.len;
    for (size_t i = 0; i < form->trigger_count; i++)
        bytes += form->triggers[i].word.len;
    return bytes;
}

struct form_order *form_order_new(struct engine *engine, const struct form *form)
{
    struct form_order *order = mem_peer_alloc(sizeof(*order) + bytes_of(form));
    if (!order)
        return NULL;
    *order = (struct form_order){.engine = engine, .form = *form};
    list_init(&order->link);
    make_key(order, form);
    order->form.param = keep(order, form->param);
    order->form.triggers = NULL;
    for (size_t i = 0; i < form->trigger_count; i++)
        order->triggers[i] = trigger_of(order, &form->triggers[i]);
    return order;
}

void form_order_free(struct form_order *order)
{
    if (!order)
        return;
    grammar_unref(order->grammar);
    grammar_match_free(order->match);
    mem_free(order);
}

struct slice form_order_param(const struct form_order *order)
{
    return order->form.param;
}

/* --- on the pool --- */

struct pieces {
    struct engine *engine;
    char scratch[1];
};

static enum grammar_token_kind token_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    struct pieces *pieces = ctx;
    *out_piece =
        engine_piece(pieces->engine, (token_id)token, pieces->scratch, sizeof(pieces->scratch));
    return engine_is_end(pieces->engine, (token_id)token) ? GRAMMAR_TOKEN_END : GRAMMAR_TOKEN_TEXT;
}

static enum err make_vocab(struct form_order *order)
{
    const struct engine_info *info = &order->engine->info;
    struct pieces pieces = {.engine = order->engine};
    if (info->vocab_size > GRAMMAR_VOCAB_MAX)
        return err_note_fail(&order->note, ERR_REFUSED,
                             "the model has %u tokens: grammars are for at most %d",
                             info->vocab_size, GRAMMAR_VOCAB_MAX);
    order->vocab = grammar_vocab_new(info->vocab_size, token_of, &pieces);
    return ERR_OK;
}

static enum err parse_schema(struct form_order *order)
{
    struct text text;
    text_init(&text, GRAMMAR_TEXT_MAX_BYTES);
    enum err err = schema_to_grammar(order->form.text, &text, &order->note);
    if (err == ERR_OK)
        err = grammar_parse(text_slice(&text), &order->grammar, &order->note);
    text_fini(&text);
    return err;
}

static enum err parse(struct form_order *order)
{
    switch (order->form.kind) {
    case FORM_GRAMMAR:
        return grammar_parse(order->form.text, &order->grammar, &order->note);
    case FORM_JSON_SCHEMA:
        return parse_schema(order);
    case FORM_JSON_OBJECT:
        return grammar_parse(schema_any_object(), &order->grammar, &order->note);
    case FORM_FREE:
        break;
    }
    return err_note_fail(&order->note, ERR_PROTOCOL, "a form of no kind");
}

static enum err begin(struct form_order *order, struct grammar_triggers *triggers)
{
    enum err err = grammar_match_new(order->grammar, triggers, &order->match);
    return err == ERR_OK
               ? err
               : err_note_fail(&order->note, err, "the grammar's beginning alone is %s",
                               err == ERR_FULL ? "more than there is memory for" : "too ambiguous");
}

static enum err begin_lazy(struct form_order *order)
{
    struct grammar_triggers *triggers;
    for (size_t i = 0; i < order->form.trigger_count; i++) {
        uint32_t token = order->triggers[i].token;
        if (token != GRAMMAR_NO_TOKEN && token >= order->engine->info.vocab_size)
            return err_note_fail(&order->note, ERR_LIMIT,
                                 "grammar trigger %zu: token %u: the model's vocabulary is 0..%u",
                                 i, token, order->engine->info.vocab_size - 1);
    }
    TRY(grammar_triggers_new(order->grammar, order->triggers, order->form.trigger_count, &triggers,
                             &order->note));
    enum err err = begin(order, triggers);
    grammar_triggers_unref(triggers);
    return err;
}

/* The vocabulary comes first: it is there for others also when this one is refused. */
static enum err make(struct form_order *order)
{
    if (order->makes_vocab)
        TRY(make_vocab(order));
    if (!order->grammar)
        TRY(parse(order));
    return order->form.trigger_count ? begin_lazy(order) : begin(order, NULL);
}

static void work(void *ctx)
{
    struct form_order *order = ctx;
    order->err = make(order);
}

/* --- what is kept --- */

static struct grammar *find(struct forms *forms, const uint8_t key[SHA256_BYTES])
{
    for (size_t i = 0; i < FORMS_KEPT_MAX; i++) {
        struct kept *kept = &forms->kept[i];
        if (!kept->grammar || memcmp(kept->key, key, SHA256_BYTES) != 0)
            continue;
        kept->used = ++forms->turn;
        return grammar_ref(kept->grammar);
    }
    return NULL;
}

static void drop(struct forms *forms, struct kept *kept)
{
    if (!kept->grammar)
        return;
    grammar_unref(kept->grammar);
    kept->grammar = NULL;
    forms->stats.kept--;
    forms->stats.kept_bytes -= kept->bytes;
}

/* A free place, or the longest unused. */
static struct kept *place(struct forms *forms, bool is_taken)
{
    struct kept *best = NULL;
    for (size_t i = 0; i < FORMS_KEPT_MAX; i++) {
        struct kept *kept = &forms->kept[i];
        if (!kept->grammar && !is_taken)
            return kept;
        if (kept->grammar && (!best || kept->used < best->used))
            best = kept;
    }
    return best;
}

static void put(struct forms *forms, const struct form_order *order)
{
    size_t bytes = grammar_bytes(order->grammar);
    struct grammar *there = find(forms, order->key);
    grammar_unref(there);
    if (there || bytes > FORMS_KEPT_BYTES_MAX)
        return;
    while (forms->stats.kept_bytes + bytes > FORMS_KEPT_BYTES_MAX)
        drop(forms, place(forms, true));
    struct kept *kept = place(forms, false);
    drop(forms, kept);
    *kept = (struct kept){
        .grammar = grammar_ref(order->grammar), .bytes = bytes, .used = ++forms->turn};
    memcpy(kept->key, order->key, sizeof(kept->key));
    forms->stats.kept++;
    forms->stats.kept_bytes += bytes;
}

/* --- the way of an order --- */

static void start(struct forms *forms, struct form_order *order);

static void finish(struct form_order *order)
{
    struct grammar_match *match = order->match;
    order->match = NULL;
    order->on_done(order->ctx, order, order->err, match, order->forms->vocab, &order->note);
    form_order_free(order);
}

/* Also when it was not made: the next in line tries again, and hears of it. */
static void take_vocab(struct forms *forms, struct form_order *order)
{
    struct list waiting = LIST_INIT(waiting);
    forms->vocab = order->vocab;
    forms->stats.trees += order->vocab != NULL;
    forms->is_making_vocab = false;
    while (!list_is_empty(&forms->waiting))
        list_push_back(&waiting, list_pop_front(&forms->waiting));
    while (!list_is_empty(&waiting))
        start(forms, CONTAINER_OF(list_pop_front(&waiting), struct form_order, link));
}

static void on_worked(void *ctx, enum err status)
{
    struct form_order *order = ctx;
    struct forms *forms = order->forms;
    order->work = NULL;
    if (status != ERR_OK)
        order->err = status;
    if (order->grammar)
        put(forms, order);
    if (order->makes_vocab)
        take_vocab(forms, order);
    finish(order);
}

static void start(struct forms *forms, struct form_order *order)
{
    if (order->is_cancelled) {
        order->err = ERR_CANCELLED;
        finish(order);
        return;
    }
    if (!forms->vocab && forms->is_making_vocab) {
        list_push_back(&forms->waiting, &order->link);
        return;
    }
    order->grammar = find(forms, order->key);
    *(order->grammar ? &forms->stats.found : &forms->stats.compiled) += 1;
    if (forms->vocab && order->grammar && order->form.trigger_count == 0) {
        order->err = begin(order, NULL);
        finish(order);
        return;
    }
    order->makes_vocab = forms->is_making_vocab = !forms->vocab;
    order->work = loop_work_start(forms->loop, work, on_worked, order);
}

void forms_get(struct forms *forms, struct form_order *order, form_done_fn *on_done, void *ctx)
{
    order->forms = forms;
    order->on_done = on_done;
    order->ctx = ctx;
    start(forms, order);
}

void form_order_cancel(struct form_order *order)
{
    order->is_cancelled = true;
    if (order->work && !order->makes_vocab) /* for that, others wait */
        loop_work_cancel(order->work);
}

/* --- all of them --- */

struct forms *forms_new(struct loop *loop)
{
    struct forms *forms = mem_alloc(sizeof(*forms));
    forms->loop = loop;
    list_init(&forms->waiting);
    return forms;
}

void forms_free(struct forms *forms)
{
    if (!forms)
        return;
    ASSERT(list_is_empty(&forms->waiting) && !forms->is_making_vocab);
    for (size_t i = 0; i < FORMS_KEPT_MAX; i++)
        drop(forms, &forms->kept[i]);
    grammar_vocab_free(forms->vocab);
    mem_free(forms);
}

struct forms_stats forms_stats(const struct forms *forms)
{
    return forms->stats;
}
