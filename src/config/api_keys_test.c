/* api_keys_test - what a list of keys may be, and the sentence for everything that it may not. */
#include "config/api_keys.h"
#include "config/keys.h"
#include "testing/test.h"

#include <stdio.h>

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "00ff00FF00ff00FF00ff00FF00ff00FF00ff00FF00ff00FF00ff00FF00ff00FF"

static void check_refused(const char *list, const char *sentence)
{
    struct config *config = config_new();
    struct err_note note;
    CHECK_ERR(api_keys_read(slice_str(list), config, &note), ERR_REFUSED);
    CHECK_STR(note.text, sentence);
    CHECK_EQ(config->key_count, 0);
    config_free(config);
}

TEST(a_key_has_a_tenant_and_a_weight_also_when_none_is_named)
{
    struct config *config = config_new();
    CHECK_OK(api_keys_read(SLICE("[{\"name\":\"alice\",\"sha256\":\"" SHA_A "\"},{\"weight\":1000,"
                                 "\"tenant\":\"team\",\"sha256\":\"" SHA_B "\",\"name\":\"bob\"}]"),
                           config, NULL));
    CHECK_EQ(config->key_count, 2);
    CHECK_STR(config->keys[0].name, "alice");
    CHECK_STR(config->keys[0].tenant, "alice");
    CHECK_EQ(config->keys[0].weight, 1);
    CHECK_EQ(config->keys[0].sha256[31], 0xaa);
    CHECK_STR(config->keys[1].tenant, "team");
    CHECK_EQ(config->keys[1].weight, 1000);
    CHECK_EQ(config->keys[1].sha256[0], 0x00);
    CHECK_EQ(config->keys[1].sha256[31], 0xff);
    config_free(config);
}

TEST(a_mistake_names_the_entry_the_member_and_what_is_allowed)
{
#define GOOD "{\"name\":\"a\",\"sha256\":\"" SHA_A "\"}"
    check_refused("[" GOOD ",7]", "keys[1] must be an object");
    check_refused("{}", "keys must be a list of objects");
    check_refused("[" GOOD ",{\"name\":\"b\"}]", "keys[1].sha256 must be 64 hex digits");
    check_refused("[{\"name\":\"a\",\"sha256\":\"abc\"}]", "keys[0].sha256 must be 64 hex digits");
    check_refused("[{\"name\":\"a\",\"sha256\":\"g" SHA_A "\"}]",
                  "keys[0].sha256 must be 64 hex digits");
    check_refused("[{\"name\":\"a\",\"sha256\":7}]", "keys[0].sha256 must be 64 hex digits");
    check_refused("[{\"sha256\":\"" SHA_A "\"}]",
                  "keys[0].name must be a string of 1..64 bytes without control characters");
    check_refused("[{\"name\":\"a\\n\",\"sha256\":\"" SHA_A "\"}]",
                  "keys[0].name must be a string of 1..64 bytes without control characters");
    check_refused("[{\"name\":\"a\",\"tenant\":\"\",\"sha256\":\"" SHA_A "\"}]",
                  "keys[0].tenant must be a string of 1..128 bytes without control characters");
    check_refused("[{\"name\":\"a\",\"tenant\":null,\"sha256\":\"" SHA_A "\"}]",
                  "keys[0].tenant must be a string of 1..128 bytes without control characters");
    check_refused("[{\"name\":\"a\",\"wieght\":1,\"sha256\":\"" SHA_A "\"}]",
                  "keys[0]: unknown member 'wieght': name, sha256, tenant and weight are known");
    check_refused("[", "keys: invalid JSON at line 1 column 1: unexpected end");
}

TEST(a_weight_is_a_whole_number_in_its_range)
{
    const char *wrong[] = {"0", "1001", "-1", "1.5", "\"1\"", "null", "true"};
    char list[256];
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        snprintf(list, sizeof(list), "[{\"name\":\"a\",\"sha256\":\"" SHA_A "\",\"weight\":%s}]",
                 wrong[i]);
        check_refused(list, "keys[0].weight must be a whole number in 1..1000");
    }
}

TEST(neither_a_name_nor_a_key_is_there_twice)
{
    check_refused("[" GOOD ",{\"name\":\"b\",\"sha256\":\"" SHA_B "\"},{\"name\":\"a\",\"sha256\":"
                  "\"0" SHA_B "\"}]",
                  "keys[2].sha256 must be 64 hex digits");
    check_refused("[{\"name\":\"b\",\"sha256\":\"" SHA_B "\"}," GOOD ",{\"name\":\"c\",\"sha256\":"
                  "\"" SHA_A "\"}]",
                  "keys[2].sha256 is the same as keys[1].sha256");
    check_refused("[" GOOD ",{\"name\":\"a\",\"sha256\":\"" SHA_B "\"}]",
                  "keys[1].name is the same as keys[0].name");
}

static enum err read_many(size_t count, size_t name_bytes, struct config *config,
                          struct err_note *out_note)
{
    struct text list;
    text_init(&list, 1024 * 1024);
    for (size_t i = 0; i < count; i++)
        text_add_f(&list, "%s{\"name\":\"%0*zu\",\"sha256\":\"%064zx\"}", i ? "," : "[",
                   (int)name_bytes, i, i);
    text_add_str(&list, "]");
    enum err err = api_keys_read(text_slice(&list), config, out_note);
    text_fini(&list);
    return err;
}

TEST(so_many_and_no_more)
{
    struct config *config = config_new();
    struct err_note note;
    CHECK_OK(read_many(CONFIG_API_KEYS_MAX, 64, config, &note));
    CHECK_EQ(config->key_count, CONFIG_API_KEYS_MAX);
    CHECK_ERR(read_many(CONFIG_API_KEYS_MAX + 1, 4, config, &note), ERR_REFUSED);
    CHECK_STR(note.text, "keys has 1025 entries: allowed are 0..1024");
    CHECK_ERR(read_many(1, 65, config, &note), ERR_REFUSED);
    config_free(config);
}

TEST(what_is_written_reads_back_and_the_masked_form_has_no_digest)
{
    struct config *config = config_new(), *again = config_new();
    struct text text, masked;
    text_init(&text, 4096);
    text_init(&masked, 4096);
    CHECK_OK(api_keys_read(
        SLICE("[{\"name\":\"\u00e9\\\"\",\"sha256\":\"" SHA_B "\",\"tenant\":\"t\",\"weight\":3}]"),
        config, NULL));
    api_keys_write(config, false, &text);
    CHECK_OK(api_keys_read(text_slice(&text), again, NULL));
    CHECK_EQ(again->key_count, 1);
    CHECK_STR(again->keys[0].name, "\u00e9\"");
    CHECK_STR(again->keys[0].tenant, "t");
    CHECK_EQ(again->keys[0].weight, 3);
    CHECK(memcmp(again->keys[0].sha256, config->keys[0].sha256, 32) == 0);
    api_keys_write(config, true, &masked);
    CHECK_SLICE(
        text_slice(&masked),
        "[{\"name\":\"\u00e9\\\"\",\"sha256\":\"(masked)\",\"tenant\":\"t\",\"weight\":3}]");
    text_fini(&text);
    text_fini(&masked);
    config_free(config);
    config_free(again);
}
