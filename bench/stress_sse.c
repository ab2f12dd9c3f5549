/* stress_sse - fires chat streams at a running server, leaves a share of them in the middle, and
 * looks hard at what the others got and at what the server is left with. Exits 1 on any doubt.
 *
 *   stress_sse --url http://127.0.0.1:8080 --concurrency 30 --rounds 500 --abort-ratio 0.7
 *
 * 1. Every stream ends as one of four: ok (all of its form was right), aborted (by us, and right as
 *    far as it went), refused (429 or 503, in its right form), failed.
 * 2. At the end, nothing may be in flight in /health; with --pid, the server's memory and
 *    descriptors must be back where they were when it was idle after the first few requests.
 * 3. Only loopback: it is a weapon elsewhere. */
#include "base/json.h"
#include "base/mem.h"
#include "base/splitmix.h"
#include "chat_check.h"
#include "client/client_request.h"
#include "footprint.h"
#include "histogram.h"
#include "stress_options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CONNECT_US = 5 * 1000 * 1000,
    END_US = 5 * 1000 * 1000, /* how long a server may take to hang up behind [DONE] */
    SETTLE_US = 30 * 1000 * 1000,
    POLL_US = 20 * 1000,
    /* Each gateway thread has its own table and the kernel picks one per connection: so many idle
     * answers in a row have met all of a few. */
    IDLE_IN_A_ROW = 16,
    ANSWER_MAX_BYTES = 1 << 20,
    COMPLAINTS_MAX = 10,
    GROWTH_MAX_MIB = 16,
    GROWTH_MAX_FDS = 4,
};

struct stress {
    const struct stress_options *options;
    struct loop *loop;
    struct text prompt; /* the body of every request */
    struct text fields; /* and its header fields */
    uint64_t random;
    uint32_t started, running, target; /* requests so far, now, and how many to start */
    uint32_t ok, aborted, refused, failed;
    uint32_t doubts; /* failed streams and everything else that is wrong */
    uint64_t events;
    struct histogram ttft, gap;
};

/* One stream. */
struct shot {
    struct stress *stress;
    struct client_request *request;
    struct chat_check check;
    struct deadline abort;
    struct free_later slot;
    struct text answer; /* the body when it is no event stream */
    bool was_aborted, had_content;
    uint32_t number;            /* from 1 */
    uint32_t retry_after_bytes; /* of retry_after; UINT32_MAX: there was no such field */
    char retry_after[40];
    uint64_t start_us, last_us;
};

PRINTF_LIKE(2, 3) static void doubt(struct stress *stress, const char *format, ...)
{
    va_list args;
    if (stress->doubts++ >= COMPLAINTS_MAX)
        return;
    va_start(args, format);
    (void)vfprintf(stderr, format, args); /* nobody is told when stderr is gone */
    va_end(args);
    (void)fputc('\n', stderr);
}

/* Our own waits are no longer than the timeout that was asked for. */
static uint64_t within_timeout(const struct stress *stress, uint64_t max_us)
{
    uint64_t timeout_us = (uint64_t)(stress->options->timeout_s * 1e6);
    return timeout_us < max_us ? timeout_us : max_us;
}

/* --- one stream --- */

static void on_shot_head(void *ctx, const struct http1_response *response)
{
    struct shot *shot = ctx;
    struct slice value = http1_response_field(response, "Retry-After");
    shot->retry_after_bytes = UINT32_MAX;
    if (value.data && value.len < sizeof shot->retry_after) {
        memcpy(shot->retry_after, value.data, value.len);
        shot->retry_after_bytes = (uint32_t)value.len;
    }
}

static void on_shot_body(void *ctx, struct slice bytes)
{
    struct shot *shot = ctx;
    text_add(&shot->answer, bytes);
}

static void on_shot_event(void *ctx, const struct sse_event *event)
{
    struct shot *shot = ctx;
    struct stress *stress = shot->stress;
    uint64_t now_us = loop_now_us(stress->loop);
    chat_check_event(&shot->check, event);
    stress->events++;
    if (shot->had_content)
        histogram_add(&stress->gap, now_us - shot->last_us);
    else if (shot->check.has_content)
        histogram_add(&stress->ttft, now_us - shot->start_us);
    shot->had_content = shot->check.has_content;
    shot->last_us = now_us;
}

