/* sha256 - the digest under which a secret is kept, and the comparison that does not say where two
 * of them differ. The digest itself is OpenSSL's: the only file that sees it is sha256.c. Any
 * thread. */
#pragma once

#include "base/slice.h"

enum { SHA256_BYTES = 32, SHA256_HEX_BYTES = 64 /* lower-case hex, no NUL counted */ };

/* FIPS 180-4. Aborts if the library cannot (it has no memory, or was configured without SHA-2). */
void sha256_of(struct slice bytes, uint8_t out_digest[SHA256_BYTES]);
/* Takes the same time wherever they differ, and if they do not. */
bool sha256_eq(const uint8_t a[SHA256_BYTES], const uint8_t b[SHA256_BYTES]);

/* Writes 64 hex digits and a NUL; returns the digits as a slice of out_text. */
struct slice sha256_format(const uint8_t digest[SHA256_BYTES], char out_text[SHA256_HEX_BYTES + 1]);
/* ERR_PROTOCOL unless exactly 64 hex digits, of either case. */
MUST_USE enum err sha256_parse(struct slice text, uint8_t out_digest[SHA256_BYTES]);
