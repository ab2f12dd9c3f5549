/* sampler_dry - DRY ("don't repeat yourself"): what would go on with a repetition costs the more,
 * the longer the repetition is already. */
#include "worker/sampler_impl.h"

#include "base/mem.h"

/* A longer repetition counts as one of so many tokens: what it costs is beyond all measure already,
 * and to look for a breaker takes up to 200 ns a token (16 of them, all but there). */
enum { LONGEST = 1024 };

/* The last tokens of the history, the newest first. */
struct window {
    const token_id *newest;
    size_t count;
};

static token_id token_at(struct window window, size_t back)
{
    return *(window.newest - back);
}

static struct window window_of(const struct sampler_input *input)
{
    size_t count = input->history_count;
    if (input->sampling->dry_last_n >= 0 && (size_t)input->sampling->dry_last_n < count)
        count = (size_t)input->sampling->dry_last_n;
    if (count > SAMPLER_DRY_MAX)
        count = SAMPLER_DRY_MAX;
    return (struct window){count ? input->history + input->history_count - 1 : NULL, count};
}

/* --- what a repetition does not go across --- */

static struct slice piece_of(const struct sampler *sampler, const struct sampler_input *input,
                             token_id token)
{
    return is_known(sampler, token) ? input->piece(input->piece_ctx, token) : (struct slice){0};
}

/* What breakers begin with: most bytes of a text begin none, and a request has up to 16 of them. */
struct begins {
    bool byte[256];
};

static void find_begins(const struct sampling *sampling, struct begins *out_begins)
{
    *out_begins = (struct begins){0};
    for (size_t i = 0; i < sampling->dry_breaker_count; i++)
        out_begins->byte[(uint8_t)sampling->dry_breakers[i].data[0]] = true;
}

/* Is there a breaker at the begin of `text`, which goes on with what is `behind` it? */
static bool begins_with(struct slice text, struct slice behind, struct slice breaker)
{
    if (text.len >= breaker.len)
        return slice_starts_with(text, breaker);
    return slice_starts_with(breaker, text) &&
           slice_starts_with(behind, slice_after(breaker, text.len));
}

/* Of the breaker that begins in `piece` and ends last: bytes from the piece's begin to its end; 0:
 * there is none. */
static size_t end_of_breaker(const struct sampling *sampling, const struct begins *begins,
                             struct slice piece, struct slice behind)
{
    size_t end = 0;
    for (size_t at = 0; at < piece.len; at++) {
        if (!begins->byte[(uint8_t)piece.data[at]])
            continue;
        for (size_t i = 0; i < sampling->dry_breaker_count; i++) {
            struct slice breaker = sampling->dry_breakers[i];
            if (at + breaker.len > end && begins_with(slice_after(piece, at), behind, breaker))
                end = at + breaker.len;
        }
    }
    return end;
}

/* `bytes`, counted from the begin of the token `back` tokens ago: how long ago is the token that
 * has the last of them? */
static size_t back_at(const struct sampler *sampler, const struct sampler_input *input,
                      struct window window, size_t back, size_t bytes)
{
    for (; back > 0; back--) {
        struct slice piece = piece_of(sampler, input, token_at(window, back));
        if (bytes <= piece.len)
            break;
        bytes -= piece.len;
    }
    return back;
}

/* How many of the newest tokens stand behind the last breaker, or LONGEST. Found in the text, so
 * also where it takes several tokens, however they are cut. Looks no further back than to it. */
static size_t tokens_behind_breaker(const struct sampler *sampler,
                                    const struct sampler_input *input, const struct begins *begins,
                                    struct window window)
{
    char behind[2 * SAMPLING_BREAKER_MAX_BYTES]; /* the begin of the text behind the token */
    size_t bytes = 0;
    size_t longest = window.count < LONGEST ? window.count : LONGEST;
    if (!input->piece || input->sampling->dry_breaker_count == 0)
        return longest;
    for (size_t back = 0; back < longest; back++) {
        struct slice piece = piece_of(sampler, input, token_at(window, back));
        size_t end = end_of_breaker(input->sampling, begins, piece, slice_of(behind, bytes));
        if (end)
            return back_at(sampler, input, window, back, end);
        piece = slice_first(piece, SAMPLING_BREAKER_MAX_BYTES);
        if (bytes > SAMPLING_BREAKER_MAX_BYTES)
            bytes = SAMPLING_BREAKER_MAX_BYTES;
        memmove(behind + piece.len, behind, bytes);
        if (piece.len)
            memcpy(behind, piece.data, piece.len);
        bytes += piece.len;
    }
    return longest;
}

