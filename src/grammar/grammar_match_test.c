/* What a grammar means, byte by byte. */
#include "base/mem.h"
#include "base/text.h"
#include "base/utf8.h"
#include "grammar/grammar_match.h"
#include "testing/test.h"

static struct grammar_match *match_of(const char *text)
{
    struct grammar *grammar = NULL;
    struct grammar_match *match = NULL;
    struct err_note note = {{0}};
    enum err err = grammar_parse(slice_str(text), &grammar, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    CHECK_OK(grammar_match_new(grammar, NULL, &match));
    grammar_unref(grammar);
    return match;
}

/* The whole text, and it may end there. */
static bool takes(const char *grammar, struct slice text)
{
    struct grammar_match *match = match_of(grammar);
    enum err err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, text);
    CHECK(err == ERR_OK || err == ERR_REFUSED);
    bool is_taken = err == ERR_OK && grammar_match_can_end(match);
    grammar_match_free(match);
    return is_taken;
}

static void check_takes(const char *grammar, const char *const *texts, size_t count, bool expected)
{
    for (size_t i = 0; i < count; i++) {
        if (takes(grammar, slice_str(texts[i])) != expected)
            CHECK_STR(texts[i], expected ? "taken" : "refused");
    }
}
#define TAKES(grammar, ...)                                                                        \
    check_takes(grammar, (const char *const[]){__VA_ARGS__},                                       \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), true)
#define REFUSES(grammar, ...)                                                                      \
    check_takes(grammar, (const char *const[]){__VA_ARGS__},                                       \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), false)

TEST(literals_alternatives_and_groups)
{
    static const char grammar[] = "root ::= \"a\" (\"b\" | \"cd\" |) x\nx ::= \"x\" | \"xy\"";
    TAKES(grammar, "abx", "acdx", "ax", "abxy");
    REFUSES(grammar, "", "a", "ab", "acx", "abxz", "bx", "abxyx");
    TAKES("root ::= \"\\x41\\u00e9\\U0001F600\\t\\r\\n\\\\\\\"\\[\\]\"",
          "A\xC3\xA9\xF0\x9F\x98\x80\t\r\n\\\"[]");
}

TEST(repetition_is_counted)
{
    TAKES("root ::= \"a\"{2}", "aa");
    REFUSES("root ::= \"a\"{2}", "a", "aaa", "");
    TAKES("root ::= \"a\"{,2}", "", "a", "aa");
    REFUSES("root ::= \"a\"{,2}", "aaa");
    TAKES("root ::= (\"ab\" | \"c\"){1,3} \"d\"", "abd", "cabcd", "cccd");
    REFUSES("root ::= (\"ab\" | \"c\"){1,3} \"d\"", "d", "ccccd", "aabd");
    TAKES("root ::= (\"ab\"){2,}", "abab", "ababab", "abababab");
    REFUSES("root ::= (\"ab\"){2,}", "", "ab", "abababa");
    TAKES("root ::= \"ab\"+ \"c\"?", "ab", "abc", "ababc");
    REFUSES("root ::= \"ab\"+ \"c\"?", "c", "abb", "abcc");
    TAKES("root ::= \"x\"{0} \"y\"", "y");
    REFUSES("root ::= \"x\"{0} \"y\"", "xy");
    TAKES("root ::= (\"a\"{2})* \"b\"", "b", "aab", "aaaab");
    REFUSES("root ::= (\"a\"{2})* \"b\"", "ab", "aaab");
    TAKES("root ::= \"a\"{2}{2}?", "", "aaaa");
    REFUSES("root ::= \"a\"{2}{2}?", "aa", "aaaaa");
}

TEST(loops_over_nothing_end)
{
    TAKES("root ::= (\"\")* \"a\"", "a");
    TAKES("root ::= (x* y*)* \"b\"\nx ::= \"a\"?\ny ::= x x x", "b", "aaab");
    TAKES("root ::= ((x?)+)+\nx ::= \"\" | \"a\"", "", "aaa");
    REFUSES("root ::= (x* y*)* \"b\"\nx ::= \"a\"?\ny ::= x x x", "c", "aa");
}

