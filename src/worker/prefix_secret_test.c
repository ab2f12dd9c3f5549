#include "loop/thread.h"
#include "testing/test.h"
#include "worker/prefix_secret.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { READERS = 4, ROUNDS = 300 };

static char folder[64], path[96];
static atomic_int arrived;

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/prefix_secret_test.XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/secret", folder);
}

static void remove_folder(void)
{
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(rmdir(folder), 0); /* nothing else was left there */
}

struct reader {
    struct thread *thread;
    enum err err;
    uint8_t secret[PREFIX_SECRET_BYTES];
};

static void read_it(void *ctx)
{
    struct reader *reader = ctx;
    for (atomic_fetch_add(&arrived, 1); atomic_load(&arrived) < READERS;)
        sched_yield();
    reader->err = prefix_secret_read(folder, reader->secret);
}

/* As workers of a model that are started together. */
TEST(who_comes_together_has_the_same_one)
{
    struct reader readers[READERS];
    for (int round = 0; round < ROUNDS; round++) {
        make_folder();
        atomic_store(&arrived, 0);
        for (int i = 0; i < READERS; i++)
            CHECK_OK(thread_start("reader", read_it, &readers[i], &readers[i].thread));
        for (int i = 0; i < READERS; i++)
            thread_join(&readers[i].thread);
        for (int i = 0; i < READERS; i++) {
            CHECK_OK(readers[i].err);
            CHECK(memcmp(readers[i].secret, readers[0].secret, PREFIX_SECRET_BYTES) == 0);
        }
        remove_folder();
    }
}

TEST(it_stays_and_a_torn_one_is_made_anew)
{
    uint8_t first[PREFIX_SECRET_BYTES], second[PREFIX_SECRET_BYTES];
    make_folder();
    CHECK_OK(prefix_secret_read(folder, first));
    CHECK_OK(prefix_secret_read(folder, second));
    CHECK(memcmp(first, second, sizeof(first)) == 0);
    CHECK_EQ(truncate(path, PREFIX_SECRET_BYTES - 1), 0);
    CHECK_OK(prefix_secret_read(folder, second));
    CHECK(memcmp(first, second, sizeof(first)) != 0);
    CHECK_OK(prefix_secret_read(folder, first));
    CHECK(memcmp(first, second, sizeof(first)) == 0);
    remove_folder();
    CHECK_ERR(prefix_secret_read(folder, first), ERR_SYSTEM);
}
