/* sha256 - digests of secrets, by libcrypto. */
#include "base/sha256.h"

#include "base/hex.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

void sha256_of(struct slice bytes, uint8_t out_digest[SHA256_BYTES])
{
    unsigned len = 0;
    int status = EVP_Digest(bytes.len > 0 ? bytes.data : "", bytes.len, out_digest, &len,
                            EVP_sha256(), NULL);
    ASSERT_MSG(status == 1 && len == SHA256_BYTES, "libcrypto has no SHA-256, or no memory");
}

bool sha256_eq(const uint8_t a[SHA256_BYTES], const uint8_t b[SHA256_BYTES])
{
    return CRYPTO_memcmp(a, b, SHA256_BYTES) == 0;
}

struct slice sha256_format(const uint8_t digest[SHA256_BYTES], char out_text[SHA256_HEX_BYTES + 1])
{
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        out_text[2 * i] = hex_digit(digest[i] >> 4);
        out_text[2 * i + 1] = hex_digit(digest[i]);
    }
    out_text[SHA256_HEX_BYTES] = '\0';
    return slice_of(out_text, SHA256_HEX_BYTES);
}

enum err sha256_parse(struct slice text, uint8_t out_digest[SHA256_BYTES])
{
    uint8_t digest[SHA256_BYTES];
    if (text.len != SHA256_HEX_BYTES)
        return ERR_PROTOCOL;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = hex_value(text.data[2 * i]), low = hex_value(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_PROTOCOL;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(out_digest, digest, sizeof(digest));
    return ERR_OK;
}
