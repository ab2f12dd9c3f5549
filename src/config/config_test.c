/* config_test - every source, every kind of mistake, and that docs/config.md is the table. */
#include "config/config.h"
#include "config/keys.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENV(...) ((char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Loads with a command line cut at spaces. */
static enum err load(const char *words, char *const *env, struct config **out_config,
                     struct err_note *out_note)
{
    static char line[1024];
    char *argv[32] = {"test"};
    int argc = 1;
    snprintf(line, sizeof(line), "%s", words);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return config_load(argc, argv, env, out_config, out_note);
}

static void check_refused(const char *words, char *const *env, const char *sentence)
{
    struct config *config = NULL;
    struct err_note note;
    CHECK_ERR(load(words, env, &config, &note), ERR_REFUSED);
    CHECK_STR(note.text, sentence);
    CHECK(config == NULL);
}

/* A config file with this content in a folder that the test removes. */
static const char *write_file(const char *content)
{
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/millrace-config-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return path;
}

TEST(defaults_are_the_documented_ones)
{
    struct config *config;
    CHECK_OK(load("", ENV(), &config, NULL));
    CHECK_EQ(config->http_port, 8080);
    CHECK_STR(config->http_host, "127.0.0.1");
    CHECK_EQ(config->worker_threads, 4);
    CHECK_EQ(config->llama_n_ctx, 4096);
    CHECK_STR(config->default_model, "llama");
    CHECK_EQ(config->default_max_tokens, 512);
    CHECK_EQ(config->max_model_queue, 64);
    CHECK_EQ(config->max_queue_wait_ms, 2000);
    CHECK_EQ(config->body_max_bytes, 8 * 1024 * 1024);
    CHECK(!config->allow_no_keys);
    CHECK_STR(config->file, "");
    config_free(config);
}

TEST(command_line_beats_environment_beats_file_beats_default)
{
    const char *path =
        write_file("{\"http_port\": 1001, \"max_model_queue\": 3, \"stall_ms\": 500}");
    char file_env[128];
    snprintf(file_env, sizeof(file_env), "CONFIG_PATH=%s", path);
    struct config *config;
    CHECK_OK(load("--http-port=1003", ENV(file_env, "HTTP_PORT=1002", "MAX_MODEL_QUEUE=4"), &config,
                  NULL));
    CHECK_EQ(config->http_port, 1003);
    CHECK_EQ(config->max_model_queue, 4);
    CHECK_EQ(config->stall_ms, 500);
    CHECK_STR(config->file, path);

    struct text lines;
    text_init(&lines, 4096);
    config_conflicts(config, &lines);
    CHECK_SLICE(text_slice(&lines),
                "http_port is 1003 from the command line; the config file says 1001\n"
                "http_port is 1003 from the command line; the environment says 1002\n"
                "max_model_queue is 4 from the environment; the config file says 3\n");
    text_fini(&lines);
    config_free(config);
    unlink(path);
}

TEST(first_bare_argument_is_the_port)
{
    struct config *config;
    CHECK_OK(load("9001 --host ::1", ENV(), &config, NULL));
    CHECK_EQ(config->http_port, 9001);
    CHECK_STR(config->http_host, "::1");
    config_free(config);
    check_refused("9001 9002", ENV(), "command line: unexpected argument '9002'");
}

TEST(sizes_take_units_and_switches_take_none)
{
    struct config *config;
    CHECK_OK(load("--body-max-bytes 2MiB --out-max-bytes 65536 --kv-memory 3g --allow-no-keys",
                  ENV(), &config, NULL));
    CHECK_EQ(config->body_max_bytes, 2 * 1024 * 1024);
    CHECK_EQ(config->out_max_bytes, 65536);
    CHECK_EQ(config->kv_memory, 3ull << 30);
    CHECK(config->allow_no_keys);
    config_free(config);
}

