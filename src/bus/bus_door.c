/* bus_door - the door of the switch. See bus_door.h. */
#include "bus/bus_door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum err bus_door_address(const char *directory, struct sockaddr_un *out_address)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus", directory);
    if (len < 0 || (size_t)len >= sizeof(address.sun_path))
        return ERR_LIMIT;
    *out_address = address;
    return ERR_OK;
}

static enum err check_directory(const char *directory, struct err_note *out_note)
{
    struct stat stat;
    if (lstat(directory, &stat) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "bus folder %s: %s", directory, strerror(errno));
    if (!S_ISDIR(stat.st_mode))
        return err_note_fail(out_note, ERR_REFUSED, "bus folder %s: not a directory", directory);
    if (stat.st_uid != geteuid())
        return err_note_fail(out_note, ERR_REFUSED, "bus folder %s: belongs to uid %u, not to us",
                             directory, (unsigned)stat.st_uid);
    if (stat.st_mode & 077)
        return err_note_fail(out_note, ERR_REFUSED,
                             "bus folder %s: mode %04o lets others in; it has to be 0700",
                             directory, (unsigned)stat.st_mode & 07777);
    return ERR_OK;
}

static bool somebody_answers(int fd, const struct sockaddr_un *address)
{
    return connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
           errno == EAGAIN; /* it listens, and is busy */
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static enum err listen_on(int fd, const struct sockaddr_un *address, struct err_note *out_note)
{
    (void)unlink(address->sun_path); /* of one that was killed; most often there is none */
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
        listen(fd, BUS_DOOR_BACKLOG) == 0)
        return ERR_OK;
    return err_note_fail(out_note, ERR_SYSTEM, "bus socket %s: %s", address->sun_path,
                         strerror(errno));
}

enum err bus_door_open(const struct sockaddr_un *address, const char *directory, int *out_fd,
                       struct err_note *out_note)
{
    TRY(check_directory(directory, out_note));
    int probe = new_socket(), fd = new_socket();
    enum err err = ERR_OK;
    if (probe < 0 || fd < 0)
        err = err_note_fail(out_note, ERR_SYSTEM, "bus: no socket: %s", strerror(errno));
    else if (somebody_answers(probe, address))
        err = err_note_fail(out_note, ERR_REFUSED, "bus folder %s: in use by another process",
                            directory);
    else
        err = listen_on(fd, address, out_note);
    if (probe >= 0)
        (void)close(probe); /* has done its work */
    if (err != ERR_OK && fd >= 0)
        (void)close(fd); /* was never used */
    if (err == ERR_OK)
        *out_fd = fd;
    return err;
}

void bus_door_close(const struct sockaddr_un *address, int fd)
{
    (void)close(fd);                 /* Linux releases it whatever it answers */
    (void)unlink(address->sun_path); /* whoever removed it before us has done the same */
}

static bool comes_from(int fd, uid_t uid)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == uid;
}

enum err bus_door_accept(int fd, uid_t uid, int *out_fd)
{
    for (;;) {
        int taken = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (taken < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (taken < 0)
            return errno == EAGAIN ? ERR_AGAIN : ERR_SYSTEM;
        if (comes_from(taken, uid)) {
            *out_fd = taken;
            return ERR_OK;
        }
        (void)close(taken); /* nothing is said to strangers */
    }
}
