/* wire_md_test - docs/wire.md is true: every example in it is what the encoders write today. When
 * one of these fails, the text that the page has to show is printed. */
#include "testing/test.h"
#include "wire/assigned.h"
#include "wire/event.h"
#include "wire/little.h"
#include "wire/load.h"
#include "wire/manager_state.h"
#include "wire/node_state.h"
#include "wire/request.h"

#include <stdio.h>

static struct text page;

static void read_page(void)
{
    if (page.data)
        return;
    char bytes[4096];
    FILE *file = fopen(WIRE_MD, "r");
    CHECK(file != NULL);
    text_init(&page, 1 << 20);
    for (size_t len; (len = fread(bytes, 1, sizeof(bytes), file)) > 0;)
        text_add(&page, slice_of(bytes, len));
    fclose(file);
    CHECK_OK(text_status(&page));
}

__attribute__((destructor)) static void forget_page(void)
{
    text_fini(&page);
}

static void check_page_shows(struct slice example)
{
    read_page();
    if (slice_find(text_slice(&page), example) == SLICE_NPOS)
        printf("not in %s:\n" SLICE_FMT "\n", WIRE_MD, SLICE_ARG(example));
    CHECK(slice_find(text_slice(&page), example) != SLICE_NPOS);
}

/* As `hexdump -C`, without the text on the right; indented, as the page does it. */
static void add_hex(struct text *out, struct slice bytes)
{
    for (size_t at = 0; at < bytes.len; at += 16) {
        text_add_f(out, "    %08zx ", at);
        for (size_t i = at; i < at + 16 && i < bytes.len; i++)
            text_add_f(out, "%s%02x", i == at + 8 ? "  " : " ", (uint8_t)bytes.data[i]);
        text_add_byte(out, '\n');
    }
}

static void check_page_shows_frame(struct wire_writer *writer)
{
    struct text hex;
    CHECK_OK(wire_finish(writer));
    text_init(&hex, 1 << 16);
    add_hex(&hex, text_slice(writer->out));
    check_page_shows(text_slice(&hex));
    text_fini(&hex);
    text_fini(writer->out);
}

enum { EPOCH = 1 };
static const uint64_t STREAM = 0xfedcba9876543210;

TEST(the_page_shows_a_step_of_two_streams)
{
    static const int32_t first = 1234, second[] = {7, -2};
    struct text out;
    struct wire_writer writer;
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_EVENTS);
    struct event event = {.type = EVENT_DELTA, .seq = 5};
    event.delta.token_count = 1;
    event.delta.text = SLICE(" h\xc3\xa9");
    event_encode(&writer, STREAM, EPOCH, &event, &first);
    event = (struct event){.type = EVENT_DELTA, .seq = 300};
    event.delta.choice = 1;
    event.delta.token_count = 2;
    event_encode(&writer, 2, EPOCH, &event, second);
    check_page_shows_frame(&writer);
}

TEST(the_page_shows_a_credit)
{
    struct text out;
    struct wire_writer writer;
    struct wire_credit credit = {.acked_seq = 64, .seq_limit = 96, .byte_limit = 65850};
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add_credit(&writer, STREAM, EPOCH, &credit, true);
    check_page_shows_frame(&writer);
}

TEST(the_page_shows_a_heartbeat)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add(&writer, &(struct wire_record){
                          .stream = STREAM, .seq = 5, .epoch = EPOCH, .type = WIRE_HEARTBEAT});
    check_page_shows_frame(&writer);
}

static void check_page_shows_payload(const struct event *event)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_EVENTS);
    event_encode(&writer, STREAM, EPOCH, event, NULL);
    CHECK_OK(wire_finish(&writer));
    check_page_shows(
        slice_after(text_slice(&out), WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES));
    text_fini(&out);
}

TEST(the_page_shows_every_event)
{
    struct event event = {.type = EVENT_ACCEPTED};
    event.accepted.worker = SLICE("llama.7f3a");
    event.accepted.control = SLICE("inbox.5c1e.3");
    check_page_shows_payload(&event);
    event = (struct event){.type = EVENT_QUEUED, .queued = {3, 1200}};
    check_page_shows_payload(&event);
    event = (struct event){.type = EVENT_LOADING, .loading = {0.25f}};
    check_page_shows_payload(&event);
    event = (struct event){.type = EVENT_PREFILL, .prefill = {512, 2048}};
    check_page_shows_payload(&event);
    event = (struct event){.type = EVENT_STARTED};
    event.started.model = SLICE("llama");
    event.started.worker = SLICE("llama.7f3a");
    event.started.prompt_tokens = 12;
    event.started.seed = UINT64_MAX;
    event.started.numerics = SLICE("5f1c0a4be2d87a3390c1f6a2d4e8b701");
    check_page_shows_payload(&event);
    event = (struct event){.type = EVENT_USAGE, .usage = {12, 0, 20, 150, 8100, 402000}};
    check_page_shows_payload(&event);
    event = (struct event){.type = EVENT_DONE, .done = {DONE_STOP, SLICE("\n\n")}};
    check_page_shows_payload(&event);
    event = (struct event){.type = EVENT_ERROR};
    event.error.fault = FAULT_CONTEXT_LENGTH_EXCEEDED;
    event.error.message = SLICE("5000 tokens, at most 4096");
    event.error.param = SLICE("prompt");
    check_page_shows_payload(&event);
}

