/* text_out - the pieces of tokens in, text that is safe to send out. Pure.
 *
 *     bytes -> whole characters, invalid bytes as U+FFFD -> cut at a stop string -> text
 *
 * 1. What comes out, put together, is what all bytes repaired at once (utf8_add_repaired) and cut
 * at the stop would be, however they were split into pieces. Each time it is whole characters.
 * 2. Held back is a character that is not whole yet (at most 3 bytes), and text that may still
 *    become a stop string (less than the longest one). The end lets go of both.
 * 3. The stop string that is complete first wins; of two complete at the same byte the longer. It
 *    does not come out, nor does anything after it. (Not the one that begins first: that one might
 *    never become complete, and the model would be asked to go on after a stop.)
 * 4. After a stop, or the end, nothing comes out any more. */
#pragma once

#include "base/text.h"

struct text_out;

enum { TEXT_OUT_NO_STOP = -1 };

/* Borrows the stops (valid UTF-8; empty ones never match) for its whole life. Never NULL. */
struct text_out *text_out_new(const struct slice *stops, size_t stop_count);
void text_out_free(struct text_out *text_out);

/* Appends what is now safe to `out`. The index of the stop that is complete, or TEXT_OUT_NO_STOP.
 * When `out` overflows, text is lost: the caller looks at text_status(). */
int text_out_add(struct text_out *text_out, struct slice piece, struct text *out);
/* Appends what an end would let go of now, without being one; that it may complete a stop is not
 * looked at. */
void text_out_held(const struct text_out *text_out, struct text *out);
/* No more pieces: appends what was held back. As text_out_add(): an unfinished character becomes
 * U+FFFD, which might complete a stop. */
int text_out_end(struct text_out *text_out, struct text *out);
