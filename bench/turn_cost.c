/* turn_cost - how long a body holds up whom it passes: the longest turn of the gateway's, the
 * switch's, the manager's and the worker's loop while one is on its way, in time on a processor.
 * All of them in this process, each loop on a thread of its own, over bus_unix; one body at a time,
 * of the kinds that cost most. The thread's CPU clock does not run while others have the processor:
 * so a busy machine makes the figures hardly worse (it takes the caches).
 *
 *     turn_cost [--bytes N] [--repeats N]
 *
 * One JSON object: per kind and loop the median and the largest of the repeats, in microseconds. It
 * exits 0 only if every body was answered. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_switch.h"
#include "bus/bus_unix.h"
#include "gateway/gateway.h"
#include "loop/thread.h"
#include "manager/manager.h"
#include "net/listener.h"
#include "role/worker_role.h"

#include <argp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PEER_BYTES = 64 << 20,
    DEAD_MS = 10000,
    PATIENCE_S = 60,
    BYTES_MIN = 1000,
    BYTES_MAX = 8 << 20, /* body_max_bytes */
    REPEATS_MAX = 1000,
    NS_PER_US = 1000,
};

/* --- the loops, and how long their turns take --- */

enum who { GATEWAY, SWITCH, MANAGER, WORKER, WHO_COUNT };
static const char *const who_names[] = {"gateway", "switch", "manager", "worker"};

static struct part {
    struct loop *loop;
    struct thread *thread;
    atomic_bool ends;
    atomic_ullong longest_ns; /* since it was asked last */
} parts[WHO_COUNT];

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void run(void *ctx)
{
    struct part *part = ctx;
    while (!atomic_load(&part->ends)) {
        uint64_t begin_ns = thread_cpu_ns();
        (void)loop_turn(part->loop, true); /* its sleep is not on the processor */
        uint64_t took_ns = thread_cpu_ns() - begin_ns;
        if (took_ns > atomic_load(&part->longest_ns))
            atomic_store(&part->longest_ns, took_ns); /* at worst one is lost to a reset */
    }
}

static void start(enum who who, const char *name)
{
    ASSERT(thread_start(name, run, &parts[who], &parts[who].thread) == ERR_OK);
}

static void join(enum who who)
{
    atomic_store(&parts[who].ends, true);
    loop_stop(parts[who].loop);
    thread_join(&parts[who].thread);
}

/* --- the service --- */

static struct {
    char directory[32];
    struct bus_switch *bus_switch;
    struct bus_unix *bus_unix;
    struct config *config;
    struct role_place place;
    struct net_address address;
    struct net_claim *claim;
    struct bus *gateway_bus, *manager_bus;
    struct gateway *gateway;
    struct manager *manager;
    struct worker_role *worker;
} service = {.directory = "/tmp/millrace-bench-XXXXXX"};

static void must(enum err err, const char *what, const struct err_note *note)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "turn_cost: %s: %s\n", what, note ? note->text : err_name(err));
    exit(1);
}

static enum err open_bus(void *ctx, struct loop *loop, struct bus **out_bus,
                         struct err_note *out_note)
{
    (void)ctx;
    enum err err = bus_unix_open(service.bus_unix, loop, DEAD_MS, out_bus);
    return err == ERR_OK ? ERR_OK : err_note_fail(out_note, err, "the switch does not answer");
}

static void open_switch(void)
{
    struct err_note note;
    const struct bus_switch_config config = {service.directory, PEER_BYTES, DEAD_MS};
    ASSERT(mkdtemp(service.directory));
    must(bus_switch_new(parts[SWITCH].loop, &config, &note, &service.bus_switch), "switch", &note);
    start(SWITCH, "switch");
    must(bus_unix_new(service.directory, &service.bus_unix), "bus", NULL);
}

static void open_gateway(void)
{
    struct err_note note;
    must(net_address_parse(SLICE("127.0.0.1"), 0, &service.address, &note), "address", &note);
    must(net_claim_port(&service.address, "/tmp", &service.claim, &note), "port", &note);
    const struct gateway_options options = {
        .address = service.address,
        .listen_fd = -1,
        .http = http_limits_default(),
        .ask = ask_options_default(),
        .default_model = "dummy",
        .live = {.allowed_hosts = "", .allowed_origins = "", .streams_per_key = 256},
        .head_hold_ms = 3000,
        .ping_ms = 10000,
        .started_us = clock_monotonic_us(),
    };
    must(open_bus(NULL, parts[GATEWAY].loop, &service.gateway_bus, &note), "gateway", &note);
    must(gateway_open(service.gateway_bus, &options, &service.gateway, &note), "gateway", &note);
}

