/* ask_manager_test - the manager between us and the workers: it waits, is gone, has assigned; and
 * what becomes of a request whose worker is lost before anything was said. */
#include "ask/stage.h"
#include "base/arena.h"
#include "base/mem.h"
#include "bus/bus_transport.h" /* bounces that the bus in memory never makes */
#include "testing/test.h"

static struct stage stage;

static void open_default(void)
{
    stage_init(&stage);
    stage_open(&stage);
}

static struct owner eager(void)
{
    return (struct owner){.consumes = true};
}

static void submit(struct owner *owner)
{
    owner_ask(owner, &stage);
    stage_run(&stage, 0);
}

/* Submitted, and the manager says that it waits. */
static void queue(struct owner *owner)
{
    submit(owner);
    manager_say_queued(&stage, owner);
}

/* Accepted by the worker. */
static void start(struct owner *owner)
{
    submit(owner);
    say_accepted(&stage, owner, 1);
}

/* Whatever the epoch is by now, it is accepted and ends well. */
static void finish(struct owner *owner, uint32_t epoch)
{
    stage.epoch = epoch;
    say_accepted(&stage, owner, 1);
    say_delta(&stage, owner, 2, "x");
    say_done(&stage, owner, 3, DONE_EOS);
    CHECK(owner->ends == 1 && owner->fault == 0 && owner->reason == DONE_EOS);
    CHECK_STR(owner->text, "x");
}

static size_t heard_in_epoch(uint16_t type, uint32_t epoch)
{
    size_t count = 0;
    for (size_t i = 0; i < stage.heard_count; i++)
        count += stage.heard[i].type == type && stage.heard[i].epoch == epoch;
    return count;
}

static size_t count_events(const struct owner *owner, enum event_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < owner->count; i++)
        count += owner->types[i] == type;
    return count;
}

static void say_started(const struct owner *owner, uint64_t seq)
{
    struct event event = {.type = EVENT_STARTED, .seq = seq};
    event.started.model = SLICE("m");
    event.started.worker = SLICE("w");
    say(&stage, owner, &event);
}

/* The last submit, as whoever gets it reads it. */
static void check_last_submit(const struct owner *owner, uint32_t epoch)
{
    struct arena *arena = arena_new(1 << 16);
    struct request request;
    CHECK_OK(request_decode(text_slice(&stage.last_submit), arena, &request, NULL));
    CHECK(id_eq(request.id, owner->id));
    CHECK_EQ(request.epoch, epoch);
    CHECK_EQ(request.arrival_ms, 1700000000000);
    CHECK_SLICE(request.prompt, "hello");
    CHECK_SLICES(request.inbox, bus_inbox(stage.asker));
    arena_free(arena);
}

/* --- QUEUED --- */

TEST(a_request_that_waits_is_not_submitted_again_but_asked_for)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
    CHECK_EQ(count_events(&owner, EVENT_QUEUED), 1);
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
    finish(&owner, 1);
    stage_run(&stage, 2000);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 121);
    stage_close(&stage);
}

TEST(loading_is_a_confirmation_like_queued)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
    stage.reply = SLICE("control.m");
    say(&stage, &owner, &(struct event){.type = EVENT_LOADING, .loading = {0.5f}});
    stage.reply = SLICE("control.w");
    stage_run(&stage, 6000);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 12);
    CHECK_EQ(count_events(&owner, EVENT_LOADING), 1);
    finish(&owner, 1);
    stage_close(&stage);
}

TEST(all_that_wait_are_asked_for_in_one_frame)
{
    enum { ASKS = 20 };
    static struct owner owners[ASKS];
    memset(owners, 0, sizeof(owners));
    open_default();
    for (int i = 0; i < ASKS; i++)
        queue(&owners[i]);
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
    struct owner owner = eager();
    struct event event = {.type = EVENT_ERROR, .seq = 1};
    open_default();
    queue(&owner);
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
    struct owner owner = eager();
    open_default();
    start(&owner);
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
    struct owner owner = eager();
    open_default();
    queue(&owner);
    for (uint32_t epoch = 2; epoch <= 8; epoch++) { /* more often than reruns_max */
        stage_manager_leaves(&stage);
        stage_run(&stage, 500); /* "waiting" bounces, and so does the next submit */
        stage_manager_comes(&stage);
        stage_run(&stage, 250);
        stage.epoch = heard_last(&stage, WIRE_SUBMIT)->epoch;
        CHECK(stage.epoch >= epoch);
        check_last_submit(&owner, stage.epoch);
        manager_say_queued(&stage, &owner);
    }
    CHECK_EQ(owner.ends, 0);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 0);
    finish(&owner, stage.epoch);
    stage_close(&stage);
}

