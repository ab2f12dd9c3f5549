/* optimiser - AdamW (Kingma and Ba 2015; Loshchilov and Hutter 2019) on ranges of parameters, so
 * that threads can share a step. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* sum += more */
void gradient_add(float *sum, const float *more, size_t count);
double gradient_squares(const float *grads, size_t count);

struct optimiser_step {
    uint64_t number;  /* 1 for the first: the moments begin as zeros and are corrected for it */
    float rate;       /* of learning */
    float decay;      /* of weights, times the rate */
    float grad_scale; /* of each gradient before all else: clipping */
    float beta_first, beta_second, epsilon;
};

void optimiser_update(const struct optimiser_step *step, const float *grads, size_t count,
                      float *params, float *first, float *second);
