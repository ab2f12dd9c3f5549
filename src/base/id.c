/* id - random names. */
#include "base/id.h"

#include "base/hex.h"

#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

/* Random bytes in stock, for one thread: a request takes three times a few, and drawing them is
 * about a microsecond, asking for the pid a tenth of that. What was handed out is wiped. */
enum { STOCK_BYTES = 256 };
static _Thread_local struct {
    unsigned char bytes[STOCK_BYTES];
    size_t left;
    pid_t pid; /* a child of fork() must not draw what its parent will */
} stock;

static void fill_stock(void)
{
    ssize_t got;
    do /* up to 256 bytes come whole or not at all (getrandom(2)); a signal only before any */
        got = getrandom(stock.bytes, sizeof(stock.bytes), 0);
    while (got < 0 && errno == EINTR);
    ASSERT_MSG(got == STOCK_BYTES, "getrandom: %s", strerror(errno));
    stock.left = STOCK_BYTES;
    stock.pid = getpid();
}

static void fill_random(void *bytes, size_t len)
{
    ASSERT(len <= STOCK_BYTES);
    if (stock.left < len || stock.pid != getpid())
        fill_stock();
    stock.left -= len;
    memcpy(bytes, stock.bytes + stock.left, len);
    memset(stock.bytes + stock.left, 0, len);
}

struct id id_new(void)
{
    struct id id;
    fill_random(&id, sizeof(id));
    if (id_is_zero(id))
        id.low = 1; /* zero means "none"; once in 2^128 this id is less random */
    return id;
}

static void format_half(uint64_t half, char out_digits[16])
{
    for (int i = 15; i >= 0; i--, half >>= 4)
        out_digits[i] = hex_digit((unsigned)half);
}

struct slice id_format(struct id id, char out_text[ID_TEXT_BYTES + 1])
{
    format_half(id.high, out_text);
    format_half(id.low, out_text + 16);
    out_text[ID_TEXT_BYTES] = '\0';
    return slice_of(out_text, ID_TEXT_BYTES);
}

static bool parse_half(const char digits[16], uint64_t *out_half)
{
    uint64_t half = 0;
    for (int i = 0; i < 16; i++) {
        int digit = hex_value(digits[i]);
        if (digit < 0)
            return false;
        half = half << 4 | (uint64_t)digit;
    }
    *out_half = half;
    return true;
}

enum err id_parse(struct slice text, struct id *out_id)
{
    struct id id;
    if (text.len != ID_TEXT_BYTES || !parse_half(text.data, &id.high) ||
        !parse_half(text.data + 16, &id.low) || id_is_zero(id))
        return ERR_PROTOCOL;
    *out_id = id;
    return ERR_OK;
}

uint64_t random_u64(void)
{
    uint64_t value;
    fill_random(&value, sizeof(value));
    return value;
}
