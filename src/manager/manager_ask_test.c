/* Real asks and a manager: both hold to what they say in their headers. The workers are scripted.
 */
#include "ask/ask.h"
#include "base/clock.h"
#include "manager/manager_rig.h"
#include "testing/test.h"

static struct rig rig;

struct owner {
    struct bus *bus;
    struct ask_hub *hub;
    struct ask *ask;
    size_t count, progress, ends;
    struct event end;
    char message[128];
};
static struct owner owner;

static void on_event(void *ctx, const struct event *event)
{
    struct owner *of = ctx;
    of->count++;
    of->progress += event->type == EVENT_QUEUED || event->type == EVENT_LOADING;
    if (!event_is_end(event->type))
        return;
    of->ends++;
    of->end = *event;
    of->ask = NULL;
}

static void open_rig(void)
{
    struct ask_options options = ask_options_default();
    owner = (struct owner){0};
    rig_open_greeted(&rig);
    owner.bus = bus_mem_open(rig.bus_mem, rig.loop);
    CHECK_OK(ask_hub_new(owner.bus, &options, &owner.hub));
}

static void close_rig(void)
{
    ask_hub_drain(owner.hub, NULL, NULL);
    rig_run(&rig, 10000);
    CHECK_EQ(ask_hub_count(owner.hub), 0);
    ask_hub_free(owner.hub);
    bus_close(&owner.bus);
    rig_close(&rig);
}

static void ask(uint64_t stream)
{
    struct request request = {.id = {0xabcdef, stream},
                              .model = SLICE("m"),
                              .prompt_kind = PROMPT_TEXT,
                              .prompt = SLICE("say it"),
                              .sampling = sampling_default(),
                              .arrival_ms = clock_wall_ms() + 1000};
    CHECK_OK(ask_open(owner.hub, &request, on_event, &owner, &owner.ask));
    rig_run(&rig, 0);
}

static void produce(struct peer *worker, uint32_t epoch, const struct event *event)
{
    event_encode(peer_frame(worker, WIRE_EVENTS), 1, epoch, event, NULL);
    CHECK_OK(wire_finish(&worker->writer));
    CHECK_OK(bus_publish(worker->bus, bus_inbox(owner.bus), bus_inbox(worker->bus),
                         text_slice(&worker->out)));
    rig_run(&rig, 0);
}

static void accept(struct peer *worker, uint32_t epoch)
{
    struct event event = {.type = EVENT_ACCEPTED, .seq = 1};
    event.accepted.worker = slice_str(worker->node);
    event.accepted.control = slice_str(worker->control);
    produce(worker, epoch, &event);
}

static void finish(struct peer *worker, uint32_t epoch)
{
    struct event event = {.type = EVENT_DONE, .seq = 2};
    produce(worker, epoch, &event);
}

static void keep_alive(struct peer *worker, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += 500) {
        worker_state(worker, NODE_READY, "");
        rig_run(&rig, 500);
    }
}

TEST(an_ask_is_answered_by_the_worker_that_the_manager_picks)
{
    rig_init(&rig);
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    ask(1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    accept(worker, 1);
    finish(worker, 1);
    CHECK_EQ(owner.ends, 1);
    CHECK_EQ(owner.end.type, EVENT_DONE);
    close_rig();
}

TEST(an_ask_that_waits_stays_known_and_is_served_when_there_is_room)
{
    rig_init(&rig);
    rig.options.queue_wait_ms = 30000;
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 0);
    ask(1);
    keep_alive(worker, 15000); /* longer than a silent asker would be waited for */
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    CHECK_EQ(manager_stats(rig.manager).submits, 1);
    worker_say_load(worker, 0, 1, 1);
    CHECK_EQ(heard_count(worker, WIRE_SUBMIT), 1);
    accept(worker, 1);
    finish(worker, 1);
    CHECK_EQ(owner.ends, 1);
    close_rig();
}

