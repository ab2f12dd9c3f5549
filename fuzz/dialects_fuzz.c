/* dialects_fuzz - whatever body or query a client sends, every dialect either makes requests that
 * the wire takes or answers with a complete error. The first byte picks the dialect, the second GET
 * or POST. */
#include "base/mem.h"
#include "gateway/dialect/dialects.h"
#include "gateway/reply_choices.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const all[] = {
    &dialect_chat,       &dialect_completions,     &dialect_infer,    &dialect_inference,
    &dialect_generate,   &dialect_generate_stream, &dialect_tokenize, &dialect_detokenize,
    &dialect_embeddings, &dialect_rerank};

static void check_request(const struct request *request)
{
    struct text encoded;
    text_init(&encoded, 16 << 20);
    request_encode(request, &encoded);
    ASSERT(text_status(&encoded) == ERR_OK);
    struct arena *arena = arena_new(64 << 20);
    struct request back;
    struct err_note note;
    enum err err = request_decode(text_slice(&encoded), arena, &back, &note);
    ASSERT_MSG(err == ERR_OK, "%s", note.text);
    arena_free(arena);
    text_fini(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct slice rest = slice_of(data + 2, size - 2);
    struct call call = {.dialect = all[data[0] % ARRAY_COUNT(all)], .choices = 1, .per_prompt = 1};
    struct dialect_input input = {0};
    struct api_error error = {0};
    json_t *body = NULL;
    call.arena = arena_new(64 << 20);
    call.request.id = (struct id){1, 16};
    call.request.epoch = 1;
    call.request.sampling = sampling_default();
    call.request.inbox = SLICE("inbox");
    call.request.credit_events = 64; /* the ask fills these in */
    call.request.credit_bytes = 65536;
    bool is_get = (data[1] & 1) && call.dialect == &dialect_infer;
    if (is_get)
        input.query = rest;
    else if (json_read(rest, JSON_DEPTH_MAX, &body, NULL) != ERR_OK)
        goto done;
    input.body = body;
    if (call.dialect->parse(&call, &input, &error) != ERR_OK) {
        ASSERT(error.status >= 400 && error.code && error.message[0]);
    } else {
        if (slice_is_empty(call.request.model)) /* the gateway fills it in */
            call.request.model = SLICE("model");
        ASSERT(call.choices >= 1 && call.choices <= CALL_CHOICES_MAX);
        ASSERT(call.choices % call.per_prompt == 0);
        choices_draw_seed(&call);
        for (uint32_t i = 0; i < call.choices; i++) {
            struct request request = choices_request(&call, i);
            check_request(&request);
        }
    }
done:
    json_decref(body);
    arena_free(call.arena);
    return 0;
}
