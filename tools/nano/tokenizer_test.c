/* Tests of the tokenizer by itself; export_test holds it to libllama's. */
#include "nano/tokenizer.h"

#include "nano/file.h"
#include "nano/pieces.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void check_pieces(const char *text, const char *joined_by_bars)
{
    struct text out;
    text_init(&out, 1024);
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        text_add_str(&out, out.len ? "|" : "");
        text_add(&out, piece_next(&rest));
    }
    CHECK_SLICES(text_slice(&out), slice_str(joined_by_bars));
    text_fini(&out);
}

TEST(pieces_are_those_of_qwen2)
{
    check_pieces("Say it's 12 o'clock, OK?", "Say| it|'s| |1|2| o|'clock|,| OK|?");
    check_pieces("I'LL they'Ve don'T", "I|'LL| they|'Ve| don|'T");
    check_pieces("a  b\t\tc \n\n d   ", "a| | b|\t|\tc| \n\n| d|   ");
    check_pieces("{\"a\": -1.5}\n", "{\"|a|\":| -|1|.|5|}\n");
    check_pieces("caf\xc3\xa9 \xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xf0\x9f\x98\x80!",
                 "caf\xc3\xa9| \xe4\xbd\xa0\xe5\xa5\xbd|\xef\xbc\x8c\xf0\x9f\x98\x80!");
}

static struct tokenizer *learned(const char *text, uint32_t size)
{
    struct tokenizer_lesson *lesson = tokenizer_lesson_new();
    tokenizer_lesson_add(lesson, slice_str(text));
    struct tokenizer *tokenizer = NULL;
    struct err_note note = {{0}};
    enum err err = tokenizer_learn(lesson, size, &tokenizer, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    tokenizer_lesson_free(lesson);
    return tokenizer;
}

static const char lesson_text[] =
    "low low low low low lower lower newest newest newest newest newest newest widest widest "
    "widest\n  the theme of these three then: \"there\" \"there\" \"other\" \"other\" bananas "
    "bananas "
    "anna anna ananas ananas streaming streams stream streaming";

static struct tokenizer *small_tokenizer(void)
{
    return learned(lesson_text, TOKENIZER_SIZE_MIN);
}

TEST(most_frequent_pair_is_merged_first)
{
    struct tokenizer *tokenizer = learned(
        "ab ab ab ab abc abc bc bc cd cd ef ef gh gh ij ij kl kl mn mn op op qr qr st st uv uv "
        "wx wx yz yz abcd abcd efgh efgh ijkl ijkl mnop mnop qrst qrst uvwx uvwx",
        TOKENIZER_SIZE_MIN);
    CHECK_SLICE(tokenizer_token(tokenizer, TOKENIZER_FIRST_MERGE), "ab");
    CHECK_SLICE(tokenizer_token(tokenizer, TOKEN_IM_END), "<|im_end|>");
    CHECK_SLICE(tokenizer_token(tokenizer, TOKENIZER_FIRST_BYTE + 'x'), "x");
    tokenizer_free(tokenizer);
}

TEST(tokens_say_the_text_again_and_where_they_end)
{
    static const char *const texts[] = {
        lesson_text,
        "",
        "<|im_start|>user\nthere<|im_end|>\n",
        "<tools>\n<tools</tools><|im_",
        "\xe4\xbd\xa0\xe5\xa5\xbd <\xf0\x9f\x98\x80> na\xc3\xafve\r\n\r\n",
        "bananananananananananananana===========================\n\n"};
    struct tokenizer *tokenizer = small_tokenizer();
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct slice text = slice_str(texts[i]);
        uint16_t tokens[512];
        uint32_t ends[512];
        size_t count = tokenizer_encode(tokenizer, text, tokens, ends, ARRAY_COUNT(tokens));
        CHECK(count <= text.len);
        size_t end = 0;
        for (size_t k = 0; k < count; k++) {
            struct slice token = tokenizer_token(tokenizer, tokens[k]);
            CHECK_SLICES(slice_first(slice_after(text, end), token.len), token);
            end += token.len;
            CHECK_EQ(ends[k], end);
        }
        CHECK_EQ(end, text.len);
        CHECK_EQ(tokenizer_encode(tokenizer, text, NULL, NULL, 0), count);
    }
    tokenizer_free(tokenizer);
}

