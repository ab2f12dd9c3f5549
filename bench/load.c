/* load - loads a server on this machine with chat streams, in one of several ways, and prints what
 * it saw as one JSON object. Exits 0 only if every answer was right. See README.md.
 *
 *   load streams --url http://127.0.0.1:8080 --pid $! --concurrency 32 --requests 256 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPORT_MAX_BYTES = 1 << 20, EXIT_USAGE = 64 };

static void print_report(const struct text *report)
{
    ASSERT(text_status(report) == ERR_OK);
    printf("%.*s\n", (int)report->len, report->data);
}

static void run(struct load *load)
{
    static void (*const runs[LOAD_MODE_COUNT])(struct load *, struct json_out *) = {
        [LOAD_STREAMS] = load_streams_run, [LOAD_OPEN] = load_open_run,
        [LOAD_ABORT] = load_abort_run,     [LOAD_SLOW] = load_slow_run,
        [LOAD_IDLE] = load_idle_run,       [LOAD_ARRIVE] = load_arrive_run,
    };
    struct text text;
    text_init(&text, REPORT_MAX_BYTES);
    struct json_out report = json_out_to(&text);
    json_out_begin_object(&report);
    json_out_add_string(&report, "mode", slice_str(load_mode_name(load->options->mode)));
    runs[load->options->mode](load, &report);
    json_out_add_u64(&report, "doubts", load->doubts);
    json_out_end_object(&report);
    print_report(&text);
    text_fini(&text);
}

/* At once. */
static uint32_t connections_of(const struct load_options *options)
{
    switch (options->mode) {
    case LOAD_STREAMS:
    case LOAD_ABORT:
        return options->concurrency;
    case LOAD_ARRIVE:
        return options->concurrency + 1;
    case LOAD_SLOW:
        return options->slow + options->fast;
    case LOAD_IDLE:
        return options->connections;
    default:
        return LOAD_OPEN_MAX;
    }
}

static enum err start(const struct load_options *options, struct load *out_load,
                      struct err_note *out_note)
{
    *out_load =
        (struct load){.options = options, .events_each = options->events, .random = options->seed};
    text_init(&out_load->request, LOAD_BODY_MAX_BYTES + ANSWER_HEAD_MAX_BYTES);
    TRY(load_request_write(options, &out_load->request, out_note));
    if (options->bodies)
        TRY(load_requests_read(options, &out_load->requests, out_note));
    TRY(load_raise_fd_limit(connections_of(options), out_note));
    return exchange_loop_init(&out_load->loop, &options->address,
                              (uint64_t)(options->timeout_s * 1e6), out_note);
}

static void finish(struct load *load)
{
    load_requests_free(&load->requests);
    text_fini(&load->request);
}

static int help(void)
{
    struct text text;
    text_init(&text, REPORT_MAX_BYTES);
    load_options_help(&text);
    print_report(&text);
    text_fini(&text);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct load_options options;
    struct load load = {0};
    struct err_note note;
    enum err err = load_options_parse(argc, (const char *const *)argv, &options, &note);
    if (err == ERR_CANCELLED)
        return help();
    if (err == ERR_OK)
        err = start(&options, &load, &note);
    if (err != ERR_OK) {
        (void)fprintf(stderr, "load: %s\n", note.text); /* nobody is told when stderr is gone */
        finish(&load);
        return EXIT_USAGE;
    }
    run(&load);
    exchange_loop_fini(&load.loop);
    finish(&load);
    return load.doubts ? EXIT_FAILURE : EXIT_SUCCESS;
}
