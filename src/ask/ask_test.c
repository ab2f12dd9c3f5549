/* ask_test - the life of one request: accepted, refused, silent, cancelled, abandoned. */
#include "ask/stage.h"
#include "base/arena.h"
#include "testing/test.h"

static struct stage stage; /* large; every test opens it anew */

/* --- the happy path --- */

TEST(a_request_is_submitted_and_its_events_arrive_in_order)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_ask(&owner, &stage);
    CHECK_EQ(stage.heard_count, 0);
    CHECK_EQ(ask_hub_count(stage.hub), 1);
    CHECK(id_eq(ask_id(owner.ask), owner.id));
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    say_accepted(&stage, &owner, 1);
    say_delta(&stage, &owner, 2, "hel");
    say_delta(&stage, &owner, 3, "lo");
    say(&stage, &owner, &(struct event){.type = EVENT_USAGE, .seq = 4});
    CHECK_EQ(owner.ends, 0);
    say_done(&stage, &owner, 5, DONE_EOS);
    CHECK_EQ(owner.count, 5);
    CHECK_EQ(owner.types[0], EVENT_ACCEPTED);
    CHECK_EQ(owner.types[3], EVENT_USAGE);
    CHECK_STR(owner.text, "hello");
    CHECK(owner.ends == 1 && owner.reason == DONE_EOS);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

TEST(the_submit_carries_the_request_its_inbox_epoch_and_credit)
{
    struct owner owner = owner_eager();
    struct arena *arena = arena_new(1 << 16);
    struct request request;
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    CHECK_OK(request_decode(text_slice(&stage.last_submit), arena, &request, NULL));
    CHECK(id_eq(request.id, owner.id));
    CHECK_SLICES(request.inbox, bus_inbox(stage.asker));
    CHECK_SLICE(request.prompt, "hello");
    CHECK(request.epoch == 1 && request.credit_events == 64 && request.credit_bytes == 65536);
    CHECK(request.arrival_ms == 1700000000000);
    const struct heard *submit = heard_last(&stage, WIRE_SUBMIT);
    CHECK(submit->stream == owner.id.low && submit->epoch == 1 && !submit->on_control);
    say_done(&stage, &owner, 2, DONE_EOS);
    arena_free(arena);
    stage_close(&stage);
}

TEST(the_end_is_acknowledged_so_that_the_worker_can_forget)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_delta(&stage, &owner, 2, "x");
    say_done(&stage, &owner, 3, DONE_STOP);
    const struct heard *credit = heard_last(&stage, WIRE_CREDIT);
    CHECK(credit && credit->on_control && credit->stream == owner.id.low);
    CHECK_EQ(credit->credit.acked_seq, 3);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 0);
    stage_close(&stage);
}

TEST(a_refusal_as_the_first_event_is_the_end)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 0);
    struct event event = {.type = EVENT_ERROR, .seq = 1};
    event.error.fault = FAULT_DRAINING;
    say(&stage, &owner, &event);
    CHECK(owner.ends == 1 && owner.fault == FAULT_DRAINING);
    stage_run(&stage, 10000);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    stage_close(&stage);
}

TEST(ten_thousand_asks_one_after_another_leave_nothing)
{
    stage_open_default(&stage);
    for (int i = 0; i < 10000; i++) {
        struct owner owner = owner_eager();
        stage.heard_count = 0;
        owner_start(&owner, &stage);
        say_delta(&stage, &owner, 2, "x");
        say_done(&stage, &owner, 3, DONE_EOS);
        CHECK_EQ(owner.ends, 1);
    }
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    struct ask_stats stats = ask_hub_stats(stage.hub);
    CHECK_EQ(stats.opened, 10000);
    CHECK_EQ(stats.ended, 10000);
    CHECK_EQ(stats.lost + stats.resends_asked + stats.repeated_submits, 0);
    stage_close(&stage);
}

/* --- nobody accepts --- */

TEST(the_submit_is_repeated_until_it_is_accepted)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 249);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    stage_run(&stage, 1);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    stage_run(&stage, 750);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 5);
    say_accepted(&stage, &owner, 1);
    stage_run(&stage, 2000);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 5);
    CHECK_EQ(ask_hub_stats(stage.hub).repeated_submits, 4);
    say_done(&stage, &owner, 2, DONE_EOS);
    stage_close(&stage);
}

