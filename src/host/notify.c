/* notify - tells the service manager how we are. See notify.h. */
#include "host/notify.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The length counts for an abstract name: it has no NUL at its end. */
static bool read_address(const char *name, struct sockaddr_un *address, socklen_t *out_len)
{
    size_t len = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(address->sun_path))
        return false;
    memcpy(address->sun_path, name, len);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    *out_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
    return true;
}

static int connect_to(const struct sockaddr_un *address, socklen_t len)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, len) == 0)
        return fd;
    int error = errno;
    (void)close(fd); /* it has said nothing */
    errno = error;
    return -1;
}

void notify_open(struct notify *notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t len;
    notify->fd = -1;
    if (!name)
        return;
    errno = EINVAL;
    if (read_address(name, &address, &len))
        notify->fd = connect_to(&address, len);
    if (notify->fd < 0)
        log_event(LOG_WARN, "notify_refused", "socket=%s why=%s", log_quote(slice_str(name), 128),
                  log_quote(slice_str(strerror(errno)), 128));
    (void)unsetenv("NOTIFY_SOCKET"); /* fails for names with '=' only */
}

void notify_say(const struct notify *notify, const char *format, ...)
{
    char text[1024];
    if (notify->fd < 0)
        return;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len > 0 && (size_t)len < sizeof(text))
        (void)send(notify->fd, text, (size_t)len, MSG_NOSIGNAL); /* see notify.h */
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0)
        (void)close(notify->fd);
    notify->fd = -1;
}
