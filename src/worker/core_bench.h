/* core_bench - a core on a dummy engine that takes no time, for the tests of the core. Comes behind
 * testing/test.h, which only *_test.c may include. */
#pragma once

#include "base/mem.h"
#include "worker/core_probe.h"

static const token_id HELLO[] = {'h' + 1, 'e' + 1, 'l' + 1, 'l' + 1, 'o' + 1};

struct bench {
    struct engine *engine;
    struct probes probes;
};

static inline struct engine_dummy_options dummy(uint32_t slots, const char *script, uint32_t tokens)
{
    struct engine_dummy_options options = engine_dummy_options_default();
    options.slots = slots;
    options.script = slice_str(script);
    options.tokens = tokens;
    options.delay_us = 0;
    return options;
}

static inline struct bench *bench_new(struct engine_dummy_options dummy_options,
                                      struct core_options core_options)
{
    struct bench *bench = mem_alloc(sizeof(*bench));
    CHECK_OK(engine_dummy_open(&dummy_options, NULL, NULL, &bench->engine, NULL));
    probes_init(&bench->probes, bench->engine, &core_options);
    return bench;
}

static inline void bench_free(struct bench *bench)
{
    probes_fini(&bench->probes);
    engine_close(&bench->engine);
    mem_free(bench);
}

static inline struct probe *make(struct bench *bench, size_t index)
{
    return probe_make(&bench->probes, index, HELLO, ARRAY_COUNT(HELLO));
}

static inline void check_slots_are_empty(struct engine *engine)
{
    for (uint32_t slot = 0; slot < engine->info.slots; slot++)
        CHECK_EQ(engine_seq_tokens(engine, slot), 0);
}

static inline void check_done(const struct probe *probe, enum done_reason reason, const char *text)
{
    CHECK(probe->is_ended && !probe->is_failed);
    CHECK_STR(done_reason_name(probe->reason), done_reason_name(reason));
    CHECK_SLICES(text_slice(&probe->text), slice_str(text));
}
