/* call_test - questions and answers over a bus that loses, doubles and delays; roles that are not
 * there. */
#include "ask/ask.h"
#include "ask/call.h"
#include "base/mem.h"
#include "bus/bus_mem.h"
#include "testing/test.h"
#include "wire/call.h"

enum { HEARD_MAX = 2048 };

/* The caller's side and the role's, in one virtual time. */
static struct rig {
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *front, *role;
    struct bus_subscription *questions;
    struct caller *caller;
    bool answers; /* each question at once */
    size_t heard;
    uint64_t numbers[HEARD_MAX];
    char last_question[CALL_QUESTION_MAX_BYTES + 1];
    char reply[BUS_SUBJECT_MAX_BYTES + 1];
} rig;

/* Who asked. */
struct asker {
    size_t answers;
    enum err err;
    long long value;
    struct pending_call *call;
    bool frees_caller;
    struct asker *then; /* asks again from its on_answer */
};

static void say_answer(uint64_t number, struct slice answer)
{
    struct text out;
    text_init(&out, 1 << 16);
    CHECK_OK(wire_write_answer(&out, number, answer));
    CHECK_OK(bus_publish(rig.role, slice_str(rig.reply), (struct slice){0}, text_slice(&out)));
    text_fini(&out);
}

static void say_raw(uint16_t type, uint64_t number, struct slice payload)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 1 << 16);
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add(&writer, &(struct wire_record){.stream = number, .type = type, .payload = payload});
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(rig.role, slice_str(rig.reply), (struct slice){0}, text_slice(&out)));
    text_fini(&out);
    loop_advance(rig.loop, 0);
}

static void keep(char *out, struct slice source)
{
    memcpy(out, source.data, source.len);
    out[source.len] = 0;
}

static void on_question(void *ctx, const struct bus_message *message)
{
    (void)ctx;
    struct wire_reader reader;
    struct wire_record record;
    json_t *question = NULL;
    ASSERT(wire_open(message->frame, &reader) == ERR_OK && reader.kind == WIRE_CONTROL);
    ASSERT(wire_next(&reader, &record) == ERR_OK);
    ASSERT(wire_read_call(&record, &question) == ERR_OK);
    json_decref(question);
    ASSERT(rig.heard < HEARD_MAX);
    rig.numbers[rig.heard++] = record.stream;
    keep(rig.last_question, record.payload);
    keep(rig.reply, message->reply);
    if (rig.answers)
        say_answer(record.stream, SLICE("{\"value\":7}"));
}

static void role_comes(void)
{
    CHECK_OK(bus_subscribe(rig.role, SLICE("host.calls"), SLICE("hosts"), on_question, NULL,
                           &rig.questions));
}

static void open_rig(bool answers)
{
    rig = (struct rig){.answers = answers};
    rig.loop = loop_new_virtual(1000000);
    rig.bus_mem = bus_mem_new(8 * 1024 * 1024);
    rig.front = bus_mem_open(rig.bus_mem, rig.loop);
    rig.role = bus_mem_open(rig.bus_mem, rig.loop);
    CHECK_OK(caller_new(rig.front, &rig.caller));
    bus_on_bounce(rig.front, caller_on_bounce, rig.caller);
    role_comes();
}

static void close_rig(void)
{
    bus_on_bounce(rig.front, NULL, NULL);
    caller_free(rig.caller);
    bus_close(&rig.front);
    bus_close(&rig.role);
    loop_free(rig.loop);
    bus_mem_free(rig.bus_mem);
}

static void run_ms(uint64_t ms)
{
    loop_advance(rig.loop, ms * 1000);
}

static void on_answer(void *ctx, enum err err, json_t *answer);

static void ask(struct asker *asker, uint32_t timeout_ms)
{
    CHECK_OK(call_open(rig.caller, SLICE("host.calls"), SLICE("{\"call\":\"roles\"}"), timeout_ms,
                       on_answer, asker, &asker->call));
}

static void on_answer(void *ctx, enum err err, json_t *answer)
{
    struct asker *asker = ctx;
    ASSERT((err == ERR_OK) == (answer != NULL));
    asker->answers++;
    asker->err = err;
    asker->call = NULL;
    if (answer)
        asker->value = json_integer_value(json_object_get(answer, "value"));
    if (asker->then)
        ask(asker->then, 1000);
    if (asker->frees_caller) {
        caller_free(rig.caller);
        rig.caller = NULL;
        bus_on_bounce(rig.front, NULL, NULL);
    }
}

