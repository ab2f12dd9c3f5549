/* gateway_stream_test - what a stream is made of, in every dialect: the text, byte for byte; pings;
 * several answers in one; the error event and the terminator, exactly once in every ending. */
#include "base/utf8.h"
#include "gateway/gateway_rig.h"
#include "sse/sse.h"
#include "testing/test.h"

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

/* Everything that could break JSON or SSE framing, and characters of every length. */
static const char hard_text[] =
    "Hello \"wor\\ld\"\n\r\n\tdata: x\n\n: ping\n\x01\x1f\x7f"
    "\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80\xf0\x9f\x8f\xb3"
    "\xef\xb8\x8f\xe2\x80\x8d\xe2\x80\xa8\xe2\x80\xa9 </script> \xc3\xa9";

static struct gateway_rig *rig;

/* --- the surfaces --- */

static struct slice member(const json_t *object, const char *key)
{
    return json_slice(json_object_get(object, key));
}

static const json_t *first_choice(const json_t *object)
{
    return json_array_get(json_object_get(object, "choices"), 0);
}

static struct slice text_of_completions(const json_t *event)
{
    return member(first_choice(event), "text");
}

static struct slice text_of_chat(const json_t *event)
{
    return member(json_object_get(first_choice(event), "delta"), "content");
}

static struct slice text_of_whole_chat(const json_t *body)
{
    return member(json_object_get(first_choice(body), "message"), "content");
}

static struct slice text_of_serving(const json_t *event)
{
    CHECK_SLICES(member(event, "delta"), text_of_completions(event));
    return member(event, "delta");
}

static struct slice text_of_infer(const json_t *event)
{
    return member(event, "token");
}

static struct slice text_of_inference(const json_t *event)
{
    return member(event, "t");
}

static struct slice text_of_raw(const json_t *event)
{
    return member(event, "delta");
}

static struct slice text_of_text(const json_t *body)
{
    return member(body, "text");
}

struct surface {
    const char *name, *path, *body;
    struct slice (*text_of)(const json_t *event);
    const char *terminator, *error;      /* the error event of internal_error "boom" */
    const char *whole_path, *whole_body; /* NULL: always a stream */
    struct slice (*whole_text_of)(const json_t *body);
};

#define OPENAI_ERROR                                                                               \
    "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"param\":null,"             \
    "\"code\":\"internal_error\"}}\n\n"

static const struct surface surfaces[] = {
    {"completions", "/v1/completions", "{\"prompt\":\"x\",\"stream\":true}", text_of_completions,
     "data: [DONE]\n\n", OPENAI_ERROR, "/v1/completions", "{\"prompt\":\"x\"}",
     text_of_completions},
    {"serving v2", "/v1/completions?stream=true", "{\"prompt\":\"x\"}", text_of_serving,
     "data: [DONE]\n\n", OPENAI_ERROR, NULL, NULL, NULL},
    {"chat", "/v1/chat/completions", "{\"stream\":true," MESSAGES "}", text_of_chat,
     "data: [DONE]\n\n", OPENAI_ERROR, "/v1/chat/completions", "{" MESSAGES "}",
     text_of_whole_chat},
    {"infer", "/v1/infer", "{\"prompt\":\"x\",\"stream\":true}", text_of_infer, "data: [DONE]\n\n",
     OPENAI_ERROR, "/v1/infer", "{\"prompt\":\"x\"}", text_of_text},
    {"inference", "/v1/inference", "{\"prompt\":\"x\"}", text_of_inference, "data: [DONE]\n\n",
     "data: {\"event\":\"error\",\"code\":\"INFERENCE_FAILED\",\"message\":\"boom\"}\n\n", NULL,
     NULL, NULL},
    {"generate", "/generate/stream", "{\"prompt\":\"x\"}", text_of_infer, "event: done\n",
     "event: error\ndata: {\"error\":\"boom\"}\n\n", "/generate", "{\"prompt\":\"x\"}",
     text_of_text},
    {"raw", "/v1/infer?format=raw", "{\"prompt\":\"x\"}", text_of_raw, "data: {\"done\":true}\n\n",
     OPENAI_ERROR, NULL, NULL, NULL},
    {"raw chat", "/v1/chat/completions?format=raw", "{" MESSAGES "}", text_of_raw,
     "data: {\"done\":true}\n\n", OPENAI_ERROR, NULL, NULL, NULL},
};

static struct job *ask(const struct surface *surface)
{
    return client_ask(&rig->client, surface->path, surface->body);
}

