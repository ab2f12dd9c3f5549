/* process - resident memory and open descriptors, from /proc/self. */
#include "metrics/process.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t process_resident_bytes(void)
{
    unsigned long long resident_pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    int found = fscanf(file, "%*u %llu", &resident_pages);
    fclose(file);
    return found == 1 ? resident_pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Up to Linux 6.1: what is listed, but for . and .. and the listing's own descriptor. */
static uint64_t count_listed(void)
{
    uint64_t listed = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    while (readdir(folder))
        listed++;
    closedir(folder);
    return listed > 3 ? listed - 3 : 0;
}

uint64_t process_open_fds(void)
{
    struct stat folder;
    /* Linux 6.2 and later say the number here, whatever it is; 50 000 connections are not listed
     * every second. */
    if (stat("/proc/self/fd", &folder) == 0 && folder.st_size > 0)
        return (uint64_t)folder.st_size;
    return count_listed();
}
