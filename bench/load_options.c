/* load_options - one row per option; everything else follows from the table. */
#include "load_options.h"

#include "loopback_url.h"
#include "process_tree.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    STREAMS = 1 << LOAD_STREAMS,
    OPEN = 1 << LOAD_OPEN,
    ABORT = 1 << LOAD_ABORT,
    SLOW = 1 << LOAD_SLOW,
    IDLE = 1 << LOAD_IDLE,
    ARRIVE = 1 << LOAD_ARRIVE,
    ALL = (1 << LOAD_MODE_COUNT) - 1,
    CHOICES_MAX = 4,
    ABORT_CONCURRENCY_MAX = 200, /* the page that is polled names each */
};

enum row_kind { ROW_TEXT, ROW_COUNT, ROW_REAL, ROW_FLAG, ROW_CHOICE };

struct row {
    const char *name, *value; /* value: what it is called in --help */
    enum row_kind kind;
    unsigned modes;
    size_t offset;
    double min, max; /* of COUNT and REAL */
    const char *help;
    const char *choices[CHOICES_MAX]; /* of CHOICE: its value is the index */
};

#define AT(member) offsetof(struct load_options, member)
static const struct row rows[] = {
    {"url", "URL", ROW_TEXT, ALL, AT(url),
     .help = "the server, on loopback: http://127.0.0.1:8080"},
    {"pid", "PID", ROW_COUNT, ALL, AT(pid), 1, PROCESS_PID_MAX,
     "its process: CPU and memory of it and its descendants"},
    {"path", "PATH", ROW_TEXT, ALL, AT(path), .help = "what is asked (/v1/chat/completions)"},
    {"model", "NAME", ROW_TEXT, ALL, AT(model), .help = "the model (dummy)"},
    {"max-tokens", "N", ROW_COUNT, ALL, AT(max_tokens), 1, 1000000, "tokens per stream (64)"},
    {"body-bytes", "N", ROW_COUNT, ALL, AT(body_bytes), 0, 64 << 20,
     "the body has so many, by a longer prompt (as short as it can be)"},
    {"extra", "MEMBERS", ROW_TEXT, ALL, AT(extra),
     .help = "JSON members added to the body, such as '\"ignore_eos\":true'"},
    {"body-file", "FILE", ROW_TEXT, ALL, AT(body_file), .help = "the body, instead of a made one"},
    {"bodies", "FILE", ROW_TEXT, STREAMS | OPEN | ARRIVE, AT(bodies),
     .help = "a body in each line: every request takes the next one (arrive: the prompts)"},
    {"key", "KEY", ROW_TEXT, ALL, AT(key), .help = "API key, sent as Authorization: Bearer"},
    {"events", "N", ROW_COUNT, ALL, AT(events), 0, INT32_MAX,
     "events that each stream must have, [DONE] among them (as many as the first)"},
    {"json", NULL, ROW_FLAG, STREAMS | OPEN, AT(is_json),
     .help = "ask for a JSON answer, not a stream"},
    {"close", NULL, ROW_FLAG, STREAMS | OPEN, AT(is_closing),
     .help = "a connection for each request"},
    {"clock", NULL, ROW_FLAG, STREAMS | OPEN, AT(has_clock),
     .help = "the server runs with DUMMY_CLOCK: measure from there"},
    {"usage", NULL, ROW_FLAG, STREAMS | OPEN | ARRIVE, AT(has_usage),
     .help = "the bodies ask for usage: sum it up; a stream has --max-tokens tokens"},
    {"timeout", "SECONDS", ROW_REAL, ALL, AT(timeout_s), 0.001, 3600,
     "a stream that takes longer has failed (60)"},
    {"seed", "N", ROW_COUNT, ALL, AT(seed), 0, UINT32_MAX, "of all random numbers (1)"},
    {"concurrency", "N", ROW_COUNT, STREAMS | ABORT | ARRIVE, AT(concurrency), 0, 20000,
     "streams at once, or beside the prompts; 0 in arrive: none (32)"},
    {"requests", "N", ROW_COUNT, STREAMS | ABORT | ARRIVE, AT(requests), 1, 100000000,
     "streams in all, or prompts (256)"},
    {"leave-ratio", "R", ROW_REAL, STREAMS, AT(leave_ratio), 0, 0.99,
     "so many of all streams are left, each behind a random event (0)"},
    {"no-tail", NULL, ROW_FLAG, STREAMS, AT(has_no_tail),
     .help =
         "when the last stream has begun all are left: no stream counts that had fewer beside it"},
    {"rate", "R", ROW_REAL, OPEN, AT(rate), 0.001, 1000000, "new streams per second (100)"},
    {"seconds", "S", ROW_REAL, OPEN | IDLE | ARRIVE, AT(seconds), 0.001, 3600,
     "how long it measures; in arrive before the first prompt (5)"},
    {"phase", "PHASE", ROW_CHOICE, ABORT, AT(phase),
     .help = "where streams are left: queued, prefill, decode (decode)",
     .choices = {"queued", "prefill", "decode"}},
    {"poll", "PEER", ROW_CHOICE, ABORT, AT(poll),
     .help = "whose page tells what is in flight: millrace (/v1/requests), llama (/metrics)",
     .choices = {"millrace", "llama"}},
    {"settle", "SECONDS", ROW_REAL, SLOW | IDLE, AT(settle_s), 0, 600,
     "the server gets so long to settle before its memory is read (1)"},
    {"slow", "N", ROW_COUNT, SLOW, AT(slow), 0, 100000, "slow readers (1000)"},
    {"slow-bytes-per-s", "K", ROW_COUNT, SLOW, AT(slow_bytes_per_s), 1, 1 << 30,
     "what each of them reads (100)"},
    {"fast", "N", ROW_COUNT, SLOW, AT(fast), 1, 10000, "streams at once beside them (8)"},
    {"fast-requests", "N", ROW_COUNT, SLOW, AT(fast_requests), 0, 100000000,
     "and so many in all, one after the other (as many as --fast)"},
    {"kind", "KIND", ROW_CHOICE, IDLE, AT(kind),
     .help = "what the connections do: keepalive, sse (keepalive)",
     .choices = {"keepalive", "sse"}},
    {"ready", "WHAT", ROW_CHOICE, IDLE, AT(ready),
     .help = "what an sse stream must have got before it idles: head, event (head)",
     .choices = {"head", "event"}},
    {"connections", "N", ROW_COUNT, IDLE, AT(connections), 1, 1000000, "how many (10000)"},
};