TEST(the_page_names_every_fault_and_every_end)
{
    for (int i = 0; i < FAULT_COUNT; i++)
        check_page_shows(slice_str(fault_name((enum fault)i)));
    for (int i = 0; i < DONE_REASON_COUNT; i++)
        check_page_shows(slice_str(done_reason_name((enum done_reason)i)));
    for (int i = 0; i < NODE_PHASE_COUNT; i++)
        check_page_shows(slice_str(node_phase_name((enum node_phase)i)));
}

TEST(the_page_shows_a_request)
{
    static const struct slice stop = {"\n\n", 2};
    static const struct chat_message message = {.role = {"user", 4}, .content = {"Hi", 2}};
    struct request request = {.id = {0x0123456789abcdef, STREAM},
                              .epoch = 1,
                              .inbox = SLICE("inbox.5c1e.1"),
                              .label = SLICE("from-the-client"),
                              .model = SLICE("llama"),
                              .prompt_kind = PROMPT_CHAT,
                              .messages = &message,
                              .message_count = 1,
                              .sampling = sampling_default(),
                              .max_tokens = 100,
                              .stops = &stop,
                              .stop_count = 1,
                              .arrival_ms = 1700000000000,
                              .credit_events = 64,
                              .credit_bytes = 65536};
    struct text out;
    text_init(&out, 1 << 16);
    request_encode(&request, &out);
    uint32_t head_bytes = little_get32(out.data);
    struct slice parts = slice_after(text_slice(&out), sizeof(head_bytes));
    check_page_shows(slice_first(parts, head_bytes));
    check_page_shows(slice_after(parts, head_bytes));
    text_fini(&out);
}

TEST(the_page_shows_the_adapters_of_an_answer)
{
    static const struct adapter_wish items[] = {{.name = SLICE("sql"), .scale = 0.5f},
                                                {.id = 1, .scale = -1}};
    struct adapters_wish adapters = {.is_said = true, .items = items, .count = 2};
    struct text out;
    text_init(&out, 1 << 16);
    struct json_out json = json_out_to(&out);
    adapters_encode(&adapters, &json);
    check_page_shows(text_slice(&out));
    text_fini(&out);
}

TEST(the_page_shows_the_form_of_an_answer)
{
    static const struct form_trigger triggers[] = {
        {.word = SLICE("<tool_call>"), .token = FORM_NO_TOKEN, .is_included = true},
        {.token = 7, .only_at_start = true}};
    struct form form = {.kind = FORM_GRAMMAR,
                        .text = SLICE("root ::= \"<tool_call>\" [a-z]+"),
                        .param = SLICE("grammar"),
                        .triggers = triggers,
                        .trigger_count = ARRAY_COUNT(triggers)};
    struct text out;
    text_init(&out, 1 << 16);
    struct json_out json = json_out_to(&out);
    form_encode(&form, &json);
    check_page_shows(text_slice(&out));
    text_fini(&out);
}

TEST(the_page_shows_what_an_answer_goes_on_behind)
{
    static const int32_t tokens[] = {1234, 7, 0};
    struct continuation continuation = {
        .is_wanted = true, .seed = UINT64_MAX, .tokens = tokens, .token_count = 3, .text_bytes = 9};
    struct text out;
    text_init(&out, 1 << 16);
    struct json_out json = json_out_to(&out);
    continuation_encode(&continuation, &json);
    check_page_shows(text_slice(&out));
    text_fini(&out);
}

static void check_page_shows_task(const struct task *task)
{
    struct text example;
    text_init(&example, 1 << 16);
    text_add_str(&example, "    ");
    struct json_out json = json_out_to(&example);
    task_encode(task, &json);
    check_page_shows(text_slice(&example));
    text_fini(&example);
}

TEST(the_page_shows_tasks)
{
    static const int32_t ids[] = {1, 2};
    static const struct task_input inputs[] = {
        {.text = SLICE("Hi")}, {.is_tokens = true, .tokens = ids, .token_count = 2}};
    static const struct task_input documents[] = {{.text = SLICE("Hi")}, {.text = SLICE("Ho")}};
    check_page_shows_task(&(struct task){
        .kind = TASK_TOKENIZE, .inputs = inputs, .input_count = 1, .parse_special = true});
    check_page_shows_task(&(struct task){
        .kind = TASK_EMBED, .inputs = inputs, .input_count = 2, .pooling = TASK_MEAN});
    check_page_shows_task(&(struct task){
        .kind = TASK_RERANK, .inputs = documents, .input_count = 2, .query = SLICE("Who?")});
}