TEST(a_submit_that_found_nobody_is_repeated_with_the_next_epoch)
{
    struct owner owner = eager();
    open_default();
    stage_manager_leaves(&stage);
    owner_ask(&owner, &stage);
    stage_run(&stage, 100);
    stage_manager_comes(&stage);
    stage_run(&stage, 149);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 0);
    stage_run(&stage, 1);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    check_last_submit(&owner, 2);
    CHECK_EQ(heard_last(&stage, WIRE_SUBMIT)->epoch, 2);
    stage_run(&stage, 250); /* nothing bounced since: the same one once more */
    check_last_submit(&owner, 2);
    finish(&owner, 2);
    stage_close(&stage);
}

/* The old manager had assigned it before it died: the worker's word counts while it can. */
TEST(who_accepts_before_the_next_epoch_has_it)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
    stage_manager_leaves(&stage);
    stage_run(&stage, 499); /* the repeat bounced */
    finish(&owner, 1);
    stage_close(&stage);
}

/* So somebody was assigned it, and his first word was lost. */
TEST(while_a_worker_produces_nobody_at_submit_is_no_reason_for_the_next_epoch)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
    stage_manager_leaves(&stage);
    say_delta(&stage, &owner, 2, "early");
    stage_run(&stage, 1000);
    stage_manager_comes(&stage);
    stage_run(&stage, 250);
    CHECK_EQ(heard_last(&stage, WIRE_SUBMIT)->epoch, 1);
    finish(&owner, 1);
    stage_close(&stage);
}

TEST(a_worker_that_produced_before_queued_came_is_not_waited_for_in_silence)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
    say_delta(&stage, &owner, 2, "early");
    manager_say_queued(&stage, &owner); /* it was overtaken */
    stage_run(&stage, 4999);
    CHECK_EQ(heard_in_epoch(WIRE_SUBMIT, 2), 0);
    stage_run(&stage, 1);
    CHECK_EQ(heard_in_epoch(WIRE_SUBMIT, 2), 1);
    finish(&owner, 2);
    stage_close(&stage);
}

TEST(a_manager_that_does_not_know_a_request_gets_it_again)
{
    struct owner queued = eager(), submitted = eager();
    open_default();
    queue(&queued);
    manager_say_unknown(&stage, &queued);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    check_last_submit(&queued, 2);
    manager_say_unknown(&stage, &queued); /* of epoch 1, once more */
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    finish(&queued, 2);

    stage.epoch = 1;
    submit(&submitted);
    manager_say_unknown(&stage, &submitted); /* its worker died before it could accept */
    check_last_submit(&submitted, 2);
    finish(&submitted, 2);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 2);
    stage_close(&stage);
}

/* It was given while the worker drained: neither accepted nor named by the manager. */
TEST(a_worker_that_hands_a_request_back_is_believed_while_there_is_no_other)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
    say_unknown(&stage, &owner);
    check_last_submit(&owner, 2);
    stage.epoch = 2;
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    stage.reply = SLICE("control.other"); /* what has it to do with it? */
    say_unknown(&stage, &owner);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2);
    stage.reply = SLICE("control.w");
    finish(&owner, 2);
    stage_close(&stage);
}

TEST(a_successor_that_says_queued_is_the_one_that_is_asked)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
    stage.reply = SLICE("control.old");
    say(&stage, &owner, &(struct event){.type = EVENT_QUEUED});
    stage.reply = SLICE("control.w");
    manager_say_queued(&stage, &owner);
    stage_run(&stage, 500);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 1);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1); /* nothing bounced */
    finish(&owner, 1);
    stage_close(&stage);
}

/* --- ASSIGNED --- */

TEST(where_a_request_was_assigned_is_where_its_events_are_fetched)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    const struct heard *credit = heard_last(&stage, WIRE_CREDIT);
    CHECK(credit && credit->on_control && (credit->flags & WIRE_FLAG_RESEND));
    CHECK(credit->credit.acked_seq == 0 && credit->credit.seq_limit == 64);
    stage_run(&stage, 500); /* nothing came: asked again, and told again */
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    CHECK_EQ(heard_count(&stage, WIRE_WAITING), 1);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 2);
    finish(&owner, 1);
    stage_close(&stage);
}

