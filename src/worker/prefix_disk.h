/* prefix_disk - the blobs of a prefix tree on disk, by a thread of its own: the engine thread gives
 * what it saved and asks for what it wants back, and waits for neither. The files are those of
 * prefix_spill.h.
 *
 * 1. What is written is the tree's own blob, borrowed as long as that takes. Who lets go of one
 *    asks prefix_disk_let_go() first.
 * 2. At most PREFIX_DISK_WRITES_MAX blobs wait to be written, and beside a single one no more than
 *    PREFIX_DISK_WAITING_BYTES_MAX; what is beyond is dropped, and counted. What waits at the end
 *    is still written.
 * 3. One blob is fetched at a time, and waited for no longer than patience_us: then the prompt is
 *    computed, and what comes later serves the next one.
 * 4. A disk that is full, or gone, costs what is not kept: each failure is counted, the first one
 * is a line in the log.
 * 5. A file is only of use to who has the secret that lies beside it, with the same key and an
 *    engine that says the same of itself: others take it for damaged, and remove it.
 *
 * One thread's, the engine's. Opening reads the head of each file. */
#pragma once

#include "worker/prefix_spill.h"

enum {
    PREFIX_DISK_WRITES_MAX = 16,
    PREFIX_DISK_WAITING_BYTES_MAX = 256 << 20,
    PREFIX_DISK_PATIENCE_US = 2000000,
    PREFIX_DISK_FILES_MAX = 1024
};

struct prefix_disk_options {
    const char *folder;   /* its parent exists */
    uint64_t bytes_max;   /* of all files; 0: nothing is kept on disk */
    uint64_t patience_us; /* 0: PREFIX_DISK_PATIENCE_US */
    const char *key; /* all that blobs depend on but what the engine says: the model's file.. */
};

struct prefix_disk;
/* Copies what it needs. ERR_SYSTEM: no folder, no secret, no thread (note). */
MUST_USE enum err prefix_disk_open(const struct prefix_disk_options *options,
                                   const struct engine_info *info, struct prefix_disk **out_disk,
                                   struct err_note *out_note, prefix_spill_found_fn *on_found,
                                   void *ctx);
void prefix_disk_close(struct prefix_disk *disk); /* waits for rule 2; NULL is fine */

/* A blob that the tree has now: it is written, or dropped (rule 2). */
void prefix_disk_write(struct prefix_disk *disk, uint64_t scope, const token_id *ids,
                       uint32_t count, void *blob, size_t bytes);
/* prefix_spill_fn: what is under way is taken over, and is (or is believed to be) on disk then. */
bool prefix_disk_let_go(void *disk, uint64_t scope, const token_id *ids, uint32_t count,
                        void **blob, size_t bytes);
/* True: it is worth waiting for the next news, and asking again then. Else it does not come. While
 * another is under way nobody looks at the ids. */
bool prefix_disk_fetch(struct prefix_disk *disk, uint64_t scope, const token_id *ids,
                       uint32_t count);
bool prefix_disk_is_fetching(const struct prefix_disk *disk);

struct prefix_disk_news {
    bool is_fetch, is_ok; /* of a fetch: not OK says that it is not there (any more) */
    uint64_t scope;
    const token_id *ids; /* until the next call */
    uint32_t count;
    void *blob; /* of a fetch that is OK: the caller's to mem_free() */
    size_t bytes;
    uint64_t spent_us;
};
/* False: nothing came within timeout_us. */
bool prefix_disk_take(struct prefix_disk *disk, uint64_t timeout_us,
                      struct prefix_disk_news *out_news);

struct prefix_disk_counts {
    uint64_t bytes; /* of files, as of the last news */
    uint64_t written, fetched, dropped, failed, removed_bad;
};
struct prefix_disk_counts prefix_disk_counts(const struct prefix_disk *disk);