TEST(a_value_out_of_range_names_key_value_source_and_range)
{
    check_refused("--http-port 65536", ENV(),
                  "command line: http_port is '65536': allowed is 0..65535");
    check_refused("", ENV("HTTP_PORT=-1"), "environment: http_port is '-1': allowed is 0..65535");
    check_refused("", ENV("STALL_MS=99"),
                  "environment: stall_ms is '99': allowed is 100..86400000");
    check_refused("--engine-profile quick", ENV(),
                  "command line: engine_profile is 'quick': allowed is exact|fast");
    check_refused("--allow-no-keys=maybe", ENV(),
                  "command line: allow_no_keys is 'maybe': allowed is true|false");
    check_refused("--body-max-bytes 8QiB", ENV(),
                  "command line: body_max_bytes is '8QiB': allowed is 1024..1073741824");
    check_refused("--body-max-bytes 99999999999999999999M", ENV(),
                  "command line: body_max_bytes is '99999999999999999999M': allowed is "
                  "1024..1073741824");
}

TEST(edges_of_a_range_are_inside_it)
{
    struct config *config;
    CHECK_OK(load("--http-port 65535 --stall-ms 100", ENV(), &config, NULL));
    CHECK_EQ(config->http_port, 65535);
    CHECK_EQ(config->stall_ms, 100);
    config_free(config);
}

TEST(an_unknown_option_is_named)
{
    check_refused("--no-such-thing 1", ENV(),
                  "command line: unknown option, or one without its value: '--no-such-thing'");
    check_refused("--http-port", ENV(),
                  "command line: unknown option, or one without its value: '--http-port'");
}

static void check_file_refused(const char *content, const char *sentence_after_path)
{
    const char *path = write_file(content);
    char words[128], sentence[600];
    snprintf(words, sizeof(words), "--config %s", path);
    snprintf(sentence, sizeof(sentence), "%s: %s", path, sentence_after_path);
    check_refused(words, ENV(), sentence);
    unlink(path);
}

TEST(mistakes_in_the_file_name_the_file_and_the_key)
{
    check_file_refused("{\"http_prot\": 1}", "unknown key 'http_prot'");
    check_file_refused("{\"http_port\": \"8080\"}", "http_port must be a number");
    check_file_refused("{\"http_port\": 70000}",
                       "config file: http_port is '70000': allowed is 0..65535");
    check_file_refused("{\"http_host\": 1}", "http_host must be a string");
    check_file_refused("{\"allow_no_keys\": 1}", "allow_no_keys must be true or false");
    check_file_refused("[]", "must be a JSON object");
}

TEST(a_file_that_is_not_json_or_has_a_key_twice_is_refused)
{
    const char *contents[] = {"{", "{\"http_port\":1,\"http_port\":2}", "", "{} x"};
    for (size_t i = 0; i < ARRAY_COUNT(contents); i++) {
        const char *path = write_file(contents[i]);
        char words[128];
        snprintf(words, sizeof(words), "--config %s", path);
        struct config *config = NULL;
        struct err_note note;
        CHECK_ERR(load(words, ENV(), &config, &note), ERR_REFUSED);
        CHECK(strncmp(note.text, path, strlen(path)) == 0);
        unlink(path);
    }
}

TEST(a_named_file_must_be_there)
{
    check_refused("--config /nonexistent/config.json", ENV(),
                  "/nonexistent/config.json: No such file or directory");
    check_refused("", ENV("CONFIG_PATH=/nonexistent/c.json"),
                  "/nonexistent/c.json: No such file or directory");
    check_refused("--config /tmp", ENV(), "/tmp is not a regular file");
}

