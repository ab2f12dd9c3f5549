/* What GBNF is read, what is refused, and in which words. What it means: grammar_match_test. */
#include "base/mem.h"
#include "base/text.h"
#include "grammar/grammar.h"
#include "testing/test.h"

static enum err parse(struct slice text, struct err_note *note)
{
    struct grammar *grammar = NULL;
    enum err err = grammar_parse(text, &grammar, note);
    CHECK((err == ERR_OK) == (grammar != NULL));
    grammar_unref(grammar);
    return err;
}

static void check_read(const char *text)
{
    struct err_note note = {{0}};
    enum err err = parse(slice_str(text), &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
}

static void check_refused(const char *text, enum err expected, const char *words)
{
    struct err_note note = {{0}};
    CHECK_ERR(parse(slice_str(text), &note), expected);
    CHECK_STR(note.text, words);
}

TEST(everything_that_gbnf_has_is_read)
{
    check_read("root ::= \"a\"");
    check_read("# a comment\n\nroot   ::=\n  a-1 | [a-z\\]\\-] # and one here\na-1 ::= .");
    check_read(
        "root ::= (\"x\"\n | \"y\" # inside brackets a line may break\n)+ a?\r\na ::= [^\\n]*");
    check_read(
        "root ::= a |\n  b\na ::= \"\\x41\\u00e9\\U0001F600\\t\\r\\n\\\\\\\"\\[\\]\"\nb ::= \"\"");
    check_read("root ::= [0-9]{3} [a-]{2,} \"x\"{,4} \"y\"{ 1 , 2 } \"z\"{0}");
    check_read("root ::= [a-z]*? \"b\"+*\n");
    check_read("root ::= ");
    check_read("root ::= a | | b\na ::= \"a\"\nb ::= ()\nunused ::= root");
}

TEST(errors_say_line_column_and_what_was_expected)
{
    check_refused("root ::= \"a\"\nx ; y", ERR_PROTOCOL,
                  "grammar: line 2, column 3: expected ::=, found ';'");
    check_refused(
        "root ::= \"\xC3\xA9\" )", ERR_PROTOCOL,
        "grammar: line 1, column 14: expected an item, | or the end of the line, found ')'");
    check_refused("root ::= (\"a\"", ERR_PROTOCOL,
                  "grammar: line 1, column 14: expected an item, | or ), found the end");
    check_refused("root ::= (\"a\" \x01", ERR_PROTOCOL,
                  "grammar: line 1, column 15: expected an item, | or ), found byte 0x01");
    check_refused("root ::= \"a\nb", ERR_PROTOCOL,
                  "grammar: line 1, column 10: this literal has no closing quote");
    check_refused("root ::= [a-z", ERR_PROTOCOL,
                  "grammar: line 1, column 10: this class has no closing ]");
    check_refused("root ::= \"\\q\"", ERR_PROTOCOL,
                  "grammar: line 1, column 12: expected one of n r t x u U \\ \" [ ] - behind the "
                  "backslash, found 'q'");
    check_refused("root ::= \"\\u00g0\"", ERR_PROTOCOL,
                  "grammar: line 1, column 15: expected a hexadecimal digit, found 'g'");
    check_refused("root ::= \"a\"{x}", ERR_PROTOCOL,
                  "grammar: line 1, column 14: expected a number, found 'x'");
    check_refused("root ::= \"a\"{2,1}", ERR_PROTOCOL,
                  "grammar: line 1, column 14: at least 2, at most 1 times");
    check_refused("root ::= \"a\"{1,2", ERR_PROTOCOL,
                  "grammar: line 1, column 17: expected }, found the end");
    check_refused("\n\n::= \"a\"", ERR_PROTOCOL,
                  "grammar: line 3, column 1: expected the name of a rule, found ':'");
}

TEST(what_cannot_be_meant_is_refused)
{
    check_refused("", ERR_PROTOCOL,
                  "grammar: there is no rule named root, with which the text begins");
    check_refused("root ::= a\n  | b", ERR_PROTOCOL,
                  "grammar: line 2, column 3: expected the name of a rule, found '|'");
    check_refused("root ::= a b\na ::= \"x\"", ERR_PROTOCOL,
                  "grammar: line 1, column 12: there is no rule named b");
    check_refused("root ::= \"a\"\nroot ::= \"b\"", ERR_PROTOCOL,
                  "grammar: line 2, column 1: rule root is defined twice");
    check_refused("root ::= [z-a]", ERR_PROTOCOL,
                  "grammar: line 1, column 11: this range runs backwards");
    check_refused("root ::= []", ERR_PROTOCOL,
                  "grammar: line 1, column 10: an empty class matches nothing");
    check_refused("root ::= \"\\ud83d\"", ERR_PROTOCOL,
                  "grammar: line 1, column 11: U+D83D is no character");
    check_refused("root ::= \"\\U00110000\"", ERR_PROTOCOL,
                  "grammar: line 1, column 11: U+110000 is no character");
    check_refused(
        "root ::= \"a\" <tool>", ERR_REFUSED,
        "grammar: line 1, column 14: references to tokens (<...>) are not supported: what "
        "is matched is text");
    check_refused("root ::= \"\xFF\"", ERR_PROTOCOL, "grammar: its text is not valid UTF-8");
}

TEST(left_recursion_is_refused)
{
    static const char words[] = "left recursion: rule a may begin with itself; write x ::= y z* "
                                "instead of x ::= y | x z";
    static const char *const texts[] = {
        "root ::= a\na ::= a \"x\" | \"y\"",
        "root ::= a\na ::= b\nb ::= c\nc ::= \"x\" | a",
        "root ::= \"x\"\na ::= b a\nb ::= \"x\"?",
        "root ::= \"x\"\na ::= (b b)* a\nb ::= c{0,2} c?\nc ::= \"x\"*",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct err_note note = {{0}};
        CHECK_ERR(parse(slice_str(texts[i]), &note), ERR_REFUSED);
        CHECK(slice_ends_with(slice_str(note.text), slice_str(words)));
    }
    check_read("root ::= b root | \"x\"\nb ::= \"x\" b? b?");
    check_read("root ::= \"(\" root \")\" root | \"\"");
}

/* --- limits --- */

static struct text repeated(const char *head, const char *item, size_t count, const char *tail)
{
    struct text text;
    text_init(&text, 4 << 20);
    text_add_str(&text, head);
    for (size_t i = 0; i < count; i++)
        text_add_str(&text, item);
    text_add_str(&text, tail);
    CHECK_OK(text_status(&text));
    return text;
}

static void check_limit(struct text text, bool is_within)
{
    struct err_note note = {{0}};
    enum err err = parse(text_slice(&text), &note);
    CHECK((note.text[0] == '\0') == is_within);
    CHECK_ERR(err, is_within ? ERR_OK : ERR_LIMIT);
    text_fini(&text);
}

TEST(limits_hold_at_the_last_that_is_allowed_and_the_first_that_is_not)
{
    size_t head = strlen("root ::= \"\"#");
    check_limit(repeated("root ::= \"\"#", "x", GRAMMAR_TEXT_MAX_BYTES - head, ""), true);
    check_limit(repeated("root ::= \"\"#", "x", GRAMMAR_TEXT_MAX_BYTES - head + 1, ""), false);
    /* The choice, the sequence and the literal are items, too. */
    check_limit(repeated("root ::= \"", "x", GRAMMAR_ITEMS_MAX - 3, "\""), true);
    check_limit(repeated("root ::= \"", "x", GRAMMAR_ITEMS_MAX - 2, "\""), false);
    struct text nested = repeated("root ::= ", "(", GRAMMAR_NESTING_MAX, "\"x\"");
    for (int i = 0; i < GRAMMAR_NESTING_MAX; i++)
        text_add_str(&nested, ")");
    check_limit(nested, true);
    check_limit(repeated("root ::= ", "(", GRAMMAR_NESTING_MAX + 1, "\"x\""), false);
    check_limit(repeated("root ::= \"x\"{16384}", "", 0, ""), true);
    check_limit(repeated("root ::= \"x\"{16385}", "", 0, ""), false);
    check_limit(repeated("root ::= \"x\"{99999999999999999999}", "", 0, ""), false);
    check_limit(repeated("root ::= [", "x", GRAMMAR_CLASS_RANGES_MAX, "]"), true);
    check_limit(repeated("root ::= [", "x", GRAMMAR_CLASS_RANGES_MAX + 1, "]"), false);
    check_limit(repeated("root ::= \"x\"", "*", 4, ""), true);
    check_limit(repeated("root ::= \"x\"", "*", 5, ""), false);
}

TEST(rules_are_limited)
{
    for (size_t over = 0; over < 2; over++) {
        struct text text;
        text_init(&text, 1 << 20);
        text_add_str(&text, "root ::= \"x\"\n");
        for (size_t i = 1; i < GRAMMAR_RULES_MAX + over; i++)
            text_add_f(&text, "r%zu ::= \"x\"\n", i);
        check_limit(text, over == 0);
    }
}

/* 16384 times a rule, a node each, and the one for all ends; without end is one more. */
TEST(nodes_are_limited_and_repetitions_of_repetitions_do_not_multiply)
{
    check_read("root ::= ((((\"x\"{16384}){16384}){16384}){16384} \"y\"){16384}");
    struct text text = repeated("root ::= ", "\"x\"{16384} ", 7, "\"x\"{16383}");
    check_limit(text, true);
    text = repeated("root ::= ", "\"x\"{16384} ", 7, "\"x\"{16384}");
    check_limit(text, false);
}

/* A range of its own for every second code point, and all lengths of UTF-8. */
TEST(the_most_scattered_class_fits)
{
    struct text text;
    text_init(&text, 1 << 16);
    text_add_str(&text, "root ::= [");
    for (uint32_t i = 0; i < GRAMMAR_CLASS_RANGES_MAX; i++) {
        uint32_t code = 1 + i * 2161;
        text_add_f(&text, "\\U%08X", code >= 0xD800 && code <= 0xDFFF ? 0xE000 + i : code);
    }
    text_add_str(&text, "]");
    struct err_note note = {{0}};
    enum err err = parse(text_slice(&text), &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    text_fini(&text);
}

TEST(a_grammar_that_finds_no_memory_is_refused_wherever_that_is)
{
    struct slice text = SLICE("root ::= (a \"b\"){2,5} [^x-z\\u1234]*\na ::= \"aaaa\"? c d e\n"
                              "c ::= [0-9a-f]\nd ::= \"defgh\"\ne ::= (\"i\" | \"j\" | \"k\")*");
    uint64_t before = mem_peer_count();
    struct err_note note = {{0}};
    CHECK_OK(parse(text, &note));
    uint64_t count = mem_peer_count() - before;
    CHECK(count > 10);
    for (uint64_t nth = 1; nth <= count; nth++) {
        note.text[0] = '\0';
        mem_test_fail_nth(nth);
        enum err err = parse(text, &note);
        mem_test_fail_nth(0);
        CHECK_ERR(err, ERR_FULL);
        CHECK_STR(note.text, "grammar: no memory for it");
    }
}

TEST(the_same_text_has_the_same_digest)
{
    struct grammar *a = NULL, *b = NULL, *c = NULL;
    CHECK_OK(grammar_parse(SLICE("root ::= \"a\""), &a, NULL));
    CHECK_OK(grammar_parse(SLICE("root ::= \"a\""), &b, NULL));
    CHECK_OK(grammar_parse(SLICE("root ::= \"b\""), &c, NULL));
    CHECK(sha256_eq(grammar_digest(a), grammar_digest(b)));
    CHECK(!sha256_eq(grammar_digest(a), grammar_digest(c)));
    CHECK(grammar_ref(a) == a);
    grammar_unref(a);
    grammar_unref(a);
    grammar_unref(b);
    grammar_unref(c);
    grammar_unref(NULL);
}
