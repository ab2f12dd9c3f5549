/* base64_test - the vectors of RFC 4648 section 10, and every byte. */
#include "gateway/base64.h"
#include "testing/test.h"

static void check(struct slice bytes, const char *letters)
{
    struct text out;
    text_init(&out, 4096);
    base64_add(&out, bytes);
    CHECK_SLICES(text_slice(&out), slice_str(letters));
    text_fini(&out);
}

TEST(the_vectors_of_the_rfc)
{
    check(SLICE(""), "");
    check(SLICE("f"), "Zg==");
    check(SLICE("fo"), "Zm8=");
    check(SLICE("foo"), "Zm9v");
    check(SLICE("foob"), "Zm9vYg==");
    check(SLICE("fooba"), "Zm9vYmE=");
    check(SLICE("foobar"), "Zm9vYmFy");
    check(SLICE("\0\0\0"), "AAAA");
    check(SLICE("\xff\xff\xfe\x3e\x3f"), "///+Pj8=");
}

TEST(parts_add_up)
{
    struct text out;
    text_init(&out, 4096);
    base64_add(&out, SLICE("foo"));
    base64_add(&out, SLICE("bar"));
    base64_add(&out, SLICE("b"));
    CHECK_SLICES(text_slice(&out), SLICE("Zm9vYmFyYg=="));
    text_fini(&out);
}

TEST(no_room_is_sticky)
{
    struct text out;
    text_init(&out, 7);
    base64_add(&out, SLICE("foob"));
    CHECK_ERR(text_status(&out), ERR_LIMIT);
    text_fini(&out);
}
