/* Frames that are lost, doubled and late, workers that die, managers that die: with askers and
 * workers that keep to the protocol every request ends, and none is begun twice in one epoch while
 * its worker lives. And bytes that keep to nothing at all. */
#include "base/clock.h"
#include "base/mem.h"
#include "manager/manager_rig.h"
#include "testing/test.h"

#include <stdio.h>

enum {
    ASKS = 120,
    WORKERS = 3,
    SLOTS = 4,
    STEP_MS = 10,
    STEPS_MAX = 12000,
    LATE_MAX = 64,
    REPEAT_STEPS = 25,
    PING_STEPS = 20
};

static struct rig rig;
static uint64_t seed;

static bool one_in(uint64_t n)
{
    return test_random(&seed) % n == 0;
}

/* --- a bus that is worse than any --- */

struct late {
    struct peer *from;
    char subject[BUS_SUBJECT_MAX_BYTES + 1];
    char *frame;
    size_t bytes;
    int steps;
};
static struct late late[LATE_MAX];
static uint32_t trouble; /* one frame in so many; 0: none */
static bool managers_die;

static void deliver_late(void)
{
    for (int i = 0; i < LATE_MAX; i++) {
        if (!late[i].frame || --late[i].steps > 0)
            continue;
        if (late[i].from->bus)
            CHECK_OK(bus_publish(late[i].from->bus, slice_str(late[i].subject),
                                 bus_inbox(late[i].from->bus),
                                 slice_of(late[i].frame, late[i].bytes)));
        mem_free(late[i].frame);
        late[i].frame = NULL;
    }
}

static void drop_late(void)
{
    for (int i = 0; i < LATE_MAX; i++) {
        mem_free(late[i].frame);
        late[i].frame = NULL;
    }
}

static void keep_for_later(struct peer *from, const char *subject)
{
    for (int i = 0; i < LATE_MAX; i++) {
        if (late[i].frame)
            continue;
        late[i].from = from;
        late[i].steps = 1 + (int)(test_random(&seed) % 30);
        late[i].bytes = from->out.len;
        late[i].frame = mem_alloc(from->out.len);
        memcpy(late[i].frame, from->out.data, from->out.len);
        snprintf(late[i].subject, sizeof(late[i].subject), "%s", subject);
        return;
    }
}

static void send_badly(struct peer *from, const char *subject)
{
    CHECK_OK(wire_finish(&from->writer));
    if (trouble && one_in(trouble))
        keep_for_later(from, subject); /* a second time, or late */
    if (trouble && one_in(trouble))
        return;
    CHECK_OK(
        bus_publish(from->bus, slice_str(subject), bus_inbox(from->bus), text_slice(&from->out)));
}

/* --- askers and workers, as the protocol wants them --- */

enum ask_state { ASK_NOT_YET, ASK_SUBMITTED, ASK_QUEUED, ASK_RUNNING, ASK_ENDED };
struct small_ask {
    enum ask_state state;
    uint32_t epoch;
    int steps;            /* until it repeats */
    struct peer *runs_at; /* who has accepted */
    bool was_refused;
};
static struct small_ask asks[ASKS + 1];
static struct peer *asker;

struct small_worker {
    struct peer *peer;
    bool is_registered;
    char manager[BUS_SUBJECT_MAX_BYTES + 1];
    uint64_t seen;
    struct {
        uint64_t stream;
        uint32_t epoch;
        int steps;
    } held[SLOTS * 4];
    uint32_t count;
    int steps;
};
static struct small_worker workers[WORKERS];
static struct peer *begun_at[ASKS + 1][64]; /* who began which epoch */

static void submit(uint64_t stream)
{
    struct small_ask *ask = &asks[stream];
    struct request request = rig_request(asker, stream);
    request.epoch = ask->epoch;
    request.arrival_ms = 1; /* any manager may be a successor */
    struct wire_writer *writer = peer_frame(asker, WIRE_CONTROL);
    wire_open_record(
        writer, &(struct wire_record){.stream = stream, .epoch = ask->epoch, .type = WIRE_SUBMIT});
    request_encode(&request, writer->out);
    wire_close_record(writer);
    ask->steps = REPEAT_STEPS;
    send_badly(asker, "submit");
}

