/* hex - hexadecimal digits, one at a time. */
#pragma once

static inline int hex_value(char digit) /* 0..15; -1: not a hexadecimal digit, of either case */
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static inline char hex_digit(unsigned value) /* lower case, for the lowest four bits */
{
    return "0123456789abcdef"[value & 15];
}
