/* keys_test - which secret a request presents, and whose it is. */
#include "gateway/keys.h"
#include "base/mem.h"
#include "base/text.h"
#include "testing/test.h"

#include <stdio.h>

static struct gateway_key key_of(const char *name, const char *tenant, const char *secret)
{
    struct gateway_key key = {.name = name, .tenant = tenant};
    sha256_of(slice_str(secret), key.sha256);
    return key;
}

static struct http_request with_fields(const struct http_field *fields, size_t count)
{
    return (struct http_request){.fields = fields, .field_count = count};
}

/* What one Authorization field presents; NULL: nothing. */
static const char *bearer(const char *value)
{
    static char text[256];
    struct http_field field = {SLICE("Authorization"), slice_str(value)};
    struct http_request request = with_fields(&field, 1);
    struct slice secret;
    enum key_verdict verdict = key_presented(&request, &secret);
    if (verdict == KEY_MISSING)
        return NULL;
    CHECK_EQ(verdict, KEY_FINE);
    snprintf(text, sizeof(text), SLICE_FMT, SLICE_ARG(secret));
    return text;
}

TEST(a_bearer_token_is_what_stands_behind_the_scheme_in_any_case)
{
    CHECK_STR(bearer("Bearer sk-1"), "sk-1");
    CHECK_STR(bearer("bearer sk-1"), "sk-1");
    CHECK_STR(bearer("BEARER \t sk-1"), "sk-1");
    CHECK_STR(bearer("Bearer a b"), "a b"); /* nobody's, but what was presented */
    CHECK_STR(bearer("Bearer ="), "=");
}

TEST(what_is_no_bearer_token_presents_nothing)
{
    static const char *const values[] = {"",           "Bearer",     "Bearer ",        "Bearer \t ",
                                         "Bearersk-1", "Bearer\tsk", "Basic dTpw",     "sk-1",
                                         " Bearer x",  "Bearer,x y", "Digest Bearer x"};
    for (size_t i = 0; i < ARRAY_COUNT(values); i++)
        if (bearer(values[i]))
            CHECK_STR(values[i], "a value that presents nothing");
}

TEST(an_api_key_field_presents_its_value_whatever_its_case)
{
    struct http_field field = {SLICE("X-API-KEY"), SLICE("Bearer x")};
    struct http_request request = with_fields(&field, 1);
    struct slice secret;
    CHECK_EQ(key_presented(&request, &secret), KEY_FINE);
    CHECK_SLICE(secret, "Bearer x"); /* it has no scheme */
}

TEST(several_fields_must_say_the_same)
{
    struct http_field fields[] = {
        {SLICE("authorization"), SLICE("Bearer a")},   {SLICE("x-api-key"), SLICE("a")},
        {SLICE("Authorization"), SLICE("Basic dTpw")}, {SLICE("x-api-key"), SLICE("")},
        {SLICE("Authorization"), SLICE("Bearer a")},   {SLICE("x-api-key"), SLICE("b")}};
    struct slice secret = SLICE("before");
    for (size_t count = 1; count < ARRAY_COUNT(fields); count++) {
        struct http_request request = with_fields(fields, count);
        CHECK_EQ(key_presented(&request, &secret), KEY_FINE);
        CHECK_SLICE(secret, "a");
    }
    struct http_request request = with_fields(fields, ARRAY_COUNT(fields));
    CHECK_EQ(key_presented(&request, &secret), KEY_AMBIGUOUS);
    request = with_fields(fields + 2, 4); /* the last two, behind what presents nothing */
    CHECK_EQ(key_presented(&request, &secret), KEY_AMBIGUOUS);
    request = with_fields(fields + 2, 2);
    CHECK_EQ(key_presented(&request, &secret), KEY_MISSING);
    request = with_fields(NULL, 0);
    CHECK_EQ(key_presented(&request, &secret), KEY_MISSING);
}

/* --- the ring --- */

static enum key_verdict check(const struct key_ring *ring, const char *secret, struct key **out_key)
{
    struct http_field field = {SLICE("x-api-key"), slice_str(secret)};
    struct http_request request = with_fields(&field, secret ? 1 : 0);
    return key_ring_check(ring, &request, out_key);
}

