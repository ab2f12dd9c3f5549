/* stress_options - argp, ranges, and the refusal of every target but loopback. */
#include "stress_options.h"

#include "base/id.h"
#include "loopback_url.h"

#include <argp.h>
#include <math.h>
#include <stdlib.h>

enum key {
    KEY_URL = 256,
    KEY_MODEL,
    KEY_CONCURRENCY,
    KEY_ROUNDS,
    KEY_ABORT_RATIO,
    KEY_ABORT_MIN,
    KEY_ABORT_MAX,
    KEY_TIMEOUT,
    KEY_MAX_TOKENS,
    KEY_SEED,
    KEY_PID,
    KEY_KEY
};

static const struct argp_option argp_options[] = {
    {"url", KEY_URL, "URL", 0, "the server, on loopback (http://127.0.0.1:8080)", 0},
    {"model", KEY_MODEL, "NAME", 0, "the model (dummy)", 0},
    {"concurrency", KEY_CONCURRENCY, "N", 0, "streams at once, 1..10000 (30)", 0},
    {"rounds", KEY_ROUNDS, "N", 0, "streams in all, 2..10000000 (500)", 0},
    {"abort-ratio", KEY_ABORT_RATIO, "SHARE", 0, "the share that is aborted, 0..1 (0.7)", 0},
    {"abort-min", KEY_ABORT_MIN, "SECONDS", 0, "the earliest abort (0.2)", 0},
    {"abort-max", KEY_ABORT_MAX, "SECONDS", 0, "the latest abort (2.5)", 0},
    {"timeout", KEY_TIMEOUT, "SECONDS", 0, "a stream that takes longer has failed (60)", 0},
    {"max-tokens", KEY_MAX_TOKENS, "N", 0, "tokens per stream, 1..1000000 (256)", 0},
    {"seed", KEY_SEED, "N", 0, "who aborts, and when (random)", 0},
    {"pid", KEY_PID, "PID", 0,
     "the server's process: its memory and descriptors, and its children's, are checked", 0},
    {"key", KEY_KEY, "KEY", 0, "API key, sent as Authorization: Bearer", 0},
    {0},
};

static uint64_t read_number(struct argp_state *state, const char *name, const char *text,
                            uint64_t min, uint64_t max)
{
    uint64_t value = 0;
    if (slice_parse_u64(slice_str(text), max, &value) != ERR_OK || value < min)
        argp_error(state, "%s %s: allowed are %llu..%llu", name, text, (unsigned long long)min,
                   (unsigned long long)max);
    return value;
}

static double read_real(struct argp_state *state, const char *name, const char *text, double min,
                        double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= min && value <= max)) /* not a number fails both */
        argp_error(state, "%s %s: allowed are %g..%g", name, text, min, max);
    return value;
}

static void read_url(struct argp_state *state, const char *url, struct net_address *out_address)
{
    struct err_note note = {""};
    ASSERT(url); /* argp gives every option of ours its value */
    if (loopback_url_parse(url, out_address, &note) != ERR_OK)
        argp_error(state, "%s", note.text);
}

/* It becomes part of a header field. */
static void read_key(struct argp_state *state, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            argp_error(state, "key: byte %zu is not visible ASCII", i);
    if (len == 0 || len > 512)
        argp_error(state, "key: allowed are 1..512 bytes, these are %zu", len);
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct stress_options *options = state->input;
    switch (key) {
    case KEY_URL:
        read_url(state, text, &options->address);
        return 0;
    case KEY_MODEL:
        options->model = text;
        return 0;
    case KEY_CONCURRENCY:
        options->concurrency = (uint32_t)read_number(state, "concurrency", text, 1, 10000);
        return 0;
    case KEY_ROUNDS:
        options->rounds = (uint32_t)read_number(state, "rounds", text, 2, 10000000);
        return 0;
    case KEY_ABORT_RATIO:
        options->abort_ratio = read_real(state, "abort-ratio", text, 0, 1);
        return 0;
    case KEY_ABORT_MIN:
        options->abort_min_s = read_real(state, "abort-min", text, 0, 3600);
        return 0;
    case KEY_ABORT_MAX:
        options->abort_max_s = read_real(state, "abort-max", text, 0, 3600);
        return 0;
    case KEY_TIMEOUT:
        options->timeout_s = read_real(state, "timeout", text, 0.001, 3600);
        return 0;
    case KEY_MAX_TOKENS:
        options->max_tokens = (uint32_t)read_number(state, "max-tokens", text, 1, 1000000);
        return 0;
    case KEY_SEED:
        options->seed = read_number(state, "seed", text, 0, UINT64_MAX);
        return 0;
    case KEY_PID:
        options->pid = (int)read_number(state, "pid", text, 1, INT32_MAX);
        return 0;
    case KEY_KEY:
        read_key(state, text);
        options->key = text;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "%s: there are only options", text);
        return 0;
    case ARGP_KEY_END:
        if (options->abort_min_s > options->abort_max_s)
            argp_error(state, "abort-min is above abort-max");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void stress_options_read(int argc, char **argv, struct stress_options *out_options)
{
    static const struct argp argp = {
        .options = argp_options,
        .parser = parse_option,
        .doc = "Fires chat streams at a millrace server on this machine, aborts a share of them, "
               "and exits 1 on any doubt about what came back or what is left behind."};
    struct err_note note;
    *out_options = (struct stress_options){.model = "dummy",
                                           .concurrency = 30,
                                           .rounds = 500,
                                           .abort_ratio = 0.7,
                                           .abort_min_s = 0.2,
                                           .abort_max_s = 2.5,
                                           .timeout_s = 60,
                                           .max_tokens = 256,
                                           .seed = random_u64()};
    ASSERT(net_address_parse(SLICE("127.0.0.1"), 8080, &out_options->address, &note) == ERR_OK);
    (void)argp_parse(&argp, argc, argv, 0, NULL, out_options); /* errors end the process */
}
