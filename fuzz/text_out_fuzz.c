/* text_out_fuzz - whatever the pieces, what comes out is the whole text, repaired and cut at the
 * first stop. Input: stop strings, a line each, an empty line, the text. */
#include "base/utf8.h"
#include "worker/text_out.h"

#include "choice.h"

enum { STOPS_MAX = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t take_stops(struct slice *text, struct slice *out_stops)
{
    size_t count = 0;
    struct slice line;
    while (slice_cut(*text, '\n', &line, text) && line.len > 0) {
        if (count < STOPS_MAX && line.len <= 64 && utf8_is_valid(line))
            out_stops[count++] = line;
    }
    return count;
}

/* By definition. */
static int cut_at_stop(struct text *text, const struct slice *stops, size_t stop_count)
{
    for (size_t end = 1; end <= text->len; end++) {
        int longest = TEXT_OUT_NO_STOP;
        for (size_t i = 0; i < stop_count; i++) {
            if (slice_ends_with(slice_of(text->data, end), stops[i]) &&
                (longest < 0 || stops[i].len > stops[longest].len))
                longest = (int)i;
        }
        if (longest >= 0) {
            text_shrink(text, end - stops[longest].len);
            return longest;
        }
    }
    return TEXT_OUT_NO_STOP;
}

static int feed(struct text_out *text_out, struct slice bytes, uint64_t choice, struct text *out)
{
    while (bytes.len > 0) {
        struct slice piece = slice_first(bytes, choice_next(&choice, 8));
        size_t before = out->len;
        int stop = text_out_add(text_out, piece, out);
        ASSERT(out->len >= before && utf8_is_valid(slice_after(text_slice(out), before)));
        if (stop >= 0)
            return stop;
        bytes = slice_after(bytes, piece.len);
    }
    return text_out_end(text_out, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size < 4096 ? size : 4096), stops[STOPS_MAX];
    size_t stop_count = take_stops(&bytes, stops);
    struct text expected, actual;
    text_init(&expected, 3 * 4096);
    text_init(&actual, 3 * 4096 + 64); /* what is held back is appended before it is taken off */
    utf8_add_repaired(&expected, bytes);
    int expected_stop = cut_at_stop(&expected, stops, stop_count);
    struct text_out *text_out = text_out_new(stops, stop_count);
    int stop = feed(text_out, bytes, choice_of(data, size), &actual);
    ASSERT(text_status(&actual) == ERR_OK);
    ASSERT_MSG(stop == expected_stop, "stop %d, expected %d", stop, expected_stop);
    ASSERT(slice_eq(text_slice(&actual), text_slice(&expected)));
    text_out_free(text_out);
    text_fini(&expected);
    text_fini(&actual);
    return 0;
}
