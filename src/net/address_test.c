/* What is an address, and how it is written. */
#include "net/listener.h"
#include "testing/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>

static void check_round_trip(const char *host, uint16_t port, const char *expected)
{
    struct net_address address;
    char text[64];
    CHECK_OK(net_address_parse(slice_str(host), port, &address, NULL));
    CHECK_EQ(net_address_port(&address), port);
    net_address_format(&address, text);
    CHECK_STR(text, expected);
}

TEST(addresses_are_written_as_they_are_read)
{
    check_round_trip("127.0.0.1", 8080, "127.0.0.1:8080");
    check_round_trip("0.0.0.0", 0, "0.0.0.0:0");
    check_round_trip("255.255.255.255", 65535, "255.255.255.255:65535");
    check_round_trip("::1", 1, "[::1]:1");
    check_round_trip("[::1]", 443, "[::1]:443");
    check_round_trip("::", 80, "[::]:80");
    check_round_trip("2001:db8:1111:2222:3333:4444:5555:6666", 65535,
                     "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
    check_round_trip("localhost", 80, "127.0.0.1:80");
    check_round_trip("LocalHost", 80, "127.0.0.1:80");
}

TEST(an_ipv4_peer_of_an_ipv6_socket_is_written_as_ipv4)
{
    check_round_trip("::ffff:10.1.2.3", 9, "10.1.2.3:9");
}

TEST(what_is_not_numeric_is_refused_with_a_sentence)
{
    static const char *const bad[] = {
        "",           " ",           "127.0.0.1 ",  "127.0.0",    "256.0.0.1",
        "1.2.3.4.5",  "example.org", "[::1",        "::1]",       "[127.0.0.1]",
        "[]",         "[[::1]]",     ":::",         "1::2::3",    "*",
        "0x7f.1",     "127.0.0.1:1", "[localhost]", "::g",        "%",
        "fe80::1%lo", "-1",          "017.0.0",     "localhost.", "1.2.3.4\n5.6.7"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct net_address address = {.len = 77};
        struct err_note note = {""};
        CHECK_ERR(net_address_parse(slice_str(bad[i]), 1, &address, &note), ERR_PROTOCOL);
        CHECK(strstr(note.text, "is not an address") != NULL);
        CHECK_EQ(address.len, 77); /* written only on success */
    }
}

TEST(long_hosts_and_hidden_nul_bytes_are_refused)
{
    char host[4096];
    memset(host, '1', sizeof(host));
    struct net_address address;
    for (size_t len = 40; len <= sizeof(host); len += len < 60 ? 1 : 1000)
        CHECK_ERR(net_address_parse(slice_of(host, len), 1, &address, NULL), ERR_PROTOCOL);
    CHECK_ERR(net_address_parse(SLICE("127.0.0.1\0.evil"), 1, &address, NULL), ERR_PROTOCOL);
}

static bool is_loopback(const char *host)
{
    struct net_address address;
    CHECK_OK(net_address_parse(slice_str(host), 1, &address, NULL));
    return net_address_is_loopback(&address);
}

TEST(loopback_is_what_no_other_machine_can_reach)
{
    CHECK(is_loopback("127.0.0.1"));
    CHECK(is_loopback("127.255.255.254"));
    CHECK(is_loopback("::1"));
    CHECK(is_loopback("::ffff:127.0.0.1"));
    CHECK(is_loopback("localhost"));
    CHECK(!is_loopback("0.0.0.0"));
    CHECK(!is_loopback("128.0.0.1"));
    CHECK(!is_loopback("126.255.255.255"));
    CHECK(!is_loopback("::"));
    CHECK(!is_loopback("::2"));
    CHECK(!is_loopback("::ffff:10.0.0.1"));
}

TEST(the_descriptor_limit_rises_to_the_hard_one)
{
    struct rlimit before, after;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    uint64_t limit = net_raise_fd_limit();
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
    CHECK_EQ(limit, after.rlim_cur);
    CHECK_EQ(after.rlim_cur, before.rlim_max);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}
