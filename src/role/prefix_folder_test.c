#include "testing/test.h"
#include "role/prefix_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct prefix_folder folder_of(const struct engine_llama_options *engine)
{
    static struct prefix_folder folder;
    prefix_folder_make("/state", engine, &folder);
    return folder;
}

TEST(each_model_file_has_a_folder_of_its_own)
{
    struct engine_llama_options one = {.model_path = "/models/a.gguf"}, other = one;
    other.model_path = "/models/b.gguf";
    struct prefix_folder first = folder_of(&one), second = folder_of(&other);
    CHECK(strncmp(first.path, "/state/prefixes-", 16) == 0);
    CHECK_EQ(strlen(first.path), 16 + 16);
    CHECK(strcmp(first.path, second.path) != 0);
}

/* The folder stays, and the files of before are no longer believed. */
TEST(another_form_of_the_cache_or_another_file_is_another_key)
{
    char path[] = "/tmp/prefix_folder_test.XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0);
    struct engine_llama_options engine = {.model_path = path}, other = engine;
    struct prefix_folder before = folder_of(&engine);
    CHECK_STR(folder_of(&engine).key, before.key);
    other.kv_key = ENGINE_KV_Q8_0;
    CHECK(strcmp(folder_of(&other).key, before.key) != 0);
    other = engine;
    other.fast = true;
    CHECK(strcmp(folder_of(&other).key, before.key) != 0);
    CHECK(write(file, "x", 1) == 1);
    close(file);
    struct prefix_folder after = folder_of(&engine);
    CHECK(strcmp(after.key, before.key) != 0);
    CHECK_STR(after.path, before.path);
    CHECK(unlink(path) == 0);
}

TEST(it_is_off_unless_both_bounds_are_set)
{
    static struct prefix_folder folder;
    struct engine_llama_options engine = {.model_path = "/models/a.gguf"};
    struct worker_options options = {0};
    char state[] = "/tmp/prefix_folder_test.XXXXXX";
    CHECK(mkdtemp(state) != NULL);
    struct config config = {.state_dir = state, .llama_workers = 1};
    prefix_folder_open(&config, &engine, &folder, &options);
    config.prefix_disk_bytes = 1000;
    prefix_folder_open(&config, &engine, &folder, &options);
    CHECK_EQ(options.core.prefix_disk.bytes_max, 0);
    config.prefix_cache_bytes = 1000;
    prefix_folder_open(&config, &engine, &folder, &options);
    CHECK_EQ(options.core.prefix_disk.bytes_max, 1000);
    config.llama_workers = 4; /* in one folder: together they keep the bound */
    prefix_folder_open(&config, &engine, &folder, &options);
    CHECK_EQ(options.core.prefix_disk.bytes_max, 250);
    CHECK(strncmp(options.core.prefix_disk.folder, state, strlen(state)) == 0);
    CHECK(rmdir(state) == 0);
}
