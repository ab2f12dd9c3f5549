/* adapters - which of a model's LoRA adapters an answer is to be made with, and how strongly; how
 * that travels in the body of a submit, as `lora`. What a name or an id means only the worker
 * knows. Pure. */
#pragma once

#include "base/json.h"
#include "base/slice.h"

struct fields;

enum {
    ADAPTERS_WISHED_MAX = 16, /* as many as a model may have */
    ADAPTER_NAME_MAX_BYTES = 64,
    ADAPTER_SCALE_MAX = 100 /* and as much below 0 */
};

struct adapter_wish {
    struct slice name; /* 1..ADAPTER_NAME_MAX_BYTES, or empty: it is */
    uint32_t id;       /* the one with this number, from 0 */
    float scale;       /* 0: without it */
};

struct adapters_wish {
    bool is_said; /* false: those with a scale of their own; true with none: without any */
    const struct adapter_wish *items;
    size_t count;
};

/* A list; only when something is said. */
void adapters_encode(const struct adapters_wish *adapters, struct json_out *json);
/* Of the member `lora`, if it is there. Failures are the fields'; *out_adapters is then as it
 * was. */
void adapters_decode(struct fields *fields, struct adapters_wish *out_adapters);
