/* query_fuzz - query values, router paths and token lists: anything may come in, only what the
 * headers promise comes out, and what was encoded is decoded again. */
#include "base/utf8.h"
#include "choice.h"
#include "http/router.h"

enum { VALUE_MAX_BYTES = 64 };

static void check_query(struct slice query)
{
    struct text value;
    text_init(&value, VALUE_MAX_BYTES);
    enum err err = http_query_value(query, "a", &value);
    ASSERT(err == ERR_OK || err == ERR_NOT_FOUND || err == ERR_PROTOCOL || err == ERR_LIMIT);
    ASSERT(err == ERR_OK || value.len == 0);
    ASSERT(value.len <= VALUE_MAX_BYTES);
    ASSERT(utf8_is_valid(text_slice(&value)));
    text_fini(&value);
}

/* Escapes what must be, and of the rest what chance says. */
static void add_escaped(struct text *out, struct slice bytes, uint64_t *choice)
{
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned byte = (uint8_t)bytes.data[i];
        bool is_plain = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                        (byte >= 'A' && byte <= 'Z') || byte >= 0x80;
        if (is_plain && choice_next(choice, 2))
            text_add_byte(out, (char)byte);
        else
            text_add_f(out, choice_next(choice, 2) ? "%%%02x" : "%%%02X", byte);
    }
}

static void check_query_round_trip(struct slice plain, uint64_t *choice)
{
    struct text query, value;
    text_init(&query, 3 * plain.len + 64);
    text_init(&value, plain.len);
    text_add_str(&query, "aa=1&b&=2&");
    add_escaped(&query, SLICE("a"), choice);
    text_add_byte(&query, '=');
    add_escaped(&query, plain, choice);
    text_add_str(&query, "&a=2");
    ASSERT(!query.overflowed);
    enum err err = http_query_value(text_slice(&query), "a", &value);
    ASSERT(err == (utf8_is_valid(plain) ? ERR_OK : ERR_PROTOCOL));
    ASSERT(err != ERR_OK || slice_eq(text_slice(&value), plain));
    text_fini(&query);
    text_fini(&value);
}

static bool may_be_param(struct slice bytes)
{
    return bytes.len > 0 && bytes.len <= ROUTE_PARAM_MAX_BYTES && utf8_is_valid(bytes) &&
           slice_find_byte(bytes, '/') == SLICE_NPOS && slice_find_byte(bytes, '\0') == SLICE_NPOS;
}

static void check_router(struct slice path)
{
    static const struct route routes[] = {
        {HTTP_GET, "/v1/{a}", "1"}, {HTTP_POST, "/v1/{a}/{b}", "2"}, {HTTP_PUT, "/{a}/{b}", "3"}};
    static struct route_match match;
    enum err err = router_find(routes, ARRAY_COUNT(routes), HTTP_PUT, path, &match);
    ASSERT((err == ERR_OK) == (match.route != NULL));
    ASSERT((err == ERR_NOT_FOUND) == (match.allowed == 0));
    ASSERT(match.param_count == (err == ERR_OK ? 2 : 0));
    for (size_t i = 0; i < match.param_count; i++)
        ASSERT(may_be_param(match.params[i]));
}

static void check_router_round_trip(struct slice plain, uint64_t *choice)
{
    static const struct route routes[] = {{HTTP_GET, "/v1/{id}", "1"}};
    static struct route_match match;
    struct text path;
    text_init(&path, 3 * plain.len + 64);
    text_add_str(&path, "/");
    add_escaped(&path, SLICE("v1"), choice);
    text_add_str(&path, "/");
    add_escaped(&path, plain, choice);
    enum err err = router_find(routes, 1, HTTP_GET, text_slice(&path), &match);
    ASSERT((err == ERR_OK) == may_be_param(plain));
    ASSERT(err != ERR_OK || slice_eq(match.params[0], plain));
    text_fini(&path);
}

static void check_router_rest(struct slice plain, uint64_t *choice)
{
    static const struct route routes[] = {{HTTP_GET, "/v1/{id...}", "1"}};
    static struct route_match match;
    struct text path;
    text_init(&path, 3 * plain.len + 64);
    text_add_str(&path, "/v1/");
    add_escaped(&path, plain, choice);
    bool may = plain.len > 0 && plain.len <= ROUTE_PARAM_MAX_BYTES && utf8_is_valid(plain) &&
               slice_find_byte(plain, '\0') == SLICE_NPOS;
    enum err err = router_find(routes, 1, HTTP_GET, text_slice(&path), &match);
    ASSERT((err == ERR_OK) == may);
    ASSERT(err != ERR_OK || slice_eq(match.params[0], plain));
    text_fini(&path);
}

/* A list says the same whether it came in one field or was split at our comma into two. */
static void check_tokens(struct slice list)
{
    struct http_field one[] = {{SLICE("Accept"), list}};
    struct http_field two[] = {{SLICE("accept"), SLICE("x;q=0")}, {SLICE("ACCEPT"), list}};
    struct http_request with_one = {.fields = one, .field_count = 1};
    struct http_request with_two = {.fields = two, .field_count = 2};
    ASSERT(http_field_has_token(&with_one, "Accept", "a") ==
           http_field_has_token(&with_two, "Accept", "a"));
    ASSERT(!http_field_has_token(&with_two, "Connection", "a"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_of(data, size);
    uint64_t choice = choice_of(data, size);
    check_query(input);
    check_query_round_trip(input, &choice);
    check_router(input);
    check_router_round_trip(input, &choice);
    check_router_rest(input, &choice);
    check_tokens(input);
    return 0;
}
