#include "testing/test.h"
#include "base/mem.h"
#include "worker/prefix_spill.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const token_id ids[] = {5, 6, 7, 2147483647};
static const struct slice blob = {"the cells of it", 15};
enum { COUNT = 4, SCOPE = 77, HEAD_BYTES = 128 + 4 * COUNT, FILE_BYTES = HEAD_BYTES + 15 };

struct found {
    uint32_t files, last_count;
    uint64_t bytes;
};

static void on_found(void *ctx, uint64_t scope, const token_id *found_ids, uint32_t count,
                     uint64_t blob_bytes)
{
    struct found *found = ctx;
    found->files++;
    found->bytes += blob_bytes;
    found->last_count = count;
    CHECK(found_ids[0] == ids[0] && scope == SCOPE);
}

static char folder[64];
static struct found found;

static struct prefix_spill_options options_of(uint64_t bytes_max)
{
    struct prefix_spill_options options = {
        .folder = folder, .bytes_max = bytes_max, .files_max = 8, .ids_max = 16};
    memset(options.fingerprint, 7, sizeof(options.fingerprint));
    return options;
}

static struct prefix_spill *open_spill(uint64_t bytes_max)
{
    struct prefix_spill_options options = options_of(bytes_max);
    struct prefix_spill *spill;
    struct err_note note;
    found = (struct found){0};
    CHECK_OK(prefix_spill_open(&options, &spill, &note, on_found, &found));
    return spill;
}

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/prefix_spill_test.XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

/* Calls fn, if there is one, for each name; returns how many there are. */
static uint32_t each_file(void (*fn)(const char *path))
{
    uint32_t count = 0;
    char path[400];
    DIR *listing = opendir(folder);
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (fn)
            fn(path);
    }
    closedir(listing);
    return count;
}

static void remove_file(const char *path)
{
    CHECK(unlink(path) == 0);
}

static void remove_folder(void)
{
    each_file(remove_file);
    CHECK(rmdir(folder) == 0);
}

static enum err get(struct prefix_spill *spill)
{
    void *bytes = NULL;
    size_t count = 0;
    enum err err = prefix_spill_get(spill, SCOPE, ids, COUNT, &bytes, &count);
    CHECK((err == ERR_OK) == (bytes != NULL));
    if (err == ERR_OK)
        CHECK(slice_eq(slice_of(bytes, count), blob));
    mem_free(bytes);
    return err;
}

TEST(what_was_put_is_got_now_and_after_opening_again)
{
    make_folder();
    struct prefix_spill *spill = open_spill(1000);
    CHECK_ERR(get(spill), ERR_NOT_FOUND);
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob)); /* once */
    CHECK_OK(get(spill));
    CHECK_EQ(prefix_spill_counts(spill).files, 1);
    CHECK_EQ(prefix_spill_counts(spill).bytes, FILE_BYTES);
    prefix_spill_close(spill);
    spill = open_spill(1000);
    CHECK_EQ(found.files, 1);
    CHECK_EQ(found.last_count, COUNT);
    CHECK_EQ(found.bytes, blob.len);
    CHECK_OK(get(spill));
    prefix_spill_remove(spill, SCOPE, ids, COUNT);
    CHECK_ERR(get(spill), ERR_NOT_FOUND);
    CHECK_EQ(each_file(NULL), 0);
    prefix_spill_close(spill);
    remove_folder();
}

static uint32_t damage_at;

static void flip(const char *path)
{
    char byte;
    int file = open(path, O_RDWR);
    CHECK(pread(file, &byte, 1, damage_at) == 1);
    byte = (char)(byte ^ 1);
    CHECK(pwrite(file, &byte, 1, damage_at) == 1);
    close(file);
}

static void cut(const char *path)
{
    CHECK(truncate(path, damage_at) == 0);
}

static void lengthen(const char *path)
{
    CHECK(truncate(path, FILE_BYTES + 1) == 0);
}

