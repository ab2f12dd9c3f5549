/* loop_test - the order of a turn, its clock, what may sleep, and how a loop ends. */
#include "loop/loop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "loop/mailbox.h"
#include "loop/thread.h"
#include "testing/test.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

/* What happened, one letter each. */
struct trace {
    char text[64];
    size_t len;
};

static void trace_add(struct trace *trace, char letter)
{
    if (trace->len + 1 < sizeof trace->text)
        trace->text[trace->len++] = letter;
}

/* Everything a turn can call, each with its letter in the trace. */
struct rig {
    struct trace trace;
    struct loop *loop;
    struct mailbox *mailbox;
    struct mail mail;
    struct deadline deadline;
    struct deferred deferred, flush;
    struct free_later freeing;
    uv_poll_t socket;
    int fds[2];
};

static void on_mail(void *ctx, struct mail *mail)
{
    (void)mail; /* lives in the rig */
    trace_add(&((struct rig *)ctx)->trace, 'm');
}

static void on_deadline(void *ctx)
{
    trace_add(&((struct rig *)ctx)->trace, 'd');
}

static void on_deferred(void *ctx)
{
    trace_add(&((struct rig *)ctx)->trace, 'l');
}

static void on_flush(void *ctx)
{
    trace_add(&((struct rig *)ctx)->trace, 'f');
}

static void on_release(void *ctx)
{
    trace_add(&((struct rig *)ctx)->trace, 'x');
}

static void on_socket(uv_poll_t *socket, int status, int events)
{
    struct rig *rig = socket->data;
    char byte;
    CHECK(status == 0 && events == UV_READABLE);
    CHECK_EQ(read(rig->fds[0], &byte, 1), 1);
    trace_add(&rig->trace, 'i');
}

static void rig_open(struct rig *rig, struct loop *loop)
{
    *rig = (struct rig){.loop = loop};
    rig->mailbox = mailbox_new(loop, 8, on_mail, rig);
    deadline_init(&rig->deadline, loop, on_deadline, rig);
    deferred_init(&rig->deferred, on_deferred, rig);
    deferred_init(&rig->flush, on_flush, rig);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, rig->fds), 0);
    CHECK_EQ(uv_poll_init(loop_uv(loop), &rig->socket, rig->fds[0]), 0);
    rig->socket.data = rig;
    CHECK_EQ(uv_poll_start(&rig->socket, UV_READABLE, on_socket), 0);
}

static void never_dropped(void *ctx, struct mail *mail)
{
    (void)ctx;
    CHECK(mail == NULL);
}

static void rig_close(struct rig *rig)
{
    mailbox_close(rig->mailbox, never_dropped, NULL);
    mailbox_unref(rig->mailbox);
    deadline_clear(&rig->deadline);
    uv_close((uv_handle_t *)&rig->socket, NULL);
    loop_free(rig->loop);
    close(rig->fds[0]);
    close(rig->fds[1]);
}

static void write_byte(struct rig *rig)
{
    CHECK_EQ(write(rig->fds[1], "x", 1), 1);
}

/* In the reverse of the order that it should come out in. */
static void ask_for_everything(struct rig *rig)
{
    struct mail *mail = &rig->mail;
    loop_free_later(rig->loop, &rig->freeing, on_release, rig);
    loop_before_sleep(rig->loop, &rig->flush);
    loop_defer(rig->loop, &rig->deferred);
    deadline_after(&rig->deadline, 0);
    CHECK_OK(mailbox_post(rig->mailbox, &mail));
    write_byte(rig);
}

TEST(a_turn_runs_its_parts_in_order)
{
    struct rig rig;
    rig_open(&rig, loop_new_virtual(1000));
    ask_for_everything(&rig);
    CHECK(loop_turn(rig.loop, false));
    CHECK_STR(rig.trace.text, "imdlfx");
    CHECK(!loop_turn(rig.loop, false));
    rig_close(&rig);
}

