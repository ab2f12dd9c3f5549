/* load_poll - see load_poll.h. */
#include "load_poll.h"

#include "base/clock.h"
#include "load_request.h"

static const char *const paths[] = {[POLL_MILLRACE] = "/v1/requests", [POLL_LLAMA] = "/metrics"};

static uint32_t count_of(struct slice page, struct slice needle)
{
    uint32_t count = 0;
    for (size_t at; (at = slice_find(page, needle)) != SLICE_NPOS; count++)
        page = slice_after(page, at + needle.len);
    return count;
}

/* The list of requests: one entry each. */
static bool read_requests(struct slice page, uint32_t *out_in_flight, uint32_t *out_queued)
{
    if (slice_find(page, SLICE("\"has_more\":false")) == SLICE_NPOS)
        return false;
    *out_in_flight = count_of(page, SLICE("\"object\":\"request\""));
    *out_queued = count_of(page, SLICE("\"state\":\"queued\""));
    return true;
}

/* The value of a Prometheus metric without labels. */
static bool read_metric(struct slice page, struct slice name, uint32_t *out)
{
    struct slice line;
    uint64_t value;
    while (slice_cut(page, '\n', &line, &page))
        if (slice_starts_with(line, name) && line.len > name.len && line.data[name.len] == ' ' &&
            slice_parse_u64(slice_trim(slice_after(line, name.len)), UINT32_MAX, &value) ==
                ERR_OK) {
            *out = (uint32_t)value;
            return true;
        }
    return false;
}

static bool read_llama_metrics(struct slice page, uint32_t *out_in_flight, uint32_t *out_queued)
{
    uint32_t running;
    if (!read_metric(page, SLICE("llamacpp:requests_processing"), &running) ||
        !read_metric(page, SLICE("llamacpp:requests_deferred"), out_queued))
        return false;
    *out_in_flight = running + *out_queued;
    return true;
}

bool load_poll_read(enum load_poll_peer peer, struct slice page, uint32_t *out_in_flight,
                    uint32_t *out_queued)
{
    return peer == POLL_LLAMA ? read_llama_metrics(page, out_in_flight, out_queued)
                              : read_requests(page, out_in_flight, out_queued);
}

static void on_end(struct exchange *exchange)
{
    struct load_poll *poll = exchange->ctx;
    const struct answer *answer = &exchange->answer;
    enum load_poll_peer peer = (enum load_poll_peer)poll->load->options->poll;
    poll->is_asking = false;
    if (answer->state != ANSWER_WHOLE)
        load_doubt(poll->load, "%s: %s", paths[peer], answer->problem);
    else if (!load_poll_read(peer, answer_body(answer), &poll->in_flight, &poll->queued))
        load_doubt(poll->load, "%s does not tell what is in flight", paths[peer]);
    else
        poll->on_answer(poll->ctx);
}

static const struct exchange_events poll_events = {.on_end = on_end};

void load_poll_init(struct load_poll *poll, struct load *load, void (*on_answer)(void *ctx),
                    void *ctx)
{
    *poll = (struct load_poll){.load = load, .on_answer = on_answer, .ctx = ctx};
    poll->exchange = (struct exchange){.events = &poll_events, .ctx = poll};
    exchange_init(&load->loop, &poll->exchange);
    text_init(&poll->request, ANSWER_HEAD_MAX_BYTES);
    load_request_write_get(load->options, paths[load->options->poll], &poll->request);
}

void load_poll_fini(struct load_poll *poll)
{
    exchange_fini(&poll->exchange);
    text_fini(&poll->request);
}

void load_poll_ask(struct load_poll *poll)
{
    if (poll->is_asking)
        return;
    poll->is_asking = true;
    poll->asked_us = clock_monotonic_us();
    exchange_start(&poll->exchange, text_slice(&poll->request), ANSWER_OF_PAGE, poll->asked_us);
}
