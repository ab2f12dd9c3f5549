/* ask_rerun_test - the worker of a request is lost: before anything was said it runs elsewhere, and
 * nobody notices; and of all who produce for it one is heard. */
#include "ask/stage.h"
#include "base/mem.h"
#include "bus/bus_transport.h" /* bounces that the bus in memory never makes */
#include "testing/test.h"

static struct stage stage;

static void say_started(const struct owner *owner, uint64_t seq)
{
    struct event event = {.type = EVENT_STARTED, .seq = seq};
    event.started.model = SLICE("m");
    event.started.worker = SLICE("w");
    say(&stage, owner, &event);
}

/* --- the worker is lost --- */

TEST(a_worker_lost_before_the_first_delta_is_not_noticed_but_for_the_progress)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_started(&owner, 2);
    stage_worker_leaves(&stage);
    stage_run(&stage, 200); /* the ping */
    CHECK_EQ(owner.ends, 0);
    check_last_submit(&stage, &owner, 2);
    stage_worker_comes(&stage);
    stage.epoch = 2;
    say_accepted(&stage, &owner, 1);
    say_started(&owner, 2);
    say_delta(&stage, &owner, 3, "hello");
    say_done(&stage, &owner, 4, DONE_EOS);
    CHECK(owner.ends == 1 && owner.reason == DONE_EOS);
    CHECK_STR(owner.text, "hello");
    CHECK_EQ(owner_events(&owner, EVENT_STARTED), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 4);
    struct ask_stats stats = ask_hub_stats(stage.hub);
    CHECK(stats.reruns == 1 && stats.lost == 0);
    stage_close(&stage);
}

TEST(a_worker_lost_after_the_first_delta_is_the_end)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_delta(&stage, &owner, 2, "hel");
    stage_worker_leaves(&stage);
    stage_run(&stage, 200);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    stage_close(&stage);
}

/* No text came, but the bill did: it must not come twice. */
TEST(a_worker_lost_after_usage_is_the_end)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say(&stage, &owner, &(struct event){.type = EVENT_USAGE, .seq = 2});
    say_unknown(&stage, &owner);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    stage_close(&stage);
}

static void check_reruns(uint32_t max)
{
    struct owner owner = owner_eager();
    stage_init(&stage);
    stage.options.reruns_max = max;
    stage_open(&stage);
    owner_submit(&owner, &stage);
    for (uint32_t epoch = 1; epoch <= max; epoch++) {
        stage.epoch = epoch;
        say_accepted(&stage, &owner, 1);
        say_unknown(&stage, &owner);
        CHECK_EQ(owner.ends, 0);
        check_last_submit(&stage, &owner, epoch + 1);
    }
    stage.epoch = max + 1;
    say_accepted(&stage, &owner, 1);
    say_unknown(&stage, &owner);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, max);
    CHECK_EQ(ask_hub_stats(stage.hub).lost, 1);
    stage_close(&stage);
}

TEST(a_request_that_loses_its_workers_is_given_up_after_reruns_max)
{
    check_reruns(0);
    check_reruns(1);
    check_reruns(3);
    check_reruns(12); /* an epoch of two digits */
}

TEST(the_credit_of_a_rerun_counts_from_its_start)
{
    struct owner owner = owner_eager();
    stage_init(&stage);
    stage.options.credit_events = 4;
    stage_open(&stage);
    owner_start(&owner, &stage);
    for (uint64_t seq = 2; seq <= 20; seq++)
        say(&stage, &owner, &(struct event){.type = EVENT_PREFILL, .seq = seq});
    say_unknown(&stage, &owner);
    stage.epoch = 2;
    say_accepted(&stage, &owner, 1);
    say_delta(&stage, &owner, 2, "a");
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->epoch, 2);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.seq_limit, 2 + 4);
    say_delta(&stage, &owner, 9, "b"); /* early: dropped */
    say_done(&stage, &owner, 3, DONE_EOS);
    CHECK_STR(owner.text, "a");
    stage_close(&stage);
}

TEST(a_silent_worker_before_the_first_delta_is_told_to_stop_and_replaced)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    stage_run(&stage, 5000);
    CHECK_EQ(owner.ends, 0);
    const struct heard *cancel = heard_last(&stage, WIRE_CANCEL);
    CHECK(cancel && cancel->on_control && cancel->epoch == 1);
    check_last_submit(&stage, &owner, 2);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

/* The ping, its way back, the frame of the rerun: what finds no memory is as good as lost, and said
 * again by the clock. */
TEST(a_rerun_survives_every_failed_allocation)
{
    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct owner owner = owner_eager();
        stage_open_default(&stage);
        owner_start(&owner, &stage);
        stage_worker_leaves(&stage);
        mem_test_fail_nth(nth);
        stage_run(&stage, 200);
        mem_test_fail_nth(0);
        stage_run(&stage, 500);
        CHECK_EQ(owner.ends, 0);
        check_last_submit(&stage, &owner, 2);
        stage_worker_comes(&stage);
        owner_finish(&owner, &stage, 2);
        CHECK_EQ(ask_hub_stats(stage.hub).reruns, 1);
        stage_close(&stage);
    }
}

