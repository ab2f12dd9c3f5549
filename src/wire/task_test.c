/* task_test - a task comes back as it was; what a task cannot be is refused by name. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/fields.h"
#include "wire/request.h"

enum { ROOM = 1 << 20 };

static const int32_t ids[] = {0, 7, INT32_MAX};
static const struct task_input several[] = {
    {.text = SLICE("h\xc3\xa9\n\"")},
    {.is_tokens = true, .tokens = ids, .token_count = 3},
    {.is_tokens = true},
    {.text = SLICE("")},
};

static struct text encoded(const struct task *task)
{
    struct text out;
    text_init(&out, ROOM);
    struct json_out json = json_out_to(&out);
    task_encode(task, &json);
    CHECK_OK(text_status(&out));
    return out;
}

static enum err decode(struct slice text, enum task_kind kind, struct arena *arena,
                       struct task *out_task, struct err_note *note)
{
    json_t *root = NULL;
    CHECK_OK(fields_parse(text, &root, note));
    struct fields fields = {.object = root, .arena = arena, .note = note};
    task_decode(&fields, kind, out_task);
    json_decref(root);
    return fields.err;
}

static void check_input(const struct task_input *read, const struct task_input *sent)
{
    CHECK_EQ(read->is_tokens, sent->is_tokens);
    CHECK_SLICES(read->text, sent->text);
    CHECK_EQ(read->token_count, sent->token_count);
    for (size_t i = 0; i < sent->token_count; i++)
        CHECK_EQ(read->tokens[i], sent->tokens[i]);
}

static void check_back(const struct task *task)
{
    struct arena *arena = arena_new(ROOM);
    struct task read;
    struct err_note note = {""};
    struct text text = encoded(task);
    CHECK_OK(decode(text_slice(&text), task->kind, arena, &read, &note));
    CHECK_EQ(read.kind, task->kind);
    CHECK_EQ(read.input_count, task->input_count);
    for (size_t i = 0; i < task->input_count; i++)
        check_input(&read.inputs[i], &task->inputs[i]);
    CHECK_SLICES(read.query, task->query);
    CHECK_EQ(read.pooling, task->pooling);
    CHECK_EQ(read.add_special, task->add_special);
    CHECK_EQ(read.parse_special, task->parse_special);
    CHECK_EQ(read.with_pieces, task->with_pieces);
    text_fini(&text);
    arena_free(arena);
}

TEST(every_task_comes_back)
{
    check_back(&(struct task){
        .kind = TASK_TOKENIZE, .inputs = several, .input_count = 1, .parse_special = true});
    check_back(&(struct task){.kind = TASK_TOKENIZE,
                              .inputs = several + 3,
                              .input_count = 1,
                              .add_special = true,
                              .with_pieces = true});
    check_back(&(struct task){.kind = TASK_DETOKENIZE, .inputs = several + 1, .input_count = 1});
    check_back(&(struct task){.kind = TASK_DETOKENIZE, .inputs = several + 2, .input_count = 1});
    check_back(&(struct task){.kind = TASK_EMBED, .inputs = several, .input_count = 4});
    for (int pooling = TASK_MEAN; pooling < TASK_POOLING_COUNT; pooling++)
        check_back(&(struct task){.kind = TASK_EMBED,
                                  .inputs = several,
                                  .input_count = 2,
                                  .pooling = (enum task_pooling)pooling});
    check_back(&(struct task){
        .kind = TASK_RERANK, .inputs = several, .input_count = 1, .query = SLICE("q\xc3\xa9")});
}

static void check_refused(enum task_kind kind, const char *text, const char *word)
{
    struct arena *arena = arena_new(ROOM);
    struct task task;
    struct err_note note = {""};
    CHECK_ERR(decode(slice_str(text), kind, arena, &task, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, word) != NULL);
    arena_free(arena);
}

#define FLAGS ",\"add_special\":true,\"parse_special\":true,\"with_pieces\":true}"

TEST(what_a_task_cannot_be_is_refused_by_name)
{
    check_refused(TASK_TOKENIZE, "{\"inputs\":[]" FLAGS, "inputs");
    check_refused(TASK_TOKENIZE, "{\"inputs\":[\"a\",\"b\"]" FLAGS, "inputs");
    check_refused(TASK_TOKENIZE, "{\"inputs\":[[1]]" FLAGS, "inputs");
    check_refused(TASK_TOKENIZE, "{\"inputs\":\"a\"" FLAGS, "inputs");
    check_refused(TASK_TOKENIZE, "{\"x\":1" FLAGS, "inputs");
    check_refused(TASK_TOKENIZE, "{\"inputs\":[\"a\"],\"add_special\":1}", "add_special");
    check_refused(TASK_DETOKENIZE, "{\"inputs\":[\"a\"]}", "inputs");
    check_refused(TASK_DETOKENIZE, "{\"inputs\":[[-1]]}", "inputs");
    check_refused(TASK_DETOKENIZE, "{\"inputs\":[[1.5]]}", "inputs");
    check_refused(TASK_EMBED, "{\"inputs\":[{}]}", "inputs");
    check_refused(TASK_EMBED, "{\"inputs\":[\"a\"],\"pooling\":\"rank\"}", "pooling");
    check_refused(TASK_EMBED, "{\"inputs\":[\"a\"],\"pooling\":\"\"}", "pooling");
    check_refused(TASK_RERANK, "{\"inputs\":[\"a\"]}", "query");
    check_refused(TASK_RERANK, "{\"inputs\":[[1]],\"query\":\"a\"}", "inputs");
}

static struct text list_of(size_t count, const char *item)
{
    struct text text;
    text_init(&text, 32 << 20);
    text_add_str(&text, "{\"inputs\":[");
    for (size_t i = 0; i < count; i++)
        text_add_f(&text, "%s%s", i ? "," : "", item);
    text_add_str(&text, "]}");
    return text;
}

TEST(inputs_have_a_bound)
{
    struct arena *arena = arena_new(ROOM);
    struct task task;
    struct text most = list_of(TASK_INPUTS_MAX, "[1]"), more = list_of(TASK_INPUTS_MAX + 1, "[1]");
    CHECK_OK(decode(text_slice(&most), TASK_EMBED, arena, &task, NULL));
    CHECK_EQ(task.input_count, TASK_INPUTS_MAX);
    CHECK(decode(text_slice(&more), TASK_EMBED, arena, &task, NULL) != ERR_OK);
    text_fini(&most);
    text_fini(&more);
    arena_free(arena);
}

/* --- in a request --- */

