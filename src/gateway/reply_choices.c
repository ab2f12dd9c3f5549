/* reply_choices - what the choices of a call ask for, and whether there may be so many. */
#include "gateway/reply_choices.h"

#include "base/id.h"

/* 53 bits: it is told to clients as a number, which JavaScript keeps exactly. The last of them are
 * the choice's. */
void choices_draw_seed(struct call *call)
{
    enum { SEED_BITS = 53 };
    struct sampling *sampling = &call->request.sampling;
    if (sampling->has_seed)
        return;
    sampling->has_seed = call->seed_is_drawn = true;
    sampling->seed = (random_u64() >> (64 - SEED_BITS)) & ~(uint64_t)(REQUEST_CHOICES_MAX - 1);
}

struct request choices_request(const struct call *call, uint32_t index)
{
    struct request request = call->request;
    request.id = request_choice_id(call->request.id, index);
    request.sampling.seed += call->seed_is_drawn ? index : index % call->per_prompt;
    request.prompt = call_prompt(call, index);
    request.prompt_is_shared = call->per_prompt > 1;
    if (call->encoded)
        request.encoded_body = call->encoded[index];
    return request;
}

/* What the client calls the number. */
static const char *param_of(const struct call *call)
{
    return call->per_prompt > 1 ? "n" : "prompt";
}

enum err choices_check_bytes(const struct call *call, size_t body_bytes, uint64_t body_max_bytes,
                             struct api_error *out_error)
{
    if (call->per_prompt == 1 || body_bytes <= body_max_bytes / call->per_prompt)
        return ERR_OK;
    return api_error_set(out_error, 413, "body_too_large", "n",
                         "the body has %zu bytes: with n = %u allowed are %llu", body_bytes,
                         call->per_prompt, (unsigned long long)body_max_bytes / call->per_prompt);
}

enum err choices_check_slots(const struct call *call, uint32_t slots, struct api_error *out_error)
{
    if (slots == 0 || call->per_prompt <= slots)
        return ERR_OK;
    return api_error_set(out_error, 400, "invalid_value", "n",
                         "n is %u: allowed is 1..%u, the slots of the model '" SLICE_FMT "'",
                         call->per_prompt, slots, SLICE_ARG(slice_first(call->request.model, 128)));
}

enum err choices_check_key(const struct call *call, uint32_t streams, uint32_t streams_max,
                           struct api_error *out_error)
{
    uint32_t others = streams - 1;
    if (call->choices == 1 ||
        (call->choices <= streams_max && others <= streams_max - call->choices))
        return ERR_OK;
    if (call->choices > streams_max) /* however often it is asked again */
        return api_error_set(out_error, 400, "invalid_value", param_of(call),
                             "%u choices: this API key may have %u requests in flight",
                             call->choices, streams_max);
    (void)api_error_set(out_error, 429, "rate_limited", param_of(call),
                        "this API key has %u requests in flight here, and may have %u: these are "
                        "%u more",
                        others, streams_max, call->choices); /* the code is in the error */
    out_error->retry_after_ms = 1000;
    return ERR_REFUSED;
}