TEST(what_the_manager_refuses_ends_the_ask_once_and_is_acknowledged)
{
    rig_init(&rig);
    rig.options.queue_max = 0;
    open_rig();
    (void)rig_ready_worker(&rig, "m", 1, 0);
    ask(1);
    CHECK_EQ(owner.ends, 1);
    CHECK_EQ(owner.end.type, EVENT_ERROR);
    CHECK_STR(fault_name(owner.end.error.fault), "queue_full");
    CHECK_EQ(owner.end.error.retry_after_ms, 1000);
    rig_run(&rig, 1000);
    CHECK_EQ(owner.ends, 1);
    close_rig();
}

TEST(an_ask_that_is_cancelled_while_it_waits_ends_at_once)
{
    rig_init(&rig);
    open_rig();
    (void)rig_ready_worker(&rig, "m", 1, 0);
    ask(1);
    ask_cancel(owner.ask);
    rig_run(&rig, 0);
    CHECK_EQ(owner.ends, 1);
    CHECK_EQ(owner.end.done.reason, DONE_CANCELLED);
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    close_rig();
}

TEST(when_a_worker_dies_before_a_delta_the_ask_runs_elsewhere)
{
    rig_init(&rig);
    open_rig();
    struct peer *first = rig_ready_worker(&rig, "m", 1, 1);
    ask(1);
    worker_say_load(first, 1, 1, 0);
    accept(first, 1);
    struct peer *second = rig_ready_worker(&rig, "m", 1, 1);
    peer_leave(first);
    rig_run(&rig, 1000);
    CHECK_EQ(heard_count(second, WIRE_SUBMIT) > 0, true);
    CHECK_EQ(heard_last(second, WIRE_SUBMIT)->epoch, 2);
    worker_say_load(second, heard_last(second, WIRE_SUBMIT)->seq, 1, 0);
    accept(second, 2);
    finish(second, 2);
    CHECK_EQ(owner.ends, 1);
    CHECK_EQ(owner.end.type, EVENT_DONE);
    close_rig();
}

TEST(an_assignment_whose_accepted_was_lost_is_found_again)
{
    rig_init(&rig);
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    ask(1);
    worker_say_load(worker, 1, 1, 0);
    keep_alive(worker, 1000); /* the ask asks the manager, and then the worker */
    const struct heard *credit = heard_last(worker, WIRE_CREDIT);
    CHECK(credit && credit->stream == 1 && (credit->flags & WIRE_FLAG_RESEND));
    accept(worker, 1);
    finish(worker, 1);
    CHECK_EQ(owner.ends, 1);
    CHECK_EQ(manager_stats(rig.manager).submits, 1);
    close_rig();
}

TEST(what_waited_at_a_manager_that_died_waits_at_the_next_one)
{
    rig_init(&rig);
    rig.options.queue_wait_ms = 30000;
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 0);
    ask(1);
    rig_restart_manager(&rig);
    worker_state(worker, NODE_READY, "");
    worker_say_load(worker, 0, 1, 0);
    rig_run(&rig, 1000);
    CHECK_EQ(manager_stats(rig.manager).queued, 1);
    CHECK_EQ(owner.ends, 0);
    worker_say_load(worker, 0, 1, 1);
    rig_run(&rig, 1000);
    CHECK(heard_count(worker, WIRE_SUBMIT) > 0);
    close_rig();
}

TEST(a_manager_that_drains_hands_over_what_waits)
{
    rig_init(&rig);
    rig.options.queue_wait_ms = 30000;
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 0);
    ask(1);
    rig_drain(&rig);
    rig_restart_manager(&rig);
    worker_state(worker, NODE_READY, "");
    worker_say_load(worker, 0, 1, 1);
    rig_run(&rig, 1000);
    CHECK_EQ(owner.ends, 0);
    CHECK(heard_count(worker, WIRE_SUBMIT) > 0);
    close_rig();
}
