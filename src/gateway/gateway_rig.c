/* gateway_rig - what the tests of the gateway stand on. See gateway_rig.h. */
#include "gateway/gateway_rig.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { JOB_ARENA_BYTES = 64 * 1024 * 1024, REPORT_MS = 1000 };

static const struct slice control_subject = {"control.w", 9};
static const struct slice no_slice = {NULL, 0};

static void must(enum err err, const char *what)
{
    ASSERT_MSG(err == ERR_OK, "%s: %s", what, err_name(err));
}

/* --- frames --- */

static void publish(struct gateway_rig *rig, struct slice subject, struct text *frame,
                    struct wire_writer *writer)
{
    if (wire_finish(writer) == ERR_OK) /* else, and here too: no memory, so it is lost */
        (void)bus_publish(rig->back, subject, control_subject, text_slice(frame));
    text_fini(frame);
}

static void begin(struct text *frame, struct wire_writer *writer, enum wire_kind kind)
{
    text_init(frame, WIRE_FRAME_MAX_BYTES);
    wire_begin(writer, frame, kind);
}

/* --- the worker's ears --- */

static struct job *job_of(struct gateway_rig *rig, uint64_t stream)
{
    for (int i = 0; i < rig->job_count; i++)
        if (rig->jobs[i].request.id.low == stream)
            return &rig->jobs[i];
    return NULL;
}

/* The gateway lost sight of the worker before anything was said: as another worker, from the start.
 */
static void run_again(struct job *job, uint32_t epoch)
{
    job->request.epoch = epoch;
    job->seq = job->bytes = 0;
    job->ended = false;
    job->credit = (struct wire_credit){.seq_limit = job->request.credit_events,
                                       .byte_limit = job->request.credit_bytes};
}

static void hear_submit(struct gateway_rig *rig, const struct wire_record *record)
{
    struct job *known = job_of(rig, record->stream);
    if (known) {
        known->submits++;
        if (record->epoch > known->request.epoch)
            run_again(known, record->epoch);
        return;
    }
    ASSERT(rig->job_count < JOBS_MAX);
    struct job job = {.rig = rig, .submits = 1, .arena = arena_new(JOB_ARENA_BYTES)};
    if (request_decode(record->payload, job.arena, &job.request, NULL) != ERR_OK) {
        arena_free(job.arena); /* no memory: it is repeated */
        return;
    }
    job.credit = (struct wire_credit){.seq_limit = job.request.credit_events,
                                      .byte_limit = job.request.credit_bytes};
    rig->jobs[rig->job_count++] = job;
}

static void hear_credit(struct job *job, const struct wire_record *record)
{
    struct wire_credit credit;
    must(wire_read_credit(record, &credit), "credit");
    ASSERT(credit.seq_limit >= job->credit.seq_limit &&
           credit.byte_limit >= job->credit.byte_limit);
    job->credit = credit;
    job->credits++;
}

/* Answers as a worker does that does not have the stream. */
static void disown(struct gateway_rig *rig, uint64_t stream, uint32_t epoch, struct slice to)
{
    struct text frame;
    struct wire_writer writer;
    begin(&frame, &writer, WIRE_EVENTS);
    wire_add(&writer,
             &(struct wire_record){.stream = stream, .epoch = epoch, .type = WIRE_UNKNOWN_STREAM});
    publish(rig, to, &frame, &writer);
}

/* The end of what was cancelled. */
static void oblige(struct job *job)
{
    if (job->cancels == 0)
        return;
    if (job->ended) /* its end was lost */
        disown(job->rig, job->request.id.low, job->request.epoch, job->request.inbox);
    else
        job_post(job, &(struct event){.type = EVENT_DONE, .done.reason = DONE_CANCELLED});
}

static void hear_cancel(struct gateway_rig *rig, struct job *job, const struct wire_record *record,
                        struct slice from)
{
    if (!job) {
        disown(rig, record->stream, record->epoch, from);
        return;
    }
    job->cancels++;
    if (rig->obliges)
        oblige(job);
}

static void on_control_frame(void *ctx, const struct bus_message *message)
{
    struct gateway_rig *rig = ctx;
    struct wire_reader reader;
    struct wire_record record;
    must(wire_open(message->frame, &reader), "frame");
    while (wire_next(&reader, &record) == ERR_OK) {
        struct job *job = job_of(rig, record.stream);
        if (record.type == WIRE_SUBMIT)
            hear_submit(rig, &record);
        else if (job && record.type == WIRE_CREDIT && record.epoch == job->request.epoch)
            hear_credit(job, &record);
        else if (record.type == WIRE_CANCEL && (!job || record.epoch == job->request.epoch))
            hear_cancel(rig, job, &record, message->reply);
    }
}

/* --- the worker's mouth --- */

