/* wire_request_fuzz - a request that is accepted survives being written and read again; one that is
 * not is refused with a sentence; running out of room anywhere is a refusal. Whoever reads the head
 * alone sees the same head. */
#include "base/mem.h"
#include "choice.h"
#include "wire/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 1 << 24 };

static struct text write(const struct request *request)
{
    struct text out;
    text_init(&out, ROOM);
    request_encode(request, &out);
    ASSERT(text_status(&out) == ERR_OK);
    return out;
}

static void check_survives_writing(const struct request *request)
{
    struct arena *arena = arena_new(ROOM);
    struct request again;
    struct err_note note;
    struct text first = write(request);
    ASSERT_MSG(request_decode(text_slice(&first), arena, &again, &note) == ERR_OK, "%s", note.text);
    struct text second = write(&again);
    ASSERT(slice_eq(text_slice(&first), text_slice(&second)));
    text_fini(&first);
    text_fini(&second);
    arena_free(arena);
}

static void check_sampling(const struct sampling *sampling)
{
    ASSERT(sampling->temperature >= 0 && sampling->top_p > 0 && sampling->typical_p > 0);
    ASSERT(sampling->mirostat <= 2 && sampling->min_keep >= 0 && sampling->dry_base >= 1);
    ASSERT(sampling->dry_allowed >= 0 && sampling->dry_last_n >= -1);
    ASSERT(sampling->dry_breaker_count <= SAMPLING_BREAKERS_MAX);
    for (size_t i = 0; i < sampling->dry_breaker_count; i++)
        ASSERT(sampling->dry_breakers[i].len >= 1 &&
               sampling->dry_breakers[i].len <= SAMPLING_BREAKER_MAX_BYTES);
    ASSERT(sampling->order_count <= SAMPLING_STAGES);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < sampling->order_count; i++) {
        ASSERT(sampling->order[i] < SAMPLING_STAGES && !(seen >> sampling->order[i] & 1));
        seen |= UINT32_C(1) << sampling->order[i];
    }
}

static void check_form(const struct form *form)
{
    ASSERT(form->text.len <= FORM_TEXT_MAX_BYTES && form->param.len <= FORM_PARAM_MAX_BYTES);
    ASSERT((form->text.len > 0) == (form->kind == FORM_GRAMMAR || form->kind == FORM_JSON_SCHEMA));
    ASSERT(form->trigger_count <= (form->kind == FORM_FREE ? 0 : FORM_TRIGGERS_MAX));
    for (size_t i = 0; i < form->trigger_count; i++) {
        const struct form_trigger *trigger = &form->triggers[i];
        ASSERT(trigger->word.len <= FORM_TRIGGER_MAX_BYTES && trigger->token >= FORM_NO_TOKEN);
        ASSERT(trigger->word.len > 0 || trigger->token != FORM_NO_TOKEN);
    }
}

static void check_continuation(const struct continuation *continuation)
{
    ASSERT(continuation->is_wanted || continuation->token_count == 0);
    ASSERT(continuation->token_count <= CONTINUATION_TOKENS_MAX);
    for (size_t i = 0; i < continuation->token_count; i++)
        ASSERT(continuation->tokens[i] >= 0);
}

/* What is submitted again is what encoding it so would have been. */
static void check_continued(const struct request *request)
{
    struct request first = *request, continued = *request;
    struct text out;
    if (request->task.kind != TASK_NONE || request->continue_from.is_wanted)
        return;
    first.continue_from = (struct continuation){0};
    continued.continue_from = (struct continuation){
        .is_wanted = true, .text_bytes = 1, .numerics = request->continue_from.numerics};
    continued.credit_events = 1;
    continued.credit_bytes = UINT32_MAX;
    struct text plain = write(&first), expected = write(&continued);
    text_init(&out, ROOM);
    request_encode_continued(text_slice(&plain), &continued.continue_from, 1, UINT32_MAX, &out);
    ASSERT(slice_eq(text_slice(&out), text_slice(&expected)));
    text_fini(&out);
    text_fini(&expected);
    text_fini(&plain);
}

