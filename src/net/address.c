/* address - numeric addresses to and from text, and the descriptor limit. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

_Static_assert(sizeof(((struct net_address *)0)->storage) == sizeof(struct sockaddr_storage),
               "net_address holds any socket address");

static struct sockaddr_in *v4_of(const struct net_address *address)
{
    return (struct sockaddr_in *)(void *)address->storage.bytes;
}

static struct sockaddr_in6 *v6_of(const struct net_address *address)
{
    return (struct sockaddr_in6 *)(void *)address->storage.bytes;
}

static int family_of(const struct net_address *address)
{
    return v4_of(address)->sin_family; /* at the same place in every sockaddr */
}

static bool parse_v4(const char *host, uint16_t port, struct net_address *address)
{
    struct sockaddr_in *v4 = v4_of(address);
    if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
        return false;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address->len = sizeof(*v4);
    return true;
}

static bool parse_v6(const char *host, uint16_t port, struct net_address *address)
{
    struct sockaddr_in6 *v6 = v6_of(address);
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address->len = sizeof(*v6);
    return true;
}

enum err net_address_parse(struct slice host, uint16_t port, struct net_address *out,
                           struct err_note *out_note)
{
    struct slice bare = host;
    bool bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (bracketed)
        bare = slice_first(slice_after(host, 1), host.len - 2);
    if (slice_eq_ci(host, SLICE("localhost")))
        bare = SLICE("127.0.0.1");

    char text[INET6_ADDRSTRLEN];
    struct net_address address = {0};
    bool fits = bare.len < sizeof(text) && slice_find_byte(bare, '\0') == SLICE_NPOS;
    if (fits) {
        (void)snprintf(text, sizeof(text), SLICE_FMT, SLICE_ARG(bare)); /* it fits */
        if ((!bracketed && parse_v4(text, port, &address)) || parse_v6(text, port, &address)) {
            *out = address;
            return ERR_OK;
        }
    }
    return err_note_fail(out_note, ERR_PROTOCOL,
                         "\"" SLICE_FMT "\" is not an address: write a numeric IPv4 or IPv6 "
                         "address (names are not looked up), or localhost",
                         SLICE_ARG(slice_first(host, 100)));
}

/* ::ffff:a.b.c.d is how an IPv6 socket sees an IPv4 peer. */
static bool unmap(const struct net_address *address, struct in_addr *out_v4)
{
    if (family_of(address) == AF_INET) {
        *out_v4 = v4_of(address)->sin_addr;
        return true;
    }
    if (!IN6_IS_ADDR_V4MAPPED(&v6_of(address)->sin6_addr))
        return false;
    memcpy(out_v4, v6_of(address)->sin6_addr.s6_addr + 12, sizeof(*out_v4));
    return true;
}

void net_address_format(const struct net_address *address, char out_text[64])
{
    char host[INET6_ADDRSTRLEN] = "?";
    struct in_addr v4;
    bool is_v4 = unmap(address, &v4);
    if (is_v4)
        (void)inet_ntop(AF_INET, &v4, host, sizeof(host)); /* the room suffices, by its constant */
    else if (family_of(address) == AF_INET6)
        (void)inet_ntop(AF_INET6, &v6_of(address)->sin6_addr, host, sizeof(host));
    (void)snprintf(out_text, 64, is_v4 ? "%s:%u" : "[%s]:%u", host, net_address_port(address));
}

uint16_t net_address_port(const struct net_address *address)
{
    if (family_of(address) == AF_INET6)
        return ntohs(v6_of(address)->sin6_port);
    return ntohs(v4_of(address)->sin_port);
}

bool net_address_is_loopback(const struct net_address *address)
{
    struct in_addr v4;
    if (unmap(address, &v4))
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    return family_of(address) == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6_of(address)->sin6_addr);
}

uint64_t net_raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return soft; /* fs.nr_open may be below the hard limit: stay with what we had */
    return limit.rlim_cur;
}
