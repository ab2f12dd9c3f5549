/* adapters_test - what a list of adapters may be, and the sentence for everything that it may
 * not. */
#include "config/adapters.h"
#include "config/keys.h"
#include "testing/test.h"

#include <stdio.h>

static void check_refused(const char *list, const char *sentence)
{
    struct config *config = config_new();
    struct err_note note;
    CHECK_ERR(config_adapters_read(slice_str(list), config, &note), ERR_REFUSED);
    CHECK_STR(note.text, sentence);
    CHECK_EQ(config->llama_lora_count, 0);
    config_free(config);
}

TEST(an_adapter_without_a_scale_is_for_who_names_it)
{
    struct config *config = config_new();
    struct text text;
    text_init(&text, 4096);
    CHECK_OK(
        config_adapters_read(SLICE("[{\"name\":\"sql.v2-a_b\",\"path\":\"/m/sql.gguf\"},"
                                   "{\"scale\":0.5,\"path\":\"rel\\u00e9.gguf\",\"name\":\"B\"}]"),
                             config, NULL));
    CHECK_EQ(config->llama_lora_count, 2);
    CHECK_STR(config->llama_lora[0].name, "sql.v2-a_b");
    CHECK_STR(config->llama_lora[0].path, "/m/sql.gguf");
    CHECK(config->llama_lora[0].scale == 0);
    CHECK_STR(config->llama_lora[1].path, "rel\xc3\xa9.gguf");
    CHECK(config->llama_lora[1].scale == 0.5f);
    config_adapters_write(config, &text);
    CHECK_SLICE(text_slice(&text),
                "[{\"name\":\"sql.v2-a_b\",\"path\":\"/m/sql.gguf\",\"scale\":0},"
                "{\"name\":\"B\",\"path\":\"rel\xc3\xa9.gguf\",\"scale\":0.5}]");
    CHECK_OK(config_adapters_read(text_slice(&text), config, NULL));
    CHECK_EQ(config->llama_lora_count, 2);
    text_fini(&text);
    config_free(config);
}

TEST(a_mistake_names_the_entry_the_member_and_what_is_allowed)
{
#define GOOD "{\"name\":\"a\",\"path\":\"p\"}"
    check_refused("{}", "llama_lora must be a list of objects");
    check_refused("[" GOOD ",7]", "llama_lora[1] must be an object");
    check_refused("[{\"path\":\"p\"}]", "llama_lora[0].name must be 1..64 letters, digits, - _ .");
    check_refused("[{\"path\":\"p\",\"name\":\"a:b\"}]",
                  "llama_lora[0].name must be 1..64 letters, digits, - _ .");
    check_refused("[{\"name\":\"a\"}]",
                  "llama_lora[0].path must be a string of 1..4096 bytes of UTF-8");
    check_refused("[{\"name\":\"a\",\"path\":\"\"}]",
                  "llama_lora[0].path must be a string of 1..4096 bytes of UTF-8");
    check_refused("[{\"name\":\"a\",\"path\":\"p\",\"scale\":\"1\"}]",
                  "llama_lora[0].scale must be a number in -100..100");
    check_refused("[{\"name\":\"a\",\"path\":\"p\",\"scale\":-100.5}]",
                  "llama_lora[0].scale must be a number in -100..100");
    check_refused("[{\"name\":\"a\",\"path\":\"p\",\"sclae\":1}]",
                  "llama_lora[0]: unknown member 'sclae': name, path and scale are known");
    check_refused("[" GOOD "," GOOD "]", "llama_lora[1].name is the same as llama_lora[0].name");
    check_refused("[", "llama_lora: invalid JSON at line 1 column 1: unexpected end");
}

static void check_count(size_t count, float scale, const char *sentence)
{
    struct text text;
    text_init(&text, 8192);
    text_add_str(&text, "[");
    for (size_t i = 0; i < count; i++)
        text_add_f(&text, "%s{\"name\":\"n%zu\",\"path\":\"p\",\"scale\":%g}", i > 0 ? "," : "", i,
                   (double)scale);
    text_add_str(&text, "]");
    text_add_byte(&text, '\0');
    if (sentence) {
        check_refused(text.data, sentence);
    } else {
        struct config *config = config_new();
        CHECK_OK(config_adapters_read(slice_first(text_slice(&text), text.len - 1), config, NULL));
        CHECK_EQ(config->llama_lora_count, count);
        config_free(config);
    }
    text_fini(&text);
}

TEST(there_are_bounds)
{
    check_count(16, 0, NULL);
    check_count(17, 0, "llama_lora has 17 entries: allowed are 0..16");
    check_count(2, -1, NULL);
    check_count(3, 1, "llama_lora has 3 entries with a scale other than 0: allowed are 0..2");
}
