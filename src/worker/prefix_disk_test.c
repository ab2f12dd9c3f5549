#include "testing/test.h"
#include "base/mem.h"
#include "worker/prefix_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT = 4, SCOPE = 9, BLOB_BYTES = 1000 };
static const token_id ids[COUNT] = {5, 6, 7, 8};

static char folder[64];
static uint32_t found;

static const struct engine_info info = {.kind = "toy",
                                        .description = "a toy",
                                        .build = "1",
                                        .slots = 2,
                                        .context_tokens = 16,
                                        .vocab_size = 100,
                                        .kv_bytes = 3200};

static void on_found(void *ctx, uint64_t scope, const token_id *found_ids, uint32_t count,
                     uint64_t blob_bytes)
{
    (void)ctx;
    CHECK(scope == SCOPE && found_ids[0] == ids[0] && count == COUNT && blob_bytes == BLOB_BYTES);
    found++;
}

static struct prefix_disk *open_with(const char *key, uint64_t patience_us,
                                     const struct engine_info *engine)
{
    struct prefix_disk_options options = {
        .folder = folder, .bytes_max = 100000, .patience_us = patience_us, .key = key};
    struct prefix_disk *disk = NULL;
    struct err_note note;
    found = 0;
    CHECK_OK(prefix_disk_open(&options, engine, &disk, &note, on_found, NULL));
    return disk;
}

static struct prefix_disk *open_as(const char *key, const struct engine_info *engine)
{
    return open_with(key, UINT64_MAX, engine);
}

static struct prefix_disk *open_disk(void)
{
    return open_as("model", &info);
}

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/prefix_disk_test.XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

static uint32_t count_files(const char *ending, bool removes)
{
    uint32_t count = 0;
    char path[400];
    DIR *listing = opendir(folder);
    for (struct dirent *entry; (entry = readdir(listing));) {
        size_t len = strlen(entry->d_name), end = strlen(ending);
        if (entry->d_name[0] == '.' || len < end || strcmp(entry->d_name + len - end, ending) != 0)
            continue;
        count++;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (removes)
            CHECK(unlink(path) == 0);
    }
    closedir(listing);
    return count;
}

static void remove_folder(void)
{
    count_files("", true);
    CHECK(rmdir(folder) == 0);
}

static void *blob_of(char byte)
{
    void *blob = mem_alloc(BLOB_BYTES);
    memset(blob, byte, BLOB_BYTES);
    return blob;
}

static struct prefix_disk_news news_of(struct prefix_disk *disk)
{
    struct prefix_disk_news news = {0};
    CHECK(prefix_disk_take(disk, UINT64_MAX, &news));
    CHECK(news.scope == SCOPE && news.count == COUNT);
    CHECK(memcmp(news.ids, ids, sizeof(ids)) == 0);
    return news;
}

/* Is there one of this byte? */
static bool fetch(struct prefix_disk *disk, char byte)
{
    CHECK(prefix_disk_fetch(disk, SCOPE, ids, COUNT));
    CHECK(prefix_disk_is_fetching(disk));
    struct prefix_disk_news news = news_of(disk);
    CHECK(news.is_fetch && !prefix_disk_is_fetching(disk));
    CHECK(news.is_ok == (news.blob != NULL));
    bool is_right = news.is_ok && news.bytes == BLOB_BYTES && *(char *)news.blob == byte;
    mem_free(news.blob);
    return is_right;
}

TEST(what_was_written_is_fetched_now_and_by_the_next_process)
{
    make_folder();
    struct prefix_disk *disk = open_disk();
    void *blob = blob_of('x');
    CHECK(!fetch(disk, 'x'));
    prefix_disk_write(disk, SCOPE, ids, COUNT, blob, BLOB_BYTES);
    struct prefix_disk_news news = news_of(disk);
    CHECK(!news.is_fetch && news.is_ok && news.bytes == BLOB_BYTES);
    CHECK(fetch(disk, 'x'));
    CHECK_EQ(prefix_disk_counts(disk).written, 1);
    CHECK_EQ(prefix_disk_counts(disk).fetched, 1);
    CHECK(prefix_disk_counts(disk).bytes > BLOB_BYTES);
    prefix_disk_close(disk);
    mem_free(blob);
    disk = open_disk();
    CHECK_EQ(found, 1);
    CHECK(fetch(disk, 'x'));
    prefix_disk_close(disk);
    remove_folder();
}