/* --- text --- */

struct gathered {
    const struct surface *surface;
    struct text text;
    int pieces; /* events that carry text */
};

static void gather_event(void *ctx, const struct sse_event *event)
{
    struct gathered *gathered = ctx;
    json_t *value;
    struct err_note note = {""};
    if (slice_eq_str(event->data, "[DONE]"))
        return;
    CHECK_OK(json_read(event->data, JSON_DEPTH_MAX, &value, &note));
    struct slice text = gathered->surface->text_of(value);
    text_add(&gathered->text, text);
    gathered->pieces += text.len > 0;
    json_decref(value);
}

/* The text of a stream as an SSE client understands it. */
static struct gathered gather(const struct surface *surface, const struct answer *answer)
{
    struct gathered gathered = {.surface = surface};
    struct sse_decoder *decoder;
    text_init(&gathered.text, SIZE_MAX / 2);
    CHECK_OK(sse_decoder_new(16 << 20, &decoder));
    CHECK_OK(sse_decoder_feed(decoder, text_slice(&answer->body), gather_event, &gathered));
    sse_decoder_free(decoder);
    return gathered;
}

/* Says the text in pieces of `step` characters, each a delta. */
static void say_in_pieces(struct job *job, struct slice text, size_t step)
{
    while (text.len > 0) {
        size_t bytes = 0;
        for (size_t i = 0; i < step && bytes < text.len; i++)
            bytes += utf8_first(slice_after(text, bytes)).len;
        job_delta(job, slice_first(text, bytes));
        text = slice_after(text, bytes);
    }
}

TEST(joined_deltas_are_the_text_byte_for_byte_in_every_dialect)
{
    struct slice text = slice_str(hard_text);
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++)
        for (size_t step = 1; step <= utf8_count(text); step++) {
            struct job *job = ask(&surfaces[i]);
            job_start(job);
            say_in_pieces(job, text, step);
            job_done(job, DONE_EOS);
            struct answer answer = client_answer(&rig->client);
            CHECK(answer.is_whole);
            struct gathered gathered = gather(&surfaces[i], &answer);
            CHECK_SLICES(text_slice(&gathered.text), text);
            text_fini(&gathered.text);
            client_forget(&rig->client, &answer);
            rig_forget_jobs(rig);
        }
    gateway_rig_close(rig);
}

TEST(a_whole_answer_is_the_same_text)
{
    struct slice text = slice_str(hard_text);
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
        if (!surfaces[i].whole_path)
            continue;
        client_post_str(&rig->client, surfaces[i].whole_path, surfaces[i].whole_body);
        client_settle(&rig->client);
        struct job *job = rig_last_job(rig);
        job_start(job);
        say_in_pieces(job, text, 1);
        job_done(job, DONE_EOS);
        struct answer answer = client_answer(&rig->client);
        json_t *body;
        struct err_note note = {""};
        CHECK_EQ(answer.status, 200);
        CHECK_OK(json_read(text_slice(&answer.body), JSON_DEPTH_MAX, &body, &note));
        CHECK_SLICES(surfaces[i].whole_text_of(body), text);
        json_decref(body);
        client_forget(&rig->client, &answer);
    }
    gateway_rig_close(rig);
}

TEST(grouped_text_loses_nothing_and_has_fewer_pieces)
{
    static const uint32_t sizes[] = {1, 2, 7, 1000};
    struct slice text = slice_str(hard_text);
    for (size_t k = 0; k < ARRAY_COUNT(sizes); k++) {
        struct gateway_options options = gateway_rig_options();
        options.sse_chunk_chars = sizes[k];
        rig = gateway_rig_open(&options);
        for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
            struct job *job = ask(&surfaces[i]);
            job_start(job);
            say_in_pieces(job, text, 1);
            job_done(job, DONE_EOS);
            struct answer answer = client_answer(&rig->client);
            struct gathered gathered = gather(&surfaces[i], &answer);
            CHECK_SLICES(text_slice(&gathered.text), text);
            CHECK_EQ(gathered.pieces, (utf8_count(text) + sizes[k] - 1) / sizes[k]);
            text_fini(&gathered.text);
            client_forget(&rig->client, &answer);
        }
        gateway_rig_close(rig);
    }
}

