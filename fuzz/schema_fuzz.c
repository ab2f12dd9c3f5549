/* schema_fuzz - whatever the schema: it is refused in clean words, or becomes a grammar that can be
 * parsed (or is beyond a limit of grammars), of which every word is JSON. */
#include "base/json.h"
#include "base/mem.h"
#include "grammar/grammar_match.h"
#include "grammar/schema.h"

#include "choice.h"

enum { WORD_MAX = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_refusal(enum err err, const struct err_note *note)
{
    ASSERT(err == ERR_PROTOCOL || err == ERR_LIMIT || err == ERR_REFUSED);
    ASSERT(note->text[0]);
    for (const char *c = note->text; *c; c++)
        ASSERT_MSG(*c >= 0x20 && *c < 0x7F, "%s", note->text);
}

/* Any byte that is allowed, often one that leads to the end; false: there is none. */
static bool add_byte(struct grammar_match *match, uint64_t *choice, struct text *word)
{
    static const char ends[] = "\"}]:,0";
    size_t first = choice_next(choice, 256);
    for (size_t i = 0; i < 256 + sizeof(ends); i++) {
        bool is_end = i < sizeof(ends) - 1 && first % 2;
        char byte = is_end ? ends[i] : (char)(first + i);
        if (grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_of(&byte, 1)) != ERR_OK)
            continue;
        text_add_byte(word, byte);
        return true;
    }
    return false;
}

/* A random word that came to its end is JSON, but for keys that come twice. */
static void check_word(struct grammar *grammar, uint64_t choice)
{
    struct grammar_match *match;
    struct text word;
    if (grammar_match_new(grammar, NULL, &match) != ERR_OK)
        return;
    text_init(&word, WORD_MAX);
    while (word.len < WORD_MAX && !grammar_match_is_over(match) && add_byte(match, &choice, &word))
        continue;
    if (grammar_match_can_end(match)) {
        json_t *value = json_loadb(word.data, word.len, JSON_DECODE_ANY, NULL);
        ASSERT_MSG(value, SLICE_FMT, SLICE_ARG(text_slice(&word)));
        json_decref(value);
    }
    text_fini(&word);
    grammar_match_free(match);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice schema = slice_of(data, size);
    uint64_t choice = choice_of(data, size);
    struct grammar *grammar = NULL;
    struct err_note note = {{0}};
    struct text text;
    text_init(&text, choice % 16 == 0 ? choice_next(&choice, 4096) : 1 << 20);
    mem_test_fail_nth(choice % 128);
    enum err err = schema_to_grammar(schema, &text, &note);
    mem_test_fail_nth(0);
    if (err == ERR_OK)
        err = grammar_parse(text_slice(&text), &grammar, &note);
    if (err == ERR_OK)
        check_word(grammar, choice);
    else if (err != ERR_FULL)
        check_refusal(err, &note);
    /* Our own text is GBNF; too many or too large rules it may have. */
    ASSERT_MSG(grammar || err == ERR_FULL ||
                   slice_find(slice_str(note.text), SLICE("grammar: ")) != 0 || err == ERR_LIMIT,
               "%s", note.text);
    grammar_unref(grammar);
    text_fini(&text);
    return 0;
}
