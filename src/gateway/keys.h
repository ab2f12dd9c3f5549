/* keys - who may use the gateway: a ring of API keys, of each only the SHA-256 of its secret.
 *
 * 1. A secret comes as `Authorization: Bearer SECRET` (the scheme in any case) or as `x-api-key:
 *    SECRET`, never in the query: targets end up in logs and histories. An Authorization of another
 *    scheme is not ours to judge (a proxy's own), and says nothing.
 * 2. Said several times it must be the same each time: which of two is meant would be a guess, and
 *    a wrong one would charge another tenant.
 * 3. What is presented is hashed first, and the digest compared with every key's in constant time,
 *    all of them: the time says how many keys there are and how long the secret is that the client
 *    itself sent, and nothing else. (One key: 2 us, most of it the digest; 32: 5 us;
 *    KEYS_MAX: 90 us. 2026-11-21, gcc 12 -O2, on 2 cores that others used too. Should so many keys
 *    become usual, a table keyed by the digest would give away no more than a digest of what the
 *    client chose itself.)
 * 4. A secret is never kept, logged or sent on; a key is spoken of by its name.
 *
 * A ring belongs to one loop, each gateway has its own. Keys are counted references: a request
 * holds its key, also when the ring has been replaced meanwhile. */
#pragma once

#include "base/sha256.h"
#include "http/http.h"

enum { KEYS_MAX = 1024, KEY_TEXT_MAX_BYTES = 128 /* of a name, and of a tenant */ };

/* One as the configuration says it. The names must differ, and so must the digests. */
struct gateway_key {
    const char *name;   /* for logs; 1..KEY_TEXT_MAX_BYTES bytes */
    const char *tenant; /* whose requests it may see and cancel; the same. Keys may share it */
    uint8_t sha256[SHA256_BYTES];
};

struct key {
    char *name, *tenant;
    uint8_t sha256[SHA256_BYTES];
    uint32_t streams; /* in flight under it, on this loop: counted by their owners */
    uint32_t refs;
};
struct key *key_ref(struct key *key); /* NULL is fine, here and below: nobody's */
void key_unref(struct key *key);

struct key_ring;
/* Copies. ASSERTs the limits above: configuration has checked them. `before` (NULL: none): a key
 * that is there already, unchanged, is taken over with its count of streams. Never NULL. */
struct key_ring *key_ring_new(const struct gateway_key *keys, size_t count,
                              const struct key_ring *before);
void key_ring_free(struct key_ring *ring); /* NULL is fine */
/* Everybody may, as nobody. */
bool key_ring_is_empty(const struct key_ring *ring);

enum key_verdict {
    KEY_FINE,
    KEY_MISSING,   /* no secret, or an empty one */
    KEY_AMBIGUOUS, /* two that differ */
    KEY_INVALID,   /* nobody's */
};
/* The secret that a request presents. KEY_FINE (*out_secret, borrowed from the request),
 * KEY_MISSING or KEY_AMBIGUOUS. Pure. */
MUST_USE enum key_verdict key_presented(const struct http_request *request,
                                        struct slice *out_secret);
/* KEY_FINE: *out_key is borrowed from the ring; of an empty ring it is NULL, whatever was
 * presented.
 */
MUST_USE enum key_verdict key_ring_check(const struct key_ring *ring,
                                         const struct http_request *request, struct key **out_key);
