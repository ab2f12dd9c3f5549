/* llama_threads - starting, attaching and ending the pools. */
#include "engine/llama_threads.h"

void llama_threads_start(struct llama_threads *threads, const struct llama_api *api,
                         struct llama_context *context, uint32_t decode, uint32_t batch)
{
    ggml_backend_dev_t cpu = api->ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t registry = cpu ? api->ggml_backend_dev_backend_reg(cpu) : NULL;
    if (!registry || (decode == 1 && batch == 1))
        return;
    __typeof__(&ggml_threadpool_new) new_pool = NULL;
    *(void **)&new_pool = api->ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_new");
    *(void **)&threads->free_pool =
        api->ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_free");
    if (!new_pool || !threads->free_pool)
        return;
    struct ggml_threadpool_params params = api->ggml_threadpool_params_default((int)decode);
    params.poll = 0;
    threads->decode = threads->batch = new_pool(&params);
    if (batch != decode) {
        params.n_threads = (int)batch;
        threads->batch = new_pool(&params);
    }
    api->llama_attach_threadpool(context, threads->decode, threads->batch);
}

void llama_threads_stop(struct llama_threads *threads)
{
    if (threads->batch && threads->batch != threads->decode)
        threads->free_pool(threads->batch);
    if (threads->decode)
        threads->free_pool(threads->decode);
    *threads = (struct llama_threads){0};
}