static const char *const mode_names[LOAD_MODE_COUNT] = {"streams", "open", "abort",
                                                        "slow",    "idle", "arrive"};
static const char *const mode_help[LOAD_MODE_COUNT] = {
    "closed loop: --concurrency streams at once until --requests are done",
    "open loop: streams begin at random times, --rate a second; all times count from then",
    "streams are left in their --phase; how long until the server has forgotten them",
    "--fast streams beside --slow readers that hardly read; --slow 0: alone",
    "--connections that do nothing: memory, and /health of new clients meanwhile",
    "--requests prompts of --bodies, one by one, beside --concurrency running streams",
};

const char *load_mode_name(enum load_mode mode)
{
    return mode_names[mode];
}

static const struct row *find_row(struct slice name)
{
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        if (slice_eq_str(name, rows[i].name))
            return &rows[i];
    return NULL;
}

static enum err set_count(const struct row *row, const char *text, uint32_t *out,
                          struct err_note *out_note)
{
    uint64_t value;
    if (slice_parse_u64(slice_str(text), (uint64_t)row->max, &value) != ERR_OK ||
        (double)value < row->min)
        return err_note_fail(out_note, ERR_LIMIT, "%s %s: allowed are %.0f..%.0f", row->name, text,
                             row->min, row->max);
    *out = (uint32_t)value;
    return ERR_OK;
}

