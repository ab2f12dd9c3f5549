/* ask_repair_test - frames lost, doubled and shuffled: the owner never notices. */
#include "ask/stage.h"
#include "testing/test.h"

#include <stdio.h>

static struct stage stage;

static void open_and_start(struct owner *owner)
{
    *owner = owner_eager();
    stage_open_default(&stage);
    owner_start(owner, &stage);
}

static size_t resends_heard(void)
{
    size_t count = 0;
    for (size_t i = 0; i < stage.heard_count; i++)
        count += stage.heard[i].type == WIRE_CREDIT && (stage.heard[i].flags & WIRE_FLAG_RESEND);
    return count;
}

TEST(duplicates_are_dropped)
{
    struct owner owner;
    open_and_start(&owner);
    say_accepted(&stage, &owner, 1);
    say_delta(&stage, &owner, 2, "a");
    say_delta(&stage, &owner, 2, "a");
    say_delta(&stage, &owner, 3, "b");
    say_delta(&stage, &owner, 2, "a");
    say_done(&stage, &owner, 4, DONE_EOS);
    say_done(&stage, &owner, 4, DONE_EOS);
    CHECK_STR(owner.text, "ab");
    CHECK_EQ(owner.count, 4);
    CHECK_EQ(ask_hub_stats(stage.hub).duplicates_dropped, 3);
    CHECK_EQ(resends_heard(), 0);
    stage_close(&stage);
}