void rig_report(struct gateway_rig *rig)
{
    struct text frame;
    struct wire_writer writer;
    begin(&frame, &writer, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_NODE_STATE});
    node_state_encode(&rig->state, &frame);
    wire_close_record(&writer);
    publish(rig, SLICE("state.nodes"), &frame, &writer);
    rig_settle(&rig->http);
}

static void beat(struct gateway_rig *rig)
{
    for (int i = 0; i < rig->job_count; i++) {
        struct job *job = &rig->jobs[i];
        struct text frame;
        struct wire_writer writer;
        if (job->ended || job->seq == 0)
            continue;
        begin(&frame, &writer, WIRE_EVENTS);
        wire_add(&writer, &(struct wire_record){.stream = job->request.id.low,
                                                .seq = job->seq,
                                                .epoch = job->request.epoch,
                                                .type = WIRE_HEARTBEAT});
        publish(rig, job->request.inbox, &frame, &writer);
    }
}

void rig_live_ms(struct gateway_rig *rig, uint64_t ms)
{
    while (ms > 0) {
        uint64_t step = ms < REPORT_MS ? ms : REPORT_MS;
        rig_report(rig);
        beat(rig);
        rig_advance_ms(&rig->http, step);
        ms -= step;
    }
}

static void add_event(struct job *job, struct wire_writer *writer, struct event event)
{
    static const int32_t tokens[1] = {7};
    size_t before = writer->out->len;
    event.seq = ++job->seq;
    event_encode(writer, job->request.id.low, job->request.epoch, &event, tokens);
    job->bytes += writer->out->len - before - WIRE_RECORD_HEADER_BYTES;
    job->ended = job->ended || event_is_end(event.type);
}

static struct event delta_of(struct slice text)
{
    return (struct event){.type = EVENT_DELTA, .delta = {.token_count = 1, .text = text}};
}

void job_post(struct job *job, const struct event *event)
{
    struct text frame;
    struct wire_writer writer;
    begin(&frame, &writer, WIRE_EVENTS);
    add_event(job, &writer, *event);
    publish(job->rig, job->request.inbox, &frame, &writer);
}

void job_say(struct job *job, const struct event *event)
{
    job_post(job, event);
    rig_settle(&job->rig->http);
}

void job_accept(struct job *job)
{
    job_say(job, &(struct event){.type = EVENT_ACCEPTED,
                                 .accepted = {.worker = SLICE("w"), .control = control_subject}});
}

void job_start(struct job *job)
{
    job_accept(job);
    job_say(job, &(struct event){.type = EVENT_STARTED,
                                 .started = {.model = SLICE("m"),
                                             .worker = SLICE("w"),
                                             .prompt_tokens = 3,
                                             .seed = 42}});
}

void job_delta(struct job *job, struct slice text)
{
    struct event event = delta_of(text);
    job_say(job, &event);
}

void job_done(struct job *job, enum done_reason reason)
{
    job_say(job, &(struct event){.type = EVENT_DONE, .done.reason = reason});
}

void job_fail(struct job *job, enum fault fault, const char *message)
{
    job_say(job, &(struct event){.type = EVENT_ERROR,
                                 .error = {.fault = fault, .message = slice_str(message)}});
}

void job_burst(struct job *job, struct slice text, int count)
{
    struct text frame;
    struct wire_writer writer;
    begin(&frame, &writer, WIRE_EVENTS);
    for (int i = 0; i < count; i++)
        add_event(job, &writer, delta_of(text));
    publish(job->rig, job->request.inbox, &frame, &writer);
}

int job_fill(struct job *job, struct slice text)
{
    int count = 0;
    for (; job->seq < job->credit.seq_limit && job->bytes < job->credit.byte_limit; count++)
        job_burst(job, text, 1);
    rig_settle(&job->rig->http);
    return count;
}

/* --- life --- */

struct gateway_options gateway_rig_options(void)
{
    struct http_limits limits = rig_limits();
    limits.head_ms = limits.idle_ms = 0;
    return (struct gateway_options){
        .listen_fd = -1,
        .http = limits,
        .ask = ask_options_default(),
        .default_model = "m",
        .live = {.allowed_hosts = "", .allowed_origins = "", .streams_per_key = 256},
        .head_hold_ms = 3000,
        .ping_ms = 10000,
    };
}

static void subscribe(struct gateway_rig *rig)
{
    must(bus_subscribe(rig->back, SLICE("submit"), SLICE("managers"), on_control_frame, rig,
                       &rig->submits),
         "subscribe");
    must(bus_subscribe(rig->back, control_subject, no_slice, on_control_frame, rig, &rig->control),
         "subscribe");
}