TEST(grouped_text_that_is_held_still_comes_before_an_error)
{
    struct gateway_options options = gateway_rig_options();
    options.sse_chunk_chars = 4;
    rig = gateway_rig_open(&options);
    struct job *job = ask(&surfaces[0]);
    job_start(job);
    say_in_pieces(job, SLICE("abcdef"), 1);
    job_fail(job, FAULT_INTERNAL_ERROR, "boom");
    struct answer answer = client_answer(&rig->client);
    struct gathered gathered = gather(&surfaces[0], &answer);
    CHECK_SLICE(text_slice(&gathered.text), "abcdef");
    CHECK_EQ(answer_count(&answer, OPENAI_ERROR), 1);
    text_fini(&gathered.text);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(what_one_turn_brings_leaves_as_one_chunk)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(&surfaces[0]);
    job_start(job);
    job_burst(job, SLICE("x"), 10);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.chunks, 1);
    CHECK_EQ(answer_count(&answer, "\"text\":\"x\""), 10);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

/* --- ends --- */

/* The stream has ended: with `error_count` error events and one terminator, the last thing in it.
 */
static void check_ended(const struct surface *surface, size_t error_count)
{
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer.status, 200);
    CHECK(answer.is_whole);
    CHECK_EQ(answer_count(&answer, surface->terminator), 1);
    CHECK_EQ(answer_count(&answer, surface->error), error_count);
    CHECK(slice_ends_with(text_slice(&answer.body), SLICE("\n\n")));
    size_t end = slice_find(text_slice(&answer.body), slice_str(surface->terminator));
    struct slice tail = slice_after(text_slice(&answer.body), end);
    CHECK_EQ(slice_find(tail, SLICE("\n\n")), tail.len - 2); /* one event, and nothing behind it */
    client_forget(&rig->client, &answer);
}

TEST(a_fault_after_the_head_is_the_dialects_error_event_and_its_terminator_once)
{
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
        struct job *job = ask(&surfaces[i]);
        job_start(job);
        job_delta(job, SLICE("x"));
        job_fail(job, FAULT_INTERNAL_ERROR, "boom");
        check_ended(&surfaces[i], 1);
        CHECK(rig_is_idle(rig));
    }
    gateway_rig_close(rig);
}

TEST(every_good_end_has_its_terminator_once)
{
    static const enum done_reason reasons[] = {DONE_EOS, DONE_STOP, DONE_LENGTH};
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++)
        for (size_t k = 0; k < ARRAY_COUNT(reasons); k++) {
            struct job *job = ask(&surfaces[i]);
            job_start(job);
            if (k > 0) /* an answer may also be empty */
                job_delta(job, SLICE("x"));
            job_done(job, reasons[k]);
            check_ended(&surfaces[i], 0);
            CHECK(rig_is_idle(rig));
        }
    CHECK_EQ(gateway_stats(rig->gateway).connections, 1); /* all of it on one connection */
    gateway_rig_close(rig);
}

TEST(a_worker_that_falls_silent_ends_the_stream_properly)
{
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
        struct job *job = ask(&surfaces[i]);
        job_start(job);
        job_delta(job, SLICE("x"));
        job->ended = true; /* dead: it beats no more */
        rig_live_ms(rig, 5000);
        check_ended(&surfaces[i], 0); /* the error's text is not "boom" */
        CHECK(rig_is_idle(rig));
    }
    gateway_rig_close(rig);
}

TEST(a_cancelled_generation_ends_in_the_dialects_words)
{
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
        struct job *job = ask(&surfaces[i]);
        job_start(job);
        job_delta(job, SLICE("x"));
        job_done(job, DONE_CANCELLED);
        struct answer answer = client_answer(&rig->client);
        bool has_a_word = strcmp(surfaces[i].name, "inference") == 0;
        CHECK_EQ(answer_count(&answer, "cancelled"), has_a_word ? 1 : 2 - (i == 5));
        CHECK_EQ(answer_count(&answer, "\"stop_reason\":\"cancelled\""), has_a_word);
        answer_fini(&answer);
        check_ended(&surfaces[i], 0);
    }
    gateway_rig_close(rig);
}

