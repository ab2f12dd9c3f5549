/* http_bytes - the table, and percent-decoding (RFC 3986 2.1). */
#include "http/http_bytes.h"

#include "base/hex.h"

#define VISIBLE (HTTP_BYTE_TARGET | HTTP_BYTE_VALUE)
#define TOKEN   (HTTP_BYTE_TOKEN | VISIBLE)
#define NAME    (HTTP_BYTE_HOST | TOKEN)

const uint8_t http_bytes[256] = {
    ['\t'] = HTTP_BYTE_VALUE,
    [' '] = HTTP_BYTE_VALUE,
    ['!'] = TOKEN,
    ['"'] = VISIBLE,
    ['#'] = HTTP_BYTE_TOKEN | HTTP_BYTE_VALUE,
    ['$' ... '\''] = TOKEN,
    ['(' ... ')'] = VISIBLE,
    ['*' ... '+'] = TOKEN,
    [','] = VISIBLE,
    ['-' ... '.'] = NAME,
    ['/'] = VISIBLE,
    ['0' ... '9'] = NAME,
    [':' ... '@'] = VISIBLE,
    ['A' ... 'Z'] = NAME,
    ['[' ... ']'] = VISIBLE,
    ['^'] = TOKEN,
    ['_'] = NAME,
    ['`'] = TOKEN,
    ['a' ... 'z'] = NAME,
    ['{'] = VISIBLE,
    ['|'] = TOKEN,
    ['}'] = VISIBLE,
    ['~'] = TOKEN,
    [0x80 ... 0xff] = HTTP_BYTE_VALUE,
};

int http_decode_byte(struct slice *rest)
{
    if (rest->data[0] != '%') {
        int byte = (unsigned char)rest->data[0];
        *rest = slice_after(*rest, 1);
        return byte;
    }
    int high = rest->len > 2 ? hex_value(rest->data[1]) : -1;
    int low = rest->len > 2 ? hex_value(rest->data[2]) : -1;
    *rest = slice_after(*rest, 3);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}
