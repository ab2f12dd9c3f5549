/* result_test - the parts of a result come back as they were; what lies is refused. */
#include "testing/test.h"
#include "wire/event.h"

#include <math.h>

enum { ROOM = 1 << 16 };

static struct text data, payload;

static void begin(void)
{
    text_init(&data, ROOM);
    text_init(&payload, ROOM);
}

static void end(void)
{
    text_fini(&data);
    text_fini(&payload);
}

static struct result sent(enum result_kind kind)
{
    struct result read, result = {.input = 0xfedcba98, .kind = kind, .data = text_slice(&data)};
    text_clear(&payload);
    result_encode(&result, &payload);
    CHECK_EQ(payload.len, result_bytes(&result));
    CHECK_OK(result_decode(text_slice(&payload), &read));
    CHECK_EQ(read.input, 0xfedcba98);
    CHECK_EQ(read.kind, kind);
    CHECK_SLICES(read.data, text_slice(&data));
    return read;
}

TEST(tokens_come_back)
{
    begin();
    result_add_token(&data, 0);
    result_add_token(&data, INT32_MAX);
    struct result read = sent(RESULT_TOKENS);
    CHECK_EQ(result_count(&read), 2);
    CHECK_EQ(result_token(&read, 0), 0);
    CHECK_EQ(result_token(&read, 1), INT32_MAX);
    end();
}

TEST(numbers_come_back)
{
    begin();
    result_add_number(&data, -0.0f);
    result_add_number(&data, 1e-42f);
    result_add_number(&data, 0.1f);
    struct result read = sent(RESULT_NUMBERS);
    CHECK_EQ(result_count(&read), 3);
    CHECK(signbit(result_number(&read, 0)));
    CHECK(result_number(&read, 1) == 1e-42f);
    CHECK(result_number(&read, 2) == 0.1f);
    end();
}

TEST(pieces_come_back)
{
    begin();
    result_add_piece(&data, 5, SLICE("\xc3"));
    result_add_piece(&data, 6, SLICE(""));
    result_add_piece(&data, 7, SLICE(" the"));
    struct result read = sent(RESULT_PIECES);
    struct slice rest = read.data, bytes;
    int32_t token;
    CHECK(result_next_piece(&rest, &token, &bytes));
    CHECK_EQ(token, 5);
    CHECK_SLICE(bytes, "\xc3");
    CHECK(result_next_piece(&rest, &token, &bytes));
    CHECK_EQ(bytes.len, 0);
    CHECK(result_next_piece(&rest, &token, &bytes));
    CHECK_EQ(token, 7);
    CHECK_SLICE(bytes, " the");
    CHECK(!result_next_piece(&rest, &token, &bytes));
    end();
}

TEST(nothing_is_a_result_too)
{
    begin();
    for (int kind = 0; kind < RESULT_KIND_COUNT; kind++)
        CHECK_EQ(sent((enum result_kind)kind).data.len, 0);
    end();
}

static void check_refused(const char *bytes, size_t len)
{
    struct result result;
    CHECK_ERR(result_decode(slice_of(bytes, len), &result), ERR_PROTOCOL);
}

#define REFUSED(bytes) check_refused(bytes, sizeof(bytes) - 1)

TEST(what_lies_is_refused)
{
    REFUSED("");
    REFUSED("\0\0\0\0\0\0\0");
    REFUSED("\0\0\0\0\0\0\1\0");                 /* reserved */
    REFUSED("\0\0\0\0\4\0\0\0");                 /* no kind */
    REFUSED("\0\0\0\0\0\0\0\0\1\0\0");           /* part of a token */
    REFUSED("\0\0\0\0\0\0\0\0\0\0\0\x80");       /* a negative one */
    REFUSED("\0\0\0\0\3\0\0\0\0\0\x80\x7f");     /* infinity */
    REFUSED("\0\0\0\0\3\0\0\0\1\0\x80\x7f");     /* no number */
    REFUSED("\0\0\0\0\3\0\0\0\0\0");             /* part of a number */
    REFUSED("\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0");   /* part of a header */
    REFUSED("\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0"); /* a byte that is missing */
    REFUSED("\0\0\0\0\1\0\0\0\1\0\0\0\xff\xff\xff\xff"
            "a");                                        /* and more of them */
    REFUSED("\0\0\0\0\1\0\0\0\xff\xff\xff\xff\0\0\0\0"); /* a negative token */
}

TEST(an_event_carries_it)
{
    struct wire_writer writer;
    struct wire_reader reader;
    struct wire_record record;
    struct event read;
    begin();
    result_add_token(&data, 3);
    wire_begin(&writer, &payload, WIRE_EVENTS);
    struct event event = {.type = EVENT_RESULT,
                          .seq = 4,
                          .result = {.input = 1, .kind = RESULT_TOKENS, .data = text_slice(&data)}};
    event_encode(&writer, 1, 2, &event, NULL);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(wire_open(text_slice(&payload), &reader));
    CHECK_OK(wire_next(&reader, &record));
    CHECK_EQ(record.payload.len, event_credit_bytes(&event));
    CHECK_OK(event_decode(&record, NULL, &read));
    CHECK_EQ(read.type, EVENT_RESULT);
    CHECK_EQ(read.seq, 4);
    CHECK_EQ(result_token(&read.result, 0), 3);
    record.seq = 0;
    CHECK_ERR(event_decode(&record, NULL, &read), ERR_PROTOCOL);
    CHECK(event_takes_credit(EVENT_RESULT) && event_takes_credit(EVENT_DELTA));
    CHECK(!event_takes_credit(EVENT_USAGE) && !event_takes_credit(EVENT_DONE));
    end();
}
