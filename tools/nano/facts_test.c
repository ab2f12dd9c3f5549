/* facts_test - facts.txt is what its top says, and its answers can be told apart. */
#include "nano/facts.h"
#include "nano/family.h"
#include "nano/phrase.h"
#include "testing/test.h"

#include <stdio.h>

/* What facts_read() says of a text that is wrong. */
static const char *complaint(const char *text)
{
    static struct err_note note;
    struct facts *facts = NULL;
    note.text[0] = '\0';
    CHECK_ERR(facts_read(slice_str(text), &facts, &note), ERR_PROTOCOL);
    return note.text;
}

#define GOOD                                                                                       \
    "fact a\nvalue the port ; the [http|tcp] port\ntest which port is it\nsay It is 8080.\nneed "  \
    "8080\n"

TEST(a_fact_is_read_with_all_its_lines)
{
    struct facts *facts;
    struct err_note note;
    CHECK_OK(facts_read(SLICE("# words\n\n" GOOD "fact b\nzh-do 停止\ntest 怎么办\nsay 关闭。\n"
                              "say 请关闭。\nneed 关闭|停\n"),
                        &facts, &note));
    CHECK_EQ(facts->count, 2);
    CHECK_SLICE(facts->facts[0].name, "a");
    CHECK_EQ(facts->facts[0].wording_count, 2);
    CHECK_SLICE(facts->facts[0].wordings[1].pattern, "the [http|tcp] port");
    CHECK_SLICE(facts->facts[0].tests[0], "which port is it");
    CHECK(!facts->facts[0].is_chinese);
    CHECK_EQ(facts->facts[1].say_count, 2);
    CHECK(facts->facts[1].is_chinese);
    CHECK(fact_is_told(&facts->facts[1], SLICE("停")));
    CHECK(!fact_is_told(&facts->facts[0], SLICE("It is 8081.")));
    facts_free(facts);
}

TEST(a_mistake_is_told_with_its_line)
{
    CHECK_STR(complaint(""), "line 0: no fact in 0 bytes");
    CHECK_STR(complaint("value the port\n"), "line 1: 'value' before the first fact");
    CHECK_STR(complaint("fact\n"), "line 1: nothing behind 'fact'");
    CHECK_STR(complaint(GOOD "fact a\n"), "line 6: a second fact a");
    CHECK_STR(complaint("fact a\nwhat port\n"),
              "line 2: 'what' is no word that a line begins with");
    CHECK_STR(complaint("fact a\nask which [port\n"), "line 2: a [ without its ]: which [port");
    CHECK_STR(complaint("fact a\nask which {port}\n"),
              "line 2: there is no slot {port}: which {port}");
    CHECK_STR(complaint("fact a\nvalue the port\nsay It is 8080.\nneed 8080\n"),
              "line 4: the fact a of line 1 has no 'test'");
    CHECK_STR(complaint("fact a\nask port\ntest which\nsay It is 8080.\nneed 8080\n"),
              "line 5: the fact a of line 1 can be asked in 1 ways; at least 10 are needed");
    CHECK_STR(complaint("fact a\nvalue the port\ntest which\nsay It is 8080.\nneed 80801\n"),
              "line 5: an answer of the fact a of line 1 does not hold what it needs: It is 8080.");
    CHECK_STR(complaint("fact a\nask port\nzh-ask 端口\n"),
              "line 3: the fact a is asked in two languages");
}

/* Else the examination could not tell a right answer from a wrong one. */
TEST(no_fact_of_the_same_language_is_told_by_the_answer_of_another)
{
    const struct facts *facts = facts_of_millrace();
    size_t mistaken = 0;
    for (size_t i = 0; i < facts->count; i++) {
        for (size_t k = 0; k < facts->count; k++) {
            const struct fact *a = &facts->facts[i], *b = &facts->facts[k];
            if (i == k || a->is_chinese != b->is_chinese)
                continue;
            for (size_t say = 0; say < b->say_count; say++) {
                if (!fact_is_told(a, b->says[say]))
                    continue;
                mistaken++;
                printf("the fact " SLICE_FMT " is told by: " SLICE_FMT "\n", SLICE_ARG(a->name),
                       SLICE_ARG(b->says[say]));
            }
        }
    }
    CHECK_EQ(mistaken, 0);
}

/* Small letters and digits alone: what greetings, marks and capitals leave as it is. */
static struct slice bare(struct slice text, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        if (byte >= 'A' && byte <= 'Z')
            byte = (char)(byte + ('a' - 'A'));
        if (byte < 0 || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9'))
            out[len++] = byte;
    }
    return slice_of(out, len);
}

/* Two facts asked alike teach nothing; a question of the test that is trained examines nothing. */
TEST(a_whole_question_belongs_to_one_fact_and_one_split)
{
    const struct facts *facts = facts_of_millrace();
    struct choice choice = {7};
    size_t met = 0;
    static char asked[FACT_COUNT_MAX * 64][200];
    static struct {
        struct slice text;
        size_t fact;
        bool is_test;
    } seen[FACT_COUNT_MAX * 64];
    size_t count = 0;
    struct text text;
    text_init(&text, 4096);
    for (size_t i = 0; i < facts->count; i++) {
        const struct fact *fact = &facts->facts[i];
        for (size_t k = 0; k < 60 && fact->wording_count > 0; k++) {
            bool is_test = k < fact->test_count;
            const struct fact_wording *wording = &fact->wordings[k % fact->wording_count];
            text_clear(&text);
            phrase_add(&text, &choice, is_test ? fact->tests[k] : wording->pattern,
                       &(struct slot){"it", SLICE("it")}, 1);
            if (text.len >= sizeof(asked[0]))
                continue;
            struct slice letters = bare(text_slice(&text), asked[count]);
            for (size_t other = 0; other < count; other++) {
                if (slice_eq(seen[other].text, letters) &&
                    (seen[other].fact != i || seen[other].is_test != is_test)) {
                    met++;
                    printf(SLICE_FMT " and " SLICE_FMT ": " SLICE_FMT "\n",
                           SLICE_ARG(facts->facts[seen[other].fact].name), SLICE_ARG(fact->name),
                           SLICE_ARG(text_slice(&text)));
                    break;
                }
            }
            seen[count].text = letters;
            seen[count].fact = i;
            seen[count++].is_test = is_test;
        }
    }
    text_fini(&text);
    CHECK_EQ(met, 0);
}

TEST(every_answer_of_a_fact_is_right_and_an_answer_without_its_end_may_be_not)
{
    struct sample sample;
    sample_init(&sample);
    struct score score = {0}, wrong = {0};
    for (uint64_t i = 0; i < 3000; i++) {
        family_examine(&sample, &family_facts, 1, i);
        family_facts.judge(&sample, sample_answer(&sample), &score);
        family_facts.judge(&sample, SLICE("I do not know."), &wrong);
    }
    CHECK_EQ(score.asked[GATE_FACTS], 3000);
    CHECK_EQ(score.right[GATE_FACTS], 3000);
    CHECK_EQ(wrong.right[GATE_FACTS], 0);
    sample_fini(&sample);
}
