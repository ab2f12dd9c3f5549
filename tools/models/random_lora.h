/* random_lora - a LoRA adapter of random numbers for a model file, as llama.cpp's
 * convert_lora_to_gguf.py writes them: its attention's and feed-forward's matrices change, and with
 * them what the model says. A pure function of its options and of the model's shapes. */
#pragma once

#include "nano/gguf_write.h"

struct random_lora {
    const char *model; /* path of the GGUF file that it is for */
    uint32_t rank;     /* 1.. */
    float alpha;
    float strength; /* of B's numbers; 0.5 with alpha = rank: another model altogether */
    enum gguf_tensor_type type; /* of A, where its rows are whole blocks, and of the rest F32 */
    uint64_t seed;
};
struct random_lora random_lora_default(const char *model);

/* Whole or not at all. ERR_PROTOCOL: not a model file, or there is nothing in it to adapt; else
 * what reading and writing may give. */
MUST_USE enum err random_lora_write(const struct random_lora *lora, const char *path,
                                    struct err_note *note);
