/* reply_done - what is left of a request to a model when it is over: one log line, and its counts.
 * It tells ids, names and figures, never what was asked or answered. */
#include "gateway/reply_state.h"

#include "base/log.h"

enum { LOGGED_NAME_MAX_BYTES = 128, TRACE_ID_AT = 3 /* behind "00-" */ };

static unsigned long long ms_of(uint64_t us)
{
    return (unsigned long long)us / 1000;
}

static uint32_t tokens_of(const struct call *call)
{
    uint32_t tokens = 0;
    for (uint32_t i = 0; call->choice && i < call->choices; i++)
        tokens += call->choice[i].completion_tokens;
    return tokens;
}

/* -1: there was none. */
static long long ttft_ms(const struct reply *reply)
{
    if (!reply->first_delta_us)
        return -1;
    return (long long)ms_of(reply->first_delta_us - reply->arrived_us);
}

/* A request of several choices has the figures of the first; tokens are those of all. */
static void log_done(const struct reply *reply, uint64_t total_us)
{
    const struct call *call = reply->call;
    static const struct call_choice never_asked;
    const struct call_choice *first = call->choice ? &call->choice[0] : &never_asked;
    const struct request *request = &call->request;
    struct slice trace_id = slice_first(slice_after(request->trace, TRACE_ID_AT), ID_TEXT_BYTES);
    log_event(LOG_INFO, "request_done",
              "req=%s key=%s tenant=%s model=%s worker=%s dialect=%s choices=%u stream=%d "
              "status=%d end=%s "
              "queue_ms=%llu prefill_ms=%llu ttft_ms=%lld total_ms=%llu prompt_tokens=%u "
              "out_tokens=%u seed=%llu label=%s trace=" SLICE_FMT,
              call->id_text,
              log_quote(slice_str(reply->key ? reply->key->name : ""), LOGGED_NAME_MAX_BYTES),
              log_quote(request->tenant, LOGGED_NAME_MAX_BYTES),
              log_quote(request->model, LOGGED_NAME_MAX_BYTES),
              log_quote(reply->worker, LOGGED_NAME_MAX_BYTES), call->dialect->name, call->choices,
              call->stream, reply->status, reply->end, ms_of(first->queue_us),
              ms_of(first->prefill_us), ttft_ms(reply), ms_of(total_us), first->prompt_tokens,
              tokens_of(call), (unsigned long long)first->seed,
              log_quote(request->label, LOGGED_NAME_MAX_BYTES), SLICE_ARG(trace_id));
}

void reply_done(const struct reply *reply)
{
    struct gateway *gateway = reply->gateway;
    uint64_t total_us = loop_now_us(gateway->loop) - reply->arrived_us;
    log_done(reply, total_us);
    counts_end(gateway->counts, reply->counts, reply->call->dialect->name, reply->end,
               (double)total_us / 1e6);
}