TEST(each_key_of_a_full_ring_is_found_and_no_other)
{
    static struct gateway_key keys[KEYS_MAX];
    static char names[KEYS_MAX][16];
    struct key *key = NULL;
    for (size_t i = 0; i < KEYS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "k%zu", i);
        keys[i] = key_of(names[i], i % 2 ? "odd" : "even", names[i]);
    }
    struct key_ring *ring = key_ring_new(keys, KEYS_MAX, NULL);
    CHECK(!key_ring_is_empty(ring));
    for (size_t i = 0; i < KEYS_MAX; i += 93) {
        CHECK_EQ(check(ring, names[i], &key), KEY_FINE);
        CHECK_STR(key->name, names[i]);
        CHECK_STR(key->tenant, i % 2 ? "odd" : "even");
    }
    CHECK_EQ(check(ring, names[KEYS_MAX - 1], &key), KEY_FINE);
    struct key *last = key;
    CHECK_EQ(check(ring, "k1024", &key), KEY_INVALID);
    CHECK_EQ(check(ring, "K0", &key), KEY_INVALID);
    CHECK_EQ(check(ring, "", &key), KEY_MISSING);
    CHECK_EQ(check(ring, NULL, &key), KEY_MISSING);
    CHECK(key == last); /* written for KEY_FINE only */
    key_ring_free(ring);
}

TEST(the_digest_itself_opens_nothing)
{
    struct gateway_key source = key_of("a", "t", "secret");
    char hex[SHA256_HEX_BYTES + 1];
    struct key *key = NULL;
    struct key_ring *ring = key_ring_new(&source, 1, NULL);
    (void)sha256_format(source.sha256, hex); /* the same as a slice */
    CHECK_EQ(check(ring, hex, &key), KEY_INVALID);
    CHECK_EQ(check(ring, "secret", &key), KEY_FINE);
    key_ring_free(ring);
}

TEST(an_empty_secret_is_missing_even_where_its_digest_is_a_key)
{
    struct gateway_key source = key_of("a", "t", "");
    struct key *key = NULL;
    struct key_ring *ring = key_ring_new(&source, 1, NULL);
    CHECK_EQ(check(ring, "", &key), KEY_MISSING);
    key_ring_free(ring);
}

TEST(without_keys_everybody_is_nobody)
{
    struct key_ring *ring = key_ring_new(NULL, 0, NULL);
    struct key *key = (struct key *)(void *)ring;
    CHECK(key_ring_is_empty(ring));
    CHECK_EQ(check(ring, "anything", &key), KEY_FINE);
    CHECK(key == NULL);
    CHECK_EQ(check(ring, NULL, &key), KEY_FINE);
    key_ring_free(ring);
    key_ring_free(NULL);
    key_unref(NULL);
    CHECK(key_ref(NULL) == NULL);
}

TEST(a_new_ring_takes_over_what_is_unchanged_and_a_held_key_outlives_its_ring)
{
    struct gateway_key before[] = {key_of("same", "t", "1"), key_of("turned", "t", "2"),
                                   key_of("moved", "t", "3"), key_of("gone", "t", "4")};
    struct gateway_key after[] = {key_of("moved", "u", "3"), key_of("turned", "t", "new"),
                                  key_of("same", "t", "1")};
    struct key *same = NULL, *turned = NULL, *gone = NULL, *key = NULL;
    struct key_ring *first = key_ring_new(before, 4, NULL);
    CHECK_EQ(check(first, "1", &same), KEY_FINE);
    CHECK_EQ(check(first, "2", &turned), KEY_FINE);
    CHECK_EQ(check(first, "4", &gone), KEY_FINE);
    key_ref(gone);
    same->streams = gone->streams = turned->streams = 1;
    key_ref(turned);
    struct key_ring *second = key_ring_new(after, 3, first);
    key_ring_free(first);
    CHECK_EQ(check(second, "1", &key), KEY_FINE);
    CHECK(key == same && same->streams == 1);
    CHECK_EQ(check(second, "2", &key), KEY_INVALID);
    CHECK_EQ(check(second, "new", &key), KEY_FINE);
    CHECK(key != turned && key->streams == 0);
    CHECK_EQ(check(second, "3", &key), KEY_FINE);
    CHECK_STR(key->tenant, "u");
    CHECK_EQ(check(second, "4", &key), KEY_INVALID);
    CHECK_STR(gone->name, "gone");
    same->streams = gone->streams = turned->streams = 0;
    key_unref(gone);
    key_unref(turned);
    key_ring_free(second);
}
