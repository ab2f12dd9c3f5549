/* census - tells others who runs. See census.h. */
#include "host/census.h"

#include "base/mem.h"
#include "host/memory.h"
#include "metrics/feed.h"
#include "wire/call.h"
#include "wire/node_state.h"

#include <stdio.h>
#include <unistd.h>

enum { US_PER_MS = 1000, FRAME_MAX_BYTES = 256 * 1024 };

/* The pool's while is_out, else the loop's. */
struct memory_sample {
    int pids[CENSUS_ROWS_MAX + 1]; /* the host's is the first */
    uint64_t bytes[CENSUS_ROWS_MAX + 1];
    size_t count;
};

struct census {
    struct bus *bus;
    struct loop *loop;
    const struct supervisor *supervisor;
    uint64_t started_us;
    struct bus_subscription *calls;
    struct deadline say, measure;
    struct text frame;
    struct supervisor_row rows[CENSUS_ROWS_MAX];
    size_t row_count;
    enum restart_state said[CENSUS_ROWS_MAX];
    struct memory_sample sample, measured;
    struct loop_work *work; /* NULL: none out */
    struct metrics *metrics;
    struct metrics_feed *feed;
};

static uint64_t memory_of(const struct census *census, int pid)
{
    for (size_t i = 0; i < census->measured.count; i++)
        if (census->measured.pids[i] == pid)
            return census->measured.bytes[i];
    return 0;
}

static void take_rows(struct census *census)
{
    census->row_count = supervisor_rows(census->supervisor, census->rows, CENSUS_ROWS_MAX);
}

static uint64_t age_ms(const struct census *census, uint64_t since_us)
{
    return since_us ? (loop_now_us(census->loop) - since_us) / US_PER_MS : 0;
}

/* --- host.calls --- */

struct answer_row {
    const char *role, *name, *state, *note;
    uint32_t number;
    int pid;
    uint64_t restarts, up_ms, pss_bytes;
    uint32_t streams;
};

static void add_row(struct json_out *json, const struct answer_row *row)
{
    json_out_begin_object(json);
    json_out_add_string(json, "role", slice_str(row->role));
    json_out_add_string(json, "name", slice_str(row->name));
    json_out_add_u64(json, "number", row->number);
    json_out_add_i64(json, "pid", row->pid);
    json_out_add_string(json, "state", slice_str(row->state));
    json_out_add_u64(json, "restarts", row->restarts);
    json_out_add_u64(json, "up_ms", row->up_ms);
    json_out_add_u64(json, "pss_bytes", row->pss_bytes);
    json_out_add_u64(json, "streams", row->streams);
    json_out_add_string(json, "note", slice_str(row->note));
    json_out_end_object(json);
}

static void add_roles(struct census *census, struct json_out *json)
{
    const struct answer_row host = {.role = "host",
                                    .name = "",
                                    .state = "ready",
                                    .note = "",
                                    .pid = (int)getpid(),
                                    .up_ms = age_ms(census, census->started_us),
                                    .pss_bytes = memory_of(census, (int)getpid())};
    add_row(json, &host);
    take_rows(census);
    for (size_t i = 0; i < census->row_count; i++) {
        const struct supervisor_row *row = &census->rows[i];
        add_row(json, &(struct answer_row){.role = row->spec->role,
                                           .name = row->spec->model ? row->spec->model : "",
                                           .number = row->spec->number,
                                           .state = row->state,
                                           .note = row->note,
                                           .pid = row->pid,
                                           .restarts = row->restarts,
                                           .up_ms = age_ms(census, row->started_us),
                                           .pss_bytes = memory_of(census, row->pid),
                                           .streams = row->streams});
    }
}

static void answer_roles(struct census *census, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_key(&json, "roles");
    json_out_begin_array(&json);
    add_roles(census, &json);
    json_out_end_array(&json);
    json_out_end_object(&json);
}

