/* hub_test - many asks on one endpoint: who gets what, what leaves together, what is refused. */
#include "ask/stage.h"
#include "base/mem.h"
#include "testing/test.h"

static struct stage stage;

/* --- bounds --- */

TEST(asks_are_bounded_and_a_place_comes_back)
{
    struct owner owners[3] = {0};
    struct ask *more = NULL;
    struct request request = stage_request(id_new());
    stage_init(&stage);
    stage.options.asks_max = 2;
    stage_open(&stage);
    owner_start(&owners[0], &stage);
    owner_start(&owners[1], &stage);
    CHECK_ERR(ask_open(stage.hub, &request, owner_on_event, &owners[2], &more), ERR_FULL);
    CHECK(more == NULL);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_SUBMIT), 2); /* a refused one was not sent either */
    say_done(&stage, &owners[0], 2, DONE_EOS);
    owner_start(&owners[2], &stage);
    say_done(&stage, &owners[1], 2, DONE_EOS);
    say_done(&stage, &owners[2], 2, DONE_EOS);
    stage_close(&stage);
}

static enum err open_with_model(size_t model_bytes)
{
    char model[REQUEST_NAME_MAX_BYTES + 1];
    struct owner owner = {0};
    struct request request = stage_request(id_new());
    request.model = slice_of(memset(model, 'm', sizeof(model)), model_bytes);
    enum err err = ask_open(stage.hub, &request, owner_on_event, &owner, &owner.ask);
    if (err == ERR_OK) {
        ask_abandon(&owner.ask);
        stage_run(&stage, 2000);
    }
    return err;
}

TEST(a_model_name_has_to_be_one_that_a_manager_reads)
{
    stage_open_default(&stage);
    CHECK_ERR(open_with_model(0), ERR_LIMIT);
    CHECK_OK(open_with_model(1));
    CHECK_OK(open_with_model(REQUEST_NAME_MAX_BYTES - 1));
    CHECK_OK(open_with_model(REQUEST_NAME_MAX_BYTES));
    CHECK_ERR(open_with_model(REQUEST_NAME_MAX_BYTES + 1), ERR_LIMIT);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

/* The bus takes nothing while so much of what came back waits in the loop. */
TEST(a_submit_that_the_bus_does_not_take_now_is_repeated)
{
    enum { ASKS = 20 };
    static struct owner owners[ASKS];
    memset(owners, 0, sizeof(owners));
    stage_init(&stage);
    stage.peer_bytes_max = 2048;
    stage_open(&stage);
    stage_manager_leaves(&stage);
    for (int i = 0; i < ASKS; i++)
        owner_ask(&owners[i], &stage); /* more than fit: it has to work all the same */
    stage_manager_comes(&stage);
    stage_run(&stage, 2000);
    for (int i = 0; i < ASKS; i++)
        CHECK_EQ(owners[i].ends, 0);
    CHECK(heard_count(&stage, WIRE_SUBMIT) >= ASKS);
    ask_hub_drain(stage.hub, NULL, NULL);
    stage_run(&stage, 2000);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

TEST(a_request_larger_than_a_frame_is_a_limit)
{
    struct owner owner = {0};
    struct request request = stage_request(id_new());
    char *prompt = mem_alloc(WIRE_FRAME_MAX_BYTES);
    memset(prompt, 'x', WIRE_FRAME_MAX_BYTES);
    request.prompt = slice_of(prompt, WIRE_FRAME_MAX_BYTES);
    stage_open_default(&stage);
    CHECK_ERR(ask_open(stage.hub, &request, owner_on_event, &owner, &owner.ask), ERR_LIMIT);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    mem_free(prompt);
    stage_close(&stage);
}

TEST(opening_survives_every_failed_allocation)
{
    enum err err = ERR_LIMIT;
    stage_open_default(&stage);
    for (uint64_t nth = 1; err != ERR_OK; nth++) {
        struct owner owner = {0};
        struct request request = stage_request(id_new());
        mem_test_fail_nth(nth);
        err = ask_open(stage.hub, &request, owner_on_event, &owner, &owner.ask);
        mem_test_fail_nth(0);
        CHECK(err == ERR_OK || err == ERR_LIMIT);
        CHECK_EQ(ask_hub_count(stage.hub), err == ERR_OK);
        CHECK(nth < 100);
        if (err == ERR_OK)
            ask_abandon(&owner.ask);
    }
    stage_run(&stage, 2000);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

/* --- what one turn says to one worker leaves in one frame --- */

TEST(credits_of_one_turn_leave_in_one_frame)
{
    enum { ASKS = 10 };
    struct owner owners[ASKS] = {0};
    stage_open_default(&stage);
    for (int i = 0; i < ASKS; i++) {
        owner_start(&owners[i], &stage);
        for (uint64_t seq = 2; seq <= 40; seq++)
            say_delta(&stage, &owners[i], seq, "x");
    }
    size_t frames = stage.frames_heard;
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 0);
    for (int i = 0; i < ASKS; i++)
        ask_consumed(owners[i].ask, 39, 39 * 9);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), ASKS);
    CHECK_EQ(stage.frames_heard, frames + 1);
    for (int i = 0; i < ASKS; i++)
        say_done(&stage, &owners[i], 41, DONE_EOS);
    stage_close(&stage);
}