TEST(every_key_can_be_set_from_every_source_and_shows_it)
{
    struct config *config;
    CHECK_OK(load("", ENV("LOG_LEVEL=debug"), &config, NULL));
    struct text shown;
    text_init(&shown, 65536);
    config_show(config, &shown);
    CHECK(slice_find(text_slice(&shown), SLICE("debug")) != SLICE_NPOS);
    CHECK(slice_find(text_slice(&shown), SLICE("(environment)")) != SLICE_NPOS);
    for (size_t i = 0; i < config_key_count; i++)
        CHECK(slice_find(text_slice(&shown), slice_str(config_keys[i].name)) != SLICE_NPOS);
    text_fini(&shown);
    config_free(config);
}

static void note_change(void *ctx, const char *key, bool is_live)
{
    struct text *changes = ctx;
    text_add_f(changes, "%s%s;", key, is_live ? " live" : "");
}

TEST(reading_again_tells_the_keys_that_differ)
{
    struct config *config, *again;
    char *env[] = {"LOG_LEVEL=debug", "HTTP_PORT=81", NULL};
    char *argv[] = {"test", "--ping-ms=500", NULL};
    struct err_note note;
    struct text changes;
    text_init(&changes, 4096);
    CHECK_OK(config_load(2, argv, env, &config, &note));
    CHECK_OK(config_reload(config, env, &again, &note));
    config_changes(config, again, note_change, &changes);
    CHECK_EQ(changes.len, 0);
    config_free(again);
    env[0] = "LOG_LEVEL=warn";
    env[1] = "HTTP_PORT=99999";
    CHECK_ERR(config_reload(config, env, &again, &note), ERR_REFUSED);
    env[1] = "PING_MS=900"; /* the command line still wins */
    CHECK_OK(config_reload(config, env, &again, &note));
    config_changes(config, again, note_change, &changes);
    CHECK_SLICE(text_slice(&changes), "http_port;log_level live;");
    text_fini(&changes);
    config_free(again);
    config_free(config);
}

TEST(what_may_change_while_it_runs_is_known)
{
    struct text live;
    text_init(&live, 4096);
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].is_live)
            text_add_f(&live, "%s;", config_keys[i].name);
    CHECK_SLICE(
        text_slice(&live),
        "keys;allow_no_keys;allowed_hosts;allowed_origins;max_model_queue;max_queue_wait_ms;"
        "model_load_timeout_ms;streams_per_key;log_level;");
    text_fini(&live);
}

/* "8MiB" for 8388608 is no change. */
TEST(another_spelling_of_a_value_is_no_change)
{
    struct config *one, *other;
    struct text changes;
    text_init(&changes, 4096);
    CHECK_OK(load("--body-max-bytes 8388608 --allow-no-keys", ENV(), &one, NULL));
    CHECK_OK(load("--allow-no-keys=1", ENV(), &other, NULL));
    config_changes(one, other, note_change, &changes);
    CHECK_EQ(changes.len, 0);
    text_fini(&changes);
    config_free(one);
    config_free(other);
}

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

TEST(keys_come_from_the_file_alone_and_are_shown_without_their_digests)
{
    const char *path =
        write_file("{\"keys\": [{\"name\": \"alice\", \"sha256\": \"" SHA_A "\", \"weight\": 2}]}");
    char words[128];
    snprintf(words, sizeof(words), "--config %s", path);
    struct config *config, *none;
    struct text text;
    text_init(&text, 65536);
    CHECK_OK(load(words, ENV(), &config, NULL));
    CHECK_EQ(config->key_count, 1);
    CHECK_STR(config->keys[0].name, "alice");
    config_show(config, &text);
    CHECK(slice_find(text_slice(&text), SLICE("\"alice\"")) != SLICE_NPOS);
    CHECK(slice_find(text_slice(&text), SLICE("aaaaaaaaa")) == SLICE_NPOS);
    CHECK_OK(load("", ENV("KEYS=[]", "keys=[]"), &none, NULL));
    CHECK_EQ(none->key_count, 0);
    text_clear(&text);
    config_changes(config, none, note_change, &text);
    CHECK_SLICE(text_slice(&text), "keys live;");
    check_refused("--keys []", ENV(),
                  "command line: unknown option, or one without its value: '--keys'");
    text_fini(&text);
    config_free(config);
    config_free(none);
    unlink(path);
}