static void answer(struct census *census, struct slice reply, uint64_t number,
                   const json_t *question)
{
    struct text payload;
    text_init(&payload, FRAME_MAX_BYTES / 2);
    if (slice_eq_str(json_slice(json_object_get(question, "call")), "roles"))
        answer_roles(census, &payload);
    else
        text_add_str(&payload, "{\"error\":\"the host knows one call: roles\"}");
    text_clear(&census->frame);
    if (text_status(&payload) == ERR_OK &&
        wire_write_answer(&census->frame, number, text_slice(&payload)) == ERR_OK)
        (void)bus_publish(census->bus, reply, (struct slice){0},
                          text_slice(&census->frame)); /* lost: it is asked again */
    text_fini(&payload);
}

static void on_call(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    json_t *question;
    if (slice_is_empty(message->reply) || wire_open(message->frame, &reader) != ERR_OK)
        return;
    while (wire_next(&reader, &record) == ERR_OK) {
        if (wire_read_call(&record, &question) != ERR_OK)
            continue;
        answer(ctx, message->reply, record.stream, question);
        json_decref(question);
    }
}

/* --- state.nodes --- */

/* A first start speaks for itself soon. */
static bool is_absent(const struct supervisor_row *row)
{
    return row->spec->model && !row->is_leaving &&
           (row->restart == RESTART_DEAD || row->restart == RESTART_HELD_BACK ||
            (row->restart == RESTART_STARTING && row->restarts > 0));
}

static void speak_for(struct census *census, const struct supervisor_row *row)
{
    char node[256];
    struct wire_writer writer;
    snprintf(node, sizeof(node), "%.200s.host", row->spec->model);
    if (row->spec->number > 0) /* several may be absent */
        snprintf(node, sizeof(node), "%.200s.host%u", row->spec->model, row->spec->number);
    struct node_state state = {.node = slice_str(node),
                               .model = slice_str(row->spec->model),
                               .engine = SLICE("none"),
                               .detail = slice_str(row->note),
                               .control = bus_inbox(census->bus),
                               .phase =
                                   row->restart == RESTART_HELD_BACK ? NODE_FAILED : NODE_LOADING};
    text_clear(&census->frame);
    wire_begin(&writer, &census->frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_NODE_STATE});
    node_state_encode(&state, &census->frame);
    wire_close_record(&writer);
    if (wire_finish(&writer) == ERR_OK)
        (void)bus_publish(census->bus, SLICE("state.nodes"), (struct slice){0},
                          text_slice(&census->frame)); /* lost: the next one says it all */
}

static void on_say(void *ctx)
{
    struct census *census = ctx;
    take_rows(census);
    for (size_t i = 0; i < census->row_count; i++) {
        census->said[i] = census->rows[i].restart;
        if (is_absent(&census->rows[i]))
            speak_for(census, &census->rows[i]);
    }
    deadline_round(&census->say, NODE_STATE_INTERVAL_MS * US_PER_MS);
}

void census_changed(struct census *census)
{
    size_t before = census->row_count;
    take_rows(census);
    bool is_news = census->row_count != before;
    for (size_t i = 0; i < census->row_count && !is_news; i++)
        is_news = census->said[i] != census->rows[i].restart;
    if (!is_news)
        return;
    deadline_after(&census->say, 0);
    deadline_after(&census->measure, CENSUS_NEWS_MS * US_PER_MS); /* once it has started up */
}

/* --- memory, on the pool --- */

static void measure(void *ctx)
{
    struct memory_sample *sample = ctx;
    for (size_t i = 0; i < sample->count; i++)
        sample->bytes[i] = memory_pss_bytes(sample->pids[i]);
}

static void on_measured(void *ctx, enum err status)
{
    struct census *census = CONTAINER_OF((struct memory_sample *)ctx, struct census, sample);
    census->work = NULL;
    if (status == ERR_OK)
        census->measured = census->sample;
}