TEST(recursion_remembers_where_it_came_from)
{
    static const char brackets[] = "root ::= \"(\" root \")\" root | \"[\" root \"]\" root | \"\"";
    TAKES(brackets, "", "()", "([])", "()[()]", "((([[[]]])))()");
    REFUSES(brackets, "(", ")", "(]", "([)]", "())");
    static const char either[] = "root ::= a\na ::= \"x\" a \"y\" | \"x\" a \"z\" | \"\"";
    TAKES(either, "", "xy", "xz", "xxyz", "xxxxxxxxyzyzzzyy");
    REFUSES(either, "x", "y", "xyz", "xxy");
}

TEST(classes_are_sets_of_characters)
{
    TAKES("root ::= [a-c_-]+", "abc", "-_a");
    REFUSES("root ::= [a-c_-]+", "d", "`", "");
    TAKES("root ::= [^a-c\\n]", "d", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\x01",
          "\x7F");
    REFUSES("root ::= [^a-c\\n]", "a", "b", "\n", "dd");
    TAKES("root ::= .{2}", "\xC3\xA9\n", "ab", "\xF4\x8F\xBF\xBF\xEF\xBF\xBF");
    REFUSES("root ::= .", "ab", "\xC3", "\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
            "\xE0\x80\x80", "\x80");
    CHECK(!takes("root ::= .", slice_of("", 1)));
    CHECK(!takes("root ::= [^a]", slice_of("", 1)));
    CHECK(takes("root ::= [\\x00]", slice_of("", 1)));
    REFUSES("root ::= [^\\x01-\\U0010FFFF]", "", "a");
}

/* Every beginning of two bytes, with what makes a difference behind it. */
TEST(only_valid_utf8_is_ever_whole)
{
    static const uint8_t tails[] = {0x7F, 0x80, 0xBF, 0xC0};
    static const char *const texts[] = {"root ::= .", "root ::= [^\"]",
                                        "root ::= [\\x00-\\U0010FFFF]"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct grammar_match *match = match_of(texts[i]);
        for (uint32_t bits = 0; bits < 1 << 20; bits++) {
            char bytes[4] = {(char)(bits & 0xFF), (char)(bits >> 8 & 0xFF),
                             (char)tails[bits >> 16 & 3], (char)tails[bits >> 18]};
            size_t len = utf8_first(slice_of(bytes, 4)).len;
            bool is_char = utf8_first(slice_of(bytes, 4)).valid && bytes[0] != 0 && bytes[0] != '"';
            for (size_t cut = 1; is_char && cut <= len; cut++)
                CHECK_OK(grammar_match_check(match, GRAMMAR_NO_TOKEN, slice_of(bytes, cut)));
            /* Of what is no character, all but the beginnings of one are refused. */
            if (!utf8_first(slice_of(bytes, 4)).valid)
                CHECK_ERR(grammar_match_check(match, GRAMMAR_NO_TOKEN, slice_of(bytes, len + 1)),
                          ERR_REFUSED);
        }
        grammar_match_free(match);
    }
}

static struct slice utf8_of(uint32_t code, char bytes[4])
{
    if (code < 0x80) {
        bytes[0] = (char)code;
        return slice_of(bytes, 1);
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(leads[len] | code);
    return slice_of(bytes, len);
}

static bool is_in(const uint32_t (*ranges)[2], size_t count, uint32_t code)
{
    for (size_t i = 0; i < count; i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1])
            return true;
    }
    return false;
}

