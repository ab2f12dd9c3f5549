/* worker_task_test - what a task gets from a worker: its results, with credit, and one end,
 * whatever comes between. */
#include "testing/test.h"
#include "worker/worker_impl.h"
#include "worker/worker_rig.h"

enum { LONG_BYTES = 100000, FIRST_BYTE_TOKEN = 1 /* engine_dummy: a byte is a token */ };

static char long_text[LONG_BYTES];

static struct request task_request(enum task_kind kind, const struct task_input *input)
{
    struct request request = rig_request();
    request.task = (struct task){.kind = kind, .inputs = input, .input_count = 1};
    return request;
}

static const struct task_input *long_input(void)
{
    static struct task_input input;
    memset(long_text, 'x', sizeof(long_text));
    input.text = slice_of(long_text, sizeof(long_text));
    return &input;
}

static void check_is_all_of_it(const struct answer *answer)
{
    CHECK(!answer->is_error);
    CHECK_EQ(answer->reason, DONE_STOP);
    CHECK_EQ(answer->text.len, 4 * LONG_BYTES);
    for (size_t i = 0; i < answer->text.len; i++)
        CHECK_EQ(answer->text.data[i], i % 4 ? 0 : FIRST_BYTE_TOKEN + 'x');
    CHECK_EQ(answer->prompt_tokens, LONG_BYTES);
    CHECK_EQ(answer->completion_tokens, 0);
}

TEST(a_task_says_started_its_results_usage_and_the_end)
{
    static const struct task_input input = {.text = SLICE("ab")};
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = task_request(TASK_TOKENIZE, &input);
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    static const uint8_t types[] = {EVENT_ACCEPTED, EVENT_STARTED, EVENT_RESULT, EVENT_USAGE,
                                    EVENT_DONE};
    CHECK_EQ(answer->event_count, ARRAY_COUNT(types));
    CHECK(memcmp(answer->types, types, sizeof(types)) == 0);
    CHECK_SLICES(text_slice(&answer->text), SLICE("b\0\0\0c\0\0\0")); /* a byte more than they */
    CHECK_EQ(answer->prompt_tokens, 2);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).done, 1);
    CHECK_EQ(worker_stats(rig->worker).tokens, 0);
    rig_free(rig);
}

TEST(token_ids_come_back_as_text)
{
    static const int32_t tokens[] = {FIRST_BYTE_TOKEN + 'h', FIRST_BYTE_TOKEN + 'i'};
    static const struct task_input input = {.is_tokens = true, .tokens = tokens, .token_count = 2};
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = task_request(TASK_DETOKENIZE, &input);
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    CHECK_SLICE(text_slice(&answer->text), "hi");
    rig_free(rig);
}

TEST(what_cannot_be_done_is_refused_with_the_reason)
{
    static const int32_t tokens[] = {INT32_MAX};
    static const struct task_input input = {.is_tokens = true, .tokens = tokens, .token_count = 1};
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = task_request(TASK_DETOKENIZE, &input);
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    rig_check_error(answer, FAULT_INVALID_REQUEST);
    CHECK_STR(answer->param, "tokens");
    CHECK(strstr(answer->message, "2147483647") != NULL);
    rig_until_idle(rig);
    CHECK_EQ(worker_stats(rig->worker).refused, 1);
    rig_free(rig);
}

/* --- credit --- */

static bool has_results(void *ctx)
{
    const struct answer *answer = ctx;
    return answer->result_count > 0 || answer->has_ended;
}

/* The asker is not sent what it did not say it has room for, and gets all of it in the end. */
TEST(results_wait_for_credit)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = task_request(TASK_TOKENIZE, long_input());
    struct answer *answer = rig_ask(rig, 0, &request);
    answer->reads = false;
    rig_until(rig, has_results, answer);
    rig_turns(rig);
    CHECK(!answer->has_ended);
    CHECK(answer->text.len < rig->ask.credit_bytes + 2 * TASK_RESULT_PART_BYTES);
    rig_until_idle(rig); /* the place is free all the same: the work is done */
    rig_read_on(answer);
    rig_until_ended(answer);
    check_is_all_of_it(answer);
    rig_free(rig);
}

