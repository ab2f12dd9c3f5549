/* ask_continue_test - a worker is lost in mid-stream: where the answer is kept, another one is
 * asked to go on with it, and the owner sees nothing of that; where it is not, that is the end. */
#include "ask/said.h"
#include "ask/stage.h"
#include "base/mem.h"
#include "testing/test.h"

#include <stdio.h>

enum { ROOM = 1 << 20, SEED = 77 };

#define NUMERICS "0123456789abcdef0123456789abcdef"

static struct stage stage;

static void say_started(const struct owner *owner, uint64_t seq)
{
    struct event event = {.type = EVENT_STARTED, .seq = seq};
    event.started.model = SLICE("m");
    event.started.worker = SLICE("w");
    event.started.seed = SEED;
    event.started.numerics = SLICE(NUMERICS);
    say(&stage, owner, &event);
}

static void say_usage(const struct owner *owner, uint64_t seq)
{
    say(&stage, owner, &(struct event){.type = EVENT_USAGE, .seq = seq});
}

static void say_error(const struct owner *owner, uint64_t seq, enum fault fault)
{
    struct event event = {.type = EVENT_ERROR, .seq = seq};
    event.error.fault = fault;
    event.error.message = SLICE("no");
    say(&stage, owner, &event);
}

static void open_keeping(size_t continue_bytes_max)
{
    stage_init(&stage);
    stage.options.continue_bytes_max = continue_bytes_max;
    stage_open(&stage);
}

/* Accepted and started: events 1 and 2. */
static void begin(struct owner *owner)
{
    stage.epoch = 1;
    owner_start(owner, &stage);
    say_started(owner, 2);
}

/* In the next epoch, by the same worker come back. */
static void begin_again(const struct owner *owner, uint32_t epoch)
{
    stage.epoch = epoch;
    say_accepted(&stage, owner, 1);
    say_started(owner, 2);
}

/* The last submit asks to go on behind so much; its first credit. */
static struct wire_credit check_continues(const struct owner *owner, uint32_t epoch,
                                          size_t token_count, uint64_t text_bytes)
{
    struct arena *arena = arena_new(1 << 16);
    struct request request;
    check_last_submit(&stage, owner, epoch);
    CHECK_OK(request_decode(text_slice(&stage.last_submit), arena, &request, NULL));
    CHECK(request.continue_from.is_wanted && request.continue_from.seed == SEED);
    CHECK_SLICE(request.continue_from.numerics, NUMERICS);
    CHECK_EQ(request.continue_from.token_count, token_count);
    CHECK_EQ(request.continue_from.text_bytes, text_bytes);
    struct wire_credit credit = {.seq_limit = request.credit_events,
                                 .byte_limit = request.credit_bytes};
    arena_free(arena);
    return credit;
}

TEST(a_worker_lost_in_mid_stream_is_a_pause_and_nothing_else)
{
    struct owner owner = owner_eager();
    open_keeping(ROOM);
    begin(&owner);
    say_delta(&stage, &owner, 3, "hel");
    say_delta(&stage, &owner, 4, "");
    stage_worker_leaves(&stage);
    stage_run(&stage, 200); /* the ping */
    CHECK_EQ(owner.ends, 0);
    check_continues(&owner, 2, 2, 3);
    size_t before = owner.count;
    stage_worker_comes(&stage);
    manager_say_queued(&stage, &owner);
    begin_again(&owner, 2);
    say(&stage, &owner, &(struct event){.type = EVENT_PREFILL, .seq = 3});
    CHECK_EQ(owner.count, before); /* none of it is for the owner */
    say_delta(&stage, &owner, 4, "lo");
    say_usage(&owner, 5);
    say_done(&stage, &owner, 6, DONE_EOS);
    CHECK(owner.ends == 1 && owner.reason == DONE_EOS);
    CHECK_STR(owner.text, "hello");
    CHECK(owner_events(&owner, EVENT_STARTED) == 1 && owner_events(&owner, EVENT_ACCEPTED) == 1);
    struct ask_stats stats = ask_hub_stats(stage.hub);
    CHECK(stats.reruns == 1 && stats.continued == 1 && stats.lost == 0);
    stage_close(&stage);
}

