/* http1_parse - how long the parser takes for a typical request head, whole and dribbled.
 * Prints nanoseconds per head: the median and the best of 21 runs. One thread, no I/O. */
#include "base/clock.h"
#include "http/http1_parser.h"

#include <stdio.h>
#include <stdlib.h>

static const struct http1_limits limits = {
    .head_max_bytes = 16384, .fields_max = HTTP_FIELDS_MAX, .body_max_bytes = 1 << 20};

static const char text[] = "POST /v1/completions?stream=true HTTP/1.1\r\n"
                           "Host: localhost:8080\r\n"
                           "User-Agent: curl/7.88.1\r\n"
                           "Accept: text/event-stream\r\n"
                           "Content-Type: application/json\r\n"
                           "X-Session-Id: 3f6a1c0be2d94c57a8b1\r\n"
                           "Connection: keep-alive\r\n"
                           "Content-Length: 43\r\n\r\n";
static const struct slice head = {text, sizeof text - 1};

/* Reads bring `step` bytes each. */
static void parse_once(size_t step)
{
    struct http1_head_parser parser;
    struct http_field fields[HTTP_FIELDS_MAX];
    struct http_request request;
    enum http1_refusal refusal;
    enum err err = ERR_AGAIN;
    size_t head_bytes = 0;
    http1_head_init(&parser);
    for (size_t have = step; err == ERR_AGAIN; have += step)
        err = http1_head_parse(&parser, slice_first(head, have), &limits, fields, &request,
                               &head_bytes, &refusal);
    ASSERT(err == ERR_OK && head_bytes == head.len && request.content_length == 43);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void measure(const char *what, size_t step, uint64_t count)
{
    enum { RUNS = 21 };
    uint64_t run_us[RUNS];
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = clock_monotonic_us();
        for (uint64_t i = 0; i < count; i++)
            parse_once(step);
        run_us[run] = clock_monotonic_us() - start;
    }
    qsort(run_us, RUNS, sizeof run_us[0], by_value);
    printf("%-22s %6.0f ns median, %6.0f ns best\n", what,
           1000.0 * (double)run_us[RUNS / 2] / (double)count,
           1000.0 * (double)run_us[0] / (double)count);
}

int main(void)
{
    printf("head of %zu bytes, 7 fields\n", head.len);
    measure("whole", head.len, 100000);
    measure("in two reads", (head.len + 1) / 2, 100000);
    measure("byte by byte", 1, 10000);
    return 0;
}
