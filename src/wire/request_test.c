/* request_test - a request comes back as it was; every field is checked against its range. */
#include "base/json.h"
#include "base/mem.h"
#include "testing/test.h"
#include "wire/little.h"
#include "wire/request.h"

#include <stdio.h>

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static const struct slice stops[] = {{"\n\n", 2}, {"</s>", 4}};
static const struct logit_bias bias[] = {{0, -100}, {INT32_MAX, 0.1f}};
static const int32_t tokens[] = {0, 1, INT32_MAX};
static const struct chat_message messages[] = {
    {.role = {"system", 6}, .content = {"", 0}},
    {.role = {"user", 4}, .content = {"h\xc3\xa9\t\"", 5}, .name = {"ann", 3}},
};

static struct request full_request(void)
{
    struct request request = {.id = {0x0123456789abcdef, 0xfedcba9876543210},
                              .epoch = 1,
                              .inbox = SLICE("inbox.1"),
                              .tenant = SLICE("t"),
                              .session = SLICE("s"),
                              .label = SLICE("label"),
                              .trace = SLICE(TRACE),
                              .model = SLICE("llama"),
                              .prompt = SLICE("Tell me \xf0\x9f\x99\x82"),
                              .sampling = sampling_default(),
                              .max_tokens = UINT32_MAX,
                              .stops = stops,
                              .stop_count = 2,
                              .ignore_eos = true,
                              .prompt_is_shared = true,
                              .priority = PRIORITY_LOW,
                              .deadline_ms = 1234,
                              .arrival_ms = 1700000000000,
                              .credit_events = 64,
                              .credit_bytes = 65536};
    request.sampling.temperature = 0.7f;
    request.sampling.top_k = 40;
    request.sampling.has_seed = true;
    request.sampling.seed = UINT64_MAX - 1;
    request.sampling.bias = bias;
    request.sampling.bias_count = 2;
    return request;
}

static struct text encoded(const struct request *request)
{
    struct text out;
    text_init(&out, 1 << 20);
    request_encode(request, &out);
    CHECK_OK(text_status(&out));
    return out;
}

enum { PREFIX_BYTES = 4 };

/* The two parts of a payload; and a payload of two parts. */
static struct slice head_of(struct slice payload)
{
    return slice_first(slice_after(payload, PREFIX_BYTES), little_get32(payload.data));
}

static struct slice body_of(struct slice payload)
{
    return slice_after(payload, PREFIX_BYTES + head_of(payload).len);
}

static struct text payload_of(struct slice head, struct slice body)
{
    struct text payload;
    char prefix[PREFIX_BYTES];
    little_put32(prefix, (uint32_t)head.len);
    text_init(&payload, 1 << 26);
    text_add(&payload, slice_of(prefix, sizeof(prefix)));
    text_add(&payload, head);
    text_add(&payload, body);
    CHECK_OK(text_status(&payload));
    return payload;
}

/* Encodes, decodes, encodes again and compares the two texts; returns what was decoded. */
static struct request there_and_back(const struct request *request, struct arena *arena)
{
    struct request read = {0};
    struct err_note note;
    struct text first = encoded(request);
    CHECK_OK(request_decode(text_slice(&first), arena, &read, &note));
    struct text second = encoded(&read);
    CHECK_SLICES(text_slice(&second), text_slice(&first));
    text_fini(&first);
    text_fini(&second);
    return read;
}

/* A worker reads the head on its loop and the body on the pool. */
TEST(a_body_joins_its_head_or_leaves_it_as_it_was)
{
    struct arena *arena = arena_new(1 << 20);
    struct request request = full_request(), read;
    struct err_note note;
    struct text whole = encoded(&request);
    CHECK_OK(request_decode_head(text_slice(&whole), arena, &read, &note));
    struct text damaged = payload_of(head_of(text_slice(&whole)), SLICE("{\"prompt\":1}"));
    struct request before = read;
    CHECK_ERR(request_decode_body(text_slice(&damaged), arena, &read, &note), ERR_PROTOCOL);
    CHECK(memcmp(&read, &before, sizeof(read)) == 0);
    CHECK_OK(request_decode_body(text_slice(&whole), arena, &read, &note));
    struct text again = encoded(&read);
    CHECK_SLICES(text_slice(&again), text_slice(&whole));
    text_fini(&again);
    text_fini(&damaged);
    text_fini(&whole);
    arena_free(arena);
}

