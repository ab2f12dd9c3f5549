/* http1_write - reply heads, chunk frames, dates. */
#include "http/http1_write.h"

#include "base/hex.h"
#include "http/http_bytes.h"

#include <stdio.h>
#include <time.h>

/* --- the head --- */

static void add_field(struct text *out, struct slice name, struct slice value)
{
    text_add(out, name);
    text_add(out, SLICE(": "));
    text_add(out, value);
    text_add(out, SLICE("\r\n"));
}

static void add_framing(struct text *out, const struct http1_reply_head *head)
{
    if (head->framing == HTTP1_FRAMING_CHUNKED)
        text_add(out, SLICE("Transfer-Encoding: chunked\r\n"));
    if (head->framing != HTTP1_FRAMING_LENGTH)
        return;
    text_add(out, SLICE("Content-Length: "));
    text_add_u64(out, head->length);
    text_add(out, SLICE("\r\n"));
}

void http1_write_head(struct text *out, const struct http1_reply_head *head)
{
    ASSERT_MSG(head->status >= 200 && head->status <= 599, "status %d", head->status);
    ASSERT_MSG(http1_fields_are_sound(head->fields), "fields \"" SLICE_FMT "\"",
               SLICE_ARG(head->fields));
    text_add(out, SLICE("HTTP/1.1 "));
    text_add_u64(out, (uint64_t)head->status);
    text_add(out, SLICE(" "));
    text_add_str(out, http_status_text(head->status));
    text_add(out, SLICE("\r\n"));
    add_field(out, SLICE("Date"), head->date);
    add_field(out, SLICE("Connection"), head->keep_alive ? SLICE("keep-alive") : SLICE("close"));
    if (!slice_is_empty(head->content_type))
        add_field(out, SLICE("Content-Type"), head->content_type);
    add_framing(out, head);
    text_add(out, head->fields);
}

void http1_write_head_end(struct text *out)
{
    text_add(out, SLICE("\r\n"));
}

/* --- fields that come from the handler --- */

static bool all_are(struct slice bytes, uint8_t kind)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (!http_byte_is(bytes.data[i], kind))
            return false;
    return true;
}

static bool is_server_field(struct slice name)
{
    return slice_eq_ci(name, SLICE("Connection")) || slice_eq_ci(name, SLICE("Content-Length")) ||
           slice_eq_ci(name, SLICE("Transfer-Encoding")) || slice_eq_ci(name, SLICE("Date"));
}

static bool line_is_sound(struct slice line)
{
    struct slice name, value;
    return slice_cut(line, ':', &name, &value) && name.len > 0 && all_are(name, HTTP_BYTE_TOKEN) &&
           all_are(value, HTTP_BYTE_VALUE) && !is_server_field(name);
}

bool http1_fields_are_sound(struct slice lines)
{
    while (lines.len > 0) {
        size_t end = slice_find(lines, SLICE("\r\n"));
        if (end == SLICE_NPOS || !line_is_sound(slice_first(lines, end)))
            return false;
        lines = slice_after(lines, end + 2);
    }
    return true;
}

/* --- chunks --- */

static size_t hex_digits(size_t value)
{
    size_t bits = 64 - (size_t)__builtin_clzll(value | 1);
    return (bits + 3) / 4;
}

struct slice http1_chunk_line(size_t bytes, char out_line[HTTP1_CHUNK_LINE_MAX])
{
    size_t digits = hex_digits(bytes);
    for (size_t at = digits; at-- > 0; bytes >>= 4)
        out_line[at] = hex_digit((unsigned)bytes);
    memcpy(out_line + digits, "\r\n", 2);
    return slice_of(out_line, digits + 2);
}

size_t http1_chunk_bytes(size_t data_bytes)
{
    return hex_digits(data_bytes) + 2 + data_bytes + 2;
}

size_t http1_chunk_room(size_t room)
{
    size_t frame = hex_digits(room) + 4; /* never too small: the data is shorter than the room */
    size_t data = room > frame ? room - frame : 0;
    if (http1_chunk_bytes(data + 1) <= room)
        data++; /* one digit less was enough */
    return data;
}

/* --- Date --- */

/* Not strftime(): its names follow the locale, those of HTTP do not. */
static void format_date(int64_t unix_s, char out_text[HTTP_DATE_BYTES + 1])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;
    time_t seconds = (time_t)unix_s;
    ASSERT(unix_s >= 0 && gmtime_r(&seconds, &tm) && tm.tm_year < 10000 - 1900);
    /* The remainders change nothing; they tell the compiler that it fits. */
    snprintf(out_text, HTTP_DATE_BYTES + 1, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday],
             (unsigned)tm.tm_mday % 100, months[tm.tm_mon], (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

struct slice http_date_at(struct http_date *date, int64_t wall_ms)
{
    int64_t unix_s = wall_ms / 1000;
    if (date->text[0] == '\0' || date->unix_s != unix_s) {
        date->unix_s = unix_s;
        format_date(unix_s, date->text);
    }
    return slice_of(date->text, HTTP_DATE_BYTES);
}
