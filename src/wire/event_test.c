/* event_test - every event comes back as it was; what is not an event is refused. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/event.h"

enum { STREAM = 0x42, EPOCH = 3 };

/* A frame with one event in it, and the record that was read back. */
struct sent {
    struct text frame, scratch;
    struct wire_record record;
    struct event event;
};

static void sent_init(struct sent *sent, const struct event *event, const int32_t *tokens)
{
    struct wire_writer writer;
    struct wire_reader reader;
    text_init(&sent->frame, 1 << 20);
    text_init(&sent->scratch, 1 << 20);
    wire_begin(&writer, &sent->frame, WIRE_EVENTS);
    event_encode(&writer, STREAM, EPOCH, event, tokens);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(wire_open(text_slice(&sent->frame), &reader));
    CHECK_OK(wire_next(&reader, &sent->record));
}

static struct sent sent_event(const struct event *event, const int32_t *tokens)
{
    struct sent sent;
    sent_init(&sent, event, tokens);
    CHECK_OK(event_decode(&sent.record, &sent.scratch, &sent.event));
    CHECK_EQ(sent.record.stream, STREAM);
    CHECK_EQ(sent.record.epoch, EPOCH);
    CHECK_EQ(sent.event.type, event->type);
    CHECK_EQ(sent.event.seq, event->seq);
    return sent;
}

static void sent_fini(struct sent *sent)
{
    text_fini(&sent->frame);
    text_fini(&sent->scratch);
}

TEST(accepted_comes_back)
{
    struct event event = {.type = EVENT_ACCEPTED, .seq = 1};
    event.accepted.worker = SLICE("w\"1\n");
    event.accepted.control = SLICE("control.w1");
    struct sent sent = sent_event(&event, NULL);
    CHECK_SLICE(sent.event.accepted.worker, "w\"1\n");
    CHECK_SLICE(sent.event.accepted.control, "control.w1");
    sent_fini(&sent);
}

TEST(progress_comes_back)
{
    struct event event = {.type = EVENT_QUEUED, .seq = 2};
    event.queued.position = UINT32_MAX;
    event.queued.eta_ms = 1500;
    struct sent sent = sent_event(&event, NULL);
    CHECK(sent.event.queued.position == UINT32_MAX && sent.event.queued.eta_ms == 1500);
    sent_fini(&sent);

    event = (struct event){.type = EVENT_LOADING, .seq = UINT64_MAX};
    event.loading.fraction = 0.3f;
    sent = sent_event(&event, NULL);
    CHECK(sent.event.loading.fraction == 0.3f);
    sent_fini(&sent);

    event = (struct event){.type = EVENT_PREFILL, .seq = 4};
    event.prefill.done_tokens = 512;
    event.prefill.total_tokens = 2048;
    sent = sent_event(&event, NULL);
    CHECK(sent.event.prefill.done_tokens == 512 && sent.event.prefill.total_tokens == 2048);
    sent_fini(&sent);
}

TEST(started_comes_back_with_all_64_bits_of_its_seed)
{
    struct event event = {.type = EVENT_STARTED, .seq = 5};
    event.started.model = SLICE("llama");
    event.started.worker = SLICE("w1");
    event.started.prompt_tokens = 17;
    event.started.cached_tokens = 3;
    event.started.seed = UINT64_MAX;
    event.started.numerics = SLICE("0123456789abcdef");
    struct sent sent = sent_event(&event, NULL);
    CHECK_SLICE(sent.event.started.model, "llama");
    CHECK_SLICE(sent.event.started.worker, "w1");
    CHECK(sent.event.started.prompt_tokens == 17 && sent.event.started.cached_tokens == 3);
    CHECK(sent.event.started.seed == UINT64_MAX);
    CHECK_SLICE(sent.event.started.numerics, "0123456789abcdef");
    sent_fini(&sent);
}

TEST(usage_comes_back_and_large_times_are_clamped_to_what_json_holds)
{
    struct event event = {.type = EVENT_USAGE, .seq = 6};
    event.usage.prompt_tokens = 1;
    event.usage.cached_tokens = 2;
    event.usage.completion_tokens = 3;
    event.usage.queue_us = 4;
    event.usage.prefill_us = (uint64_t)1 << 53;
    event.usage.decode_us = UINT64_MAX;
    struct sent sent = sent_event(&event, NULL);
    CHECK(sent.event.usage.prompt_tokens == 1 && sent.event.usage.cached_tokens == 2);
    CHECK(sent.event.usage.completion_tokens == 3 && sent.event.usage.queue_us == 4);
    CHECK(sent.event.usage.prefill_us == (uint64_t)1 << 53);
    CHECK(sent.event.usage.decode_us == (uint64_t)1 << 53);
    sent_fini(&sent);
}

