/* Tests of how much memory may be taken, on a made-up /proc and /sys. */
#include "engine/memory_available.h"

#include "testing/test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[32];

static void make_root(void)
{
    snprintf(root, sizeof(root), "/tmp/memory-test-XXXXXX");
    CHECK(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void remove_root(void)
{
    CHECK_EQ(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    int start = snprintf(path, sizeof(path), "%s", root);
    snprintf(path + start, sizeof(path) - (size_t)start, "%s", name);
    for (char *slash = strchr(path + start + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        CHECK(mkdir(path, 0700) == 0 || access(path, X_OK) == 0);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    CHECK(file);
    CHECK_EQ(fwrite(text, 1, strlen(text), file), strlen(text));
    CHECK_EQ(fclose(file), 0);
}

TEST(machine_without_groups_gives_what_is_available)
{
    make_root();
    write_file("/proc/meminfo", "MemTotal:       16384000 kB\nMemFree:          100 kB\n"
                                "MemAvailable:    2000000 kB\nBuffers: 1 kB\n");
    CHECK_EQ(memory_available_bytes(root), 2000000ull * 1024);
    remove_root();
}

TEST(tightest_group_on_the_way_up_decides)
{
    make_root();
    write_file("/proc/meminfo", "MemAvailable:    2000000 kB\n");
    write_file("/proc/self/cgroup", "12:cpu:/x\n0::/outer/inner\n");
    write_file("/sys/fs/cgroup/outer/inner/memory.max", "max\n");
    write_file("/sys/fs/cgroup/outer/inner/memory.current", "5\n");
    CHECK_EQ(memory_available_bytes(root), 2000000ull * 1024);

    write_file("/sys/fs/cgroup/outer/memory.max", "1000000\n");
    write_file("/sys/fs/cgroup/outer/memory.current", "700000\n");
    CHECK_EQ(memory_available_bytes(root), 300000);
    write_file("/sys/fs/cgroup/outer/memory.stat", "anon 600000\nfile 50000\nkernel 1\n");
    CHECK_EQ(memory_available_bytes(root), 350000);

    write_file("/sys/fs/cgroup/outer/inner/memory.max", "10\n");
    CHECK_EQ(memory_available_bytes(root), 5);
    write_file("/sys/fs/cgroup/outer/inner/memory.current", "11\n");
    CHECK_EQ(memory_available_bytes(root), 0);
    remove_root();
}

TEST(container_sees_its_own_group_as_the_top)
{
    make_root();
    write_file("/proc/meminfo", "MemAvailable:    2000000 kB\n");
    write_file("/proc/self/cgroup", "0::/\n");
    write_file("/sys/fs/cgroup/memory.max", "4096\n");
    write_file("/sys/fs/cgroup/memory.current", "96\n");
    CHECK_EQ(memory_available_bytes(root), 4000);
    remove_root();
}

TEST(silence_and_nonsense_mean_no_limit)
{
    make_root();
    CHECK(memory_available_bytes(root) == UINT64_MAX);
    const char *nonsense[] = {"",    "\n",    "MemAvailable:", "MemAvailable: x kB\n",
                              "0::", "0::\n", "0::x"};
    for (size_t i = 0; i < ARRAY_COUNT(nonsense); i++) {
        write_file("/proc/meminfo", nonsense[i]);
        write_file("/proc/self/cgroup", nonsense[i]);
        CHECK(memory_available_bytes(root) == UINT64_MAX);
    }
    remove_root();
}

TEST(this_machine_has_some)
{
    CHECK(memory_available_bytes("") > 0);
}
