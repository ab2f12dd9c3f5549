/* Questions: who is in flight, cancel by id. */
#include "base/json.h"
#include "manager/manager_rig.h"
#include "testing/test.h"
#include "wire/call.h"

static struct rig rig;
static struct peer *asker;

static void open_rig(void)
{
    rig_init(&rig);
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
}

static const char *call(struct peer *peer, const char *question)
{
    struct text *out = &peer->out;
    text_clear(out);
    CHECK_OK(wire_write_call(out, 7, slice_str(question)));
    peer_send_bytes(peer, "manager.calls", text_slice(out));
    const struct heard *heard = heard_last(peer, WIRE_ANSWER);
    CHECK(heard && heard->stream == 7);
    text_add_byte(&peer->submit, 0);
    return peer->submit.data;
}

static size_t listed(struct peer *peer, const char *question, bool *out_is_cut)
{
    json_t *answer = NULL;
    const char *text = call(peer, question);
    CHECK_OK(json_read(slice_str(text), 8, &answer, NULL));
    size_t count = json_array_size(json_object_get(answer, "requests"));
    *out_is_cut = json_is_true(json_object_get(answer, "is_cut"));
    json_decref(answer);
    return count;
}

static void ask_as(uint64_t stream, struct slice tenant)
{
    struct request request = rig_request(asker, stream);
    request.tenant = tenant;
    request.label = SLICE("la\"bel");
    rig_submit(asker, &request);
}

TEST(requests_are_listed_with_where_they_are)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 2, 2);
    struct peer *curious = rig_peer(&rig);
    ask_as(1, SLICE("a"));
    ask_as(2, SLICE("b"));
    ask_as(3, SLICE("b"));
    wire_add_held(worker_load(worker, 2, 2, 0, true), 1, 1, &(struct wire_held){HELD_PARKED, 9});
    wire_add_held(&worker->writer, 2, 1, &(struct wire_held){HELD_RUNNING, 4});
    worker_report(worker);
    bool is_cut;
    CHECK_EQ(listed(curious, "{\"call\":\"requests\",\"tenant\":\"\",\"limit\":10}", &is_cut), 3);
    CHECK(!is_cut);
    CHECK_EQ(listed(curious, "{\"call\":\"requests\"}", &is_cut), 3);
    CHECK_EQ(listed(curious, "{\"call\":\"requests\",\"tenant\":\"b\"}", &is_cut), 2);
    CHECK_EQ(listed(curious, "{\"call\":\"requests\",\"tenant\":\"none\"}", &is_cut), 0);
    CHECK(!is_cut);
    CHECK_EQ(listed(curious, "{\"call\":\"requests\",\"limit\":2}", &is_cut), 2);
    CHECK(is_cut);
    CHECK_EQ(listed(curious, "{\"call\":\"requests\",\"limit\":3}", &is_cut), 3);
    CHECK(!is_cut);
    const char *text = call(curious, "{\"call\":\"requests\",\"tenant\":\"a\"}");
    CHECK(strstr(text, "\"id\":\"0000000000abcdef0000000000000001\"") != NULL);
    CHECK(strstr(text, "\"state\":\"parked\",\"position\":0,\"eta_ms\":0,\"tokens\":9") != NULL);
    CHECK(strstr(text, "\"label\":\"la\\\"bel\"") != NULL);
    CHECK(strstr(text, worker->node) != NULL);
    rig_close(&rig);
}