static void on_ready(void *ctx)
{
    (void)ctx; /* it is asked until it answers */
}

static void on_lost(void *ctx, enum worker_loss loss, const char *note)
{
    (void)ctx, (void)loss;
    fprintf(stderr, "turn_cost: the worker is lost: %s\n", note);
    exit(1);
}

static void open_worker(void)
{
    static char name[] = "turn_cost", model[] = "--default-model=dummy",
                slots[] = "--dummy-slots=4";
    char *argv[] = {name, model, slots, NULL};
    const struct worker_role_events events = {.on_ready = on_ready, .on_lost = on_lost};
    struct err_note note;
    must(config_load(3, argv, (char *const[]){NULL}, &service.config, &note), "config", &note);
    service.place = (struct role_place){.config = service.config, .open_bus = open_bus};
    must(worker_role_open(&service.place, parts[WORKER].loop, "dummy", &events, &service.worker,
                          &note),
         "worker", &note);
}

static void open_service(void)
{
    struct manager_options options = manager_options_default();
    for (enum who who = 0; who < WHO_COUNT; who++)
        parts[who].loop = loop_new();
    open_switch();
    must(bus_unix_open(service.bus_unix, parts[MANAGER].loop, DEAD_MS, &service.manager_bus),
         "manager", NULL);
    must(manager_open(service.manager_bus, &options, &service.manager), "manager", NULL);
    open_gateway();
    open_worker();
    start(GATEWAY, "gateway");
    start(MANAGER, "manager");
    start(WORKER, "worker");
}

static void close_service(void)
{
    join(GATEWAY);
    join(MANAGER);
    join(WORKER);
    gateway_close(&service.gateway);
    worker_role_close(&service.worker);
    manager_close(&service.manager);
    bus_close(&service.gateway_bus);
    bus_close(&service.manager_bus);
    bus_unix_free(service.bus_unix);
    join(SWITCH);
    bus_switch_free(&service.bus_switch);
    net_claim_release(service.claim);
    for (enum who who = 0; who < WHO_COUNT; who++)
        loop_free(parts[who].loop);
    config_free(service.config);
    ASSERT(rmdir(service.directory) == 0);
}

/* --- bodies --- */

/* A piece that is said again and again: in the prompt, or in a list that no field of ours is. */
static const struct kind {
    const char *name, *piece;
    bool is_prompt;
} kinds[] = {
    {"records", "{\"id\":1,\"tags\":[\"a\",\"b\"],\"text\":\"xxxxxxxxxxxxxxxx\",\"x\":0.5}", false},
    {"empty arrays", "[]", false},
    {"empty objects", "{}", false},
    {"deep arrays", "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", false},
    {"small objects", "{\"a\":1}", false},
    {"short strings", "\"a\"", false},
    {"escaped strings", "\"\\u00e9\"", false},
    {"integers", "1", false},
    {"reals", "1.5e-7", false},
    {"prompt, plain", "What is it? ", true},
    {"prompt, quotes", "\\\"", true},
    {"prompt, controls", "\\u0001", true},
    {"prompt, not ASCII", "\xe6\x98\xaf", true},
};

static struct text body_of(const struct kind *kind, size_t bytes)
{
    struct slice piece = slice_str(kind->piece);
    const char *tail = kind->is_prompt ? "\"}" : "0]}";
    struct text body;
    text_init(&body, bytes);
    text_add_str(&body, "{\"model\":\"dummy\",\"stream\":true,\"max_tokens\":1,");
    text_add_str(&body, kind->is_prompt ? "\"prompt\":\"" : "\"prompt\":\"Hi\",\"metadata\":[");
    while (body.len + piece.len + 1 + strlen(tail) <= bytes) {
        text_add(&body, piece);
        if (!kind->is_prompt)
            text_add_byte(&body, ',');
    }
    text_add_str(&body, tail);
    ASSERT(text_status(&body) == ERR_OK);
    return body;
}

/* --- one request --- */

static int connected(void)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(net_address_port(&service.address)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0);
    ASSERT(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

static bool send_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes = slice_after(bytes, (size_t)sent);
    }
    return true;
}