/* Code points around every end of a range, and around where UTF-8 changes its length. */
static void check_class(const uint32_t (*ranges)[2], size_t count, uint64_t *random)
{
    bool is_negated = test_random(random) % 2;
    struct text text;
    text_init(&text, 4096);
    text_add_str(&text, is_negated ? "root ::= [^" : "root ::= [");
    for (size_t i = 0; i < count; i++)
        text_add_f(&text, "\\U%08X-\\U%08X", ranges[i][0], ranges[i][1]);
    text_add(&text, slice_of("]", 2)); /* with its NUL */
    struct grammar_match *match = match_of(text.data);
    static const uint32_t fixed[] = {1,      0x7F,   0x80,    0x7FF,   0x800,   0xFFF,   0xD7FF,
                                     0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0x10FFFF};
    for (size_t i = 0; i < ARRAY_COUNT(fixed) + 6 * count; i++) {
        size_t near = i - ARRAY_COUNT(fixed);
        uint32_t code = i < ARRAY_COUNT(fixed)
                            ? fixed[i]
                            : ranges[near / 6][near / 3 % 2] + (uint32_t)(near % 3) - 1;
        char bytes[4];
        if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            continue;
        bool is_taken =
            grammar_match_check(match, GRAMMAR_NO_TOKEN, utf8_of(code, bytes)) == ERR_OK;
        if (is_taken == (is_in(ranges, count, code) == is_negated))
            CHECK_STR(text.data, is_taken ? "taken" : "refused");
    }
    grammar_match_free(match);
    text_fini(&text);
}

TEST(random_classes_match_what_they_name_in_every_length_of_utf8)
{
    uint64_t random = 7;
    for (int round = 0; round < 2000; round++) {
        uint32_t ranges[8][2];
        size_t count = 1 + test_random(&random) % 8;
        for (size_t i = 0; i < count; i++) {
            uint32_t bits = 1 + (uint32_t)(test_random(&random) % 20);
            uint32_t low = (uint32_t)(test_random(&random) & ((1u << bits) - 1)), high;
            low = low >= 0xD800 && low <= 0xDFFF ? 0xE000 : low ? low : 1;
            high =
                low + (uint32_t)(test_random(&random) % (1u << (test_random(&random) % bits + 1)));
            high = high > 0x10FFFF ? 0x10FFFF : high >= 0xD800 && high <= 0xDFFF ? 0xE000 : high;
            ranges[i][0] = low;
            ranges[i][1] = high < low ? low : high;
        }
        check_class((const uint32_t(*)[2])ranges, count, &random);
    }
}

TEST(a_token_may_end_inside_a_character)
{
    struct grammar_match *match =
        match_of("root ::= [\xE2\x82\xAC\xF0\x9F\x98\x80-\xF0\x9F\x98\x82]+");
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("\xE2\x82")));
    CHECK(!grammar_match_can_end(match));
    CHECK_ERR(grammar_match_check(match, GRAMMAR_NO_TOKEN, SLICE("\xAD")), ERR_REFUSED);
    CHECK_ERR(grammar_match_check(match, GRAMMAR_NO_TOKEN, SLICE("x")), ERR_REFUSED);
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("\xAC\xF0\x9F")));
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("\x98")));
    CHECK_ERR(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("\x83")), ERR_REFUSED);
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("\x82")));
    CHECK(grammar_match_can_end(match));
    grammar_match_free(match);
}

static const char json_text[] =
    "root ::= value\n"
    "value ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
    "object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n"
    "array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" "
    "[0-9a-fA-F]{4}))* \"\\\"\" ws\n"
    "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9]{1,15})? ws\n"
    "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n";

static const char document[] =
    "{\"name\": \"Zo\xC3\xAB \xF0\x9F\x98\x80 \\u00e9\\\\\", \"list\": [1, -2.5e+10, true, null,\n"
    "   {\"deep\": [[[[\"x\"]]]], \"empty\": {}}], \"n\": 0} ";

/* Rule 1 of grammar_match.h, which failover stands on: the delivered bytes, however they are cut.
 */
