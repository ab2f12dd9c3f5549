/* mailbox_test - bounds, order, closing, and several threads at the door of a loop. */
#include "loop/mailbox.h"

#include "loop/thread.h"
#include "testing/test.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

struct letter {
    struct mail mail; /* first: a mail is its letter */
    int producer, number;
};

struct reader {
    struct loop *loop;
    struct mailbox *mailbox;
    int count, dropped;
    int last;     /* number of the last one delivered or dropped */
    int close_at; /* close after this many; 0: never */
    struct letter *repost;
    int reposts_taken;
};

static void on_drop(void *ctx, struct mail *mail)
{
    struct reader *reader = ctx;
    int number = ((struct letter *)mail)->number;
    CHECK_EQ(number, reader->last + 1); /* what is dropped goes on where delivery stopped */
    reader->last = number;
    reader->dropped++;
}

static void reader_close(struct reader *reader)
{
    mailbox_close(reader->mailbox, on_drop, reader);
    mailbox_unref(reader->mailbox);
}

static void on_mail(void *ctx, struct mail *mail)
{
    struct reader *reader = ctx;
    struct letter *letter = (struct letter *)mail;
    CHECK_EQ(letter->number, reader->last + 1);
    reader->last = letter->number;
    if (++reader->count == reader->close_at)
        reader_close(reader);
}

static void reader_open(struct reader *reader, struct loop *loop, size_t max_mails)
{
    *reader = (struct reader){.loop = loop, .last = -1};
    reader->mailbox = mailbox_new(loop, max_mails, on_mail, reader);
}

static void post_numbers(struct mailbox *mailbox, struct letter *letters, int first, int count)
{
    for (int i = 0; i < count; i++) {
        letters[i].number = first + i;
        struct mail *mail = &letters[i].mail;
        CHECK_OK(mailbox_post(mailbox, &mail));
        CHECK(mail == NULL); /* taken */
    }
}

TEST(the_bound_holds_at_n_and_refuses_n_plus_1)
{
    struct reader reader;
    struct letter letters[4], extra;
    struct mail *mail = &extra.mail;
    reader_open(&reader, loop_new_virtual(0), 3);
    post_numbers(reader.mailbox, letters, 0, 3);
    CHECK_ERR(mailbox_post(reader.mailbox, &mail), ERR_FULL);
    CHECK(mail == &extra.mail); /* the sender keeps it */
    CHECK(loop_turn(reader.loop, false));
    CHECK_EQ(reader.count, 3);
    post_numbers(reader.mailbox, letters, 3, 3); /* room for N again */
    CHECK_ERR(mailbox_post(reader.mailbox, &mail), ERR_FULL);
    loop_advance(reader.loop, 0);
    CHECK_EQ(reader.count, 6);
    reader_close(&reader);
    loop_free(reader.loop);
}

TEST(a_mailbox_for_no_mails_refuses_all)
{
    struct reader reader;
    struct letter letter;
    struct mail *mail = &letter.mail;
    reader_open(&reader, loop_new_virtual(0), 0);
    CHECK_ERR(mailbox_post(reader.mailbox, &mail), ERR_FULL);
    reader_close(&reader);
    loop_free(reader.loop);
}

/* Posts as many as are let in, each time that one is delivered. */
struct refiller {
    struct mailbox *mailbox;
    struct letter spare[4];
    int spares, delivered;
};

static void refill(void *ctx, struct mail *mail)
{
    struct refiller *refiller = ctx;
    (void)mail; /* static, or a spare */
    refiller->delivered++;
    int taken = 0;
    while (refiller->spares > 0) {
        struct mail *spare = &refiller->spare[refiller->spares - 1].mail;
        if (mailbox_post(refiller->mailbox, &spare) != ERR_OK)
            break;
        refiller->spares--;
        taken++;
    }
    CHECK(taken <= 1); /* one left, one came: mails taken in hand but not delivered still count */
}