TEST(ends_come_back)
{
    for (int reason = 0; reason < DONE_REASON_COUNT; reason++) {
        struct event event = {.type = EVENT_DONE, .seq = 7};
        event.done.reason = (enum done_reason)reason;
        if (reason == DONE_STOP)
            event.done.stop = SLICE("\n\nUser:");
        struct sent sent = sent_event(&event, NULL);
        CHECK_EQ(sent.event.done.reason, reason);
        CHECK_SLICES(sent.event.done.stop, event.done.stop);
        sent_fini(&sent);
    }
    for (int fault = 0; fault < FAULT_COUNT; fault++) {
        struct event event = {.type = EVENT_ERROR, .seq = 8};
        event.error.fault = (enum fault)fault;
        event.error.message = SLICE("what \xf0\x9f\x99\x82 happened");
        event.error.param = fault % 2 ? SLICE("messages[0]") : (struct slice){0};
        event.error.retry_after_ms = (uint32_t)fault;
        struct sent sent = sent_event(&event, NULL);
        CHECK_EQ(sent.event.error.fault, fault);
        CHECK_SLICES(sent.event.error.message, event.error.message);
        CHECK_SLICES(sent.event.error.param, event.error.param);
        CHECK_EQ(sent.event.error.retry_after_ms, fault);
        sent_fini(&sent);
    }
}

TEST(a_delta_comes_back_and_can_be_forwarded)
{
    static const int32_t tokens[] = {0, -1, INT32_MAX, INT32_MIN};
    struct event event = {.type = EVENT_DELTA, .seq = 9};
    event.delta.choice = 0xfffe;
    event.delta.token_count = 4;
    event.delta.text = SLICE("h\xc3\xa9\n");
    struct sent sent = sent_event(&event, tokens);
    struct sent forwarded = sent_event(&sent.event, NULL);
    CHECK_EQ(forwarded.event.delta.choice, 0xfffe);
    CHECK_EQ(forwarded.event.delta.token_count, 4);
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(event_delta_token(&forwarded.event, i), tokens[i]);
    CHECK_SLICE(forwarded.event.delta.text, "h\xc3\xa9\n");
    CHECK_EQ(event_credit_bytes(&forwarded.event), forwarded.record.payload.len);
    CHECK_SLICES(text_slice(&forwarded.frame), text_slice(&sent.frame));
    sent_fini(&forwarded);
    sent_fini(&sent);
}

TEST(a_delta_may_hold_back_its_text_or_have_no_tokens)
{
    static const int32_t token = 5;
    struct event event = {.type = EVENT_DELTA, .seq = 1};
    event.delta.token_count = 1;
    struct sent sent = sent_event(&event, &token);
    CHECK_EQ(sent.event.delta.text.len, 0);
    CHECK_EQ(event_delta_token(&sent.event, 0), 5);
    sent_fini(&sent);

    event.delta.token_count = 0;
    event.delta.text = SLICE("rest");
    sent = sent_event(&event, NULL);
    CHECK_EQ(sent.event.delta.token_bytes.len, 0);
    CHECK_SLICE(sent.event.delta.text, "rest");
    sent_fini(&sent);
}

TEST(decoding_a_delta_allocates_nothing)
{
    static const int32_t tokens[] = {1, 2};
    struct event event = {.type = EVENT_DELTA, .seq = 1};
    event.delta.token_count = 2;
    event.delta.text = SLICE("text");
    struct sent sent;
    sent_init(&sent, &event, tokens);
    uint64_t before = mem_peer_count();
    CHECK_OK(event_decode(&sent.record, &sent.scratch, &sent.event));
    CHECK_EQ(mem_peer_count(), before);
    CHECK(sent.scratch.data == NULL);
    sent_fini(&sent);
}

static enum err decode(uint16_t type, uint64_t seq, struct slice payload)
{
    struct text scratch;
    struct event event;
    text_init(&scratch, 4096);
    struct wire_record record = {.type = type, .seq = seq, .payload = payload};
    enum err err = event_decode(&record, &scratch, &event);
    text_fini(&scratch);
    return err;
}

