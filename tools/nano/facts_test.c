/* facts_test - facts.txt is what its top says, and its answers can be told apart. */
#include "nano/facts.h"
#include "nano/family.h"
#include "nano/phrase.h"
#include "testing/test.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

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
    CHECK_OK(facts_read(SLICE("# words\n\n" GOOD "fact! b\nzh-do 停止\ntest 怎么办\nsay 关闭。\n"
                              "say 请关闭。\nneed 关闭|停\n"),
                        &facts, &note));
    CHECK_EQ(facts->count, 2);
    CHECK_SLICE(facts->facts[0].name, "a");
    CHECK_EQ(facts->facts[0].wording_count, 2);
    CHECK_SLICE(facts->facts[0].wordings[1].pattern, "the [http|tcp] port");
    CHECK_SLICE(facts->facts[0].tests[0], "which port is it");
    CHECK(!facts->facts[0].is_chinese);
    CHECK(!facts->facts[0].is_often);
    CHECK(facts->facts[1].is_often);
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
    CHECK_STR(complaint(GOOD "fact! a\n"), "line 6: a second fact a");
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

/* A question as training may ask it, without greeting and marks. */
static void add_trained(struct text *out, struct choice *choice, const struct fact *fact)
{
    struct slot it = {"it", choice_percent(choice, 50) ? SLICE("it") : SLICE("millrace")};
    const struct fact_wording *wording = &fact->wordings[choice_below(choice, fact->wording_count)];
    struct text words;
    text_init(&words, 1024);
    phrase_add(&words, choice, wording->pattern, &it, 1);
    struct fact_templates list = fact_templates(wording->form);
    PHRASE(out, choice, list.patterns[list_part(choice, list.count, SPLIT_TRAIN)], it,
           {"x", text_slice(&words)});
    text_fini(&words);
}

enum { DRAWS = 1000, QUESTION_MAX = 256 };

struct question {
    uint64_t letters; /* the hash of its bare letters */
    size_t fact;
};

static int by_letters(const void *a, const void *b)
{
    const struct question *left = a, *right = b;
    return left->letters < right->letters ? -1 : left->letters > right->letters;
}

static struct question *draw_trained(const struct facts *facts)
{
    struct question *drawn = mem_array(facts->count * DRAWS, sizeof(*drawn));
    struct choice choice = {7};
    char letters[QUESTION_MAX];
    struct text text;
    text_init(&text, QUESTION_MAX);
    for (size_t i = 0; i < facts->count * DRAWS; i++) {
        text_clear(&text);
        add_trained(&text, &choice, &facts->facts[i / DRAWS]);
        drawn[i] = (struct question){hash_bytes(bare(text_slice(&text), letters)), i / DRAWS};
    }
    text_fini(&text);
    qsort(drawn, facts->count * DRAWS, sizeof(*drawn), by_letters);
    return drawn;
}

/* Two facts asked alike teach nothing. */
TEST(no_question_of_training_belongs_to_two_facts)
{
    const struct facts *facts = facts_of_millrace();
    struct question *drawn = draw_trained(facts);
    size_t shared = 0;
    for (size_t i = 1; i < facts->count * DRAWS; i++) {
        const struct question *a = &drawn[i - 1], *b = &drawn[i];
        if (a->letters != b->letters || a->fact == b->fact)
            continue;
        shared++;
        printf("two facts have a question: " SLICE_FMT ", " SLICE_FMT "\n",
               SLICE_ARG(facts->facts[a->fact].name), SLICE_ARG(facts->facts[b->fact].name));
    }
    mem_free(drawn);
    CHECK_EQ(shared, 0);
}

/* A question of the test that is trained examines nothing. */
TEST(no_question_of_the_test_is_one_of_training)
{
    const struct facts *facts = facts_of_millrace();
    struct question *drawn = draw_trained(facts);
    char letters[QUESTION_MAX];
    struct slot it = {"it", SLICE("it")};
    struct choice choice = {8};
    struct text text;
    text_init(&text, QUESTION_MAX);
    size_t trained = 0;
    for (size_t i = 0; i < facts->count; i++) {
        for (size_t k = 0; k < facts->facts[i].test_count; k++) {
            text_clear(&text);
            phrase_add(&text, &choice, facts->facts[i].tests[k], &it, 1);
            struct question asked = {hash_bytes(bare(text_slice(&text), letters)), i};
            if (bsearch(&asked, drawn, facts->count * DRAWS, sizeof(*drawn), by_letters)) {
                trained++;
                printf("trained: " SLICE_FMT "\n", SLICE_ARG(text_slice(&text)));
            }
        }
    }
    text_fini(&text);
    mem_free(drawn);
    CHECK_EQ(trained, 0);
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