static void check_task(const struct task *task)
{
    size_t tokens = 0;
    ASSERT(task->kind < TASK_COUNT && task->pooling < TASK_POOLING_COUNT);
    ASSERT(task->input_count <= TASK_INPUTS_MAX &&
           (task->input_count > 0) == (task->kind != TASK_NONE));
    for (size_t i = 0; i < task->input_count; i++) {
        const struct task_input *input = &task->inputs[i];
        ASSERT(!input->is_tokens || (input->text.len == 0 && task->kind != TASK_TOKENIZE));
        tokens += input->token_count;
        for (size_t n = 0; n < input->token_count; n++)
            ASSERT(input->tokens[n] >= 0);
    }
    ASSERT(tokens <= TASK_TOKENS_MAX);
}

static void check_limits(const struct request *request)
{
    ASSERT(!id_is_zero(request->id) && request->epoch > 0 && request->model.len > 0);
    ASSERT(request->trace.len <= REQUEST_TRACE_MAX_BYTES);
    ASSERT(request->stop_count <= REQUEST_STOPS_MAX);
    for (size_t i = 0; i < request->stop_count; i++)
        ASSERT(request->stops[i].len >= 1 && request->stops[i].len <= REQUEST_STOP_MAX_BYTES);
    ASSERT(request->sampling.bias_count <= REQUEST_BIAS_MAX);
    check_sampling(&request->sampling);
    check_form(&request->form);
    check_continuation(&request->continue_from);
    check_task(&request->task);
    ASSERT(request->message_count <= REQUEST_MESSAGES_MAX);
    for (size_t i = 0; i < request->token_count; i++)
        ASSERT(request->tokens[i] >= 0);
}

static void check_without_room(struct slice payload, uint64_t choice)
{
    struct arena *arena = arena_new(choice_next(&choice, 1024));
    struct request request;
    mem_test_fail_nth(1 + choice_next(&choice, 64));
    enum err err = request_decode(payload, arena, &request, NULL);
    mem_test_fail_nth(0);
    ASSERT(err == ERR_OK || err == ERR_LIMIT);
    arena_free(arena);
}

/* What a scheduler takes from the head is what the worker will take from it. */
static void check_head(struct slice payload, const struct request *whole)
{
    struct arena *arena = arena_new(ROOM);
    struct request head;
    struct err_note note = {""};
    enum err err = request_decode_head(payload, arena, &head, &note);
    ASSERT(err == ERR_OK || ((err == ERR_PROTOCOL || err == ERR_LIMIT) && note.text[0]));
    ASSERT(err == ERR_OK || !whole);
    if (whole) {
        ASSERT(id_eq(head.id, whole->id) && head.epoch == whole->epoch);
        ASSERT(slice_eq(head.model, whole->model) && slice_eq(head.inbox, whole->inbox));
        ASSERT(slice_eq(head.trace, whole->trace) && head.arrival_ms == whole->arrival_ms);
        ASSERT(head.prompt.len == 0 && head.stop_count == 0);
        ASSERT(head.task.kind == whole->task.kind && head.task.input_count == 0);
    }
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice payload = slice_of(data, size);
    struct arena *arena = arena_new(ROOM);
    struct request request;
    struct err_note note = {""};
    enum err err = request_decode(payload, arena, &request, &note);
    check_head(payload, err == ERR_OK ? &request : NULL);
    if (err == ERR_OK) {
        check_limits(&request);
        check_survives_writing(&request);
        check_continued(&request);
        check_without_room(payload, choice_of(data, size));
    } else {
        ASSERT((err == ERR_PROTOCOL || err == ERR_LIMIT) && note.text[0]);
    }
    arena_free(arena);
    return 0;
}