TEST(room_comes_back_mail_by_mail)
{
    struct loop *loop = loop_new_virtual(0);
    struct refiller refiller = {.spares = 4};
    struct letter letters[3];
    refiller.mailbox = mailbox_new(loop, 3, refill, &refiller);
    post_numbers(refiller.mailbox, letters, 0, 3);
    loop_advance(loop, 0);
    CHECK_EQ(refiller.delivered, 7);
    CHECK_EQ(refiller.spares, 0);
    mailbox_close(refiller.mailbox, NULL, NULL);
    mailbox_unref(refiller.mailbox);
    loop_free(loop);
}

TEST(at_most_256_are_delivered_in_a_turn)
{
    static struct letter letters[600];
    struct reader reader;
    reader_open(&reader, loop_new_virtual(0), 600);
    post_numbers(reader.mailbox, letters, 0, 600);
    CHECK(loop_turn(reader.loop, false));
    CHECK_EQ(reader.count, 256);
    post_numbers(reader.mailbox, letters, 600, 256); /* 344 wait: the bound has room for 256 */
    CHECK(loop_turn(reader.loop, false));
    CHECK_EQ(reader.count, 512);
    CHECK(loop_turn(reader.loop, false));
    CHECK_EQ(reader.count, 768);
    loop_advance(reader.loop, 0);
    CHECK_EQ(reader.count, 856);
    reader_close(&reader);
    loop_free(reader.loop);
}

static void post_again(void *ctx, struct mail *mail)
{
    struct reader *reader = ctx;
    reader->count++;
    CHECK_OK(mailbox_post(reader->mailbox, &mail));
}

static void no_drop(void *ctx, struct mail *mail)
{
    (void)mail;
    ++*(int *)ctx;
}

TEST(a_mail_that_posts_itself_does_not_hold_the_turn)
{
    struct reader reader = {.loop = loop_new()};
    struct letter letter;
    int dropped = 0;
    reader.mailbox = mailbox_new(reader.loop, 1, post_again, &reader);
    post_numbers(reader.mailbox, &letter, 0, 1);
    loop_turn(reader.loop, true);
    CHECK_EQ(reader.count, 256);
    loop_turn(reader.loop, true); /* a mail waits: no sleep */
    CHECK_EQ(reader.count, 512);
    mailbox_close(reader.mailbox, no_drop, &dropped);
    CHECK_EQ(dropped, 1);
    mailbox_unref(reader.mailbox);
    loop_free(reader.loop);
}

TEST(closing_gives_what_waits_to_drop_at_once_and_refuses_the_rest)
{
    struct reader reader;
    struct letter letters[5];
    reader_open(&reader, loop_new_virtual(0), 8);
    struct mailbox *producers = mailbox_ref(reader.mailbox);
    post_numbers(reader.mailbox, letters, 0, 4);
    reader_close(&reader);
    CHECK_EQ(reader.count, 0);
    CHECK_EQ(reader.dropped, 4);
    loop_free(reader.loop); /* the producer's pointer outlives the loop */
    struct mail *mail = &letters[4].mail;
    CHECK_ERR(mailbox_post(producers, &mail), ERR_CLOSED);
    CHECK(mail == &letters[4].mail);
    mailbox_unref(producers);
    mailbox_unref(NULL);
}

TEST(closing_from_inside_a_delivery_drops_the_rest_in_order)
{
    static struct letter letters[300];
    for (int close_at = 1; close_at <= 300; close_at += 23) {
        struct reader reader;
        reader_open(&reader, loop_new_virtual(0), 300);
        reader.close_at = close_at;
        post_numbers(reader.mailbox, letters, 0, 300);
        loop_advance(reader.loop, 0);
        CHECK_EQ(reader.count, close_at);
        CHECK_EQ(reader.dropped, 300 - close_at);
        loop_free(reader.loop);
    }
}

struct neighbours {
    struct loop *loop;
    struct mailbox *closer, *other, *fresh;
    struct letter letter;
    int fresh_count, dropped;
};

static void count_fresh(void *ctx, struct mail *mail)
{
    (void)mail; /* lives in the struct */
    ((struct neighbours *)ctx)->fresh_count++;
}

