/* prefix_disk - a thread that writes and reads files, and the jobs that go to it and come back. */
#include "worker/prefix_disk.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/mailbox.h"
#include "loop/thread.h"
#include "worker/prefix_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOBS_MAX = PREFIX_DISK_WRITES_MAX + 2 /* a fetch, and the stop */ };

enum job_kind { JOB_WRITE, JOB_FETCH, JOB_STOP };

/* Made by the engine thread; the disk's until it comes back with `done`. */
struct job {
    struct mail mail;
    struct list link; /* in disk->jobs; the engine thread's, as is_let_go */
    bool is_let_go;   /* the blob is ours to free */
    enum job_kind kind;
    uint64_t scope;
    uint32_t count;
    void *blob;
    size_t bytes;
    /* What became of it. */
    enum err err;
    uint64_t spent_us;
    struct prefix_spill_counts spill;
    token_id ids[];
};

struct prefix_disk {
    /* Both threads'. */
    struct chan *todo, *done;
    /* The engine thread's. */
    struct thread *thread;
    struct list jobs;  /* under way */
    struct job *told;  /* whose ids the caller has */
    struct job *fetch; /* NULL: none is under way */
    uint64_t fetch_us; /* since when it is */
    uint64_t patience_us;
    uint32_t writes; /* under way */
    size_t write_bytes;
    struct prefix_disk_counts counts;
    /* The disk's. */
    struct prefix_spill *spill;
    bool has_warned;
};

/* --- the disk's thread --- */

/* Rule 4. */
static void warn(struct prefix_disk *disk, const char *what, enum err err)
{
    int why = errno;
    if (disk->has_warned || err != ERR_SYSTEM)
        return;
    disk->has_warned = true;
    log_event(LOG_WARN, "prefix_disk_failed", "what=%s note=%s", what,
              log_quote(slice_str(strerror(why)), 200));
}

static void do_job(struct prefix_disk *disk, struct job *job)
{
    uint64_t begin_us = clock_monotonic_us();
    if (job->kind == JOB_WRITE) {
        job->err = prefix_spill_put(disk->spill, job->scope, job->ids, job->count,
                                    slice_of(job->blob, job->bytes));
        warn(disk, "write", job->err);
    } else {
        job->err = prefix_spill_get(disk->spill, job->scope, job->ids, job->count, &job->blob,
                                    &job->bytes);
        warn(disk, "read", job->err);
    }
    job->spent_us = clock_monotonic_us() - begin_us;
    job->spill = prefix_spill_counts(disk->spill);
}

static void run(void *ctx)
{
    struct prefix_disk *disk = ctx;
    for (;;) {
        struct mail *mail = chan_take(disk->todo, UINT64_MAX);
        struct job *job = CONTAINER_OF(mail, struct job, mail);
        bool is_stop = job->kind == JOB_STOP;
        if (!is_stop)
            do_job(disk, job);
        ASSERT(chan_post(disk->done, &mail) == ERR_OK); /* it has room for all there are */
        if (is_stop)
            return;
    }
}

/* --- jobs --- */

static struct job *job_new(struct prefix_disk *disk, enum job_kind kind, uint64_t scope,
                           const token_id *ids, uint32_t count)
{
    struct job *job = mem_alloc(sizeof(*job) + count * sizeof(*ids));
    job->kind = kind;
    job->scope = scope;
    job->count = count;
    if (count > 0)
        memcpy(job->ids, ids, count * sizeof(*ids));
    list_init(&job->link);
    list_push_back(&disk->jobs, &job->link);
    return job;
}

static void send(struct prefix_disk *disk, struct job *job)
{
    struct mail *mail = &job->mail;
    ASSERT(chan_post(disk->todo, &mail) == ERR_OK); /* rules 2 and 3: never more than JOBS_MAX */
}

static void job_free(struct job *job)
{
    if (!job)
        return;
    list_remove(&job->link);
    if (job->is_let_go)
        mem_free(job->blob);
    mem_free(job);
}

