/* hunger - whether a process would run if it got what it waits for. See hunger.h. */
#include "host/hunger.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { THREADS_MAX = 1024 /* looked at; that many sleeping ones are no proof, but a good hint */ };

/* The name is the process's own choice, and may hold parentheses: its end is the last one. */
char hunger_parse_state(struct slice stat)
{
    for (size_t i = stat.len; i > 0; i--)
        if (stat.data[i - 1] == ')')
            return i + 1 < stat.len && stat.data[i] == ' ' ? stat.data[i + 1] : '?';
    return '?';
}

static char state_of(int pid, const char *thread)
{
    char path[64 + sizeof(((struct dirent *)0)->d_name)], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return '?';
    ssize_t got = read(fd, text, sizeof(text));
    (void)close(fd); /* it was only read */
    return hunger_parse_state(slice_of(text, got > 0 ? (size_t)got : 0));
}

static bool is_hungry(char state)
{
    return state == 'R' || state == 'D';
}

bool hunger_of(int pid)
{
    char path[64];
    bool any = false;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    const struct dirent *entry;
    for (int i = 0; threads && !any && i < THREADS_MAX && (entry = readdir(threads)); i++)
        any = entry->d_name[0] != '.' && is_hungry(state_of(pid, entry->d_name));
    if (threads)
        (void)closedir(threads); /* it was only read */
    return any;
}