TEST(a_request_with_everything_comes_back)
{
    struct arena *arena = arena_new(1 << 20);
    struct request request = full_request();
    struct request read = there_and_back(&request, arena);
    CHECK(id_eq(read.id, request.id) && request_stream(&read) == 0xfedcba9876543210);
    CHECK_SLICE(read.inbox, "inbox.1");
    CHECK_SLICE(read.tenant, "t");
    CHECK_SLICE(read.session, "s");
    CHECK_SLICE(read.label, "label");
    CHECK_SLICE(read.trace, TRACE);
    CHECK_SLICE(read.model, "llama");
    CHECK_EQ(read.prompt_kind, PROMPT_TEXT);
    CHECK_SLICES(read.prompt, request.prompt);
    CHECK(read.sampling.temperature == 0.7f && read.sampling.top_k == 40);
    CHECK(read.sampling.has_seed && read.sampling.seed == UINT64_MAX - 1);
    CHECK_EQ(read.sampling.bias_count, 2);
    CHECK(read.sampling.bias[0].token == 0 && read.sampling.bias[0].bias == -100);
    CHECK(read.sampling.bias[1].token == INT32_MAX && read.sampling.bias[1].bias == 0.1f);
    CHECK(read.max_tokens == UINT32_MAX && read.ignore_eos && !read.want_progress);
    CHECK(read.prompt_is_shared);
    CHECK_EQ(read.stop_count, 2);
    CHECK_SLICE(read.stops[1], "</s>");
    CHECK(read.priority == PRIORITY_LOW && read.deadline_ms == 1234);
    CHECK(read.arrival_ms == 1700000000000);
    CHECK(read.credit_events == 64 && read.credit_bytes == 65536 && read.epoch == 1);
    arena_free(arena);
}

TEST(the_decoded_request_does_not_need_the_payload)
{
    struct arena *arena = arena_new(1 << 20);
    struct request request = full_request(), read;
    struct text out = encoded(&request);
    CHECK_OK(request_decode(text_slice(&out), arena, &read, NULL));
    memset(out.data, 'x', out.len);
    text_fini(&out);
    CHECK_SLICES(read.prompt, request.prompt);
    CHECK_SLICE(read.stops[0], "\n\n");
    arena_free(arena);
}

TEST(a_scheduler_reads_the_head_and_nothing_of_the_body)
{
    struct request request = full_request(), read;
    struct arena *arena = arena_new(1 << 16);
    struct text out = encoded(&request);
    struct slice head = head_of(text_slice(&out));
    struct text unread = payload_of(head, SLICE("not even JSON"));
    CHECK_OK(request_decode_head(text_slice(&unread), arena, &read, NULL));
    text_fini(&unread);
    CHECK(id_eq(read.id, request.id) && read.epoch == 1);
    CHECK_SLICE(read.inbox, "inbox.1");
    CHECK_SLICE(read.tenant, "t");
    CHECK_SLICE(read.session, "s");
    CHECK_SLICE(read.label, "label");
    CHECK_SLICE(read.trace, TRACE);
    CHECK_SLICE(read.model, "llama");
    CHECK(read.priority == PRIORITY_LOW && read.deadline_ms == 1234 && !read.want_progress);
    CHECK(read.arrival_ms == 1700000000000);
    CHECK(read.credit_events == 64 && read.credit_bytes == 65536);
    CHECK(read.prompt.len == 0 && read.stop_count == 0 && read.max_tokens == 0);
    CHECK(read.sampling.temperature == 1 && !read.sampling.has_seed); /* sampling_default() */
    text_fini(&out);
    arena_free(arena);
}

/* The head's length is the peer's word: nothing, too much, and a head that is cut by it. */
TEST(a_head_s_length_that_lies_is_refused)
{
    struct request request = full_request(), read;
    struct text out = encoded(&request);
    uint32_t honest = little_get32(out.data);
    uint32_t all = (uint32_t)(out.len - PREFIX_BYTES);
    const uint32_t lies[] = {0, 1, honest - 1, honest + 1, all, all + 1, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
        struct arena *arena = arena_new(1 << 16);
        struct err_note note = {""};
        little_put32(out.data, lies[i]);
        CHECK_ERR(request_decode(text_slice(&out), arena, &read, &note), ERR_PROTOCOL);
        CHECK(note.text[0]);
        CHECK_ERR(request_decode_head(text_slice(&out), arena, &read, &note), ERR_PROTOCOL);
        arena_free(arena);
    }
    text_fini(&out);
}

