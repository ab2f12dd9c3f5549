/* settings_test - what a role reads: the start's values, and of a reload only what is live. */
#include "host/settings.h"
#include "config/keys.h"
#include "config/snapshot.h"
#include "testing/alloc_count.h"
#include "testing/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct config *load(const char *level, const char *port)
{
    char *argv[] = {"millrace serve", "--log-level",     (char *)level, "--http-port",
                    (char *)port,     "--default-model", "dummy"};
    char *env[] = {NULL};
    struct config *config = NULL;
    struct err_note note;
    CHECK_OK(config_load(ARRAY_COUNT(argv), argv, env, &config, &note));
    return config;
}

static struct config *read_back(const struct settings *settings)
{
    struct config *config = NULL;
    struct err_note note;
    CHECK_OK(config_snapshot_read(settings_fd(settings), &config, &note));
    return config;
}

TEST(roles_read_the_bus_and_the_port_that_the_host_chose)
{
    struct config *start = load("warn", "0");
    struct settings *settings = NULL;
    struct err_note note;
    CHECK_OK(settings_new(start, "/run/bus", 4711, &settings, &note));
    CHECK(fcntl(settings_fd(settings), F_GETFD) == FD_CLOEXEC);
    struct config *role = read_back(settings);
    CHECK_STR(role->bus_url, "ipc:///run/bus");
    CHECK_EQ(role->http_port, 4711);
    CHECK_STR(role->log_level, "warn");
    CHECK_EQ(start->http_port, 0);
    config_free(role);
    settings_free(settings);
    config_free(start);
}

TEST(a_change_brings_what_is_live_and_nothing_else)
{
    struct config *start = load("warn", "0"), *wanted = load("debug", "9999");
    struct settings *settings = NULL;
    struct err_note note;
    CHECK(config_key_find(SLICE("log_level"))->is_live);
    CHECK(!config_key_find(SLICE("http_port"))->is_live);
    wanted->drain_ms = start->drain_ms + 1;
    CHECK_OK(settings_new(start, "/run/bus", 4711, &settings, &note));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(settings_change(settings, wanted, &note));
        struct config *role = read_back(settings);
        CHECK_STR(role->log_level, "debug");
        CHECK_STR(role->bus_url, "ipc:///run/bus");
        CHECK_EQ(role->http_port, 4711);
        CHECK_EQ(role->drain_ms, start->drain_ms);
        config_free(role);
    }
    settings_free(settings);
    config_free(wanted);
    config_free(start);
}

/* A service is reloaded for years. */
TEST(a_thousand_reloads_keep_no_more_than_one)
{
    struct config *start = load("warn", "0");
    struct settings *settings = NULL;
    struct err_note note;
    long kept_by_one = 0;
    CHECK_OK(settings_new(start, "/run/bus", 4711, &settings, &note));
    alloc_count_resume();
    for (int i = 0; i < 1000; i++) {
        struct config *wanted = load(i % 2 ? "debug" : "info", "0");
        CHECK_OK(settings_change(settings, wanted, &note));
        config_free(wanted);
        config_free(read_back(settings));
        if (i == 0)
            kept_by_one = alloc_count_kept();
    }
    alloc_count_pause();
    CHECK_EQ(alloc_count_kept(), kept_by_one);
    settings_free(settings);
    config_free(start);
}
