/* random_lora - a pair of matrices for each of some of the model's. */
#include "models/random_lora.h"

#include "base/log.h"
#include "engine/gguf.h"
#include "models/weights.h"
#include "nano/cpu.h"

#include <stdio.h>

struct random_lora random_lora_default(const char *model)
{
    return (struct random_lora){.model = model,
                                .rank = 8,
                                .alpha = 8,
                                .strength = 0.5f,
                                .type = GGUF_TENSOR_F16,
                                .seed = 1};
}

struct build {
    const struct random_lora *lora;
    struct gguf gguf;
    struct weights weights;
};

/* Of each architecture those that every token goes through. */
static bool is_adapted(struct slice name)
{
    static const char *const ends[] = {"attn_q.weight",   "attn_v.weight", "ffn_up.weight",
                                       "ffn_down.weight", "ssm_in.weight", "ssm_out.weight"};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        if (slice_ends_with(name, slice_str(ends[i])))
            return true;
    return false;
}

static enum err add_pair(void *ctx, const struct gguf_tensor *tensor)
{
    struct build *build = ctx;
    const struct random_lora *lora = build->lora;
    char name[GGUF_NAME_MAX_BYTES + sizeof(".lora_a")];
    if (!is_adapted(tensor->name))
        return ERR_OK;
    snprintf(name, sizeof(name), SLICE_FMT ".lora_a", SLICE_ARG(tensor->name));
    weights_add_matrix(&build->weights, name, lora->rank, (uint32_t)tensor->dimensions[0]);
    snprintf(name, sizeof(name), SLICE_FMT ".lora_b", SLICE_ARG(tensor->name));
    weights_add_f32(&build->weights, name, (uint32_t)tensor->dimensions[1], lora->rank,
                    -lora->strength, lora->strength);
    return ERR_OK;
}

static enum err write_for(const struct gguf_map *model, const struct random_lora *lora,
                          const char *path, struct err_note *note)
{
    struct gguf_summary summary;
    struct build build = {.lora = lora};
    TRY(gguf_check(model->head, model->file_bytes, &summary, note));
    gguf_init(&build.gguf);
    build.weights = (struct weights){&build.gguf, lora->type, lora->seed, NULL};
    gguf_add_string(&build.gguf, "general.type", SLICE("adapter"));
    gguf_add_string(&build.gguf, "general.architecture", slice_str(summary.architecture));
    gguf_add_string(&build.gguf, "general.name", SLICE("random LoRA"));
    gguf_add_string(&build.gguf, "adapter.type", SLICE("lora"));
    gguf_add_f32(&build.gguf, "adapter.lora.alpha", lora->alpha);
    enum err err = gguf_each_tensor(model->head, model->file_bytes, add_pair, &build);
    if (err == ERR_OK && build.gguf.tensor_count == 0)
        err = err_note_fail(note, ERR_PROTOCOL, "there is nothing in %s to adapt", lora->model);
    if (err == ERR_OK)
        err = gguf_save(&build.gguf, path, note);
    gguf_fini(&build.gguf);
    return err;
}

enum err random_lora_write(const struct random_lora *lora, const char *path, struct err_note *note)
{
    struct gguf_map model;
    struct err_note why = {{0}};
    TRY(cpu_can_train(note));
    if (gguf_map(lora->model, &model, &why) != ERR_OK)
        return err_note_fail(note, ERR_PROTOCOL, "%s: %s", lora->model, why.text);
    enum err err = write_for(&model, lora, path, note);
    gguf_unmap(&model);
    return err;
}
