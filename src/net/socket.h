/* socket - making sockets: what claims, listeners and connects share. Only net/ includes this. */
#pragma once

#include "net/listener.h"

#include <sys/socket.h>

static inline const struct sockaddr *address_raw(const struct net_address *address)
{
    return (const struct sockaddr *)(const void *)address->storage.bytes;
}

enum sharing {
    SOCKET_ALONE,  /* as any other server would bind: refused where somebody listens */
    SOCKET_SHARED, /* SO_REUSEPORT: joins sockets of the same user that have it too */
};

/* A TCP socket for this family: non-blocking, close-on-exec; an IPv6 one takes IPv4 as well,
 * whatever the machine's default is. ERR_SYSTEM with errno. */
MUST_USE enum err socket_new(const struct net_address *address, int *out_fd);
/* The same, bound to `address`, and able to bind where only dead connections linger (SO_REUSEADDR:
 * a restart must not wait for TIME_WAIT). ERR_REFUSED: in use; ERR_SYSTEM; both with note. */
MUST_USE enum err socket_bound(const struct net_address *address, enum sharing sharing, int *out_fd,
                               struct err_note *out_note);
/* The address that `fd` is bound to. */
MUST_USE enum err socket_name(int fd, struct net_address *out_address);
/* Options that cannot fail on a TCP socket: ASSERTs. */
void socket_set(int fd, int level, int option, int value);