TEST(a_real_turn_runs_the_same_order_and_does_not_sleep_while_something_waits)
{
    struct rig rig;
    rig_open(&rig, loop_new());
    ask_for_everything(&rig);
    CHECK(loop_turn(rig.loop, true)); /* would hang if it slept for more I/O than there is */
    /* A deadline for "now" is rounded up to its tick: it may come a turn later. */
    while (deadline_is_armed(&rig.deadline))
        loop_turn(rig.loop, true);
    CHECK_EQ(strlen(rig.trace.text), strlen("imdlfx"));
    CHECK(strcmp(rig.trace.text, "imdlfx") == 0 || strcmp(rig.trace.text, "imlfxd") == 0);
    rig_close(&rig);
}

TEST(a_turn_with_nothing_to_do_says_so)
{
    struct rig rig;
    rig_open(&rig, loop_new_virtual(0));
    CHECK(loop_turn(rig.loop, false)); /* the kernel is told of the new socket */
    deadline_after(&rig.deadline, 1);  /* not now */
    CHECK(!loop_turn(rig.loop, false));
    CHECK(!loop_turn(rig.loop, true)); /* a virtual loop never sleeps */
    CHECK_STR(rig.trace.text, "");
    write_byte(&rig);
    CHECK(loop_turn(rig.loop, false));
    CHECK(!loop_turn(rig.loop, false));
    rig_close(&rig);
}

/* --- deferred, flush --- */

struct again {
    struct loop *loop;
    struct deferred deferred;
    void (*schedule)(struct loop *loop, struct deferred *deferred);
    int runs;
};

static void run_again(void *ctx)
{
    struct again *again = ctx;
    again->runs++;
    again->schedule(again->loop, &again->deferred);
}

TEST(a_chain_of_deferrals_is_bounded_in_a_turn_and_does_not_starve_io)
{
    void (*const schedules[])(struct loop *, struct deferred *) = {loop_defer, loop_before_sleep};
    const int rounds[] = {1, 2};
    for (size_t i = 0; i < ARRAY_COUNT(schedules); i++) {
        struct rig rig;
        rig_open(&rig, loop_new());
        struct again again = {.loop = rig.loop, .schedule = schedules[i]};
        deferred_init(&again.deferred, run_again, &again);
        again.schedule(rig.loop, &again.deferred);
        loop_turn(rig.loop, true);
        CHECK_EQ(again.runs, rounds[i]);
        write_byte(&rig);
        loop_turn(rig.loop, true);
        CHECK_EQ(again.runs, 2 * rounds[i]);
        CHECK_STR(rig.trace.text, "i");
        deferred_cancel(&again.deferred);
        rig_close(&rig);
    }
}

struct giver { /* a flush that asks for another one, as an outbox does */
    struct loop *loop;
    struct deferred deferred, *next;
};

static void give_on(void *ctx)
{
    struct giver *giver = ctx;
    loop_before_sleep(giver->loop, giver->next);
}

TEST(what_a_flush_gives_to_another_leaves_in_the_same_turn_and_no_further)
{
    struct rig rig;
    rig_open(&rig, loop_new_virtual(0));
    struct giver last = {.loop = rig.loop, .next = &rig.flush},
                 first = {.loop = rig.loop, .next = &last.deferred};
    deferred_init(&last.deferred, give_on, &last);
    deferred_init(&first.deferred, give_on, &first);
    loop_before_sleep(rig.loop, &last.deferred);
    CHECK(loop_turn(rig.loop, false));
    CHECK_STR(rig.trace.text, "f");
    loop_before_sleep(rig.loop, &first.deferred);
    CHECK(loop_turn(rig.loop, false));
    CHECK_STR(rig.trace.text, "f"); /* the third of a chain waits */
    CHECK(loop_turn(rig.loop, false));
    CHECK_STR(rig.trace.text, "ff");
    rig_close(&rig);
}

TEST(scheduling_twice_runs_once_and_cancelling_runs_none)
{
    struct rig rig;
    rig_open(&rig, loop_new_virtual(0));
    loop_defer(rig.loop, &rig.deferred);
    loop_defer(rig.loop, &rig.deferred);
    loop_before_sleep(rig.loop, &rig.flush);
    deferred_cancel(&rig.flush);
    deferred_cancel(&rig.flush);
    CHECK(loop_turn(rig.loop, false));
    CHECK_STR(rig.trace.text, "l");
    rig_close(&rig);
}

TEST(cancelling_zeroed_memory_is_harmless)
{
    struct deferred deferred = {0};
    struct deadline deadline = {0};
    deferred_cancel(&deferred);
    deadline_clear(&deadline);
    CHECK(!deadline_is_armed(&deadline));
}

