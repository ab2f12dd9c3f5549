/* gateway_cost_test - what a request and an open stream cost in memory: bytes that a stream holds
 * while nothing happens, whatever it was asked with, and how often a request asks for memory. */
#include "gateway/gateway_rig.h"
#include "testing/alloc_count.h"
#include "testing/heap.h"
#include "testing/test.h"

#include <stdio.h>

enum {
    STREAMS = 40,
    /* All of the gateway and its connection; 2026-11 they hold 3763 (x86-64, clang 14). */
    STREAM_BUDGET_BYTES = 4096,
    MALLOC_BYTES = 512, /* for what malloc adds: up to 4123 in all were seen (glibc 2.36) */
    WARM_UP = 8,
    REQUESTS = 32,
    /* Of one request of one token on a kept connection: gateway, bus_mem, and the worker of the rig
     * as it reads the submit: 156 in 2026-11; 170 with ASan, where an arena asks each time. */
    REQUEST_BUDGET_ALLOCATIONS = 185,
};

static struct client clients[STREAMS + 1];

/* An open stream that has said a token and waits for the next. */
static void open_stream(struct gateway_rig *rig, struct client *client, const char *body)
{
    client_open(client, &rig->http);
    struct job *job = client_ask(client, "/v1/chat/completions", body);
    job_start(job);
    job_delta(job, SLICE("t"));
    client_settle(client);
    text_fini(&client->in); /* the client's memory is not the gateway's */
}

/* What the worker of the rig keeps of its jobs, which have ended. */
static size_t free_jobs(struct gateway_rig *rig)
{
    size_t before = heap_bytes();
    rig_forget_jobs(rig);
    return before - heap_bytes();
}

static size_t bytes_of_a_stream(const char *body)
{
    struct gateway_rig *rig = gateway_rig_open(NULL);
    open_stream(rig, &clients[0], body);
    size_t before = heap_bytes();
    for (int i = 1; i <= STREAMS; i++)
        open_stream(rig, &clients[i], body);
    size_t held = heap_bytes() - before;
    rig->obliges = true;
    for (int i = 0; i <= STREAMS; i++) {
        client_leave(&clients[i], BY_FIN);
        client_fini(&clients[i]);
    }
    CHECK(rig_is_idle(rig));
    held -= free_jobs(rig) / (STREAMS + 1) * STREAMS; /* of the first one, too */
    gateway_rig_close(rig);
    return held / STREAMS;
}

static void check_budget(size_t each)
{
    CHECK(each <= STREAM_BUDGET_BYTES + (heap_bytes_are_exact() ? 0 : MALLOC_BYTES));
}

TEST(an_idle_stream_fits_its_budget)
{
    size_t each = bytes_of_a_stream(
        "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}");
    printf("an idle stream: %zu bytes\n", each);
    check_budget(each);
}

TEST(an_idle_stream_does_not_hold_what_it_was_asked_with)
{
    static char body[60000];
    memset(body, 'x', sizeof(body));
    static const char head[] = "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"";
    static const char tail[] = "\"}]}";
    memcpy(body, head, sizeof(head) - 1);
    memcpy(body + sizeof(body) - sizeof(tail), tail, sizeof(tail));
    size_t each = bytes_of_a_stream(body);
    printf("an idle stream, asked with %zu bytes: %zu bytes\n", sizeof(body), each);
    check_budget(each);
}

static void ask_for_one_token(struct gateway_rig *rig)
{
    struct job *job = client_ask(&rig->client, "/v1/chat/completions",
                                 "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":"
                                 "\"a question of some thirty bytes\"}]}");
    job_start(job);
    job_delta(job, SLICE("t"));
    job_done(job, DONE_LENGTH);
    rig_forget_jobs(rig);
}

TEST(a_one_token_request_asks_for_memory_within_its_budget)
{
    struct gateway_rig *rig = gateway_rig_open(NULL);
    for (int i = 0; i < WARM_UP + REQUESTS; i++) {
        if (i == WARM_UP) {
            (void)alloc_count_take();
            alloc_count_resume();
        }
        ask_for_one_token(rig);
    }
    alloc_count_pause();
    long each = alloc_count_take() / REQUESTS;
    printf("a one-token request: %ld allocations\n", each);
    CHECK(each <= REQUEST_BUDGET_ALLOCATIONS);
    gateway_rig_close(rig);
}