static enum err set_real(const struct row *row, const char *text, double *out,
                         struct err_note *out_note)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end ||
        !(value >= row->min && value <= row->max)) /* not a number fails both */
        return err_note_fail(out_note, ERR_LIMIT, "%s %s: allowed are %g..%g", row->name, text,
                             row->min, row->max);
    *out = value;
    return ERR_OK;
}

static enum err set_choice(const struct row *row, const char *text, uint32_t *out,
                           struct err_note *out_note)
{
    for (uint32_t i = 0; i < CHOICES_MAX && row->choices[i]; i++)
        if (slice_eq_str(slice_str(text), row->choices[i])) {
            *out = i;
            return ERR_OK;
        }
    return err_note_fail(out_note, ERR_LIMIT, "%s %s: %s", row->name, text, row->help);
}

/* Some become part of a request line or of a header field. */
static enum err set_text(const struct row *row, const char *text, const char **out,
                         struct err_note *out_note)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~' || (text[i] == ' ' && row->offset == AT(path)))
            return err_note_fail(out_note, ERR_LIMIT, "%s: byte %zu is not visible ASCII",
                                 row->name, i);
    if (len == 0 || len > 4096)
        return err_note_fail(out_note, ERR_LIMIT, "%s: allowed are 1..4096 bytes, these are %zu",
                             row->name, len);
    *out = text;
    return ERR_OK;
}

static enum err set(const struct row *row, const char *text, struct load_options *options,
                    struct err_note *out_note)
{
    void *place = (char *)options + row->offset;
    switch (row->kind) {
    case ROW_COUNT:
        return set_count(row, text, place, out_note);
    case ROW_REAL:
        return set_real(row, text, place, out_note);
    case ROW_CHOICE:
        return set_choice(row, text, place, out_note);
    case ROW_TEXT:
        return set_text(row, text, place, out_note);
    case ROW_FLAG:
        *(bool *)place = true;
    }
    return ERR_OK;
}

/* "--name VALUE", "--name=VALUE" or "--flag". *index is at the last word it used. */
static enum err take_option(int argc, const char *const *argv, int *index,
                            struct load_options *options, struct err_note *out_note)
{
    const char *word = argv[*index];
    struct slice name, value;
    if (strncmp(word, "--", 2) != 0)
        return err_note_fail(out_note, ERR_PROTOCOL, "%s: behind the mode there are only options",
                             word);
    bool has_value = slice_cut(slice_after(slice_str(word), 2), '=', &name, &value);
    const struct row *row = find_row(name);
    if (!row)
        return err_note_fail(out_note, ERR_PROTOCOL, "%s: no such option (see --help)", word);
    if (!(row->modes & 1U << options->mode))
        return err_note_fail(out_note, ERR_PROTOCOL, "%s: not an option of %s", word,
                             mode_names[options->mode]);
    if (row->kind == ROW_FLAG && has_value)
        return err_note_fail(out_note, ERR_PROTOCOL, "%s: it takes no value", word);
    if (row->kind == ROW_FLAG || has_value)
        return set(row, has_value ? value.data : NULL, options, out_note);
    if (*index + 1 == argc)
        return err_note_fail(out_note, ERR_PROTOCOL, "%s: its %s is missing", word, row->value);
    return set(row, argv[++*index], options, out_note);
}

static enum err find_mode(const char *word, enum load_mode *out_mode, struct err_note *out_note)
{
    for (int mode = 0; word && mode < LOAD_MODE_COUNT; mode++)
        if (slice_eq_str(slice_str(word), mode_names[mode])) {
            *out_mode = (enum load_mode)mode;
            return ERR_OK;
        }
    return err_note_fail(out_note, ERR_PROTOCOL,
                         "%s: the mode is streams, open, abort, slow, idle or arrive",
                         word ? word : "nothing");
}

static enum err check_bodies(const struct load_options *options, struct err_note *out_note)
{
    bool is_made = options->body_bytes || options->extra;
    if (options->mode == LOAD_ARRIVE && !options->bodies)
        return err_note_fail(out_note, ERR_PROTOCOL, "--bodies is missing: what arrives");
    if (options->mode != LOAD_ARRIVE && options->bodies && (options->body_file || is_made))
        return err_note_fail(
            out_note, ERR_PROTOCOL,
            "--bodies are whole bodies: --body-file, --body-bytes and --extra are for others");
    if (options->body_file && is_made)
        return err_note_fail(
            out_note, ERR_PROTOCOL,
            "--body-file is a whole body: --body-bytes and --extra are for made ones");
    return ERR_OK;
}