TEST(a_question_is_asked_and_answered_once_from_the_loop)
{
    struct asker asker = {0};
    open_rig(true);
    ask(&asker, 1000);
    CHECK_EQ(asker.answers, 0);
    run_ms(0);
    CHECK(asker.answers == 1 && asker.err == ERR_OK && asker.value == 7);
    CHECK_STR(rig.last_question, "{\"call\":\"roles\"}");
    run_ms(5000);
    CHECK(asker.answers == 1 && rig.heard == 1);
    close_rig();
}

TEST(a_lost_question_is_repeated_with_its_number)
{
    struct asker asker = {0};
    open_rig(false);
    ask(&asker, 1000);
    run_ms(249);
    CHECK_EQ(rig.heard, 1);
    rig.answers = true; /* the first one, or its answer, was lost */
    run_ms(1);
    CHECK(asker.answers == 1 && asker.err == ERR_OK);
    CHECK(rig.heard == 2 && rig.numbers[0] == rig.numbers[1]);
    close_rig();
}

TEST(a_doubled_and_a_late_answer_are_nobody_s)
{
    struct asker first = {0}, second = {0};
    open_rig(false);
    ask(&first, 300);
    run_ms(300);
    CHECK(first.answers == 1 && first.err == ERR_TIMEOUT);
    ask(&second, 1000);
    run_ms(0);
    say_answer(rig.numbers[0], SLICE("{\"value\":1}")); /* late: the first call's */
    run_ms(0);
    CHECK(second.answers == 0 && first.answers == 1);
    uint64_t number = rig.numbers[rig.heard - 1];
    CHECK(number != rig.numbers[0]);
    say_answer(number, SLICE("{\"value\":2}"));
    say_answer(number, SLICE("{\"value\":3}"));
    run_ms(0);
    CHECK(second.answers == 1 && second.value == 2);
    close_rig();
}

TEST(what_is_no_answer_is_dropped_and_the_question_repeated)
{
    struct asker asker = {0};
    open_rig(false);
    ask(&asker, 1000);
    run_ms(0);
    uint64_t number = rig.numbers[0];
    say_raw(WIRE_ANSWER, number, SLICE("[]"));
    say_raw(WIRE_ANSWER, number, SLICE("{"));
    say_raw(WIRE_CALL, number, SLICE("{\"call\":\"x\"}"));
    CHECK_OK(bus_publish(rig.role, slice_str(rig.reply), (struct slice){0}, SLICE("nonsense")));
    CHECK_EQ(asker.answers, 0);
    rig.answers = true;
    run_ms(250);
    CHECK(asker.answers == 1 && asker.value == 7);
    close_rig();
}

TEST(nobody_there_is_said_when_the_time_is_over_and_not_before)
{
    struct asker asker = {0};
    open_rig(true);
    bus_unsubscribe(&rig.questions);
    ask(&asker, 1000);
    run_ms(999);
    CHECK_EQ(asker.answers, 0);
    run_ms(1);
    CHECK(asker.answers == 1 && asker.err == ERR_NOT_FOUND);
    close_rig();
}

TEST(a_role_that_comes_back_in_time_answers)
{
    struct asker asker = {0};
    open_rig(true);
    bus_unsubscribe(&rig.questions);
    ask(&asker, 1000);
    run_ms(600);
    role_comes();
    run_ms(150);
    CHECK(asker.answers == 1 && asker.err == ERR_OK);
    close_rig();
}

TEST(a_role_that_is_there_and_mute_is_a_timeout)
{
    struct asker asker = {0};
    open_rig(false);
    bus_unsubscribe(&rig.questions);
    ask(&asker, 1000);
    run_ms(100);
    role_comes();
    run_ms(900);
    CHECK(asker.answers == 1 && asker.err == ERR_TIMEOUT);
    CHECK_EQ(rig.heard, 3); /* 250, 500, 750; the limit goes before the next */
    close_rig();
}

TEST(an_abandoned_call_is_not_answered)
{
    struct asker asker = {0};
    open_rig(true);
    ask(&asker, 1000);
    call_abandon(&asker.call);
    CHECK(asker.call == NULL);
    call_abandon(&asker.call); /* harmless */
    run_ms(5000);
    CHECK(asker.answers == 0 && rig.heard == 1);
    close_rig();
}

