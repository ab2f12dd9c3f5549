/* prefix_spill - blobs of prefixes as files, so that they outlive memory, and the process.
 *
 * A file is one blob: NAME.kv, where NAME is 32 hex digits made of the fingerprint, the scope and
 * the ids. All numbers are little-endian.
 *
 *     offset   bytes  what
 *     0        8      "MILLKV2\n"
 *     8        32     fingerprint: which model, engine and geometry the blob is of
 *     40       4      n, how many ids: 1..ids_max
 *     44       4      0
 *     48       8      bytes of the blob: at least 1
 *     56       8      the scope: whose prompts may find it (prefix_tree.h rule 8)
 *     64       32     SHA-256 of the blob
 *     96       4 n    the ids, each 0..2^31 - 1
 *     96 + 4n  32     SHA-256 of everything before
 *     128 + 4n        the blob, to the end of the file
 *
 * 1. What a file says is believed only if all of it is so: of our form and fingerprint, whole, both
 *    sums right. The head is looked at when the folder is opened, the blob when it is asked for.
 * 2. A file that is not believed is removed, and so is, at a start, what a crash left half written
 *    (NAME.XXXXXXXXXXXXXXXX.part, locked by who writes it; NAME.kv.part of earlier versions). Only
 *    names of this form are touched or counted; links are not followed.
 * 3. A file appears whole, by rename(). It is not synced: after a power cut its sums tell, and it
 * was a copy of something that can be computed again.
 * 4. At most bytes_max bytes and files_max files: the one unused for longest makes room.
 * 5. A name tells nobody what was asked, who has not got the fingerprint: let it have a secret in
 * it.
 * 6. Another process in the same folder is harmless: files are equal if their names are, and one
 * that has gone is ERR_NOT_FOUND. Each holds the bounds for what it knows.
 *
 * Reads and writes megabytes: belongs to one thread at a time, never a loop's or the engine's. */
#pragma once

#include "base/sha256.h"
#include "engine/engine.h"

enum { PREFIX_SPILL_FIXED_BYTES = 96, PREFIX_SPILL_FILES_MAX = 4096 };

struct prefix_spill_options {
    const char *folder; /* its parent exists; made with mode 0700 */
    uint8_t fingerprint[SHA256_BYTES];
    uint64_t bytes_max;
    uint32_t files_max; /* 1..PREFIX_SPILL_FILES_MAX */
    uint32_t ids_max;   /* of one file: the context */
};

/* Of every file that is there: prefix_tree_on_disk(). Borrows ids. */
typedef void prefix_spill_found_fn(void *ctx, uint64_t scope, const token_id *ids, uint32_t count,
                                   uint64_t blob_bytes);

struct prefix_spill;
/* Copies options. ERR_SYSTEM: the folder cannot be made or read (note). */
MUST_USE enum err prefix_spill_open(const struct prefix_spill_options *options,
                                    struct prefix_spill **out_spill, struct err_note *out_note,
                                    prefix_spill_found_fn *on_found, void *ctx);
void prefix_spill_close(struct prefix_spill *spill); /* the files stay; NULL is fine */

/* One that is there already counts as used. ERR_FULL: larger than all may be; ERR_SYSTEM: it could
 * not be written (errno), and nothing of it is left. */
MUST_USE enum err prefix_spill_put(struct prefix_spill *spill, uint64_t scope, const token_id *ids,
                                   uint32_t count, struct slice blob);
/* Into memory (mem_free it). ERR_NOT_FOUND: none, or not any more; ERR_PROTOCOL: rule 1, it is
 * removed; ERR_FULL: no memory for it; ERR_SYSTEM: it cannot be read (errno). */
MUST_USE enum err prefix_spill_get(struct prefix_spill *spill, uint64_t scope, const token_id *ids,
                                   uint32_t count, void **out_blob, size_t *out_bytes);
void prefix_spill_remove(struct prefix_spill *spill, uint64_t scope, const token_id *ids,
                         uint32_t count);

struct prefix_spill_counts {
    uint64_t bytes;
    uint32_t files;
    uint64_t removed_bad, removed_old; /* since it was opened */
};
struct prefix_spill_counts prefix_spill_counts(const struct prefix_spill *spill);

/* --- the format, pure --- */

struct prefix_spill_head {
    uint64_t scope;
    uint32_t count;
    uint64_t blob_bytes;
    size_t head_bytes; /* where the blob begins */
    uint8_t blob_digest[SHA256_BYTES];
};

/* From the first PREFIX_SPILL_FIXED_BYTES bytes, or more, of a file of file_bytes: everything but
 * the ids and the sum of the head. ERR_PROTOCOL: rule 1. */
MUST_USE enum err prefix_spill_peek(struct slice start, uint64_t file_bytes,
                                    const struct prefix_spill_options *options,
                                    struct prefix_spill_head *out_head);
/* The whole head (head_bytes of it), of which peek() said yes: the ids, room for head->count. */
MUST_USE enum err prefix_spill_ids(struct slice whole, const struct prefix_spill_head *head,
                                   token_id *out_ids);
/* Writes a head of 128 + 4 * count bytes. */
void prefix_spill_write_head(const uint8_t fingerprint[SHA256_BYTES], uint64_t scope,
                             const token_id *ids, uint32_t count, struct slice blob,
                             uint8_t *out_head);