static void replace_other(void *ctx, struct mail *mail)
{
    struct neighbours *neighbours = ctx;
    (void)mail; /* on the test's stack */
    mailbox_close(neighbours->other, no_drop, &neighbours->dropped);
    mailbox_unref(neighbours->other);
    neighbours->fresh = mailbox_new(neighbours->loop, 1, count_fresh, neighbours);
    post_numbers(neighbours->fresh, &neighbours->letter, 0, 1);
}

TEST(a_callback_may_close_the_next_mailbox_and_open_another)
{
    struct neighbours neighbours = {.loop = loop_new_virtual(0)};
    struct letter letters[2];
    neighbours.closer = mailbox_new(neighbours.loop, 1, replace_other, &neighbours);
    neighbours.other = mailbox_new(neighbours.loop, 1, count_fresh, &neighbours);
    post_numbers(neighbours.closer, &letters[0], 0, 1);
    post_numbers(neighbours.other, &letters[1], 0, 1);
    loop_advance(neighbours.loop, 0);
    CHECK_EQ(neighbours.dropped, 1);
    CHECK_EQ(neighbours.fresh_count, 1);
    mailbox_close(neighbours.closer, NULL, NULL);
    mailbox_unref(neighbours.closer);
    mailbox_close(neighbours.fresh, NULL, NULL);
    mailbox_unref(neighbours.fresh);
    loop_free(neighbours.loop);
}

static bool was_woken(struct loop *loop) /* a wake-up is a byte in libuv's event descriptor */
{
    struct pollfd kernel = {.fd = uv_backend_fd(loop_uv(loop)), .events = POLLIN};
    return poll(&kernel, 1, 0) > 0;
}

TEST(a_post_makes_no_system_call_while_the_loop_is_awake)
{
    struct reader reader;
    struct letter letter;
    reader_open(&reader, loop_new(), 4);
    loop_turn(reader.loop, false); /* libuv watches its descriptor from the first turn on */
    post_numbers(reader.mailbox, &letter, 0, 1);
    CHECK(!was_woken(reader.loop));
    loop_turn(reader.loop, true); /* looks before it sleeps */
    CHECK_EQ(reader.count, 1);
    loop_stop(reader.loop);
    CHECK(!was_woken(reader.loop));
    loop_run(reader.loop);
    reader_close(&reader);
    loop_free(reader.loop);
}

/* --- threads --- */

enum { PRODUCERS = 4, LETTERS = 4000, SMALL_BOX = 64 };

struct office {
    struct loop *loop;
    struct mailbox *mailbox;
    int last[PRODUCERS]; /* the number last seen of each, delivered or dropped */
    int delivered, dropped, close_at;
    bool is_lent; /* its producers take turns of it */
    atomic_int refused;
    struct letter letters[PRODUCERS][LETTERS];
};

struct producer {
    struct office *office;
    int index;
};

static void see(struct office *office, struct mail *mail)
{
    struct letter *letter = (struct letter *)mail;
    CHECK_EQ(letter->number, office->last[letter->producer] + 1); /* in order, none lost */
    office->last[letter->producer] = letter->number;
}

static void on_office_drop(void *ctx, struct mail *mail)
{
    struct office *office = ctx;
    see(office, mail);
    office->dropped++;
}

static void on_office_mail(void *ctx, struct mail *mail)
{
    struct office *office = ctx;
    see(office, mail);
    if (++office->delivered == office->close_at) {
        mailbox_close(office->mailbox, on_office_drop, office);
        loop_stop(office->loop);
    }
}

static void produce(void *ctx)
{
    struct producer *producer = ctx;
    struct office *office = producer->office;
    for (int i = 0; i < LETTERS; i++) {
        struct letter *letter = &office->letters[producer->index][i];
        struct mail *mail = &letter->mail;
        letter->producer = producer->index;
        letter->number = i;
        enum err err;
        bool turns =
            office->is_lent && i % 3 != 0; /* each kind of post finds the other under way */
        while ((err = turns ? mailbox_post_and_turn(office->mailbox, &mail)
                            : mailbox_post(office->mailbox, &mail)) == ERR_FULL)
            sched_yield();
        if (err == ERR_CLOSED)
            atomic_fetch_add(&office->refused, 1);
    }
    mailbox_unref(office->mailbox);
}

