/* access_test - who may talk to us, and what CORS says to whom. */
#include "gateway/access.h"
#include "testing/test.h"

static enum access_verdict check_bound(const char *bind, const char *hosts, const char *origins,
                                       const char *host, const char *origin,
                                       struct slice *out_origin)
{
    struct access_rules rules;
    struct http_field field = {SLICE("Origin"), slice_str(origin)};
    struct http_request request = {
        .host = slice_str(host), .fields = &field, .field_count = origin ? 1 : 0};
    access_rules_init(&rules, bind, hosts, origins);
    return access_check(&rules, &request, out_origin);
}

static enum access_verdict check_host(const char *bind, const char *hosts, const char *host)
{
    struct slice origin;
    return check_bound(bind, hosts, "", host, NULL, &origin);
}

static enum access_verdict check_origin(const char *origins, const char *host, const char *origin)
{
    struct slice named;
    return check_bound("127.0.0.1:8080", "", origins, host, origin, &named);
}

TEST(host_may_be_the_bind_address_localhost_or_a_configured_name)
{
    CHECK_EQ(check_host("192.168.1.5:8080", "", "192.168.1.5:8080"), ACCESS_OK);
    CHECK_EQ(check_host("192.168.1.5:8080", "", "192.168.1.5"), ACCESS_OK);
    CHECK_EQ(check_host("127.0.0.1:8080", "", "LOCALHOST:9"), ACCESS_OK);
    CHECK_EQ(check_host("[::1]:8080", "", "[::1]:8080"), ACCESS_OK);
    CHECK_EQ(check_host("127.0.0.1:8080", "llm.lan, box", "box:8080"), ACCESS_OK);
    CHECK_EQ(check_host("127.0.0.1:8080", "llm.lan, box", "LLM.lan"), ACCESS_OK);
    CHECK_EQ(check_host("127.0.0.1:8080", "", ""), ACCESS_OK); /* HTTP/1.0 */
}

TEST(any_other_host_is_refused)
{
    CHECK_EQ(check_host("127.0.0.1:8080", "", "evil.example"), ACCESS_WRONG_HOST);
    CHECK_EQ(check_host("127.0.0.1:8080", "", "localhost.evil.example"), ACCESS_WRONG_HOST);
    CHECK_EQ(check_host("127.0.0.1:8080", "", "127.0.0.1.evil.example"), ACCESS_WRONG_HOST);
    CHECK_EQ(check_host("127.0.0.1:8080", "box", "xbox"), ACCESS_WRONG_HOST);
    CHECK_EQ(check_host("0.0.0.0:8080", "", "0.0.0.0:8080"), ACCESS_WRONG_HOST);
}

TEST(origin_may_be_the_same_host_on_any_port_or_a_configured_one)
{
    CHECK_EQ(check_origin("", "localhost:8080", "http://localhost:3000"), ACCESS_OK);
    CHECK_EQ(check_origin("", "localhost:8080", "https://localhost"), ACCESS_OK);
    CHECK_EQ(check_origin("", "127.0.0.1:8080", "http://127.0.0.1:1"), ACCESS_OK);
    CHECK_EQ(check_origin("https://a.example,https://b.example", "localhost", "https://b.example"),
             ACCESS_OK);
    CHECK_EQ(check_origin("*", "localhost", "https://any.example"), ACCESS_OK);
    CHECK_EQ(check_origin("", "localhost", NULL), ACCESS_OK);
}

TEST(a_foreign_origin_is_refused)
{
    CHECK_EQ(check_origin("", "localhost", "http://evil.example"), ACCESS_WRONG_ORIGIN);
    CHECK_EQ(check_origin("", "localhost", "null"), ACCESS_WRONG_ORIGIN);
    CHECK_EQ(check_origin("", "localhost", ""), ACCESS_WRONG_ORIGIN);
    CHECK_EQ(check_origin("", "127.0.0.1", "http://localhost"), ACCESS_WRONG_ORIGIN);
    CHECK_EQ(check_origin("https://a.example", "localhost", "https://a.example.evil"),
             ACCESS_WRONG_ORIGIN);
    CHECK_EQ(check_origin("https://a.example", "localhost", "http://a.example"),
             ACCESS_WRONG_ORIGIN);
}

TEST(cors_names_the_origin_and_only_when_there_is_one)
{
    struct text lines;
    text_init(&lines, 1024);
    access_fields((struct slice){NULL, 0}, &lines);
    CHECK_EQ(lines.len, 0);
    access_fields(SLICE("http://localhost:3000"), &lines);
    CHECK(slice_starts_with(text_slice(&lines),
                            SLICE("Access-Control-Allow-Origin: http://localhost:3000\r\n")));
    text_clear(&lines);
    access_preflight_fields(SLICE("POST, OPTIONS"), &lines);
    CHECK(slice_find(text_slice(&lines), SLICE("Access-Control-Max-Age: 86400\r\n")) != SLICE_NPOS);
    text_fini(&lines);
}
