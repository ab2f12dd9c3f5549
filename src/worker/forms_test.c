/* forms_test - what requests ask for becomes a match; what is there is used again; what is wrong is
 * said, and what is kept has bounds. */
#include "worker/forms.h"

#include "base/mem.h"
#include "testing/test.h"

#include <stdio.h>

struct rig {
    struct loop *loop;
    struct engine *engine;
    struct forms *forms;
};

struct outcome {
    int calls;
    enum err err;
    struct grammar_match *match;
    const struct grammar_vocab *vocab;
    struct err_note note;
    char param[65];
};

static struct rig rig_open(void)
{
    struct rig rig = {.loop = loop_new_virtual(1)};
    struct engine_dummy_options options = engine_dummy_options_default();
    CHECK_OK(engine_dummy_open(&options, NULL, NULL, &rig.engine, NULL));
    rig.forms = forms_new(rig.loop);
    return rig;
}

static void rig_close(struct rig *rig)
{
    forms_free(rig->forms);
    engine_close(&rig->engine);
    loop_free(rig->loop);
}

static void on_done(void *ctx, const struct form_order *order, enum err err,
                    struct grammar_match *match, const struct grammar_vocab *vocab,
                    const struct err_note *note)
{
    struct outcome *outcome = ctx;
    struct slice param = form_order_param(order);
    CHECK((err == ERR_OK) == (match != NULL));
    outcome->calls++;
    outcome->err = err;
    outcome->match = match;
    outcome->vocab = vocab;
    outcome->note = *note;
    snprintf(outcome->param, sizeof(outcome->param), SLICE_FMT, SLICE_ARG(param));
}

static void ask(struct rig *rig, const struct form *form, struct outcome *outcome)
{
    struct form_order *order = form_order_new(rig->engine, form);
    CHECK(order);
    *outcome = (struct outcome){0};
    forms_get(rig->forms, order, on_done, outcome);
}

static struct outcome get(struct rig *rig, const struct form *form)
{
    struct outcome outcome;
    ask(rig, form, &outcome);
    loop_advance(rig->loop, 0);
    CHECK_EQ(outcome.calls, 1);
    return outcome;
}

static struct form grammar_form(const char *text)
{
    return (struct form){.kind = FORM_GRAMMAR, .text = slice_str(text), .param = SLICE("grammar")};
}

/* Whether the whole text is one that the match takes, from its beginning to a possible end. */
static bool takes(struct grammar_match *match, const char *text)
{
    enum err err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_str(text));
    bool ends = err == ERR_OK && grammar_match_can_end(match);
    grammar_match_free(match);
    return ends;
}

TEST(every_kind_of_form_becomes_a_match)
{
    struct rig rig = rig_open();
    struct form form = grammar_form("root ::= \"a\"+");
    CHECK(takes(get(&rig, &form).match, "aaa"));
    CHECK(!takes(get(&rig, &form).match, "ab"));
    form = (struct form){.kind = FORM_JSON_SCHEMA, .text = SLICE("{\"type\":\"integer\"}")};
    CHECK(takes(get(&rig, &form).match, "17"));
    CHECK(!takes(get(&rig, &form).match, "true"));
    form = (struct form){.kind = FORM_JSON_OBJECT};
    CHECK(takes(get(&rig, &form).match, "{\"a\":[1,null]}"));
    CHECK(!takes(get(&rig, &form).match, "[1]"));
    rig_close(&rig);
}

TEST(who_comes_while_the_vocabulary_is_made_waits_for_the_one_tree)
{
    struct rig rig = rig_open();
    struct form form = grammar_form("root ::= [a-c]+"), bad = grammar_form("root ::= (");
    struct outcome outcomes[5];
    for (size_t i = 0; i < ARRAY_COUNT(outcomes); i++)
        ask(&rig, i == 2 ? &bad : &form, &outcomes[i]);
    for (size_t i = 0; i < ARRAY_COUNT(outcomes); i++)
        CHECK_EQ(outcomes[i].calls, 0);
    loop_advance(rig.loop, 0);
    loop_advance(rig.loop, 0);
    for (size_t i = 0; i < ARRAY_COUNT(outcomes); i++) {
        CHECK_EQ(outcomes[i].calls, 1);
        CHECK_EQ(outcomes[i].err, i == 2 ? ERR_PROTOCOL : ERR_OK);
        CHECK(i == 2 || outcomes[i].vocab == outcomes[0].vocab);
        grammar_match_free(outcomes[i].match);
    }
    struct forms_stats stats = forms_stats(rig.forms);
    CHECK_EQ(stats.trees, 1);
    CHECK_EQ(stats.compiled, 2); /* the first, and the bad one */
    CHECK_EQ(stats.found, 3);
    CHECK_EQ(stats.kept, 1);
    rig_close(&rig);
}