static struct request request_with(const struct task *task)
{
    return (struct request){.id = {1, 2},
                            .epoch = 1,
                            .inbox = SLICE("inbox.1"),
                            .model = SLICE("m"),
                            .credit_events = 1,
                            .credit_bytes = 1,
                            .task = *task};
}

TEST(a_request_says_in_its_head_that_it_is_a_task)
{
    struct arena *arena = arena_new(ROOM);
    struct request read,
        sent =
            request_with(&(struct task){.kind = TASK_EMBED, .inputs = several, .input_count = 2});
    struct text payload;
    text_init(&payload, ROOM);
    request_encode(&sent, &payload);
    CHECK_OK(request_decode_head(text_slice(&payload), arena, &read, NULL));
    CHECK_EQ(read.task.kind, TASK_EMBED);
    CHECK_EQ(read.task.input_count, 0);
    CHECK_OK(request_decode_body(text_slice(&payload), arena, &read, NULL));
    CHECK_EQ(read.task.input_count, 2);
    check_input(&read.task.inputs[1], &several[1]);
    text_fini(&payload);
    arena_free(arena);
}

TEST(a_request_without_a_task_generates)
{
    struct arena *arena = arena_new(ROOM);
    struct request read, sent = request_with(&(struct task){.kind = TASK_NONE});
    struct text payload;
    sent.sampling = sampling_default();
    sent.prompt = SLICE("hi");
    text_init(&payload, ROOM);
    request_encode(&sent, &payload);
    CHECK(slice_find(text_slice(&payload), SLICE("task")) == SLICE_NPOS);
    CHECK_OK(request_decode(text_slice(&payload), arena, &read, NULL));
    CHECK_EQ(read.task.kind, TASK_NONE);
    CHECK_SLICE(read.prompt, "hi");
    text_fini(&payload);
    arena_free(arena);
}

TEST(names_are_names)
{
    CHECK_STR(task_name(TASK_NONE), "");
    CHECK_STR(task_name(TASK_RERANK), "rerank");
    CHECK_STR(task_name(TASK_COUNT), "?");
    CHECK_STR(task_pooling_name(TASK_POOLING_DEFAULT), "");
    CHECK_STR(task_pooling_name(TASK_LAST), "last");
    CHECK_STR(task_pooling_name(TASK_POOLING_COUNT), "?");
}