/* A file is put, damaged, and asked for; what is wrong with it is seen, and it is gone. */
static void check_refused(void (*damage)(const char *path))
{
    struct prefix_spill *spill = open_spill(1000);
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
    each_file(damage);
    CHECK_ERR(get(spill), ERR_PROTOCOL);
    CHECK_EQ(each_file(NULL), 0);
    CHECK_EQ(prefix_spill_counts(spill).removed_bad, 1);
    CHECK_EQ(prefix_spill_counts(spill).bytes, 0);
    prefix_spill_close(spill);
}

TEST(a_file_of_which_one_bit_is_wrong_is_removed)
{
    make_folder();
    for (damage_at = 0; damage_at < FILE_BYTES; damage_at++)
        check_refused(flip);
    remove_folder();
}

TEST(a_file_of_another_length_is_removed)
{
    make_folder();
    for (damage_at = 0; damage_at < FILE_BYTES; damage_at++)
        check_refused(cut);
    check_refused(lengthen);
    remove_folder();
}

/* When the folder is opened only heads are read: a wrong blob shows when it is asked for. */
TEST(what_is_wrong_with_a_head_shows_when_the_folder_is_opened)
{
    make_folder();
    for (damage_at = 0; damage_at < FILE_BYTES; damage_at++) {
        struct prefix_spill *spill = open_spill(1000);
        CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
        prefix_spill_close(spill);
        each_file(flip);
        spill = open_spill(1000);
        CHECK_EQ(found.files, damage_at >= HEAD_BYTES);
        if (found.files)
            CHECK_ERR(get(spill), ERR_PROTOCOL);
        CHECK_EQ(each_file(NULL), 0);
        prefix_spill_close(spill);
    }
    remove_folder();
}

TEST(files_of_another_model_are_removed)
{
    make_folder();
    struct prefix_spill *spill = open_spill(1000);
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
    prefix_spill_close(spill);
    struct prefix_spill_options other = options_of(1000);
    other.fingerprint[31]++;
    found = (struct found){0};
    CHECK_OK(prefix_spill_open(&other, &spill, NULL, on_found, &found));
    CHECK_EQ(found.files, 0);
    CHECK_EQ(each_file(NULL), 0);
    prefix_spill_close(spill);
    remove_folder();
}

static void touch(const char *name)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(file >= 0);
    close(file);
}

TEST(only_names_of_our_form_are_touched_and_links_not_followed)
{
    char path[400];
    make_folder();
    touch("notes.txt");
    touch("0123456789abcdef0123456789abcdef.txt");
    touch("0123456789ABCDEF0123456789abcdef.kv");
    touch("0123456789abcdef0123456789abcdef.kv");                    /* empty */
    touch("0123456789abcdef0123456789abcdee.0123456789abcdef.part"); /* half written */
    touch("0123456789abcdef0123456789abcdee.kv.part");               /* by an earlier version */
    snprintf(path, sizeof(path), "%s/%s", folder, "0123456789abcdef0123456789abcdea.kv");
    CHECK(symlink("notes.txt", path) == 0);
    touch("0123456789abcdef0123456789abcdee.1.part");
    struct prefix_spill *spill = open_spill(1000);
    CHECK_EQ(each_file(NULL), 4);
    CHECK_EQ(prefix_spill_counts(spill).removed_bad, 2);
    prefix_spill_close(spill);
    remove_folder();
}

TEST(what_another_process_still_writes_is_not_removed)
{
    static const char part[] = "0123456789abcdef0123456789abcdee.0123456789abcdef.part";
    char path[400];
    make_folder();
    touch(part);
    snprintf(path, sizeof(path), "%s/%s", folder, part);
    int file = open(path, O_WRONLY);
    CHECK(file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0);
    prefix_spill_close(open_spill(1000));
    CHECK_EQ(each_file(NULL), 1);
    close(file); /* it has died */
    prefix_spill_close(open_spill(1000));
    CHECK_EQ(each_file(NULL), 0);
    remove_folder();
}

