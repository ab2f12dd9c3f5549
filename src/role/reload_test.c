/* reload_test - what a SIGHUP takes in, what it only names, and what it refuses; and the address
 * that a configuration may listen on. */
#include "role/reload.h"

#include "config/snapshot.h"
#include "role/listen_address.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ONE_KEY                                                                                    \
    "\"keys\": [{\"name\": \"a\", \"sha256\": "                                                    \
    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]"

static char file[64];
static char *argv[] = {"test", "--config", file, NULL};

static void write_file(const char *content)
{
    FILE *out = fopen(file, "w");
    CHECK(out != NULL);
    fputs(content, out);
    fclose(out);
}

static struct config *begin(const char *content)
{
    struct config *config;
    snprintf(file, sizeof(file), "/tmp/millrace-reload-XXXXXX");
    int fd = mkstemp(file);
    CHECK(fd >= 0);
    close(fd);
    write_file(content);
    CHECK_OK(config_load(3, argv, (char *const[]){NULL}, &config, NULL));
    return config;
}

static void end(struct config *config)
{
    config_free(config);
    unlink(file);
}

TEST(a_changed_file_is_read_and_a_mistake_changes_nothing)
{
    struct config *config = begin("{\"ping_ms\": 500}");
    write_file("{\"ping_ms\": 600, \"allowed_hosts\": \"box\"}");
    struct config *again = reload_config(config, -1);
    CHECK(again != NULL);
    CHECK_EQ(again->ping_ms, 600);
    CHECK_STR(again->allowed_hosts, "box");
    CHECK_EQ(config->ping_ms, 500);
    config_free(again);
    write_file("{\"ping_ms\": 1}");
    CHECK(reload_config(config, -1) == NULL);
    unlink(file);
    CHECK(reload_config(config, -1) == NULL);
    end(config);
}

TEST(under_a_host_its_snapshot_counts_and_not_the_file)
{
    struct config *config = begin("{\"ping_ms\": 500}");
    int fd = memfd_create("reload_test", MFD_CLOEXEC);
    struct config copy = *config;
    copy.ping_ms = 700;
    CHECK_OK(config_snapshot_write(&copy, fd));
    write_file("{\"ping_ms\": 600}");
    struct config *again = reload_config(config, fd);
    CHECK(again != NULL);
    CHECK_EQ(again->ping_ms, 700);
    config_free(again);
    CHECK_EQ(ftruncate(fd, 10), 0);
    CHECK(reload_config(config, fd) == NULL);
    close(fd);
    end(config);
}

/* Else a slip of the editor would open the service to everybody who reaches it. */
TEST(keys_cannot_all_go_while_others_can_reach_the_address)
{
    struct config *config = begin("{\"http_host\": \"0.0.0.0\", " ONE_KEY "}");
    write_file("{\"http_host\": \"0.0.0.0\", \"keys\": []}");
    CHECK(reload_config(config, -1) == NULL);
    write_file("{\"http_host\": \"0.0.0.0\", \"allow_no_keys\": true}");
    struct config *again = reload_config(config, -1);
    CHECK(again != NULL);
    config_free(again);
    end(config);
}

/* The new http_host needs a restart; until then the old one is what others reach. */
TEST(keys_cannot_go_together_with_the_address_that_needs_them)
{
    struct config *config = begin("{\"http_host\": \"0.0.0.0\", " ONE_KEY "}");
    write_file("{\"http_host\": \"127.0.0.1\"}");
    CHECK(reload_config(config, -1) == NULL);
    write_file("{\"http_host\": \"127.0.0.1\", " ONE_KEY "}");
    struct config *again = reload_config(config, -1);
    CHECK(again != NULL);
    config_free(again);
    end(config);
}

TEST(an_address_that_others_reach_needs_keys_or_a_clear_word)
{
    struct net_address address;
    struct err_note note;
    struct config_api_key key = {.name = "a", .tenant = "a", .weight = 1};
    struct config config = {.http_host = "127.0.0.1", .http_port = 8080};
    CHECK_OK(listen_address(&config, &address, &note));
    CHECK_EQ(net_address_port(&address), 8080);
    config.http_host = "0.0.0.0";
    CHECK_ERR(listen_address(&config, &address, &note), ERR_REFUSED);
    CHECK(strstr(note.text, "http_host 0.0.0.0 can be reached from other machines") != NULL);
    config.keys = &key;
    config.key_count = 1;
    CHECK_OK(listen_address(&config, &address, &note));
    config.key_count = 0;
    config.allow_no_keys = true;
    CHECK_OK(listen_address(&config, &address, &note));
    config.http_host = "example.org";
    CHECK_ERR(listen_address(&config, &address, &note), ERR_PROTOCOL);
}