static void on_measure(void *ctx)
{
    struct census *census = ctx;
    deadline_after(&census->measure, CENSUS_MEMORY_MS * US_PER_MS);
    if (census->work) /* the machine is slow: the next time */
        return;
    take_rows(census);
    census->sample.pids[0] = (int)getpid();
    census->sample.count = 1;
    for (size_t i = 0; i < census->row_count; i++)
        if (census->rows[i].pid)
            census->sample.pids[census->sample.count++] = census->rows[i].pid;
    census->work = loop_work_start(census->loop, measure, on_measured, &census->sample);
}

/* --- metrics --- */

/* Series by role: workers of all models are summed up. */
static struct metric *series(struct census *census, enum metric_kind kind, const char *name,
                             const char *help, const char *role)
{
    struct text labels;
    text_init(&labels, 256);
    metrics_label(&labels, "role", slice_str(role));
    text_add_byte(&labels, '\0');
    struct metric *metric = metrics_get(census->metrics, kind, name, help, labels.data);
    text_fini(&labels);
    return metric;
}

struct role_sum {
    double restarts, up, memory;
};

static void sum_up(const struct census *census, const char *role, struct role_sum *sum)
{
    for (size_t i = 0; i < census->row_count; i++) {
        const struct supervisor_row *row = &census->rows[i];
        if (strcmp(row->spec->role, role) != 0)
            continue;
        sum->restarts += row->is_leaving ? 0 : (double)row->restarts;
        sum->up += !row->is_leaving && row->restart == RESTART_READY;
        sum->memory += (double)memory_of(census, row->pid);
    }
}

static void count_role(struct census *census, const char *role, const struct role_sum *sum)
{
    struct metric *restarts = series(census, METRIC_COUNTER, "millrace_role_restarts_total",
                                     "Processes of the role after the first.", role);
    double more = sum->restarts - metric_value(restarts);
    metric_add(restarts, more > 0 ? more : 0);
    metric_set(
        series(census, METRIC_GAUGE, "millrace_role_up", "Processes of the role that serve.", role),
        sum->up);
    metric_set(series(census, METRIC_GAUGE, "millrace_role_memory_bytes",
                      "Proportional set size of the role's processes.", role),
               sum->memory);
}

static void on_collect(void *ctx)
{
    struct census *census = ctx;
    static const char *const roles[] = {"gateway", "manager", "worker"};
    take_rows(census);
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++) {
        struct role_sum sum = {0};
        sum_up(census, roles[i], &sum);
        count_role(census, roles[i], &sum);
    }
    count_role(census, "host",
               &(struct role_sum){.up = 1, .memory = (double)memory_of(census, (int)getpid())});
}

/* --- life --- */

enum err census_new(struct bus *bus, const struct supervisor *supervisor, uint64_t started_us,
                    struct census **out_census)
{
    struct census *census = mem_alloc(sizeof(*census));
    census->bus = bus;
    census->loop = bus_loop(bus);
    census->supervisor = supervisor;
    census->started_us = started_us;
    enum err err =
        bus_subscribe(bus, SLICE("host.calls"), (struct slice){0}, on_call, census, &census->calls);
    if (err != ERR_OK) {
        mem_free(census);
        return err;
    }
    text_init(&census->frame, FRAME_MAX_BYTES);
    deadline_init(&census->say, census->loop, on_say, census);
    deadline_init(&census->measure, census->loop, on_measure, census);
    deadline_after(&census->say, 0);
    deadline_after(&census->measure, 0);
    char node[32];
    snprintf(node, sizeof(node), "host.%d", (int)getpid());
    census->metrics = metrics_new();
    census->feed = metrics_feed_start(bus, census->metrics, "host", node, true, on_collect, census);
    *out_census = census;
    return ERR_OK;
}

void census_free(struct census *census)
{
    if (!census)
        return;
    while (census->work)
        (void)loop_turn(census->loop, true); /* its turn is to finish the work */
    deadline_clear(&census->say);            /* after the turns: a role may have changed in them */
    deadline_clear(&census->measure);
    metrics_feed_stop(&census->feed);
    metrics_free(census->metrics);
    bus_unsubscribe(&census->calls);
    text_fini(&census->frame);
    mem_free(census);
}