/* What came back is no longer under way. */
static void take_back(struct prefix_disk *disk, struct job *job)
{
    list_remove(&job->link);
    if (job->kind == JOB_STOP)
        return;
    disk->counts.bytes = job->spill.bytes;
    disk->counts.removed_bad = job->spill.removed_bad;
    disk->counts.failed += job->err == ERR_SYSTEM || job->err == ERR_PROTOCOL;
    if (job->kind == JOB_WRITE) {
        disk->writes--;
        disk->write_bytes -= job->bytes;
        disk->counts.written += job->err == ERR_OK;
    } else {
        disk->fetch = NULL;
        disk->counts.fetched += job->err == ERR_OK;
        job->is_let_go = job->err == ERR_OK; /* ours until somebody takes it */
    }
}

/* NULL: none came back within timeout_us. */
static struct job *wait_for_one(struct prefix_disk *disk, uint64_t timeout_us)
{
    struct mail *mail = chan_take(disk->done, timeout_us);
    if (!mail)
        return NULL;
    struct job *job = CONTAINER_OF(mail, struct job, mail);
    take_back(disk, job);
    return job;
}

static struct job *writes(const struct prefix_disk *disk, const void *blob)
{
    LIST_FOREACH (link, &disk->jobs) {
        struct job *job = CONTAINER_OF(link, struct job, link);
        if (job->kind == JOB_WRITE && job->blob == blob)
            return job;
    }
    return NULL;
}

void prefix_disk_write(struct prefix_disk *disk, uint64_t scope, const token_id *ids,
                       uint32_t count, void *blob, size_t bytes)
{
    bool is_too_much =
        disk->writes > 0 && bytes > PREFIX_DISK_WAITING_BYTES_MAX - disk->write_bytes;
    if (disk->writes == PREFIX_DISK_WRITES_MAX ||
        disk->write_bytes > PREFIX_DISK_WAITING_BYTES_MAX || is_too_much) {
        disk->counts.dropped++;
        return;
    }
    struct job *job = job_new(disk, JOB_WRITE, scope, ids, count);
    job->blob = blob;
    job->bytes = bytes;
    disk->writes++;
    disk->write_bytes += bytes;
    send(disk, job);
}

bool prefix_disk_let_go(void *ctx, uint64_t scope, const token_id *ids, uint32_t count, void **blob,
                        size_t bytes)
{
    (void)scope, (void)ids, (void)count, (void)bytes; /* the job has them */
    struct job *job = writes(ctx, *blob);
    if (!job)
        return false;
    job->is_let_go = true;
    *blob = NULL;
    return true;
}

bool prefix_disk_is_fetching(const struct prefix_disk *disk)
{
    return disk->fetch != NULL;
}

bool prefix_disk_fetch(struct prefix_disk *disk, uint64_t scope, const token_id *ids,
                       uint32_t count)
{
    uint64_t now_us = clock_monotonic_us();
    if (disk->fetch)
        return now_us - disk->fetch_us < disk->patience_us;
    disk->fetch = job_new(disk, JOB_FETCH, scope, ids, count);
    disk->fetch_us = now_us;
    send(disk, disk->fetch);
    return true;
}

bool prefix_disk_take(struct prefix_disk *disk, uint64_t timeout_us,
                      struct prefix_disk_news *out_news)
{
    job_free(disk->told);
    struct job *job = disk->told = wait_for_one(disk, timeout_us);
    if (!job)
        return false;
    bool is_fetch = job->kind == JOB_FETCH;
    *out_news = (struct prefix_disk_news){.is_fetch = is_fetch,
                                          .is_ok = job->err == ERR_OK,
                                          .scope = job->scope,
                                          .ids = job->ids,
                                          .count = job->count,
                                          .bytes = job->bytes,
                                          .spent_us = job->spent_us};
    if (is_fetch && job->err == ERR_OK) {
        out_news->blob = job->blob;
        job->is_let_go = false;
    }
    return true;
}

