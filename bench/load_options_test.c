/* load_options_test - every option is read, bounded, and refused where it means nothing. */
#include "load_options.h"
#include "testing/test.h"

enum { WORDS_MAX = 16 };
#define URL "--url=http://127.0.0.1:80"

/* "load" and the words, NULL at the end. */
static enum err parse(const char *const *words, struct load_options *out, struct err_note *out_note)
{
    const char *argv[WORDS_MAX] = {"load"};
    int argc = 1;
    while (words[argc - 1] && argc < WORDS_MAX) {
        argv[argc] = words[argc - 1];
        argc++;
    }
    return load_options_parse(argc, argv, out, out_note);
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL}, &options, &note)

TEST(what_is_not_said_has_a_default)
{
    struct load_options options;
    struct err_note note;
    CHECK_OK(PARSE("streams", URL));
    CHECK_EQ(options.mode, LOAD_STREAMS);
    CHECK_EQ(options.pid, 0);
    CHECK_EQ(options.concurrency, 32);
    CHECK_EQ(options.requests, 256);
    CHECK_EQ(options.max_tokens, 64);
    CHECK_EQ(options.events, 0);
    CHECK_STR(options.path, "/v1/chat/completions");
    CHECK_STR(options.model, "dummy");
    CHECK(!options.has_clock && !options.is_json && !options.is_closing);
    CHECK(options.key == NULL && options.extra == NULL && options.body_file == NULL);
    CHECK_EQ(net_address_port(&options.address), 80);
}

TEST(values_come_behind_a_space_or_an_equals_sign)
{
    struct load_options options;
    struct err_note note;
    CHECK_OK(PARSE("open", "--url", "http://127.0.0.1:81", "--rate=2.5", "--seconds", "0.5",
                   "--clock", "--extra", "\"a\":1", "--key=k=v"));
    CHECK_EQ(options.mode, LOAD_OPEN);
    CHECK_NEAR(options.rate, 2.5, 0);
    CHECK_NEAR(options.seconds, 0.5, 0);
    CHECK(options.has_clock);
    CHECK_STR(options.extra, "\"a\":1");
    CHECK_STR(options.key, "k=v");
    CHECK_OK(PARSE("abort", URL, "--phase", "prefill", "--poll=llama"));
    CHECK_EQ(options.phase, PHASE_PREFILL);
    CHECK_EQ(options.poll, POLL_LLAMA);
    CHECK_OK(PARSE("idle", URL, "--kind", "sse", "--ready", "event", "--connections", "9"));
    CHECK_EQ(options.kind, KIND_SSE);
    CHECK_EQ(options.ready, READY_EVENT);
    CHECK_EQ(options.connections, 9);
    CHECK_OK(PARSE("slow", URL, "--slow", "0", "--slow-bytes-per-s", "1", "--fast", "1"));
    CHECK_EQ(options.slow, 0);
}

TEST(help_is_not_an_error_of_its_own)
{
    struct load_options options;
    struct err_note note;
    struct text text;
    CHECK_ERR(PARSE("streams", "--nonsense", "--help"), ERR_CANCELLED);
    text_init(&text, 65536);
    load_options_help(&text);
    CHECK_OK(text_status(&text));
    for (int mode = 0; mode < LOAD_MODE_COUNT; mode++)
        CHECK(slice_find(text_slice(&text), slice_str(load_mode_name((enum load_mode)mode))) !=
              SLICE_NPOS);
    CHECK(slice_find(text_slice(&text), SLICE("--slow-bytes-per-s K")) != SLICE_NPOS);
    text_fini(&text);
}

struct bound {
    const char *mode, *name, *fine[2], *wrong[3];
};

static const struct bound bounds[] = {
    {"streams", "--concurrency", {"1", "20000"}, {"0", "20001", "x"}},
    {"abort", "--concurrency", {"1", "200"}, {"0", "201", ""}},
    {"streams", "--leave-ratio", {"0", "0.99"}, {"1", "-0.1", ""}},
    {"streams", "--requests", {"1", "100000000"}, {"0", "100000001", "-1"}},
    {"streams", "--max-tokens", {"1", "1000000"}, {"0", "1000001", "1.5"}},
    {"streams", "--body-bytes", {"0", "67108864"}, {"67108865", "1k", ""}},
    {"streams", "--pid", {"1", "4194304"}, {"0", "4194305", "self"}},
    {"streams", "--timeout", {"0.001", "3600"}, {"0", "3600.1", "nan"}},
    {"open", "--rate", {"0.001", "1000000"}, {"0", "1000001", "1x"}},
    {"idle", "--seconds", {"0.001", "3600"}, {"0", "3601", "inf"}},
    {"idle", "--settle", {"0", "600"}, {"-1", "601", ""}},
    {"idle", "--connections", {"1", "1000000"}, {"0", "1000001", "1e4"}},
    {"idle", "--kind", {"keepalive", "sse"}, {"", "SSE", "both"}},
    {"abort", "--phase", {"queued", "decode"}, {"", "dead", "0"}},
    {"slow", "--slow", {"0", "100000"}, {"100001", "", "all"}},
    {"slow", "--fast", {"1", "10000"}, {"0", "10001", ""}},
    {"slow", "--fast-requests", {"0", "100000000"}, {"-1", "100000001", ""}},
    {"streams", "--path", {"/", "/x?y"}, {"", "x", "/a b"}},
    {"streams", "--key", {"k", "a b"}, {"", "a\nb", "\x80"}},
};

