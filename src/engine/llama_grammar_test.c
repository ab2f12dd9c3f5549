/* Our grammars against libllama's own grammar sampler, on the vocabulary of the shipped model: the
 * same tokens are allowed at every step of random walks. Skips without the library. */
#include "testing/test.h"
#include "engine/engine_llama_test_open.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "grammar/grammar_mask.h"
#include "grammar/schema.h"

#include <dlfcn.h>
#include <math.h>

/* What only this test calls, so that the product does not ask for it. */
struct sampler_api {
    __typeof__(&llama_sampler_init_grammar) init_grammar;
    __typeof__(&llama_sampler_init_grammar_lazy_patterns) init_lazy;
    __typeof__(&llama_sampler_apply) apply;
    __typeof__(&llama_sampler_accept) accept;
    __typeof__(&llama_sampler_free) free;
};

struct rig {
    const struct llama_api *api;
    struct sampler_api sampler;
    struct llama_model *model;
    const struct llama_vocab *vocab;
    uint32_t count;
    struct grammar_vocab *pieces;
    struct grammar_masker *masker;
    llama_token_data *candidates;
    char piece[256];
};

static enum grammar_token_kind token_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    struct rig *rig = ctx;
    int32_t len = rig->api->llama_token_to_piece(rig->vocab, (llama_token)token, rig->piece,
                                                 sizeof(rig->piece), 0, false);
    *out_piece = slice_of(rig->piece, len > 0 ? (size_t)len : 0);
    if (rig->api->llama_vocab_is_eog(rig->vocab, (llama_token)token))
        return GRAMMAR_TOKEN_END;
    return len > 0 ? GRAMMAR_TOKEN_TEXT : GRAMMAR_TOKEN_NEVER;
}

static void *function(const char *name)
{
    void *handle = dlopen("libllama.v" LLAMA_API_RELEASE ".so", RTLD_NOW | RTLD_NOLOAD);
    if (!handle)
        handle = dlopen("libllama.so", RTLD_NOW | RTLD_NOLOAD);
    void *found = handle ? dlsym(handle, name) : NULL;
    if (!found)
        SKIP("libllama cannot be asked for %s", name);
    return found;
}

static struct rig rig_open(void)
{
    struct rig rig = {0};
    struct err_note note = {{0}};
    if (llama_api_load(getenv("MILLRACE_ENGINE_DIR"), search, &rig.api, &note) != ERR_OK)
        SKIP("%s", note.text);
    *(void **)&rig.sampler.init_grammar = function("llama_sampler_init_grammar");
    *(void **)&rig.sampler.init_lazy = function("llama_sampler_init_grammar_lazy_patterns");
    *(void **)&rig.sampler.apply = function("llama_sampler_apply");
    *(void **)&rig.sampler.accept = function("llama_sampler_accept");
    *(void **)&rig.sampler.free = function("llama_sampler_free");
    struct llama_model_params params = rig.api->llama_model_default_params();
    params.vocab_only = true;
    rig.model = rig.api->llama_model_load_from_file(model_path, params);
    CHECK(rig.model != NULL);
    rig.vocab = rig.api->llama_model_get_vocab(rig.model);
    rig.count = (uint32_t)rig.api->llama_vocab_n_tokens(rig.vocab);
    rig.pieces = grammar_vocab_new(rig.count, token_of, &rig);
    rig.masker = grammar_masker_new(rig.pieces, 16);
    rig.candidates = mem_array(rig.count, sizeof(*rig.candidates));
    return rig;
}

static void rig_close(struct rig *rig)
{
    grammar_masker_free(rig->masker);
    grammar_vocab_free(rig->pieces);
    mem_free(rig->candidates);
    rig->api->llama_model_free(rig->model);
}

/* Where the two differ, on purpose. libllama lets some bytes through that no continuation makes a
 * character, and an answer end within one (the end has no bytes). And of a character that is cut,
 * it refuses the beginning when one of those that begin so is excluded; ours is refused when all
 * are. */
