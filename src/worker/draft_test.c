#include "testing/test.h"
#include "base/mem.h"
#include "worker/draft.h"

enum { TEXT_MAX = 3 * DRAFT_WINDOW_MAX };

struct text_of { /* letters as tokens */
    token_id tokens[TEXT_MAX];
    uint32_t count;
};

static void say(struct text_of *text, const char *letters)
{
    for (; *letters; letters++)
        text->tokens[text->count++] = *letters;
}

static uint32_t follow(struct draft *draft, const struct text_of *text)
{
    return draft_follow(draft, text->tokens, text->count);
}

/* What is guessed, as letters. */
static struct slice guessed(const struct draft *draft, uint32_t count, char out[DRAFT_MAX])
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = (char)draft_guess(draft)[i];
    return slice_of(out, count);
}

/* So that a guess is as long as it may be: a stream that was right until now. */
static void make_sure(struct draft *draft, struct text_of *text)
{
    for (int i = 0; i < 64; i++) {
        say(text, "_");
        follow(draft, text);
    }
    CHECK(draft_odds(draft) > 0.95);
}

TEST(what_was_never_said_gives_no_guess)
{
    struct draft *draft = draft_new(100);
    struct text_of *text = mem_alloc(sizeof(*text));
    for (const char *letter = "abcdefghij"; *letter; letter++) {
        say(text, (char[]){*letter, 0});
        CHECK_EQ(follow(draft, text), 0);
    }
    mem_free(text);
    draft_free(draft);
}

TEST(a_match_needs_a_whole_gram)
{
    struct draft *draft = draft_new(100);
    struct text_of *text = mem_alloc(sizeof(*text));
    say(text, "abcX..bc");
    CHECK_EQ(follow(draft, text), 0); /* two of the same */
    say(text, "|abc");
    CHECK(follow(draft, text) > 0);
    CHECK_EQ(draft_guess(draft)[0], 'X');
    mem_free(text);
    draft_free(draft);
}

TEST(the_longest_match_wins_and_of_equals_the_latest)
{
    char out[DRAFT_MAX];
    struct draft *draft = draft_new(200);
    struct text_of *text = mem_alloc(sizeof(*text));
    say(text, "xyabc1..abc2..zabc3..yabc");
    CHECK_SLICE(guessed(draft, follow(draft, text), out), "1."); /* x y? no: "yabc" is there once */
    say(text, "|abc");
    CHECK_EQ(follow(draft, text) > 0, true);
    CHECK_EQ(draft_guess(draft)[0], '|'); /* of four as long the latest */
    mem_free(text);
    draft_free(draft);
}

TEST(what_repeats_is_guessed_to_go_on)
{
    char out[DRAFT_MAX];
    struct draft *draft = draft_new(200);
    struct text_of *text = mem_alloc(sizeof(*text));
    make_sure(draft, text);
    say(text, "1212121212121212");
    follow(draft, text);
    say(text, "1212121212121212");
    CHECK_SLICE(guessed(draft, follow(draft, text), out), "121212121212121");
    mem_free(text);
    draft_free(draft);
}

TEST(odds_follow_what_was_said_and_set_the_length)
{
    struct draft *draft = draft_new(2000);
    struct text_of *text = mem_alloc(sizeof(*text));
    say(text, "abcd.abc");
    CHECK_EQ(follow(draft, text), 2); /* even odds */
    CHECK_NEAR(draft_odds(draft), 0.5, 1e-9);
    double odds = draft_odds(draft);
    say(text, "d"); /* as guessed */
    follow(draft, text);
    CHECK(draft_odds(draft) > odds);
    for (int i = 0; i < 8; i++) { /* never as guessed again */
        say(text, (char[]){(char)('A' + i), 'a', 'b', 'c', 0});
        follow(draft, text);
    }
    CHECK(draft_odds(draft) < 0.25);
    CHECK_EQ(follow(draft, text), 0); /* there is a guess, and it is not offered */
    CHECK_EQ(draft_guess(draft)[0], 'H');
    make_sure(draft, text); /* found out without a row */
    CHECK_EQ(follow(draft, text), DRAFT_MAX);
    mem_free(text);
    draft_free(draft);
}