TEST(what_is_cancelled_before_it_began_is_not_made)
{
    struct rig rig = rig_open();
    struct form forms[] = {grammar_form("root ::= \"a\""), grammar_form("root ::= \"b\""),
                           grammar_form("root ::= \"c\"")};
    struct form_order *orders[ARRAY_COUNT(forms)];
    struct outcome outcomes[ARRAY_COUNT(forms)];
    for (int round = 0; round < 2; round++) { /* on the list, then on the pool */
        for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
            outcomes[i] = (struct outcome){0};
            CHECK((orders[i] = form_order_new(rig.engine, &forms[i])));
            forms_get(rig.forms, orders[i], on_done, &outcomes[i]);
        }
        CHECK_EQ(outcomes[0].calls, round); /* the second time it is kept */
        if (round == 0)
            form_order_cancel(orders[0]); /* makes the vocabulary, for all */
        form_order_cancel(orders[1]);
        form_order_cancel(orders[2]);
        CHECK_EQ(outcomes[1].calls + outcomes[2].calls, 0); /* not inside the call */
        loop_advance(rig.loop, 0);
        CHECK(outcomes[0].calls == 1 && outcomes[0].vocab);
        CHECK_OK(outcomes[0].err);
        grammar_match_free(outcomes[0].match);
        for (size_t i = 1; i < ARRAY_COUNT(forms); i++) {
            CHECK_EQ(outcomes[i].calls, 1);
            CHECK_EQ(outcomes[i].err, ERR_CANCELLED);
        }
    }
    CHECK_EQ(forms_stats(rig.forms).kept, 1);
    CHECK_EQ(forms_stats(rig.forms).trees, 1);
    rig_close(&rig);
}

TEST(what_is_kept_is_there_within_the_call)
{
    struct rig rig = rig_open();
    struct form form = grammar_form("root ::= [a-c]+");
    struct outcome outcome = get(&rig, &form);
    grammar_match_free(outcome.match);
    ask(&rig, &form, &outcome);
    CHECK_EQ(outcome.calls, 1);
    CHECK_OK(outcome.err);
    grammar_match_free(outcome.match);
    form.kind = FORM_JSON_SCHEMA; /* the same text is not the same thing */
    CHECK_EQ(get(&rig, &form).err, ERR_PROTOCOL);
    rig_close(&rig);
}

TEST(the_longest_unused_makes_way)
{
    struct rig rig = rig_open();
    char text[64];
    struct form first = grammar_form("root ::= \"first\"");
    for (int i = 0; i <= 2 * FORMS_KEPT_MAX; i++) {
        snprintf(text, sizeof(text), "root ::= \"%d\"", i);
        struct form form = grammar_form(text);
        grammar_match_free(get(&rig, &form).match);
        grammar_match_free(get(&rig, &first).match); /* used all the time */
        CHECK(forms_stats(rig.forms).kept <= FORMS_KEPT_MAX);
    }
    struct forms_stats stats = forms_stats(rig.forms);
    CHECK_EQ(stats.kept, FORMS_KEPT_MAX);
    CHECK(stats.kept_bytes > 0 && stats.kept_bytes <= FORMS_KEPT_BYTES_MAX);
    CHECK_EQ(stats.compiled, 2 * FORMS_KEPT_MAX + 2);
    CHECK_EQ(stats.found, 2 * FORMS_KEPT_MAX);
    rig_close(&rig);
}

/* Of more than a megabyte each: the bytes bind before the number does. */
TEST(large_ones_are_fewer)
{
    struct rig rig = rig_open();
    char text[256];
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof(text),
                 "root ::= [a]{16000} [b]{16000} [c]{16000} [d]{16000} [e]{16000} [f]{%d}",
                 16000 + i);
        struct form form = grammar_form(text);
        struct outcome outcome = get(&rig, &form);
        CHECK_STR(outcome.note.text, "");
        grammar_match_free(outcome.match);
        CHECK(forms_stats(rig.forms).kept_bytes <= FORMS_KEPT_BYTES_MAX);
    }
    CHECK_EQ(forms_stats(rig.forms).compiled, 40);
    CHECK(forms_stats(rig.forms).kept < 40);
    rig_close(&rig);
}

TEST(what_is_wrong_is_said_with_its_place)
{
    static const struct form_trigger word = {.word = SLICE("x"), .token = FORM_NO_TOKEN},
                                     strange = {.token = 1 << 20},
                                     impossible = {.word = SLICE("b"),
                                                   .token = FORM_NO_TOKEN,
                                                   .is_included = true};
    static const struct {
        enum form_kind kind;
        const char *text, *note;
        const struct form_trigger *trigger;
        enum err err;
    } cases[] = {
        {FORM_GRAMMAR, "root ::= (", "grammar: line 1, column 11: ", NULL, ERR_PROTOCOL},
        {FORM_GRAMMAR, "root ::= root \"a\"", "grammar: line 1", NULL, ERR_REFUSED},
        {FORM_JSON_SCHEMA, "{\"type\":7}", "", NULL, ERR_PROTOCOL},
        {FORM_JSON_SCHEMA, "{\"properties\":{\"a\":{\"not\":{}}}}", "", NULL, ERR_REFUSED},
        {FORM_GRAMMAR, "root ::= \"a\"", "", &word, ERR_OK},
        {FORM_GRAMMAR, "root ::= \"a\"",
         "grammar trigger 0: token 1048576: the model's vocabulary is 0..", &strange, ERR_LIMIT},
        {FORM_GRAMMAR, "root ::= \"a\"", "grammar trigger 0: the grammar cannot begin with it",
         &impossible, ERR_REFUSED},
    };
    struct rig rig = rig_open();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct form form = {.kind = cases[i].kind,
                            .text = slice_str(cases[i].text),
                            .param = SLICE("its.name"),
                            .triggers = cases[i].trigger,
                            .trigger_count = cases[i].trigger != NULL};
        struct outcome outcome = get(&rig, &form);
        CHECK_EQ(outcome.err, cases[i].err);
        CHECK(slice_starts_with(slice_str(outcome.note.text), slice_str(cases[i].note)));
        CHECK_EQ(outcome.note.text[0] == '\0', outcome.err == ERR_OK);
        CHECK_STR(outcome.param, "its.name");
        grammar_match_free(outcome.match);
    }
    rig_close(&rig);
}