TEST(a_submit_that_nobody_answers_ends_as_loading)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 4999);
    CHECK_EQ(owner.ends, 0);
    stage_run(&stage, 1);
    CHECK(owner.ends == 1 && owner.fault == FAULT_LOADING);
    CHECK_EQ(owner.retry_after_ms, 1000);
    CHECK_EQ(ask_hub_stats(stage.hub).lost, 0);
    const struct heard *cancel = heard_last(&stage, WIRE_CANCEL); /* if it still waits somewhere */
    CHECK(cancel && !cancel->on_control && cancel->stream == owner.id.low);
    stage_close(&stage);
}

TEST(a_manager_that_never_comes_ends_as_loading)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    stage_manager_leaves(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 4999);
    CHECK_EQ(owner.ends, 0);
    stage_run(&stage, 1);
    CHECK(owner.ends == 1 && owner.fault == FAULT_LOADING && owner.retry_after_ms == 1000);
    CHECK_EQ(owner.seqs[0], 1);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 0);
    stage_close(&stage);
}

TEST(a_manager_that_stays_full_ends_as_queue_full)
{
    struct owner owner = owner_eager();
    stage_init(&stage);
    stage.peer_bytes_max = 4096;
    stage.away_loop = loop_new_virtual(0); /* never turned */
    stage_open(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 4999);
    CHECK_EQ(owner.ends, 0);
    CHECK(ask_hub_stats(stage.hub).repeated_submits >= 19);
    stage_run(&stage, 1);
    CHECK(owner.ends == 1 && owner.fault == FAULT_QUEUE_FULL);
    stage_close(&stage);
}

/* --- silence --- */

TEST(a_worker_that_goes_silent_is_lost)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    stage_run(&stage, 4000);
    say_delta(&stage, &owner, 2, "x");
    stage_run(&stage, 4999);
    CHECK_EQ(owner.ends, 0);
    stage_run(&stage, 1);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    CHECK_EQ(owner.seqs[2], 3);
    const struct heard *cancel = heard_last(&stage, WIRE_CANCEL); /* should it live after all */
    CHECK(cancel && cancel->on_control);
    stage_close(&stage);
}

/* SIGSTOP and SIGCONT, a suspended machine: neither side was there. */
TEST(our_own_pause_is_not_the_silence_of_the_worker)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_delta(&stage, &owner, 2, "x");
    for (int pause = 0; pause < 3; pause++) {
        loop_skip(stage.loop, 60 * 1000000ull);
        stage_run(&stage, 900);
        CHECK_EQ(owner.ends, 0);
        say_heartbeat(&stage, &owner, 2);
    }
    loop_skip(stage.loop, 60 * 1000000ull);
    stage_run(&stage, 3999);
    CHECK_EQ(owner.ends, 0);
    stage_run(&stage, 1);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    stage_close(&stage);
}

TEST(heartbeats_keep_a_quiet_stream_alive)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    for (int i = 0; i < 40; i++) {
        stage_run(&stage, 500);
        say_heartbeat(&stage, &owner, 1);
    }
    CHECK_EQ(owner.ends, 0);
    CHECK_EQ(ask_hub_stats(stage.hub).resends_asked, 0);
    say_done(&stage, &owner, 2, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(a_worker_that_does_not_know_the_stream_has_lost_it)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_delta(&stage, &owner, 2, "x");
    manager_say_unknown(&stage, &owner); /* not his to say: the stream is the worker's */
    CHECK_EQ(owner.ends, 0);
    say_unknown(&stage, &owner);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    stage_close(&stage);
}

TEST(a_worker_that_is_gone_is_noticed_by_the_ping)
{
    struct owner owner = owner_eager(), other = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    owner_start(&other, &stage);
    say_delta(&stage, &owner, 2, "x");
    say_delta(&stage, &other, 2, "y");
    stage_run(&stage, 1000);
    CHECK_EQ(stage.pings, 5); /* for both in one */
    stage_worker_leaves(&stage);
    stage_run(&stage, 199);
    CHECK_EQ(owner.ends + other.ends, 0);
    stage_run(&stage, 1);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    CHECK(other.ends == 1 && other.fault == FAULT_WORKER_LOST);
    CHECK_EQ(ask_hub_stats(stage.hub).lost, 2);
    stage_close(&stage);
}