/* Whoever schedules parses heads on its loop: they stay small, whatever a request carries. */
TEST(a_head_is_held_to_its_limit_and_never_needs_it)
{
    for (size_t len = REQUEST_HEAD_MAX_BYTES - 1; len <= REQUEST_HEAD_MAX_BYTES + 1; len++) {
        struct request request = full_request(), read;
        struct arena *arena = arena_new(1 << 16);
        struct text out = encoded(&request), head;
        struct slice plain = head_of(text_slice(&out));
        text_init(&head, 1 << 16);
        for (size_t i = plain.len; i < len; i++)
            text_add_byte(&head, ' ');
        text_add(&head, plain);
        struct text payload = payload_of(text_slice(&head), body_of(text_slice(&out)));
        enum err expected = len <= REQUEST_HEAD_MAX_BYTES ? ERR_OK : ERR_LIMIT;
        CHECK_ERR(request_decode_head(text_slice(&payload), arena, &read, NULL), expected);
        CHECK_ERR(request_decode(text_slice(&payload), arena, &read, NULL), expected);
        text_fini(&payload);
        text_fini(&head);
        text_fini(&out);
        arena_free(arena);
    }
    char worst[REQUEST_NAME_MAX_BYTES]; /* six bytes of JSON each */
    memset(worst, 1, sizeof(worst));
    struct request request = full_request();
    request.tenant = request.session = request.label = request.model =
        slice_of(worst, sizeof(worst));
    request.inbox = slice_of(worst, REQUEST_INBOX_MAX_BYTES);
    request.trace = slice_of(worst, REQUEST_TRACE_MAX_BYTES);
    struct text out = encoded(&request);
    CHECK(head_of(text_slice(&out)).len < REQUEST_HEAD_MAX_BYTES);
    text_fini(&out);
}

TEST(a_body_that_was_encoded_elsewhere_makes_the_same_payload)
{
    struct request request = full_request();
    struct text at_once = encoded(&request), body;
    text_init(&body, 1 << 20);
    request_encode_body(&request, &body);
    request.encoded_body = text_slice(&body);
    struct text in_parts = encoded(&request);
    CHECK_SLICES(text_slice(&in_parts), text_slice(&at_once));
    text_fini(&in_parts);
    text_fini(&at_once);
    text_fini(&body);
}

TEST(another_epoch_is_what_encoding_it_would_have_been)
{
    static const uint32_t epochs[] = {2, 9, 10, 99, UINT32_MAX, 3, 1};
    struct request request = full_request();
    struct text out = encoded(&request);
    size_t len = out.len, first_len = out.len;
    char *payload = mem_alloc(len + REQUEST_EPOCH_ROOM);
    memcpy(payload, out.data, len);
    text_fini(&out);
    for (size_t i = 0; i < ARRAY_COUNT(epochs); i++) {
        request.epoch = epochs[i];
        out = encoded(&request);
        len = request_set_epoch(payload, len, epochs[i]);
        CHECK(len <= first_len + REQUEST_EPOCH_ROOM);
        CHECK_SLICES(slice_of(payload, len), text_slice(&out));
        text_fini(&out);
    }
    mem_free(payload);
}

/* The labels are what a client sent: they may look like ours. */
TEST(a_continued_payload_is_what_encoding_it_would_have_been)
{
    struct request request = full_request();
    request.label = SLICE("x\",\"credit_events\":7,\"credit_bytes\":8");
    struct text first = encoded(&request), continued;
    request.continue_from = (struct continuation){.is_wanted = true,
                                                  .seed = UINT64_MAX,
                                                  .tokens = tokens,
                                                  .token_count = ARRAY_COUNT(tokens),
                                                  .text_bytes = 11,
                                                  .numerics = SLICE("0123456789abcdef")};
    request.credit_events = 1;
    request.credit_bytes = UINT32_MAX;
    struct text again = encoded(&request);
    text_init(&continued, 1 << 20);
    text_add(&continued, SLICE("before"));
    request_encode_continued(text_slice(&first), &request.continue_from, 1, UINT32_MAX, &continued);
    CHECK_SLICES(slice_after(text_slice(&continued), 6), text_slice(&again));
    for (size_t max = 0; max < again.len; max++) {
        struct text out;
        text_init(&out, max);
        request_encode_continued(text_slice(&first), &request.continue_from, 1, UINT32_MAX, &out);
        CHECK_ERR(text_status(&out), ERR_LIMIT);
        text_fini(&out);
    }
    text_fini(&continued);
    text_fini(&again);
    text_fini(&first);
}