TEST(a_lost_event_is_asked_for_once_and_then_every_repeat_ms)
{
    struct owner owner;
    open_and_start(&owner);
    say_delta(&stage, &owner, 2, "a");
    say_delta(&stage, &owner, 4, "c");
    say_delta(&stage, &owner, 5, "d");
    CHECK_STR(owner.text, "a");
    CHECK_EQ(resends_heard(), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 2);
    stage_run(&stage, 249);
    CHECK_EQ(resends_heard(), 1);
    stage_run(&stage, 1);
    CHECK_EQ(resends_heard(), 2);
    say_delta(&stage, &owner, 3, "b");
    say_delta(&stage, &owner, 4, "c");
    say_delta(&stage, &owner, 5, "d");
    CHECK_STR(owner.text, "abcd");
    size_t asked = resends_heard();
    stage_run(&stage, 1000);
    CHECK_EQ(resends_heard(), asked); /* nothing misses any more */
    say_done(&stage, &owner, 6, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(events_that_come_in_the_wrong_order_are_put_right)
{
    struct owner owner;
    open_and_start(&owner);
    say_delta(&stage, &owner, 3, "b");
    say_delta(&stage, &owner, 2, "a");
    CHECK_STR(owner.text, "a"); /* what came early was not kept */
    say_delta(&stage, &owner, 2, "a");
    say_delta(&stage, &owner, 3, "b");
    say_done(&stage, &owner, 4, DONE_EOS);
    CHECK_STR(owner.text, "ab");
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(a_lost_last_event_is_noticed_by_the_heartbeat)
{
    struct owner owner;
    open_and_start(&owner);
    say_delta(&stage, &owner, 2, "a");
    say_heartbeat(&stage, &owner, 3); /* done was 3, and lost */
    CHECK_EQ(resends_heard(), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 2);
    say_done(&stage, &owner, 3, DONE_EOS);
    CHECK(owner.ends == 1 && owner.reason == DONE_EOS);
    stage_close(&stage);
}

TEST(while_cancelling_a_lost_end_is_asked_for_too)
{
    struct owner owner;
    open_and_start(&owner);
    ask_cancel(owner.ask);
    say_heartbeat(&stage, &owner, 2);
    CHECK_EQ(resends_heard(), 1);
    say_done(&stage, &owner, 2, DONE_CANCELLED);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(a_lost_accepted_is_fetched_from_whoever_produces)
{
    struct owner owner = {.consumes = true};
    stage_init(&stage);
    stage_open(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 0);
    say_delta(&stage, &owner, 2, "a");
    CHECK_EQ(owner.count, 0);
    CHECK_EQ(resends_heard(), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 0);
    say_heartbeat(&stage, &owner, 2);
    CHECK_EQ(resends_heard(), 1);
    stage_run(&stage, 250); /* lost as well: both are repeated */
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    CHECK_EQ(resends_heard(), 2);
    say_accepted(&stage, &owner, 1); /* only that: the rest is asked for at once */
    CHECK_EQ(resends_heard(), 3);
    say_delta(&stage, &owner, 2, "a");
    say_done(&stage, &owner, 3, DONE_EOS);
    CHECK_STR(owner.text, "a");
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(who_does_not_say_where_it_listens_is_not_heard)
{
    struct owner owner = {.consumes = true};
    stage_init(&stage);
    stage_open(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 0);
    stage.reply = (struct slice){0};
    say_delta(&stage, &owner, 2, "a");
    say_heartbeat(&stage, &owner, 2);
    say_done(&stage, &owner, 1, DONE_EOS);
    CHECK_EQ(owner.count, 0);
    stage.reply = SLICE("control.w");
    say_done(&stage, &owner, 1, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(a_gap_that_closes_in_the_same_turn_asks_for_nothing)
{
    struct owner owner;
    struct text out;
    struct wire_writer writer;
    static const uint64_t order[] = {3, 2, 3};
    open_and_start(&owner);
    text_init(&out, 4096);
    wire_begin(&writer, &out, WIRE_EVENTS);
    for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
        struct event event = {.type = EVENT_DELTA, .seq = order[i]};
        event.delta.text = SLICE("x");
        event_encode(&writer, owner.id.low, 1, &event, NULL);
    }
    CHECK_OK(wire_finish(&writer));
    say_bytes(&stage, text_slice(&out));
    text_fini(&out);
    CHECK_STR(owner.text, "xx");
    CHECK_EQ(resends_heard(), 0);
    say_done(&stage, &owner, 4, DONE_EOS);
    stage_close(&stage);
}

/* --- a bus that loses, doubles and shuffles, and a worker that keeps its side of the protocol ---
 */

enum { STORM_EVENTS = 200, STORM_STEPS_MAX = 20000 };

/* The worker's outbox: events 1 (accepted) to STORM_EVENTS (done), deltas in between. */
struct storm {
    struct owner owner;
    uint64_t random;
    uint64_t produced, acked;
    struct wire_credit credit;
    size_t heard;    /* records of stage.heard already seen */
    bool knows;      /* a submit came through */
    int sent_before; /* the frame before, to be sent late: 0 = none */
};

static bool chance(struct storm *storm, unsigned percent)
{
    return test_random(&storm->random) % 100 < percent;
}

static void say_seq(struct storm *storm, uint64_t seq)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu,", (unsigned long long)seq);
    if (seq == 1)
        say_accepted(&stage, &storm->owner, 1);
    else if (seq == STORM_EVENTS)
        say_done(&stage, &storm->owner, seq, DONE_EOS);
    else
        say_delta(&stage, &storm->owner, seq, text);
}

/* Through the bad weather: lost, late by one, or twice. */
static void send_seq(struct storm *storm, uint64_t seq)
{
    if (chance(storm, 20))
        return;
    if (storm->sent_before == 0 && chance(storm, 20)) {
        storm->sent_before = (int)seq;
        return;
    }
    say_seq(storm, seq);
    if (chance(storm, 15))
        say_seq(storm, seq);
    if (storm->sent_before != 0) {
        say_seq(storm, (uint64_t)storm->sent_before);
        storm->sent_before = 0;
    }
}

static void send_unacked(struct storm *storm)
{
    for (uint64_t seq = storm->acked + 1; seq <= storm->produced; seq++)
        send_seq(storm, seq);
}

static void obey_credit(struct storm *storm, const struct heard *heard)
{
    if (heard->credit.acked_seq > storm->acked)
        storm->acked = heard->credit.acked_seq;
    if (heard->credit.seq_limit > storm->credit.seq_limit)
        storm->credit = heard->credit;
    if (heard->flags & WIRE_FLAG_RESEND)
        send_unacked(storm);
}

static void hear_control(struct storm *storm)
{
    while (storm->heard < stage.heard_count) {
        struct heard heard = stage.heard[storm->heard++];
        if (chance(storm, 20))
            continue; /* lost on the way to the worker */
        if (heard.type == WIRE_SUBMIT) {
            storm->knows = true; /* the manager passed it on */
            send_unacked(storm);
        } else if (heard.type == WIRE_CREDIT && storm->knows) {
            obey_credit(storm, &heard);
        }
    }
    stage.heard_count = storm->heard = 0;
}

static void produce(struct storm *storm)
{
    if (!storm->knows || storm->produced == STORM_EVENTS ||
        storm->produced >= storm->credit.seq_limit)
        return;
    send_seq(storm, ++storm->produced);
}

static void weather(uint64_t seed)
{
    static struct storm storm;
    storm = (struct storm){.random = seed, .credit = {0, 64, 65536}};
    storm.owner.consumes = true;
    stage_init(&stage);
    stage_open(&stage);
    owner_ask(&storm.owner, &stage);
    for (int step = 0; step < STORM_STEPS_MAX && storm.owner.ends == 0; step++) {
        stage_run(&stage, 5);
        hear_control(&storm);
        produce(&storm);
        if (step % 100 == 0 && storm.knows && !chance(&storm, 20))
            say_heartbeat(&stage, &storm.owner, storm.produced);
    }
    if (storm.owner.ends != 1 || storm.owner.fault != 0 || storm.owner.count != STORM_EVENTS)
        printf("seed %llu: %zu ends, %zu events\n", (unsigned long long)seed, storm.owner.ends,
               storm.owner.count);
    CHECK_EQ(storm.owner.ends, 1);
    CHECK_EQ(storm.owner.reason, DONE_EOS);
    CHECK_EQ(storm.owner.count, STORM_EVENTS);
    for (uint64_t i = 0; i < STORM_EVENTS; i++)
        CHECK_EQ(storm.owner.seqs[i], i + 1);
    stage_close(&stage);
}

TEST(in_any_weather_every_event_arrives_once_and_in_order)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        weather(seed);
}
