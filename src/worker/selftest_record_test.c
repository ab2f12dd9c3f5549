#include "testing/test.h"
#include "worker/selftest_record.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct slice KEY = SLICE("model|engine|processor");
static char folder[64], path[96];
static struct err_note note;

static struct selftest_record sample(void)
{
    struct selftest_record record = {.result = {.determinism = NODE_EXACT,
                                                .width_max = 8,
                                                .draft_rows_exact_max = 3,
                                                .spent_us = 123456}};
    snprintf(record.result.fingerprint, sizeof(record.result.fingerprint), "%032d", 7);
    for (uint32_t i = 0; i < CALIBRATION_STEPS; i++)
        record.steps[record.step_count++] =
            (struct selftest_step){.shape = {i % 17, i, i * 1000ull}, .spent_us = i * 10ull};
    return record;
}

static void check_same(const struct selftest_record *a, const struct selftest_record *b)
{
    CHECK_EQ(a->result.determinism, b->result.determinism);
    CHECK_EQ(a->result.width_max, b->result.width_max);
    CHECK_EQ(a->result.draft_rows_exact_max, b->result.draft_rows_exact_max);
    CHECK_EQ(a->result.spent_us, b->result.spent_us);
    CHECK_STR(a->result.fingerprint, b->result.fingerprint);
    CHECK_EQ(a->step_count, b->step_count);
    for (uint32_t i = 0; i < a->step_count; i++) {
        CHECK_EQ(a->steps[i].shape.decode_rows, b->steps[i].shape.decode_rows);
        CHECK_EQ(a->steps[i].shape.prompt_rows, b->steps[i].shape.prompt_rows);
        CHECK_EQ(a->steps[i].shape.pairs, b->steps[i].shape.pairs);
        CHECK_EQ(a->steps[i].spent_us, b->steps[i].spent_us);
    }
}

static struct text encoded(const struct selftest_record *record)
{
    struct text text;
    text_init(&text, SELFTEST_RECORD_MAX_BYTES);
    selftest_record_encode(record, KEY, &text);
    CHECK_OK(text_status(&text));
    return text;
}

TEST(a_record_comes_back)
{
    struct selftest_record record = sample(), read;
    struct text text = encoded(&record);
    CHECK_OK(selftest_record_decode(text_slice(&text), KEY, &read, &note));
    check_same(&read, &record);
    text_fini(&text);
}

/* The budget of a test may end before the first way does. */
TEST(a_record_without_a_fingerprint_is_of_an_unknown_model_alone)
{
    struct selftest_record record = {.result = {.draft_rows_exact_max = 1}}, read;
    struct text text = encoded(&record);
    CHECK_OK(selftest_record_decode(text_slice(&text), KEY, &read, &note));
    check_same(&read, &record);
    text_fini(&text);
    record.result.determinism = NODE_EXACT;
    text = encoded(&record);
    CHECK_ERR(selftest_record_decode(text_slice(&text), KEY, &read, &note), ERR_PROTOCOL);
    text_fini(&text);
}

TEST(a_record_of_another_key_is_not_found)
{
    struct selftest_record record = sample(), read;
    struct text text = encoded(&record);
    CHECK_ERR(selftest_record_decode(text_slice(&text), SLICE("model|engine"), &read, &note),
              ERR_NOT_FOUND);
    text_fini(&text);
}

TEST(a_record_torn_anywhere_is_refused)
{
    struct selftest_record record = sample(), read;
    struct text text = encoded(&record);
    for (size_t cut = 0; cut + 1 < text.len; cut++) /* the last byte is the newline */
        CHECK_ERR(selftest_record_decode(slice_first(text_slice(&text), cut), KEY, &read, &note),
                  ERR_PROTOCOL);
    text_fini(&text);
}

/* `from` in the sample's text becomes `to`. */
static enum err decode_changed(const char *from, const char *to)
{
    struct selftest_record record = sample(), read;
    struct text text = encoded(&record), changed;
    size_t at = slice_find(text_slice(&text), slice_str(from));
    CHECK(at != SLICE_NPOS);
    text_init(&changed, 2 * SELFTEST_RECORD_MAX_BYTES);
    text_add(&changed, slice_first(text_slice(&text), at));
    text_add_str(&changed, to);
    text_add(&changed, slice_after(text_slice(&text), at + strlen(from)));
    enum err err = selftest_record_decode(text_slice(&changed), KEY, &read, &note);
    text_fini(&text);
    text_fini(&changed);
    return err;
}