struct canceller {
    struct deferred self, victim;
    struct trace trace;
};

static void cancel_victim(void *ctx)
{
    struct canceller *canceller = ctx;
    trace_add(&canceller->trace, 'c');
    deferred_cancel(&canceller->victim);
}

static void on_victim(void *ctx)
{
    trace_add(&((struct canceller *)ctx)->trace, 'v');
}

TEST(a_deferred_may_cancel_the_one_that_comes_next)
{
    struct loop *loop = loop_new_virtual(0);
    struct canceller canceller = {0};
    deferred_init(&canceller.self, cancel_victim, &canceller);
    deferred_init(&canceller.victim, on_victim, &canceller);
    loop_defer(loop, &canceller.self);
    loop_defer(loop, &canceller.victim);
    CHECK(loop_turn(loop, false));
    CHECK(!loop_turn(loop, false));
    CHECK_STR(canceller.trace.text, "c");
    loop_free(loop);
}

/* --- free-later --- */

struct node {
    struct free_later slot; /* inside what is freed, as its users have it */
    struct loop *loop;
    struct trace *trace;
    struct node *child;
    char letter;
};

static void node_release(void *pointer)
{
    struct node *node = pointer;
    trace_add(node->trace, node->letter);
    if (node->child)
        loop_free_later(node->loop, &node->child->slot, node_release, node->child);
    mem_free(node);
}

static struct node *node_new(struct loop *loop, struct trace *trace, char letter)
{
    struct node *node = mem_alloc(sizeof *node);
    node->loop = loop;
    node->trace = trace;
    node->letter = letter;
    return node;
}

static void free_three(struct loop *loop, struct trace *trace)
{
    for (char letter = 'a'; letter <= 'c'; letter++) {
        struct node *node = node_new(loop, trace, letter);
        if (letter == 'a')
            node->child = node_new(loop, trace, 'A');
        loop_free_later(loop, &node->slot, node_release, node);
    }
}

TEST(free_later_keeps_its_order_and_includes_what_a_release_hands_in)
{
    struct loop *loop = loop_new_virtual(0);
    struct trace trace = {0};
    free_three(loop, &trace);
    CHECK_STR(trace.text, "");
    CHECK(loop_turn(loop, false));
    CHECK_STR(trace.text, "abcA");
    free_three(loop, &trace); /* the queue is whole again */
    CHECK(loop_turn(loop, false));
    CHECK_STR(trace.text, "abcAabcA");
    loop_free(loop);
}

TEST(what_was_asked_for_between_turns_keeps_the_next_one_awake)
{
    struct loop *loop = loop_new();
    struct trace trace = {0};
    free_three(loop, &trace);
    loop_turn(loop, true); /* would sleep for ever */
    CHECK_STR(trace.text, "abcA");
    loop_free(loop);
}

TEST(loop_free_releases_what_still_waits)
{
    struct loop *loop = loop_new();
    struct trace trace = {0};
    free_three(loop, &trace);
    loop_free(loop);
    CHECK_STR(trace.text, "abcA");
}

static void on_closed_handle(uv_handle_t *handle)
{
    struct node *node = handle->data;
    loop_free_later(node->loop, &node->slot, node_release, node);
}

TEST(loop_free_closes_open_handles_and_waits_for_close_callbacks)
{
    struct loop *loop = loop_new();
    struct trace trace = {0};
    uv_timer_t left_open, closing;
    CHECK_EQ(uv_timer_init(loop_uv(loop), &left_open), 0);
    CHECK_EQ(uv_timer_init(loop_uv(loop), &closing), 0);
    closing.data = node_new(loop, &trace, 'z');
    uv_close((uv_handle_t *)&closing, on_closed_handle);
    loop_free(loop);
    CHECK_STR(trace.text, "z");
    loop_free(NULL);
}

/* --- the clock --- */

struct clock_reader {
    struct loop *loop;
    uint64_t first_us, second_us, hook_us;
    int hooks;
};

static void read_twice(void *ctx)
{
    struct clock_reader *reader = ctx;
    reader->first_us = loop_now_us(reader->loop);
    uint64_t moved = clock_monotonic_us() + 50;
    while (clock_monotonic_us() < moved)
        ; /* 50 us */
    reader->second_us = loop_now_us(reader->loop);
}

