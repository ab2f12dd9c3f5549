/* buf - a queue of bytes in fixed chunks. */
#include "base/buf.h"

#include "base/mem.h"

struct buf_chunk {
    struct buf_chunk *next;
    uint32_t begin, end; /* the bytes held are data[begin..end); never none (rule 2) */
    char data[BUF_CHUNK_BYTES];
};

static size_t chunk_len(const struct buf_chunk *chunk)
{
    return chunk->end - chunk->begin;
}

static void free_chunks(struct buf_chunk *chunk)
{
    while (chunk) {
        struct buf_chunk *next = chunk->next;
        mem_free(chunk);
        chunk = next;
    }
}

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = (struct buf){.max_bytes = max_bytes};
}

void buf_fini(struct buf *buf)
{
    free_chunks(buf->first);
    buf_init(buf, buf->max_bytes);
}

/* Fills what is left of the chunk; returns what did not fit. */
static struct slice chunk_fill(struct buf_chunk *chunk, struct slice bytes)
{
    struct slice part = slice_first(bytes, BUF_CHUNK_BYTES - chunk->end);
    memcpy(chunk->data + chunk->end, part.data, part.len);
    chunk->end += (uint32_t)part.len;
    return slice_after(bytes, part.len);
}

/* A chain holding `bytes` (not empty). False when memory is out: nothing is left behind. */
static bool chain_new(struct slice bytes, struct buf_chunk **out_first, struct buf_chunk **out_last)
{
    struct buf_chunk *first = NULL, *last = NULL, **link = &first;
    while (bytes.len) {
        struct buf_chunk *chunk = mem_peer_alloc(sizeof(*chunk));
        if (!chunk) {
            free_chunks(first);
            return false;
        }
        chunk->next = NULL;
        chunk->begin = chunk->end = 0;
        bytes = chunk_fill(chunk, bytes);
        *link = last = chunk;
        link = &chunk->next;
    }
    *out_first = first;
    *out_last = last;
    return true;
}

static void link_chain(struct buf *buf, struct buf_chunk *first, struct buf_chunk *last)
{
    if (buf->last)
        buf->last->next = first;
    else
        buf->first = first;
    buf->last = last;
}

enum err buf_append(struct buf *buf, struct slice bytes)
{
    if (bytes.len > buf->max_bytes - buf->len)
        return ERR_FULL;
    if (bytes.len == 0)
        return ERR_OK;
    size_t room = buf->last ? BUF_CHUNK_BYTES - buf->last->end : 0;
    struct slice rest = slice_after(bytes, room);
    if (rest.len) { /* first what may fail */
        struct buf_chunk *first, *last, *tail = buf->last;
        if (!chain_new(rest, &first, &last))
            return ERR_FULL;
        link_chain(buf, first, last);
        if (tail)
            (void)chunk_fill(tail, slice_first(bytes, room)); /* fits, that is how it was cut */
    } else {
        (void)chunk_fill(buf->last, bytes); /* likewise */
    }
    buf->len += bytes.len;
    return ERR_OK;
}

struct slice buf_front(const struct buf *buf)
{
    const struct buf_chunk *chunk = buf->first;
    return chunk ? slice_of(chunk->data + chunk->begin, chunk_len(chunk)) : (struct slice){0};
}

int buf_iov(const struct buf *buf, struct iovec *out_iov, int iov_max)
{
    int count = 0;
    for (struct buf_chunk *chunk = buf->first; chunk && count < iov_max; chunk = chunk->next)
        out_iov[count++] = (struct iovec){chunk->data + chunk->begin, chunk_len(chunk)};
    return count;
}

void buf_consume(struct buf *buf, size_t bytes)
{
    ASSERT_MSG(bytes <= buf->len, "%zu of %zu", bytes, buf->len);
    buf->len -= bytes;
    while (bytes) {
        struct buf_chunk *chunk = buf->first;
        if (bytes < chunk_len(chunk)) {
            chunk->begin += (uint32_t)bytes;
            return;
        }
        bytes -= chunk_len(chunk);
        buf->first = chunk->next;
        mem_free(chunk);
    }
    if (!buf->first)
        buf->last = NULL;
}

size_t buf_peek(const struct buf *buf, void *out_bytes, size_t len)
{
    size_t copied = 0;
    for (struct buf_chunk *chunk = buf->first; chunk && copied < len; chunk = chunk->next) {
        size_t part = chunk_len(chunk) < len - copied ? chunk_len(chunk) : len - copied;
        memcpy((char *)out_bytes + copied, chunk->data + chunk->begin, part);
        copied += part;
    }
    return copied;
}

enum err buf_move(struct buf *to, struct buf *from)
{
    if (from->len > to->max_bytes - to->len)
        return ERR_FULL;
    /* A chunk is moved only if it is worth its memory (rule 4). */
    if (from->len <= BUF_CHUNK_BYTES / 2) {
        char bytes[BUF_CHUNK_BYTES / 2];
        TRY(buf_append(to, slice_of(bytes, buf_peek(from, bytes, sizeof(bytes)))));
        buf_fini(from);
        return ERR_OK;
    }
    link_chain(to, from->first, from->last);
    to->len += from->len;
    buf_init(from, from->max_bytes);
    return ERR_OK;
}
