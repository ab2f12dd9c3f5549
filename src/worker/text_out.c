/* text_out - every stop string is followed by the Knuth-Morris-Pratt automaton. The text that is
 * held back is a prefix of the stop that has got furthest, so it need not be kept anywhere. */
#include "worker/text_out.h"

#include "base/mem.h"
#include "base/utf8.h"

struct matcher {
    struct slice stop;
    uint32_t matched;   /* the text so far ends with so many first bytes of the stop */
    uint32_t *fallback; /* after n matched bytes, at n - 1: the next shorter such prefix */
};

struct text_out {
    char unfinished[4]; /* beginning of a character */
    size_t unfinished_len;
    bool ended;
    size_t stop_count;
    uint32_t *fallbacks; /* of all stops */
    struct matcher matchers[];
};

/* matched -> the longest prefix that the text ends with after one more byte. */
static uint32_t advance(const struct matcher *matcher, uint32_t matched, char byte)
{
    while (matched > 0 && matcher->stop.data[matched] != byte)
        matched = matcher->fallback[matched - 1];
    return matched + (matcher->stop.data[matched] == byte);
}

static void prepare(struct matcher *matcher)
{
    for (uint32_t i = 1; i < matcher->stop.len; i++)
        matcher->fallback[i] = advance(matcher, matcher->fallback[i - 1], matcher->stop.data[i]);
}

struct text_out *text_out_new(const struct slice *stops, size_t stop_count)
{
    struct text_out *text_out =
        mem_alloc(sizeof(*text_out) + stop_count * sizeof(text_out->matchers[0]));
    size_t bytes = 0, begin = 0;
    for (size_t i = 0; i < stop_count; i++)
        bytes += stops[i].len;
    text_out->stop_count = stop_count;
    text_out->fallbacks = mem_array(bytes, sizeof(*text_out->fallbacks));
    for (size_t i = 0; i < stop_count; i++) {
        text_out->matchers[i].stop = stops[i];
        text_out->matchers[i].fallback = text_out->fallbacks + begin;
        prepare(&text_out->matchers[i]);
        begin += stops[i].len;
    }
    return text_out;
}

void text_out_free(struct text_out *text_out)
{
    if (!text_out)
        return;
    mem_free(text_out->fallbacks);
    mem_free(text_out);
}

/* One more byte of text; the longest stop that it completes. */
static int follow(struct text_out *text_out, char byte)
{
    int complete = TEXT_OUT_NO_STOP;
    size_t complete_len = 0;
    for (size_t i = 0; i < text_out->stop_count; i++) {
        struct matcher *matcher = &text_out->matchers[i];
        if (matcher->stop.len == 0)
            continue;
        matcher->matched = advance(matcher, matcher->matched, byte);
        if (matcher->matched == matcher->stop.len && matcher->matched > complete_len) {
            complete = (int)i;
            complete_len = matcher->matched;
        }
    }
    return complete;
}

static struct slice held_back(const struct text_out *text_out)
{
    struct slice held = {0};
    for (size_t i = 0; i < text_out->stop_count; i++) {
        const struct matcher *matcher = &text_out->matchers[i];
        if (matcher->matched > held.len)
            held = slice_first(matcher->stop, matcher->matched);
    }
    return held;
}

/* Appends what was held back and the bytes, then takes off what has to be held back from now on, or
 * the stop. `settled` does not end within a character. */
static int pass_on(struct text_out *text_out, struct slice settled, struct text *out)
{
    text_add(out, held_back(text_out));
    size_t followed = out->len;
    utf8_add_repaired(out, settled);
    if (text_out->stop_count == 0 || out->overflowed)
        return TEXT_OUT_NO_STOP;
    for (size_t i = followed; i < out->len; i++) {
        int stop = follow(text_out, out->data[i]);
        if (stop == TEXT_OUT_NO_STOP)
            continue;
        text_shrink(out, i + 1 - text_out->matchers[stop].stop.len);
        text_out->ended = true;
        return stop;
    }
    text_shrink(out, out->len - held_back(text_out).len);
    return TEXT_OUT_NO_STOP;
}

/* Byte by byte until the unfinished character is whole, or proves to be none. Returns how much of
 * the piece that took. */
static size_t finish_character(struct text_out *text_out, struct slice piece, int *stop,
                               struct text *out)
{
    size_t taken = 0;
    while (text_out->unfinished_len > 0 && taken < piece.len && *stop == TEXT_OUT_NO_STOP) {
        text_out->unfinished[text_out->unfinished_len++] = piece.data[taken++];
        struct slice bytes = slice_of(text_out->unfinished, text_out->unfinished_len);
        size_t settled = utf8_settled(bytes);
        if (settled == 0)
            continue;
        *stop = pass_on(text_out, slice_first(bytes, settled), out);
        text_out->unfinished_len -= settled;
        memmove(text_out->unfinished, text_out->unfinished + settled, text_out->unfinished_len);
    }
    return taken;
}

int text_out_add(struct text_out *text_out, struct slice piece, struct text *out)
{
    int stop = TEXT_OUT_NO_STOP;
    if (text_out->ended)
        return stop;
    piece = slice_after(piece, finish_character(text_out, piece, &stop, out));
    if (stop != TEXT_OUT_NO_STOP || piece.len == 0)
        return stop;
    size_t settled = utf8_settled(piece);
    struct slice rest = slice_after(piece, settled);
    memcpy(text_out->unfinished, rest.data, rest.len);
    text_out->unfinished_len = rest.len;
    return pass_on(text_out, slice_first(piece, settled), out);
}

void text_out_held(const struct text_out *text_out, struct text *out)
{
    if (text_out->ended)
        return;
    text_add(out, held_back(text_out));
    utf8_add_repaired(out, slice_of(text_out->unfinished, text_out->unfinished_len));
}

int text_out_end(struct text_out *text_out, struct text *out)
{
    if (text_out->ended)
        return TEXT_OUT_NO_STOP;
    struct slice unfinished = slice_of(text_out->unfinished, text_out->unfinished_len);
    int stop = pass_on(text_out, unfinished, out);
    if (stop == TEXT_OUT_NO_STOP)
        text_add(out, held_back(text_out));
    text_out->ended = true;
    return stop;
}
