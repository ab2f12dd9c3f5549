/* gateway_metrics_test - what a gateway counts, and the pages that show it. */
#include "gateway/gateway_rig.h"
#include "gateway/routes.h"
#include "metrics/table.h"
#include "testing/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAM "{\"prompt\":\"x\",\"stream\":true}"
#define WHOLE  "{\"prompt\":\"x\"}"

static struct gateway_rig *rig;

/* --- looking at a page --- */

static struct client scraper;

static struct text get_page(const char *target, const char *fields)
{
    client_open(&scraper, &rig->http);
    client_get(&scraper, target, fields);
    struct answer answer = client_answer(&scraper);
    CHECK_EQ(answer.status, 200);
    CHECK(answer.is_whole);
    client_fini(&scraper);
    return answer.body;
}

/* The value behind `series ` at the start of a line; NAN when there is no such line. */
static double value_in(const struct text *page, const char *series)
{
    struct slice rest = text_slice(page), line;
    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest); /* the last line has its end too */
        if (!slice_starts_with(line, slice_str(series)) || line.len <= strlen(series) ||
            line.data[strlen(series)] != ' ')
            continue;
        char number[64];
        snprintf(number, sizeof(number), SLICE_FMT,
                 SLICE_ARG(slice_after(line, strlen(series) + 1)));
        return strtod(number, NULL);
    }
    return (double)NAN;
}

static double scraped(const char *series)
{
    struct text page = get_page("/metrics", "");
    double value = value_in(&page, series);
    text_fini(&page);
    return value;
}

#define CHECK_SCRAPED(series, expected) CHECK_NEAR(scraped(series), (expected), 1e-9)
#define CHECK_ABSENT(series)            CHECK(isnan(scraped(series)))

static void finish(struct job *job)
{
    job_start(job);
    job_delta(job, SLICE("a"));
    job_done(job, DONE_EOS);
    client_settle(&rig->client);
}

/* --- answers --- */

TEST(answers_are_counted_by_route_method_and_status)
{
    rig = gateway_rig_open(NULL);
    for (int i = 0; i < 3; i++) {
        client_get(&rig->client, "/health?x=y", "");
        client_settle(&rig->client);
    }
    client_get(&rig->client, "/v1/models/m", "");
    client_get(&rig->client, "/v1/models/nothing", "");
    client_get(&rig->client, "/v1/completions", "");
    client_get(&rig->client, "/no/such/thing", "");
    client_settle(&rig->client);
    struct text page = get_page("/metrics", "");
#define ANSWERS(route, method, status)                                                             \
    "millrace_http_requests_total{route=\"" route "\",method=\"" method "\",status=\"" status "\"" \
    "}"
    CHECK_NEAR(value_in(&page, ANSWERS("/health", "GET", "200")), 3, 0);
    CHECK_NEAR(value_in(&page, ANSWERS("/v1/models/{id...}", "GET", "200")), 1, 0);
    CHECK_NEAR(value_in(&page, ANSWERS("/v1/models/{id...}", "GET", "404")), 1, 0);
    CHECK_NEAR(value_in(&page, ANSWERS("", "GET", "405")), 1, 0);
    CHECK_NEAR(value_in(&page, ANSWERS("", "GET", "404")), 1, 0);
    CHECK(isnan(value_in(&page, ANSWERS("/metrics", "GET", "200")))); /* it is being made */
    text_fini(&page);
    CHECK_SCRAPED(ANSWERS("/metrics", "GET", "200"), 1);
    gateway_rig_close(rig);
}