TEST(a_delta_cut_inside_its_tokens_or_its_text_is_refused)
{
    struct slice payload = SLICE("\0\0\x02\0\1\0\0\0\2\0\0\0\xf0\x9f\x99\x82");
    for (size_t cut = 0; cut < payload.len; cut++)
        CHECK_ERR(decode(WIRE_EVENT + EVENT_DELTA, 1, slice_first(payload, cut)),
                  cut == 12 ? ERR_OK : ERR_PROTOCOL);
    CHECK_OK(decode(WIRE_EVENT + EVENT_DELTA, 1, payload));
}

/* A manager says them of a request that waits: no number of the stream is spent on that. */
TEST(queued_and_loading_alone_may_be_without_a_number)
{
    static const char *const payloads[EVENT_TYPE_COUNT] = {
        [EVENT_ACCEPTED] = "{\"worker\":\"w\",\"control\":\"c\"}",
        [EVENT_QUEUED] = "{\"position\":1,\"eta_ms\":2}",
        [EVENT_LOADING] = "{\"fraction\":0.5}",
        [EVENT_PREFILL] = "{\"done_tokens\":1,\"total_tokens\":2}",
        [EVENT_STARTED] = "{\"model\":\"m\",\"worker\":\"w\",\"prompt_tokens\":1,"
                          "\"cached_tokens\":0,\"seed\":\"1\"}",
        [EVENT_USAGE] = "{\"prompt_tokens\":1,\"cached_tokens\":0,\"completion_tokens\":1,"
                        "\"queue_us\":0,\"prefill_us\":0,\"decode_us\":0}",
        [EVENT_DONE] = "{\"reason\":\"eos\"}",
        [EVENT_ERROR] = "{\"fault\":\"stalled\",\"message\":\"\",\"retry_after_ms\":0}",
    };
    for (int type = 0; type < EVENT_TYPE_COUNT; type++) {
        bool may = type == EVENT_QUEUED || type == EVENT_LOADING;
        struct slice payload = slice_str(payloads[type]);
        if (type == EVENT_DELTA)
            payload = SLICE("\0\0\0\0hi");
        if (type == EVENT_RESULT)
            payload = SLICE("\0\0\0\0\2\0\0\0hi");
        CHECK_OK(decode((uint16_t)(WIRE_EVENT + type), 1, payload));
        CHECK_ERR(decode((uint16_t)(WIRE_EVENT + type), 0, payload), may ? ERR_OK : ERR_PROTOCOL);
    }
}

TEST(only_numbered_event_records_are_events)
{
    struct slice delta = SLICE("\0\0\0\0");
    CHECK_OK(decode(WIRE_EVENT + EVENT_DELTA, 1, delta));
    CHECK_ERR(decode(WIRE_EVENT + EVENT_DELTA, 0, delta), ERR_PROTOCOL);
    CHECK_ERR(decode(WIRE_EVENT - 1, 1, delta), ERR_PROTOCOL);
    CHECK_ERR(decode(WIRE_EVENT + EVENT_TYPE_COUNT, 1, delta), ERR_PROTOCOL);
    CHECK_ERR(decode(0, 1, delta), ERR_PROTOCOL);
}

static void check_json(enum event_type type, const char *payload, enum err expected)
{
    CHECK_ERR(decode((uint16_t)(WIRE_EVENT + type), 1, slice_str(payload)), expected);
}

