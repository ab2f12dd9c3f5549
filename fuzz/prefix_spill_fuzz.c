/* prefix_spill_fuzz - a spilled file from anywhere: what is believed of it is within its bounds,
 * and is what we would have written. The sums are mended first in every other run: else no input
 * but our own would come past them. */
#include "base/mem.h"
#include "worker/prefix_spill.h"

enum { IDS_MAX = 64, BYTES_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct slice file, const struct prefix_spill_options *options)
{
    struct prefix_spill_head head;
    token_id ids[IDS_MAX];
    struct slice start = slice_first(file, PREFIX_SPILL_FIXED_BYTES);
    if (prefix_spill_peek(start, file.len, options, &head) != ERR_OK)
        return;
    ASSERT(head.count >= 1 && head.count <= IDS_MAX && file.len <= BYTES_MAX);
    ASSERT(head.head_bytes + head.blob_bytes == file.len);
    struct slice whole = slice_first(file, head.head_bytes), blob = slice_after(file, whole.len);
    ASSERT(prefix_spill_ids(slice_first(whole, whole.len - 1), &head, ids) == ERR_PROTOCOL);
    if (prefix_spill_ids(whole, &head, ids) != ERR_OK)
        return;
    for (uint32_t i = 0; i < head.count; i++)
        ASSERT(ids[i] >= 0);
    uint8_t digest[SHA256_BYTES];
    sha256_of(blob, digest);
    if (memcmp(digest, head.blob_digest, sizeof(digest)) != 0)
        return;
    uint8_t *again = mem_alloc(head.head_bytes);
    prefix_spill_write_head(options->fingerprint, head.scope, ids, head.count, blob, again);
    ASSERT(slice_eq(slice_of(again, head.head_bytes), whole));
    mem_free(again);
}

/* As a lying file would have them: right for what it says. */
static void mend(uint8_t *file, size_t size, const struct prefix_spill_options *options)
{
    struct prefix_spill_head head;
    struct slice bytes = slice_of(file, size);
    if (prefix_spill_peek(slice_first(bytes, PREFIX_SPILL_FIXED_BYTES), size, options, &head) !=
        ERR_OK)
        return;
    size_t summed = head.head_bytes - SHA256_BYTES;
    sha256_of(slice_after(bytes, head.head_bytes), file + 64);
    sha256_of(slice_first(bytes, summed), file + summed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct prefix_spill_options options = {.bytes_max = BYTES_MAX, .ids_max = IDS_MAX};
    memset(options.fingerprint, 'f', sizeof(options.fingerprint));
    check(slice_of(data, size), &options);
    uint8_t *mended = mem_alloc(size + 1);
    memcpy(mended, size ? data : mended, size);
    mend(mended, size, &options);
    check(slice_of(mended, size), &options);
    mem_free(mended);
    return 0;
}
