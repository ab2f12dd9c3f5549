/* routes - method, path, and who does it. A new dialect is a line in two tables here and a file in
 * dialect/. */
#include "gateway/routes.h"

#include "gateway/dialect/dialects.h"
#include "gateway/health.h"
#include "gateway/loading_page.h"
#include "gateway/metrics_page.h"
#include "gateway/models_page.h"
#include "gateway/ready.h"
#include "gateway/requests_page.h"

#define DIALECT(name)                                                                              \
    &(const struct route_target)                                                                   \
    {                                                                                              \
        .dialect = &dialect_##name                                                                 \
    }
#define ANSWER(function)                                                                           \
    &(const struct route_target)                                                                   \
    {                                                                                              \
        .answer = function                                                                         \
    }
#define OPEN(function)                                                                             \
    &(const struct route_target)                                                                   \
    {                                                                                              \
        .answer = function, .is_open = true                                                        \
    }

const struct route gateway_routes[] = {
    {HTTP_POST, "/v1/completions", DIALECT(completions)},
    {HTTP_POST, "/v1/chat/completions", DIALECT(chat)},
    {HTTP_POST, "/v1/infer", DIALECT(infer)},
    {HTTP_GET, "/v1/infer", DIALECT(infer)},
    {HTTP_POST, "/v1/inference", DIALECT(inference)},
    {HTTP_POST, "/generate", DIALECT(generate)},
    {HTTP_POST, "/generate/stream", DIALECT(generate_stream)},
    {HTTP_POST, "/v1/embeddings", DIALECT(embeddings)},
    {HTTP_POST, "/v1/rerank", DIALECT(rerank)},
    {HTTP_POST, "/tokenize", DIALECT(tokenize)},
    {HTTP_POST, "/detokenize", DIALECT(detokenize)},
    {HTTP_GET, "/v1/requests", ANSWER(requests_page_list)},
    {HTTP_DELETE, "/v1/requests/{id}", ANSWER(requests_page_cancel)},
    {HTTP_DELETE, "/v1/inference/{id}", ANSWER(requests_page_cancel)},
    {HTTP_GET, "/v1/models", ANSWER(models_page_list)},
    {HTTP_GET, "/v1/models/{id...}", ANSWER(models_page_one)},
    {HTTP_GET, "/v1/loading/progress", ANSWER(loading_page_answer)},
    {HTTP_GET, "/metrics", ANSWER(metrics_page_answer)},
    {HTTP_GET, "/metrics.json", ANSWER(metrics_page_json)},
    {HTTP_GET, "/health", OPEN(health_answer)},
    {HTTP_GET, "/health/live", OPEN(health_live_answer)},
    {HTTP_GET, "/live", OPEN(health_live_answer)},
    {HTTP_GET, "/health/ready", OPEN(ready_answer)},
    {HTTP_GET, "/ready", OPEN(ready_answer)},
};
const size_t gateway_route_count = ARRAY_COUNT(gateway_routes);

uint32_t route_mark(const struct route *route, enum http_method method)
{
    uint32_t index = route ? (uint32_t)(route - gateway_routes) + 1 : 0;
    return index * HTTP_METHOD_COUNT + (uint32_t)method + 1;
}

const struct route *route_of_mark(uint32_t mark)
{
    uint32_t index = mark > 0 ? (mark - 1) / HTTP_METHOD_COUNT : 0;
    return index > 0 ? &gateway_routes[index - 1] : NULL;
}

const char *route_mark_method(uint32_t mark)
{
    return mark > 0 ? http_method_name((enum http_method)((mark - 1) % HTTP_METHOD_COUNT)) : "";
}
