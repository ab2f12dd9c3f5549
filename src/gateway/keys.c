/* keys - what a request presents, and whose it is. */
#include "gateway/keys.h"

#include "base/mem.h"

struct key_ring {
    struct key **keys;
    size_t count;
};

/* --- one key --- */

static char *copy_of(const char *text)
{
    size_t len = strlen(text);
    ASSERT_MSG(len >= 1 && len <= KEY_TEXT_MAX_BYTES, "%zu bytes", len);
    return memcpy(mem_alloc(len + 1), text, len + 1);
}

static struct key *key_new(const struct gateway_key *source)
{
    struct key *key = mem_alloc(sizeof(*key));
    key->name = copy_of(source->name);
    key->tenant = copy_of(source->tenant);
    memcpy(key->sha256, source->sha256, sizeof(key->sha256));
    key->refs = 1;
    return key;
}

struct key *key_ref(struct key *key)
{
    if (key)
        key->refs++;
    return key;
}

void key_unref(struct key *key)
{
    if (!key || --key->refs > 0)
        return;
    ASSERT_MSG(key->streams == 0, "key %s: %u streams", key->name, key->streams);
    mem_free(key->name);
    mem_free(key->tenant);
    mem_free(key);
}

/* --- the ring --- */

static struct key *find_unchanged(const struct key_ring *ring, const struct gateway_key *wanted)
{
    for (size_t i = 0; ring && i < ring->count; i++) {
        struct key *key = ring->keys[i];
        if (strcmp(key->name, wanted->name) == 0 && strcmp(key->tenant, wanted->tenant) == 0 &&
            sha256_eq(key->sha256, wanted->sha256))
            return key;
    }
    return NULL;
}

struct key_ring *key_ring_new(const struct gateway_key *keys, size_t count,
                              const struct key_ring *before)
{
    ASSERT_MSG(count <= KEYS_MAX, "%zu keys", count);
    struct key_ring *ring = mem_alloc(sizeof(*ring));
    ring->keys = mem_array(count, sizeof(struct key *));
    ring->count = count;
    for (size_t i = 0; i < count; i++) {
        struct key *unchanged = find_unchanged(before, &keys[i]);
        ring->keys[i] = unchanged ? key_ref(unchanged) : key_new(&keys[i]);
    }
    return ring;
}

void key_ring_free(struct key_ring *ring)
{
    if (!ring)
        return;
    for (size_t i = 0; i < ring->count; i++)
        key_unref(ring->keys[i]);
    mem_free(ring->keys);
    mem_free(ring);
}

bool key_ring_is_empty(const struct key_ring *ring)
{
    return ring->count == 0;
}

/* --- what is presented --- */

/* "Bearer SECRET" (RFC 6750, and RFC 9110 11.4 for the spaces and the case of the scheme); empty
 * for any other scheme. */
static struct slice bearer_of(struct slice authorization)
{
    struct slice scheme, secret;
    if (!slice_cut(authorization, ' ', &scheme, &secret) || !slice_eq_ci(scheme, SLICE("Bearer")))
        return (struct slice){NULL, 0};
    return slice_trim(secret);
}

static struct slice secret_of(const struct http_field *field)
{
    if (slice_eq_ci(field->name, SLICE("Authorization")))
        return bearer_of(field->value);
    if (slice_eq_ci(field->name, SLICE("X-Api-Key")))
        return field->value;
    return (struct slice){NULL, 0};
}

enum key_verdict key_presented(const struct http_request *request, struct slice *out_secret)
{
    struct slice first = {NULL, 0};
    for (size_t i = 0; i < request->field_count; i++) {
        struct slice secret = secret_of(&request->fields[i]);
        if (first.len > 0 && secret.len > 0 && !slice_eq(first, secret))
            return KEY_AMBIGUOUS;
        if (first.len == 0)
            first = secret;
    }
    if (first.len == 0)
        return KEY_MISSING;
    *out_secret = first;
    return KEY_FINE;
}

enum key_verdict key_ring_check(const struct key_ring *ring, const struct http_request *request,
                                struct key **out_key)
{
    struct slice secret;
    uint8_t digest[SHA256_BYTES];
    struct key *found = NULL;
    if (ring->count > 0) {
        enum key_verdict verdict = key_presented(request, &secret);
        if (verdict != KEY_FINE)
            return verdict;
        sha256_of(secret, digest);
        for (size_t i = 0; i < ring->count; i++) /* all, also after it was found (rule 3) */
            if (sha256_eq(ring->keys[i]->sha256, digest))
                found = ring->keys[i];
        if (!found)
            return KEY_INVALID;
    }
    *out_key = found;
    return KEY_FINE;
}
