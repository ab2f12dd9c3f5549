/* ask_credit_test - how far the producer may run ahead, and who says so when. */
#include "ask/stage.h"
#include "testing/test.h"

static struct stage stage;

static void open_and_start(struct owner *owner)
{
    stage_open(&stage);
    owner_start(owner, &stage);
}

/* Deltas of one byte of text each: seqs first to last. */
static void say_deltas(const struct owner *owner, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++)
        say_delta(&stage, owner, seq, "x");
}

static const uint32_t accepted_bytes = sizeof("{\"worker\":\"w\",\"control\":\"control.w\"}") - 1;

static uint32_t one_delta_bytes(void)
{
    return 4 + 4 + 1; /* header, one token, one byte of text */
}

static void consume(struct owner *owner, uint32_t events)
{
    ask_consumed(owner->ask, events, events * one_delta_bytes());
    stage_run(&stage, 0);
}

static void finish(struct owner *owner)
{
    ask_abandon(&owner->ask);
    stage_run(&stage, 2000);
    stage_close(&stage);
}

TEST(nothing_is_granted_while_the_owner_holds_everything)
{
    struct owner owner = {0};
    stage_init(&stage);
    open_and_start(&owner);
    say_deltas(&owner, 2, 64);
    CHECK_EQ(owner.count, 64);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 0);
    finish(&owner);
}

TEST(credit_is_granted_anew_at_half_and_is_absolute)
{
    struct owner owner = {0};
    stage_init(&stage);
    open_and_start(&owner); /* accepted: 1 consumed */
    say_deltas(&owner, 2, 64);
    consume(&owner, 30);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 0);
    consume(&owner, 1); /* 32 with accepted: half of 64 */
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 1);
    struct wire_credit credit = heard_last(&stage, WIRE_CREDIT)->credit;
    CHECK_EQ(credit.acked_seq, 64);
    CHECK_EQ(credit.seq_limit, 64 + 32);
    CHECK_EQ(credit.byte_limit, 65536 + accepted_bytes + 31 * one_delta_bytes());
    consume(&owner, 31);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 1);
    consume(&owner, 1);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 2);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.seq_limit, 64 + 64);
    finish(&owner);
}

static void run_ahead(uint32_t credit_events, uint64_t last, size_t expected_ends)
{
    struct owner owner = {0};
    stage_init(&stage);
    stage.options.credit_events = credit_events;
    open_and_start(&owner);
    CHECK_EQ(owner.ends, 0);
    say_deltas(&owner, 2, last);
    CHECK_EQ(owner.ends, expected_ends);
    if (expected_ends) {
        CHECK_EQ(owner.fault, FAULT_INTERNAL_ERROR);
        CHECK(heard_last(&stage, WIRE_CANCEL)->on_control);
    }
    finish(&owner);
}

TEST(a_producer_may_send_up_to_its_limit_and_not_beyond)
{
    run_ahead(64, 63, 0);
    run_ahead(64, 64, 0);
    run_ahead(64, 66, 1); /* 65: accepted was consumed, but that was not granted yet */
    run_ahead(2, 4, 1);
}

TEST(a_worker_at_zero_credit_may_still_end)
{
    struct owner owner = {0};
    stage_init(&stage);
    open_and_start(&owner);
    say_deltas(&owner, 2, 64);
    say(&stage, &owner, &(struct event){.type = EVENT_USAGE, .seq = 65});
    say_done(&stage, &owner, 66, DONE_LENGTH);
    CHECK(owner.ends == 1 && owner.reason == DONE_LENGTH);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 66);
    stage_close(&stage);
}

TEST(a_credit_of_one_event_is_granted_for_each)
{
    struct owner owner = {.consumes = true};
    stage_init(&stage);
    stage.options.credit_events = 1;
    open_and_start(&owner);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.seq_limit, 2);
    for (uint64_t seq = 2; seq < 10; seq++) {
        say_deltas(&owner, seq, seq);
        CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.seq_limit, seq + 1);
    }
    finish(&owner);
}

/* With credit_bytes 1000, half is 500: the first delta brings the sum of consumed bytes to `bytes`.
 */
static size_t grants_after_bytes(uint32_t bytes)
{
    struct owner owner = {.consumes = true};
    char text[1024] = {0};
    stage_init(&stage);
    stage.options.credit_bytes = 1000;
    open_and_start(&owner);
    memset(text, 'x', bytes - accepted_bytes - 8);
    say_delta(&stage, &owner, 2, text);
    size_t grants = heard_count(&stage, WIRE_CREDIT);
    if (grants)
        CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.byte_limit, 1000 + bytes);
    finish(&owner);
    return grants;
}