static void ask_again(uint64_t stream)
{
    asks[stream].state = ASK_SUBMITTED;
    asks[stream].epoch++;
    asks[stream].runs_at = NULL;
    CHECK(asks[stream].epoch < 64);
    submit(stream);
}

static void accept(struct small_worker *worker, uint64_t stream, uint32_t epoch);

/* It turns to that worker, who says whether it has it. */
static void on_assigned(uint64_t stream, const char *control)
{
    for (int i = 0; i < WORKERS; i++)
        for (uint32_t at = 0; at < workers[i].count; at++)
            if (strcmp(workers[i].peer->control, control) == 0 &&
                workers[i].held[at].stream == stream &&
                workers[i].held[at].epoch == asks[stream].epoch) {
                accept(&workers[i], stream, asks[stream].epoch);
                return;
            }
    ask_again(stream);
}

static void on_asker_record(struct peer *peer, const struct wire_record *record)
{
    if (record->stream < 1 || record->stream > ASKS)
        return;
    struct small_ask *ask = &asks[record->stream];
    if (record->epoch != ask->epoch || ask->state == ASK_ENDED || (trouble && one_in(trouble)))
        return;
    if (record->type == RIG_QUEUED && ask->state == ASK_SUBMITTED)
        ask->state = ASK_QUEUED;
    if (record->type == WIRE_ASSIGNED && ask->state != ASK_RUNNING)
        on_assigned(record->stream, heard_last(peer, WIRE_ASSIGNED)->text);
    else if (record->type == WIRE_UNKNOWN_STREAM && (ask->state != ASK_SUBMITTED))
        ask_again(record->stream);
    if (record->type == RIG_ERROR || record->type == RIG_DONE) {
        CHECK_EQ(record->seq, 1);
        ask->state = ASK_ENDED;
        ask->was_refused = true;
        fprintf(stderr, "stream %llu epoch %u: %s\n", (unsigned long long)record->stream,
                record->epoch, heard_last(peer, record->type)->text);
    }
}

static void step_asks(void)
{
    for (uint64_t stream = 1; stream <= ASKS; stream++) {
        struct small_ask *ask = &asks[stream];
        if (ask->state == ASK_NOT_YET && one_in(200)) {
            ask->state = ASK_SUBMITTED;
            ask->epoch = 1;
            submit(stream);
        }
        if (ask->state != ASK_SUBMITTED && ask->state != ASK_QUEUED)
            continue;
        if (--ask->steps > 0)
            continue;
        if (ask->state == ASK_SUBMITTED) {
            submit(stream);
        } else {
            ask->steps = 2 * REPEAT_STEPS;
            wire_add(
                peer_frame(asker, WIRE_CONTROL),
                &(struct wire_record){.stream = stream, .epoch = ask->epoch, .type = WIRE_WAITING});
            send_badly(asker, "submit");
        }
    }
}

static struct small_worker *worker_of(const struct peer *peer)
{
    return peer->ctx;
}

/* The accepted goes by hand: the way from worker to asker is not what is tested here. */
static void accept(struct small_worker *worker, uint64_t stream, uint32_t epoch)
{
    struct small_ask *ask = &asks[stream];
    if (ask->epoch != epoch || ask->state == ASK_ENDED || ask->runs_at)
        return;
    ask->state = ASK_RUNNING;
    ask->runs_at = worker->peer;
}