TEST(time_stands_still_within_a_turn_and_moves_between_turns)
{
    struct clock_reader reader = {.loop = loop_new()};
    struct deferred deferred;
    deferred_init(&deferred, read_twice, &reader);
    uint64_t before_us = loop_now_us(reader.loop);
    loop_defer(reader.loop, &deferred);
    loop_turn(reader.loop, false);
    CHECK(reader.first_us >= before_us);
    CHECK_EQ(reader.second_us, reader.first_us);
    CHECK(loop_now_us(reader.loop) >= reader.first_us + 50);
    loop_free(reader.loop);
}

static void ask_before_poll(uv_prepare_t *hook)
{
    struct clock_reader *reader = hook->data;
    reader->hook_us = loop_now_us(reader->loop);
    reader->hooks++;
}

static void ask_after_poll(uv_timer_t *timer)
{
    struct clock_reader *reader = timer->data;
    reader->first_us = loop_now_us(reader->loop);
}

/* Holds libuv to the order of prepare hooks that loop.c relies on. */
TEST(io_callbacks_see_the_time_after_the_sleep_even_if_a_hook_asked_before_it)
{
    struct clock_reader reader = {.loop = loop_new()};
    uv_prepare_t hook;
    uv_timer_t timer;
    CHECK_EQ(uv_prepare_init(loop_uv(reader.loop), &hook), 0);
    CHECK_EQ(uv_timer_init(loop_uv(reader.loop), &timer), 0);
    hook.data = timer.data = &reader;
    CHECK_EQ(uv_prepare_start(&hook, ask_before_poll), 0);
    uv_update_time(loop_uv(reader.loop));
    CHECK_EQ(uv_timer_start(&timer, ask_after_poll, 5, 0), 0);
    while (reader.first_us == 0)
        loop_turn(reader.loop, true);
    CHECK_EQ(reader.hooks, 1); /* one turn: slept, then called */
    CHECK(reader.first_us >= reader.hook_us + 1000);
    loop_free(reader.loop);
}

struct meddler {
    struct rig *rig;
    void (*meddle)(struct rig *rig);
};

static void defer_it(struct rig *rig)
{
    loop_defer(rig->loop, &rig->deferred);
}

static void flush_it(struct rig *rig)
{
    loop_before_sleep(rig->loop, &rig->flush);
}

static void arm_it(struct rig *rig)
{
    deadline_after(&rig->deadline, 0);
}

static void post_it(struct rig *rig)
{
    struct mail *mail = &rig->mail;
    CHECK_OK(mailbox_post(rig->mailbox, &mail));
}

static void meddle_once(uv_prepare_t *hook)
{
    struct meddler *meddler = hook->data;
    if (meddler->meddle)
        meddler->meddle(meddler->rig);
    meddler->meddle = NULL;
}

/* A bus drains its socket in such a hook, after the turn has been found free to sleep. */
TEST(what_a_hook_asks_for_right_before_the_sleep_prevents_it)
{
    void (*const meddles[])(struct rig *) = {defer_it, flush_it, arm_it, post_it};
    for (size_t i = 0; i < ARRAY_COUNT(meddles); i++) {
        struct rig rig;
        uv_prepare_t hook;
        rig_open(&rig, loop_new());
        struct meddler meddler = {&rig, meddles[i]};
        CHECK_EQ(uv_prepare_init(loop_uv(rig.loop), &hook), 0);
        hook.data = &meddler;
        CHECK_EQ(uv_prepare_start(&hook, meddle_once), 0);
        while (rig.trace.len == 0)
            loop_turn(rig.loop, true); /* hangs if it sleeps */
        rig_close(&rig);
    }
}

/* --- running and stopping --- */

TEST(stop_before_run_is_not_lost_and_is_used_up)
{
    struct loop *loop = loop_new();
    struct rig rig;
    rig_open(&rig, loop);
    loop_stop(loop);
    loop_defer(loop, &rig.deferred);
    loop_run(loop); /* hangs if the stop was lost */
    CHECK_STR(rig.trace.text, "l");
    rig_close(&rig);
}

enum { STOP_ROUNDS = 300 };

struct stopper {
    struct loop *loop;
    struct chan *go;
};

