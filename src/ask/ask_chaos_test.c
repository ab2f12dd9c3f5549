/* ask_chaos_test - managers and workers that say anything at any time, come and go: whatever they
 * do, the owner is told one story, from one worker in one epoch, with one end. */
#include "ask/stage.h"
#include "testing/test.h"

#include <stdio.h>

static struct stage stage;

enum { SEEDS = 400, STEPS = 120, WORKERS = 3 };

/* What the owner was told, beyond what the stage's owner writes down. */
struct story {
    struct owner owner;
    uint64_t random;
    uint64_t last_seq; /* of the epoch that is told now */
    char teller[8];    /* who made the first delta, and in which epoch: "w2e1" */
    int started;
    bool was_rerun;
};
static struct story story;

static uint64_t below(uint64_t bound)
{
    return test_random(&story.random) % bound;
}

static const struct slice controls[WORKERS] = {
    {"control.w", 9}, {"control.b", 9}, {"control.c", 9}};

/* Deltas say who they are from: all of an answer are from one. */
static void check_teller(const struct event *event)
{
    char teller[8] = {0};
    struct slice text = event->delta.text;
    CHECK(text.len < sizeof(teller));
    memcpy(teller, text.data, text.len);
    if (story.teller[0] == 0)
        memcpy(story.teller, teller, sizeof(teller));
    CHECK_STR(teller, story.teller);
}

static void on_event(struct owner *owner, const struct event *event)
{
    (void)owner;
    if (event->seq == 0) { /* a manager, while it waits */
        CHECK(event->type == EVENT_QUEUED && story.teller[0] == 0);
        return;
    }
    bool begins = event->type == EVENT_ACCEPTED;
    CHECK(!begins || story.teller[0] == 0);                /* no new run after a delta */
    bool skips_started = event->seq == story.last_seq + 2; /* which is told once */
    CHECK(begins || event->seq == story.last_seq + 1 || skips_started || event_is_end(event->type));
    story.last_seq = event->seq;
    story.started += event->type == EVENT_STARTED;
    CHECK(story.started <= 1);
    if (event->type == EVENT_DELTA)
        check_teller(event);
}

/* Mostly of the present. */
static uint32_t some_epoch(void)
{
    const struct heard *submit = heard_last(&stage, WIRE_SUBMIT);
    uint32_t now = submit ? submit->epoch : 1;
    return below(6) == 0 && now > 1 ? now - 1 : now;
}

/* Seq 1 is `accepted`, 2 `started`, then deltas; any of them, also before and twice. */
static void worker_says(size_t worker)
{
    uint64_t seq = below(4) == 0 ? 1 + below(6) : story.last_seq + 1;
    stage.reply = controls[worker];
    stage.epoch = some_epoch();
    struct event event = {.type = EVENT_DELTA, .seq = seq};
    char text[16];
    snprintf(text, sizeof(text), "w%zue%u", worker, stage.epoch % 100);
    event.delta.token_count = 1;
    event.delta.text = slice_str(text);
    if (seq == 1)
        say_accepted(&stage, &story.owner, 1);
    else if (seq == 2)
        say(&stage, &story.owner, &(struct event){.type = EVENT_STARTED, .seq = 2});
    else if (seq > 10)
        say_done(&stage, &story.owner, seq, DONE_EOS);
    else
        say(&stage, &story.owner, &event);
}

static void manager_says(void)
{
    stage.epoch = some_epoch();
    switch (below(8)) {
    case 0:
        manager_say_unknown(&stage, &story.owner);
        return;
    case 1:
    case 2:
        manager_say_assigned(&stage, &story.owner, controls[below(WORKERS)]);
        return;
    default:
        manager_say_queued(&stage, &story.owner);
    }
}

static void somebody_comes_or_goes(void)
{
    if (below(2) == 0) {
        if (stage.manager)
            stage_manager_leaves(&stage);
        else
            stage_manager_comes(&stage);
    } else {
        if (stage.worker)
            stage_worker_leaves(&stage);
        else
            stage_worker_comes(&stage);
    }
}

static void step(void)
{
    size_t worker = below(WORKERS);
    switch (below(16)) {
    case 0:
        if (below(4) == 0)
            somebody_comes_or_goes();
        return;
    case 1:
        if (below(2) == 0)
            return;
        stage.reply = controls[worker];
        stage.epoch = some_epoch();
        say_unknown(&stage, &story.owner);
        return;
    case 2:
        stage.reply = controls[worker];
        stage.epoch = some_epoch();
        say_heartbeat(&stage, &story.owner, below(8));
        return;
    case 3:
    case 4:
        stage_run(&stage, below(700));
        return;
    case 5:
    case 6:
    case 7:
        manager_says();
        return;
    default:
        worker_says(below(3) == 0 ? worker : 0);
    }
}

static void run_seed(uint64_t seed)
{
    story = (struct story){.random = seed};
    story.owner.consumes = true;
    story.owner.on_event = on_event;
    stage_init(&stage);
    stage_open(&stage);
    owner_ask(&story.owner, &stage);
    for (int i = 0; i < STEPS && story.owner.ends == 0; i++) {
        stage_run(&stage, 0);
        step();
    }
    if (story.owner.ask)
        ask_cancel(story.owner.ask);
    stage_run(&stage, 2000); /* cancel_ms: whatever happened */
    if (story.owner.ends != 1)
        printf("seed %llu: %zu ends\n", (unsigned long long)seed, story.owner.ends);
    CHECK_EQ(story.owner.ends, 1);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    struct ask_stats stats = ask_hub_stats(stage.hub);
    story.was_rerun = stats.reruns > 0;
    CHECK(stats.opened == 1 && stats.ended == 1 && stats.reruns <= 3);
    stage_run(&stage, 1000); /* no clock of ours goes on when nothing is outstanding */
    CHECK(loop_next_us(stage.loop) == UINT64_MAX);
    stage_close(&stage);
}

TEST(whatever_managers_and_workers_do_the_owner_is_told_one_story)
{
    size_t with_text = 0, lost = 0, whole = 0, rerun = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed);
        with_text += story.teller[0] != 0;
        lost += story.owner.fault == FAULT_WORKER_LOST;
        whole += story.owner.count > 8 && story.owner.fault == 0;
        rerun += story.was_rerun;
    }
    printf("%zu with text, %zu whole, %zu asked for again, %zu lost\n", with_text, whole, rerun,
           lost);
    /* It is about something. */
    CHECK(with_text > SEEDS / 4 && whole > SEEDS / 20 && rerun > SEEDS / 4 && lost > SEEDS / 20);
}