TEST(every_field_is_held_to_its_range)
{
    CHECK_ERR(decode_changed("\"version\":1", "\"version\":2"), ERR_NOT_FOUND);
    CHECK_ERR(decode_changed("\"version\":1", "\"version\":\"1\""), ERR_PROTOCOL);
    CHECK_ERR(decode_changed("\"exact\"", "\"perfect\""), ERR_PROTOCOL);
    CHECK_ERR(decode_changed("\"width_max\":8", "\"width_max\":17"), ERR_LIMIT);
    CHECK_ERR(decode_changed("\"draft_rows_exact_max\":3", "\"draft_rows_exact_max\":0"),
              ERR_LIMIT);
    CHECK_ERR(decode_changed("\"draft_rows_exact_max\":3", "\"draft_rows_exact_max\":10"),
              ERR_LIMIT);
    CHECK_ERR(decode_changed("0000007", "000000g"), ERR_PROTOCOL);
    CHECK_ERR(decode_changed("0000007", "000007"), ERR_PROTOCOL);
    CHECK_ERR(decode_changed("[0,0,0,0]", "[0,0,0]"), ERR_PROTOCOL);
    CHECK_ERR(decode_changed("[0,0,0,0]", "[17,0,0,0]"), ERR_LIMIT);
    CHECK_ERR(decode_changed("[0,0,0,0]", "[0,0,-1,0]"), ERR_LIMIT);
    CHECK_ERR(decode_changed("[0,0,0,0]", "[0,0,0,600000001]"), ERR_LIMIT);
    CHECK_ERR(decode_changed("[0,0,0,0]", "[0,0,0,0],[0,0,0,0]"), ERR_LIMIT); /* one too many */
    CHECK_ERR(decode_changed("[0,0,0,0]", "7"), ERR_PROTOCOL);
    CHECK_ERR(decode_changed("\"steps\"", "\"steppes\""), ERR_PROTOCOL);
    CHECK_OK(decode_changed("[0,0,0,0]", "[16,0,0,600000000]"));
}

/* --- the file --- */

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/millrace-selftest-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/self-test.json", folder);
}

static void tear_down(void)
{
    (void)unlink(path);
    CHECK_EQ(rmdir(folder), 0); /* no draft is left */
}

static enum err write_record(const char *name, const struct selftest_record *record)
{
    struct text bytes;
    text_init(&bytes, SELFTEST_RECORD_MAX_BYTES);
    selftest_record_encode(record, KEY, &bytes);
    CHECK_OK(text_status(&bytes));
    enum err err = selftest_record_write(name, text_slice(&bytes), &note);
    text_fini(&bytes);
    return err;
}

static void put_file(struct slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    CHECK_EQ(close(fd), 0);
}

TEST(a_file_comes_back_and_is_replaced)
{
    struct selftest_record record = sample(), read;
    set_up();
    CHECK_ERR(selftest_record_read(path, KEY, &read, &note), ERR_NOT_FOUND);
    CHECK_OK(write_record(path, &record));
    record.result.width_max = 4;
    CHECK_OK(write_record(path, &record));
    CHECK_OK(selftest_record_read(path, KEY, &read, &note));
    check_same(&read, &record);
    tear_down();
}

/* It was killed between making it and giving it its name. */
TEST(what_a_crash_left_does_not_stay)
{
    char part[sizeof(path) + 8];
    struct selftest_record record = sample(), read;
    set_up();
    snprintf(part, sizeof(part), "%s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(ftruncate(fd, 2 * SELFTEST_RECORD_MAX_BYTES), 0);
    CHECK_EQ(close(fd), 0);
    CHECK_OK(write_record(path, &record));
    CHECK_OK(selftest_record_read(path, KEY, &read, &note));
    check_same(&read, &record);
    CHECK(access(part, F_OK) != 0);
    tear_down();
}

TEST(what_is_no_record_of_ours_is_said)
{
    static char long_text[SELFTEST_RECORD_MAX_BYTES + 1];
    struct selftest_record read;
    set_up();
    put_file(SLICE("{\"version\":1,"));
    CHECK_ERR(selftest_record_read(path, KEY, &read, &note), ERR_PROTOCOL);
    memset(long_text, ' ', sizeof(long_text));
    put_file(slice_of(long_text, sizeof(long_text)));
    CHECK_ERR(selftest_record_read(path, KEY, &read, &note), ERR_LIMIT);
    CHECK(strstr(note.text, "longer than 16384 bytes") != NULL);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(mkfifo(path, 0600), 0); /* nobody writes into it: it must not be waited for */
    CHECK(selftest_record_read(path, KEY, &read, &note) != ERR_OK);
    tear_down();
}

static void write_often(void)
{
    struct selftest_record record = sample();
    for (int i = 0; i < 200; i++) {
        record.step_count = (uint32_t)i % CALIBRATION_STEPS;
        if (write_record(path, &record) != ERR_OK)
            _exit(1);
    }
    _exit(0);
}

TEST(writers_at_the_same_time_are_not_in_each_others_way)
{
    enum { WRITERS = 3 };
    struct selftest_record read;
    pid_t writers[WRITERS];
    int status;
    set_up();
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        CHECK(writers[i] >= 0);
        if (writers[i] == 0)
            write_often();
    }
    for (int i = 0; i < WRITERS; i++) {
        CHECK_EQ(waitpid(writers[i], &status, 0), writers[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK_OK(selftest_record_read(path, KEY, &read, &note));
    tear_down();
}

/* The name is a folder's. */
TEST(a_record_that_cannot_take_its_place_leaves_nothing_behind)
{
    struct selftest_record record = sample();
    set_up();
    CHECK_EQ(mkdir(path, 0700), 0);
    CHECK_ERR(write_record(path, &record), ERR_SYSTEM);
    CHECK(strstr(note.text, path) != NULL);
    CHECK_EQ(rmdir(path), 0);
    tear_down();
}

TEST(a_folder_that_is_not_there_is_an_error)
{
    struct selftest_record record = sample();
    CHECK_ERR(write_record("/nonexistent/self-test.json", &record), ERR_SYSTEM);
    CHECK(strstr(note.text, "/nonexistent/self-test.json: No such file") != NULL);
}