static void run_office(struct office *office, int close_at, bool is_lent)
{
    struct producer producers[PRODUCERS];
    struct thread *threads[PRODUCERS];
    *office = (struct office){.loop = loop_new(), .close_at = close_at, .is_lent = is_lent};
    if (is_lent)
        loop_lend(office->loop);
    office->mailbox = mailbox_new(office->loop, SMALL_BOX, on_office_mail, office);
    for (int i = 0; i < PRODUCERS; i++) {
        office->last[i] = -1;
        producers[i] = (struct producer){office, i};
        mailbox_ref(office->mailbox);
        CHECK_OK(thread_start("producer", produce, &producers[i], &threads[i]));
    }
    loop_run(office->loop);
    if (!is_lent)
        loop_free(office->loop); /* while producers may still be posting */
    for (int i = 0; i < PRODUCERS; i++)
        thread_join(&threads[i]);
    if (is_lent)
        loop_free(office->loop);
    mailbox_unref(office->mailbox);
}

TEST(four_threads_lose_nothing_and_each_keeps_its_order)
{
    static struct office office;
    for (int is_lent = 0; is_lent <= 1; is_lent++) {
        run_office(&office, PRODUCERS * LETTERS, is_lent);
        CHECK_EQ(office.delivered, PRODUCERS * LETTERS);
        CHECK_EQ(office.dropped, 0);
        CHECK_EQ(office.refused, 0);
    }
}

TEST(closing_among_four_posting_threads_accounts_for_every_mail)
{
    static struct office office;
    for (int close_at = 1; close_at < PRODUCERS * LETTERS; close_at = close_at * 3 + 1) {
        run_office(&office, close_at, close_at % 2 == 0);
        CHECK_EQ(office.delivered, close_at);
        CHECK(office.dropped <= SMALL_BOX);
        CHECK_EQ(office.delivered + office.dropped + office.refused, PRODUCERS * LETTERS);
    }
}

/* --- a lent loop: its own thread runs it until it is stopped, the test's thread posts --- */

struct lent {
    struct loop *loop;
    struct mailbox *mailbox;
    struct thread *thread;
    struct letter letter;
    pthread_t poster;
    atomic_bool was_here;           /* the poster handled one */
    void (*ask)(struct lent *lent); /* for what only the loop's own thread can see */
    struct deadline deadline;
    uv_poll_t poll;
    int fds[2]; /* [0] can be read */
};

static void on_lent_mail(void *ctx, struct mail *mail)
{
    struct lent *lent = ctx;
    (void)mail; /* lives in it */
    if (!pthread_equal(pthread_self(), lent->poster) || atomic_load(&lent->was_here))
        return;
    lent->ask(lent);
    atomic_store(&lent->was_here, true);
}

static void on_lent_deadline(void *ctx)
{
    loop_stop(((struct lent *)ctx)->loop);
}

static void ask_for_deadline(struct lent *lent)
{
    deadline_after(&lent->deadline, 1000);
}

static void on_lent_socket(uv_poll_t *poll, int status, int events)
{
    struct lent *lent = poll->data;
    CHECK(status == 0 && events == UV_READABLE);
    CHECK(!pthread_equal(pthread_self(), lent->poster));
    loop_stop(lent->loop);
}

static void ask_for_socket(struct lent *lent)
{
    CHECK_EQ(uv_poll_start(&lent->poll, UV_READABLE, on_lent_socket), 0);
}

static void ask_to_stop(struct lent *lent)
{
    loop_stop(lent->loop);
}

static void run_lent(void *ctx)
{
    loop_run(((struct lent *)ctx)->loop);
}

