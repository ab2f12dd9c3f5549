/* socket - making sockets. See socket.h. */
#include "net/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

void socket_set(int fd, int level, int option, int value)
{
    ASSERT(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

enum err socket_new(const struct net_address *address, int *out_fd)
{
    int family = address_raw(address)->sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_SYSTEM;
    if (family == AF_INET6)
        socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    *out_fd = fd;
    return ERR_OK;
}

static enum err bind_failed(const struct net_address *address, int error, struct err_note *out_note)
{
    char where[64];
    net_address_format(address, where);
    if (error == EADDRINUSE)
        return err_note_fail(out_note, ERR_REFUSED, "%s is in use by another program", where);
    if (error == EADDRNOTAVAIL)
        return err_note_fail(out_note, ERR_SYSTEM, "%s: this machine has no such address", where);
    if (error == EACCES)
        return err_note_fail(out_note, ERR_SYSTEM,
                             "%s: this user may not bind the port (below 1024: "
                             "CAP_NET_BIND_SERVICE)",
                             where);
    return err_note_fail(out_note, ERR_SYSTEM, "cannot bind %s: %s", where, strerror(error));
}

enum err socket_bound(const struct net_address *address, enum sharing sharing, int *out_fd,
                      struct err_note *out_note)
{
    int fd = -1;
    if (socket_new(address, &fd) != ERR_OK)
        return bind_failed(address, errno, out_note);
    socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (sharing == SOCKET_SHARED)
        socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (bind(fd, address_raw(address), address->len) != 0) {
        int error = errno;
        (void)close(fd); /* was never used */
        return bind_failed(address, error, out_note);
    }
    *out_fd = fd;
    return ERR_OK;
}

enum err socket_name(int fd, struct net_address *out_address)
{
    struct net_address address = {0};
    socklen_t len = sizeof(address.storage);
    if (getsockname(fd, (struct sockaddr *)(void *)address.storage.bytes, &len) != 0)
        return ERR_SYSTEM;
    address.len = len;
    *out_address = address;
    return ERR_OK;
}
