/* api_key_fuzz - the fields that may present an API key: whatever comes in, at most one secret
 * comes out, it is a piece of what came in, and it opens exactly what it is the secret of. The
 * input is field lines, "Name: value", one per line. */
#include "gateway/keys.h"

static size_t read_fields(struct slice input, struct http_field fields[HTTP_FIELDS_MAX])
{
    size_t count = 0;
    struct slice line, name, value;
    while (input.len > 0 && count < HTTP_FIELDS_MAX) {
        (void)slice_cut(input, '\n', &line, &input); /* the last line may have no end */
        (void)slice_cut(line, ':', &name, &value);   /* no colon: a name alone */
        fields[count++] = (struct http_field){name, slice_trim(value)};
    }
    return count;
}

static bool is_inside(struct slice part, struct slice whole)
{
    return part.data >= whole.data && part.data + part.len <= whole.data + whole.len;
}

/* A ring of the secret's own key lets it in; one of another key does not. */
static void check_ring(const struct http_request *request, struct slice secret)
{
    struct gateway_key own = {.name = "own", .tenant = "t"},
                       other = {.name = "other", .tenant = "t"};
    struct key *key = NULL;
    sha256_of(secret, own.sha256);
    memcpy(other.sha256, own.sha256, sizeof(own.sha256));
    other.sha256[SHA256_BYTES - 1] ^= 1;
    struct gateway_key keys[] = {other, own};
    struct key_ring *both = key_ring_new(keys, 2, NULL), *one = key_ring_new(&other, 1, NULL);
    ASSERT(key_ring_check(both, request, &key) == KEY_FINE && strcmp(key->name, "own") == 0);
    ASSERT(key_ring_check(one, request, &key) == KEY_INVALID);
    key_ring_free(both);
    key_ring_free(one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field fields[HTTP_FIELDS_MAX];
    struct slice input = slice_of(data, size), secret = {NULL, 0}, again;
    struct http_request request = {.fields = fields, .field_count = read_fields(input, fields)};
    enum key_verdict verdict = key_presented(&request, &secret);
    ASSERT(verdict == KEY_FINE || verdict == KEY_MISSING || verdict == KEY_AMBIGUOUS);
    ASSERT((verdict == KEY_FINE) == (secret.len > 0));
    if (verdict != KEY_FINE)
        return 0;
    ASSERT(is_inside(secret, input));
    check_ring(&request, secret);
    struct http_field alone = {SLICE("x-api-key"), secret};
    request = (struct http_request){.fields = &alone, .field_count = 1};
    ASSERT(key_presented(&request, &again) == KEY_FINE && slice_eq(again, secret));
    return 0;
}
