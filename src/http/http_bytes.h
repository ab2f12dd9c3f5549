/* http_bytes - which bytes may stand where in an HTTP message, and what %XX means. Internal to
 * http/ and client/. */
#pragma once

#include "base/slice.h"

enum {
    HTTP_BYTE_TOKEN = 1,  /* RFC 9110 5.6.2 tchar: methods, field names */
    HTTP_BYTE_TARGET = 2, /* visible ASCII but '#': a request target has no fragment (9112 3.2) */
    HTTP_BYTE_VALUE = 4,  /* RFC 9110 5.5: visible ASCII, SP, HTAB, obs-text; no other control */
    HTTP_BYTE_HOST = 8,   /* letters, digits, '-', '.', '_': the names a host can really have */
};
extern const uint8_t http_bytes[256];

static inline int http_byte_is(char byte, uint8_t kind)
{
    return http_bytes[(uint8_t)byte] & kind;
}

/* Takes one byte, plain or %XX, off the front of *rest, which is not empty. -1: a bad escape. */
int http_decode_byte(struct slice *rest);
