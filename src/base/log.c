/* log - lines of logfmt, each made on the stack and written at once. */
#include "base/log.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048, QUOTE_SLOTS = 8, QUOTE_SLOT_BYTES = 1024 };

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

static atomic_int max_level_now = LOG_INFO;
static char role_field[32];  /* " role=worker", or empty */
static atomic_ulong dropped; /* lines since one was written */

void log_set_level(enum log_level max_level)
{
    atomic_store_explicit(&max_level_now, (int)max_level, memory_order_relaxed);
}

void log_set_role(const char *role)
{
    snprintf(role_field, sizeof(role_field), " role=%s", role);
}

enum err log_level_parse(struct slice name, enum log_level *out_level)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (!slice_eq_str(name, level_names[i]))
            continue;
        *out_level = (enum log_level)i;
        return ERR_OK;
    }
    return ERR_PROTOCOL;
}

static int format_head(char *out_line, size_t bytes, enum log_level level, const char *event)
{
    int64_t now_ms = clock_wall_ms();
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm utc;
    ASSERT(gmtime_r(&now_s, &utc));
    return snprintf(out_line, bytes, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ level=%s%s event=%s",
                    utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                    utc.tm_sec, (int)(now_ms % 1000), level_names[level], role_field, event);
}

/* One event is one line, whatever a caller forgot to quote. */
static void blank_controls(char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7F)
            line[i] = ' ';
}

/* A role's stderr is a pipe that it does not wait for (life/life.c): full, as when the host that
 * reads it is stopped, it takes no line or a whole one (both are below PIPE_BUF). False: full. */
static bool write_line(const char *line, size_t len)
{
    ssize_t written;
    do
        written = write(STDERR_FILENO, line, len);
    while (written < 0 && errno == EINTR);
    /* Any other error: nobody is left to be told if the log itself cannot be written. */
    return written >= 0 || errno != EAGAIN;
}

/* In the place where they are missing. */
static bool tell_dropped(void)
{
    char line[256];
    unsigned long count = atomic_exchange_explicit(&dropped, 0, memory_order_relaxed);
    if (count == 0)
        return true;
    size_t len = (size_t)format_head(line, sizeof(line), LOG_WARN, "log_lines_dropped");
    len += (size_t)snprintf(line + len, sizeof(line) - len, " count=%lu\n", count);
    if (write_line(line, len))
        return true;
    atomic_fetch_add_explicit(&dropped, count, memory_order_relaxed);
    return false;
}

void log_event(enum log_level level, const char *event, const char *fields, ...)
{
    if ((int)level > atomic_load_explicit(&max_level_now, memory_order_relaxed))
        return;
    char line[LINE_MAX_BYTES]; /* the last byte is first vsnprintf's NUL, then our newline */
    int saved_errno = errno;
    size_t len = (size_t)format_head(line, sizeof(line), level, event);
    ASSERT_MSG(len < LINE_MAX_BYTES / 2, "event %s", event);
    if (fields && fields[0]) {
        line[len++] = ' ';
        va_list args;
        va_start(args, fields);
        int added = vsnprintf(line + len, sizeof(line) - len, fields, args);
        va_end(args);
        len += added > 0 ? (size_t)added : 0;
        if (len >= sizeof(line))
            len = utf8_settled(slice_of(line, sizeof(line) - 1));
    }
    blank_controls(line, len);
    line[len++] = '\n';
    if (!tell_dropped() || !write_line(line, len))
        atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
    errno = saved_errno;
}

static bool is_bare(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c <= 0x20 || c >= 0x7F || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return value.len > 0;
}

/* The C1 controls (U+0080..U+009F): a terminal may obey them like escape sequences. */
static bool is_c1_control(struct slice character)
{
    return character.len == 2 && (uint8_t)character.data[0] == 0xC2 &&
           (uint8_t)character.data[1] < 0xA0;
}

/* What the part of `value` at the front becomes; at most 4 bytes per byte. */
static size_t quote_part(struct slice part, bool is_valid, char out_text[static 16])
{
    char byte = part.data[0];
    if (is_valid && part.len > 1 && !is_c1_control(part)) {
        memcpy(out_text, part.data, part.len);
        return part.len;
    }
    if (byte == '"' || byte == '\\' || byte == '\n' || byte == '\r' || byte == '\t') {
        out_text[0] = '\\';
        out_text[1] = byte == '\n' ? 'n' : byte == '\r' ? 'r' : byte == '\t' ? 't' : byte;
        return 2;
    }
    if (is_valid && byte >= 0x20 && byte < 0x7F) {
        out_text[0] = byte;
        return 1;
    }
    for (size_t i = 0; i < part.len; i++) {
        uint8_t bits = (uint8_t)part.data[i];
        memcpy(out_text + 4 * i, "\\x", 2);
        out_text[4 * i + 2] = "0123456789abcdef"[bits >> 4];
        out_text[4 * i + 3] = "0123456789abcdef"[bits & 15];
    }
    return 4 * part.len;
}

const char *log_quote(struct slice value, size_t max)
{
    static _Thread_local char slots[QUOTE_SLOTS][QUOTE_SLOT_BYTES];
    static _Thread_local unsigned next_slot;
    char *slot = slots[next_slot++ % QUOTE_SLOTS];
    const size_t end = QUOTE_SLOT_BYTES - 2; /* the closing quote and the NUL */

    if (value.len > max) { /* a character cut by `max` goes with its front part */
        value = slice_first(value, max);
        value = slice_first(value, utf8_settled(value));
    }
    bool bare = is_bare(value) && value.len < end;
    size_t len = 0;
    if (!bare)
        slot[len++] = '"';
    while (value.len) {
        struct utf8_part part = utf8_first(value);
        char escaped[16];
        size_t added = quote_part(slice_first(value, part.len), part.valid, escaped);
        if (len + added > end)
            break;
        memcpy(slot + len, escaped, added);
        len += added;
        value = slice_after(value, part.len);
    }
    if (!bare)
        slot[len++] = '"';
    slot[len] = '\0';
    return slot;
}