/* It has made its own seed and has its own numerics: those are to go on with. */
TEST(a_second_worker_that_began_anew_is_the_one_to_be_gone_on_with)
{
    struct owner owner = owner_eager();
    struct event event = {.type = EVENT_STARTED, .seq = 2};
    event.started.model = SLICE("m");
    event.started.worker = SLICE("w");
    event.started.seed = SEED + 1;
    open_keeping(ROOM);
    stage.epoch = 1;
    owner_start(&owner, &stage);
    say(&stage, &owner, &event);
    say_unknown(&stage, &owner);
    begin_again(&owner, 2);
    say_delta(&stage, &owner, 3, "ab");
    say_unknown(&stage, &owner);
    check_continues(&owner, 3, 1, 2);
    begin_again(&owner, 3);
    say_done(&stage, &owner, 3, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

static char last_message[256];

static void keep_message(struct owner *owner, const struct event *event)
{
    (void)owner;
    if (event->type == EVENT_ERROR)
        snprintf(last_message, sizeof(last_message), SLICE_FMT, SLICE_ARG(event->error.message));
}

/* With a prompt of so many bytes, up to `started`. */
static void begin_long(struct owner *owner, size_t prompt_bytes)
{
    static char prompt[8192];
    struct request request = stage_request(id_new());
    memset(prompt, 'x', sizeof(prompt));
    request.prompt = slice_of(prompt, prompt_bytes);
    owner->stage = &stage;
    owner->id = request.id;
    owner->on_event = keep_message;
    stage.epoch = 1;
    CHECK_OK(ask_open(stage.hub, &request, owner_on_event, owner, &owner->ask));
    stage_run(&stage, 0);
    say_accepted(&stage, owner, 1);
    say_started(owner, 2);
}

/* It left the first time, and with what was said it never will. */
TEST(an_answer_that_has_become_too_long_for_a_frame_ends_at_once_and_says_so)
{
    enum { HEADERS = 60 };
    char most[64];
    struct owner fits = owner_eager(), owner = owner_eager();
    stage_init(&stage);
    stage.options.continue_bytes_max = ROOM;
    stage.peer_bytes_max = 6000;
    stage_open(&stage);
    size_t max = bus_frame_max_bytes(stage.asker);
    snprintf(most, sizeof(most), "at most %zu can be sent", max);
    begin(&fits);
    size_t around = stage.last_submit.len - strlen("hello");
    say_delta(&stage, &fits, 3, "ab");
    say_unknown(&stage, &fits);
    check_continues(&fits, 2, 1, 2);
    begin_again(&fits, 2);
    say_done(&stage, &fits, 3, DONE_EOS);
    begin_long(&owner, max - HEADERS - around);
    CHECK_EQ(stage.last_submit.len, max - HEADERS); /* it came */
    say_delta(&stage, &owner, 3, "ab");
    say_unknown(&stage, &owner);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    CHECK(strstr(last_message, most));
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 1);
    stage_close(&stage);
}

/* With every way in which a worker is lost, again and again, up to reruns_max. */
static void lose(struct owner *owner, uint32_t how, uint64_t next_seq)
{
    switch (how) {
    case 0:
        say_unknown(&stage, owner);
        return;
    case 1:
        say_error(owner, next_seq, FAULT_WORKER_LOST);
        return;
    case 2:
        say_error(owner, next_seq, FAULT_DRAINING);
        return;
    default:
        stage_run(&stage, 5000); /* silence */
    }
}

TEST(an_answer_goes_on_through_every_kind_of_loss_as_often_as_reruns_allow)
{
    struct owner owner = owner_eager();
    stage_init(&stage);
    stage.options.continue_bytes_max = ROOM;
    stage.options.reruns_max = 4;
    stage_open(&stage);
    begin(&owner);
    for (uint32_t how = 0; how < 4; how++) {
        say_delta(&stage, &owner, 3, "ab");
        lose(&owner, how, 4);
        CHECK_EQ(owner.ends, 0);
        check_continues(&owner, how + 2, how + 1, 2 * (how + 1));
        begin_again(&owner, how + 2);
    }
    say_delta(&stage, &owner, 3, "!");
    say_unknown(&stage, &owner);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    CHECK_STR(owner.text, "abababab!");
    CHECK_EQ(ask_hub_stats(stage.hub).continued, 4);
    stage_close(&stage);
}

/* It had made some, which waited for credit. Without keeping anything, too. */
TEST(a_worker_that_gives_up_before_a_delta_came_is_lost_like_any)
{
    struct owner owner = owner_eager();
    open_keeping(0);
    begin(&owner);
    say_error(&owner, 3, FAULT_WORKER_LOST);
    CHECK_EQ(owner.ends, 0);
    check_last_submit(&stage, &owner, 2);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

/* What only another worker could say differently is the worker's word. */
TEST(an_error_of_the_request_is_its_end)
{
    struct owner owner = owner_eager();
    open_keeping(ROOM);
    begin(&owner);
    say_delta(&stage, &owner, 3, "x");
    say_error(&owner, 4, FAULT_INVALID_REQUEST);
    CHECK(owner.ends == 1 && owner.fault == FAULT_INVALID_REQUEST);
    stage_close(&stage);
}

/* The bill may be all that came, or only that of a worker that gave up. */
TEST(usage_comes_once_and_of_the_whole_answer)
{
    struct owner owner = owner_eager();
    open_keeping(ROOM);
    begin(&owner);
    say_delta(&stage, &owner, 3, "x");
    say_usage(&owner, 4);
    say_unknown(&stage, &owner);
    check_continues(&owner, 2, 1, 1);
    CHECK_EQ(owner_events(&owner, EVENT_USAGE), 0);
    begin_again(&owner, 2);
    say_usage(&owner, 3);
    say_done(&stage, &owner, 4, DONE_LENGTH);
    CHECK(owner.ends == 1 && owner.reason == DONE_LENGTH);
    CHECK_EQ(owner_events(&owner, EVENT_USAGE), 1);
    CHECK_STR(owner.text, "x");
    stage_close(&stage);
}

TEST(usage_that_was_kept_is_said_however_it_ends)
{
    struct owner cancelled = owner_eager(), silent = owner_eager();
    open_keeping(ROOM);
    begin(&cancelled);
    begin(&silent);
    say_usage(&cancelled, 3);
    say_usage(&silent, 3);
    ask_cancel(cancelled.ask);
    say_done(&stage, &cancelled, 4, DONE_CANCELLED);
    CHECK(cancelled.ends == 1 && owner_events(&cancelled, EVENT_USAGE) == 1);
    ask_abandon(&silent.ask);
    say_done(&stage, &silent, 4, DONE_CANCELLED);
    CHECK_EQ(owner_events(&silent, EVENT_USAGE), 0);
    stage_close(&stage);
}

TEST(what_the_owner_holds_is_taken_off_the_new_credit)
{
    struct owner owner = {0};
    stage_init(&stage);
    stage.options.continue_bytes_max = ROOM;
    stage.options.credit_events = 8;
    stage.options.credit_bytes = 100;
    stage_open(&stage);
    begin(&owner);
    for (uint64_t seq = 3; seq < 8; seq++)
        say_delta(&stage, &owner, seq, "x"); /* 9 bytes each: 4, an id and the text */
    say_unknown(&stage, &owner);
    struct wire_credit first = check_continues(&owner, 2, 5, 5);
    CHECK(first.seq_limit == 3 && first.byte_limit == 55);
    begin_again(&owner, 2);
    ask_consumed(owner.ask, 5, 45);
    stage_run(&stage, 0);
    const struct wire_credit *now = &heard_last(&stage, WIRE_CREDIT)->credit;
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->epoch, 2);
    CHECK(now->acked_seq == 2 && now->seq_limit == 2 + 8);
    say_delta(&stage, &owner, 3, "y");
    CHECK_STR(owner.text, "xxxxxy");
    ask_consumed(owner.ask, 1, 9);
    say_done(&stage, &owner, 4, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

/* All of the credit is with the owner: the worker may still say one, or nothing would ever move. */
TEST(a_new_credit_is_never_none)
{
    struct owner owner = {0};
    stage_init(&stage);
    stage.options.continue_bytes_max = ROOM;
    stage.options.credit_events = 4;
    stage_open(&stage);
    begin(&owner);
    for (uint64_t seq = 3; seq < 7; seq++)
        say_delta(&stage, &owner, seq, "x");
    say_unknown(&stage, &owner);
    CHECK_EQ(check_continues(&owner, 2, 4, 4).seq_limit, 1);
    begin_again(&owner, 2);
    ask_consumed(owner.ask, 4, 36);
    say_done(&stage, &owner, 3, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

static bool goes_on_within(size_t continue_bytes_max)
{
    struct owner owner = owner_eager();
    open_keeping(continue_bytes_max);
    begin(&owner);
    for (uint64_t seq = 3; seq < 70; seq++)
        say_delta(&stage, &owner, seq, "x");
    say_unknown(&stage, &owner);
    bool goes_on = owner.ends == 0;
    if (goes_on) {
        check_continues(&owner, 2, 67, 67);
        begin_again(&owner, 2);
        say_done(&stage, &owner, 3, DONE_EOS);
    } else {
        CHECK_EQ(owner.fault, FAULT_WORKER_LOST);
    }
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
    return goes_on;
}

TEST(what_does_not_fit_is_not_kept_and_ends_with_its_worker)
{
    CHECK(!goes_on_within(0));
    CHECK(!goes_on_within(1)); /* not even the submit */
    size_t least = 0, most = ROOM;
    while (most - least > 1) {
        size_t middle = least + (most - least) / 2;
        *(goes_on_within(middle) ? &most : &least) = middle;
    }
    CHECK(most > 96 * sizeof(int32_t) && most < 4096); /* the submit, and ids for 67 tokens */
}

/* Room that an ask had is another's when it has ended. */
TEST(what_was_kept_is_given_back)
{
    open_keeping(2048);
    for (uint32_t round = 0; round < 20; round++) {
        struct owner owner = owner_eager();
        begin(&owner);
        say_delta(&stage, &owner, 3, "x");
        say_unknown(&stage, &owner);
        check_continues(&owner, 2, 1, 1);
        begin_again(&owner, 2);
        if (round % 2) {
            say_done(&stage, &owner, 3, DONE_EOS);
        } else {
            ask_cancel(owner.ask);
            say_done(&stage, &owner, 3, DONE_CANCELLED);
        }
        CHECK_EQ(owner.ends, 1);
    }
    stage_close(&stage);
}

TEST(a_token_that_finds_no_memory_is_not_half_kept)
{
    struct event delta = {.type = EVENT_DELTA};
    delta.delta.token_count = 1;
    delta.delta.token_bytes = SLICE("\7\0\0\0");
    delta.delta.text = SLICE("x");
    mem_test_fail_nth(1);
    CHECK(!said_new());
    struct said *said = said_new();
    mem_test_fail_nth(1);
    CHECK_ERR(said_add(said, &delta), ERR_FULL);
    mem_test_fail_nth(0);
    CHECK(said->count == 0 && said->text_bytes == 0 && !said->has_begun);
    size_t before = said_bytes(said), more = said_more_bytes(said, &delta);
    CHECK_OK(said_add(said, &delta));
    CHECK(said->count == 1 && said->tokens[0] == 7 && said->text_bytes == 1);
    CHECK_EQ(said_bytes(said), before + more);
    CHECK_EQ(said_more_bytes(said, &delta), 0);
    delta.delta.choice = 1; /* an answer of several */
    CHECK_ERR(said_add(said, &delta), ERR_FULL);
    said_free(said);
}