/* Several tokens at a time, as after a guess that was right, or a text that came from elsewhere. */
TEST(a_text_that_comes_in_pieces_gives_the_same_guesses)
{
    uint64_t random = 7;
    struct draft *whole = draft_new(1000), *pieces = draft_new(1000);
    struct text_of *text = mem_alloc(sizeof(*text));
    while (text->count < 1000) {
        for (uint64_t more = 1 + test_random(&random) % 9; more > 0; more--)
            text->tokens[text->count++] = (token_id)(test_random(&random) % 3);
        follow(pieces, text);
    }
    follow(whole, text);
    CHECK(memcmp(draft_guess(whole), draft_guess(pieces), DRAFT_MAX * sizeof(token_id)) == 0);
    mem_free(text);
    draft_free(whole);
    draft_free(pieces);
}

/* By definition, among the candidates that there may be: all of them, where they are few. */
static uint32_t longest_by_definition(const struct text_of *text, token_id *out_next)
{
    uint32_t best = DRAFT_GRAM - 1;
    for (uint32_t end = text->count - 1; end >= DRAFT_GRAM; end--) {
        uint32_t length = 0;
        while (length < end && length < DRAFT_MATCH_MAX &&
               text->tokens[end - 1 - length] == text->tokens[text->count - 1 - length])
            length++;
        if (length > best) {
            best = length;
            *out_next = text->tokens[end];
        }
    }
    return best;
}

TEST(random_texts_are_matched_as_the_definition_says)
{
    uint64_t random = 11;
    uint32_t found = 0;
    for (int life = 0; life < 200; life++) {
        struct draft *draft = draft_new(150);
        struct text_of *text = mem_alloc(sizeof(*text));
        uint64_t letters = 4 + test_random(&random) % 8; /* 64 grams: hardly one 16 times */
        while (text->count < 100) {
            text->tokens[text->count++] = (token_id)(test_random(&random) % letters);
            follow(draft, text);
            token_id next;
            if (text->count <= DRAFT_GRAM || longest_by_definition(text, &next) < DRAFT_GRAM)
                continue;
            CHECK_EQ(draft_guess(draft)[0], next);
            found++;
        }
        mem_free(text);
        draft_free(draft);
    }
    CHECK(found > 1000);
}

/* One before the edge of the window it is found, at the edge not: and nothing breaks far behind. */
TEST(what_lies_outside_the_window_is_forgotten)
{
    for (uint32_t gap = DRAFT_WINDOW_MAX - 1; gap <= DRAFT_WINDOW_MAX; gap++) {
        struct draft *draft = draft_new(TEXT_MAX);
        struct text_of *text = mem_alloc(sizeof(*text));
        say(text, "abcX");
        while (text->count < gap)
            text->tokens[text->count] = 1000 + (token_id)text->count, text->count++;
        say(text, "abc");
        CHECK_EQ(follow(draft, text) > 0, gap < DRAFT_WINDOW_MAX);
        mem_free(text);
        draft_free(draft);
    }
}

TEST(a_text_of_one_token_for_ever_costs_a_bounded_guess)
{
    struct draft *draft = draft_new(TEXT_MAX);
    struct text_of *text = mem_alloc(sizeof(*text));
    while (text->count < TEXT_MAX) {
        say(text, "a");
        follow(draft, text);
    }
    CHECK_EQ(follow(draft, text), DRAFT_MAX);
    CHECK_EQ(draft_guess(draft)[DRAFT_MAX - 1], 'a');
    mem_free(text);
    draft_free(draft);
}

TEST(without_memory_there_is_none)
{
    mem_test_fail_nth(1);
    CHECK(draft_new(100) == NULL);
    draft_free(NULL);
}
