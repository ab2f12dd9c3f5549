/* answer_fuzz - whether an answer is right, and what it had, does not depend on where reads end. */
#include "answer.h"
#include "base/mem.h"
#include "choice.h"

enum { LOG_MAX_BYTES = 1 << 24 };

static void add_data(void *ctx, struct slice data)
{
    struct text *log = ctx;
    text_add(log, data);
    text_add_byte(log, '\n');
}

static void read_in_pieces(struct slice wire, enum answer_kind kind, size_t first, size_t step,
                           struct text *log)
{
    struct answer answer;
    size_t piece = first;
    answer_init(&answer, kind, add_data, log);
    while (wire.len > 0) {
        struct slice part = slice_first(wire, piece);
        char *exact = mem_alloc(part.len); /* alone in its memory: the sanitizer sees overreading */
        if (part.len)
            memcpy(exact, part.data, part.len);
        answer_feed(&answer, slice_of(exact, part.len));
        mem_free(exact);
        wire = slice_after(wire, piece);
        piece = step ? step : wire.len;
    }
    answer_end(&answer);
    ASSERT(answer.state == ANSWER_WHOLE || answer.state == ANSWER_WRONG);
    ASSERT((answer.state == ANSWER_WRONG) == (answer.problem[0] != 0));
    if (answer.state == ANSWER_WRONG)
        text_clear(
            log); /* two things may be wrong, and which is seen first may depend on the cut */
    text_add_f(log, "state %d, keep-alive %d", answer.state, answer.keep_alive);
    if (answer.state == ANSWER_WHOLE)
        text_add_f(log, ", status %d, %u events", answer.status, answer.events);
    answer_fini(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t choice = choice_of(data, size);
    struct slice wire = slice_of(data, size);
    enum answer_kind kind = (enum answer_kind)choice_next(&choice, 3);
    struct text whole, cut;
    text_init(&whole, LOG_MAX_BYTES);
    text_init(&cut, LOG_MAX_BYTES);
    read_in_pieces(wire, kind, wire.len, 0, &whole);
    read_in_pieces(wire, kind, choice_next(&choice, wire.len + 1), choice_next(&choice, 7), &cut);
    ASSERT_MSG(slice_eq(text_slice(&whole), text_slice(&cut)),
               "whole: " SLICE_FMT "\ncut: " SLICE_FMT, SLICE_ARG(text_slice(&whole)),
               SLICE_ARG(text_slice(&cut)));
    text_fini(&whole);
    text_fini(&cut);
    return 0;
}