TEST(specials_are_one_token_and_cut_words)
{
    struct tokenizer *tokenizer = small_tokenizer();
    uint16_t tokens[16];
    size_t count = tokenizer_encode(tokenizer, SLICE("x</tools><|im_end|>\n"), tokens, NULL, 16);
    CHECK_EQ(count, 4);
    CHECK_EQ(tokens[0], TOKENIZER_FIRST_BYTE + 'x');
    CHECK_EQ(tokens[1], TOKEN_TOOLS_END);
    CHECK_EQ(tokens[2], TOKEN_IM_END);
    CHECK_EQ(tokens[3], TOKENIZER_FIRST_BYTE + '\n');
    tokenizer_free(tokenizer);
}

TEST(too_little_text_is_refused)
{
    struct tokenizer_lesson *lesson = tokenizer_lesson_new();
    tokenizer_lesson_add(lesson, SLICE("ab ab ab"));
    struct tokenizer *tokenizer = NULL;
    struct err_note note = {{0}};
    CHECK_ERR(tokenizer_learn(lesson, TOKENIZER_SIZE_MIN, &tokenizer, &note), ERR_REFUSED);
    CHECK_STR(note.text, "only 267 tokens of 288 can be learned from so little text");
    CHECK_ERR(tokenizer_learn(lesson, 300, &tokenizer, &note), ERR_REFUSED);
    CHECK_STR(note.text, "a vocabulary of 300: allowed are multiples of 32, 288..4096");
    tokenizer_lesson_free(lesson);
}

static void temporary_path(char path[64])
{
    strcpy(path, "/tmp/nano-tokenizer-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
}

TEST(file_brings_back_the_same_tokenizer)
{
    char path[64];
    temporary_path(path);
    struct tokenizer *tokenizer = small_tokenizer(), *loaded = NULL;
    CHECK_OK(tokenizer_save(tokenizer, path, NULL));
    CHECK_OK(tokenizer_load(path, &loaded, NULL));
    CHECK_EQ(tokenizer_size(loaded), tokenizer_size(tokenizer));
    CHECK_EQ(tokenizer_hash(loaded), tokenizer_hash(tokenizer));
    tokenizer_free(tokenizer);
    tokenizer_free(loaded);
    unlink(path);
}

TEST(damaged_file_is_refused_with_its_line)
{
    static const struct {
        const char *text;
        int line;
    } cases[] = {
        {"", 1},
        {"millrace tokenizer 2\n0\n", 1},
        {"millrace tokenizer 1\n4000\n", 2},
        {"millrace tokenizer 1\n1\n", 3},
        {"millrace tokenizer 1\n1\n10\n", 3},
        {"millrace tokenizer 1\n1\n10 265\n", 3},       /* of itself */
        {"millrace tokenizer 1\n1\n0 10\n", 3},         /* of a special */
        {"millrace tokenizer 1\n2\n10 11\n10 11\n", 4}, /* twice */
        {"millrace tokenizer 1\n1\n10 11\n12 13\n", 3}, /* more than it says */
        {"millrace tokenizer 1\n7\n10 11\n265 265\n266 266\n267 267\n268 268\n269 269\n270 270\n",
         9}, /* longer than 64 bytes */
    };
    char path[64];
    temporary_path(path);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct slice text = slice_str(cases[i].text);
        CHECK_OK(file_write(path, &text, 1, NULL));
        struct tokenizer *tokenizer = NULL;
        struct err_note note = {{0}};
        CHECK_ERR(tokenizer_load(path, &tokenizer, &note), ERR_PROTOCOL);
        char expected[64];
        snprintf(expected, sizeof(expected), ": line %d is not", cases[i].line);
        CHECK(strstr(note.text, expected) != NULL);
        CHECK(tokenizer == NULL);
    }
    unlink(path);
    struct tokenizer *tokenizer = NULL;
    CHECK_ERR(tokenizer_load(path, &tokenizer, NULL), ERR_NOT_FOUND);
}