TEST(replay_over_the_same_bytes_is_at_the_same_place)
{
    struct slice text = slice_str(document);
    for (size_t cut = 0; cut <= text.len; cut++) {
        struct grammar_match *first = match_of(json_text), *second = match_of(json_text), *third;
        for (size_t i = 0; i < cut; i++)
            CHECK_OK(grammar_match_accept(first, GRAMMAR_NO_TOKEN, slice_of(text.data + i, 1)));
        CHECK_OK(grammar_match_accept(second, GRAMMAR_NO_TOKEN, slice_first(text, cut)));
        CHECK_OK(grammar_match_clone(first, &third));
        CHECK(grammar_match_hash(first) == grammar_match_hash(second));
        CHECK(grammar_match_hash(first) == grammar_match_hash(third));
        CHECK_EQ(grammar_match_can_end(first), grammar_match_can_end(second));
        CHECK_OK(grammar_match_accept(third, GRAMMAR_NO_TOKEN, slice_after(text, cut)));
        CHECK_OK(grammar_match_accept(second, GRAMMAR_NO_TOKEN, slice_after(text, cut)));
        CHECK(grammar_match_hash(third) == grammar_match_hash(second));
        CHECK(grammar_match_can_end(third) && grammar_match_is_over(third));
        grammar_match_free(first);
        grammar_match_free(second);
        grammar_match_free(third);
    }
}

TEST(what_is_refused_changes_nothing)
{
    struct grammar_match *match = match_of(json_text);
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("{\"a\": [1, ")));
    uint64_t hash = grammar_match_hash(match);
    CHECK_ERR(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("2, 3]}} ")), ERR_REFUSED);
    CHECK_ERR(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("]")), ERR_REFUSED);
    CHECK(grammar_match_hash(match) == hash);
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("2]}")));
    grammar_match_free(match);
}

TEST(a_long_answer_costs_no_more_memory_than_a_short_one)
{
    struct grammar_match *match = match_of(json_text);
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("[")));
    for (int i = 0; i < 100; i++)
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("{\"k\": [\"v\", 12.5]}, ")));
    size_t bytes = grammar_match_bytes(match);
    for (int i = 0; i < 5000; i++)
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("{\"k\": [\"v\", 12.5]}, ")));
    CHECK_EQ(grammar_match_bytes(match), bytes);
    CHECK(bytes < 32 << 10);
    grammar_match_free(match);
}

/* Each time another place: what was before has to be let go of. */
TEST(memory_stays_bounded_where_every_place_is_new)
{
    struct grammar_match *match = match_of("root ::= (\"a\" | \"b\"){16384}{16384}");
    size_t most = 0;
    for (int i = 0; i < 100000; i++) {
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("a")));
        if (grammar_match_bytes(match) > most)
            most = grammar_match_bytes(match);
    }
    CHECK(most < 512 << 10);
    grammar_match_free(match);
}

TEST(depth_is_limited_and_said_before_it_is_crossed)
{
    struct grammar_match *match = match_of("root ::= \"(\" root \")\" | \"x\"");
    size_t depth = 0;
    enum err err;
    while ((err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("("))) == ERR_OK)
        depth++;
    CHECK_ERR(err, ERR_LIMIT);
    CHECK_EQ(depth, 1024);
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("x")));
    for (size_t i = 0; i < depth; i++)
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE(")")));
    CHECK(grammar_match_is_over(match));
    grammar_match_free(match);
}

/* 2^n ways to read the same text, in n places. */
TEST(ways_to_read_that_end_alike_are_one_place)
{
    struct grammar_match *match =
        match_of("root ::= a\na ::= \"x\" a \"y\" | \"x\" a \"z\" | \"\"");
    for (int i = 0; i < 500; i++)
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("x")));
    for (int i = 0; i < 500; i++)
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, i % 3 ? SLICE("y") : SLICE("z")));
    CHECK(grammar_match_can_end(match));
    CHECK(grammar_match_bytes(match) < 1 << 20);
    grammar_match_free(match);
}

