#include "role/models.h"
#include "testing/test.h"

static struct config config_with(uint32_t workers)
{
    return (struct config){.default_model = "llama",
                           .llama_model_path = "/models/a.gguf",
                           .data_dir = "",
                           .engine_dir = "",
                           .engine_profile = "exact",
                           .kv_type_k = "f16",
                           .kv_type_v = "f16",
                           .llama_load = "auto",
                           .llama_cpus = "",
                           .llama_workers = workers,
                           .dummy_text = ""};
}

static uint32_t threads_of(unsigned cores, const char *cpus, uint32_t workers, uint32_t asked)
{
    static struct models models;
    struct config config = config_with(workers);
    config.llama_cpus = cpus;
    config.llama_n_threads = asked;
    models_from_config(&config, cores, &models);
    CHECK_EQ(models.llama_engine.threads_batch, models.llama_engine.threads);
    CHECK_EQ(models.llama_engine.workers, workers);
    return models.llama_engine.threads;
}

TEST(the_workers_of_a_model_share_the_cores_and_the_cpus_that_are_named)
{
    static const struct {
        unsigned cores;
        const char *cpus;
        uint32_t workers, asked, expected;
    } cases[] = {
        {1, "", 1, 0, 1},     {2, "", 1, 0, 1},     {4, "", 1, 0, 3},     {16, "", 1, 0, 4},
        {16, "", 4, 0, 3},    {4, "", 4, 0, 1},     {4, "", 8, 0, 1},     {16, "0-3", 1, 0, 4},
        {16, "0-1", 1, 0, 2}, {16, "0-3", 2, 0, 2}, {16, "0-3", 4, 0, 1}, {16, "0-3", 8, 0, 1},
        {16, "0-4", 2, 0, 2}, {16, "0-3", 4, 6, 6},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        CHECK_EQ(threads_of(cases[i].cores, cases[i].cpus, cases[i].workers, cases[i].asked),
                 cases[i].expected);
}

/* config.md says what a model takes, however many make its answers. */
TEST(the_workers_of_a_model_share_its_prefix_cache)
{
    static struct models models;
    static const uint64_t shares[] = {1000, 500, 333, 250, 200, 166, 142, 125};
    for (uint32_t workers = 1; workers <= ARRAY_COUNT(shares); workers++) {
        struct config config = config_with(workers);
        config.prefix_cache_bytes = 1000;
        models_from_config(&config, 4, &models);
        CHECK_EQ(models.llama.core.prefix_bytes_max, shares[workers - 1]);
    }
}