/* Files made under one key, or engine, are of no use under another, nor without the secret. */
TEST(another_model_engine_or_secret_finds_nothing)
{
    static const char *const keys[] = {"model", "other", "model", "model"};
    for (int what = 0; what < 4; what++) {
        struct engine_info engine = info;
        make_folder();
        struct prefix_disk *disk = open_disk();
        void *blob = blob_of('x');
        prefix_disk_write(disk, SCOPE, ids, COUNT, blob, BLOB_BYTES);
        prefix_disk_close(disk); /* it was still written */
        mem_free(blob);
        CHECK_EQ(count_files(".kv", false), 1);
        if (what == 2)
            engine.build = "2";
        if (what == 3)
            CHECK_EQ(count_files("secret", true), 1);
        disk = open_as(keys[what], &engine);
        CHECK_EQ(found, what == 0);
        CHECK_EQ(prefix_disk_counts(disk).removed_bad, what > 0);
        prefix_disk_close(disk);
        remove_folder();
    }
}

TEST(a_blob_that_the_tree_lets_go_of_is_written_all_the_same)
{
    make_folder();
    struct prefix_disk *disk = open_disk();
    void *blob = blob_of('x'), *other = blob_of('y');
    prefix_disk_write(disk, SCOPE, ids, COUNT, blob, BLOB_BYTES);
    CHECK(prefix_disk_let_go(disk, SCOPE, ids, COUNT, &blob, BLOB_BYTES));
    CHECK(blob == NULL);
    CHECK(!prefix_disk_let_go(disk, SCOPE, ids, COUNT, &other, BLOB_BYTES)); /* not under way */
    CHECK(news_of(disk).is_ok);
    CHECK(fetch(disk, 'x'));
    prefix_disk_write(disk, SCOPE, ids, COUNT, other, BLOB_BYTES); /* there already */
    CHECK(news_of(disk).is_ok);
    mem_free(other);
    CHECK(fetch(disk, 'x'));
    prefix_disk_close(disk);
    remove_folder();
}

/* It is under way until it is told, also when it has come long ago. */
TEST(who_waits_for_a_fetch_is_told_when_it_is_no_use_any_more)
{
    static const token_id other[] = {1};
    make_folder();
    struct prefix_disk *disk = open_with("model", 1, &info);
    CHECK(prefix_disk_fetch(disk, SCOPE, ids, COUNT));
    while (prefix_disk_fetch(disk, SCOPE, other, ARRAY_COUNT(other)))
        continue; /* within a microsecond */
    CHECK(prefix_disk_is_fetching(disk));
    struct prefix_disk_news news = news_of(disk); /* of the first one alone */
    CHECK(news.is_fetch && !news.is_ok && !prefix_disk_is_fetching(disk));
    prefix_disk_close(disk);
    remove_folder();
}

TEST(beyond_the_bound_what_waits_is_dropped_and_counted)
{
    make_folder();
    struct prefix_disk *disk = open_disk();
    void *blob = blob_of('x');
    for (uint64_t i = 0; i < PREFIX_DISK_WRITES_MAX + 3; i++) /* back only when they are taken */
        prefix_disk_write(disk, SCOPE, ids, COUNT, blob, BLOB_BYTES);
    CHECK_EQ(prefix_disk_counts(disk).dropped, 3);
    for (int i = 0; i < PREFIX_DISK_WRITES_MAX; i++)
        CHECK(news_of(disk).is_ok);
    prefix_disk_write(disk, SCOPE, ids, COUNT, blob, BLOB_BYTES);
    CHECK(news_of(disk).is_ok);
    CHECK_EQ(prefix_disk_counts(disk).dropped, 3);
    prefix_disk_close(disk);
    mem_free(blob);
    remove_folder();
}

/* As a disk that is full: a file may not become so long. */
TEST(a_full_disk_costs_only_what_is_not_kept)
{
    struct rlimit before, small;
    make_folder();
    struct prefix_disk *disk = open_disk();
    void *blob = blob_of('x');
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = before;
    small.rlim_cur = BLOB_BYTES / 2;
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    for (int i = 0; i < 3; i++) {
        prefix_disk_write(disk, SCOPE, ids, COUNT, blob, BLOB_BYTES);
        CHECK(!news_of(disk).is_ok);
    }
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_EQ(prefix_disk_counts(disk).failed, 3);
    CHECK_EQ(count_files(".part", false) + count_files(".kv", false), 0);
    prefix_disk_write(disk, SCOPE, ids, COUNT, blob, BLOB_BYTES);
    CHECK(news_of(disk).is_ok);
    CHECK(fetch(disk, 'x'));
    prefix_disk_close(disk);
    mem_free(blob);
    remove_folder();
}

TEST(a_folder_that_cannot_be_is_said)
{
    struct prefix_disk_options options = {.folder = "/proc/no/folder", .bytes_max = 1, .key = ""};
    struct prefix_disk *disk = NULL;
    struct err_note note;
    CHECK_ERR(prefix_disk_open(&options, &info, &disk, &note, on_found, NULL), ERR_SYSTEM);
    CHECK(strstr(note.text, "/proc/no/folder") != NULL);
}