/* Whoever asks and does not read must not fill the memory: what would be too much is refused, and
 * there is room again once it was read. */
TEST(results_that_wait_for_their_askers_are_bounded_together)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->worker->pace.kept_bytes_max = 6 * LONG_BYTES; /* one of 4 */
    struct request request = task_request(TASK_TOKENIZE, long_input());
    struct answer *first = rig_ask(rig, 0, &request);
    first->reads = false;
    rig_until(rig, has_results, first);
    request.id = id_new();
    struct answer *second = rig_ask(rig, 1, &request);
    rig_until_ended(second);
    rig_check_error(second, FAULT_QUEUE_FULL);
    rig_read_on(first);
    rig_until_ended(first);
    check_is_all_of_it(first);
    rig_turns(rig);
    CHECK_EQ(outbox_all_kept_bytes(rig->worker->outbox), 0);
    request.id = id_new();
    struct answer *third = rig_ask(rig, 2, &request);
    rig_until_ended(third);
    check_is_all_of_it(third);
    rig_free(rig);
}

/* What one does not read is in the way of itself alone. */
TEST(a_tenant_has_a_share_of_what_may_wait_and_leaves_the_rest_to_others)
{
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    rig->worker->pace.kept_bytes_max = 20 * LONG_BYTES;
    rig->worker->pace.kept_tenant_bytes_max = 6 * LONG_BYTES; /* one of 4 */
    struct request request = task_request(TASK_TOKENIZE, long_input());
    request.tenant = SLICE("a");
    struct answer *first = rig_ask(rig, 0, &request);
    first->reads = false;
    rig_until(rig, has_results, first);
    request.id = id_new();
    struct answer *second = rig_ask(rig, 1, &request);
    rig_until_ended(second);
    rig_check_error(second, FAULT_QUEUE_FULL);
    for (int i = 2; i < 5; i++) { /* of another one, of nobody, and of nobody once more */
        request.id = id_new();
        request.tenant = i == 2 ? SLICE("b") : SLICE("");
        struct answer *other = rig_ask(rig, i, &request);
        other->reads = i != 3;
        rig_until(rig, has_results, other);
        if (other->reads) {
            rig_until_ended(other);
            check_is_all_of_it(other);
        }
    }
    rig_read_on(first);
    rig_until_ended(first);
    check_is_all_of_it(first);
    rig_read_on(&rig->answers[3]);
    rig_until_ended(&rig->answers[3]);
    rig_free(rig);
}

TEST(lost_frames_are_made_good)
{
    struct rig *rig = rig_new();
    rig->lose_one_in = 4;
    rig_start_ready(rig);
    for (int i = 0; i < 8; i++) {
        struct request request = task_request(TASK_TOKENIZE, long_input());
        rig_ask(rig, i, &request);
    }
    for (int i = 0; i < 8; i++) {
        rig_until_ended(&rig->answers[i]);
        check_is_all_of_it(&rig->answers[i]);
    }
    CHECK(rig->lost > 0);
    rig_free(rig);
}

/* --- embeddings --- */