TEST(the_places_of_a_state_are_limited)
{
    for (int over = 0; over < 2; over++) {
        struct text text;
        text_init(&text, 1 << 20);
        text_add_str(&text, "root ::= \"<\" (");
        for (int i = 1; i < 4096 + over; i++)
            text_add_str(&text, "\"a\" |");
        text_add(&text, slice_of("\"b\")", sizeof("\"b\")"))); /* with its NUL */
        struct grammar_match *match = match_of(text.data);
        CHECK_ERR(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("<")),
                  over ? ERR_LIMIT : ERR_OK);
        grammar_match_free(match);
        text_fini(&text);
    }
}

TEST(a_match_that_finds_no_memory_stays_where_it_was)
{
    uint64_t failures = 0;
    for (uint64_t nth = 1;; nth++) {
        struct grammar_match *match = match_of(json_text), *clone = NULL;
        uint64_t hash = grammar_match_hash(match);
        mem_test_fail_nth(nth);
        uint64_t before = mem_peer_count();
        enum err err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_str(document));
        if (err == ERR_OK)
            err = grammar_match_clone(match, &clone);
        bool has_failed = mem_peer_count() - before >= nth;
        mem_test_fail_nth(0);
        CHECK_ERR(err, has_failed ? ERR_FULL : ERR_OK);
        if (has_failed && !clone && grammar_match_hash(match) == hash)
            CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_str(document)));
        failures += has_failed;
        grammar_match_free(match);
        grammar_match_free(clone);
        if (!has_failed)
            break;
    }
    CHECK(failures > 5);
}

/* --- triggers --- */

static struct grammar_match *lazy_of(const char *text, const struct grammar_trigger *triggers,
                                     size_t count)
{
    struct grammar *grammar = NULL;
    struct grammar_triggers *made = NULL;
    struct grammar_match *match = NULL;
    CHECK_OK(grammar_parse(slice_str(text), &grammar, NULL));
    CHECK_OK(grammar_triggers_new(grammar, triggers, count, &made, NULL));
    CHECK_OK(grammar_match_new(grammar, made, &match));
    grammar_triggers_unref(made);
    grammar_unref(grammar);
    return match;
}

static const char call_text[] = "root ::= \"<call>\" [a-z]+ \"</call>\"";
static const char inner_text[] = "root ::= [a-z]+ \"</call>\"";

TEST(a_lazy_grammar_binds_behind_its_trigger_however_it_is_cut)
{
    struct grammar_trigger trigger = {.word = SLICE("<call>"), .token = GRAMMAR_NO_TOKEN};
    struct slice text = SLICE("I say <ca<call>abc</call>");
    for (int is_included = 0; is_included < 2; is_included++) {
        trigger.is_included = is_included;
        for (size_t cut = 0; cut <= text.len; cut++) {
            struct grammar_match *match =
                lazy_of(is_included ? call_text : inner_text, &trigger, 1);
            CHECK(grammar_match_can_end(match) && !grammar_match_is_bound(match));
            CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_first(text, cut)));
            CHECK_EQ(grammar_match_is_bound(match), cut >= strlen("I say <ca<call>"));
            CHECK_ERR(grammar_match_check(match, GRAMMAR_NO_TOKEN, SLICE("<call>A")), ERR_REFUSED);
            CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_after(text, cut)));
            CHECK(grammar_match_is_over(match));
            grammar_match_free(match);
        }
    }
}

TEST(the_longer_of_two_triggers_at_the_same_byte_binds)
{
    struct grammar_trigger triggers[] = {
        {.word = SLICE("call>"), .token = GRAMMAR_NO_TOKEN},
        {.word = SLICE("<call>"), .token = GRAMMAR_NO_TOKEN, .is_included = true}};
    struct grammar_match *match = lazy_of(call_text, triggers, 2);
    CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, SLICE("x<call>abc</call>")));
    CHECK(grammar_match_is_over(match));
    grammar_match_free(match);
}