TEST(calls_are_bounded_and_a_place_comes_back)
{
    static struct asker askers[CALLS_MAX + 1];
    memset(askers, 0, sizeof(askers));
    struct slice question = SLICE("{\"call\":\"roles\"}");
    open_rig(false);
    for (int i = 0; i < CALLS_MAX; i++)
        ask(&askers[i], 60000);
    struct asker *more = &askers[CALLS_MAX];
    CHECK_ERR(
        call_open(rig.caller, SLICE("host.calls"), question, 1000, on_answer, more, &more->call),
        ERR_FULL);
    CHECK(more->call == NULL);
    call_abandon(&askers[0].call);
    ask(more, 60000);
    run_ms(0);
    CHECK_EQ(rig.heard, CALLS_MAX + 1);
    close_rig(); /* with all of them under way */
    for (int i = 0; i <= CALLS_MAX; i++)
        CHECK_EQ(askers[i].answers, 0);
}

TEST(questions_and_subjects_are_held_to_their_limits)
{
    static char question[CALL_QUESTION_MAX_BYTES + 1], subject[BUS_SUBJECT_MAX_BYTES + 1];
    memset(question, ' ', sizeof(question));
    memcpy(question, "{\"call\":\"x\"}", 12);
    memset(subject, 's', sizeof(subject));
    open_rig(false);
    for (size_t len = CALL_QUESTION_MAX_BYTES - 1; len <= sizeof(question); len++) {
        struct asker asker = {0};
        enum err err = call_open(rig.caller, SLICE("host.calls"), slice_of(question, len), 1000,
                                 on_answer, &asker, &asker.call);
        CHECK_ERR(err, len <= CALL_QUESTION_MAX_BYTES ? ERR_OK : ERR_LIMIT);
        run_ms(0);
        call_abandon(&asker.call);
    }
    CHECK_EQ(rig.heard, 2);
    CHECK_EQ(strlen(rig.last_question), CALL_QUESTION_MAX_BYTES);
    for (size_t len = BUS_SUBJECT_MAX_BYTES - 1; len <= sizeof(subject); len++) {
        struct asker asker = {0};
        enum err err = call_open(rig.caller, slice_of(subject, len), SLICE("{\"call\":\"x\"}"),
                                 1000, on_answer, &asker, &asker.call);
        CHECK_ERR(err, len <= BUS_SUBJECT_MAX_BYTES ? ERR_OK : ERR_LIMIT);
        call_abandon(&asker.call);
    }
    struct asker none = {0};
    CHECK_ERR(call_open(rig.caller, SLICE(""), SLICE("{}"), 1, on_answer, &none, &none.call),
              ERR_LIMIT);
    close_rig();
}

TEST(an_on_answer_may_ask_again_and_may_free_the_caller)
{
    struct asker last = {.frees_caller = true}, first = {.then = &last};
    open_rig(true);
    ask(&first, 1000);
    run_ms(0);
    CHECK(first.answers == 1 && last.answers == 1);
    CHECK(rig.caller == NULL);
    close_rig();
}

TEST(a_question_that_is_lost_for_want_of_memory_is_repeated)
{
    struct asker asker = {0};
    open_rig(true);
    for (uint64_t nth = 1; nth <= 3; nth++) {
        asker = (struct asker){0};
        mem_test_fail_nth(nth);
        ask(&asker, 1000);
        mem_test_fail_nth(0);
        run_ms(250);
        CHECK(asker.answers == 1 && asker.err == ERR_OK);
    }
    close_rig();
}

/* One endpoint has asks and calls: each gets what comes back of its own. */
TEST(a_hub_on_the_same_endpoint_passes_the_bounces_of_calls_on)
{
    struct asker asker = {0};
    struct ask_hub *hub = NULL;
    struct ask_options options = ask_options_default();
    open_rig(true);
    CHECK_OK(ask_hub_new(rig.front, &options, &hub));
    ask_hub_on_call_bounce(hub, caller_on_bounce, rig.caller);
    bus_unsubscribe(&rig.questions);
    ask(&asker, 500);
    run_ms(500);
    CHECK(asker.answers == 1 && asker.err == ERR_NOT_FOUND);
    role_comes();
    ask(&asker, 500);
    run_ms(0);
    CHECK(asker.answers == 2 && asker.err == ERR_OK);
    ask_hub_free(hub);
    close_rig();
}
