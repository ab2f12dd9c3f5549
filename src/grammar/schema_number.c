/* schema_number - numbers between bounds, as the digits that they may have. */
#include "grammar/schema_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { DIGITS_MAX = 20, DIGITS_DEFAULT = 16 };
static const int64_t MOST_DEFAULT = INT64_C(9999999999999999); /* DIGITS_DEFAULT nines */
static const double EXACT_MAX = 0x1p53; /* up to there a double is every integer */

struct range {
    int64_t low, high;
    bool has_low, has_high;
};

/* --- digits --- */

static void add_class(struct text *out, char low, char high)
{
    if (low == high)
        text_add_f(out, "\"%c\"", low);
    else
        text_add_f(out, "[%c-%c]", low, high);
}

static bool is_all(const char *digits, char digit)
{
    return strspn(digits, (const char[]){digit, '\0'}) == strlen(digits);
}

/* All numbers from `low` to `high`, which have as many digits. So deep as they are long. */
static void add_between(struct text *out, const char *low, const char *high)
{
    size_t len = strlen(low);
    const char *separator = "";
    if (len == 0) {
        text_add_str(out, "\"\"");
        return;
    }
    if (low[0] == high[0]) {
        text_add_f(out, "\"%c\" (", low[0]);
        add_between(out, low + 1, high + 1);
        text_add_str(out, ")");
        return;
    }
    char nines[DIGITS_MAX + 1] = "99999999999999999999",
                            zeros[DIGITS_MAX + 1] = "00000000000000000000";
    nines[len - 1] = zeros[len - 1] = '\0';
    char first = low[0], last = high[0];
    if (!is_all(low + 1, '0')) { /* the lowest first digit has not all of what may follow */
        text_add_f(out, "\"%c\" (", first++);
        add_between(out, low + 1, nines);
        text_add_str(out, ")");
        separator = " | ";
    }
    if (!is_all(high + 1, '9')) {
        text_add_f(out, "%s\"%c\" (", separator, last--);
        add_between(out, zeros, high + 1);
        text_add_str(out, ")");
        separator = " | ";
    }
    if (first <= last) {
        text_add_str(out, separator);
        add_class(out, first, last);
        text_add_f(out, " [0-9]{%zu}", len - 1);
    }
}

static void add_unsigned(struct text *out, uint64_t low, uint64_t high)
{
    char low_digits[DIGITS_MAX + 1], high_digits[DIGITS_MAX + 1], most[DIGITS_MAX + 1];
    snprintf(low_digits, sizeof(low_digits), "%" PRIu64, low);
    snprintf(high_digits, sizeof(high_digits), "%" PRIu64, high);
    text_add_str(out, "(");
    while (strlen(low_digits) < strlen(high_digits)) { /* a length after the other */
        size_t len = strlen(low_digits);
        memset(most, '9', len);
        most[len] = '\0';
        add_between(out, low_digits, most);
        text_add_str(out, " | ");
        memset(low_digits, '0', len + 1);
        low_digits[0] = '1';
        low_digits[len + 1] = '\0';
    }
    add_between(out, low_digits, high_digits);
    text_add_str(out, ")");
}

