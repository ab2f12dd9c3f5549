/* sha256_test - the answers that the standard gives, and what is not a digest. */
#include "base/sha256.h"
#include "base/mem.h"
#include "testing/test.h"

static const char abc_hex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static const char *hex_of(struct slice bytes)
{
    static char text[SHA256_HEX_BYTES + 1];
    uint8_t digest[SHA256_BYTES];
    sha256_of(bytes, digest);
    (void)sha256_format(digest, text); /* the same bytes as a slice */
    return text;
}

/* NIST's examples for FIPS 180-4: none, one, two blocks, and very many. */
TEST(sha256_gives_the_answers_of_the_standard)
{
    enum { MILLION = 1000000 };
    char *many = mem_alloc(MILLION);
    memset(many, 'a', MILLION);
    CHECK_STR(hex_of(SLICE("")),
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_STR(hex_of((struct slice){NULL, 0}),
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK_STR(hex_of(SLICE("abc")), abc_hex);
    CHECK_STR(hex_of(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK_STR(hex_of(SLICE("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                           "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu")),
              "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    CHECK_STR(hex_of(slice_of(many, MILLION)),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    mem_free(many);
}

TEST(two_digests_are_equal_only_if_every_bit_is)
{
    uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
    sha256_of(SLICE("abc"), a);
    sha256_of(SLICE("abc"), b);
    CHECK(sha256_eq(a, b));
    for (int bit = 0; bit < 8 * SHA256_BYTES; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!sha256_eq(a, b));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(sha256_eq(a, b));
}

TEST(a_digest_reads_back_from_its_text_in_either_case)
{
    uint8_t digest[SHA256_BYTES], read[SHA256_BYTES];
    sha256_of(SLICE("abc"), digest);
    CHECK_OK(sha256_parse(SLICE(abc_hex), read));
    CHECK(sha256_eq(read, digest));
    CHECK_OK(sha256_parse(SLICE("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
                          read));
    CHECK(sha256_eq(read, digest));
}

TEST(what_is_not_64_hex_digits_is_no_digest)
{
    uint8_t before[SHA256_BYTES], digest[SHA256_BYTES];
    char text[SHA256_HEX_BYTES + 2];
    sha256_of(SLICE("abc"), before);
    memcpy(digest, before, sizeof(digest));
    CHECK_ERR(sha256_parse(SLICE(""), digest), ERR_PROTOCOL);
    CHECK_ERR(sha256_parse(slice_of(abc_hex, 63), digest), ERR_PROTOCOL);
    memset(text, '0', sizeof(text));
    CHECK_ERR(sha256_parse(slice_of(text, 65), digest), ERR_PROTOCOL);
    for (size_t i = 0; i < SHA256_HEX_BYTES; i++) {
        static const char strangers[] = {'g', 'G', '/', ':', '@', '`', ' ', '\0', (char)0x80};
        for (size_t s = 0; s < sizeof(strangers); s++) {
            text[i] = strangers[s];
            CHECK_ERR(sha256_parse(slice_of(text, SHA256_HEX_BYTES), digest), ERR_PROTOCOL);
        }
        text[i] = '0';
    }
    CHECK(sha256_eq(digest, before)); /* written on success only */
}
