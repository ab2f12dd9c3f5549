/* utf8_repair_fuzz - repaired bytes are valid; valid bytes are left alone; cutting a stream where
 * utf8_settled() says changes nothing. */
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct text repair(struct slice bytes)
{
    struct text text;
    text_init(&text, 3 * bytes.len); /* the worst case: every byte becomes U+FFFD */
    utf8_add_repaired(&text, bytes);
    ASSERT(text_status(&text) == ERR_OK);
    return text;
}

static void check_cut(struct slice bytes, size_t cut, struct slice expected)
{
    size_t settled = utf8_settled(slice_first(bytes, cut));
    ASSERT(settled <= cut && cut - settled <= 3);
    struct text parts;
    text_init(&parts, 3 * bytes.len);
    utf8_add_repaired(&parts, slice_first(bytes, settled));
    utf8_add_repaired(&parts, slice_after(bytes, settled));
    ASSERT_MSG(slice_eq(text_slice(&parts), expected), "cut at %zu", cut);
    text_fini(&parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct text once = repair(bytes);
    ASSERT(utf8_is_valid(text_slice(&once)));
    ASSERT(utf8_is_valid(bytes) == slice_eq(bytes, text_slice(&once)));
    ASSERT(utf8_count(text_slice(&once)) <= size);
    struct text twice = repair(text_slice(&once));
    ASSERT(slice_eq(text_slice(&once), text_slice(&twice)));
    for (size_t cut = 0; cut <= size && cut <= 64; cut++)
        check_cut(bytes, cut, text_slice(&once));
    text_fini(&once);
    text_fini(&twice);
    return 0;
}