static void judge_answer(struct shot *shot, const struct client_result *result)
{
    if (!result->peer_closed)
        chat_check_fail(&shot->check, "the server did not hang up behind its answer");
    if (result->status == 429 || result->status == 503) {
        bool has_field = shot->retry_after_bytes != UINT32_MAX;
        chat_check_refusal(&shot->check, result->status,
                           slice_of(shot->retry_after, has_field ? shot->retry_after_bytes : 0),
                           text_slice(&shot->answer));
    } else if (result->status != 200) {
        chat_check_fail(&shot->check, "status %d: " SLICE_FMT, result->status,
                        SLICE_ARG(slice_first(text_slice(&shot->answer), 120)));
    } else {
        if (shot->answer.len > 0)
            chat_check_fail(&shot->check, "a 200 that is no event stream");
        chat_check_end(&shot->check);
    }
}

static void judge(struct shot *shot, const struct client_result *result)
{
    if (shot->was_aborted)
        return; /* the events so far have been judged */
    if (result->err == ERR_OK)
        judge_answer(shot, result);
    else
        chat_check_fail(&shot->check, "%s in %s, status %d (%s)", err_name(result->err),
                        client_state_name(result->at), result->status,
                        response_refusal_sentence(result->refusal));
}

static void count(struct shot *shot, const struct client_result *result)
{
    struct stress *stress = shot->stress;
    if (!chat_check_is_fine(&shot->check)) {
        stress->failed++;
        doubt(stress, "request %u: %s", shot->number, shot->check.problem);
    } else if (shot->was_aborted) {
        stress->aborted++;
    } else if (result->status == 200) {
        stress->ok++;
    } else {
        stress->refused++;
    }
}

static void shot_release(void *pointer)
{
    struct shot *shot = pointer;
    text_fini(&shot->answer);
    mem_free(shot);
}

static void on_shot_done(void *ctx, const struct client_result *result)
{
    struct shot *shot = ctx;
    deadline_clear(&shot->abort);
    judge(shot, result);
    count(shot, result);
    shot->stress->running--;
    loop_free_later(shot->stress->loop, &shot->slot, shot_release, shot);
}

static const struct client_events shot_events = {.on_head = on_shot_head,
                                                 .on_body = on_shot_body,
                                                 .on_event = on_shot_event,
                                                 .on_done = on_shot_done};

static void on_abort(void *ctx)
{
    struct shot *shot = ctx;
    shot->was_aborted = client_request_state(shot->request) < CLIENT_END; /* else it was whole */
    if (shot->was_aborted)
        client_request_cancel(shot->request);
}

static void plan_abort(struct shot *shot)
{
    const struct stress_options *options = shot->stress->options;
    deadline_init(&shot->abort, shot->stress->loop, on_abort, shot);
    bool aborts = splitmix_unit(&shot->stress->random) < options->abort_ratio;
    double share = splitmix_unit(&shot->stress->random);
    double after_s = options->abort_min_s + share * (options->abort_max_s - options->abort_min_s);
    if (aborts)
        deadline_after(&shot->abort, (uint64_t)(after_s * 1e6));
}

static void start_shot(struct stress *stress)
{
    const struct stress_options *options = stress->options;
    struct shot *shot = mem_alloc(sizeof *shot);
    struct client_options request = {
        .address = options->address,
        .method = "POST",
        .target = SLICE("/v1/chat/completions"),
        .fields = text_slice(&stress->fields),
        .body = text_slice(&stress->prompt),
        .connect_us = CONNECT_US,
        .end_us = within_timeout(stress, END_US),
        .total_us = within_timeout(stress, UINT64_MAX),
        .body_max_bytes = UINT64_C(1) << 30,
    };
    shot->stress = stress;
    shot->number = ++stress->started;
    shot->start_us = loop_now_us(stress->loop);
    text_init(&shot->answer, ANSWER_MAX_BYTES);
    plan_abort(shot);
    enum err err = client_request_start(stress->loop, &request, &shot_events, shot, &shot->request);
    ASSERT_MSG(err == ERR_OK, "%s", err_name(err)); /* all of it is ours */
    stress->running++;
}

/* Until `target` requests have been started and have ended. Each is bounded by its timeout. */
static void run_until(struct stress *stress, uint32_t target)
{
    stress->target = target;
    while (stress->started < target || stress->running > 0) {
        while (stress->running < stress->options->concurrency && stress->started < target)
            start_shot(stress);
        (void)loop_turn(stress->loop, true); /* something or nothing: we look at the counts */
    }
}

/* --- what the server says about itself --- */

struct fetch {
    struct text body;
    bool is_done;
    struct client_result result;
};

static void on_fetch_body(void *ctx, struct slice bytes)
{
    struct fetch *fetch = ctx;
    text_add(&fetch->body, bytes);
}