static bool may_differ(struct slice said, struct slice piece, bool theirs)
{
    struct text all;
    text_init(&all, 1 << 16);
    text_add(&all, said);
    text_add(&all, piece);
    struct slice bytes = text_slice(&all);
    size_t settled = utf8_settled(bytes);
    bool is_cut = settled < bytes.len, is_wrong = !utf8_is_valid(slice_first(bytes, settled));
    bool may = theirs ? is_wrong || (is_cut && piece.len == 0) : is_cut;
    text_fini(&all);
    return may;
}

static void check_token(struct rig *rig, const char *grammar, struct slice said, uint32_t token,
                        bool ours)
{
    struct slice piece;
    enum grammar_token_kind kind = token_of(rig, token, &piece);
    bool theirs = !isinf(rig->candidates[token].logit);
    /* Control tokens have a text for them ("<|im_start|>"), and are never text for us. */
    if (theirs == ours || kind == GRAMMAR_TOKEN_NEVER || may_differ(said, piece, theirs))
        return;
    struct text words;
    text_init(&words, 1 << 16);
    text_add_f(&words, "%s\nbehind '" SLICE_FMT "' '" SLICE_FMT "': ours %d, theirs %d", grammar,
               SLICE_ARG(said), SLICE_ARG(piece), ours, theirs);
    CHECK_SLICE(text_slice(&words), "the same");
}

/* -INFINITY for what libllama does not allow. */
static void ask_theirs(struct rig *rig, struct llama_sampler *theirs)
{
    for (uint32_t i = 0; i < rig->count; i++)
        rig->candidates[i] = (llama_token_data){.id = (llama_token)i};
    llama_token_data_array array = {.data = rig->candidates, .size = rig->count, .selected = -1};
    rig->sampler.apply(theirs, &array);
    CHECK_EQ(array.size, rig->count);
}

/* A token that is allowed and no end; the count of tokens if there is none. */
static uint32_t compare(struct rig *rig, struct llama_sampler *theirs, const uint64_t *ours,
                        const char *grammar, struct slice said, uint64_t *random)
{
    uint32_t pick = rig->count;
    size_t allowed = 0;
    ask_theirs(rig, theirs);
    for (uint32_t token = 0; token < rig->count; token++) {
        bool is_ours = grammar_mask_has(ours, token);
        check_token(rig, grammar, said, token, is_ours);
        bool is_end = rig->api->llama_vocab_is_eog(rig->vocab, (llama_token)token);
        bool is_theirs = !isinf(rig->candidates[token].logit);
        if (is_ours && is_theirs && !is_end && test_random(random) % ++allowed == 0)
            pick = token;
    }
    return pick;
}

