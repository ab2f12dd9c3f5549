/* optimiser - AdamW on ranges of parameters. */
#include "nano/optimiser.h"

#include "nano/vector.h"

#include <math.h>

void gradient_add(float *sum, const float *more, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += more[i];
}

double gradient_squares(const float *grads, size_t count)
{
    double lanes[V8] = {0};
    size_t whole = count / V8 * V8;
    for (size_t i = 0; i < whole; i += V8)
        for (size_t k = 0; k < V8; k++)
            lanes[k] += (double)grads[i + k] * grads[i + k];
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += (double)grads[i] * grads[i];
    double sum = 0;
    for (size_t k = 0; k < V8; k++)
        sum += lanes[k];
    return sum;
}

void optimiser_update(const struct optimiser_step *step, const float *grads, size_t count,
                      float *params, float *first, float *second)
{
    float first_share = (float)(1 - pow((double)step->beta_first, (double)step->number));
    float second_share = (float)(1 - pow((double)step->beta_second, (double)step->number));
    float rate = step->rate / first_share, second_scale = 1.0f / second_share;
    float keep = 1 - step->rate * step->decay;
    for (size_t i = 0; i < count; i++) {
        float grad = grads[i] * step->grad_scale;
        first[i] = step->beta_first * first[i] + (1 - step->beta_first) * grad;
        second[i] = step->beta_second * second[i] + (1 - step->beta_second) * grad * grad;
        float deviation = sqrtf(second[i] * second_scale) + step->epsilon;
        params[i] = keep * params[i] - rate * first[i] / deviation;
    }
}
