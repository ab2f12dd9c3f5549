#include "testing/test.h"
#include "role/self_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct self_test first, second;

static void check_keys_differ(const struct engine_llama_options *engine)
{
    self_test_make("/s", engine, &second);
    CHECK(strcmp(first.key, second.key) != 0);
}

TEST(the_key_has_whatever_numbers_and_steps_depend_on)
{
    struct engine_llama_options engine = {.model_path = "/m/a.gguf", .threads = 2}, other;
    self_test_make("/s", &engine, &first);
    self_test_make("/s", &engine, &second);
    CHECK_STR(first.key, second.key);
    CHECK_STR(first.path, second.path);
    other = engine;
    other.threads = 3;
    check_keys_differ(&other);
    other = engine;
    other.threads_batch = 3;
    check_keys_differ(&other);
    other = engine;
    other.kv_key = ENGINE_KV_Q8_0;
    check_keys_differ(&other);
    other = engine;
    other.gpu_layers = 1;
    check_keys_differ(&other);
    other = engine;
    other.library_dir = "/e";
    check_keys_differ(&other);
    struct engine_adapter_file adapter = {"a", "/m/lora.gguf", 0};
    other = engine;
    other.adapters = &adapter;
    other.adapter_count = 1;
    check_keys_differ(&other);
    self_test_make("/s", &other, &first);
    adapter.scale = 1;
    check_keys_differ(&other);
    adapter = (struct engine_adapter_file){"a", "/m/other.gguf", 0};
    check_keys_differ(&other);
    self_test_make("/s", &engine, &first);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(1, &cpus);
    other = engine;
    other.cpus = &cpus;
    check_keys_differ(&other);
    CHECK_STR(first.path, second.path); /* a file for each model */
    other = engine;
    other.model_path = "/m/b.gguf";
    check_keys_differ(&other);
    CHECK(strcmp(first.path, second.path) != 0);
}

TEST(a_model_file_that_was_written_again_has_another_key)
{
    char path[] = "/tmp/millrace-self-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    struct engine_llama_options engine = {.model_path = path};
    self_test_make("/s", &engine, &first);
    CHECK_EQ(write(fd, "x", 1), 1);
    CHECK_EQ(close(fd), 0);
    check_keys_differ(&engine);
    CHECK_EQ(unlink(path), 0);
}

TEST(without_a_state_folder_there_is_a_key_and_no_file)
{
    self_test_make("", &(struct engine_llama_options){.model_path = "/m"}, &first);
    CHECK_STR(first.path, "");
    CHECK(first.key[0] != '\0');
}