static void on_fetch_done(void *ctx, const struct client_result *result)
{
    struct fetch *fetch = ctx;
    fetch->result = *result;
    fetch->is_done = true;
}

static const struct client_events fetch_events = {.on_body = on_fetch_body,
                                                  .on_done = on_fetch_done};

/* The whole exchange; the caller frees the body. */
static void fetch_health(struct stress *stress, struct fetch *out_fetch)
{
    struct client_request *request;
    struct client_options options = {.address = stress->options->address,
                                     .method = "GET",
                                     .target = SLICE("/health"),
                                     .connect_us = CONNECT_US,
                                     .end_us = within_timeout(stress, END_US),
                                     .total_us = within_timeout(stress, SETTLE_US)};
    *out_fetch = (struct fetch){0};
    text_init(&out_fetch->body, ANSWER_MAX_BYTES);
    enum err err = client_request_start(stress->loop, &options, &fetch_events, out_fetch, &request);
    ASSERT_MSG(err == ERR_OK, "%s", err_name(err)); /* all of it is ours */
    while (!out_fetch->is_done)
        (void)loop_turn(stress->loop, true);
}

/* Sum over all models, or -1 when the answer is not what /health should say. */
static json_int_t in_flight(const json_t *health)
{
    static const char *const keys[] = {"slots_busy", "queued", "parked"};
    const json_t *models = json_object_get(health, "models");
    json_int_t sum = 0;
    if (json_array_size(models) == 0)
        return -1;
    for (size_t i = 0; i < json_array_size(models); i++) {
        for (size_t k = 0; k < ARRAY_COUNT(keys); k++) {
            const json_t *value = json_object_get(json_array_get(models, i), keys[k]);
            if (!json_is_integer(value))
                return -1;
            sum += json_integer_value(value);
        }
    }
    return sum;
}

static json_int_t ask_in_flight(struct stress *stress)
{
    struct fetch fetch;
    json_t *health = NULL;
    json_int_t sum = -1;
    fetch_health(stress, &fetch);
    if (fetch.result.err == ERR_OK && fetch.result.status == 200 &&
        json_read(text_slice(&fetch.body), JSON_DEPTH_MAX, &health, NULL) == ERR_OK) {
        sum = in_flight(health);
        json_decref(health);
    }
    text_fini(&fetch.body);
    return sum;
}

static void on_pause_over(void *ctx)
{
    bool *is_over = ctx;
    *is_over = true;
}

static void pause_for(struct stress *stress, uint64_t us)
{
    struct deadline deadline;
    bool is_over = false;
    deadline_init(&deadline, stress->loop, on_pause_over, &is_over);
    deadline_after(&deadline, us);
    while (!is_over)
        (void)loop_turn(stress->loop, true);
}

static void wait_idle(struct stress *stress, const char *when)
{
    uint64_t start_us = loop_now_us(stress->loop), settle_us = within_timeout(stress, SETTLE_US);
    json_int_t last = 0;
    for (int in_a_row = 0; in_a_row < IDLE_IN_A_ROW;) {
        last = ask_in_flight(stress);
        in_a_row = last == 0 ? in_a_row + 1 : 0;
        if (in_a_row > 0)
            continue;
        if (loop_now_us(stress->loop) - start_us > settle_us) {
            doubt(stress, "%s: /health is not idle after %.1f s: %lld in flight (-1: no answer)",
                  when, (double)settle_us / 1e6, (long long)last);
            return;
        }
        pause_for(stress, POLL_US);
    }
    printf("idle      %.0f ms %s\n", (double)(loop_now_us(stress->loop) - start_us) / 1000, when);
}

/* --- its process --- */

static void look_at_process(struct stress *stress, struct footprint *out_footprint)
{
    *out_footprint = (struct footprint){0};
    if (stress->options->pid && !footprint_of(stress->options->pid, out_footprint))
        doubt(stress, "process %d cannot be looked at", stress->options->pid);
}

/* Connections close a moment after they were left: descriptors get the time that idleness got. */
static void compare_process(struct stress *stress, const struct footprint *before)
{
    struct footprint after;
    uint64_t until_us = loop_now_us(stress->loop) + within_timeout(stress, SETTLE_US);
    if (!stress->options->pid)
        return;
    do {
        look_at_process(stress, &after);
        if (after.fds > before->fds + GROWTH_MAX_FDS)
            pause_for(stress, POLL_US);
    } while (after.fds > before->fds + GROWTH_MAX_FDS && loop_now_us(stress->loop) < until_us);
    printf("processes %d -> %d, rss %.1f -> %.1f MiB (bound +%d), fds %d -> %d (bound +%d)\n",
           before->processes, after.processes, before->rss_mib, after.rss_mib, GROWTH_MAX_MIB,
           before->fds, after.fds, GROWTH_MAX_FDS);
    if (after.processes != before->processes)
        doubt(stress, "the server has fewer or more processes");
    if (after.rss_mib > before->rss_mib + GROWTH_MAX_MIB)
        doubt(stress, "the server's memory grew");
    if (after.fds > before->fds + GROWTH_MAX_FDS)
        doubt(stress, "the server's descriptors grew");
}