TEST(bytes_are_granted_anew_at_half)
{
    CHECK_EQ(grants_after_bytes(499), 0);
    CHECK_EQ(grants_after_bytes(500), 1);
    CHECK_EQ(grants_after_bytes(501), 1);
}

TEST(bytes_that_the_owner_holds_are_not_granted)
{
    struct owner owner = {0};
    char text[1024] = {0};
    stage_init(&stage);
    stage.options.credit_bytes = 1000;
    open_and_start(&owner);
    memset(text, 'x', 900);
    say_delta(&stage, &owner, 2, text);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 0);
    ask_consumed(owner.ask, 1, 908);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 1);
    finish(&owner);
}

TEST(a_heartbeat_without_news_is_answered_with_the_credit_in_force)
{
    struct owner owner = {.consumes = true};
    stage_init(&stage);
    open_and_start(&owner);
    say_deltas(&owner, 2, 40);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 1);
    struct wire_credit granted = heard_last(&stage, WIRE_CREDIT)->credit;
    say_heartbeat(&stage, &owner, 40);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 1); /* there was news since the last one */
    say_heartbeat(&stage, &owner, 40);
    say_heartbeat(&stage, &owner, 40);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 3);
    struct wire_credit again = heard_last(&stage, WIRE_CREDIT)->credit;
    CHECK(again.seq_limit >= granted.seq_limit && again.acked_seq == 40);
    CHECK_EQ(again.seq_limit, 40 + 64);
    finish(&owner);
}

/* Frames for the worker, which does not look, until nothing fits any more. */
static void fill_worker(size_t payload_bytes, int frames)
{
    char payload[1024] = {0};
    struct text out;
    struct wire_writer writer;
    struct bus *other = bus_mem_open(stage.bus_mem, stage.loop);
    text_init(&out, 4096);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add(&writer, &(struct wire_record){.type = WIRE_CANCEL,
                                            .payload = slice_of(payload, payload_bytes)});
    CHECK_OK(wire_finish(&writer));
    for (int i = 0; i < frames; i++)
        CHECK_OK(bus_publish(other, SLICE("control.w"), bus_inbox(stage.asker), text_slice(&out)));
    bus_close(&other);
    text_fini(&out);
}

/* The bus says "full" for a worker that lives: nothing ends, and its heartbeats bring the grant. */
TEST(a_grant_that_found_the_worker_full_is_repeated)
{
    struct owner owner = {.consumes = true};
    stage_init(&stage);
    stage.peer_bytes_max = 16 * 1024;
    stage.away_loop = loop_new_virtual(0); /* turns only when the test says so */
    open_and_start(&owner);
    fill_worker(1000, 16);
    fill_worker(0, 16);
    say_deltas(&owner, 2, 40);
    loop_advance(stage.away_loop, 0);
    CHECK_EQ(owner.ends, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 0);
    say_heartbeat(&stage, &owner, 40);
    say_heartbeat(&stage, &owner, 40);
    loop_advance(stage.away_loop, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.seq_limit, 40 + 64);
    finish(&owner);
}

TEST(duplicated_events_are_not_credited_twice)
{
    struct owner owner = {.consumes = true};
    stage_init(&stage);
    open_and_start(&owner);
    say_deltas(&owner, 2, 20);
    say_deltas(&owner, 2, 20);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 0);
    say_deltas(&owner, 21, 32);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.seq_limit, 96);
    finish(&owner);
}

TEST(what_an_abandoned_owner_held_is_credited)
{
    struct owner owner = {0};
    stage_init(&stage);
    open_and_start(&owner);
    say_deltas(&owner, 2, 64);
    ask_abandon(&owner.ask);
    stage_run(&stage, 0);
    struct wire_credit credit = heard_last(&stage, WIRE_CREDIT)->credit;
    CHECK_EQ(credit.seq_limit, 128);
    CHECK_EQ(credit.byte_limit, 65536 + accepted_bytes + 63 * one_delta_bytes());
    say_deltas(&owner, 65, 128);
    say_done(&stage, &owner, 129, DONE_CANCELLED);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

TEST(progress_is_consumed_by_its_delivery)
{
    struct owner owner = {0};
    stage_init(&stage);
    open_and_start(&owner);
    for (uint64_t seq = 2; seq <= 32; seq++)
        say(&stage, &owner, &(struct event){.type = EVENT_QUEUED, .seq = seq});
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.seq_limit, 96);
    finish(&owner);
}