TEST(who_has_no_stream_of_ours_is_not_pinged)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    stage_run(&stage, 1000);
    CHECK_EQ(stage.pings, 0);
    owner_start(&owner, &stage);
    stage_run(&stage, 200);
    CHECK_EQ(stage.pings, 1);
    say_done(&stage, &owner, 2, DONE_EOS);
    stage_run(&stage, 1000);
    CHECK_EQ(stage.pings, 1);
    stage_close(&stage);
}

/* As with a frame of ours that found it full: it lives. */
TEST(a_ping_that_finds_the_worker_full_says_nothing)
{
    struct owner owner = owner_eager();
    stage_init(&stage);
    stage.peer_bytes_max = 1024;
    stage.away_loop = loop_new_virtual(0); /* never turned */
    stage_open(&stage);
    owner_start(&owner, &stage);
    for (int i = 0; i < 20; i++) {
        stage_run(&stage, 400);
        say_heartbeat(&stage, &owner, 1);
    }
    CHECK_EQ(owner.ends, 0);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 0);
    say_done(&stage, &owner, 2, DONE_EOS);
    stage_close(&stage);
}

TEST(a_worker_whose_endpoint_closed_is_lost_at_the_next_credit)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    for (uint64_t seq = 2; seq <= 30; seq++)
        say_delta(&stage, &owner, seq, "x");
    stage_worker_leaves(&stage); /* the last words are still on their way when it dies */
    for (uint64_t seq = 31; seq <= 40; seq++)
        say_delta(&stage, &owner, seq, "x");
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    stage_close(&stage);
}

/* --- cancel --- */

TEST(cancel_goes_to_both_subjects_and_the_worker_s_end_counts)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    ask_cancel(owner.ask);
    ask_cancel(owner.ask);
    CHECK_EQ(owner.ends, 0);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2);
    CHECK(stage.heard[1].on_control != stage.heard[2].on_control);
    say_delta(&stage, &owner, 2, "late");
    CHECK_STR(owner.text, "late");
    say_done(&stage, &owner, 3, DONE_CANCELLED);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 3);
    stage_close(&stage);
}

TEST(cancel_before_accepted_stops_the_submit_and_follows_the_worker)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_ask(&owner, &stage);
    ask_cancel(owner.ask);
    stage_run(&stage, 1000);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 5);
    CHECK(!heard_last(&stage, WIRE_CANCEL)->on_control);
    say_accepted(&stage, &owner, 1); /* it crossed */
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control);
    say_done(&stage, &owner, 2, DONE_CANCELLED);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);
    stage_close(&stage);
}

TEST(an_end_that_crosses_the_cancel_is_the_end)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    ask_cancel(owner.ask);
    say_done(&stage, &owner, 2, DONE_LENGTH);
    CHECK(owner.ends == 1 && owner.reason == DONE_LENGTH);
    say_unknown(&stage, &owner); /* the worker's answer to the cancel */
    say_done(&stage, &owner, 2, DONE_LENGTH);
    CHECK_EQ(owner.ends, 1);
    stage_run(&stage, 10000);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(a_cancel_that_is_never_answered_ends_here)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    ask_cancel(owner.ask);
    stage_run(&stage, 1999);
    CHECK_EQ(owner.ends, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2 * 8);
    say_heartbeat(&stage, &owner, 1); /* being alive is no answer */
    stage_run(&stage, 1);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);
    CHECK_EQ(ask_hub_stats(stage.hub).lost, 0);
    stage_close(&stage);
}

TEST(a_cancel_of_what_the_worker_does_not_know_is_done)
{
    struct owner owner = owner_eager(), early = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    ask_cancel(owner.ask);
    say_unknown(&stage, &owner);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);

    owner_ask(&early, &stage);
    ask_cancel(early.ask);
    say_unknown(&stage, &early);
    CHECK(early.ends == 1 && early.reason == DONE_CANCELLED);
    stage_close(&stage);
}

