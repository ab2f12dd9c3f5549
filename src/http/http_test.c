/* http_test - fields, token lists and query values. */
#include "base/mem.h"
#include "http/http.h"
#include "testing/test.h"

static bool has_token(const char *value, const char *token)
{
    struct http_field fields[] = {{SLICE("accept"), slice_str(value)}};
    struct http_request request = {.fields = fields, .field_count = 1};
    return http_field_has_token(&request, "Accept", token);
}

TEST(field_is_found_in_any_case_and_the_first_wins)
{
    struct http_field fields[] = {
        {SLICE("X-A"), SLICE("1")}, {SLICE("x-b"), SLICE("2")}, {SLICE("X-B"), SLICE("3")}};
    struct http_request request = {.fields = fields, .field_count = ARRAY_COUNT(fields)};
    CHECK_SLICE(http_request_field(&request, "X-B"), "2");
    CHECK(http_request_field(&request, "X-C").data == NULL);
    CHECK(http_request_field(&(struct http_request){0}, "X-C").data == NULL);
}

TEST(token_is_a_whole_item_of_the_list)
{
    CHECK(has_token("text/event-stream", "text/event-stream"));
    CHECK(has_token("a,\tTEXT/Event-Stream , b", "text/event-stream"));
    CHECK(has_token(",,a", "a"));
    CHECK(!has_token("text/event-streams", "text/event-stream"));
    CHECK(!has_token("a b", "a"));
    CHECK(!has_token("", "a"));
    CHECK(!has_token(" , ", "a"));
}

TEST(token_is_sought_in_every_line_of_the_field)
{
    struct http_field fields[] = {{SLICE("Connection"), SLICE("a, b")},
                                  {SLICE("X-Other"), SLICE("d")},
                                  {SLICE("connection"), SLICE("c")}};
    struct http_request request = {.fields = fields, .field_count = ARRAY_COUNT(fields)};
    CHECK(http_field_has_token(&request, "Connection", "b"));
    CHECK(http_field_has_token(&request, "Connection", "c"));
    CHECK(!http_field_has_token(&request, "Connection", "d"));
}

TEST(parameters_do_not_matter_but_a_weight_of_zero_means_no)
{
    CHECK(has_token("a;q=0.5;x=y", "a"));
    CHECK(has_token("a ; q=0.001", "a"));
    CHECK(has_token("a;q=1", "a"));
    CHECK(has_token("a;q", "a"));
    CHECK(!has_token("a;q=0", "a"));
    CHECK(!has_token("a; x=y ;Q=0.000", "a"));
    CHECK(!has_token("a;q=0.", "a"));
    CHECK(has_token("a;q=0, a", "a"));
    CHECK(has_token("a;q=0.0000", "a")); /* not a weight: three digits at most */
}

TEST(quoted_strings_hide_commas_and_semicolons)
{
    CHECK(!has_token("x;y=\"1, a\"", "a"));
    CHECK(has_token("x;y=\"1\\\", b\", a", "a"));
    CHECK(!has_token("x;y=\"1\\\", a\"", "a"));
    CHECK(has_token("a;x=\"; q=0\"", "a"));
    CHECK(!has_token("x;y=\"open, a", "a"));
    CHECK(!has_token("x;y=\"open\\", "a"));
}

static struct text value;

static enum err query_value(struct slice query, const char *key)
{
    text_fini(&value);
    text_init(&value, 8);
    return http_query_value(query, key, &value);
}

TEST(query_value_is_decoded)
{
    CHECK_OK(query_value(SLICE("a=1&stream=true"), "stream"));
    CHECK_SLICE(text_slice(&value), "true");
    CHECK_OK(query_value(SLICE("a=x+%2B%c3%A9%3d"), "a"));
    CHECK_SLICE(text_slice(&value), "x +\xc3\xa9=");
    CHECK_OK(query_value(SLICE("a=b=c"), "a"));
    CHECK_SLICE(text_slice(&value), "b=c");
    text_fini(&value);
}

TEST(query_key_is_decoded_whole_and_the_first_wins)
{
    CHECK_OK(query_value(SLICE("%73tream=1&stream=2"), "stream"));
    CHECK_SLICE(text_slice(&value), "1");
    CHECK_OK(query_value(SLICE("&&a&b="), "a"));
    CHECK_SLICE(text_slice(&value), "");
    CHECK_OK(query_value(SLICE("b=%zz&x%zz=1&a+b=2"), "a b"));
    CHECK_SLICE(text_slice(&value), "2");
    CHECK_ERR(query_value(SLICE("streams=1&strea=2&=3"), "stream"), ERR_NOT_FOUND);
    CHECK_ERR(query_value(SLICE(""), "a"), ERR_NOT_FOUND);
    CHECK_ERR(query_value((struct slice){0}, "a"), ERR_NOT_FOUND);
    text_fini(&value);
}

TEST(query_value_with_a_bad_escape_or_bad_utf8_is_refused)
{
    static const char *const bad[] = {"a=%",   "a=%4",   "a=%4&b=41",   "a=%4g",       "a=%%41",
                                      "a=%ff", "a=\xc3", "a=%ed%a0%80", "a=x%c3&b=%a9"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        CHECK_ERR(query_value(slice_str(bad[i]), "a"), ERR_PROTOCOL);
        CHECK_EQ(value.len, 0);
    }
    text_fini(&value);
}

TEST(query_value_fits_up_to_the_cap_of_the_text)
{
    CHECK_OK(query_value(SLICE("a=1234567"), "a"));
    CHECK_OK(query_value(SLICE("a=1234567%38"), "a"));
    CHECK_SLICE(text_slice(&value), "12345678");
    CHECK_ERR(query_value(SLICE("a=12345678%39"), "a"), ERR_LIMIT);
    CHECK_EQ(value.len, 0);
    text_fini(&value);
}

TEST(query_value_without_memory_is_a_limit)
{
    text_fini(&value);
    text_init(&value, 8);
    mem_test_fail_nth(1);
    CHECK_ERR(http_query_value(SLICE("a=1"), "a", &value), ERR_LIMIT);
}

TEST(statuses_have_their_texts)
{
    CHECK_STR(http_status_text(200), "OK");
    CHECK_STR(http_status_text(431), "Request Header Fields Too Large");
    CHECK_STR(http_status_text(299), "Unknown");
    CHECK_STR(http_method_name(HTTP_PATCH), "PATCH");
}
