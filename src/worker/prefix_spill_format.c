/* prefix_spill_format - the head of a spilled blob, out of bytes and into them. */
#include "worker/prefix_spill.h"

static const char magic[8] = {'M', 'I', 'L', 'L', 'K', 'V', '2', '\n'};

enum {
    AT_FINGERPRINT = 8,
    AT_COUNT = 40,
    AT_ZERO = 44,
    AT_BYTES = 48,
    AT_SCOPE = 56,
    AT_DIGEST = 64
};

static uint64_t get(const char *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | (uint8_t)bytes[i];
    return value;
}

static void put(uint8_t *bytes, int count, uint64_t value)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

enum err prefix_spill_peek(struct slice start, uint64_t file_bytes,
                           const struct prefix_spill_options *options,
                           struct prefix_spill_head *out_head)
{
    struct prefix_spill_head head;
    if (start.len < PREFIX_SPILL_FIXED_BYTES || memcmp(start.data, magic, sizeof(magic)) != 0 ||
        memcmp(start.data + AT_FINGERPRINT, options->fingerprint, SHA256_BYTES) != 0 ||
        get(start.data + AT_ZERO, 4) != 0)
        return ERR_PROTOCOL;
    head.count = (uint32_t)get(start.data + AT_COUNT, 4);
    head.blob_bytes = get(start.data + AT_BYTES, 8);
    head.scope = get(start.data + AT_SCOPE, 8);
    if (head.count == 0 || head.count > options->ids_max || head.blob_bytes == 0)
        return ERR_PROTOCOL;
    head.head_bytes = PREFIX_SPILL_FIXED_BYTES + (size_t)head.count * 4 + SHA256_BYTES;
    if (file_bytes > options->bytes_max || file_bytes <= head.head_bytes ||
        file_bytes - head.head_bytes != head.blob_bytes)
        return ERR_PROTOCOL;
    memcpy(head.blob_digest, start.data + AT_DIGEST, SHA256_BYTES);
    *out_head = head;
    return ERR_OK;
}

enum err prefix_spill_ids(struct slice whole, const struct prefix_spill_head *head,
                          token_id *out_ids)
{
    uint8_t digest[SHA256_BYTES];
    size_t summed = head->head_bytes - SHA256_BYTES;
    if (whole.len < head->head_bytes)
        return ERR_PROTOCOL;
    sha256_of(slice_first(whole, summed), digest);
    if (memcmp(digest, whole.data + summed, SHA256_BYTES) != 0)
        return ERR_PROTOCOL;
    for (uint32_t i = 0; i < head->count; i++) {
        uint64_t id = get(whole.data + PREFIX_SPILL_FIXED_BYTES + 4 * (size_t)i, 4);
        if (id > INT32_MAX)
            return ERR_PROTOCOL;
        out_ids[i] = (token_id)id;
    }
    return ERR_OK;
}

void prefix_spill_write_head(const uint8_t fingerprint[SHA256_BYTES], uint64_t scope,
                             const token_id *ids, uint32_t count, struct slice blob,
                             uint8_t *out_head)
{
    size_t summed = PREFIX_SPILL_FIXED_BYTES + (size_t)count * 4;
    memcpy(out_head, magic, sizeof(magic));
    memcpy(out_head + AT_FINGERPRINT, fingerprint, SHA256_BYTES);
    put(out_head + AT_COUNT, 4, count);
    put(out_head + AT_ZERO, 4, 0);
    put(out_head + AT_BYTES, 8, blob.len);
    put(out_head + AT_SCOPE, 8, scope);
    sha256_of(blob, out_head + AT_DIGEST);
    for (uint32_t i = 0; i < count; i++)
        put(out_head + PREFIX_SPILL_FIXED_BYTES + 4 * (size_t)i, 4, (uint32_t)ids[i]);
    sha256_of(slice_of(out_head, summed), out_head + summed);
}
