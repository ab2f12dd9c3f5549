/* notify_test - what a service manager hears. */
#include "host/notify.h"
#include "testing/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    CHECK(bind(fd, (struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0);
    return fd;
}

static void hear(int fd, const char *expected)
{
    char text[256];
    ssize_t got = recv(fd, text, sizeof(text), 0);
    CHECK_SLICES(slice_of(text, got > 0 ? (size_t)got : 0), slice_str(expected));
}

static void converse(const char *name)
{
    struct notify notify;
    int fd = listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_open(&notify);
    CHECK(!getenv("NOTIFY_SOCKET"));
    notify_say(&notify, "READY=1\nSTATUS=serving %s", "x");
    hear(fd, "READY=1\nSTATUS=serving x");
    for (int i = 0; i < 10000; i++) /* nobody reads: lost, not waited for */
        notify_say(&notify, "STOPPING=1");
    hear(fd, "STOPPING=1");
    close(fd);
    notify_say(&notify, "STOPPING=1"); /* nobody there any more */
    notify_close(&notify);
    notify_say(&notify, "STOPPING=1");
}

TEST(a_socket_with_a_path_hears_it)
{
    char path[64];
    snprintf(path, sizeof(path), "/tmp/millrace-notify-%d", getpid());
    converse(path);
    unlink(path);
}

TEST(a_socket_with_an_abstract_name_hears_it)
{
    char name[64];
    snprintf(name, sizeof(name), "@millrace-notify-%d", getpid());
    converse(name);
}

TEST(without_a_name_or_with_a_wrong_one_nothing_is_said)
{
    char too_long[200];
    memset(too_long, 'x', sizeof(too_long));
    too_long[0] = '/', too_long[sizeof(too_long) - 1] = '\0';
    const char *const names[] = {NULL, "", "relative", "/", "@", "/nowhere/at/all", too_long};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct notify notify;
        if (names[i])
            setenv("NOTIFY_SOCKET", names[i], 1);
        notify_open(&notify);
        CHECK_EQ(notify.fd, -1);
        CHECK(!getenv("NOTIFY_SOCKET"));
        notify_say(&notify, "READY=1");
        notify_close(&notify);
    }
}
