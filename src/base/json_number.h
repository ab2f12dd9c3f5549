/* json_number - reads a JSON number (RFC 8259 section 6). Pure. */
#pragma once

#include "base/slice.h"

struct json_number {
    size_t bytes; /* how many were read, also of what is none */
    bool is_real; /* written with a fraction or an exponent */
    int64_t integer;
    double real; /* the nearest one */
};

/* From the front; what follows is not looked at. ERR_PROTOCOL: not a number; ERR_LIMIT: an integer
 * beyond 64 bits, or a real beyond what a double holds; ERR_FULL: no memory for a real of more
 * than 63 bytes. Fills out_number->bytes in any case. */
MUST_USE enum err json_number_read(struct slice bytes, struct json_number *out_number);
