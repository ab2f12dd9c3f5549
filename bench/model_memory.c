/* model_memory - what a model takes against what was said before it was loaded: opens it, fills
 * every slot to its end in whole batches, and compares this process's memory (PSS) with the sum of
 * weights, cache and computing that the load was checked with.
 *
 *   model_memory MODEL.gguf [SLOTS [CONTEXT_TOKENS]]     MILLRACE_ENGINE_DIR: libllama's folder */
#include "open_model.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { KIB = 1024 };

static unsigned long pss_kib(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "Pss: %lu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

/* The last row of each part wants logits, as a worker's do. */
static void fill_slot(struct engine *engine, uint32_t slot)
{
    const struct engine_info *info = &engine->info;
    struct engine_row *rows = mem_array(info->batch_tokens, sizeof(*rows));
    for (uint32_t position = 0; position < info->context_tokens;) {
        uint32_t count = 0;
        for (; count < info->batch_tokens && position < info->context_tokens; count++, position++)
            rows[count] = (struct engine_row){
                .token = (token_id)(position * 7 % info->vocab_size), position, slot};
        rows[count - 1].wants_logits = true;
        if (engine_decode(engine, rows, count) != ERR_OK) {
            fprintf(stderr, "model_memory: a batch failed\n");
            exit(1);
        }
    }
    mem_free(rows);
}

static uint32_t number(const char *text)
{
    uint64_t value = 0;
    if (slice_parse_u64(slice_str(text), UINT32_MAX, &value) == ERR_OK)
        return (uint32_t)value;
    fprintf(stderr, "model_memory: %s is no number\n", text);
    exit(2);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: model_memory MODEL.gguf [SLOTS [CONTEXT_TOKENS]]\n");
        return 2;
    }
    unsigned long before = pss_kib();
    struct engine *engine = open_model(
        &(struct engine_llama_options){.model_path = argv[1],
                                       .slots = argc > 2 ? number(argv[2]) : 4,
                                       .context_tokens = argc > 3 ? number(argv[3]) : 1024,
                                       .kv_memory_bytes = UINT64_MAX - 1,
                                       .logits_per_slot = 1});
    const struct engine_info *info = &engine->info;
    unsigned long loaded = pss_kib();
    for (uint32_t slot = 0; slot < info->slots; slot++)
        fill_slot(engine, slot);
    unsigned long full = pss_kib();
    uint64_t said = (info->weights_bytes + info->kv_bytes + info->compute_bytes) / KIB;
    printf("%s: %u slots of %u tokens\n", info->description, info->slots, info->context_tokens);
    printf("said KiB: %llu weights + %llu cache + %llu computing = %llu\n",
           (unsigned long long)info->weights_bytes / KIB, (unsigned long long)info->kv_bytes / KIB,
           (unsigned long long)info->compute_bytes / KIB, (unsigned long long)said);
    printf("PSS KiB: %lu before, %lu loaded, %lu with every slot full\n", before, loaded, full);
    printf("full less said: %ld KiB; (full - before) / said: %.3f\n", (long)full - (long)said,
           (double)(full - before) / (double)said);
    engine_close(&engine);
    return 0;
}