struct prefix_disk_counts prefix_disk_counts(const struct prefix_disk *disk)
{
    return disk->counts;
}

/* --- opening --- */

static void make_fingerprint(const uint8_t secret[PREFIX_SECRET_BYTES], const char *key,
                             const struct engine_info *info, uint8_t out_digest[SHA256_BYTES])
{
    struct text all;
    text_init(&all, 64 * 1024);
    text_add(&all, slice_of(secret, PREFIX_SECRET_BYTES));
    text_add_f(&all, "|%s|%s|%s|%s|%u|%llu|%llu|%d", key, info->kind,
               info->build ? info->build : "", info->description, info->vocab_size,
               (unsigned long long)info->weights_bytes,
               (unsigned long long)(info->kv_bytes / info->slots / info->context_tokens),
               info->single_rows_differ);
    sha256_of(text_slice(&all), out_digest);
    text_fini(&all);
}

static enum err open_spill(struct prefix_disk *disk, const struct prefix_disk_options *options,
                           const struct engine_info *info, struct err_note *out_note,
                           prefix_spill_found_fn *on_found, void *ctx)
{
    uint8_t secret[PREFIX_SECRET_BYTES];
    struct prefix_spill_options spill = {.folder = options->folder,
                                         .bytes_max = options->bytes_max,
                                         .files_max = PREFIX_DISK_FILES_MAX,
                                         .ids_max = info->context_tokens};
    if (mkdir(options->folder, 0700) != 0 && errno != EEXIST)
        return err_note_fail(out_note, ERR_SYSTEM, "cannot make the folder %s: %s", options->folder,
                             strerror(errno));
    if (prefix_secret_read(options->folder, secret) != ERR_OK)
        return err_note_fail(out_note, ERR_SYSTEM, "cannot make or read %s/secret: %s",
                             options->folder, strerror(errno));
    make_fingerprint(secret, options->key, info, spill.fingerprint);
    TRY(prefix_spill_open(&spill, &disk->spill, out_note, on_found, ctx));
    disk->counts.bytes = prefix_spill_counts(disk->spill).bytes;
    disk->counts.removed_bad = prefix_spill_counts(disk->spill).removed_bad;
    return ERR_OK;
}

enum err prefix_disk_open(const struct prefix_disk_options *options, const struct engine_info *info,
                          struct prefix_disk **out_disk, struct err_note *out_note,
                          prefix_spill_found_fn *on_found, void *ctx)
{
    struct prefix_disk *disk = mem_alloc(sizeof(*disk));
    disk->patience_us = options->patience_us ? options->patience_us : PREFIX_DISK_PATIENCE_US;
    list_init(&disk->jobs);
    disk->todo = chan_new(JOBS_MAX);
    disk->done = chan_new(JOBS_MAX);
    enum err err = open_spill(disk, options, info, out_note, on_found, ctx);
    if (err == ERR_OK && thread_start("prefix-disk", run, disk, &disk->thread) != ERR_OK)
        err = err_note_fail(out_note, ERR_SYSTEM, "no thread for the files of %s", options->folder);
    if (err != ERR_OK) {
        prefix_disk_close(disk);
        return err;
    }
    *out_disk = disk;
    return ERR_OK;
}

void prefix_disk_close(struct prefix_disk *disk)
{
    if (!disk)
        return;
    if (disk->thread)
        send(disk, job_new(disk, JOB_STOP, 0, NULL, 0));
    while (!list_is_empty(&disk->jobs))
        job_free(wait_for_one(disk, UINT64_MAX)); /* rule 2 */
    thread_join(&disk->thread);
    job_free(disk->told);
    prefix_spill_close(disk->spill);
    chan_free(disk->todo);
    chan_free(disk->done);
    mem_free(disk);
}