static void on_worker_record(struct peer *peer, const struct wire_record *record)
{
    struct small_worker *worker = worker_of(peer);
    if (trouble && one_in(trouble))
        return;
    uint32_t at = 0;
    while (at < worker->count && worker->held[at].stream != record->stream)
        at++;
    if (record->type == WIRE_CANCEL && at < worker->count &&
        worker->held[at].epoch == record->epoch)
        worker->held[at].steps = 1;
    if (record->type != WIRE_SUBMIT)
        return;
    if (strcmp(peer->reply, worker->manager) == 0 && record->seq > worker->seen)
        worker->seen = record->seq;
    if (at < worker->count || begun_at[record->stream][record->epoch] == peer)
        return; /* it has it, or had it */
    CHECK(worker->count < SLOTS * 4);
    struct peer *before = begun_at[record->stream][record->epoch];
    CHECK(before == NULL || before->bus == NULL || managers_die); /* never twice in one epoch */
    begun_at[record->stream][record->epoch] = peer;
    worker->held[worker->count].stream = record->stream;
    worker->held[worker->count].epoch = record->epoch;
    worker->held[worker->count++].steps = 5 + (int)(test_random(&seed) % 40);
    accept(worker, record->stream, record->epoch);
}

static struct wire_load load_of(const struct small_worker *worker)
{
    uint32_t room = worker->count < SLOTS ? SLOTS - worker->count : 0;
    return (struct wire_load){.slots = SLOTS, .room = room, .running = worker->count};
}

static struct wire_writer *begin_report(struct small_worker *worker, bool is_all)
{
    struct wire_writer *writer = peer_frame(worker->peer, WIRE_CONTROL);
    struct wire_load load = load_of(worker);
    wire_add_load(writer, worker->seen, &load, is_all);
    return writer;
}

static void report_all(struct small_worker *worker)
{
    bool is_new = strcmp(worker->manager, rig.manager_control) != 0;
    if (is_new) {
        snprintf(worker->manager, sizeof(worker->manager), "%s", rig.manager_control);
        worker->seen = 0;
    }
    struct wire_writer *writer = begin_report(worker, true);
    for (uint32_t i = 0; i < worker->count; i++) {
        struct wire_taken taken = rig_taken(asker, worker->held[i].stream);
        wire_add_taken(writer, worker->held[i].epoch, &taken);
    }
    if (rig.manager)
        send_badly(worker->peer, worker->manager);
    worker_state(worker->peer, NODE_READY, "");
}

static void finish(struct small_worker *worker, uint32_t at)
{
    uint64_t stream = worker->held[at].stream;
    uint32_t epoch = worker->held[at].epoch;
    worker->held[at] = worker->held[--worker->count];
    struct small_ask *ask = &asks[stream];
    if (ask->runs_at == worker->peer && ask->epoch == epoch)
        ask->state = ASK_ENDED;
    wire_add_released(begin_report(worker, false), stream, epoch,
                      &(struct wire_released){3, 100000});
    if (rig.manager)
        send_badly(worker->peer, worker->manager);
}

static void step_worker(struct small_worker *worker)
{
    for (uint32_t i = 0; i < worker->count;) {
        if (--worker->held[i].steps <= 0)
            finish(worker, i);
        else
            i++;
    }
    bool is_new = strcmp(worker->manager, rig.manager_control) != 0;
    if (!is_new && --worker->steps > 0)
        return;
    worker->steps = 50;
    report_all(worker);
}

static void start_worker(struct small_worker *worker)
{
    *worker = (struct small_worker){.peer = rig_worker(&rig, "m")};
    worker->peer->on_record = on_worker_record;
    worker->peer->ctx = worker;
    worker_state(worker->peer, NODE_READY, "");
}

/* Its askers notice by their own pings. */
static void kill_worker(struct small_worker *worker)
{
    struct peer *peer = worker->peer;
    peer_leave(peer);
    for (uint64_t stream = 1; stream <= ASKS; stream++)
        if (asks[stream].state == ASK_RUNNING && asks[stream].runs_at == peer)
            ask_again(stream);
    start_worker(worker);
}

