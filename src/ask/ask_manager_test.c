/* ask_manager_test - the manager between us and the workers: it waits, is gone, has assigned.
 * What comes after is in ask_rerun_test.c. */
#include "ask/stage.h"
#include "testing/test.h"

static struct stage stage;

/* --- QUEUED --- */

TEST(a_request_that_waits_is_not_submitted_again_but_asked_for)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    CHECK_EQ(owner_events(&owner, EVENT_QUEUED), 1);
    CHECK_EQ(owner.seqs[0], 0);
    stage_run(&stage, 499);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 0);
    stage_run(&stage, 1);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 1);
    CHECK(heard_last(&stage, WIRE_WAITING)->on_manager);
    CHECK_EQ(heard_last(&stage, WIRE_WAITING)->stream, owner.id.low);
    for (int i = 0; i < 120; i++) { /* a minute: the manager has the clock */
        stage_run(&stage, 500);
        manager_say_queued(&stage, &owner);
    }
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 121);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    CHECK_EQ(owner.ends, 0);
    owner_finish(&owner, &stage, 1);
    stage_run(&stage, 2000);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 121);
    stage_close(&stage);
}

TEST(loading_is_a_confirmation_like_queued)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    stage.reply = SLICE("control.m");
    say(&stage, &owner, &(struct event){.type = EVENT_LOADING, .loading = {0.5f}});
    stage.reply = SLICE("control.w");
    stage_run(&stage, 6000);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 12);
    CHECK_EQ(owner_events(&owner, EVENT_LOADING), 1);
    owner_finish(&owner, &stage, 1);
    stage_close(&stage);
}

TEST(all_that_wait_are_asked_for_in_one_frame)
{
    enum { ASKS = 20 };
    static struct owner owners[ASKS];
    memset(owners, 0, sizeof(owners));
    stage_open_default(&stage);
    for (int i = 0; i < ASKS; i++)
        owner_queue(&owners[i], &stage);
    size_t frames = stage.frames_heard;
    stage_run(&stage, 500);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), ASKS);
    CHECK_EQ(stage.frames_heard, frames + 1);
    ask_hub_drain(stage.hub, NULL, NULL);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2 * ASKS);
    CHECK_EQ(stage.frames_heard, frames + 3); /* "submit" and the manager's own */
    stage_run(&stage, 2000);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

TEST(an_end_that_the_manager_makes_is_an_end_and_acknowledged)
{
    struct owner owner = owner_eager();
    struct event event = {.type = EVENT_ERROR, .seq = 1};
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    event.error.fault = FAULT_QUEUE_TIMEOUT;
    stage.reply = SLICE("control.m");
    say(&stage, &owner, &event);
    CHECK(owner.ends == 1 && owner.fault == FAULT_QUEUE_TIMEOUT);
    const struct heard *credit = heard_last(&stage, WIRE_CREDIT);
    CHECK(credit && credit->on_manager && credit->credit.acked_seq == 1);
    stage_close(&stage);
}

TEST(what_the_manager_says_late_is_not_delivered)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    manager_say_queued(&stage, &owner);
    manager_say_assigned(&stage, &owner, SLICE("control.elsewhere"));
    manager_say_unknown(&stage, &owner);
    CHECK_EQ(owner.count, 1);
    stage_run(&stage, 600);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 0);
    say_done(&stage, &owner, 2, DONE_EOS);
    CHECK(owner.ends == 1 && owner.reason == DONE_EOS);
    stage_close(&stage);
}

/* --- the manager is gone, or does not know --- */

TEST(a_manager_that_is_gone_while_a_request_waits_costs_an_epoch_and_no_rerun)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    for (uint32_t epoch = 2; epoch <= 8; epoch++) { /* more often than reruns_max */
        stage_manager_leaves(&stage);
        stage_run(&stage, 500); /* "waiting" bounces, and so does the next submit */
        stage_manager_comes(&stage);
        stage_run(&stage, 250);
        stage.epoch = heard_last(&stage, WIRE_SUBMIT)->epoch;
        CHECK(stage.epoch >= epoch);
        check_last_submit(&stage, &owner, stage.epoch);
        manager_say_queued(&stage, &owner);
    }
    CHECK_EQ(owner.ends, 0);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 0);
    owner_finish(&owner, &stage, stage.epoch);
    stage_close(&stage);
}

