/* buf - a queue of bytes in fixed chunks, with a cap.
 * 1. Never holds more than max_bytes: an append that would cross it takes nothing (ERR_FULL).
 * 2. Costs no memory while empty.
 * 3. Bytes do not move: slices from buf_front()/buf_iov() stay valid until they are consumed.
 * 4. Chunks that are not at an end of the queue are on average at least a quarter full, so the
 *    memory held stays within four times the bytes held, plus two chunks.
 * Belongs to one thread. */
#pragma once

#include "base/slice.h"

#include <sys/uio.h>

enum { BUF_CHUNK_BYTES = 4096 };

struct buf {
    struct buf_chunk *first, *last;
    size_t len; /* bytes held */
    size_t max_bytes;
};

void buf_init(struct buf *buf, size_t max_bytes);
void buf_fini(struct buf *buf); /* releases everything; the buf is empty and usable after */

/* Copies, all or nothing. ERR_FULL: rule 1 (also when the allocation fails). */
MUST_USE enum err buf_append(struct buf *buf, struct slice bytes);

/* The longest run at the front that lies in one piece; empty when the buf is. */
struct slice buf_front(const struct buf *buf);
/* Up to iov_max pieces from the front; returns how many were filled. */
int buf_iov(const struct buf *buf, struct iovec *out_iov, int iov_max);
/* Drops `bytes` from the front; ASSERTs that they are there. */
void buf_consume(struct buf *buf, size_t bytes);
/* Copies up to `len` bytes from the front without consuming; returns how many. */
size_t buf_peek(const struct buf *buf, void *out_bytes, size_t len);
/* Moves everything of `from` behind what `to` holds, without copying unless it is less than half a
 * chunk (rule 4): slices of `from` end here. ERR_FULL: `to` would cross its cap; nothing moved. */
MUST_USE enum err buf_move(struct buf *to, struct buf *from);
