/* gateway_budget_test - what a streamed token costs: no allocation, in any dialect. The program is
 * linked with --wrap, so that every malloc, calloc and realloc of ours is counted here. */
#include "gateway/gateway_rig.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    WARM_UP_TOKENS = 64,
    TOKENS = 1000,
    BUS_PER_FRAME = 2, /* a credit that the hub sends: packet and delivery */
    NET_PER_WRITE = 1, /* the chunk that a stream holds while it is not empty */
};

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *pointer, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *pointer, size_t bytes);

static bool is_counting;
static long allocations;

void *__wrap_malloc(size_t bytes)
{
    allocations += is_counting;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    allocations += is_counting;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *pointer, size_t bytes)
{
    allocations += is_counting;
    return __real_realloc(pointer, bytes);
}

/* Streams tokens, each in a turn of its own; counts while the gateway has them. */
static void stream(struct job *job, int tokens)
{
    struct gateway_rig *rig = job->rig;
    for (int i = 0; i < tokens; i++) {
        job_burst(job, SLICE(" t\xc3\xb6ken\n"), 1);
        is_counting = true;
        rig_settle(&rig->http);
        is_counting = false;
        if (i % 16 == 0)
            client_settle(&rig->client);
    }
}

TEST(a_streamed_token_costs_no_allocation_in_the_gateway)
{
    static const struct {
        const char *name, *path, *body;
    } surfaces[] = {
        {"completions", "/v1/completions", "{\"prompt\":\"x\",\"stream\":true}"},
        {"serving v2", "/v1/completions?stream=true", "{\"prompt\":\"x\"}"},
        {"chat", "/v1/chat/completions",
         "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {"infer", "/v1/infer", "{\"prompt\":\"x\",\"stream\":true}"},
        {"inference", "/v1/inference", "{\"prompt\":\"x\"}"},
        {"generate", "/generate/stream", "{\"prompt\":\"x\"}"},
        {"raw", "/v1/infer?format=raw", "{\"prompt\":\"x\"}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
        struct gateway_rig *rig = gateway_rig_open(NULL);
        struct job *job = client_ask(&rig->client, surfaces[i].path, surfaces[i].body);
        job_start(job);
        stream(job, WARM_UP_TOKENS);
        int credits = job->credits;
        allocations = 0;
        stream(job, TOKENS);
        long bus = (long)(job->credits - credits) * BUS_PER_FRAME, net = TOKENS * NET_PER_WRITE;
        printf("%-12s %d tokens, a turn each: %ld allocations; bus %ld, net %ld, gateway %ld\n",
               surfaces[i].name, TOKENS, allocations, bus, net, allocations - bus - net);
        CHECK_EQ(allocations - bus - net, 0);
        job_done(job, DONE_EOS);
        client_settle(&rig->client);
        CHECK(rig_is_idle(rig));
        gateway_rig_close(rig);
    }
}