static void put_one(struct prefix_spill *spill, token_id last)
{
    token_id own[COUNT] = {5, 6, 7, last};
    CHECK_OK(prefix_spill_put(spill, SCOPE, own, COUNT, blob));
}

static bool has(struct prefix_spill *spill, token_id last)
{
    token_id own[COUNT] = {5, 6, 7, last};
    void *bytes = NULL;
    size_t count;
    enum err err = prefix_spill_get(spill, SCOPE, own, COUNT, &bytes, &count);
    mem_free(bytes);
    return err == ERR_OK;
}

TEST(the_one_unused_for_longest_makes_room)
{
    make_folder();
    struct prefix_spill *spill = open_spill((uint64_t)3 * FILE_BYTES);
    put_one(spill, 1), put_one(spill, 2), put_one(spill, 3);
    CHECK(has(spill, 1));
    put_one(spill, 4);
    CHECK(has(spill, 1) && !has(spill, 2) && has(spill, 3) && has(spill, 4));
    CHECK_EQ(prefix_spill_counts(spill).removed_old, 1);
    prefix_spill_close(spill);
    spill = open_spill((uint64_t)2 * FILE_BYTES); /* a smaller bound than last time */
    CHECK_EQ(each_file(NULL), 2);
    char large[2 * FILE_BYTES] = {0};
    CHECK_ERR(prefix_spill_put(spill, SCOPE, ids, COUNT, slice_of(large, sizeof(large))), ERR_FULL);
    CHECK_EQ(each_file(NULL), 2);
    for (token_id last = 10; last < 30; last++)
        put_one(spill, last);
    CHECK_EQ(each_file(NULL), 2);
    prefix_spill_close(spill);
    spill = open_spill(100000);
    for (token_id last = 10; last < 30; last++)
        put_one(spill, last);
    CHECK_EQ(each_file(NULL), 8); /* files_max */
    prefix_spill_close(spill);
    remove_folder();
}

TEST(without_memory_a_file_stays_for_better_times)
{
    make_folder();
    struct prefix_spill *spill = open_spill(1000);
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
    for (uint64_t nth = 1; nth <= 3; nth++) { /* head, ids, blob */
        mem_test_fail_nth(nth);
        CHECK_ERR(get(spill), ERR_FULL);
    }
    mem_test_fail_nth(0);
    CHECK_OK(get(spill));
    prefix_spill_close(spill);
    remove_folder();
}

TEST(what_another_process_took_away_is_not_found)
{
    make_folder();
    struct prefix_spill *spill = open_spill(1000);
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
    each_file(remove_file);
    CHECK_ERR(get(spill), ERR_NOT_FOUND);
    CHECK_EQ(prefix_spill_counts(spill).files, 0);
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
    CHECK_OK(get(spill));
    prefix_spill_close(spill);
    remove_folder();
}

TEST(what_is_of_one_scope_is_not_found_in_another)
{
    make_folder();
    struct prefix_spill *spill = open_spill(1000);
    void *bytes = NULL;
    size_t count;
    CHECK_OK(prefix_spill_put(spill, SCOPE, ids, COUNT, blob));
    CHECK_ERR(prefix_spill_get(spill, SCOPE + 1, ids, COUNT, &bytes, &count), ERR_NOT_FOUND);
    prefix_spill_remove(spill, SCOPE + 1, ids, COUNT);
    CHECK_OK(get(spill));
    CHECK_OK(prefix_spill_put(spill, SCOPE + 1, ids, COUNT, blob));
    CHECK_EQ(each_file(NULL), 2);
    prefix_spill_close(spill);
    remove_folder();
}

TEST(a_folder_that_cannot_be_is_said)
{
    struct prefix_spill_options options = options_of(1000);
    struct prefix_spill *spill;
    struct err_note note;
    options.folder = "/proc/no/folder";
    CHECK_ERR(prefix_spill_open(&options, &spill, &note, on_found, &found), ERR_SYSTEM);
    CHECK(strstr(note.text, "/proc/no/folder") != NULL);
}