static enum err check_together(struct load_options *options, struct err_note *out_note)
{
    if (!options->url)
        return err_note_fail(out_note, ERR_PROTOCOL, "--url is missing");
    if (options->path[0] != '/')
        return err_note_fail(out_note, ERR_PROTOCOL, "path %s: it must begin with /",
                             options->path);
    if (options->is_json && (options->has_clock || options->has_usage || options->events))
        return err_note_fail(
            out_note, ERR_PROTOCOL,
            "--json answers have no events: not with --clock, --usage or --events");
    TRY(check_bodies(options, out_note));
    if (options->concurrency == 0 && options->mode != LOAD_ARRIVE)
        return err_note_fail(out_note, ERR_LIMIT, "concurrency 0: %s allows 1..20000",
                             mode_names[options->mode]);
    if (options->has_no_tail && options->requests <= options->concurrency)
        return err_note_fail(out_note, ERR_LIMIT,
                             "requests %u: with --no-tail more than the concurrency of %u",
                             options->requests, options->concurrency);
    if (options->mode == LOAD_ABORT && options->concurrency > ABORT_CONCURRENCY_MAX)
        return err_note_fail(out_note, ERR_LIMIT, "concurrency %u: abort allows 1..%d",
                             options->concurrency, ABORT_CONCURRENCY_MAX);
    return loopback_url_parse(options->url, &options->address, out_note);
}

static bool asks_help(int argc, const char *const *argv)
{
    for (int i = 1; i < argc; i++)
        if (slice_eq_str(slice_str(argv[i]), "--help"))
            return true;
    return false;
}

enum err load_options_parse(int argc, const char *const *argv, struct load_options *out_options,
                            struct err_note *out_note)
{
    struct load_options options = {.path = "/v1/chat/completions",
                                   .model = "dummy",
                                   .max_tokens = 64,
                                   .timeout_s = 60,
                                   .seed = 1,
                                   .concurrency = 32,
                                   .requests = 256,
                                   .rate = 100,
                                   .seconds = 5,
                                   .settle_s = 1,
                                   .phase = PHASE_DECODE,
                                   .slow = 1000,
                                   .slow_bytes_per_s = 100,
                                   .fast = 8,
                                   .connections = 10000};
    if (asks_help(argc, argv))
        return ERR_CANCELLED;
    TRY(find_mode(argc > 1 ? argv[1] : NULL, &options.mode, out_note));
    for (int i = 2; i < argc; i++)
        TRY(take_option(argc, argv, &i, &options, out_note));
    TRY(check_together(&options, out_note));
    *out_options = options;
    return ERR_OK;
}

void load_options_help(struct text *out)
{
    text_add_str(out, "usage: load MODE --url http://127.0.0.1:PORT [--pid PID] [options]\n\n"
                      "Loads a server on this machine, prints one JSON object, and exits 0 only if "
                      "every answer was right.\n\n");
    for (int mode = 0; mode < LOAD_MODE_COUNT; mode++)
        text_add_f(out, "  %-8s %s\n", mode_names[mode], mode_help[mode]);
    text_add_str(out, "\n");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        char name[64];
        (void)snprintf(name, sizeof name, "--%s %s", row->name,
                       row->value ? row->value : ""); /* fits */
        text_add_f(out, "  %-24s %s", name, row->help);
        for (int mode = 0; row->modes != ALL && mode < LOAD_MODE_COUNT; mode++)
            if (row->modes & 1U << mode)
                text_add_f(out, "%s%s", row->modes & ((1U << mode) - 1) ? ", " : " [",
                           mode_names[mode]);
        text_add_str(out, row->modes == ALL ? "\n" : "]\n");
    }
}
