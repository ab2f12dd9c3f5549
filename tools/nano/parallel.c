/* parallel - pieces of work on a few threads. */
#include "nano/parallel.h"

#include "base/err.h"

#include <pthread.h>

struct share {
    unsigned thread, threads;
    size_t pieces;
    parallel_fn *work;
    void *ctx;
};

static void *run_share(void *arg)
{
    const struct share *share = arg;
    for (size_t piece = share->thread; piece < share->pieces; piece += share->threads)
        share->work(share->ctx, share->thread, piece);
    return NULL;
}

void parallel_run(unsigned threads, size_t pieces, parallel_fn *work, void *ctx)
{
    ASSERT(threads >= 1 && threads <= PARALLEL_THREADS_MAX);
    struct share shares[PARALLEL_THREADS_MAX];
    pthread_t ids[PARALLEL_THREADS_MAX];
    for (unsigned i = 0; i < threads; i++)
        shares[i] = (struct share){i, threads, pieces, work, ctx};
    for (unsigned i = 1; i < threads; i++) {
        int error = pthread_create(&ids[i], NULL, run_share, &shares[i]);
        ASSERT_MSG(error == 0, "no thread: error %d", error);
    }
    run_share(&shares[0]);
    for (unsigned i = 1; i < threads; i++)
        pthread_join(ids[i], NULL);
}