static bool has_breaker(const struct sampler *sampler, const struct sampler_input *input,
                        const struct begins *begins, token_id token)
{
    if (!input->piece)
        return false;
    struct slice piece = piece_of(sampler, input, token), nothing = {0};
    return end_of_breaker(input->sampling, begins, piece, nothing) > 0;
}

/* --- repetitions --- */

/* repeats[k]: how many tokens up to the one k ago are the same as the newest ones. In linear time
 * (the Z-algorithm): [left, right) is the equal stretch found so far that reaches furthest back;
 * what lies inside is known from its twin at the window's newest end. */
static void find_repeats(struct window window, uint32_t *repeats)
{
    size_t left = 0, right = 0;
    for (size_t k = 1; k < window.count; k++) {
        size_t same = 0;
        if (k < right)
            same = repeats[k - left] < right - k ? repeats[k - left] : right - k;
        while (k + same < window.count && token_at(window, same) == token_at(window, k + same))
            same++;
        repeats[k] = (uint32_t)same;
        if (k + same > right) {
            left = k;
            right = k + same;
        }
    }
}

static void make_room(struct sampler *sampler, size_t count)
{
    if (count <= sampler->repeats_max)
        return;
    size_t more = count + count / 2;
    sampler->repeats = mem_grow(sampler->repeats, more * sizeof(*sampler->repeats));
    sampler->repeats_max = more;
}

/* counts[token]: one more than the longest repetition that it would go on with. */
static void count_longest(struct sampler *sampler, struct window window, size_t limit,
                          size_t allowed)
{
    for (size_t k = 1; k < window.count; k++) {
        size_t same = sampler->repeats[k] < limit ? sampler->repeats[k] : limit;
        token_id next = token_at(window, k - 1);
        if (same >= allowed && is_known(sampler, next) && same >= sampler->counts[next])
            sampler->counts[next] = (uint32_t)same + 1;
    }
}

/* Stays a number, so that what costs too much can still be picked where nothing else is left. */
static float charged(const struct sampling *sampling, float value, uint32_t excess)
{
    double cost = (double)sampling->dry_multiplier * pow((double)sampling->dry_base, excess);
    double left = (double)value - cost;
    if (left > -(double)FLT_MAX)
        return (float)left;
    return value < -FLT_MAX ? value : -FLT_MAX;
}

void sampler_apply_dry(struct sampler *sampler, const struct sampler_input *input)
{
    const struct sampling *sampling = input->sampling;
    size_t allowed = (size_t)sampling->dry_allowed;
    struct window window = window_of(input);
    if (!(sampling->dry_multiplier > 0) || window.count <= allowed)
        return;
    struct begins begins;
    find_begins(sampling, &begins);
    size_t limit = tokens_behind_breaker(sampler, input, &begins, window);
    if (limit < allowed)
        return;
    sampler_settle(sampler);
    make_room(sampler, window.count);
    find_repeats(window, sampler->repeats);
    count_longest(sampler, window, limit, allowed);
    for (size_t k = 1; k < window.count; k++) {
        token_id next = token_at(window, k - 1);
        if (!is_known(sampler, next) || sampler->counts[next] == 0)
            continue;
        uint32_t excess = sampler->counts[next] - 1 - (uint32_t)allowed;
        sampler->counts[next] = 0;
        if (!has_breaker(sampler, input, &begins, next))
            sampler_set_value(sampler, next, charged(sampling, sampler->values[next], excess));
    }
}
