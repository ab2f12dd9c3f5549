/* manager_cost_test - what a request costs the manager in memory while it runs, and while it waits:
 * bytes, whatever it was asked with. */
#include "base/mem.h"
#include "manager/manager_rig.h"
#include "testing/heap.h"
#include "testing/test.h"

#include <stdio.h>

enum {
    REQUESTS = 200,
    RUNNING_BUDGET_BYTES = 576, /* 2026-11 it holds 512 (x86-64, clang 14) */
    WAITING_BUDGET_BYTES = 576, /* beside the submit, which its worker is still to get: 512 */
    MALLOC_BYTES = 128,         /* for what malloc adds */
    LONG_PROMPT_BYTES = 30000,
};

static struct rig rig;
static struct peer *asker, *worker;

static struct request request_with(uint64_t stream, struct slice prompt)
{
    struct request request = rig_request(asker, stream);
    request.prompt = prompt;
    return request;
}

static size_t submit_bytes(const struct request *request)
{
    struct text submit;
    text_init(&submit, 1 << 20);
    request_encode(request, &submit);
    size_t bytes = submit.len;
    text_fini(&submit);
    return bytes;
}

static void open_manager(uint32_t slots)
{
    rig_init(&rig);
    rig.options.queue_max = REQUESTS + 1;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    worker = rig_ready_worker(&rig, "m", slots, slots);
}

/* The worker has it, and has said so; the asker hears from there. */
static void run_one(uint64_t stream, struct slice prompt)
{
    struct request request = request_with(stream, prompt);
    rig_submit(asker, &request);
    worker_say_load(worker, stream, REQUESTS + 1, (uint32_t)(REQUESTS + 1 - stream));
    CHECK_EQ(manager_stats(rig.manager).assigned, stream);
}

static size_t bytes_of_a_running_one(struct slice prompt)
{
    open_manager(REQUESTS + 1);
    run_one(1, prompt);
    size_t before = heap_bytes();
    for (uint64_t stream = 2; stream <= REQUESTS + 1; stream++)
        run_one(stream, prompt);
    size_t held = heap_bytes() - before;
    rig_close(&rig);
    return held / REQUESTS;
}

static size_t bytes_of_a_waiting_one(struct slice prompt)
{
    open_manager(0);
    struct request request = request_with(1, prompt);
    rig_submit(asker, &request);
    size_t before = heap_bytes();
    for (uint64_t stream = 2; stream <= REQUESTS + 1; stream++) {
        request = request_with(stream, prompt);
        rig_submit(asker, &request);
    }
    CHECK_EQ(manager_stats(rig.manager).queued, REQUESTS + 1);
    size_t held = heap_bytes() - before, submit = submit_bytes(&request);
    rig_close(&rig);
    return held / REQUESTS - submit;
}

static void check_budget(size_t each, size_t budget)
{
    CHECK(each <= budget + (heap_bytes_are_exact() ? 0 : MALLOC_BYTES));
}

TEST(a_running_request_fits_its_budget)
{
    size_t each = bytes_of_a_running_one(SLICE("a question of some thirty bytes"));
    printf("a running request: %zu bytes\n", each);
    check_budget(each, RUNNING_BUDGET_BYTES);
}

TEST(a_running_request_does_not_hold_what_it_was_asked_with)
{
    static char prompt[LONG_PROMPT_BYTES];
    memset(prompt, 'x', sizeof(prompt));
    size_t each = bytes_of_a_running_one(slice_of(prompt, sizeof(prompt)));
    printf("a running request, asked with %zu bytes: %zu bytes\n", sizeof(prompt), each);
    check_budget(each, RUNNING_BUDGET_BYTES);
}

TEST(a_waiting_request_fits_its_budget_beside_its_submit)
{
    static char prompt[LONG_PROMPT_BYTES];
    memset(prompt, 'x', sizeof(prompt));
    size_t small = bytes_of_a_waiting_one(SLICE("a question of some thirty bytes"));
    size_t large = bytes_of_a_waiting_one(slice_of(prompt, sizeof(prompt)));
    printf("a waiting request: its submit and %zu bytes, with a long one %zu\n", small, large);
    check_budget(small, WAITING_BUDGET_BYTES);
    check_budget(large, WAITING_BUDGET_BYTES);
}
