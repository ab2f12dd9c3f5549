/* epoll_us - epoll_wait() to the microsecond. */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

enum { EPOLL_US_MAX = 60 * 1000 * 1000 };

/* Waits for at most `us`, and at most a minute. 0 when nothing came, or a signal did. */
static inline int epoll_wait_us(int epoll, struct epoll_event *events, int max, uint64_t us)
{
    if (us > EPOLL_US_MAX)
        us = EPOLL_US_MAX;
    struct timespec timeout = {.tv_sec = (time_t)(us / 1000000),
                               .tv_nsec = (long)(us % 1000000) * 1000};
    int count = epoll_pwait2(epoll, events, max, &timeout, NULL);
    if (count < 0 && errno == ENOSYS) /* before Linux 5.11, and in valgrind 3.19: to the ms above */
        count = epoll_wait(epoll, events, max, (int)((us + 999) / 1000));
    return count < 0 && errno == EINTR ? 0 : count;
}