static void walk(struct rig *rig, const char *text, uint64_t seed)
{
    struct grammar *grammar = NULL;
    struct grammar_match *match = NULL;
    struct err_note note = {{0}};
    struct text said;
    struct llama_sampler *theirs = rig->sampler.init_grammar(rig->vocab, text, "root");
    CHECK(theirs != NULL);
    enum err err = grammar_parse(slice_str(text), &grammar, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    CHECK_OK(grammar_match_new(grammar, NULL, &match));
    text_init(&said, 1 << 14);
    for (int step = 0; step < 60; step++) {
        const uint64_t *bits = NULL;
        struct slice piece;
        CHECK_OK(grammar_mask(rig->masker, match, &bits));
        uint32_t pick = compare(rig, theirs, bits, text, text_slice(&said), &seed);
        if (pick == rig->count)
            break;
        (void)token_of(rig, pick, &piece);
        CHECK_OK(grammar_match_accept(match, pick, piece));
        rig->sampler.accept(theirs, (llama_token)pick);
        text_add(&said, piece);
    }
    text_fini(&said);
    grammar_match_free(match);
    grammar_unref(grammar);
    rig->sampler.free(theirs);
}

static const char *const grammars[] = {
    /* JSON */
    "root ::= object\n"
    "value ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" "
    "[0-9a-fA-F]{4}))* \"\\\"\" ws\n"
    "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9] "
    "[1-9]{0,15})? ws\n"
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n",
    /* a list */
    "root ::= item+\n# what an item is\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ "
    "\"\\n\"\n",
    /* arithmetic */
    "root ::= (expr \"=\" ws term \"\\n\")+\nexpr ::= term ([-+*/] term)*\n"
    "term ::= ident | num | \"(\" ws expr \")\" ws\nident ::= [a-z] [a-z0-9_]* ws\n"
    "num ::= [0-9]+ ws\nws ::= [ \\t\\n]*\n",
    /* chess moves */
    "root ::= \"1. \" move \" \" move \"\\n\" ([1-9] [0-9]? \". \" move \" \" move \"\\n\")+\n"
    "move ::= (pawn | nonpawn | castle) [+#]?\n"
    "nonpawn ::= [NBKQR] [a-h]? [1-8]? \"x\"? [a-h] [1-8]\n"
    "pawn ::= ([a-h] \"x\")? [a-h] [1-8] (\"=\" [NBKQR])?\ncastle ::= \"O-O\" \"-O\"?\n",
    /* something like C */
    "root ::= (declaration)*\n"
    "declaration ::= dataType identifier \"(\" parameter? \")\" \"{\" statement* \"}\"\n"
    "dataType ::= \"int\" ws | \"float\" ws | \"char\" ws\nidentifier ::= [a-zA-Z_] [a-zA-Z_0-9]*\n"
    "parameter ::= dataType identifier\n"
    "statement ::= (dataType identifier ws \"=\" ws expression \";\") | (identifier ws \"=\" ws "
    "expression \";\") | (\"return\" ws expression \";\") | (\"while\" \"(\" condition \")\" \"{\" "
    "statement* \"}\")\n"
    "condition ::= expression relation expression\n"
    "relation ::= (\"<=\" | \"<\" | \"==\" | \"!=\" | \">=\" | \">\")\n"
    "expression ::= term ((\"+\" | \"-\") term)*\nterm ::= factor ((\"*\" | \"/\") factor)*\n"
    "factor ::= identifier | number | \"(\" expression \")\"\nnumber ::= [0-9]+\nws ::= ([ "
    "\\t\\n]+)\n",
    /* words of several languages, partial characters */
    "root ::= (greek | cyrillic | kana | emoji | \" \")+\ngreek ::= [\xCE\xB1-\xCF\x89]\n"
    "cyrillic ::= [\\u0430-\\u044f]{2}\nkana ::= [\xE3\x81\x82-\xE3\x82\x93]\n"
    "emoji ::= [\\U0001F600-\\U0001F64F]\n",
    "root ::= [^a-z \\n]{3,9} .? \"\\u20ac\" .\n",
    /* repetitions */
    "root ::= (\"ab\" | \"a\" | \"abc\"){2,5} [0-9]{3} (\"-\" [0-9]{2,4})? \"!\"*\n",
    "root ::= ((\"a\"? \"b\"*)+ \"c\"){1,3}\n",
    /* ambiguous, recursive */
    "root ::= s\ns ::= \"(\" s \")\" s | \"[\" s \"]\" | \"(\" s \"]\" | \"\"\n",
    "root ::= \"if \" word \" then \" (root | word) (\" else \" (root | word))?\n"
    "word ::= [a-z]{1,4} | \"then\" | \"else\"\n",
    /* a tool call */
    "root ::= \"<tool_call>\\n{\\\"name\\\": \" name \", \\\"arguments\\\": {\" pairs? "
    "\"}}\\n</tool_call>\"\n"
    "name ::= \"\\\"get_weather\\\"\" | \"\\\"get_time\\\"\" | \"\\\"search\\\"\"\n"
    "pairs ::= pair (\", \" pair)*\npair ::= \"\\\"\" [a-z_]+ \"\\\": \" (\"\\\"\" [^\"]* \"\\\"\" "
    "| "
    "[0-9]+)\n",
};

TEST(the_same_tokens_are_allowed_as_libllama_allows)
{
    struct rig rig = rig_open();
    for (size_t i = 0; i < ARRAY_COUNT(grammars); i++) {
        for (uint64_t seed = 1; seed <= 3; seed++)
            walk(&rig, grammars[i], seed * 1000 + i);
    }
    rig_close(&rig);
}

/* What we make of schemas is llama.cpp's GBNF, and means the same there. */
TEST(grammars_of_schemas_mean_the_same_to_libllama)
{
    static const char *const schemas[] = {
        ("{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"
         "\"age\":{\"type\":\"integer\",\"minimum\":-3,\"maximum\":150},\"tags\":{\"type\":"
         "\"array\",\"items\":{\"enum\":[\"a\",\"b\",null]},\"maxItems\":3}},\"required\":"
         "[\"age\"]}"),
        ("{\"properties\":{\"ab\":{\"format\":\"date\"},\"a\":{\"pattern\":\"^[A-Z]{2}-.*$\"}},"
         "\"additionalProperties\":{\"type\":\"number\",\"minimum\":0}}"),
        "{}",
    };
    struct rig rig = rig_open();
    for (size_t i = 0; i < ARRAY_COUNT(schemas); i++) {
        struct text text;
        text_init(&text, 1 << 20);
        CHECK_OK(schema_to_grammar(slice_str(schemas[i]), &text, NULL));
        text_add_byte(&text, '\0');
        for (uint64_t seed = 1; seed <= 3; seed++)
            walk(&rig, text.data, seed);
        text_fini(&text);
    }
    rig_close(&rig);
}

/* --- lazy ones: anything may be said until a trigger comes --- */

enum { WORDS_MAX = 2, LAZY_SEEDS = 12, LAZY_STEPS = 80 };

struct lazy {
    const char *grammar;
    const char *words[WORDS_MAX];    /* none of them begins within another */
    const char *patterns[WORDS_MAX]; /* the same for libllama: what means something is escaped */
    const char *piece;               /* of the token that is a trigger; NULL: there is none */
};

/* One walk: what both hold, and what was said. */
struct lazy_walk {
    struct rig *rig;
    const struct lazy *lazy;
    struct grammar *grammar;
    struct grammar_match *match;
    struct llama_sampler *theirs;
    uint32_t trigger; /* the token; GRAMMAR_NO_TOKEN */
    struct text said;
    size_t bound_at; /* the trigger, once it has come */
    uint64_t random;
};

static uint32_t token_named(struct rig *rig, const char *name)
{
    struct slice piece;
    for (uint32_t token = 0; token < rig->count; token++)
        if (token_of(rig, token, &piece) == GRAMMAR_TOKEN_TEXT && slice_eq(piece, slice_str(name)))
            return token;
    SKIP("no token of the shipped model is '%s'", name);
    return GRAMMAR_NO_TOKEN;
}

static struct grammar_triggers *our_triggers(const struct lazy_walk *walk)
{
    struct grammar_trigger list[WORDS_MAX + 1];
    struct grammar_triggers *triggers = NULL;
    size_t count = 0;
    for (size_t i = 0; i < WORDS_MAX && walk->lazy->words[i]; i++)
        list[count++] = (struct grammar_trigger){.word = slice_str(walk->lazy->words[i]),
                                                 .token = GRAMMAR_NO_TOKEN,
                                                 .is_included = true};
    if (walk->trigger != GRAMMAR_NO_TOKEN)
        list[count++] = (struct grammar_trigger){.token = walk->trigger, .is_included = true};
    CHECK_OK(grammar_triggers_new(walk->grammar, list, count, &triggers, NULL));
    return triggers;
}

static struct llama_sampler *their_sampler(const struct lazy_walk *walk)
{
    const struct lazy *lazy = walk->lazy;
    const char *patterns[WORDS_MAX];
    llama_token token = (llama_token)walk->trigger;
    size_t count = 0;
    while (count < WORDS_MAX && lazy->words[count]) {
        patterns[count] = lazy->patterns[count] ? lazy->patterns[count] : lazy->words[count];
        count++;
    }
    return walk->rig->sampler.init_lazy(walk->rig->vocab, lazy->grammar, "root", patterns, count,
                                        &token, walk->trigger != GRAMMAR_NO_TOKEN);
}

static struct lazy_walk lazy_begin(struct rig *rig, const struct lazy *lazy, uint64_t seed)
{
    struct lazy_walk walk = {.rig = rig, .lazy = lazy, .random = seed};
    walk.trigger = lazy->piece ? token_named(rig, lazy->piece) : GRAMMAR_NO_TOKEN;
    CHECK_OK(grammar_parse(slice_str(lazy->grammar), &walk.grammar, NULL));
    struct grammar_triggers *triggers = our_triggers(&walk);
    CHECK_OK(grammar_match_new(walk.grammar, triggers, &walk.match));
    grammar_triggers_unref(triggers);
    walk.theirs = their_sampler(&walk);
    CHECK(walk.theirs != NULL);
    text_init(&walk.said, 1 << 14);
    return walk;
}

static void lazy_end(struct lazy_walk *walk)
{
    text_fini(&walk->said);
    grammar_match_free(walk->match);
    grammar_unref(walk->grammar);
    walk->rig->sampler.free(walk->theirs);
}

/* Where in it the first trigger begins, if its last token is this one; SLICE_NPOS: nowhere. */
static size_t trigger_at(const struct lazy_walk *walk, struct slice all, uint32_t last,
                         size_t last_bytes)
{
    size_t first = last == walk->trigger ? all.len - last_bytes : SLICE_NPOS;
    for (size_t i = 0; i < WORDS_MAX && walk->lazy->words[i]; i++) {
        size_t at = slice_find(all, slice_str(walk->lazy->words[i]));
        first = at < first ? at : first;
    }
    return first;
}

static bool fits(struct grammar *grammar, struct slice text)
{
    struct grammar_match *match = NULL;
    CHECK_OK(grammar_match_new(grammar, NULL, &match));
    enum err err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, text);
    grammar_match_free(match);
    return err == ERR_OK;
}

