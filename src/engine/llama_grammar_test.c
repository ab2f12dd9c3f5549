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

/* A token that is allowed and no end; the count of tokens if there is none. */
static uint32_t compare(struct rig *rig, struct llama_sampler *theirs, const uint64_t *ours,
                        const char *grammar, struct slice said, uint64_t *random)
{
    uint32_t pick = rig->count;
    size_t allowed = 0;
    for (uint32_t i = 0; i < rig->count; i++)
        rig->candidates[i] = (llama_token_data){.id = (llama_token)i};
    llama_token_data_array array = {.data = rig->candidates, .size = rig->count, .selected = -1};
    rig->sampler.apply(theirs, &array);
    CHECK_EQ(array.size, rig->count);
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