/* What is refused before there is a route, by us or by the server itself, is counted too. */
TEST(answers_to_what_is_no_request_of_ours_have_no_route)
{
    rig = gateway_rig_open(NULL);
    client_send_str(&rig->client, "BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_settle(&rig->client);
    client_send_str(&rig->client, "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    client_settle(&rig->client);
    client_send_str(&rig->client, "what?\r\n\r\n");
    client_settle(&rig->client);
    struct text page = get_page("/metrics", "");
    CHECK_NEAR(value_in(&page, ANSWERS("", "OTHER", "404")), 1, 0);
    CHECK_NEAR(value_in(&page, ANSWERS("", "GET", "421")), 1, 0);
    CHECK_NEAR(value_in(&page, ANSWERS("", "", "400")), 1, 0);
    text_fini(&page);
    gateway_rig_close(rig);
}

TEST(a_client_that_left_before_its_answer_is_a_499)
{
    rig = gateway_rig_open(NULL);
    client_ask(&rig->client, "/v1/completions", STREAM);
    client_leave(&rig->client, BY_RESET);
    CHECK_SCRAPED(ANSWERS("/v1/completions", "POST", "499"), 1);
    client_fini(&rig->client);
    client_open(&rig->client, &rig->http);
    struct job *job = client_ask(&rig->client, "/v1/completions", STREAM);
    job_start(job);
    job_delta(job, SLICE("a"));
    client_leave(&rig->client, BY_RESET);
    CHECK_SCRAPED(ANSWERS("/v1/completions", "POST", "499"), 1);
    CHECK_SCRAPED(ANSWERS("/v1/completions", "POST", "200"), 1);
    CHECK_SCRAPED("millrace_requests_cancelled_total", 2);
    CHECK_SCRAPED("millrace_requests_total{model=\"m\",dialect=\"completions\","
                  "end=\"client_closed\"}",
                  2);
    gateway_rig_close(rig);
}

TEST(a_mark_says_route_and_method)
{
    for (size_t i = 0; i < gateway_route_count; i++)
        for (int method = 0; method < HTTP_METHOD_COUNT; method++) {
            uint32_t mark = route_mark(&gateway_routes[i], (enum http_method)method);
            CHECK(mark > 0 && route_of_mark(mark) == &gateway_routes[i]);
            CHECK_STR(route_mark_method(mark), http_method_name((enum http_method)method));
        }
    CHECK(route_of_mark(0) == NULL && route_of_mark(route_mark(NULL, HTTP_OTHER)) == NULL);
    CHECK_STR(route_mark_method(0), "");
    CHECK_STR(route_mark_method(route_mark(NULL, HTTP_OTHER)), "OTHER");
}

/* --- requests to models --- */

#define ENDED(model, end)                                                                          \
    "millrace_requests_total{model=\"" model "\",dialect=\"completions\",end=\"" end "\"}"

TEST(requests_are_counted_by_model_dialect_and_end)
{
    rig = gateway_rig_open(NULL);
    finish(client_ask(&rig->client, "/v1/completions", WHOLE));
    finish(client_ask(&rig->client, "/v1/completions", STREAM));
    struct job *job = client_ask(&rig->client, "/v1/completions", STREAM);
    job_start(job);
    job_delta(job, SLICE("a"));
    job_fail(job, FAULT_WORKER_LOST, "gone");
    client_settle(&rig->client);
    client_post_str(&rig->client, "/v1/completions", "{\"prompt\":7}");
    client_settle(&rig->client);
    struct text page = get_page("/metrics", "");
    CHECK_NEAR(value_in(&page, ENDED("m", "eos")), 2, 0);
    CHECK_NEAR(value_in(&page, ENDED("m", "worker_lost")), 1, 0);
    CHECK_NEAR(value_in(&page, ENDED("", "invalid_type")), 1, 0);
    CHECK_NEAR(value_in(&page, "millrace_requests_started_total"), 4, 0);
    CHECK_NEAR(value_in(&page, "millrace_streams_started_total"), 2, 0);
    CHECK_NEAR(value_in(&page, "millrace_request_errors_total"), 2, 0);
    CHECK_NEAR(value_in(&page, "millrace_request_seconds_count{model=\"m\"}"), 3, 0);
    text_fini(&page);
    gateway_rig_close(rig);
}

/* Else a client could make series without end. */
TEST(a_model_that_a_client_made_up_is_no_label)
{
    rig = gateway_rig_open(NULL);
    for (int i = 0; i < 5; i++) {
        char body[64];
        snprintf(body, sizeof(body), "{\"prompt\":\"x\",\"model\":\"made-up-%d\"}", i);
        if (i < 2) { /* a new gateway leaves it to the manager to know */
            job_fail(client_ask(&rig->client, "/v1/completions", body), FAULT_MODEL_NOT_FOUND,
                     "no such model");
        } else {
            rig_advance_ms(&rig->http, GATEWAY_GREETING_MS);
            client_post_str(&rig->client, "/v1/completions", body);
        }
        CHECK(client_was_refused(&rig->client, 404, "model_not_found"));
    }
    struct text page = get_page("/metrics", "");
    CHECK_NEAR(value_in(&page, ENDED("", "model_not_found")), 5, 0);
    CHECK(slice_find(text_slice(&page), SLICE("made-up")) == SLICE_NPOS);
    text_fini(&page);
    gateway_rig_close(rig);
}

TEST(what_is_open_goes_up_and_back_to_nothing)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/completions", STREAM);
    CHECK_SCRAPED("millrace_requests_in_flight", 1);
    CHECK_SCRAPED("millrace_streams_open", 0); /* its head waits */
    CHECK_SCRAPED("millrace_connections", 2);  /* and the scraper's own */
    job_start(job);
    job_delta(job, SLICE("a"));
    CHECK_SCRAPED("millrace_streams_open", 1);
    job_done(job, DONE_EOS);
    client_settle(&rig->client);
    CHECK_SCRAPED("millrace_requests_in_flight", 0);
    CHECK_SCRAPED("millrace_streams_open", 0);
    client_fini(&rig->client);
    rig_settle(&rig->http);
    CHECK_SCRAPED("millrace_connections", 1);
    gateway_rig_close(rig);
}

/* Arrival, 40 ms, first token, 20 ms, second and third at once, 2 s, the end. */
TEST(times_are_measured_from_arrival_to_first_token_to_end)
{
    rig = gateway_rig_open(NULL);
    struct job *job = client_ask(&rig->client, "/v1/completions", STREAM);
    job_start(job);
    rig_advance_ms(&rig->http, 40);
    job_delta(job, SLICE("a"));
    rig_advance_ms(&rig->http, 20);
    job_burst(job, SLICE("b"), 2);
    rig_settle(&rig->http);
    rig_live_ms(rig, 2000);
    job_done(job, DONE_EOS);
    client_settle(&rig->client);
    struct text page = get_page("/metrics", "");
    CHECK_NEAR(value_in(&page, "millrace_ttft_seconds_count{model=\"m\"}"), 1, 0);
    CHECK_NEAR(value_in(&page, "millrace_ttft_seconds_sum{model=\"m\"}"), 0.040, 1e-9);
    CHECK_NEAR(value_in(&page, "millrace_inter_token_seconds_count{model=\"m\"}"), 2, 0);
    CHECK_NEAR(value_in(&page, "millrace_inter_token_seconds_sum{model=\"m\"}"), 0.020, 1e-9);
    CHECK_NEAR(value_in(&page, "millrace_inter_token_seconds_bucket{model=\"m\",le=\"0.001\"}"), 1,
               0);
    CHECK_NEAR(value_in(&page, "millrace_request_seconds_sum{model=\"m\"}"), 2.060, 1e-9);
    text_fini(&page);
    gateway_rig_close(rig);
}

TEST(a_client_that_does_not_read_shows_in_what_is_unsent_and_when_it_is_closed)
{
    struct gateway_options options = gateway_rig_options();
    options.http.out_max_bytes = 4096;
    rig = gateway_rig_open(&options);
    client_fini(&rig->client);
    client_open_narrow(&rig->client, &rig->http, 2048);
    client_post_str(&rig->client, "/v1/completions", STREAM);
    rig_settle(&rig->http);
    struct job *job = rig_last_job(rig);
    char block[1024];
    memset(block, 'x', sizeof(block));
    job_start(job);
    while (job_fill(job, slice_of(block, sizeof(block))) > 0)
        ; /* until nothing is taken any more */
    double unsent = scraped("millrace_deltas_unsent");
    CHECK(unsent >= 1 && unsent <= options.ask.credit_events);
    CHECK_SCRAPED("millrace_stalled_clients_total", 0);
    rig_live_ms(rig, options.http.stall_ms + 1000);
    CHECK_SCRAPED("millrace_stalled_clients_total", 1);
    CHECK_SCRAPED("millrace_deltas_unsent", 0);
    CHECK_SCRAPED(ENDED("m", "stalled"), 1);
    gateway_rig_close(rig);
}

/* --- the pages --- */

TEST(the_text_has_its_type_and_every_family_once)
{
    rig = gateway_rig_open(NULL);
    client_get(&rig->client, "/metrics", "");
    struct answer answer = client_answer(&rig->client);
    CHECK_SLICE(answer_field(&answer, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    CHECK_SLICE(answer_field(&answer, "Cache-Control"), "no-store");
    CHECK_EQ(answer_count(&answer, "# TYPE millrace_requests_in_flight gauge\n"), 1);
    CHECK_EQ(answer_count(&answer, "# TYPE millrace_event_loop_lag_seconds histogram\n"), 1);
    CHECK_EQ(answer_count(&answer, "# HELP millrace_connections "), 1);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

static void check_json(const char *target, const char *fields, const char *expected)
{
    struct text page = get_page(target, fields);
    CHECK_SLICES(text_slice(&page), slice_str(expected));
    text_fini(&page);
}

TEST(the_sums_come_as_json_where_json_is_asked_for)
{
    static const char expected[] =
        "{\"requests_total\":3,\"requests_in_flight\":1,\"requests_stream_total\":1,"
        "\"requests_error_total\":1,\"requests_cancelled_total\":0,\"avg_latency_ms\":100}";
    rig = gateway_rig_open(NULL);
    check_json("/metrics.json", "",
               "{\"requests_total\":0,\"requests_in_flight\":0,\"requests_stream_total\":0,"
               "\"requests_error_total\":0,\"requests_cancelled_total\":0,\"avg_latency_ms\":0}");
    struct job *job = client_ask(&rig->client, "/v1/completions", STREAM);
    rig_advance_ms(&rig->http, 100);
    finish(job);
    client_post_str(&rig->client, "/v1/completions", "{");
    client_settle(&rig->client);
    client_post_str(&rig->client, "/v1/completions", STREAM);
    client_settle(&rig->client);
    check_json("/metrics.json", "", expected);
    check_json("/metrics", "Accept: application/json\r\n", expected);
    check_json("/metrics.json", "Accept: text/plain\r\n", expected);
    struct text page = get_page("/metrics", "Accept: text/plain;version=0.0.4, */*;q=0.1\r\n");
    CHECK(slice_starts_with(text_slice(&page), SLICE("# HELP ")));
    text_fini(&page);
    finish(rig_last_job(rig));
    gateway_rig_close(rig);
}

/* A worker that is gone has been heard of once: its counters are on the page for good. */
TEST(what_other_nodes_count_is_on_the_page_as_well)
{
    struct metrics *metrics = metrics_new();
    rig = gateway_rig_open(NULL);
    struct metrics_feed *feed =
        metrics_feed_start(rig->back, metrics, "worker", "w1", false, NULL, NULL);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "millrace_requests_started_total", "", ""), 40);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "x_total", "Xs.", ""), 2);
    rig_live_ms(rig, 1000);
    CHECK_SCRAPED("x_total", 2);
    CHECK_SCRAPED("millrace_requests_started_total", 40);
    metrics_feed_stop(&feed);
    rig_live_ms(rig, 60000);
    CHECK_SCRAPED("x_total", 2);
    metrics_free(metrics);
    gateway_rig_close(rig);
}