TEST(a_trigger_at_the_start_has_only_blanks_before_it)
{
    struct grammar_trigger trigger = {
        .word = SLICE("aab"), .token = GRAMMAR_NO_TOKEN, .only_at_start = true};
    static const struct {
        const char *text;
        bool is_bound;
    } cases[] = {{"aab", true},    {" \n aab", true}, {"aaab", false}, {"x aab", false},
                 {"a aab", false}, {"aaxaab", false}, {"aa", false}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct grammar_match *match = lazy_of(inner_text, &trigger, 1);
        CHECK_OK(grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_str(cases[i].text)));
        CHECK_EQ(grammar_match_is_bound(match), cases[i].is_bound);
        grammar_match_free(match);
    }
}

TEST(a_token_can_be_the_trigger_with_its_bytes_or_without)
{
    struct grammar_trigger triggers[] = {
        {.token = 17},
        {.token = 18, .is_included = true},
        {.token = 19, .is_included = true, .word = SLICE("<call>")}}; /* a control token */
    struct grammar_match *match = lazy_of(call_text, triggers, 3), *clone;
    CHECK_OK(grammar_match_accept(match, 16, SLICE("<call>")));
    CHECK(!grammar_match_is_bound(match));
    CHECK_OK(grammar_match_clone(match, &clone));
    CHECK_OK(grammar_match_accept(match, 17, SLICE("")));
    CHECK(grammar_match_is_bound(match));
    CHECK_OK(grammar_match_accept(match, 16, SLICE("<call>x</call>")));
    CHECK_ERR(grammar_match_check(clone, 18, SLICE("call")), ERR_REFUSED);
    CHECK_OK(grammar_match_check(clone, 19, SLICE("")));
    CHECK_OK(grammar_match_accept(clone, 18, SLICE("<call>")));
    CHECK_OK(grammar_match_accept(clone, 1, SLICE("x</call>")));
    CHECK(grammar_match_is_over(clone));
    grammar_match_free(match);
    grammar_match_free(clone);
}

TEST(triggers_that_cannot_work_are_refused)
{
    static const char long_word[GRAMMAR_TRIGGER_MAX_BYTES + 1] = {'x'};
    struct grammar *grammar = NULL;
    struct grammar_triggers *made = NULL;
    struct err_note note = {{0}};
    struct grammar_trigger trigger = {.token = GRAMMAR_NO_TOKEN}, many[GRAMMAR_TRIGGERS_MAX + 1];
    CHECK_OK(grammar_parse(slice_str(call_text), &grammar, NULL));
    CHECK_ERR(grammar_triggers_new(grammar, &trigger, 0, &made, &note), ERR_PROTOCOL);
    CHECK_ERR(grammar_triggers_new(grammar, &trigger, 1, &made, &note), ERR_PROTOCOL);
    CHECK_STR(note.text, "grammar trigger 0: the word is empty");
    trigger.word = slice_of(long_word, sizeof(long_word));
    CHECK_ERR(grammar_triggers_new(grammar, &trigger, 1, &made, &note), ERR_LIMIT);
    trigger.word.len--;
    CHECK_OK(grammar_triggers_new(grammar, &trigger, 1, &made, &note));
    grammar_triggers_unref(made);
    trigger = (struct grammar_trigger){
        .word = SLICE("call"), .token = GRAMMAR_NO_TOKEN, .is_included = true};
    CHECK_ERR(grammar_triggers_new(grammar, &trigger, 1, &made, &note), ERR_REFUSED);
    CHECK_STR(note.text, "grammar trigger 0: the grammar cannot begin with it");
    for (size_t i = 0; i < ARRAY_COUNT(many); i++)
        many[i] = (struct grammar_trigger){.token = (uint32_t)i};
    CHECK_ERR(grammar_triggers_new(grammar, many, ARRAY_COUNT(many), &made, &note), ERR_LIMIT);
    CHECK_OK(grammar_triggers_new(grammar, many, GRAMMAR_TRIGGERS_MAX, &made, &note));
    grammar_triggers_unref(made);
    grammar_triggers_unref(NULL);
    grammar_unref(grammar);
}