/* --- all of it --- */

static void print_percentiles(const char *name, const struct histogram *histogram)
{
    printf("%-9s p50 %.1f ms, p99 %.1f ms (%llu)\n", name,
           (double)histogram_percentile(histogram, 50) / 1000,
           (double)histogram_percentile(histogram, 99) / 1000,
           (unsigned long long)histogram->total);
}

static void print_summary(const struct stress *stress, double seconds)
{
    printf("requests  %u ok, %u aborted, %u refused, %u failed in %.1f s\n", stress->ok,
           stress->aborted, stress->refused, stress->failed, seconds);
    print_percentiles("ttft", &stress->ttft);
    print_percentiles("event gap", &stress->gap);
    printf("events    %llu, %.0f/s\n", (unsigned long long)stress->events,
           (double)stress->events / fmax(seconds, 1e-6));
}

/* A run in which nothing could go wrong shows nothing. */
static void check_that_it_shows(struct stress *stress)
{
    if (stress->options->abort_ratio < 1 && stress->ok == 0)
        doubt(stress, "no stream was read to its end: nothing is shown");
    if (stress->options->abort_ratio > 0 && stress->aborted == 0)
        doubt(stress, "no stream was aborted: the abort times are too late or rounds too few");
}

static void run(struct stress *stress)
{
    const struct stress_options *options = stress->options;
    struct footprint before;
    uint64_t start_us, busy_us;
    /* What a server allocates once, it has allocated after the first crowd. */
    uint32_t warm_up =
        options->concurrency < options->rounds / 2 ? options->concurrency : options->rounds / 2;
    wait_idle(stress, "before");
    start_us = loop_now_us(stress->loop);
    run_until(stress, warm_up);
    busy_us = loop_now_us(stress->loop) - start_us;
    wait_idle(stress, "after the warm-up");
    look_at_process(stress, &before);
    start_us = loop_now_us(stress->loop);
    run_until(stress, options->rounds);
    busy_us += loop_now_us(stress->loop) - start_us;
    wait_idle(stress, "after");
    print_summary(stress, (double)busy_us / 1e6);
    compare_process(stress, &before);
    check_that_it_shows(stress);
}

static void write_prompt(struct text *out, const struct stress_options *options)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_key(&json, "model");
    json_out_string(&json, slice_str(options->model));
    json_out_key(&json, "messages");
    json_out_raw(&json, SLICE("[{\"role\":\"user\",\"content\":\"Tell me a story.\"}]"));
    json_out_key(&json, "max_tokens");
    json_out_u64(&json, options->max_tokens);
    json_out_key(&json, "stream");
    json_out_bool(&json, true);
    json_out_end_object(&json);
    ASSERT(text_status(out) == ERR_OK);
}

static void write_fields(struct text *out, const struct stress_options *options)
{
    text_add_str(out, "Content-Type: application/json\r\nAccept: text/event-stream\r\n");
    if (options->key)
        text_add_f(out, "Authorization: Bearer %s\r\n", options->key);
    ASSERT(text_status(out) == ERR_OK);
}

int main(int argc, char **argv)
{
    struct stress_options options;
    stress_options_read(argc, argv, &options);
    struct stress stress = {.options = &options, .loop = loop_new(), .random = options.seed};
    text_init(&stress.prompt, ANSWER_MAX_BYTES);
    write_prompt(&stress.prompt, &options);
    text_init(&stress.fields, ANSWER_MAX_BYTES);
    write_fields(&stress.fields, &options);
    (void)net_raise_fd_limit(); /* too few show as requests that fail */
    printf("stress    %u requests, %u at once, seed %llu\n", options.rounds, options.concurrency,
           (unsigned long long)options.seed);
    run(&stress);
    printf("%s, %u doubts\n", stress.doubts ? "FAILED" : "clean", stress.doubts);
    text_fini(&stress.prompt);
    text_fini(&stress.fields);
    loop_free(stress.loop);
    return stress.doubts ? EXIT_FAILURE : EXIT_SUCCESS;
}
