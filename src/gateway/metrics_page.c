/* metrics_page - GET /metrics and /metrics.json. */
#include "gateway/metrics_page.h"

#include "base/json.h"
#include "gateway/reply.h"
#include "metrics/table.h"

/* 16384 series, of histograms even, with short labels. */
enum { TEXT_MAX_BYTES = 32 * 1024 * 1024, JSON_MAX_BYTES = 4096 };

static void add_total(struct json_out *json, const char *key, struct metrics_table *table,
                      const char *series)
{
    json_out_add_double(json, key, metrics_table_total(table, series));
}

void metrics_page_json(struct gateway *gateway, struct http_conn *conn,
                       const struct http_request *request, const struct route_match *match)
{
    (void)request;
    (void)match;
    struct metrics_table *table = gateway->table;
    double ended = metrics_table_total(table, "millrace_request_seconds");
    double seconds = metrics_table_sum_seconds(table, "millrace_request_seconds");
    struct text body;
    text_init(&body, JSON_MAX_BYTES);
    struct json_out json = json_out_to(&body);
    json_out_begin_object(&json);
    add_total(&json, "requests_total", table, "millrace_requests_started_total");
    add_total(&json, "requests_in_flight", table, "millrace_requests_in_flight");
    add_total(&json, "requests_stream_total", table, "millrace_streams_started_total");
    add_total(&json, "requests_error_total", table, "millrace_request_errors_total");
    add_total(&json, "requests_cancelled_total", table, "millrace_requests_cancelled_total");
    json_out_add_double(&json, "avg_latency_ms", ended > 0 ? seconds / ended * 1000 : 0);
    json_out_end_object(&json);
    reply_json(conn, 200, SLICE("Cache-Control: no-store\r\n"), &body);
}

void metrics_page_answer(struct gateway *gateway, struct http_conn *conn,
                         const struct http_request *request, const struct route_match *match)
{
    if (http_field_has_token(request, "Accept", "application/json")) {
        metrics_page_json(gateway, conn, request, match);
        return;
    }
    struct api_error error;
    struct text body;
    text_init(&body, TEXT_MAX_BYTES);
    metrics_table_write(gateway->table, &body);
    if (text_status(&body) == ERR_OK) {
        http_conn_reply(conn, 200, SLICE(METRICS_CONTENT_TYPE),
                        SLICE("Cache-Control: no-store\r\nVary: Accept\r\n"), text_slice(&body));
    } else { /* half a page would look like series that went away */
        (void)api_error_set(&error, 500, "internal_error", NULL, /* the code is in the error */
                            "the metrics take more than %d bytes", TEXT_MAX_BYTES);
        gateway_refuse(gateway, conn, &error, SLICE(""));
    }
    text_fini(&body);
}