TEST(a_mistake_in_a_key_names_the_file_and_the_entry)
{
    check_file_refused("{\"keys\": {}}", "keys must be a list of objects");
    check_file_refused("{\"keys\": \"[]\"}", "keys must be a list of objects");
    check_file_refused("{\"keys\": [{\"name\": \"a\", \"sha256\": \"" SHA_A
                       "\"}, {\"name\": \"b\"}]}",
                       "config file: keys[1].sha256 must be 64 hex digits");
}

TEST(solo_is_an_option_and_no_key)
{
    struct config *config;
    CHECK_OK(load("--solo", ENV(), &config, NULL));
    CHECK(config->is_solo);
    config_free(config);
    CHECK_OK(load("", ENV("SOLO=1"), &config, NULL));
    CHECK(!config->is_solo);
    config_free(config);
    check_file_refused("{\"solo\": true}", "unknown key 'solo'");
}

TEST(cpus_of_the_engine_are_a_list)
{
    struct config *config;
    CHECK_OK(load("", ENV(), &config, NULL));
    CHECK_STR(config->llama_cpus, "");
    config_free(config);
    CHECK_OK(load("--llama-cpus=0-3,8", ENV("LLAMA_CPUS=1"), &config, NULL));
    CHECK_STR(config->llama_cpus, "0-3,8");
    config_free(config);
    check_refused(
        "--llama-cpus=0-3,2", ENV(),
        "command line: llama_cpus is '0-3,2': '2' names a CPU once more; allowed is empty, "
        "or CPUs as in 0-3,8");
    check_refused("", ENV("LLAMA_CPUS=1024"),
                  "environment: llama_cpus is '1024': '1024' is beyond the last CPU there can be; "
                  "allowed is empty, or CPUs as in 0-3,8");
}

TEST(where_the_roles_meet_is_a_folder)
{
    struct config *config;
    char url[128];
    CHECK_OK(load("", ENV("BUS_URL=ipc:///run/millrace"), &config, NULL));
    CHECK_STR(config->bus_url, "ipc:///run/millrace");
    config_free(config);
    const char *wrong[] = {"tcp://127.0.0.1:1", "ipc:///", "ipc://x", "/run/millrace"};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        char words[128], sentence[256];
        snprintf(words, sizeof(words), "--bus-url=%s", wrong[i]);
        snprintf(sentence, sizeof(sentence),
                 "command line: bus_url is '%s': allowed is empty, or ipc:///FOLDER of at most 102 "
                 "bytes",
                 wrong[i]);
        check_refused(words, ENV(), sentence);
    }
    snprintf(url, sizeof(url), "--bus-url=ipc:///%095d", 7);
    CHECK_OK(load(url, ENV(), &config, NULL));
    config_free(config);
    snprintf(url, sizeof(url), "--bus-url=ipc:///%096d", 7);
    struct err_note note;
    CHECK_ERR(load(url, ENV(), &config, &note), ERR_REFUSED);
}

TEST(a_value_that_is_not_utf8_is_refused)
{
    check_refused("", ENV("LLAMA_MODEL_PATH=/x/\xff"),
                  "environment: llama_model_path must be UTF-8");
}

TEST(docs_config_md_holds_the_table_as_it_is)
{
    const char *path = getenv("CONFIG_DOC");
    CHECK(path != NULL);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    static char doc[262144];
    size_t len = fread(doc, 1, sizeof(doc), file);
    fclose(file);
    struct text table;
    text_init(&table, 131072);
    config_doc_table(&table);
    bool same = slice_find(slice_of(doc, len), text_slice(&table)) != SLICE_NPOS;
    if (!same) /* what to paste */
        fwrite(table.data, 1, table.len, stdout);
    text_fini(&table);
    CHECK(same);
}