struct gateway_rig *gateway_rig_open_on(struct loop *loop, const struct gateway_options *options)
{
    struct gateway_rig *rig = mem_alloc(sizeof(*rig));
    struct gateway_options own = options ? *options : gateway_rig_options();
    struct err_note note = {""};
    log_set_level(LOG_ERROR); /* a line per request would drown what a failing test says */
    rig->http.net.loop = loop;
    rig->state = (struct node_state){.node = SLICE("w1"),
                                     .model = SLICE("m"),
                                     .engine = SLICE("scripted"),
                                     .control = control_subject,
                                     .phase = NODE_READY,
                                     .context_tokens = 4096,
                                     .slots = 8,
                                     .last_token_ms = clock_wall_ms()};
    must(net_address_parse(SLICE("127.0.0.1"), 0, &rig->http.address, &note), note.text);
    must(net_claim_port(&rig->http.address, "/tmp", &rig->http.claim, &note), note.text);
    own.address = rig->http.address;
    rig->bus_mem = bus_mem_new(64 * 1024 * 1024);
    rig->front = bus_mem_open(rig->bus_mem, rig->http.net.loop);
    rig->back = bus_mem_open(rig->bus_mem, rig->http.net.loop);
    subscribe(rig);
    rig->metrics = own.metrics = metrics_new();
    rig->feed = own.feed =
        metrics_feed_start(rig->front, rig->metrics, "gateway", "g1", false, NULL, NULL);
    must(gateway_open(rig->front, &own, &rig->gateway, &note), note.text);
    client_open(&rig->client, &rig->http);
    return rig;
}

struct gateway_rig *gateway_rig_open_alone(const struct gateway_options *options)
{
    return gateway_rig_open_on(loop_new_virtual(1000000), options);
}

struct gateway_rig *gateway_rig_open(const struct gateway_options *options)
{
    struct gateway_rig *rig = gateway_rig_open_alone(options);
    rig_report(rig);
    return rig;
}

void gateway_rig_close(struct gateway_rig *rig)
{
    rig->obliges = true;
    for (int i = 0; i < rig->job_count; i++)
        oblige(&rig->jobs[i]);
    gateway_close(&rig->gateway);
    ASSERT(!rig->gateway);
    metrics_feed_stop(&rig->feed);
    metrics_free(rig->metrics);
    client_fini(&rig->client);
    bus_unsubscribe(&rig->submits);
    bus_unsubscribe(&rig->control);
    bus_close(&rig->front);
    bus_close(&rig->back);
    rig_settle(&rig->http);
    rig_forget_jobs(rig);
    net_claim_release(rig->http.claim);
    bus_mem_free(rig->bus_mem);
    loop_free(rig->http.net.loop); /* ASSERTs that nothing is armed any more */
    mem_free(rig);
}

static void on_drained(void *ctx)
{
    ((struct gateway_rig *)ctx)->drained++;
}

void rig_drain(struct gateway_rig *rig, uint32_t drain_ms)
{
    gateway_drain(rig->gateway, drain_ms, on_drained, rig);
    rig_settle(&rig->http);
}

bool rig_is_idle(const struct gateway_rig *rig)
{
    return gateway_stats(rig->gateway).in_flight == 0 && ask_hub_count(rig->gateway->hub) == 0;
}

struct reply *rig_reply(struct gateway_rig *rig)
{
    ASSERT(!list_is_empty(&rig->gateway->replies));
    return CONTAINER_OF(rig->gateway->replies.next, struct reply, link);
}

struct job *rig_last_job(struct gateway_rig *rig)
{
    ASSERT_MSG(rig->job_count > 0, "the worker has heard of no request");
    return &rig->jobs[rig->job_count - 1];
}

void rig_forget_jobs(struct gateway_rig *rig)
{
    for (int i = 0; i < rig->job_count; i++) {
        ASSERT_MSG(rig->jobs[i].ended, "job %d goes on", i);
        arena_free(rig->jobs[i].arena);
    }
    rig->job_count = 0;
}

/* --- the client's side --- */

static struct gateway_rig *rig_of(struct client *client)
{
    return CONTAINER_OF(client->rig, struct gateway_rig, http);
}

void client_post(struct client *client, const char *path, const char *fields, struct slice body)
{
    struct text head;
    text_init(&head, 64 * 1024);
    text_add_f(&head, "POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n", path,
               fields, body.len);
    ASSERT(text_status(&head) == ERR_OK && client_send(client, text_slice(&head)));
    ASSERT(client_send(client, body));
    text_fini(&head);
}

void client_post_str(struct client *client, const char *path, const char *body)
{
    client_post(client, path, "", slice_str(body));
}

void client_get(struct client *client, const char *target, const char *fields)
{
    char head[8192];
    int len = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target,
                       fields);
    ASSERT(len > 0 && (size_t)len < sizeof(head));
    client_send_str(client, head);
}

struct job *client_ask(struct client *client, const char *path, const char *body)
{
    client_post_str(client, path, body);
    client_settle(client);
    return rig_last_job(rig_of(client));
}