TEST(what_was_said_already_comes_back_with_its_request)
{
    struct arena *arena = arena_new(1 << 20);
    struct request request = full_request();
    CHECK(!there_and_back(&request, arena).continue_from.is_wanted);
    request.continue_from = (struct continuation){
        .is_wanted = true, .seed = 5, .tokens = tokens, .token_count = 2, .text_bytes = 3};
    struct request read = there_and_back(&request, arena);
    CHECK(read.continue_from.is_wanted && read.continue_from.seed == 5);
    CHECK_EQ(read.continue_from.token_count, 2);
    CHECK_EQ(read.continue_from.text_bytes, 3);
    arena_free(arena);
}

TEST(a_payload_that_outgrows_its_text_is_overflowed_not_half_written)
{
    struct request request = full_request();
    struct text whole = encoded(&request);
    for (size_t max = 0; max < whole.len; max++) {
        struct text out;
        text_init(&out, max);
        request_encode(&request, &out);
        CHECK_ERR(text_status(&out), ERR_LIMIT);
        text_fini(&out);
    }
    text_fini(&whole);
}

TEST(tokens_and_messages_come_back)
{
    struct arena *arena = arena_new(1 << 20);
    struct request request = full_request();
    request.prompt_kind = PROMPT_TOKENS;
    request.tokens = tokens;
    request.token_count = 3;
    struct request read = there_and_back(&request, arena);
    CHECK_EQ(read.prompt_kind, PROMPT_TOKENS);
    CHECK_EQ(read.token_count, 3);
    CHECK(memcmp(read.tokens, tokens, sizeof(tokens)) == 0);

    request.prompt_kind = PROMPT_CHAT;
    request.messages = messages;
    request.message_count = 2;
    read = there_and_back(&request, arena);
    CHECK_EQ(read.prompt_kind, PROMPT_CHAT);
    CHECK_EQ(read.message_count, 2);
    CHECK_SLICE(read.messages[0].role, "system");
    CHECK_SLICES(read.messages[1].content, messages[1].content);
    CHECK_SLICE(read.messages[1].name, "ann");
    arena_free(arena);
}

TEST(the_default_sampling_is_openai_s_with_everything_else_off)
{
    struct sampling sampling = sampling_default();
    CHECK(sampling.temperature == 1 && sampling.top_p == 1 && sampling.min_p == 0);
    CHECK(sampling.top_k == 0 && sampling.repeat_penalty == 1 && sampling.penalty_last_n == 64);
    CHECK(sampling.frequency_penalty == 0 && sampling.presence_penalty == 0);
    CHECK(!sampling.has_seed && sampling.bias_count == 0);
}

enum part { HEAD, BODY, SAMPLING };

static enum part part_of(bool inside, const char *key)
{
    static const char *const body[] = {"prompt",     "tokens", "messages",   "sampling",
                                       "max_tokens", "stops",  "ignore_eos", "prompt_is_shared"};
    for (size_t i = 0; i < ARRAY_COUNT(body); i++) {
        if (!inside && strcmp(body[i], key) == 0)
            return BODY;
    }
    return inside ? SAMPLING : HEAD;
}

