/* snapshot_test - what the host wrote is what a role reads, to the byte, or it is refused. */
#include "config/snapshot.h"
#include "config/api_keys.h"
#include "config/keys.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static int memory_file(const char *content)
{
    int fd = memfd_create("snapshot_test", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, content, strlen(content)), strlen(content));
    return fd;
}

static struct config *load(char *const *env)
{
    struct config *config;
    char *argv[] = {"test", NULL};
    CHECK_OK(config_load(1, argv, env, &config, NULL));
    return config;
}

static void note_change(void *ctx, const char *key, bool is_live)
{
    (void)is_live;
    text_add_f(ctx, "%s;", key);
}

static void check_differ(const struct config *one, const struct config *other, const char *keys)
{
    struct text changes;
    text_init(&changes, 4096);
    config_changes(one, other, note_change, &changes);
    text_add_byte(&changes, 0);
    CHECK_STR(changes.data, keys);
    text_fini(&changes);
}

TEST(every_value_reads_back_exactly)
{
    int fd = memory_file("");
    struct config *config =
        load((char *const[]){"DUMMY_TEXT=a\"\\\x01\n\t\u00e9 \U0001f98a", "KV_MEMORY=3g",
                             "ALLOW_NO_KEYS=1", "PING_MS=123", "BUS_URL=ipc:///run/x", NULL});
    struct config *again;
    CHECK_OK(api_keys_read(SLICE("[{\"name\":\"alice\",\"sha256\":\"" SHA_A "\",\"weight\":7}]"),
                           config, NULL));
    CHECK_OK(config_snapshot_write(config, fd));
    CHECK_OK(config_snapshot_read(fd, &again, NULL));
    check_differ(config, again, "");
    CHECK_STR(again->dummy_text, config->dummy_text);
    CHECK_EQ(again->kv_memory, 3ull << 30);
    CHECK(again->allow_no_keys);
    CHECK_EQ(again->ping_ms, 123);
    CHECK_STR(again->bus_url, "ipc:///run/x");
    CHECK_EQ(again->key_count, 1);
    CHECK_STR(again->keys[0].name, "alice");
    config_free(config);
    config_free(again);
    close(fd);
}

TEST(fields_that_were_changed_in_a_copy_are_written)
{
    int fd = memory_file("");
    struct config *config = load((char *const[]){NULL}), *again;
    struct config copy = *config;
    copy.bus_url = "ipc:///tmp/bus";
    copy.http_port = 4711;
    CHECK_OK(config_snapshot_write(&copy, fd));
    CHECK_OK(config_snapshot_read(fd, &again, NULL));
    check_differ(config, again, "http_port;bus_url;");
    CHECK_EQ(again->http_port, 4711);
    config_free(config);
    config_free(again);
    close(fd);
}

TEST(a_shorter_one_replaces_a_longer_one_and_it_is_read_again_from_its_beginning)
{
    int fd = memory_file("");
    struct config *config =
        load((char *const[]){"DUMMY_TEXT=something long, with many words", NULL});
    struct config *shorter = load((char *const[]){NULL}), *again;
    for (int round = 0; round < 2; round++) {
        CHECK_OK(config_snapshot_write(round ? shorter : config, fd));
        for (int reader = 0; reader < 2; reader++) {
            CHECK_OK(config_snapshot_read(fd, &again, NULL));
            check_differ(round ? shorter : config, again, "");
            config_free(again);
        }
    }
    config_free(config);
    config_free(shorter);
    close(fd);
}

TEST(the_longest_values_fit)
{
    int fd = memory_file("");
    size_t longest = 1024 * 1024;
    char *text = malloc(longest + 1);
    memset(text, 0x01, longest); /* escaped, each is six bytes */
    text[longest] = 0;
    struct config *config = load((char *const[]){NULL}), *again;
    CHECK_OK(config_key_set(config_key_find(SLICE("dummy_text")), CONFIG_ENV, slice_str(text),
                            config, NULL));
    CHECK_OK(config_snapshot_write(config, fd));
    CHECK_OK(config_snapshot_read(fd, &again, NULL));
    CHECK_STR(again->dummy_text, text);
    config_free(config);
    config_free(again);
    free(text);
    close(fd);
}

static void check_refused(const char *content, enum err expected, const char *sentence)
{
    int fd = memory_file(content);
    struct config *config = NULL;
    struct err_note note;
    CHECK_ERR(config_snapshot_read(fd, &config, &note), expected);
    CHECK_STR(note.text, sentence);
    CHECK(config == NULL);
    close(fd);
}

TEST(what_is_no_snapshot_is_refused)
{
    check_refused("{\"http_prot\":\"1\"}", ERR_REFUSED,
                  "the host's configuration: unknown key 'http_prot'");
    check_refused("{\"http_port\":\"1\"}", ERR_REFUSED,
                  "the host's configuration: http_host is missing");
    check_refused("{\"http_port\":1}", ERR_REFUSED,
                  "the host's configuration: http_port must be a string");
    check_refused("{\"http_port\":\"65536\"}", ERR_REFUSED,
                  "host: http_port is '65536': allowed is 0..65535");
    check_refused("[]", ERR_REFUSED, "the host's configuration must be a JSON object");
    struct config *config = NULL;
    struct err_note note;
    CHECK_ERR(config_snapshot_read(-1, &config, &note), ERR_SYSTEM);
    CHECK_STR(note.text, "the host's configuration: Bad file descriptor");
}

/* Whatever part of it a reader may see: it never takes half a configuration for a whole one. */
TEST(a_part_of_a_snapshot_is_refused)
{
    int fd = memory_file("");
    struct config *config = load((char *const[]){NULL}), *again;
    struct err_note note;
    CHECK_OK(config_snapshot_write(config, fd));
    off_t bytes = lseek(fd, 0, SEEK_END);
    CHECK(bytes > 1000);
    CHECK_EQ(pwrite(fd, " x", 2, bytes), 2);
    CHECK_ERR(config_snapshot_read(fd, &again, &note), ERR_REFUSED);
    for (off_t cut = bytes - 1; cut >= 0; cut -= cut > 64 ? 61 : 1) {
        CHECK_EQ(ftruncate(fd, cut), 0);
        CHECK_ERR(config_snapshot_read(fd, &again, &note), ERR_REFUSED);
    }
    config_free(config);
    close(fd);
}

TEST(a_file_that_takes_nothing_is_an_error)
{
    struct config *config = load((char *const[]){NULL});
    CHECK_ERR(config_snapshot_write(config, -1), ERR_SYSTEM);
    config_free(config);
}
