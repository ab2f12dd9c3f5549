/* router_test - which paths a pattern matches, and what is allowed there. */
#include "http/router.h"
#include "testing/test.h"

static const struct route routes[] = {
    {HTTP_GET, "/", "root"},
    {HTTP_GET, "/v1/models", "models"},
    {HTTP_GET, "/v1/models/{id}", "model"},
    {HTTP_DELETE, "/v1/models/{id}", "remove"},
    {HTTP_POST, "/v1/models/{id}/slots/{slot}", "slot"},
    {HTTP_PUT, "/{a}/{b}/{c}/{d}", "deep"},
};

static struct route_match match;

static enum err find(enum http_method method, struct slice path)
{
    return router_find(routes, ARRAY_COUNT(routes), method, path, &match);
}

#define CHECK_FOUND(method, path, expected)                                                        \
    do {                                                                                           \
        CHECK_OK(find((method), SLICE(path)));                                                     \
        CHECK_STR(match.route->target, expected);                                                  \
    } while (0)

static struct slice allow(void)
{
    static char bytes[64];
    struct text text;
    text_init(&text, sizeof bytes);
    router_allow(match.allowed, &text);
    CHECK_OK(text_status(&text));
    struct slice copy = slice_of(bytes, text.len);
    if (text.len)
        memcpy(bytes, text.data, text.len);
    text_fini(&text);
    return copy;
}

TEST(literal_paths_match_byte_for_byte)
{
    CHECK_FOUND(HTTP_GET, "/", "root");
    CHECK_FOUND(HTTP_GET, "/v1/models", "models");
    CHECK_ERR(find(HTTP_GET, SLICE("/v1/Models")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_GET, SLICE("/v1/model")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_GET, SLICE("/v1/modelss")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_GET, SLICE("/v1")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_GET, SLICE("//v1/models")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_GET, SLICE("/v1//models")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_GET, SLICE("")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_OPTIONS, SLICE("*")), ERR_NOT_FOUND);
    CHECK_EQ(match.allowed, 0);
}

TEST(trailing_slash_is_another_path)
{
    CHECK_ERR(find(HTTP_GET, SLICE("/v1/models/")), ERR_NOT_FOUND);
    CHECK_ERR(find(HTTP_GET, SLICE("/v1/models/x/")), ERR_NOT_FOUND);
}

TEST(segments_are_decoded_before_they_are_compared)
{
    CHECK_FOUND(HTTP_GET, "/v1/%6dodels", "models");
    CHECK_FOUND(HTTP_GET, "/%76%31/models/x", "model");
    CHECK_FOUND(HTTP_GET, "/v1/models/a%20b%C3%a9%25", "model");
    CHECK_EQ(match.param_count, 1);
    CHECK_SLICE(match.params[0], "a b\xc3\xa9%");
    CHECK_FOUND(HTTP_GET, "/v1/models/a+b", "model");
    CHECK_SLICE(match.params[0], "a+b");
}

TEST(decoded_slash_nul_bad_utf8_and_bad_escapes_never_match)
{
    static const char *const bad[] = {"a%2fb", "a%2F", "%00", "%ff",       "\xc3",  "%",
                                      "%4",    "%4g",  "%%",  "%ed%a0%80", "%c0%af"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char path[64] = "/v1/models/";
        strcat(path, bad[i]);
        CHECK_ERR(find(HTTP_GET, slice_str(path)), ERR_NOT_FOUND);
        CHECK(match.route == NULL);
        CHECK_EQ(match.param_count, 0);
    }
    CHECK_ERR(find(HTTP_GET, SLICE("/v1%2fmodels")), ERR_NOT_FOUND);
}

TEST(params_come_in_the_order_of_the_pattern)
{
    CHECK_FOUND(HTTP_POST, "/v1/models/m%31/slots/7", "slot");
    CHECK_EQ(match.param_count, 2);
    CHECK_SLICE(match.params[0], "m1");
    CHECK_SLICE(match.params[1], "7");
    CHECK_FOUND(HTTP_PUT, "/1/2/3/4", "deep");
    CHECK_EQ(match.param_count, ROUTE_PARAMS_MAX);
    CHECK_SLICE(match.params[3], "4");
}

