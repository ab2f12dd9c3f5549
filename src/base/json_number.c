/* json_number - reads a JSON number. See json_number.h. */
#include "base/json_number.h"

#include "base/mem.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

enum {
    EXACT_POWER_MAX = 22, /* the largest power of ten that a double holds exactly */
    SHORT_BYTES = 64,     /* longer ones need memory */
    EXPONENT_ENOUGH = 100000,
};
#define EXACT_INTEGER_MAX (UINT64_C(1) << 53)

/* The digits as they go by: mantissa times ten to the power of `exponent`. */
struct digits {
    struct slice bytes;
    size_t at;
    uint64_t mantissa;
    bool is_beyond; /* the mantissa did not fit */
    int exponent;
};

static int next_digit(const struct digits *digits) /* -1: none */
{
    if (digits->at == digits->bytes.len)
        return -1;
    unsigned digit = (unsigned)digits->bytes.data[digits->at] - '0';
    return digit <= 9 ? (int)digit : -1;
}

static bool take_byte(struct digits *digits, char wanted)
{
    if (digits->at == digits->bytes.len || digits->bytes.data[digits->at] != wanted)
        return false;
    digits->at++;
    return true;
}

static size_t take_mantissa(struct digits *digits)
{
    size_t begin = digits->at;
    for (int digit; (digit = next_digit(digits)) >= 0; digits->at++) {
        digits->is_beyond |= __builtin_mul_overflow(digits->mantissa, 10, &digits->mantissa);
        digits->is_beyond |=
            __builtin_add_overflow(digits->mantissa, (uint64_t)digit, &digits->mantissa);
    }
    return digits->at - begin;
}

static size_t take_exponent(struct digits *digits)
{
    int exponent = 0;
    bool is_negative = take_byte(digits, '-');
    if (!is_negative)
        (void)take_byte(digits, '+'); /* may be there or not */
    size_t begin = digits->at;
    for (int digit; (digit = next_digit(digits)) >= 0; digits->at++)
        exponent = exponent < EXPONENT_ENOUGH ? 10 * exponent + digit : exponent;
    digits->exponent += is_negative ? -exponent : exponent;
    return digits->at - begin;
}

MUST_USE static enum err set_integer(struct json_number *number, const struct digits *digits,
                                     bool is_negative)
{
    uint64_t max = (uint64_t)INT64_MAX + is_negative;
    if (digits->is_beyond || digits->mantissa > max)
        return ERR_LIMIT;
    number->integer = (int64_t)(is_negative ? -digits->mantissa : digits->mantissa);
    return ERR_OK;
}

/* strtod() needs a NUL, and would follow the locale. */
MUST_USE static enum err convert(struct slice bytes, double *out_value)
{
    char short_copy[SHORT_BYTES];
    char *copy = bytes.len < SHORT_BYTES ? short_copy : mem_peer_alloc(bytes.len + 1);
    if (!copy)
        return ERR_FULL;
    memcpy(copy, bytes.data, bytes.len);
    copy[bytes.len] = '\0';
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a constant of libc's */
    *out_value = strtod_l(copy, NULL, plain);
    if (copy != short_copy)
        mem_free(copy);
    return isfinite(*out_value) ? ERR_OK : ERR_LIMIT;
}

MUST_USE static enum err set_real(struct json_number *number, const struct digits *digits,
                                  bool is_negative)
{
    static const double powers[EXACT_POWER_MAX + 1] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int exponent = digits->exponent;
    number->is_real = true;
    /* Two exact values and one rounding: the nearest double (Clinger 1990). */
    if (!digits->is_beyond && digits->mantissa <= EXACT_INTEGER_MAX &&
        exponent >= -EXACT_POWER_MAX && exponent <= EXACT_POWER_MAX) {
        double value = (double)digits->mantissa;
        value = exponent < 0 ? value / powers[-exponent] : value * powers[exponent];
        number->real = is_negative ? -value : value;
        return ERR_OK;
    }
    return convert(slice_first(digits->bytes, digits->at), &number->real);
}

enum err json_number_read(struct slice bytes, struct json_number *out_number)
{
    struct digits digits = {.bytes = bytes};
    bool is_negative = take_byte(&digits, '-'), is_real = false, is_number = true;
    *out_number = (struct json_number){0};
    if (!take_byte(&digits, '0')) /* which no digit may follow */
        is_number = take_mantissa(&digits) > 0;
    if (is_number && take_byte(&digits, '.')) {
        size_t fraction = take_mantissa(&digits);
        is_real = true;
        is_number = fraction > 0;
        digits.exponent = fraction < EXPONENT_ENOUGH ? -(int)fraction : -EXPONENT_ENOUGH;
        digits.is_beyond |= fraction >= EXPONENT_ENOUGH;
    }
    if (is_number && (take_byte(&digits, 'e') || take_byte(&digits, 'E'))) {
        is_real = true;
        is_number = take_exponent(&digits) > 0;
    }
    out_number->bytes = digits.at;
    if (!is_number)
        return ERR_PROTOCOL;
    return is_real ? set_real(out_number, &digits, is_negative)
                   : set_integer(out_number, &digits, is_negative);
}