/* Its status; 0: no answer. Reads to the end: then nothing of it is on its way any more. */
static unsigned ask(struct slice body)
{
    char head[256], answer[16384];
    unsigned status = 0;
    int fd = connected();
    int len = snprintf(head, sizeof(head),
                       "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       body.len);
    if (send_all(fd, slice_of(head, (size_t)len)) && send_all(fd, body)) {
        ssize_t got = recv(fd, answer, sizeof(answer) - 1, 0);
        answer[got > 0 ? got : 0] = '\0';
        if (sscanf(answer, "HTTP/1.1 %u", &status) != 1)
            status = 0;
        while (got > 0)
            got = recv(fd, answer, sizeof(answer), 0);
    }
    (void)close(fd);
    return status;
}

/* The dummy loads in no time, but everybody has to hear of it. */
static void await_ready(void)
{
    uint64_t until_us = clock_monotonic_us() + PATIENCE_S * 1000000ull;
    while (ask(SLICE("{\"model\":\"dummy\",\"stream\":true,\"max_tokens\":1,\"prompt\":\"x\"}")) !=
           200) {
        ASSERT_MSG(clock_monotonic_us() < until_us, "not ready after %d s", PATIENCE_S);
        (void)nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
}

/* --- the measure --- */

struct times {
    double us[WHO_COUNT][REPEATS_MAX];
};

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* A prompt that the model's context does not hold comes back as a 400 from the worker: it has gone
 * the whole way. */
static void measure(struct slice body, size_t repeats, struct times *out)
{
    for (size_t i = 0; i < repeats; i++) {
        for (enum who who = 0; who < WHO_COUNT; who++)
            (void)atomic_exchange(&parts[who].longest_ns, 0);
        unsigned status = ask(body);
        if (status != 200 && status != 400) {
            fprintf(stderr, "turn_cost: the answer is %u\n", status);
            exit(1);
        }
        for (enum who who = 0; who < WHO_COUNT; who++)
            out->us[who][i] = (double)atomic_load(&parts[who].longest_ns) / NS_PER_US;
    }
    for (enum who who = 0; who < WHO_COUNT; who++)
        qsort(out->us[who], repeats, sizeof(out->us[who][0]), by_value);
}

static void say_kind(struct json_out *json, const struct kind *kind, const struct times *times,
                     size_t repeats)
{
    json_out_key(json, kind->name);
    json_out_begin_object(json);
    for (enum who who = 0; who < WHO_COUNT; who++) {
        json_out_key(json, who_names[who]);
        json_out_begin_object(json);
        json_out_add_double(json, "median_us", times->us[who][repeats / 2]);
        json_out_add_double(json, "max_us", times->us[who][repeats - 1]);
        json_out_end_object(json);
    }
    json_out_end_object(json);
}

struct options {
    uint64_t bytes, repeats;
};

static error_t on_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'b':
        if (slice_parse_u64(slice_str(arg), BYTES_MAX, &options->bytes) != ERR_OK ||
            options->bytes < BYTES_MIN)
            argp_error(state, "--bytes %s: allowed are %d..%d", arg, BYTES_MIN, BYTES_MAX);
        return 0;
    case 'r':
        if (slice_parse_u64(slice_str(arg), REPEATS_MAX, &options->repeats) != ERR_OK ||
            options->repeats == 0)
            argp_error(state, "--repeats %s: allowed are 1..%d", arg, REPEATS_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp_option known[] = {
        {"bytes", 'b', "N", 0, "of each body (200000)", 0},
        {"repeats", 'r', "N", 0, "of each kind (15)", 0},
        {0},
    };
    static const struct argp argp = {
        known, on_option, NULL, "The longest turn of each loop while a body is on its way.",
        NULL,  NULL,      NULL};
    struct options options = {.bytes = 200000, .repeats = 15};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options); /* exits when something is wrong */
    log_set_level(LOG_ERROR);
    (void)signal(SIGPIPE, SIG_IGN);
    open_service();
    await_ready();
    struct text out;
    struct times *times = mem_alloc(sizeof(*times));
    text_init(&out, 64 * 1024);
    struct json_out json = json_out_to(&out);
    json_out_begin_object(&json);
    json_out_add_u64(&json, "bytes", options.bytes);
    json_out_add_u64(&json, "repeats", options.repeats);
    json_out_key(&json, "kinds");
    json_out_begin_object(&json);
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct text body = body_of(&kinds[i], options.bytes);
        measure(text_slice(&body), options.repeats, times);
        say_kind(&json, &kinds[i], times, options.repeats);
        text_fini(&body);
    }
    json_out_end_object(&json);
    json_out_end_object(&json);
    printf(SLICE_FMT "\n", SLICE_ARG(text_slice(&out)));
    text_fini(&out);
    mem_free(times);
    close_service();
    return 0;
}