TEST(params_of_the_chosen_route_are_not_those_of_a_later_one)
{
    static const struct route overlapping[] = {
        {HTTP_GET, "/{first}/x", "a"}, {HTTP_GET, "/y/{second}", "b"}, {HTTP_PUT, "/y/x", "c"}};
    CHECK_OK(router_find(overlapping, 3, HTTP_GET, SLICE("/y/x"), &match));
    CHECK_STR(match.route->target, "a");
    CHECK_EQ(match.param_count, 1);
    CHECK_SLICE(match.params[0], "y");
    CHECK_SLICE(allow(), "GET, HEAD, PUT, OPTIONS");
}

TEST(param_fits_up_to_its_limit_and_not_a_byte_more)
{
    char path[16 + ROUTE_PARAM_MAX_BYTES] = "/v1/models/";
    size_t start = strlen(path);
    memset(path + start, 'x', ROUTE_PARAM_MAX_BYTES + 1);
    CHECK_OK(find(HTTP_GET, slice_of(path, start + ROUTE_PARAM_MAX_BYTES - 1)));
    CHECK_OK(find(HTTP_GET, slice_of(path, start + ROUTE_PARAM_MAX_BYTES)));
    CHECK_EQ(match.params[0].len, ROUTE_PARAM_MAX_BYTES);
    CHECK_ERR(find(HTTP_GET, slice_of(path, start + ROUTE_PARAM_MAX_BYTES + 1)), ERR_NOT_FOUND);
}

TEST(a_rest_takes_what_is_left_with_its_slashes_however_they_are_written)
{
    static const struct route with_rest[] = {{HTTP_GET, "/v1/models/{id...}", "model"}};
    static const char *const same[] = {"org/repo:q4", "org%2Frepo:q4", "org%2frepo%3aq4"};
    static const char *const bad[] = {"", "%00", "a/%00", "%ff", "a%2"};
    char path[32 + ROUTE_PARAM_MAX_BYTES];
    for (size_t i = 0; i < ARRAY_COUNT(same); i++) {
        strcpy(path, "/v1/models/");
        strcat(path, same[i]);
        CHECK_OK(router_find(with_rest, 1, HTTP_GET, slice_str(path), &match));
        CHECK_EQ(match.param_count, 1);
        CHECK_SLICE(match.params[0], "org/repo:q4");
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        strcpy(path, "/v1/models/");
        strcat(path, bad[i]);
        CHECK_ERR(router_find(with_rest, 1, HTTP_GET, slice_str(path), &match), ERR_NOT_FOUND);
    }
    CHECK_ERR(router_find(with_rest, 1, HTTP_GET, SLICE("/v1/models"), &match), ERR_NOT_FOUND);
    CHECK_OK(router_find(with_rest, 1, HTTP_GET, SLICE("/v1/models//x/"), &match));
    CHECK_SLICE(match.params[0], "/x/");
    CHECK_ERR(router_find(with_rest, 1, HTTP_PUT, SLICE("/v1/models/a/b"), &match), ERR_REFUSED);
    strcpy(path, "/v1/models/");
    size_t start = strlen(path);
    memset(path + start, '/', ROUTE_PARAM_MAX_BYTES + 1);
    CHECK_OK(
        router_find(with_rest, 1, HTTP_GET, slice_of(path, start + ROUTE_PARAM_MAX_BYTES), &match));
    CHECK_ERR(router_find(with_rest, 1, HTTP_GET, slice_of(path, start + ROUTE_PARAM_MAX_BYTES + 1),
                          &match),
              ERR_NOT_FOUND);
}

TEST(head_is_answered_by_the_route_of_get)
{
    CHECK_FOUND(HTTP_HEAD, "/v1/models/x", "model");
    CHECK_ERR(find(HTTP_HEAD, SLICE("/v1/models/x/slots/1")), ERR_REFUSED);
}

TEST(known_path_with_another_method_is_refused_and_says_what_is_allowed)
{
    CHECK_ERR(find(HTTP_POST, SLICE("/v1/models/x")), ERR_REFUSED);
    CHECK(match.route == NULL);
    CHECK_SLICE(allow(), "GET, HEAD, DELETE, OPTIONS");
    CHECK_ERR(find(HTTP_OTHER, SLICE("/v1/models")), ERR_REFUSED);
    CHECK_SLICE(allow(), "GET, HEAD, OPTIONS");
    CHECK_ERR(find(HTTP_OPTIONS, SLICE("/v1/models/x/slots/1")), ERR_REFUSED);
    CHECK_SLICE(allow(), "POST, OPTIONS");
    CHECK_ERR(find(HTTP_GET, SLICE("/nowhere")), ERR_NOT_FOUND);
    CHECK_SLICE(allow(), "");
}