TEST(an_assigned_worker_that_does_not_have_it_is_a_lost_worker)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    say_unknown(&stage, &owner);
    check_last_submit(&owner, 2);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 1);
    finish(&owner, 2);
    stage_close(&stage);
}

TEST(an_assigned_worker_that_is_gone_is_a_lost_worker)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
    manager_say_assigned(&stage, &owner, SLICE("control.nobody")); /* the resend bounces */
    check_last_submit(&owner, 2);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 1);
    finish(&owner, 2);
    stage_close(&stage);
}

TEST(an_assigned_worker_that_stays_silent_is_a_lost_worker)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    for (int i = 0; i < 9; i++) {
        stage_run(&stage, 500);
        manager_say_assigned(&stage, &owner, SLICE("control.w")); /* is no sign of the worker */
    }
    CHECK_EQ(heard_in_epoch(WIRE_SUBMIT, 2), 0);
    stage_run(&stage, 500);
    CHECK_EQ(heard_in_epoch(WIRE_SUBMIT, 2), 1);
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control); /* should it live after all */
    CHECK_EQ(heard_last(&stage, WIRE_CANCEL)->epoch, 1);
    finish(&owner, 2);
    stage_close(&stage);
}

TEST(a_manager_that_is_gone_after_it_assigned_is_not_missed)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
    manager_say_assigned(&stage, &owner, SLICE("control.w"));
    stage_manager_leaves(&stage);
    stage_run(&stage, 1000);
    size_t resends = heard_count(&stage, WIRE_CREDIT);
    say_heartbeat(&stage, &owner, 1); /* its `accepted` was lost: fetched with every beat */
    say_heartbeat(&stage, &owner, 1);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), resends + 2);
    CHECK(heard_last(&stage, WIRE_CREDIT)->flags & WIRE_FLAG_RESEND);
    finish(&owner, 1);
    CHECK_EQ(ask_hub_stats(stage.hub).reruns, 0);
    stage_close(&stage);
}

TEST(an_assignment_that_cannot_be_read_is_ignored)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
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
    finish(&owner, 1);
    stage_close(&stage);
}

/* --- the worker is lost --- */

TEST(a_worker_lost_before_the_first_delta_is_not_noticed_but_for_the_progress)
{
    struct owner owner = eager();
    open_default();
    start(&owner);
    say_started(&owner, 2);
    stage_worker_leaves(&stage);
    stage_run(&stage, 200); /* the ping */
    CHECK_EQ(owner.ends, 0);
    check_last_submit(&owner, 2);
    stage_worker_comes(&stage);
    stage.epoch = 2;
    say_accepted(&stage, &owner, 1);
    say_started(&owner, 2);
    say_delta(&stage, &owner, 3, "hello");
    say_done(&stage, &owner, 4, DONE_EOS);
    CHECK(owner.ends == 1 && owner.reason == DONE_EOS);
    CHECK_STR(owner.text, "hello");
    CHECK_EQ(count_events(&owner, EVENT_STARTED), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 4);
    struct ask_stats stats = ask_hub_stats(stage.hub);
    CHECK(stats.reruns == 1 && stats.lost == 0);
    stage_close(&stage);
}

TEST(a_worker_lost_after_the_first_delta_is_the_end)
{
    struct owner owner = eager();
    open_default();
    start(&owner);
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
    struct owner owner = eager();
    open_default();
    start(&owner);
    say(&stage, &owner, &(struct event){.type = EVENT_USAGE, .seq = 2});
    say_unknown(&stage, &owner);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    stage_close(&stage);
}

