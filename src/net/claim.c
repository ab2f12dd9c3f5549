/* claim - nobody else serves this port: a lock among ours, a probe among all.
 *
 * Three things, in this order, each closing a gap that the others leave:
 *
 * lock   An exclusive flock on lock_dir/port-N.lock. Two of ours that start together would both
 *        find the port free, since neither listens yet; the lock lets one through. The kernel drops
 *        it when we die, however we die, so a stale file is harmless. A holder that was given
 *        another lock_dir is not seen here, but by the probe as soon as it listens.
 * probe  A bind as any other server would make it (SO_REUSEADDR, no SO_REUSEPORT): fails where
 *        somebody listens, ours or not. Closed at once.
 * hold   A socket that is bound with SO_REUSEPORT and never listens. While it lives no other
 *        program gets the port by a plain bind or from the kernel's choice for port 0; being no
 *        listener it is given no connections. Between probe and hold a stranger may slip in: then
 *        the hold's own bind fails, for strangers do not set SO_REUSEPORT.
 *
 * What remains: a foreign program of the same user that itself sets SO_REUSEPORT. The kernel lets
 * it join whenever it likes, and no order of ours can prevent that. */
#include "net/socket.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLAIM_TRIES = 16 };

struct net_claim {
    int lock_fd, hold_fd;
    pid_t owner; /* a forked child shares the lock, but must not take the file away */
    char path[PATH_MAX];
};

static enum err in_use_by(int lock_fd, uint16_t port, struct err_note *out_note)
{
    char text[24];
    ssize_t len = pread(lock_fd, text, sizeof(text), 0);
    struct slice line = slice_of(text, len > 0 ? (size_t)len : 0), rest;
    uint64_t pid;
    /* Empty for an instant, between the holder's flock() and its write(). */
    if (slice_cut(line, '\n', &line, &rest) && slice_parse_u64(line, INT_MAX, &pid) == ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED, "port %u is in use by millrace, process %d",
                             port, (int)pid);
    return err_note_fail(out_note, ERR_REFUSED, "port %u is in use by another millrace", port);
}

/* A holder removes the file before it unlocks it (net_claim_release). Who had opened the old file
 * by then gets a lock on something without a name, while a third one locks the new file: so a lock
 * counts only if the path still leads to it. */
static bool lock_is_current(int lock_fd, const char *path)
{
    struct stat ours, named;
    return fstat(lock_fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

/* ERR_AGAIN: the file was removed under us; try once more. */
static enum err try_lock(const char *path, uint16_t port, int *out_fd, struct err_note *out_note)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_note_fail(out_note, ERR_SYSTEM, "cannot open the lock file %s: %s", path,
                             strerror(errno));
    enum err err = ERR_OK;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        err = lock_is_current(fd, path) ? ERR_OK : ERR_AGAIN;
    else if (errno == EWOULDBLOCK)
        err = in_use_by(fd, port, out_note);
    else
        err = err_note_fail(out_note, ERR_SYSTEM, "cannot lock %s: %s", path, strerror(errno));
    if (err == ERR_OK)
        *out_fd = fd;
    else
        (void)close(fd); /* nothing was written */
    return err;
}

static enum err take_lock(struct net_claim *claim, const char *lock_dir, uint16_t port,
                          struct err_note *out_note)
{
    int len = snprintf(claim->path, sizeof(claim->path), "%s/port-%u.lock", lock_dir, port);
    if (len < 0 || (size_t)len >= sizeof(claim->path))
        return err_note_fail(out_note, ERR_LIMIT, "lock_dir: longer than %d bytes", PATH_MAX - 32);
    enum err err = ERR_AGAIN;
    for (int i = 0; i < CLAIM_TRIES && err == ERR_AGAIN; i++)
        err = try_lock(claim->path, port, &claim->lock_fd, out_note);
    if (err == ERR_AGAIN)
        return err_note_fail(out_note, ERR_REFUSED, "%s keeps changing hands", claim->path);
    TRY(err);
    char text[24];
    int bytes = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    /* The lock is what counts; the pid is a kindness to whoever finds the port taken. */
    if (ftruncate(claim->lock_fd, 0) == 0)
        (void)!pwrite(claim->lock_fd, text, (size_t)bytes, 0);
    return ERR_OK;
}

static void drop_lock(struct net_claim *claim)
{
    if (claim->lock_fd < 0)
        return;
    if (claim->owner == getpid())
        (void)unlink(claim->path); /* still locked: see lock_is_current() */
    (void)close(claim->lock_fd);
    claim->lock_fd = -1;
}

static void drop_hold(struct net_claim *claim)
{
    if (claim->hold_fd >= 0)
        (void)close(claim->hold_fd);
    claim->hold_fd = -1;
}

static enum err claim_given(struct net_claim *claim, const struct net_address *address,
                            const char *lock_dir, struct err_note *out_note)
{
    TRY(take_lock(claim, lock_dir, net_address_port(address), out_note));
    int probe = -1;
    TRY(socket_bound(address, SOCKET_ALONE, &probe, out_note));
    (void)close(probe); /* its bind was the question */
    return socket_bound(address, SOCKET_SHARED, &claim->hold_fd, out_note);
}

/* The kernel picks a port that nothing at all is bound to, and the hold keeps it. One of ours may
 * have the lock already, about to try a bind of its own: then another port is picked. */
static enum err claim_any(struct net_claim *claim, struct net_address *address,
                          const char *lock_dir, struct err_note *out_note)
{
    enum err err = ERR_REFUSED;
    for (int i = 0; i < CLAIM_TRIES && err == ERR_REFUSED; i++) {
        struct net_address picked;
        drop_hold(claim);
        TRY(socket_bound(address, SOCKET_SHARED, &claim->hold_fd, out_note));
        TRY(socket_name(claim->hold_fd, &picked));
        err = take_lock(claim, lock_dir, net_address_port(&picked), out_note);
        if (err == ERR_OK)
            *address = picked;
    }
    return err;
}

enum err net_claim_port(struct net_address *address, const char *lock_dir,
                        struct net_claim **out_claim, struct err_note *out_note)
{
    struct net_claim *claim = mem_alloc(sizeof(*claim));
    claim->lock_fd = claim->hold_fd = -1;
    claim->owner = getpid();
    enum err err = net_address_port(address) == 0 ? claim_any(claim, address, lock_dir, out_note)
                                                  : claim_given(claim, address, lock_dir, out_note);
    if (err == ERR_OK)
        *out_claim = claim;
    else
        net_claim_release(claim);
    return err;
}

void net_claim_release(struct net_claim *claim)
{
    if (!claim)
        return;
    drop_hold(claim);
    drop_lock(claim);
    mem_free(claim);
}