static uint64_t size_of(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

/* --- bounds --- */

/* The bound as an integer that bounds the same integers; `up`: the next one above, if it is none.
 */
static enum err read_bound(struct conversion *conversion, const json_t *schema, const char *keyword,
                           bool up, bool *out_has, bool *out_is_integer, int64_t *out_bound)
{
    const json_t *value = json_object_get(schema, keyword);
    *out_has = value != NULL;
    *out_is_integer = true;
    if (!value)
        return ERR_OK;
    if (!json_is_number(value))
        return schema_fail(conversion, ERR_PROTOCOL, "%s: expected a number", keyword);
    if (json_is_integer(value)) {
        *out_bound = json_integer_value(value);
        return ERR_OK;
    }
    double real = json_real_value(value), whole = up ? ceil(real) : floor(real);
    if (fabs(real) > EXACT_MAX)
        return schema_fail(conversion, ERR_REFUSED, "%s: larger than 2^53, and no integer",
                           keyword);
    *out_is_integer = whole == real;
    *out_bound = (int64_t)whole;
    return ERR_OK;
}

/* Exclusive bounds become the next integer. */
static enum err read_side(struct conversion *conversion, const json_t *schema, bool is_low,
                          struct range *range)
{
    bool has, has_exclusive, is_integer;
    int64_t bound = 0, exclusive = 0;
    int64_t *side = is_low ? &range->low : &range->high;
    TRY(read_bound(conversion, schema, is_low ? "minimum" : "maximum", is_low, &has, &is_integer,
                   &bound));
    TRY(read_bound(conversion, schema, is_low ? "exclusiveMinimum" : "exclusiveMaximum", !is_low,
                   &has_exclusive, &is_integer, &exclusive));
    if (has_exclusive && __builtin_add_overflow(exclusive, is_low ? 1 : -1, &exclusive))
        return schema_fail(conversion, ERR_REFUSED, "nothing satisfies its bounds");
    if (!has && !has_exclusive)
        return ERR_OK;
    if (!has || (has_exclusive && (is_low ? exclusive > bound : exclusive < bound)))
        bound = exclusive;
    *(is_low ? &range->has_low : &range->has_high) = true;
    *side = bound;
    return ERR_OK;
}

/* What is open on one side ends at 16 digits there, or at the other bound. */
static enum err close_range(struct conversion *conversion, struct range *range)
{
    if (!range->has_low)
        range->low = range->high < -MOST_DEFAULT ? range->high : -MOST_DEFAULT;
    if (!range->has_high)
        range->high = range->low > MOST_DEFAULT ? range->low : MOST_DEFAULT;
    if (range->low > range->high)
        return schema_fail(conversion, ERR_REFUSED, "nothing satisfies its bounds");
    return ERR_OK;
}

enum err schema_add_integer(struct conversion *conversion, const json_t *schema)
{
    struct range range = {0};
    struct text *out = conversion->out;
    TRY(read_side(conversion, schema, true, &range));
    TRY(read_side(conversion, schema, false, &range));
    if (!range.has_low && !range.has_high) {
        text_add_str(out, "integer");
        return ERR_OK;
    }
    TRY(close_range(conversion, &range));
    if (range.low < 0) {
        text_add_str(out, "\"-\" ");
        add_unsigned(out, range.high < 0 ? size_of(range.high) : 1, size_of(range.low));
    }
    if (range.high >= 0) {
        text_add_str(out, range.low < 0 ? " | " : "");
        add_unsigned(out, range.low > 0 ? size_of(range.low) : 0, size_of(range.high));
    }
    return ERR_OK;
}

/* Numbers of that sign and a size from `low` to `high`: with any fraction below, without at `high`.
 */
static void add_sizes(struct text *out, const char *sign, uint64_t low, uint64_t high)
{
    text_add_str(out, sign);
    text_add_str(out, "(");
    if (low < high) {
        add_unsigned(out, low, high - 1);
        text_add_str(out, " (\".\" [0-9]{1,15})? | ");
    }
    text_add_f(out, "\"%" PRIu64 "\" (\".\" \"0\"{1,15})?)", high);
}

static enum err check_plain_bounds(struct conversion *conversion, const json_t *schema)
{
    static const char *const inclusive[] = {"minimum", "maximum"};
    static const char *const exclusive[] = {"exclusiveMinimum", "exclusiveMaximum"};
    for (size_t i = 0; i < ARRAY_COUNT(inclusive); i++) {
        bool has, is_integer;
        int64_t bound = 0;
        if (json_object_get(schema, exclusive[i]))
            return schema_fail(conversion, ERR_REFUSED,
                               "the keyword %s is supported for integers only", exclusive[i]);
        TRY(read_bound(conversion, schema, inclusive[i], true, &has, &is_integer, &bound));
        /* A fraction close below a bound is read as the bound, and that is within; but where
         * doubles are wider apart than one, it may be read as more. */
        if (has && (!is_integer || size_of(bound) >= (uint64_t)EXACT_MAX))
            return schema_fail(conversion, ERR_REFUSED,
                               "%s: for numbers that are no integers, an integer within 2^53 is "
                               "supported only",
                               inclusive[i]);
    }
    return ERR_OK;
}

enum err schema_add_number(struct conversion *conversion, const json_t *schema)
{
    struct range range = {0};
    struct text *out = conversion->out;
    TRY(check_plain_bounds(conversion, schema));
    TRY(read_side(conversion, schema, true, &range));
    TRY(read_side(conversion, schema, false, &range));
    if (!range.has_low && !range.has_high) {
        text_add_str(out, "number");
        return ERR_OK;
    }
    TRY(close_range(conversion, &range));
    if (range.low < 0)
        add_sizes(out, "\"-\" ", range.high < 0 ? size_of(range.high) : 0, size_of(range.low));
    if (range.high >= 0) {
        text_add_str(out, range.low < 0 ? " | " : "");
        add_sizes(out, "", range.low > 0 ? size_of(range.low) : 0, size_of(range.high));
    }
    return ERR_OK;
}