/* One part of a payload with one member replaced or, for NULL, gone. */
static char *changed_part(struct slice json, bool inside, const char *key, const char *value)
{
    json_t *root = NULL;
    struct err_note note;
    CHECK_OK(json_read(json, 8, &root, &note));
    json_t *object = inside ? json_object_get(root, "sampling") : root;
    if (value)
        CHECK_EQ(json_object_set_new(object, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
    else
        CHECK_EQ(json_object_del(object, key), 0);
    char *changed = json_dumps(root, 0);
    json_decref(root);
    return changed;
}

static void check_refusal_names(enum err err, const struct err_note *note, const char *key)
{
    CHECK((err == ERR_OK) == (note->text[0] == 0)); /* a refusal says why, with the key */
    CHECK(err == ERR_OK || strstr(note->text, key));
}

/* The reader of heads says the same of a head, and nothing of a body. */
static void check_head_alone(struct slice payload, enum part part, enum err expected,
                             const char *key)
{
    struct request read;
    struct err_note note = {""};
    struct arena *arena = arena_new(1 << 16);
    enum err err = request_decode_head(payload, arena, &read, &note);
    CHECK_ERR(err, part == HEAD ? expected : ERR_OK);
    check_refusal_names(err, &note, key);
    arena_free(arena);
}

/* The full request with one member (of "sampling" if `inside`) replaced or, for NULL, gone. */
static enum err decode_with(bool inside, const char *key, const char *value)
{
    struct request request = full_request(), read;
    struct err_note note = {""};
    enum part part = part_of(inside, key);
    struct arena *arena = arena_new(1 << 22);
    struct text out = encoded(&request);
    struct slice head = head_of(text_slice(&out)), body = body_of(text_slice(&out));
    char *changed = changed_part(part == HEAD ? head : body, inside, key, value);
    struct text payload =
        part == HEAD ? payload_of(slice_str(changed), body) : payload_of(head, slice_str(changed));
    enum err err = request_decode(text_slice(&payload), arena, &read, &note);
    check_refusal_names(err, &note, key);
    check_head_alone(text_slice(&payload), part, err, key);
    mem_free(changed);
    text_fini(&payload);
    text_fini(&out);
    arena_free(arena);
    return err;
}

TEST(what_is_always_sent_is_required)
{
    static const char *const required[] = {
        "id",          "epoch",      "inbox",       "model",    "prompt",
        "sampling",    "max_tokens", "ignore_eos",  "priority", "want_progress",
        "deadline_ms", "arrival_ms", "credit_bytes"};
    static const char *const optional[] = {"tenant", "session", "label",
                                           "trace",  "stops",   "prompt_is_shared"};
    for (size_t i = 0; i < ARRAY_COUNT(required); i++)
        CHECK_ERR(decode_with(false, required[i], NULL), ERR_PROTOCOL);
    for (size_t i = 0; i < ARRAY_COUNT(optional); i++)
        CHECK_OK(decode_with(false, optional[i], NULL));
    CHECK_ERR(decode_with(true, "temperature", NULL), ERR_PROTOCOL);
    CHECK_OK(decode_with(true, "seed", NULL));
}

TEST(the_choices_of_a_request_are_found_by_its_id)
{
    for (int i = 0; i < 100; i++) {
        struct id id = request_id_new(), last = request_choice_id(id, REQUEST_CHOICES_MAX - 1);
        CHECK(id.low != 0 && request_id_names_all(id) && !request_id_names_all(last));
        CHECK(id_eq(request_choice_id(id, 0), id));
        CHECK(last.high == id.high &&
              last.low / REQUEST_CHOICES_MAX == id.low / REQUEST_CHOICES_MAX);
    }
}

TEST(fields_are_held_to_their_ranges)
{
    static const struct {
        bool inside;
        const char *key, *value;
        enum err expected;
    } cases[] = {
        {false, "id", "\"0123456789abcdef0123456789abcde\"", ERR_PROTOCOL},
        {false, "id", "\"00000000000000000000000000000000\"", ERR_PROTOCOL},
        {false, "epoch", "0", ERR_LIMIT},
        {false, "epoch", "1", ERR_OK},
        {false, "epoch", "4294967296", ERR_LIMIT},
        {false, "inbox", "\"\"", ERR_PROTOCOL},
        {false, "model", "7", ERR_PROTOCOL},
        {false, "prompt", "null", ERR_PROTOCOL},
        {false, "prompt", "\"\"", ERR_OK},
        {false, "tokens", "[1]", ERR_PROTOCOL}, /* and a prompt */
        {false, "max_tokens", "-1", ERR_LIMIT},
        {false, "stops", "[\"\"]", ERR_PROTOCOL},
        {false, "stops", "\"x\"", ERR_PROTOCOL},
        {false, "stops", "[1]", ERR_PROTOCOL},
        {false, "ignore_eos", "1", ERR_PROTOCOL},
        {false, "prompt_is_shared", "1", ERR_PROTOCOL},
        {false, "priority", "\"highest\"", ERR_PROTOCOL},
        {false, "priority", "\"high\"", ERR_OK},
        {false, "arrival_ms", "-1", ERR_LIMIT},
        {false, "credit_events", "0", ERR_LIMIT},
        {false, "sampling", "[]", ERR_PROTOCOL},
        {true, "temperature", "0", ERR_OK},
        {true, "temperature", "-0.001", ERR_LIMIT},
        {true, "temperature", "1e39", ERR_LIMIT},
        {true, "top_p", "0", ERR_LIMIT},
        {true, "top_p", "1e-60", ERR_LIMIT}, /* would be 0 as a float */
        {true, "top_p", "1", ERR_OK},
        {true, "top_p", "1.0001", ERR_LIMIT},
        {true, "min_p", "0", ERR_OK},
        {true, "min_p", "1.5", ERR_LIMIT},
        {true, "top_k", "0.5", ERR_PROTOCOL},
        {true, "top_k", "2147483648", ERR_LIMIT},
        {true, "repeat_penalty", "0", ERR_LIMIT},
        {true, "frequency_penalty", "-2", ERR_OK},
        {true, "frequency_penalty", "-2.5", ERR_LIMIT},
        {true, "presence_penalty", "2.5", ERR_LIMIT},
        {true, "penalty_last_n", "-1", ERR_OK},
        {true, "penalty_last_n", "-2", ERR_LIMIT},
        {true, "seed", "7", ERR_PROTOCOL},
        {true, "seed", "\"18446744073709551615\"", ERR_OK},
        {true, "seed", "\"18446744073709551616\"", ERR_PROTOCOL},
        {true, "bias", "[[1,100],[2,-100]]", ERR_OK},
        {true, "bias", "[[1,100.5]]", ERR_PROTOCOL},
        {true, "bias", "[[1]]", ERR_PROTOCOL},
        {true, "bias", "[[-1,0]]", ERR_PROTOCOL},
        {true, "bias", "[[1,0,0]]", ERR_PROTOCOL},
        {true, "bias", "[[\"1\",0]]", ERR_PROTOCOL},
        {true, "bias", "{}", ERR_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        CHECK_ERR(decode_with(cases[i].inside, cases[i].key, cases[i].value), cases[i].expected);
}

/* [item,item,...] */
static struct text array_of(const char *item, size_t count)
{
    struct text array;
    text_init(&array, 1 << 24);
    text_add_byte(&array, '[');
    for (size_t i = 0; i < count; i++) {
        text_add_str(&array, i ? "," : "");
        text_add_str(&array, item);
    }
    text_add(&array, slice_of("]", 2)); /* and its NUL: used as a C string */
    return array;
}

static void check_count(bool inside, const char *key, const char *item, size_t max)
{
    for (size_t count = max - 1; count <= max + 1; count++) {
        struct text array = array_of(item, count);
        CHECK_ERR(decode_with(inside, key, array.data), count <= max ? ERR_OK : ERR_LIMIT);
        text_fini(&array);
    }
}

TEST(arrays_are_held_to_their_limits)
{
    check_count(false, "stops", "\"x\"", REQUEST_STOPS_MAX);
    check_count(true, "bias", "[1,1]", REQUEST_BIAS_MAX);
}

/* "xxx...", quoted */
static void check_length(const char *key, bool in_array, size_t max)
{
    for (size_t len = max - 1; len <= max + 1; len++) {
        char value[1024];
        snprintf(value, sizeof(value), "%s\"%0*d\"%s", in_array ? "[" : "", (int)len, 0,
                 in_array ? "]" : "");
        CHECK_ERR(decode_with(false, key, value), len <= max ? ERR_OK : ERR_LIMIT);
    }
}

TEST(strings_are_held_to_their_limits)
{
    check_length("stops", true, REQUEST_STOP_MAX_BYTES);
    check_length("inbox", false, REQUEST_INBOX_MAX_BYTES);
    check_length("model", false, REQUEST_NAME_MAX_BYTES);
    check_length("label", false, REQUEST_NAME_MAX_BYTES);
    check_length("trace", false, REQUEST_TRACE_MAX_BYTES);
}

/* A prompt of another kind takes the place of the text. */
static enum err decode_prompt(const char *key, const char *value)
{
    struct text body;
    struct arena *arena = arena_new(1 << 26);
    struct request request = full_request(), read;
    struct text out = encoded(&request);
    text_init(&body, 1 << 26);
    text_add_f(&body,
               "{\"%s\":%s,\"sampling\":{\"temperature\":1,\"top_p\":1,\"min_p\":0,"
               "\"top_k\":0,\"repeat_penalty\":1,\"frequency_penalty\":0,\"presence_penalty\":0,"
               "\"penalty_last_n\":64},\"max_tokens\":0,\"ignore_eos\":false}",
               key, value);
    CHECK_OK(text_status(&body));
    struct text payload = payload_of(head_of(text_slice(&out)), text_slice(&body));
    enum err err = request_decode(text_slice(&payload), arena, &read, NULL);
    text_fini(&payload);
    text_fini(&body);
    text_fini(&out);
    arena_free(arena);
    return err;
}

TEST(prompts_of_other_kinds_are_checked)
{
    CHECK_OK(decode_prompt("tokens", "[]"));
    CHECK_OK(decode_prompt("tokens", "[0,2147483647]"));
    CHECK_ERR(decode_prompt("tokens", "[2147483648]"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("tokens", "[-1]"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("tokens", "[1.0]"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("tokens", "{}"), ERR_PROTOCOL);
    CHECK_OK(decode_prompt("messages", "[{\"role\":\"user\",\"content\":\"\"}]"));
    CHECK_ERR(decode_prompt("messages", "[{\"role\":\"user\"}]"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("messages", "[{\"content\":\"x\"}]"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("messages", "[\"x\"]"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("messages", "[{\"role\":\"user\",\"content\":[]}]"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("elsewhere", "1"), ERR_PROTOCOL);
    CHECK_ERR(decode_prompt("prompt", "\"a\\u0000b\""), ERR_PROTOCOL);
}

TEST(messages_are_held_to_their_limit)
{
    for (size_t count = REQUEST_MESSAGES_MAX - 1; count <= REQUEST_MESSAGES_MAX + 1; count++) {
        struct text array = array_of("{\"role\":\"user\",\"content\":\"x\"}", count);
        CHECK_ERR(decode_prompt("messages", array.data),
                  count <= REQUEST_MESSAGES_MAX ? ERR_OK : ERR_LIMIT);
        text_fini(&array);
    }
}

TEST(a_request_cut_anywhere_is_refused)
{
    struct request request = full_request(), read;
    struct text out = encoded(&request);
    for (size_t cut = 0; cut < out.len; cut++) {
        struct arena *arena = arena_new(1 << 16);
        CHECK_ERR(request_decode(slice_first(text_slice(&out), cut), arena, &read, NULL),
                  ERR_PROTOCOL);
        arena_free(arena);
    }
    text_fini(&out);
}

TEST(decoding_survives_every_failed_allocation)
{
    struct request request = full_request(), read;
    struct text out = encoded(&request);
    enum err err = ERR_LIMIT;
    for (uint64_t nth = 1; err != ERR_OK; nth++) {
        struct arena *arena = arena_new(1 << 16);
        mem_test_fail_nth(nth);
        err = request_decode(text_slice(&out), arena, &read, NULL);
        mem_test_fail_nth(0);
        arena_free(arena);
        CHECK(err == ERR_OK || err == ERR_LIMIT);
        CHECK(nth < 1000);
    }
    text_fini(&out);
}

TEST(an_arena_too_small_by_a_byte_is_a_limit)
{
    struct request request = full_request(), read;
    struct text out = encoded(&request);
    struct arena *arena = arena_new(1 << 16);
    CHECK_OK(request_decode(text_slice(&out), arena, &read, NULL));
    size_t needed = arena_used(arena);
    arena_free(arena);
    for (size_t room = 0; room <= needed; room++) {
        arena = arena_new(room);
        CHECK_ERR(request_decode(text_slice(&out), arena, &read, NULL),
                  room < needed ? ERR_LIMIT : ERR_OK);
        arena_free(arena);
    }
    text_fini(&out);
}