TEST(a_cancel_that_reaches_nobody_is_done_at_once)
{
    struct owner owner = owner_eager(), early = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    stage_worker_leaves(&stage);
    ask_cancel(owner.ask);
    CHECK_EQ(owner.ends, 0);
    stage_run(&stage, 0);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);

    stage_manager_leaves(&stage);
    owner_ask(&early, &stage);
    ask_cancel(early.ask);
    stage_run(&stage, 0);
    CHECK(early.ends == 1 && early.reason == DONE_CANCELLED);
    stage_close(&stage);
}

TEST(only_the_word_of_the_worker_that_has_it_ends_a_cancelled_ask)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    stage_manager_leaves(&stage); /* whose word counted before it was accepted */
    ask_cancel(owner.ask);
    stage_run(&stage, 0);
    CHECK_EQ(owner.ends, 0); /* though the cancel on the submit subject bounced */
    say_done(&stage, &owner, 2, DONE_LENGTH);
    CHECK(owner.ends == 1 && owner.reason == DONE_LENGTH);
    stage_close(&stage);
}

TEST(an_abandoned_ask_is_cancelled_and_never_heard_of_again)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    ask_abandon(&owner.ask);
    CHECK(owner.ask == NULL);
    ask_abandon(&owner.ask); /* harmless */
    say_delta(&stage, &owner, 2, "x");
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2);
    CHECK_EQ(ask_hub_count(stage.hub), 1);
    say_done(&stage, &owner, 3, DONE_CANCELLED);
    CHECK_EQ(owner.count, 1);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

TEST(an_abandoned_ask_whose_worker_is_mute_goes_by_itself)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    ask_abandon(&owner.ask);
    stage_run(&stage, 2000);
    CHECK_EQ(owner.count, 1);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

/* --- what an owner may do in on_event --- */

static void cancel_at_delta(struct owner *owner, const struct event *event)
{
    if (event->type == EVENT_DELTA)
        ask_cancel(owner->ask);
}

TEST(an_owner_may_cancel_in_its_callback)
{
    struct owner owner = {.consumes = true, .on_event = cancel_at_delta};
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_delta(&stage, &owner, 2, "x");
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2);
    say_done(&stage, &owner, 3, DONE_CANCELLED);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

static void abandon_at_delta(struct owner *owner, const struct event *event)
{
    if (event->type == EVENT_DELTA)
        ask_abandon(&owner->ask);
}

TEST(an_owner_may_abandon_in_its_callback)
{
    struct owner owner = {.on_event = abandon_at_delta};
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_delta(&stage, &owner, 2, "x");
    say_delta(&stage, &owner, 3, "y");
    CHECK_EQ(owner.count, 2);
    say_done(&stage, &owner, 4, DONE_CANCELLED);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

static struct owner next_owner;

static void ask_again_at_end(struct owner *owner, const struct event *event)
{
    if (event_is_end(event->type))
        owner_ask(&next_owner, owner->stage);
}

TEST(an_owner_may_open_the_next_ask_in_its_callback)
{
    struct owner owner = {.on_event = ask_again_at_end};
    next_owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_done(&stage, &owner, 2, DONE_EOS);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    say_accepted(&stage, &next_owner, 1);
    say_done(&stage, &next_owner, 2, DONE_EOS);
    CHECK_EQ(next_owner.ends, 1);
    stage_close(&stage);
}

/* The pointer is good for as long as the end's callback runs. */
static void use_at_end(struct owner *owner, const struct event *event)
{
    static struct ask *ask;
    if (event->type == EVENT_ACCEPTED) {
        ask = owner->ask;
    } else if (event_is_end(event->type)) {
        ask_cancel(ask);
        ask_consumed(ask, 1, 1);
        ask_abandon(&ask);
    }
}

TEST(what_an_owner_does_during_the_end_does_no_harm)
{
    struct owner owner = {.on_event = use_at_end};
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_done(&stage, &owner, 2, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 0);
    stage_close(&stage);
}
