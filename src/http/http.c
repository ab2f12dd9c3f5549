/* http - words about requests: fields, lists of tokens, query values, status texts. */
#include "http/http.h"

#include "base/utf8.h"
#include "http/http_bytes.h"

const char *http_method_name(enum http_method method)
{
    static const char *const names[HTTP_METHOD_COUNT] = {
        [HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",     [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT",     [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
        [HTTP_PATCH] = "PATCH", [HTTP_OTHER] = "OTHER",
    };
    ASSERT((unsigned)method < HTTP_METHOD_COUNT);
    return names[method];
}

struct slice http_request_field(const struct http_request *request, const char *name)
{
    struct slice wanted = slice_str(name);
    for (size_t i = 0; i < request->field_count; i++)
        if (slice_eq_ci(request->fields[i].name, wanted))
            return request->fields[i].value;
    return (struct slice){0};
}

/* Takes what comes before the next `separator` off the front of *rest. One inside a quoted string
 * (RFC 9110 5.6.4) does not count. */
static struct slice next_part(struct slice *rest, char separator)
{
    size_t at = 0;
    bool is_quoted = false;
    for (; at < rest->len && (is_quoted || rest->data[at] != separator); at++) {
        if (rest->data[at] == '"')
            is_quoted = !is_quoted;
        else if (rest->data[at] == '\\' && is_quoted && at + 1 < rest->len)
            at++;
    }
    struct slice part = slice_first(*rest, at);
    *rest = slice_after(*rest, at + 1);
    return slice_trim(part);
}

/* q=0, q=0.0, q=0.00, q=0.000 (RFC 9110 12.4.2). */
static bool is_zero_weight(struct slice parameter)
{
    struct slice name, value;
    if (!slice_cut(parameter, '=', &name, &value) || !slice_eq_ci(slice_trim(name), SLICE("q")))
        return false;
    value = slice_trim(value);
    return slice_eq_str(value, "0") ||
           (slice_starts_with(value, SLICE("0.")) && slice_starts_with(SLICE("0.000"), value));
}

static bool item_says(struct slice item, struct slice token)
{
    if (!slice_eq_ci(next_part(&item, ';'), token))
        return false;
    while (item.len > 0)
        if (is_zero_weight(next_part(&item, ';')))
            return false;
    return true;
}

bool http_field_has_token(const struct http_request *request, const char *name, const char *token)
{
    struct slice wanted_name = slice_str(name), wanted = slice_str(token);
    for (size_t i = 0; i < request->field_count; i++) {
        if (!slice_eq_ci(request->fields[i].name, wanted_name))
            continue;
        struct slice list = request->fields[i].value;
        while (list.len > 0)
            if (item_says(next_part(&list, ','), wanted))
                return true;
    }
    return false;
}

/* As http_decode_byte(), and '+' is a space. */
static int decode_form_byte(struct slice *rest)
{
    bool is_space = rest->data[0] == '+';
    int byte = http_decode_byte(rest);
    return is_space ? ' ' : byte;
}

/* A key with a bad escape is nobody's key. */
static bool is_key(struct slice encoded, const char *key)
{
    for (; encoded.len > 0; key++)
        if (*key == '\0' || decode_form_byte(&encoded) != (unsigned char)*key)
            return false;
    return *key == '\0';
}

static enum err decode_value(struct slice encoded, struct text *out)
{
    size_t start = out->len;
    while (encoded.len > 0) {
        int byte = decode_form_byte(&encoded);
        if (byte < 0)
            return ERR_PROTOCOL;
        text_add_byte(out, (char)byte);
    }
    TRY(text_status(out));
    return utf8_is_valid(slice_after(text_slice(out), start)) ? ERR_OK : ERR_PROTOCOL;
}

enum err http_query_value(struct slice query, const char *key, struct text *out_value)
{
    while (query.len > 0) {
        struct slice pair, name, value;
        (void)slice_cut(query, '&', &pair, &query); /* without '&': the last pair */
        (void)slice_cut(pair, '=', &name, &value);  /* without '=': an empty value */
        if (!is_key(name, key))
            continue;
        size_t start = out_value->len;
        enum err err = decode_value(value, out_value);
        if (err != ERR_OK)
            text_shrink(out_value, start);
        return err;
    }
    return ERR_NOT_FOUND;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}
