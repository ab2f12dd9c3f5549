/* keep_asking - one request to the service on a bus, as an asker that keeps what was said, so that
 * it goes on when its worker dies (ask.h, rule 9). No client can ask for that yet: the tests do.
 *
 *   keep_asking BUS_FOLDER MODEL TOKENS TEMPERATURE KEEP_BYTES STOP_AFTER PROMPT
 *
 * Prints a line for each thing that happens: `started NODE`, `delta IDS HEX` (ids with commas, the
 * text in hex), `usage COMPLETION_TOKENS`, `done REASON` or `error FAULT MESSAGE`; then `continued
 * N`: how often another worker took over. Exit status: 0 done, 1 error, 2 wrong arguments.
 *
 * It reads slowly and grants little credit, and stops itself (SIGSTOP) behind so many deltas, 0:
 * never. So its worker is killed in mid-stream, however late that is. */
#include "ask/ask.h"
#include "bus/bus_unix.h"
#include "loop/loop.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUS_WAIT_MS = 5000,
    SEED = 7,
    KEEP_BYTES_MAX = 1 << 30,
    CREDIT_EVENTS = 4,
    READ_US = 10 * 1000, /* what came is read so much later */
    EXIT_USAGE = 2,
};

struct arguments {
    const char *bus_folder, *model, *prompt;
    double temperature;
    uint64_t tokens, keep_bytes, stop_after;
};

struct asker {
    struct loop *loop;
    struct ask *ask;
    struct ask_hub *hub;
    struct deadline read;
    uint32_t unread_events, unread_bytes;
    uint64_t deltas_to_stop;
    bool is_done;
};

static void print_delta(const struct event *event)
{
    printf("delta ");
    for (uint32_t i = 0; i < event->delta.token_count; i++)
        printf("%s%" PRId32, i ? "," : "", event_delta_token(event, i));
    printf(" ");
    for (size_t i = 0; i < event->delta.text.len; i++)
        printf("%02x", (unsigned char)event->delta.text.data[i]);
    printf("\n");
}

static void read_what_came(void *ctx)
{
    struct asker *asker = ctx;
    ask_consumed(asker->ask, asker->unread_events, asker->unread_bytes);
    asker->unread_events = asker->unread_bytes = 0;
}

static void take_delta(struct asker *asker, const struct event *event)
{
    print_delta(event);
    asker->unread_events++;
    asker->unread_bytes += event_credit_bytes(event);
    if (!deadline_is_armed(&asker->read))
        deadline_after(&asker->read, READ_US);
    if (asker->deltas_to_stop > 0 && --asker->deltas_to_stop == 0)
        (void)raise(SIGSTOP); /* until somebody continues it */
}

static void on_idle(void *ctx)
{
    struct asker *asker = ctx;
    loop_stop(asker->loop);
}

static void print_end(struct asker *asker, const struct event *event)
{
    asker->is_done = event->type == EVENT_DONE;
    if (asker->is_done)
        printf("done %s\n", done_reason_name(event->done.reason));
    else
        printf("error %s %.*s\n", fault_name(event->error.fault), (int)event->error.message.len,
               event->error.message.data);
    deadline_clear(&asker->read);
    ask_hub_drain(asker->hub, on_idle, asker);
}

static void on_event(void *ctx, const struct event *event)
{
    struct asker *asker = ctx;
    if (event->type == EVENT_STARTED)
        printf("started %.*s\n", (int)event->started.worker.len, event->started.worker.data);
    if (event->type == EVENT_DELTA)
        take_delta(asker, event);
    if (event->type == EVENT_USAGE)
        printf("usage %" PRIu32 "\n", event->usage.completion_tokens);
    if (event_is_end(event->type))
        print_end(asker, event);
}

static struct request request_of(const struct arguments *arguments)
{
    struct request request = {
        .id = id_new(),
        .model = slice_str(arguments->model),
        .prompt_kind = PROMPT_TEXT,
        .prompt = slice_str(arguments->prompt),
        .sampling = sampling_default(),
        .max_tokens = (uint32_t)arguments->tokens,
        .ignore_eos = true,
    };
    request.sampling.temperature = (float)arguments->temperature;
    request.sampling.repeat_penalty = 1.1f;
    request.sampling.has_seed = true;
    request.sampling.seed = SEED;
    return request;
}

/* The status to exit with. */
static int ask(struct asker *asker, struct bus *bus, const struct arguments *arguments)
{
    struct ask_options options = ask_options_default();
    struct request request = request_of(arguments);
    options.credit_events = CREDIT_EVENTS;
    options.continue_bytes_max = (size_t)arguments->keep_bytes;
    enum err err = ask_hub_new(bus, &options, &asker->hub);
    if (err == ERR_OK)
        err = ask_open(asker->hub, &request, on_event, asker, &asker->ask);
    if (err == ERR_OK) {
        loop_run(asker->loop);
        printf("continued %" PRIu64 "\n", ask_hub_stats(asker->hub).continued);
    } else {
        fprintf(stderr, "keep_asking: %s\n", err_name(err));
    }
    ask_hub_free(asker->hub);
    return asker->is_done ? 0 : 1;
}

static int run(const struct arguments *arguments)
{
    struct asker asker = {.loop = loop_new(), .deltas_to_stop = arguments->stop_after};
    struct bus_unix *bus_unix = NULL;
    struct bus *bus = NULL;
    deadline_init(&asker.read, asker.loop, read_what_came, &asker);
    int status = 1;
    enum err err = bus_unix_new(arguments->bus_folder, &bus_unix);
    if (err == ERR_OK)
        err = bus_unix_open(bus_unix, asker.loop, BUS_WAIT_MS, &bus);
    if (err == ERR_OK)
        status = ask(&asker, bus, arguments);
    else
        fprintf(stderr, "keep_asking: %s: %s\n", arguments->bus_folder, err_name(err));
    bus_close(&bus);
    bus_unix_free(bus_unix);
    loop_free(asker.loop);
    return status;
}

static bool parse(char **argv, struct arguments *out)
{
    char *end;
    *out = (struct arguments){.bus_folder = argv[1], .model = argv[2], .prompt = argv[7]};
    out->temperature = strtod(argv[4], &end);
    return slice_parse_u64(slice_str(argv[3]), UINT32_MAX, &out->tokens) == ERR_OK && !*end &&
           out->temperature >= 0 && out->temperature <= 2 &&
           slice_parse_u64(slice_str(argv[5]), KEEP_BYTES_MAX, &out->keep_bytes) == ERR_OK &&
           slice_parse_u64(slice_str(argv[6]), UINT32_MAX, &out->stop_after) == ERR_OK;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    if (argc != 8 || !parse(argv, &arguments)) {
        fprintf(stderr, "usage: keep_asking BUS_FOLDER MODEL TOKENS TEMPERATURE KEEP_BYTES "
                        "STOP_AFTER PROMPT\n");
        return EXIT_USAGE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    return run(&arguments);
}