TEST(a_stream_to_http_1_0_ends_with_its_terminator_and_the_connection)
{
    rig = gateway_rig_open(NULL);
    client_send_str(&rig->client, "POST /v1/infer HTTP/1.0\r\nContent-Length: 28\r\n\r\n"
                                  "{\"prompt\":\"x\",\"stream\":true}");
    client_settle(&rig->client);
    job_start(rig_last_job(rig));
    job_delta(rig_last_job(rig), SLICE("x"));
    job_done(rig_last_job(rig), DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    CHECK(answer.is_whole && rig->client.eof);
    CHECK_SLICE(text_slice(&answer.body), "data: {\"token\":\"x\"}\n\ndata: [DONE]\n\n");
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(two_pipelined_streams_are_answered_one_after_the_other)
{
    rig = gateway_rig_open(NULL);
    client_post_str(&rig->client, "/v1/infer", "{\"prompt\":\"a\",\"stream\":true}");
    client_post_str(&rig->client, "/v1/infer", "{\"prompt\":\"b\",\"stream\":true}");
    client_settle(&rig->client);
    CHECK_EQ(rig->job_count, 1);
    for (int i = 0; i < 2; i++) {
        struct job *job = rig_last_job(rig);
        CHECK_SLICES(job->request.prompt, i ? SLICE("b") : SLICE("a"));
        job_start(job);
        job_delta(job, job->request.prompt);
        job_done(job, DONE_EOS);
        check_ended(&surfaces[3], 0);
    }
    gateway_rig_close(rig);
}

/* --- silence --- */

static void check_body(const char *expected)
{
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICES(text_slice(&answer.body), slice_str(expected));
    answer_fini(&answer);
}

/* The deadline that the first event has armed lies before each of the pings. */
TEST(silence_counts_from_the_last_event)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(&surfaces[3]);
    job_start(job);
    for (int i = 1; i <= 3; i++) {
        job_delta(job, SLICE("x"));
        rig_live_ms(rig, 6000);
        job_delta(job, SLICE("y"));
        rig_live_ms(rig, 9999);
        CHECK_EQ(client_count(&rig->client, ": ping"), i - 1);
        rig_live_ms(rig, 1);
        client_settle(&rig->client);
        CHECK_EQ(client_count(&rig->client, ": ping"), i);
    }
    job_done(job, DONE_EOS);
    gateway_rig_close(rig);
}

TEST(a_stream_that_is_quiet_holds_no_room_for_a_big_event)
{
    char big[4000];
    memset(big, 'b', sizeof(big));
    rig = gateway_rig_open(NULL);
    struct job *job = ask(&surfaces[3]);
    job_start(job);
    job_delta(job, slice_of(big, sizeof(big)));
    CHECK(rig_reply(rig)->out.capacity >= sizeof(big));
    rig_live_ms(rig, 10000);
    CHECK(rig_reply(rig)->out.capacity <= 128);
    job_done(job, DONE_EOS);
    gateway_rig_close(rig);
}

TEST(a_ping_comes_after_ping_ms_of_silence_and_is_one_line)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(&surfaces[3]);
    job_start(job);
    job_delta(job, SLICE("x"));
    rig_live_ms(rig, 9999);
    check_body("data: {\"token\":\"x\"}\n\n");
    rig_live_ms(rig, 1);
    check_body("data: {\"token\":\"x\"}\n\n: ping\n");
    rig_live_ms(rig, 10000);
    check_body("data: {\"token\":\"x\"}\n\n: ping\n: ping\n");
    job_delta(job, SLICE("y"));
    job_done(job, DONE_EOS);
    check_body("data: {\"token\":\"x\"}\n\n: ping\n: ping\ndata: {\"token\":\"y\"}\n\n"
               "data: [DONE]\n\n");
    rig_live_ms(rig, 4000);
    CHECK_EQ(client_count(&rig->client, ": ping"), 2); /* none after the end */
    gateway_rig_close(rig);
}

TEST(an_answer_that_flows_has_no_pings)
{
    rig = gateway_rig_open(NULL);
    struct job *job = ask(&surfaces[3]);
    job_start(job);
    for (int i = 0; i < 20; i++) {
        job_delta(job, SLICE("x"));
        rig_live_ms(rig, 9000);
    }
    client_settle(&rig->client);
    CHECK_EQ(client_count(&rig->client, ": ping"), 0);
    gateway_rig_close(rig);
}

TEST(no_ping_comes_before_the_head_nor_into_a_whole_answer)
{
    struct gateway_options options = gateway_rig_options();
    options.head_hold_ms = 60000;
    rig = gateway_rig_open(&options);
    struct job *job = ask(&surfaces[3]);
    job_accept(job);
    rig_live_ms(rig, 30000);
    client_settle(&rig->client);
    CHECK_EQ(rig->client.in.len, 0);
    gateway_rig_close(rig);
    rig = gateway_rig_open(NULL);
    client_post_str(&rig->client, "/v1/infer", "{\"prompt\":\"x\"}");
    client_settle(&rig->client);
    job_start(rig_last_job(rig));
    rig_live_ms(rig, 30000);
    client_settle(&rig->client);
    CHECK_EQ(rig->client.in.len, 0);
    gateway_rig_close(rig);
}