/* Libllama allows everything until then. So do we, but for a token that has the end of a trigger
 * and goes on as the grammar does not: there it throws when the token is accepted. */
static void compare_waiting(struct lazy_walk *walk, const uint64_t *ours)
{
    ask_theirs(walk->rig, walk->theirs);
    for (uint32_t token = 0; token < walk->rig->count; token++) {
        struct slice piece;
        struct text all;
        CHECK(!isinf(walk->rig->candidates[token].logit));
        if (grammar_mask_has(ours, token))
            continue;
        (void)token_of(walk->rig, token, &piece); /* a control token is never refused here */
        text_init(&all, 1 << 15);
        text_add(&all, text_slice(&walk->said));
        text_add(&all, piece);
        size_t at = trigger_at(walk, text_slice(&all), token, piece.len);
        CHECK(at != SLICE_NPOS);
        CHECK(!fits(walk->grammar, slice_after(text_slice(&all), at)));
        text_fini(&all);
    }
}

/* What is missing of the word of which most has been said at the end, perhaps all. */
static struct slice rest_of_word(const struct lazy_walk *walk)
{
    struct slice said = text_slice(&walk->said), rest = {0};
    size_t most = 0;
    for (size_t i = 0; i < WORDS_MAX && walk->lazy->words[i]; i++) {
        struct slice word = slice_str(walk->lazy->words[i]);
        size_t n = word.len - 1;
        while (!slice_ends_with(said, slice_first(word, n)))
            n--; /* everything ends with nothing */
        if (rest.len > 0 && n <= most)
            continue;
        most = n;
        rest = slice_after(word, n);
    }
    return rest;
}

