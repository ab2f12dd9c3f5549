/* circuit - first parameters that copy already. What comes after a token that stood before is what
 * came after it then: two heads behind each other do that (Olsson and others 2022, "induction
 * heads"), and a model of this size needs a third of its training to find them, by luck and all at
 * once. Here they are drawn, as others draw what attention ends up as (Trockman and Kolter 2023,
 * "mimetic initialization"); training keeps and sharpens them. docs/design/028 has the figures. */
#pragma once

#include "nano/model.h"

enum { CIRCUIT_LAYERS_LEAST = 3, CIRCUIT_WIDTH_LEAST = 4 * MODEL_HEAD_WIDTH };

/* Overwrites parts of what model_draw() made. ASSERTs a shape that has room: layers and width of
 * at least the above, two heads of keys and values. A pure function of the seed. */
void circuit_draw(const struct model *model, uint64_t seed, float *params);