static size_t ended(void)
{
    size_t count = 0;
    for (uint64_t stream = 1; stream <= ASKS; stream++)
        count += asks[stream].state == ASK_ENDED;
    return count;
}

static void play(uint64_t with_seed, uint32_t with_trouble, uint64_t kills_one_in,
                 uint64_t restarts_one_in)
{
    seed = with_seed;
    trouble = with_trouble;
    managers_die = restarts_one_in != 0;
    memset(asks, 0, sizeof(asks));
    memset(begun_at, 0, sizeof(begun_at));
    rig_init(&rig);
    rig.options.queue_wait_ms = 60000; /* nobody is to be refused */
    rig.options.queue_max = ASKS;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    asker->on_record = on_asker_record;
    for (int i = 0; i < WORKERS; i++)
        start_worker(&workers[i]);
    int step = 0;
    for (; step < STEPS_MAX && ended() < ASKS; step++) {
        deliver_late();
        step_asks();
        for (int i = 0; i < WORKERS; i++)
            step_worker(&workers[i]);
        if (kills_one_in && step < STEPS_MAX / 2 && one_in(kills_one_in))
            kill_worker(&workers[test_random(&seed) % WORKERS]);
        if (restarts_one_in && step < STEPS_MAX / 2 && one_in(restarts_one_in))
            rig_restart_manager(&rig);
        rig_run(&rig, STEP_MS);
        asker->heard_count = 0;
        for (int i = 0; i < WORKERS; i++)
            workers[i].peer->heard_count = 0;
    }
    if (ended() < ASKS)
        fprintf(stderr, "seed %llu: %zu of %d ended\n", (unsigned long long)with_seed, ended(),
                ASKS);
    CHECK_EQ(ended(), ASKS);
    for (uint64_t stream = 1; stream <= ASKS; stream++)
        CHECK(!asks[stream].was_refused);
    trouble = 0;
    for (int i = 0; i < 150; i++) { /* the last lists come */
        deliver_late();
        for (int w = 0; w < WORKERS; w++)
            step_worker(&workers[w]);
        rig_run(&rig, STEP_MS);
    }
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    CHECK_EQ(manager_stats(rig.manager).assigned, 0);
    drop_late();
    rig_close(&rig);
}

TEST(without_trouble_every_request_ends_in_its_first_epoch)
{
    play(1, 0, 0, 0);
    for (uint64_t stream = 1; stream <= ASKS; stream++)
        CHECK_EQ(asks[stream].epoch, 1);
}

TEST(lost_doubled_and_late_frames_lose_no_request)
{
    for (uint64_t s = 1; s <= 12; s++)
        play(s, 6, 0, 0);
}

TEST(dying_workers_lose_no_request)
{
    for (uint64_t s = 1; s <= 12; s++)
        play(s, 20, 100, 0);
}

/* With frames lost on top of it, what a worker tells a new manager may come too late to keep a
 * request from beginning twice; its asker hears only one of them (docs/design/008). */
TEST(dying_managers_lose_no_request)
{
    for (uint64_t s = 1; s <= 12; s++)
        play(s, 20, 0, 100);
}

TEST(all_of_it_at_once_loses_no_request)
{
    for (uint64_t s = 1; s <= 12; s++)
        play(s, 8, 150, 150);
}

/* --- nonsense --- */

/* A frame that was right, with a few bytes changed. */
static void send_damaged(struct peer *from, const char *subject)
{
    CHECK_OK(wire_finish(&from->writer));
    for (uint64_t i = 1 + test_random(&seed) % 4; i > 0; i--)
        from->out.data[test_random(&seed) % from->out.len] = (char)test_random(&seed);
    size_t bytes = one_in(4) ? test_random(&seed) % (from->out.len + 1) : from->out.len;
    peer_send_bytes(from, subject, slice_of(from->out.data, bytes));
}