TEST(json_payloads_are_read_strictly)
{
    check_json(EVENT_QUEUED, "{\"position\":1,\"eta_ms\":2}", ERR_OK);
    check_json(EVENT_QUEUED, "{\"position\":1,\"eta_ms\":2,\"from the future\":[]}", ERR_OK);
    check_json(EVENT_QUEUED, "{\"position\":4294967295,\"eta_ms\":0}", ERR_OK);
    check_json(EVENT_QUEUED, "{\"position\":4294967296,\"eta_ms\":0}", ERR_PROTOCOL);
    check_json(EVENT_QUEUED, "{\"position\":-1,\"eta_ms\":0}", ERR_PROTOCOL);
    check_json(EVENT_QUEUED, "{\"position\":1.0,\"eta_ms\":0}", ERR_PROTOCOL);
    check_json(EVENT_QUEUED, "{\"position\":1}", ERR_PROTOCOL);
    check_json(EVENT_QUEUED, "{\"position\":1,\"eta_ms\":2}x", ERR_PROTOCOL);
    check_json(EVENT_QUEUED, "[]", ERR_PROTOCOL);
    check_json(EVENT_QUEUED, "", ERR_PROTOCOL);
    check_json(EVENT_LOADING, "{\"fraction\":1}", ERR_OK);
    check_json(EVENT_LOADING, "{\"fraction\":1.01}", ERR_PROTOCOL);
    check_json(EVENT_LOADING, "{\"fraction\":null}", ERR_PROTOCOL);
    check_json(EVENT_DONE, "{\"reason\":\"eos\"}", ERR_OK);
    check_json(EVENT_DONE, "{\"reason\":\"EOS\"}", ERR_PROTOCOL);
    check_json(EVENT_DONE, "{\"reason\":\"eos\",\"stop\":7}", ERR_PROTOCOL);
    check_json(EVENT_ERROR, "{\"fault\":\"odd\",\"message\":\"\",\"retry_after_ms\":0}",
               ERR_PROTOCOL);
    check_json(EVENT_ACCEPTED, "{\"worker\":\"w\"}", ERR_PROTOCOL);
    check_json(EVENT_STARTED,
               "{\"model\":\"m\",\"worker\":\"w\",\"prompt_tokens\":1,\"cached_tokens\":0,"
               "\"seed\":\"18446744073709551616\"}",
               ERR_PROTOCOL);
    check_json(EVENT_STARTED,
               "{\"model\":\"m\",\"worker\":\"w\",\"prompt_tokens\":1,\"cached_tokens\":0,"
               "\"seed\":1}",
               ERR_PROTOCOL);
}

TEST(a_failed_decode_leaves_the_event_alone)
{
    struct text scratch;
    struct event event = {.type = EVENT_USAGE, .seq = 99};
    text_init(&scratch, 4096);
    struct wire_record record = {.type = WIRE_EVENT + EVENT_DONE, .seq = 1, .payload = SLICE("{}")};
    CHECK_ERR(event_decode(&record, &scratch, &event), ERR_PROTOCOL);
    CHECK(event.type == EVENT_USAGE && event.seq == 99);
    text_fini(&scratch);
}

TEST(strings_that_do_not_fit_into_scratch_are_a_limit)
{
    struct event event = {.type = EVENT_ERROR, .seq = 1};
    event.error.message = SLICE("0123456789");
    struct sent sent;
    sent_init(&sent, &event, NULL);
    struct text small;
    text_init(&small, sent.record.payload.len - 1);
    CHECK_ERR(event_decode(&sent.record, &small, &sent.event), ERR_LIMIT);
    text_fini(&small);
    text_init(&small, sent.record.payload.len);
    CHECK_OK(event_decode(&sent.record, &small, &sent.event));
    CHECK_SLICE(sent.event.error.message, "0123456789");
    text_fini(&small);
    sent_fini(&sent);
}

TEST(decoding_survives_every_failed_allocation)
{
    struct event event = {.type = EVENT_ERROR, .seq = 1};
    event.error.message = SLICE("m");
    event.error.param = SLICE("p");
    struct sent sent;
    sent_init(&sent, &event, NULL);
    enum err err = ERR_LIMIT;
    for (uint64_t nth = 1; err != ERR_OK; nth++) {
        text_fini(&sent.scratch);
        mem_test_fail_nth(nth);
        err = event_decode(&sent.record, &sent.scratch, &sent.event);
        mem_test_fail_nth(0);
        CHECK(err == ERR_OK || err == ERR_LIMIT);
        CHECK(nth < 100);
    }
    sent_fini(&sent);
}

TEST(names_are_those_of_the_protocol)
{
    CHECK_STR(event_type_name(EVENT_ACCEPTED), "accepted");
    CHECK_STR(event_type_name(EVENT_ERROR), "error");
    CHECK_STR(event_type_name(EVENT_TYPE_COUNT), "?");
    CHECK_STR(done_reason_name(DONE_LENGTH), "length");
    CHECK_STR(done_reason_name(DONE_REASON_COUNT), "?");
    CHECK(event_is_end(EVENT_DONE) && event_is_end(EVENT_ERROR) && !event_is_end(EVENT_USAGE));
}