static void check_reruns(uint32_t max)
{
    struct owner owner = eager();
    stage_init(&stage);
    stage.options.reruns_max = max;
    stage_open(&stage);
    submit(&owner);
    for (uint32_t epoch = 1; epoch <= max; epoch++) {
        stage.epoch = epoch;
        say_accepted(&stage, &owner, 1);
        say_unknown(&stage, &owner);
        CHECK_EQ(owner.ends, 0);
        check_last_submit(&owner, epoch + 1);
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
    struct owner owner = eager();
    stage_init(&stage);
    stage.options.credit_events = 4;
    stage_open(&stage);
    start(&owner);
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
    struct owner owner = eager();
    open_default();
    start(&owner);
    stage_run(&stage, 5000);
    CHECK_EQ(owner.ends, 0);
    const struct heard *cancel = heard_last(&stage, WIRE_CANCEL);
    CHECK(cancel && cancel->on_control && cancel->epoch == 1);
    check_last_submit(&owner, 2);
    finish(&owner, 2);
    stage_close(&stage);
}

/* The ping, its way back, the frame of the rerun: what finds no memory is as good as lost, and said
 * again by the clock. */
TEST(a_rerun_survives_every_failed_allocation)
{
    for (uint64_t nth = 1; nth <= 12; nth++) {
        struct owner owner = eager();
        open_default();
        start(&owner);
        stage_worker_leaves(&stage);
        mem_test_fail_nth(nth);
        stage_run(&stage, 200);
        mem_test_fail_nth(0);
        stage_run(&stage, 500);
        CHECK_EQ(owner.ends, 0);
        check_last_submit(&owner, 2);
        stage_worker_comes(&stage);
        finish(&owner, 2);
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
    struct owner running = eager(), queued = eager(), submitted = eager();
    open_default();
    start(&running);
    queue(&queued);
    submit(&submitted);
    bounce_last(WIRE_PING, SLICE("control.w"), &running, why);
    bounce_last(WIRE_CREDIT, SLICE("control.w"), &running, why);
    bounce_last(WIRE_WAITING, SLICE("control.m"), &queued, why);
    bounce_last(WIRE_SUBMIT, SLICE("submit"), &submitted, why);
    stage_run(&stage, 250);
    CHECK_EQ(heard_in_epoch(WIRE_SUBMIT, 2), 0);
    CHECK_EQ(running.ends + queued.ends + submitted.ends, 0);
    ask_cancel(submitted.ask);
    bounce_last(WIRE_CANCEL, SLICE("submit"), &submitted, why);
    CHECK_EQ(submitted.ends, 0);
    bounce_last(WIRE_CANCEL, SLICE("submit"), &submitted, ERR_NOT_FOUND);
    CHECK_EQ(submitted.ends, 1);
    finish(&running, 1);
    finish(&queued, 1);
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
    struct owner owner = eager();
    open_default();
    submit(&owner);
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
    struct owner owner = eager();
    open_default();
    submit(&owner);
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
    struct owner owner = eager();
    open_default();
    start(&owner);
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
    finish(&owner, 2);
    stage_close(&stage);
}

TEST(accepted_from_elsewhere_than_it_says_is_nonsense)
{
    struct owner owner = eager();
    open_default();
    submit(&owner);
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
    struct owner delta = eager(), twice = eager();
    open_default();
    submit(&delta);
    say_delta(&stage, &delta, 1, "x");
    CHECK(delta.ends == 1 && delta.fault == FAULT_INTERNAL_ERROR);
    start(&twice);
    say_accepted(&stage, &twice, 2);
    CHECK(twice.ends == 1 && twice.fault == FAULT_INTERNAL_ERROR);
    stage_close(&stage);
}

/* --- CANCELLING --- */

TEST(a_cancel_while_it_waits_goes_to_the_manager_too)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
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
    struct owner owner = eager();
    open_default();
    queue(&owner);
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
    struct owner owner = eager();
    open_default();
    queue(&owner);
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
    struct owner gone = eager(), unknown = eager();
    open_default();
    queue(&unknown);
    ask_cancel(unknown.ask);
    manager_say_unknown(&stage, &unknown);
    CHECK(unknown.ends == 1 && unknown.reason == DONE_CANCELLED);
    queue(&gone);
    stage_manager_leaves(&stage);
    ask_cancel(gone.ask);
    stage_run(&stage, 0);
    CHECK(gone.ends == 1 && gone.reason == DONE_CANCELLED);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2); /* neither was asked for again */
    stage_close(&stage);
}

TEST(a_cancelled_request_whose_worker_is_gone_is_done_and_not_run_again)
{
    struct owner owner = eager();
    open_default();
    start(&owner);
    ask_cancel(owner.ask);
    stage_worker_leaves(&stage);
    stage_run(&stage, 250);
    CHECK(owner.ends == 1 && owner.reason == DONE_CANCELLED);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 1);
    stage_close(&stage);
}

TEST(an_abandoned_request_that_waits_goes_by_itself)
{
    struct owner owner = eager();
    open_default();
    queue(&owner);
    size_t count = owner.count;
    ask_abandon(&owner.ask);
    manager_say_queued(&stage, &owner);
    stage_run(&stage, 2000);
    CHECK_EQ(owner.count, count);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}