void client_leave(struct client *client, enum way way)
{
    if (way == BY_FIN)
        peer_close(client->fd);
    else
        peer_reset(client->fd);
    client->fd = -1;
    rig_settle(client->rig);
}

struct slice answer_field(const struct answer *answer, const char *name)
{
    struct slice rest = answer->head, line, key, value;
    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest); /* the last line has its end too */
        if (slice_cut(line, ':', &key, &value) && slice_eq_ci(key, slice_str(name)))
            return slice_trim(slice_first(value, value.len - 1));
    }
    return no_slice;
}

static size_t parse_hex(struct slice digits)
{
    char text[32];
    snprintf(text, sizeof(text), SLICE_FMT, SLICE_ARG(digits));
    return strtoul(text, NULL, 16);
}

/* What has come of a chunked body. */
static void read_chunks(struct answer *answer, struct slice rest)
{
    size_t before = rest.len, end;
    while ((end = slice_find(rest, SLICE("\r\n"))) != SLICE_NPOS) {
        size_t bytes = parse_hex(slice_first(rest, end));
        struct slice data = slice_after(rest, end + 2);
        if (data.len < bytes + 2)
            return;
        text_add(&answer->body, slice_first(data, bytes));
        rest = slice_after(data, bytes + 2);
        answer->bytes = answer->head.len + before - rest.len;
        answer->is_whole = bytes == 0;
        if (answer->is_whole)
            return;
        answer->chunks++;
    }
}

static void read_length(struct answer *answer, struct slice rest, struct slice length, bool eof)
{
    uint64_t bytes = rest.len;
    if (length.data)
        must(slice_parse_u64(length, SIZE_MAX, &bytes), "Content-Length");
    text_add(&answer->body, slice_first(rest, bytes));
    answer->is_whole = length.data ? rest.len >= bytes : eof;
    answer->bytes = answer->head.len + answer->body.len;
}

struct answer client_answer(struct client *client)
{
    struct answer answer = {0};
    text_init(&answer.body, SIZE_MAX / 2);
    client_settle(client);
    struct slice in = text_slice(&client->in);
    size_t end = slice_find(in, SLICE("\r\n\r\n"));
    if (end == SLICE_NPOS)
        return answer;
    answer.head = slice_first(in, end + 4);
    answer.status = (int)parse_hex(slice_first(slice_after(in, 9), 1)) * 100 +
                    (int)parse_hex(slice_first(slice_after(in, 10), 1)) * 10 +
                    (int)parse_hex(slice_first(slice_after(in, 11), 1));
    if (answer.status == 204)
        read_length(&answer, slice_after(in, end + 4), SLICE("0"), client->eof);
    else if (answer_field(&answer, "Transfer-Encoding").data)
        read_chunks(&answer, slice_after(in, end + 4));
    else
        read_length(&answer, slice_after(in, end + 4), answer_field(&answer, "Content-Length"),
                    client->eof);
    return answer;
}

void client_forget(struct client *client, struct answer *answer)
{
    size_t bytes = answer->bytes;
    ASSERT(answer->is_whole && bytes <= client->in.len);
    answer_fini(answer);
    memmove(client->in.data, client->in.data + bytes, client->in.len - bytes);
    text_shrink(&client->in, client->in.len - bytes);
}

int client_status(struct client *client)
{
    struct answer answer = client_answer(client);
    int status = answer.status;
    answer_fini(&answer);
    return status;
}

static bool has_code(const struct answer *answer, const char *code)
{
    json_t *body;
    if (json_read(text_slice(&answer->body), JSON_DEPTH_MAX, &body, NULL) != ERR_OK)
        return false;
    const json_t *error = json_object_get(body, "error");
    bool has = slice_eq_str(json_slice(json_object_get(error, "code")), code) &&
               json_string_length(json_object_get(error, "message")) > 0;
    json_decref(body);
    return has;
}

bool client_was_refused(struct client *client, int status, const char *code)
{
    struct answer answer = client_answer(client);
    bool was = answer.status == status && answer.is_whole &&
               slice_eq_str(answer_field(&answer, "Content-Type"), "application/json") &&
               has_code(&answer, code);
    if (was)
        client_forget(client, &answer);
    else
        fprintf(stderr, "not a %d %s:\n" SLICE_FMT "\n", status, code,
                SLICE_ARG(text_slice(&client->in)));
    answer_fini(&answer);
    return was;
}

size_t answer_count(const struct answer *answer, const char *needle)
{
    size_t count = 0;
    struct slice rest = text_slice(&answer->body), wanted = slice_str(needle);
    for (size_t at; (at = slice_find(rest, wanted)) != SLICE_NPOS; count++)
        rest = slice_after(rest, at + wanted.len);
    return count;
}

void answer_fini(struct answer *answer)
{
    text_fini(&answer->body);
}