TEST(a_submit_that_found_nobody_is_repeated_with_the_next_epoch)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    stage_manager_leaves(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 100);
    stage_manager_comes(&stage);
    stage_run(&stage, 149);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 0);
    stage_run(&stage, 1);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    check_last_submit(&stage, &owner, 2);
    CHECK_EQ(heard_last(&stage, WIRE_SUBMIT)->epoch, 2);
    stage_run(&stage, 250); /* nothing bounced since: the same one once more */
    check_last_submit(&stage, &owner, 2);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

/* The old manager had assigned it before it died: the worker's word counts while it can. */
TEST(who_accepts_before_the_next_epoch_has_it)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    stage_manager_leaves(&stage);
    stage_run(&stage, 499); /* the repeat bounced */
    owner_finish(&owner, &stage, 1);
    stage_close(&stage);
}

/* So somebody was assigned it, and his first word was lost. */
TEST(while_a_worker_produces_nobody_at_submit_is_no_reason_for_the_next_epoch)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    stage_manager_leaves(&stage);
    say_delta(&stage, &owner, 2, "early");
    stage_run(&stage, 1000);
    stage_manager_comes(&stage);
    stage_run(&stage, 250);
    CHECK_EQ(heard_last(&stage, WIRE_SUBMIT)->epoch, 1);
    owner_finish(&owner, &stage, 1);
    stage_close(&stage);
}

TEST(a_worker_that_produced_before_queued_came_is_not_waited_for_in_silence)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    say_delta(&stage, &owner, 2, "early");
    manager_say_queued(&stage, &owner); /* it was overtaken */
    stage_run(&stage, 4999);
    CHECK_EQ(heard_in_epoch(&stage, WIRE_SUBMIT, 2), 0);
    stage_run(&stage, 1);
    CHECK_EQ(heard_in_epoch(&stage, WIRE_SUBMIT, 2), 1);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

TEST(a_manager_that_does_not_know_a_request_gets_it_again)
{
    struct owner queued = owner_eager(), submitted = owner_eager();
    stage_open_default(&stage);
    owner_queue(&queued, &stage);
    manager_say_unknown(&stage, &queued);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    check_last_submit(&stage, &queued, 2);
    manager_say_unknown(&stage, &queued); /* of epoch 1, once more */
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    owner_finish(&queued, &stage, 2);

    stage.epoch = 1;
    owner_submit(&submitted, &stage);
    manager_say_unknown(&stage, &submitted); /* its worker died before it could accept */
    check_last_submit(&stage, &submitted, 2);
    owner_finish(&submitted, &stage, 2);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 2);
    stage_close(&stage);
}

/* It was given while the worker drained: neither accepted nor named by the manager. */
TEST(a_worker_that_hands_a_request_back_is_believed_while_there_is_no_other)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    say_unknown(&stage, &owner);
    check_last_submit(&stage, &owner, 2);
    stage.epoch = 2;
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    stage.reply = SLICE("control.other"); /* what has it to do with it? */
    say_unknown(&stage, &owner);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    stage.reply = SLICE("control.w");
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

TEST(a_successor_that_says_queued_is_the_one_that_is_asked)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    stage.reply = SLICE("control.old");
    say(&stage, &owner, &(struct event){.type = EVENT_QUEUED});
    stage.reply = SLICE("control.w");
    manager_say_queued(&stage, &owner);
    stage_run(&stage, 500);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 1);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1); /* nothing bounced */
    owner_finish(&owner, &stage, 1);
    stage_close(&stage);
}

/* --- ASSIGNED --- */

TEST(where_a_request_was_assigned_is_where_its_events_are_fetched)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    const struct heard *credit = heard_last(&stage, WIRE_CREDIT);
    CHECK(credit && credit->on_control && (credit->flags & WIRE_FLAG_RESEND));
    CHECK(credit->credit.acked_seq == 0 && credit->credit.seq_limit == 64);
    stage_run(&stage, 500); /* nothing came: asked again, and told again */
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 1);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 2);
    owner_finish(&owner, &stage, 1);
    stage_close(&stage);
}

TEST(an_assigned_worker_that_does_not_have_it_is_a_lost_worker)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    say_unknown(&stage, &owner);
    check_last_submit(&stage, &owner, 2);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 1);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

TEST(an_assigned_worker_that_is_gone_is_a_lost_worker)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    manager_say_assigned(&stage, &owner, SLICE("control.nobody")); /* the resend bounces */
    check_last_submit(&stage, &owner, 2);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 1);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