/* Any token of text; but mostly one that a trigger may go on with: among all of them none would
 * come in the length of a walk. Words are left off and begun anew in between. */
static uint32_t pick_waiting(struct lazy_walk *walk, const uint64_t *ours)
{
    struct slice rest = rest_of_word(walk);
    bool is_steered = rest.len > 0 && test_random(&walk->random) % 4 > 0;
    uint32_t pick = walk->rig->count;
    size_t found = 0;
    if (walk->trigger != GRAMMAR_NO_TOKEN && test_random(&walk->random) % 8 == 0)
        return walk->trigger;
    for (uint32_t token = 0; token < walk->rig->count; token++) {
        struct slice piece;
        if (token_of(walk->rig, token, &piece) != GRAMMAR_TOKEN_TEXT ||
            !grammar_mask_has(ours, token) || (is_steered && !slice_starts_with(rest, piece)))
            continue;
        if (test_random(&walk->random) % ++found == 0)
            pick = token;
    }
    return pick;
}

static void say(struct lazy_walk *walk, uint32_t token)
{
    bool waits = !grammar_match_is_bound(walk->match);
    struct slice piece;
    (void)token_of(walk->rig, token, &piece); /* of text */
    CHECK_OK(grammar_match_accept(walk->match, token, piece));
    walk->rig->sampler.accept(walk->theirs, (llama_token)token);
    text_add(&walk->said, piece);
    if (!waits)
        return;
    size_t at = trigger_at(walk, text_slice(&walk->said), token, piece.len);
    CHECK_EQ(grammar_match_is_bound(walk->match), at != SLICE_NPOS);
    walk->bound_at = at;
}