TEST(the_page_shows_what_may_be_said_about_sampling)
{
    struct sampling sampling = sampling_default();
    struct logit_bias bias = {7, -0.5f};
    static const uint8_t order[] = {SAMPLING_DRY, SAMPLING_TOP_K, SAMPLING_XTC,
                                    SAMPLING_TEMPERATURE};
    sampling.temperature = 0.5f, sampling.top_p = 0.75f, sampling.min_p = 0.25f;
    sampling.top_k = 40, sampling.repeat_penalty = 1.5f, sampling.penalty_last_n = -1;
    sampling.typical_p = 0.875f, sampling.top_n_sigma = 1, sampling.min_keep = 2;
    sampling.xtc_probability = 0.5f, sampling.xtc_threshold = 0.25f;
    sampling.dynatemp_range = 0.5f, sampling.dry_multiplier = 0.75f;
    sampling.mirostat = 2, sampling.mirostat_eta = 0.125f;
    sampling.has_seed = true, sampling.seed = 1;
    sampling.bias = &bias, sampling.bias_count = 1;
    memcpy(sampling.order, order, sizeof(order)), sampling.order_count = ARRAY_COUNT(order);
    struct text out;
    text_init(&out, 1 << 16);
    struct json_out json = json_out_to(&out);
    sampling_encode(&sampling, &json);
    check_page_shows(text_slice(&out));
    text_fini(&out);
}

/* The payload of the one record that was just written. */
static void check_page_shows_only_payload(struct wire_writer *writer)
{
    CHECK_OK(wire_finish(writer));
    check_page_shows(
        slice_after(text_slice(writer->out), WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES));
    text_fini(writer->out);
}

TEST(the_page_shows_where_a_request_was_assigned)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add_assigned(&writer, STREAM, EPOCH, SLICE("inbox.5c1e.3"));
    check_page_shows_only_payload(&writer);
}

TEST(the_page_shows_a_taken_stream)
{
    struct text out;
    struct wire_writer writer;
    struct wire_taken taken = {.id = {0x0123456789abcdef, STREAM},
                               .held = {HELD_RUNNING, 20},
                               .label = SLICE("from-the-client"),
                               .inbox = SLICE("inbox.5c1e.1"),
                               .arrival_ms = 1700000000000};
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add_taken(&writer, EPOCH, &taken);
    check_page_shows_only_payload(&writer);
    for (int i = 0; i < HELD_STATE_COUNT; i++)
        check_page_shows(slice_str(held_state_name((enum held_state)i)));
}

TEST(the_page_shows_a_worker_s_account)
{
    struct text out;
    struct wire_writer writer;
    struct wire_load load = {.slots = 8, .room = 5, .running = 3};
    struct wire_held held = {HELD_RUNNING, 20};
    struct wire_released released = {.tokens = 21, .kept_us = 420000};
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add_load(&writer, 17, &load, true);
    wire_add_held(&writer, STREAM, EPOCH, &held);
    wire_add_released(&writer, 2, EPOCH, &released);
    check_page_shows_frame(&writer);
}

TEST(the_page_shows_a_manager_state)
{
    static const struct manager_queue queue = {{"llama", 5}, 3};
    struct manager_state state = {.manager = SLICE("manager.5c1e"),
                                  .control = SLICE("inbox.5c1e.2"),
                                  .queues = &queue,
                                  .queue_count = 1};
    struct text out;
    text_init(&out, 1 << 16);
    manager_state_encode(&state, &out);
    check_page_shows(text_slice(&out));
    text_fini(&out);
}

TEST(the_page_shows_a_node_state)
{
    struct node_adapter adapter = {SLICE("sql"), 0};
    struct node_state state = {
        .node = SLICE("llama.7f3a"),
        .model = SLICE("llama"),
        .engine = SLICE("llama"),
        .detail = SLICE("llama 2.6M Q8_0"),
        .control = SLICE("inbox.5c1e.3"),
        .phase = NODE_READY,
        .load_fraction = 1,
        .layers = 6,
        .context_tokens = 4096,
        .slots = 8,
        .slots_busy = 2,
        .created_s = 1700000000,
        .tokens_total = 4711,
        .numerics = {.profile = SLICE("exact"),
                     .determinism = NODE_EXACT,
                     .width_max = 8,
                     .fingerprint = SLICE("5f1c0a4be2d87a3390c1f6a2d4e8b701")},
        .adapters = &adapter,
        .adapter_count = 1};
    struct text out;
    text_init(&out, 1 << 16);
    node_state_encode(&state, &out);
    check_page_shows(text_slice(&out));
    text_fini(&out);
}