TEST(a_value_outside_of_its_range_is_refused_with_its_name)
{
    struct load_options options = {.requests = 7};
    for (size_t i = 0; i < ARRAY_COUNT(bounds); i++) {
        const struct bound *bound = &bounds[i];
        struct err_note note;
        for (size_t k = 0; k < ARRAY_COUNT(bound->fine); k++)
            CHECK_OK(PARSE(bound->mode, URL, bound->name, bound->fine[k]));
        options.requests = 7;
        for (size_t k = 0; k < ARRAY_COUNT(bound->wrong); k++) {
            CHECK(PARSE(bound->mode, URL, bound->name, bound->wrong[k]) != ERR_OK);
            CHECK(slice_find(slice_str(note.text), slice_str(bound->name + 2)) != SLICE_NPOS);
        }
        CHECK_EQ(options.requests, 7); /* written on success only */
    }
}

TEST(what_makes_no_sense_is_refused)
{
    struct load_options options;
    struct err_note note;
    CHECK_ERR(parse((const char *const[]){NULL}, &options, &note), ERR_PROTOCOL);
    CHECK_STR(note.text, "nothing: the mode is streams, open, abort, slow, idle or arrive");
    CHECK_ERR(PARSE("stream", URL), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams"), ERR_PROTOCOL);
    CHECK_STR(note.text, "--url is missing");
    CHECK_ERR(PARSE("streams", URL, "x"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--nonsense"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--rate", "1"), ERR_PROTOCOL);
    CHECK_STR(note.text, "--rate: not an option of streams");
    CHECK_ERR(PARSE("streams", URL, "--pid"), ERR_PROTOCOL);
    CHECK_STR(note.text, "--pid: its PID is missing");
    CHECK_ERR(PARSE("streams", URL, "--clock=yes"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--body-file", "f", "--body-bytes", "500"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--json", "--clock"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--json", "--usage"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--bodies", "f", "--extra", "\"a\":1"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--bodies", "f", "--body-file", "g"), ERR_PROTOCOL);
    CHECK_ERR(PARSE("streams", URL, "--no-tail", "--requests=8", "--concurrency=8"), ERR_LIMIT);
    CHECK_OK(PARSE("streams", URL, "--no-tail", "--requests=9", "--concurrency=8"));
    CHECK_ERR(PARSE("arrive", URL, "--requests", "2"), ERR_PROTOCOL);
    CHECK_STR(note.text, "--bodies is missing: what arrives");
}

TEST(prompts_may_arrive_beside_streams_of_another_body_or_alone)
{
    struct load_options options;
    struct err_note note;
    CHECK_OK(PARSE("arrive", URL, "--bodies", "f", "--extra", "\"a\":1", "--concurrency", "4"));
    CHECK_EQ(options.mode, LOAD_ARRIVE);
    CHECK_STR(options.bodies, "f");
    CHECK_OK(PARSE("arrive", URL, "--bodies", "f", "--concurrency", "0"));
    CHECK_EQ(options.concurrency, 0);
}

TEST(only_loopback_is_loaded)
{
    static const char *const urls[] = {
        "http://192.0.2.1:80",    "http://0.0.0.0:80",
        "http://example.com:80",  "https://127.0.0.1:80",
        "http://127.0.0.1",       "http://127.0.0.1:0",
        "http://127.0.0.1:65536", "http://127.0.0.1:80/x",
        "127.0.0.1:80",           "http://:80",
    };
    struct load_options options;
    struct err_note note;
    for (size_t i = 0; i < ARRAY_COUNT(urls); i++) {
        CHECK(PARSE("streams", "--url", urls[i]) != ERR_OK);
        CHECK(slice_find(slice_str(note.text), slice_str(urls[i])) != SLICE_NPOS);
    }
    CHECK_OK(PARSE("streams", "--url", "http://[::1]:80/"));
    CHECK_OK(PARSE("streams", "--url", "http://localhost:80"));
}