/* How many tokens were said behind the trigger. */
static size_t walk_lazily(struct rig *rig, const struct lazy *lazy, uint64_t seed)
{
    struct lazy_walk walk = lazy_begin(rig, lazy, seed);
    size_t bound = 0;
    for (int step = 0; step < LAZY_STEPS; step++) {
        const uint64_t *bits = NULL;
        uint32_t pick;
        CHECK_OK(grammar_mask(rig->masker, walk.match, &bits));
        if (grammar_match_is_bound(walk.match)) {
            bound++;
            pick = compare(rig, walk.theirs, bits, lazy->grammar,
                           slice_after(text_slice(&walk.said), walk.bound_at), &walk.random);
        } else {
            compare_waiting(&walk, bits);
            pick = pick_waiting(&walk, bits);
        }
        if (pick == rig->count)
            break;
        say(&walk, pick);
    }
    lazy_end(&walk);
    return bound;
}

TEST(a_lazy_grammar_binds_where_libllamas_does_and_as_it_does)
{
    static const struct lazy cases[] = {
        {.grammar =
             "root ::= \"<tool_call>\\n{\\\"name\\\": \" name \", \\\"arguments\\\": {\" pairs? "
             "\"}}\\n</tool_call>\"\nname ::= \"\\\"get_weather\\\"\" | \"\\\"search\\\"\"\n"
             "pairs ::= pair (\", \" pair)*\npair ::= \"\\\"\" [a-z_]+ \"\\\": \" [0-9]+\n",
         .words = {"<tool_call>"}},
        {.grammar =
             "root ::= \"Answer: \" (\"yes\" | \"no\") \".\" | \"(final) \" [a-z ]{1,20} \".\"\n",
         .words = {"Answer:", "(final)"},
         .patterns = {NULL, "\\(final\\)"}},
        /* what was said may end with the beginning of a word in two ways: "aaab", "ababac" */
        {.grammar = "root ::= (\"aab\" | \"ababac\") [a-z ]* [0-9]{2}\n",
         .words = {"aab", "ababac"}},
        /* of several bytes, which tokens cut */
        {.grammar = "root ::= \"\xe2\x82\xac\" [0-9]+ (\".\" [0-9]{2})?\n",
         .words = {"\xe2\x82\xac"}},
        {.grammar = "root ::= \"{\" [a-z]+ (\",\" [a-z]+)* \"}\"\n", .piece = "{"},
        {.grammar = "root ::= (\"{\" | \"list:\") [a-z]+ (\",\" [a-z]+)* \"}\"\n",
         .words = {"list:"},
         .piece = "{"},
    };
    struct rig rig = rig_open();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t bound = 0;
        for (uint64_t seed = 1; seed <= LAZY_SEEDS; seed++)
            bound += walk_lazily(&rig, &cases[i], seed * 1000 + i);
        CHECK(bound > LAZY_SEEDS); /* the triggers came, and were gone on from */
    }
    rig_close(&rig);
}

TEST(what_libllama_refuses_to_read_is_refused)
{
    static const char *const texts[] = {
        "root ::= a",
        "root ::= \"a\" )",
        "a ::= \"b\"",
        "root ::= root \"a\"",
        "root ::= x root\nx ::= \"\"?",
        "root ::= [a-z",
        "root ::= \"\\q\"",
        "root ::= \"a\"{x}",
        "root ::= a\n| b\na ::= \"a\"\nb ::= \"b\"",
    };
    struct rig rig = rig_open();
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct grammar *grammar = NULL;
        struct llama_sampler *theirs = rig.sampler.init_grammar(rig.vocab, texts[i], "root");
        if (theirs)
            CHECK_STR(texts[i], "refused by libllama");
        CHECK(grammar_parse(slice_str(texts[i]), &grammar, NULL) != ERR_OK);
    }
    rig_close(&rig);
}