static void lent_open(struct lent *lent, void (*ask)(struct lent *lent))
{
    *lent = (struct lent){.loop = loop_new(), .poster = pthread_self(), .ask = ask};
    lent->mailbox = mailbox_new(lent->loop, 1, on_lent_mail, lent);
    deadline_init(&lent->deadline, lent->loop, on_lent_deadline, lent);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, lent->fds), 0);
    CHECK_EQ(uv_poll_init(loop_uv(lent->loop), &lent->poll, lent->fds[0]), 0);
    CHECK_EQ(write(lent->fds[1], "x", 1), 1);
    lent->poll.data = lent;
    loop_lend(lent->loop);
    CHECK_OK(thread_start("lender", run_lent, lent, &lent->thread));
}

static void lent_close(struct lent *lent)
{
    int dropped = 0;
    thread_join(&lent->thread);
    mailbox_close(lent->mailbox, no_drop, &dropped);
    mailbox_unref(lent->mailbox);
    uv_close((uv_handle_t *)&lent->poll, NULL);
    loop_free(lent->loop);
    close(lent->fds[0]);
    close(lent->fds[1]);
}

/* As long as the loop is awake, its own thread handles them. */
static void post_until_handled_here(struct lent *lent)
{
    while (!atomic_load(&lent->was_here)) {
        struct mail *mail = &lent->letter.mail;
        enum err err = mailbox_post_and_turn(lent->mailbox, &mail);
        CHECK(err == ERR_OK || err == ERR_FULL);
    }
}

TEST(who_posts_to_a_lent_loop_that_sleeps_takes_its_turn_and_the_sleeper_sees_what_came_of_it)
{
    void (*const asks[])(struct lent *) = {ask_to_stop, ask_for_deadline, ask_for_socket};
    for (size_t i = 0; i < ARRAY_COUNT(asks); i++) {
        struct lent lent;
        lent_open(&lent, asks[i]);
        post_until_handled_here(&lent);
        lent_close(&lent); /* would hang if the loop slept on */
    }
}

TEST(a_lent_loop_that_is_awake_is_only_posted_to)
{
    struct reader reader;
    struct letter letter = {.number = 0};
    struct mail *mail = &letter.mail;
    reader_open(&reader, loop_new(), 4);
    loop_lend(reader.loop);
    loop_turn(reader.loop, false);
    CHECK_OK(mailbox_post_and_turn(reader.mailbox, &mail));
    CHECK(mail == NULL && reader.count == 0);
    CHECK(!was_woken(reader.loop));
    loop_turn(reader.loop, true);
    CHECK_EQ(reader.count, 1);
    reader_close(&reader);
    loop_free(reader.loop);
}

/* --- a loop that is lent in the middle of its I/O --- */

struct neighbour { /* posts, and takes the turn if it may */
    struct reader reader;
    struct letter letter;
};

static void post_as_neighbour(void *ctx)
{
    struct neighbour *neighbour = ctx;
    struct mail *mail = &neighbour->letter.mail;
    CHECK_OK(mailbox_post_and_turn(neighbour->reader.mailbox, &mail));
}

static void lend_and_wait(uv_poll_t *poll, int status, int events)
{
    struct neighbour *neighbour = poll->data;
    struct thread *thread;
    CHECK(status == 0 && events == UV_READABLE);
    loop_lend(neighbour->reader.loop);
    CHECK_OK(thread_start("neighbour", post_as_neighbour, neighbour, &thread));
    thread_join(&thread);
    CHECK_EQ(neighbour->reader.count, 0); /* the turn is ours */
    uv_poll_stop(poll);
}

TEST(a_loop_that_is_lent_by_an_io_callback_of_its_sleep_is_awake)
{
    static struct neighbour neighbour;
    struct loop *loop = loop_new();
    uv_poll_t poll;
    int fds[2];
    reader_open(&neighbour.reader, loop, 1);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    CHECK_EQ(uv_poll_init(loop_uv(loop), &poll, fds[0]), 0);
    CHECK_EQ(uv_poll_start(&poll, UV_READABLE, lend_and_wait), 0);
    poll.data = &neighbour;
    loop_turn(loop, true);
    CHECK_EQ(neighbour.reader.count, 1);
    reader_close(&neighbour.reader);
    uv_close((uv_handle_t *)&poll, NULL);
    loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}