TEST(an_assigned_worker_that_stays_silent_is_a_lost_worker)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    for (int i = 0; i < 9; i++) {
        stage_run(&stage, 500);
        manager_say_assigned(&stage, &owner, SLICE("control.w")); /* is no sign of the worker */
    }
    CHECK_EQ(heard_in_epoch(&stage, WIRE_SUBMIT, 2), 0);
    stage_run(&stage, 500);
    CHECK_EQ(heard_in_epoch(&stage, WIRE_SUBMIT, 2), 1);
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control); /* should it live after all */
    CHECK_EQ(heard_last(&stage, WIRE_CANCEL)->epoch, 1);
    owner_finish(&owner, &stage, 2);
    stage_close(&stage);
}

TEST(a_manager_that_is_gone_after_it_assigned_is_not_missed)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    stage_manager_leaves(&stage);
    stage_run(&stage, 1000);
    size_t resends = heard_count(&stage, WIRE_CREDIT);
    say_heartbeat(&stage, &owner, 1); /* its `accepted` was lost: fetched with every beat */
    say_heartbeat(&stage, &owner, 1);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), resends + 2);
    CHECK(heard_last(&stage, WIRE_CREDIT)->flags & WIRE_FLAG_RESEND);
    owner_finish(&owner, &stage, 1);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 0);
    stage_close(&stage);
}

TEST(an_assignment_that_cannot_be_read_is_ignored)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_submit(&owner, &stage);
    say_record(&stage, &(struct wire_record){.stream = owner.id.low,
                                             .epoch = 1,
                                             .type = WIRE_ASSIGNED,
                                             .payload = SLICE("{\"control\":\"\"}")});
    say_record(&stage, &(struct wire_record){.stream = owner.id.low,
                                             .epoch = 1,
                                             .type = WIRE_EVENT + EVENT_QUEUED,
                                             .payload = SLICE("{}")});
    CHECK_EQ(owner.count, 0);
    stage_run(&stage, 250);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2); /* still submitted */
    owner_finish(&owner, &stage, 1);
    stage_close(&stage);
}

/* --- CANCELLING --- */

TEST(a_cancel_while_it_waits_goes_to_the_manager_too)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    ask_cancel(owner.ask);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2);
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_manager);
    stage_run(&stage, 500);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 6);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 0);
    stage.reply = SLICE("control.m");
    say_done(&stage, &owner, 1, DONE_CANCELLED);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);
    stage_close(&stage);
}

TEST(a_cancel_of_what_waited_and_runs_is_no_matter_of_that_manager)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    say_accepted(&stage, &owner, 1);
    ask_cancel(owner.ask);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2);
    for (size_t i = 0; i < stage.heard_count; i++)
        CHECK(!stage.heard[i].on_manager);
    say_done(&stage, &owner, 2, DONE_CANCELLED);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

TEST(a_cancel_that_crosses_the_assignment_follows_it)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    ask_cancel(owner.ask);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control);
    manager_say_unknown(&stage, &owner); /* a worker has it: not the manager's to say */
    CHECK_EQ(owner.ends, 0);
    say_accepted(&stage, &owner, 1);
    say_done(&stage, &owner, 2, DONE_CANCELLED);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);
    stage_close(&stage);
}

TEST(a_cancelled_request_is_done_when_its_manager_is_gone_or_does_not_have_it)
{
    struct owner gone = owner_eager(), unknown = owner_eager();
    stage_open_default(&stage);
    owner_queue(&unknown, &stage);
    ask_cancel(unknown.ask);
    manager_say_unknown(&stage, &unknown);
    CHECK(unknown.ends == 1 && unknown.reason == DONE_CANCELLED);
    owner_queue(&gone, &stage);
    stage_manager_leaves(&stage);
    ask_cancel(gone.ask);
    stage_run(&stage, 0);
    CHECK(gone.ends == 1 && gone.reason == DONE_CANCELLED);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2); /* neither was asked for again */
    stage_close(&stage);
}

TEST(a_cancelled_request_whose_worker_is_gone_is_done_and_not_run_again)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    ask_cancel(owner.ask);
    stage_worker_leaves(&stage);
    stage_run(&stage, 250);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    stage_close(&stage);
}

TEST(an_abandoned_request_that_waits_goes_by_itself)
{
    struct owner owner = owner_eager();
    stage_open_default(&stage);
    owner_queue(&owner, &stage);
    size_t count = owner.count;
    ask_abandon(&owner.ask);
    manager_say_queued(&stage, &owner);
    stage_run(&stage, 2000);
    CHECK_EQ(owner.count, count);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}