TEST(a_request_is_cancelled_by_its_id_wherever_it_is)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 1, 1);
    struct peer *curious = rig_peer(&rig);
    ask_as(1, SLICE("a"));
    ask_as(2, SLICE("b"));
    static const struct {
        const char *question, *answer;
    } cases[] = {
        {"{\"call\":\"cancel\",\"id\":\"0000000000abcdef0000000000000002\",\"tenant\":\"a\"}",
         "{\"found\":false}"},
        {"{\"call\":\"cancel\",\"id\":\"0000000000abcdef0000000000000002\",\"tenant\":\"b\"}",
         "{\"found\":true}"},
        {"{\"call\":\"cancel\",\"id\":\"0000000000abcdef0000000000000002\",\"tenant\":\"b\"}",
         "{\"found\":false}"}, /* it has ended */
        {"{\"call\":\"cancel\",\"id\":\"0000000000abcdee0000000000000001\",\"tenant\":\"\"}",
         "{\"found\":false}"}, /* another id with that handle */
        {"{\"call\":\"cancel\",\"id\":\"0000000000abcdef0000000000000001\",\"tenant\":\"\"}",
         "{\"found\":true}"},
        {"{\"call\":\"cancel\",\"id\":\"1\"}", "{\"error\":\"id: 32 hex digits are required\"}"},
        {"{\"call\":\"cancel\",\"id\":7}", "{\"error\":\"id: 32 hex digits are required\"}"},
        {"{\"call\":\"dance\"}",
         "{\"error\":\"call: \\\"requests\\\" and \\\"cancel\\\" are known here\"}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        CHECK_STR(call(curious, cases[i].question), cases[i].answer);
    CHECK_EQ(heard_for(asker, RIG_DONE, 2), 1);
    CHECK_EQ(heard_for(worker, WIRE_CANCEL, 1), 1);
    rig_close(&rig);
}

/* Its first one may be over, then the others still are what the client's id means. */
TEST(the_id_of_a_request_cancels_all_of_its_choices)
{
    open_rig();
    struct peer *worker = rig_ready_worker(&rig, "m", 2, 2);
    struct peer *curious = rig_peer(&rig);
    for (uint64_t choice = 1; choice < 4; choice++)
        ask_as(0x20 + choice, SLICE("a"));
    ask_as(0x1f, SLICE("a"));
    ask_as(0x30, SLICE("a"));
    const char *all =
        "{\"call\":\"cancel\",\"id\":\"0000000000abcdef0000000000000020\",\"tenant\":\"a\"}";
    const char *strangers =
        "{\"call\":\"cancel\",\"id\":\"0000000000abcdef0000000000000020\",\"tenant\":\"b\"}";
    const char *one =
        "{\"call\":\"cancel\",\"id\":\"0000000000abcdef000000000000001f\",\"tenant\":\"a\"}";
    CHECK_STR(call(curious, strangers), "{\"found\":false}");
    CHECK_STR(call(curious, all), "{\"found\":true}");
    CHECK_EQ(heard_for(worker, WIRE_CANCEL, 0x21), 1);
    CHECK_EQ(heard_for(worker, WIRE_CANCEL, 0x22), 1);
    CHECK_EQ(heard_for(asker, RIG_DONE, 0x23), 1); /* it waited */
    CHECK_EQ(heard_for(asker, RIG_DONE, 0x1f) + heard_for(asker, RIG_DONE, 0x30), 0);
    CHECK_STR(call(curious, one), "{\"found\":true}");
    CHECK_EQ(heard_for(asker, RIG_DONE, 0x1f), 1);
    CHECK_EQ(heard_for(asker, RIG_DONE, 0x30), 0);
    rig_close(&rig);
}

TEST(an_answer_that_would_be_too_long_is_cut)
{
    static char name[256];
    rig_init(&rig);
    rig.options.queue_max = 2000;
    rig_open_greeted(&rig);
    asker = rig_peer(&rig);
    (void)rig_ready_worker(&rig, "m", 1, 0);
    struct peer *curious = rig_peer(&rig);
    memset(name, 1, sizeof(name)); /* six bytes each in JSON */
    for (uint64_t i = 1; i <= 2000; i++) {
        struct request request = rig_request(asker, i);
        request.tenant = request.session = request.label = slice_of(name, sizeof(name));
        rig_submit(asker, &request);
    }
    bool is_cut;
    size_t count = listed(curious, "{\"call\":\"requests\",\"limit\":10000}", &is_cut);
    CHECK(is_cut && count > 500 && count < 2000);
    rig_close(&rig);
}