static void stop_when_told(void *ctx)
{
    struct stopper *stopper = ctx;
    for (int round = 0; round < STOP_ROUNDS; round++) {
        (void)chan_take(stopper->go, UINT64_MAX); /* the mail is on the other thread's stack */
        loop_stop(stopper->loop);
    }
}

/* The other thread's stop comes before, in, or after the sleep: whichever, each run ends. */
TEST(every_stop_from_another_thread_ends_one_run)
{
    struct stopper stopper = {.loop = loop_new(), .go = chan_new(1)};
    struct thread *thread;
    CHECK_OK(thread_start("stopper", stop_when_told, &stopper, &thread));
    for (int round = 0; round < STOP_ROUNDS; round++) {
        struct mail mail, *go = &mail;
        CHECK_OK(chan_post(stopper.go, &go));
        loop_run(stopper.loop); /* hangs if its stop was lost */
    }
    thread_join(&thread);
    chan_free(stopper.go);
    loop_free(stopper.loop);
}

/* --- what must not be done --- */

static bool aborts(void (*misuse)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = {0};
        (void)setrlimit(RLIMIT_CORE, &no_core); /* only to save time */
        (void)freopen("/dev/null", "w", stderr);
        misuse();
        _exit(0);
    }
    return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

static void take_a_turn(void *ctx)
{
    loop_turn(ctx, false);
}

static void turn_in_a_turn(void)
{
    struct loop *loop = loop_new_virtual(0);
    struct deferred deferred;
    deferred_init(&deferred, take_a_turn, loop);
    loop_defer(loop, &deferred);
    loop_turn(loop, false);
}

static void free_with_an_armed_deadline(void)
{
    struct loop *loop = loop_new_virtual(0);
    struct deadline deadline;
    deadline_init(&deadline, loop, take_a_turn, loop);
    deadline_after(&deadline, 1000);
    loop_free(loop);
}

static void free_with_an_open_mailbox(void)
{
    struct loop *loop = loop_new_virtual(0);
    mailbox_new(loop, 1, on_mail, NULL);
    loop_free(loop);
}

static void advance_a_real_loop(void)
{
    loop_advance(loop_new(), 1);
}

static void skip_on_a_real_loop(void)
{
    loop_skip(loop_new(), 1);
}

static void next_of_a_real_loop(void)
{
    (void)loop_next_us(loop_new()); /* it aborts */
}

static void run_a_virtual_loop(void)
{
    loop_run(loop_new_virtual(0));
}

static void advance_over_an_endless_chain(void)
{
    struct again again = {.loop = loop_new_virtual(0), .schedule = loop_defer};
    deferred_init(&again.deferred, run_again, &again);
    loop_defer(again.loop, &again.deferred);
    loop_advance(again.loop, 1);
}

static void count_fire(void *ctx)
{
    ++*(int *)ctx;
}

TEST(a_virtual_loop_says_when_it_has_to_run_next)
{
    struct loop *loop = loop_new_virtual(1000);
    struct deadline deadline;
    int fired = 0, turns = 0;
    CHECK(loop_next_us(loop) == UINT64_MAX);
    deadline_init(&deadline, loop, count_fire, &fired);
    deadline_after(&deadline, 123456);
    for (; fired == 0 && turns < 10; turns++) { /* a few times on the way */
        uint64_t next_us = loop_next_us(loop);
        CHECK(next_us > loop_now_us(loop) && next_us <= 124456);
        loop_skip(loop, next_us - loop_now_us(loop));
        while (loop_turn(loop, false))
            continue;
    }
    CHECK_EQ(fired, 1);
    CHECK_EQ(loop_now_us(loop), 124456);
    CHECK(loop_next_us(loop) == UINT64_MAX);
    loop_free(loop);
}

TEST(misuse_aborts)
{
    CHECK(aborts(turn_in_a_turn));
    CHECK(aborts(free_with_an_armed_deadline));
    CHECK(aborts(free_with_an_open_mailbox));
    CHECK(aborts(advance_a_real_loop));
    CHECK(aborts(skip_on_a_real_loop));
    CHECK(aborts(next_of_a_real_loop));
    CHECK(aborts(run_a_virtual_loop));
    CHECK(aborts(advance_over_an_endless_chain));
}