static void send_some_damaged(struct peer *from)
{
    static const char *const subjects[] = {"submit", "state.nodes", "manager.calls", NULL};
    const char *subject = subjects[test_random(&seed) % ARRAY_COUNT(subjects)];
    struct request request = rig_request(from, test_random(&seed) % 8);
    struct wire_taken taken = rig_taken(from, test_random(&seed) % 8);
    struct wire_writer *writer = peer_frame(from, one_in(4) ? WIRE_STATE : WIRE_CONTROL);
    struct wire_load load = {.slots = 4, .room = 4};
    if (one_in(2)) {
        wire_add_load(writer, test_random(&seed) % 8, &load, one_in(2));
        wire_add_taken(writer, 1, &taken);
        wire_add_held(writer, test_random(&seed) % 8, 1, &taken.held);
        wire_add_released(writer, test_random(&seed) % 8, 1, &(struct wire_released){1, 1});
    }
    wire_open_record(
        writer, &(struct wire_record){.stream = request.id.low, .epoch = 1, .type = WIRE_SUBMIT});
    request_encode(&request, writer->out);
    wire_close_record(writer);
    for (uint16_t type = WIRE_CANCEL; type <= WIRE_RELEASED; type++)
        wire_add(writer, &(struct wire_record){.stream = request.id.low,
                                               .epoch = 1,
                                               .type = type,
                                               .payload = SLICE("12345678901234567890")});
    send_damaged(from, subject ? subject : rig.manager_control);
}

TEST(damaged_frames_of_askers_and_workers_do_no_harm)
{
    seed = 7;
    rig_init(&rig);
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    struct peer *worker = rig_ready_worker(&rig, "m", 4, 4);
    for (int i = 0; i < 3000; i++) {
        send_some_damaged(one_in(2) ? asker : worker);
        rig_run(&rig, test_random(&seed) % 20);
        asker->heard_count = worker->heard_count = 0;
    }
    rig_run(&rig, 120000); /* whatever was believed, is forgotten */
    CHECK_EQ(manager_stats(rig.manager).queued, 0);
    CHECK_EQ(manager_stats(rig.manager).assigned, 0);
    CHECK_EQ(manager_stats(rig.manager).nodes, 0);
    struct peer *next = rig_ready_worker(&rig, "m", 1, 1);
    rig_ask(asker, 100);
    CHECK_EQ(heard_for(next, WIRE_SUBMIT, 100), 1);
    rig_close(&rig);
}

/* Each allocation whose size a peer chose fails once: what is lost by that is repeated. */
TEST(a_failed_allocation_loses_at_most_what_is_repeated)
{
    uint64_t allocations = 0;
    for (uint64_t nth = 0; nth == 0 || nth <= allocations; nth++) {
        rig_init(&rig);
        rig_open_greeted(&rig);
        asker = rig_peer(&rig);
        struct peer *worker = rig_ready_worker(&rig, "m", 2, 2);
        struct request request = rig_request(asker, 1);
        struct wire_writer *writer = peer_frame(asker, WIRE_CONTROL);
        wire_open_record(writer,
                         &(struct wire_record){.stream = 1, .epoch = 1, .type = WIRE_SUBMIT});
        request_encode(&request, writer->out);
        wire_close_record(writer);
        CHECK_OK(wire_finish(writer));
        uint64_t before = mem_peer_count();
        mem_test_fail_nth(nth);
        (void)bus_publish(asker->bus, SLICE("submit"), bus_inbox(asker->bus),
                          text_slice(&asker->out)); /* the one that fails may be here */
        rig_run(&rig, 0);
        mem_test_fail_nth(0);
        if (nth == 0)
            allocations = mem_peer_count() - before;
        if (heard_count(asker, RIG_ERROR) == 0) /* else it was refused for want of memory */
            rig_ask(asker, 1);
        rig_run(&rig, 1000);
        CHECK(heard_count(asker, RIG_ERROR) == 1 || heard_count(worker, WIRE_SUBMIT) > 0);
        rig_close(&rig);
    }
    CHECK(allocations > 5);
}
