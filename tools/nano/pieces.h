/* pieces - cuts text as llama.cpp's pre-tokenizer "qwen2" does: no token crosses a cut. The rule,
 * as a regular expression whose alternatives are tried in this order:
 *
 *   '(s|t|re|ve|m|ll|d) in any case   [^\r\n\p{L}\p{N}]?\p{L}+   \p{N}
 *   ' '?[^\s\p{L}\p{N}]+[\r\n]*   \s*[\r\n]+   \s+(?!\S)   \s+
 *
 * Pure. */
#pragma once

#include "base/slice.h"

/* Takes the next piece (never empty) off the front of *rest, which is valid UTF-8, not empty, and
 * of the blocks that unicode_class knows (ASSERT). */
struct slice piece_next(struct slice *rest);