/* --- traces --- */

TEST(a_worker_is_told_our_step_in_the_clients_trace)
{
    rig = gateway_rig_open(NULL);
    client_post(&rig->client, "/v1/completions",
                "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
                SLICE(STREAM));
    client_settle(&rig->client);
    struct job *job = rig_last_job(rig);
    char expected[64];
    snprintf(expected, sizeof(expected), "00-4bf92f3577b34da6a3ce929d0e0e4736-%016llx-01",
             (unsigned long long)job->request.id.low);
    CHECK_SLICES(job->request.trace, slice_str(expected));
    finish(job);
    struct answer answer = client_answer(&rig->client);
    CHECK(answer_field(&answer, "traceparent").data == NULL);
    answer_fini(&answer);
    gateway_rig_close(rig);
}

TEST(without_a_trace_the_request_begins_one_of_its_own_id)
{
    static const char *const fields[] = {"", "traceparent: 00-nonsense-01\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        rig = gateway_rig_open(NULL);
        client_post(&rig->client, "/v1/completions", fields[i], SLICE(STREAM));
        client_settle(&rig->client);
        struct job *job = rig_last_job(rig);
        char id[ID_TEXT_BYTES + 1];
        CHECK_EQ(job->request.trace.len, 55);
        CHECK_SLICES(slice_first(slice_after(job->request.trace, 3), ID_TEXT_BYTES),
                     id_format(job->request.id, id));
        CHECK(slice_ends_with(job->request.trace, SLICE("-00")));
        finish(job);
        gateway_rig_close(rig);
    }
}
