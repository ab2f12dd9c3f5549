/* notify - tells the service manager how we are (sd_notify(3): datagrams to $NOTIFY_SOCKET). */
#pragma once

#include "base/err.h"

struct notify {
    int fd; /* -1: nobody wants to know */
};
/* Takes NOTIFY_SOCKET from the environment and removes it: what we start is not spoken for.
 * Abstract names ("@...") too. A name that leads nowhere is refused by a log line, and no more. */
void notify_open(struct notify *notify);
/* "READY=1\nSTATUS=..."; lost when the other side does not read now. */
void notify_say(const struct notify *notify, const char *format, ...) PRINTF_LIKE(2, 3);
void notify_close(struct notify *notify);