/* One frame with a heartbeat for each. */
static void say_beats(const struct owner *a, const struct owner *b, uint64_t seq)
{
    struct text out;
    struct wire_writer writer;
    struct wire_record record = {.seq = seq, .epoch = 1, .type = WIRE_HEARTBEAT};
    text_init(&out, 4096);
    wire_begin(&writer, &out, WIRE_EVENTS);
    record.stream = a->id.low;
    wire_add(&writer, &record);
    record.stream = b->id.low;
    wire_add(&writer, &record);
    CHECK_OK(wire_finish(&writer));
    say_bytes(&stage, text_slice(&out));
    text_fini(&out);
}

static size_t other_frames;

static void on_other_control(void *ctx, const struct bus_message *message)
{
    (void)ctx;
    (void)message;
    other_frames++;
}

TEST(each_worker_gets_a_frame_of_its_own)
{
    struct owner here[2] = {0}, there[2] = {0};
    struct bus_subscription *other = NULL;
    other_frames = 0;
    stage_open_default(&stage);
    CHECK_OK(bus_subscribe(stage.worker, SLICE("control.other"), (struct slice){0},
                           on_other_control, NULL, &other));
    for (int i = 0; i < 2; i++) {
        owner_start(&here[i], &stage);
        stage.reply = SLICE("control.other");
        owner_start(&there[i], &stage);
        stage.reply = SLICE("control.w");
    }
    size_t frames = stage.frames_heard;
    for (int i = 0; i < 2; i++) {
        ask_cancel(here[i].ask);
        ask_cancel(there[i].ask);
    }
    stage_run(&stage, 0);
    CHECK_EQ(stage.frames_heard, frames + 2); /* the worker's, and one for "submit" */
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 2 + 4);
    CHECK_EQ(other_frames, 1);
    stage_run(&stage, 2000);
    CHECK_EQ(ask_hub_count(stage.hub), 0);
    stage_close(&stage);
}

/* One frame with two heartbeats is answered with one frame. */
TEST(streams_of_one_frame_are_answered_in_one_frame)
{
    struct owner one = {0}, two = {0};
    stage_open_default(&stage);
    owner_start(&one, &stage);
    owner_start(&two, &stage);
    size_t frames = stage.frames_heard;
    say_beats(&one, &two, 2); /* both miss something */
    CHECK_EQ(stage.frames_heard, frames + 1);
    CHECK_EQ(heard_count(&stage, WIRE_CREDIT), 2);
    say_done(&stage, &one, 2, DONE_EOS);
    say_done(&stage, &two, 2, DONE_EOS);
    stage_close(&stage);
}

/* --- workers that talk nonsense --- */

TEST(frames_that_are_not_event_frames_are_ignored)
{
    struct owner owner = {0};
    char frame[WIRE_FRAME_HEADER_BYTES] = "MR\x01\x01"; /* control, empty */
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_bytes(&stage, SLICE(""));
    say_bytes(&stage, SLICE("nonsense"));
    say_bytes(&stage, slice_of(frame, sizeof(frame)));
    CHECK_EQ(owner.count, 1);
    say_done(&stage, &owner, 2, DONE_EOS);
    CHECK_EQ(owner.ends, 1);
    stage_close(&stage);
}

static void check_nonsense(uint16_t type, struct slice payload)
{
    struct owner owner = {0};
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_record(&stage,
               &(struct wire_record){
                   .stream = owner.id.low, .seq = 2, .epoch = 1, .type = type, .payload = payload});
    CHECK(owner.ends == 1 && owner.fault == FAULT_INTERNAL_ERROR);
    CHECK(heard_last(&stage, WIRE_CANCEL)->on_control);
    stage_close(&stage);
}

TEST(an_event_that_cannot_be_read_ends_the_ask)
{
    check_nonsense(WIRE_EVENT + EVENT_DELTA, SLICE(""));
    check_nonsense(WIRE_EVENT + EVENT_DONE, SLICE("{}"));
    check_nonsense(WIRE_EVENT + EVENT_TYPE_COUNT, SLICE("{}"));
    check_nonsense(WIRE_EVENT + EVENT_ACCEPTED, SLICE("{\"worker\":\"w\",\"control\":\"\"}"));
}