TEST(an_embedding_has_its_numbers)
{
    static const struct task_input input = {.text = SLICE("\x07\x07\x07")}; /* of token 8 */
    struct rig *rig = rig_new();
    rig_start_ready(rig);
    struct request request = task_request(TASK_EMBED, &input);
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    CHECK(!answer->is_error);
    CHECK_EQ(answer->prompt_tokens, 3);
    static const float numbers[8] = {1};
    CHECK_SLICES(text_slice(&answer->text), slice_of((const char *)numbers, sizeof(numbers)));
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(documents_get_their_scores)
{
    static const struct task_input documents[] = {{.text = SLICE("xbc")}, {.text = SLICE("abcd")}};
    struct rig *rig = rig_new();
    rig->engine.ranks = true;
    rig_start_ready(rig);
    struct request request = task_request(TASK_RERANK, documents);
    request.task.input_count = 2;
    request.task.query = SLICE("abc");
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until_ended(answer);
    CHECK(!answer->is_error);
    static const float scores[] = {2, 3};
    CHECK_SLICES(text_slice(&answer->text), slice_of((const char *)scores, sizeof(scores)));
    CHECK_EQ(answer->result_count, 2);
    rig_free(rig);
}

/* One reads at a time; the others wait for it in the order in which they came, also when some of
 * them are cancelled while they wait, and text to tokens does not wait with them. */
TEST(embeddings_wait_for_each_other)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 8;
    rig->engine.prefill_us_per_token = 200;
    rig_start_ready(rig);
    static const struct task_input input = {.text = SLICE("one two three four")};
    struct request request = task_request(TASK_EMBED, &input);
    for (int i = 0; i < 6; i++) {
        request.id = id_new();
        rig_ask(rig, i, &request);
    }
    rig_turns(rig);
    for (int i = 1; i < 6; i += 2)
        if (rig->answers[i].ask)
            ask_cancel(rig->answers[i].ask);
    for (int i = 0; i < 6; i++)
        rig_until_ended(&rig->answers[i]);
    for (int i = 0; i < 6; i += 2)
        CHECK(!rig->answers[i].is_error && rig->answers[i].reason == DONE_STOP);
    rig_until_idle(rig);
    CHECK(list_is_empty(&rig->worker->tasks) && !rig->worker->computes_task);
    rig_free(rig);
}

static bool computes(void *ctx)
{
    return ((struct rig *)ctx)->worker->computes_task;
}

static bool computes_nothing(void *ctx)
{
    return !computes(ctx);
}

/* It would take 20 minutes. */
TEST(a_cancelled_embedding_is_broken_off)
{
    struct rig *rig = rig_new();
    rig->engine.context_tokens = 200000;
    rig->engine.prefill_us_per_token = 12000;
    rig_start_ready(rig);
    struct request request = task_request(TASK_EMBED, long_input());
    struct answer *answer = rig_ask(rig, 0, &request);
    rig_until(rig, computes, rig);
    ask_cancel(answer->ask);
    rig_until_ended(answer);
    CHECK_EQ(answer->reason, DONE_CANCELLED);
    rig_until(rig, computes_nothing, rig);
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(a_worker_that_stops_breaks_off_what_computes_and_what_waits)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 4;
    rig->engine.context_tokens = 200000;
    rig->engine.prefill_us_per_token = 12000;
    rig->ask.reruns_max = 0;
    rig_start_ready(rig);
    for (int i = 0; i < 4; i++) {
        struct request request = task_request(TASK_EMBED, long_input());
        rig_ask(rig, i, &request);
    }
    rig_until(rig, computes, rig);
    rig_stop(rig, 0);
    rig_until_stopped(rig);
    for (int i = 0; i < 4; i++)
        rig_until_ended(&rig->answers[i]);
    rig_free(rig);
}

/* --- the end before the end --- */

TEST(a_task_may_be_cancelled_at_any_time)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 8;
    rig_start_ready(rig);
    for (int i = 0; i < 32; i++) {
        struct request request = task_request(TASK_TOKENIZE, long_input());
        struct answer *answer = rig_ask(rig, i, &request);
        answer->reads = i % 2;
        for (int turn = 0; turn < i / 4; turn++)
            loop_turn(rig->loop, false);
        if (answer->ask)
            ask_cancel(answer->ask);
    }
    for (int i = 0; i < 32; i++) {
        const struct answer *answer = &rig->answers[i];
        rig_until_ended(&rig->answers[i]);
        CHECK(!answer->is_error);
        CHECK(answer->reason == DONE_CANCELLED || answer->text.len == 4 * LONG_BYTES);
    }
    rig_until_idle(rig);
    rig_free(rig);
}

TEST(a_worker_that_stops_hands_its_tasks_back_or_ends_them)
{
    struct rig *rig = rig_new();
    rig->engine.slots = 8;
    rig->ask.reruns_max = 0;
    rig_start_ready(rig);
    for (int i = 0; i < 8; i++) {
        struct request request = task_request(TASK_TOKENIZE, long_input());
        rig_ask(rig, i, &request);
    }
    rig_turns(rig);
    rig_stop(rig, 0);
    rig_until_stopped(rig);
    for (int i = 0; i < 8; i++)
        rig_until_ended(&rig->answers[i]);
    rig_free(rig);
}
