/* llama_chain - libllama's own samplers, for tests. */
#include "engine/llama_chain.h"

#include "base/mem.h"
#include "engine/llama_api.h"

#include <dlfcn.h>
#include <math.h>

/* What the product does not call, and llama_api does not resolve. */
#define SAMPLER_FUNCTIONS(X)                                                                       \
    X(llama_sampler_accept)                                                                        \
    X(llama_sampler_apply)                                                                         \
    X(llama_sampler_chain_add)                                                                     \
    X(llama_sampler_chain_default_params)                                                          \
    X(llama_sampler_chain_init)                                                                    \
    X(llama_sampler_free)                                                                          \
    X(llama_sampler_init_dry)                                                                      \
    X(llama_sampler_init_min_p)                                                                    \
    X(llama_sampler_init_mirostat)                                                                 \
    X(llama_sampler_init_mirostat_v2)                                                              \
    X(llama_sampler_init_penalties)                                                                \
    X(llama_sampler_init_temp_ext)                                                                 \
    X(llama_sampler_init_top_k)                                                                    \
    X(llama_sampler_init_top_n_sigma)                                                              \
    X(llama_sampler_init_top_p)                                                                    \
    X(llama_sampler_init_typical)                                                                  \
    X(llama_sampler_init_xtc)

enum { ANY_SEED = 1, SHAPE_TOKENS = 100 };

struct llama_chain {
    const struct llama_api *api;
    struct {
#define SAMPLER_FIELD(name) __typeof__(&(name)) name;
        SAMPLER_FUNCTIONS(SAMPLER_FIELD)
#undef SAMPLER_FIELD
    } call;
    struct llama_model *model; /* its vocabulary alone; or NULL */
    struct llama_sampler *samplers;
    uint32_t vocab_size;
    struct llama_token_data *rows;
};

/* Through a handle of our own: llama_api opened the library for itself alone. It stays open: its
 * rule 1. */
static enum err resolve(struct llama_chain *chain, struct err_note *note)
{
    Dl_info info;
    void *handle = NULL;
    if (dladdr(*(void **)&chain->api->llama_version, &info) != 0)
        handle = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    if (!handle)
        return err_note_fail(note, ERR_NOT_FOUND, "the library is not where it was loaded from");
#define SAMPLER_RESOLVE(name)                                                                      \
    if (!(*(void **)&chain->call.name = dlsym(handle, #name)))                                     \
        return err_note_fail(note, ERR_REFUSED, "libllama lacks the function %s", #name);
    SAMPLER_FUNCTIONS(SAMPLER_RESOLVE)
#undef SAMPLER_RESOLVE
    return ERR_OK;
}

static enum err load_vocab(struct llama_chain *chain, const char *path, struct err_note *note)
{
    if (!path)
        return ERR_OK;
    struct llama_model_params params = chain->api->llama_model_default_params();
    params.vocab_only = true;
    chain->model = chain->api->llama_model_load_from_file(path, params);
    return chain->model ? ERR_OK : err_note_fail(note, ERR_PROTOCOL, "no vocabulary in %s", path);
}

enum err llama_chain_new(const struct llama_chain_options *options, struct llama_chain **out_chain,
                         struct err_note *out_note)
{
    struct llama_chain *chain = mem_alloc(sizeof(*chain));
    chain->vocab_size = options->vocab_size;
    chain->rows = mem_array(options->vocab_size, sizeof(*chain->rows));
    enum err err = llama_api_load(options->library_dir, options->search, &chain->api, out_note);
    if (err == ERR_OK)
        err = resolve(chain, out_note);
    if (err == ERR_OK)
        err = load_vocab(chain, options->vocab_path, out_note);
    if (err != ERR_OK) {
        llama_chain_free(chain);
        return err;
    }
    chain->samplers =
        chain->call.llama_sampler_chain_init(chain->call.llama_sampler_chain_default_params());
    *out_chain = chain;
    return ERR_OK;
}

void llama_chain_free(struct llama_chain *chain)
{
    if (!chain)
        return;
    if (chain->samplers)
        chain->call.llama_sampler_free(chain->samplers);
    if (chain->model)
        chain->api->llama_model_free(chain->model);
    mem_free(chain->rows);
    mem_free(chain);
}

static void add(struct llama_chain *chain, struct llama_sampler *sampler)
{
    ASSERT(sampler);
    chain->call.llama_sampler_chain_add(chain->samplers, sampler);
}

void llama_chain_penalties(struct llama_chain *chain, int32_t last_n, float repeat, float frequency,
                           float presence)
{
    add(chain, chain->call.llama_sampler_init_penalties((int32_t)chain->vocab_size, last_n, repeat,
                                                        frequency, presence));
}

void llama_chain_dry(struct llama_chain *chain, float multiplier, float base, int32_t allowed,
                     int32_t last_n, const char **breakers, size_t breaker_count)
{
    const struct llama_vocab *vocab = chain->api->llama_model_get_vocab(chain->model);
    add(chain, chain->call.llama_sampler_init_dry(vocab, multiplier, base, allowed, last_n,
                                                  breakers, breaker_count));
}

void llama_chain_top_n_sigma(struct llama_chain *chain, float sigmas)
{
    add(chain, chain->call.llama_sampler_init_top_n_sigma(sigmas));
}

void llama_chain_top_k(struct llama_chain *chain, int32_t k)
{
    add(chain, chain->call.llama_sampler_init_top_k(k));
}

void llama_chain_typical(struct llama_chain *chain, float p, size_t min_keep)
{
    add(chain, chain->call.llama_sampler_init_typical(p, min_keep));
}

void llama_chain_top_p(struct llama_chain *chain, float p, size_t min_keep)
{
    add(chain, chain->call.llama_sampler_init_top_p(p, min_keep));
}

void llama_chain_min_p(struct llama_chain *chain, float p, size_t min_keep)
{
    add(chain, chain->call.llama_sampler_init_min_p(p, min_keep));
}

void llama_chain_xtc(struct llama_chain *chain, float probability, float threshold, size_t min_keep)
{
    add(chain, chain->call.llama_sampler_init_xtc(probability, threshold, min_keep, ANY_SEED));
}

void llama_chain_temperature(struct llama_chain *chain, float temperature, float range,
                             float exponent)
{
    add(chain, chain->call.llama_sampler_init_temp_ext(temperature, range, exponent));
}

void llama_chain_mirostat(struct llama_chain *chain, int version, float tau, float eta)
{
    add(chain, version == 1 ? chain->call.llama_sampler_init_mirostat(
                                  (int32_t)chain->vocab_size, ANY_SEED, tau, eta, SHAPE_TOKENS)
                            : chain->call.llama_sampler_init_mirostat_v2(ANY_SEED, tau, eta));
}

void llama_chain_accept(struct llama_chain *chain, token_id token)
{
    chain->call.llama_sampler_accept(chain->samplers, token);
}

void llama_chain_apply(struct llama_chain *chain, const float *logits, float *out_logits)
{
    for (uint32_t id = 0; id < chain->vocab_size; id++)
        chain->rows[id] = (struct llama_token_data){.id = (token_id)id, .logit = logits[id]};
    struct llama_token_data_array array = {
        .data = chain->rows, .size = chain->vocab_size, .selected = -1};
    chain->call.llama_sampler_apply(chain->samplers, &array);
    for (uint32_t id = 0; id < chain->vocab_size; id++)
        out_logits[id] = -INFINITY;
    for (size_t i = 0; i < array.size; i++)
        out_logits[array.data[i].id] = array.data[i].logit;
}