TEST(a_control_subject_that_is_too_long_ends_the_ask)
{
    char payload[512], control[BUS_SUBJECT_MAX_BYTES + 1];
    memset(control, 'c', sizeof(control));
    struct text text;
    text_init(&text, sizeof(payload));
    text_add_f(&text, "{\"worker\":\"w\",\"control\":\"%.*s\"}", (int)sizeof(control), control);
    check_nonsense(WIRE_EVENT + EVENT_ACCEPTED, text_slice(&text));
    text_fini(&text);
}

TEST(another_epoch_is_none_of_our_business)
{
    struct owner owner = {0};
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_record(&stage, &(struct wire_record){.stream = owner.id.low,
                                             .seq = 2,
                                             .epoch = 2,
                                             .type = WIRE_EVENT + EVENT_DONE,
                                             .payload = SLICE("{\"reason\":\"eos\"}")});
    say_record(&stage, &(struct wire_record){
                           .stream = owner.id.low, .epoch = 2, .type = WIRE_UNKNOWN_STREAM});
    CHECK_EQ(owner.ends, 0);
    say_done(&stage, &owner, 2, DONE_EOS);
    stage_close(&stage);
}

TEST(a_record_type_of_tomorrow_is_skipped)
{
    struct owner owner = {0};
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_record(&stage, &(struct wire_record){.stream = owner.id.low, .epoch = 1, .type = 300});
    CHECK_EQ(owner.ends, 0);
    say_done(&stage, &owner, 2, DONE_EOS);
    stage_close(&stage);
}

TEST(who_produces_for_an_ask_that_is_gone_is_told_to_stop)
{
    struct owner owner = {0};
    stage_open_default(&stage);
    owner_start(&owner, &stage);
    say_delta(&stage, &owner, 2, "x");
    stage_run(&stage, 5000);
    CHECK(owner.ends == 1 && owner.fault == FAULT_WORKER_LOST);
    stage.heard_count = 0;
    stage.reply = (struct slice){0};
    say_delta(&stage, &owner, 3, "x");
    CHECK_EQ(stage.heard_count, 0); /* it has not said where */
    stage.reply = SLICE("control.w");
    say_delta(&stage, &owner, 3, "x");
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 1);
    CHECK_EQ(heard_last(&stage, WIRE_CANCEL)->stream, owner.id.low);
    say_unknown(&stage, &owner); /* its answer: no game of ping-pong */
    CHECK_EQ(stage.heard_count, 1);
    stage_close(&stage);
}

/* --- drain --- */

static void count_idle(void *ctx)
{
    ++*(int *)ctx;
}

TEST(drain_cancels_all_and_says_once_when_none_is_left)
{
    struct owner owners[3] = {0};
    struct ask *more = NULL;
    struct request request = stage_request(id_new());
    int idle = 0;
    stage_open_default(&stage);
    for (int i = 0; i < 3; i++)
        owner_start(&owners[i], &stage);
    ask_hub_drain(stage.hub, count_idle, &idle);
    CHECK_ERR(ask_open(stage.hub, &request, owner_on_event, &owners[0], &more), ERR_CLOSED);
    stage_run(&stage, 0);
    CHECK_EQ(heard_count(&stage, WIRE_CANCEL), 6);
    say_done(&stage, &owners[0], 2, DONE_CANCELLED);
    say_done(&stage, &owners[1], 2, DONE_EOS);
    CHECK_EQ(idle, 0);
    stage_run(&stage, 2000); /* the third is never answered */
    CHECK_EQ(idle, 1);
    CHECK(owners[2].ends == 1 && owners[2].reason == DONE_CANCELLED);
    stage_run(&stage, 1000);
    CHECK_EQ(idle, 1);
    stage_close(&stage);
}

static void free_hub(void *ctx)
{
    struct stage *freed = ctx;
    ask_hub_free(freed->hub);
    freed->hub = NULL;
}

TEST(an_empty_hub_is_idle_from_the_loop_and_may_be_freed_there)
{
    stage_open_default(&stage);
    ask_hub_drain(stage.hub, free_hub, &stage);
    CHECK(stage.hub != NULL);
    stage_run(&stage, 0);
    CHECK(stage.hub == NULL);
    stage_close(&stage);
}

static struct deferred free_soon;

static void free_hub_in_this_turn(struct owner *owner, const struct event *event)
{
    if (event_is_end(event->type))
        loop_defer(owner->stage->loop, &free_soon);
}

/* The deferred part of a turn comes before the flush, which has the last acknowledgement to send.
 */
TEST(a_hub_that_is_freed_in_the_turn_of_its_last_end_still_acknowledges_it)
{
    struct owner owner = {.on_event = free_hub_in_this_turn};
    stage_open_default(&stage);
    deferred_init(&free_soon, free_hub, &stage);
    owner_start(&owner, &stage);
    say_done(&stage, &owner, 2, DONE_EOS);
    CHECK(stage.hub == NULL);
    CHECK_EQ(heard_last(&stage, WIRE_CREDIT)->credit.acked_seq, 2);
    stage_close(&stage);
}
