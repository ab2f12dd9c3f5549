/* zmq_switch_listen - the door of the switch. See zmq_switch_listen.h. */
#include "bus/zmq_switch_listen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#define SCHEME "ipc://"

enum err zmq_switch_address(const char *directory, char out_address[ZMQ_SWITCH_ADDRESS_BYTES])
{
    struct sockaddr_un unix_address;
    int len = snprintf(out_address, ZMQ_SWITCH_ADDRESS_BYTES, SCHEME "%s/bus", directory);
    size_t path_max = sizeof(unix_address.sun_path) - 1;
    return len >= 0 && (size_t)len <= path_max + strlen(SCHEME) ? ERR_OK : ERR_LIMIT;
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

/* libzmq replaces the socket file of whoever listens there. */
static bool somebody_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1); /* zmq_switch_address() has measured it */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answered = fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
                                errno == EAGAIN); /* it listens, and is busy */
    if (fd >= 0)
        close(fd);
    return answered;
}

enum err zmq_switch_listen(void *socket, const char *address, const char *directory,
                           struct err_note *out_note)
{
    enum err err = check_directory(directory, out_note);
    if (err != ERR_OK)
        return err;
    if (somebody_answers(address + strlen(SCHEME)))
        return err_note_fail(out_note, ERR_REFUSED, "bus folder %s: in use by another process",
                             directory);
    int yes = 1;
    uid_t us = geteuid();
    zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &yes, sizeof(yes));
    zmq_setsockopt(socket, ZMQ_ROUTER_HANDOVER, &yes, sizeof(yes));
    if (zmq_setsockopt(socket, ZMQ_IPC_FILTER_UID, &us, sizeof(us)) != 0 ||
        zmq_bind(socket, address) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "bus socket %s: %s", address,
                             zmq_strerror(zmq_errno()));
    return ERR_OK;
}

void zmq_switch_unlisten(const char *address)
{
    (void)unlink(address + strlen(SCHEME)); /* whoever removed it before us has done the same */
}