/* The head is out by head_hold, so what `started` brings must not wait for the first token; and
 * what waits must not keep the pings back. */
TEST(a_long_silence_after_started_is_pinged_in_every_dialect)
{
    rig = gateway_rig_open(NULL);
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
        struct job *job = ask(&surfaces[i]);
        job_accept(job);
        rig_live_ms(rig, 3000);
        job_say(job, &(struct event){.type = EVENT_STARTED,
                                     .started = {.model = SLICE("m"), .worker = SLICE("w")}});
        struct answer answer = client_answer(&rig->client);
        CHECK_EQ(answer.status, 200);
        size_t begun = answer.body.len;
        if (i == 2) /* chat says whose turn it is */
            CHECK_EQ(answer_count(&answer, "\"role\":\"assistant\""), 1);
        answer_fini(&answer);
        rig_live_ms(rig, 20000);
        answer = client_answer(&rig->client);
        CHECK_EQ(answer.body.len, begun + 2 * strlen(": ping\n"));
        answer_fini(&answer);
        job_done(job, DONE_EOS);
        check_ended(&surfaces[i], 0);
    }
    gateway_rig_close(rig);
}

TEST(usage_is_told_once_at_the_end_and_is_the_workers)
{
    rig = gateway_rig_open(NULL);
    client_post_str(
        &rig->client, "/v1/completions",
        "{\"prompt\":\"x\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    client_settle(&rig->client);
    struct job *job = rig_last_job(rig);
    job_start(job);
    job_delta(job, SLICE("x"));
    job_say(job, &(struct event){
                     .type = EVENT_USAGE,
                     .usage = {.prompt_tokens = 11, .cached_tokens = 4, .completion_tokens = 5}});
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer_count(&answer, "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":5,"
                                   "\"total_tokens\":16,\"prompt_tokens_details\":"
                                   "{\"cached_tokens\":4}}"),
             1);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(inference_numbers_its_pieces)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/inference", "{\"prompt\":\"x\"}");
    job_start(job);
    job_delta(job, SLICE("a"));
    job_delta(job, SLICE("")); /* no piece */
    job_delta(job, SLICE("b"));
    struct answer answer = client_answer(&rig->client);
    CHECK(slice_ends_with(text_slice(&answer.body),
                          SLICE("data: {\"event\":\"token\",\"t\":\"a\",\"i\":0}\n\n"
                                "data: {\"event\":\"token\",\"t\":\"b\",\"i\":1}\n\n")));
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(there_is_no_usage_to_tell_after_an_error)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(
        &rig->client, "/v1/completions",
        "{\"prompt\":\"x\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    job_start(job);
    job_delta(job, SLICE("x"));
    job_fail(job, FAULT_INTERNAL_ERROR, "boom");
    struct answer answer = client_answer(&rig->client);
    CHECK_EQ(answer_count(&answer, "\"usage\":{"), 0);
    answer_fini(&answer);
    check_ended(&surfaces[0], 1);
    gateway_rig_close(rig);
}

TEST(an_echo_is_the_first_piece_of_the_text_whatever_its_length)
{
    enum { PROMPT_BYTES = 5 * 1024 * 1024 };
    struct gateway_options options = gateway_rig_options();
    struct text body;
    options.http.message.body_max_bytes = 8 * 1024 * 1024;
    text_init(&body, options.http.message.body_max_bytes);
    text_add(&body, SLICE("{\"stream\":true,\"echo\":true,\"prompt\":\""));
    char *prompt = text_reserve(&body, PROMPT_BYTES);
    memset(prompt, 'p', PROMPT_BYTES);
    body.len += PROMPT_BYTES;
    text_add(&body, SLICE("\"}"));
    rig = gateway_rig_open(&options);
    client_post(&rig->client, "/v1/completions", "", text_slice(&body));
    client_settle(&rig->client);
    struct job *job = rig_last_job(rig);
    job_start(job);
    job_delta(job, SLICE("x"));
    job_done(job, DONE_EOS);
    struct answer answer = client_answer(&rig->client);
    CHECK(answer.is_whole);
    struct gathered gathered = gather(&surfaces[0], &answer);
    CHECK_EQ(gathered.text.len, PROMPT_BYTES + 1);
    text_fini(&gathered.text);
    answer_fini(&answer);
    text_fini(&body);
    gateway_rig_close(rig);
}