/* --- what comes back from one who lives --- */

static void bounce_last(uint16_t type, struct slice subject, const struct owner *owner,
                        enum err why)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 4096);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add(&writer, &(struct wire_record){.stream = type == WIRE_PING ? 0 : owner->id.low,
                                            .epoch = type == WIRE_PING ? 0 : stage.epoch,
                                            .type = type});
    CHECK_OK(wire_finish(&writer));
    bus_bounce(stage.asker, &(struct bus_message){.subject = subject, .frame = text_slice(&out)},
               why);
    text_fini(&out);
    stage_run(&stage, 0);
}

/* bus.h rule 4: full, or the way to it broke and is being mended. */
static void check_nobody_is_blamed(enum err why)
{
    struct owner running = owner_eager(), queued = owner_eager(), submitted = owner_eager();
    stage_open_default(&stage);
    owner_start(&running, &stage);
    owner_queue(&queued, &stage);
    owner_submit(&submitted, &stage);
    bounce_last(WIRE_PING, SLICE("control.w"), &running, why);
    bounce_last(WIRE_CREDIT, SLICE("control.w"), &running, why);
    bounce_last(WIRE_WAITING, SLICE("control.m"), &queued, why);
    bounce_last(WIRE_SUBMIT, SLICE("submit"), &submitted, why);
    stage_run(&stage, 250);
    CHECK_EQ(heard_in_epoch(&stage, WIRE_SUBMIT, 2), 0);
    CHECK_EQ(running.ends + queued.ends + submitted.ends, 0);
    ask_cancel(submitted.ask);
    bounce_last(WIRE_CANCEL, SLICE("submit"), &submitted, why);
    CHECK_EQ(submitted.ends, 0);
    bounce_last(WIRE_CANCEL, SLICE("submit"), &submitted, ERR_NOT_FOUND);
    CHECK_EQ(submitted.ends, 1);
    owner_finish(&running, &stage, 1);
    owner_finish(&queued, &stage, 1);
    stage_close(&stage);
}

TEST(a_frame_that_did_not_get_through_to_one_who_lives_blames_nobody)
{
    check_nobody_is_blamed(ERR_FULL);
    check_nobody_is_blamed(ERR_AGAIN);
}

/* --- who is heard (rule 7) --- */

TEST(of_two_acceptors_the_first_is_heard_and_the_other_told_to_stop)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    stage.reply = SLICE("control.other");
    say_accepted(&stage, &owner, 1);
    stage.reply = SLICE("control.w");
    say_accepted(&stage, &owner, 1);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 1);
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control);
    say_delta(&stage, &owner, 2, "no");
    say_heartbeat(&stage, &owner, 2);
    say_done(&stage, &owner, 2, DONE_CANCELLED);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 4);
    say_unknown(&stage, &owner); /* its last word is none about our stream */
    CHECK_EQ(owner.count, 1);
    stage.reply = SLICE("control.other");
    say_delta(&stage, &owner, 2, "yes");
    say_done(&stage, &owner, 3, DONE_EOS);
    CHECK_STR(owner.text, "yes");
    CHECK(owner.ends == 1 && owner.reason == DONE_EOS);
    stage_close(&stage);
}

TEST(an_acceptor_goes_before_the_one_that_the_manager_named)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    stage.reply = SLICE("control.other");
    say_delta(&stage, &owner, 2, "early"); /* not the one that was named: not asked for more */
    say_accepted(&stage, &owner, 1);
    stage.reply = SLICE("control.w");
    say_accepted(&stage, &owner, 1);
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control);
    stage.reply = SLICE("control.other");
    say_done(&stage, &owner, 2, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(who_still_produces_for_an_epoch_of_before_is_told_to_stop)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_unknown(&stage, &owner); /* as if: a frame of another life */
    stage.heard_count = 0;
    say_delta(&stage, &owner, 2, "old");
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CANCEL)->epoch, 1);
    say_heartbeat(&stage, &owner, 2);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2);
    manager_say_queued(&stage, &owner);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    say_unknown(&stage, &owner);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 0);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

TEST(accepted_from_elsewhere_than_it_says_is_nonsense)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    say_record(&stage,
               &(struct wire_record){.stream = owner.id.low,
                                     .seq = 1,
                                     .epoch = 1,
                                     .type = WIRE_EVENT + EVENT_ACCEPTED,
                                     .payload = SLICE("{\"worker\":\"w\",\"control\":\"c\"}")});
    CHECK(owner.ends == 1 && owner.fault == FAULT_INTERNAL_ERROR);
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control);
    stage_close(&stage);
}

TEST(a_first_event_that_is_neither_accepted_nor_an_end_is_nonsense)
{
    struct owner delta = owner_eager(), twice = owner_eager();
    stage_open_default(&stage);
    owner_submit(&delta, &stage);
    say_delta(&stage, &delta, 1, "x");
    CHECK(delta.ends == 1 && delta.fault == FAULT_INTERNAL_ERROR);
    owner_start(&twice, &stage);
    say_accepted(&stage, &twice, 2);
    CHECK(twice.ends == 1 && twice.fault == FAULT_INTERNAL_ERROR);
    stage_close(&stage);
}
