/* ask_cost_test - what an open ask costs in memory: bytes that it holds while nothing happens,
 * whatever it asked with. */
#include "ask/stage.h"
#include "base/mem.h"
#include "testing/heap.h"
#include "testing/test.h"

#include <stdio.h>

enum {
    ASKS = 100,
    ASK_BUDGET_BYTES = 448, /* 2026-11 it holds 406 (x86-64, clang 14) */
    MALLOC_BYTES = 128,     /* for what malloc adds: up to 464 in all were seen (glibc 2.36) */
    LONG_PROMPT_BYTES = 30000,
};

static struct stage stage;
static struct owner owners[ASKS + 1];

/* The worker has said a token, and nobody knows when the next one comes. */
static void open_ask(struct owner *owner, struct slice prompt)
{
    *owner = owner_eager();
    owner->stage = &stage;
    owner->id = id_new();
    struct request request = stage_request(owner->id);
    request.prompt = prompt;
    CHECK_OK(ask_open(stage.hub, &request, owner_on_event, owner, &owner->ask));
    stage_run(&stage, 0);
    say_accepted(&stage, owner, 1);
    say_delta(&stage, owner, 2, "t");
    CHECK_STR(owner->text, "t");
}

static size_t bytes_of_an_ask(struct slice prompt)
{
    stage_open_default(&stage);
    open_ask(&owners[0], prompt);
    size_t before = heap_bytes();
    for (size_t i = 1; i <= ASKS; i++)
        open_ask(&owners[i], prompt);
    size_t held = heap_bytes() - before;
    for (size_t i = 0; i <= ASKS; i++)
        say_done(&stage, &owners[i], 3, DONE_EOS);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
    return held / ASKS;
}

static void check_budget(size_t each)
{
    CHECK(each <= ASK_BUDGET_BYTES + (heap_bytes_are_exact() ? 0 : MALLOC_BYTES));
}

TEST(an_open_ask_fits_its_budget)
{
    size_t each = bytes_of_an_ask(SLICE("a question of some thirty bytes"));
    printf("an open ask: %zu bytes\n", each);
    check_budget(each);
}

TEST(an_open_ask_does_not_hold_what_it_asked_with)
{
    static char prompt[LONG_PROMPT_BYTES];
    memset(prompt, 'x', sizeof(prompt));
    size_t each = bytes_of_an_ask(slice_of(prompt, sizeof(prompt)));
    printf("an open ask, of %zu bytes: %zu bytes\n", sizeof(prompt), each);
    check_budget(each);
}
