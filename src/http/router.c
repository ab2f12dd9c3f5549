/* router - one pattern against one path, segment by segment. */
#include "http/router.h"

#include "base/utf8.h"
#include "http/http_bytes.h"

static unsigned bit(enum http_method method)
{
    return 1u << method;
}

/* What a route answers: GET's also HEAD (RFC 9110 9.3.2), and any path OPTIONS. */
static unsigned answers(const struct route *route)
{
    unsigned allowed = bit(route->method) | bit(HTTP_OPTIONS);
    return route->method == HTTP_GET ? allowed | bit(HTTP_HEAD) : allowed;
}

/* Percent-decodes one segment, or the rest of a path. False when it can match nothing: a bad
 * escape, a decoded NUL or (in a segment) '/', which is another path to whoever decodes first,
 * invalid UTF-8, or more than `cap` bytes. */
static bool decode(struct slice encoded, bool is_segment, char *storage, size_t cap,
                   struct slice *out)
{
    size_t len = 0;
    while (encoded.len > 0) {
        int byte = http_decode_byte(&encoded);
        if (byte <= 0 || (byte == '/' && is_segment) || len == cap)
            return false;
        storage[len++] = (char)byte;
    }
    *out = slice_of(storage, len);
    return utf8_is_valid(*out);
}

static bool is_param(struct slice pattern)
{
    return slice_starts_with(pattern, SLICE("{")) && slice_ends_with(pattern, SLICE("}"));
}

/* Of a path with everything that is left of it: "{id...}". */
static bool is_rest(struct slice pattern)
{
    return is_param(pattern) && slice_ends_with(pattern, SLICE("...}"));
}

static bool take_param(struct slice encoded, bool is_segment, struct route_match *match)
{
    char *storage = match->storage + match->param_count * ROUTE_PARAM_MAX_BYTES;
    struct slice value;
    if (encoded.len == 0 || !decode(encoded, is_segment, storage, ROUTE_PARAM_MAX_BYTES, &value))
        return false;
    match->params[match->param_count++] = value;
    return true;
}

static bool match_segment(struct slice pattern, struct slice encoded, struct route_match *match)
{
    char literal[ROUTE_PARAM_MAX_BYTES];
    struct slice segment;
    if (is_param(pattern)) {
        ASSERT_MSG(match->param_count < ROUTE_PARAMS_MAX, "pattern " SLICE_FMT, SLICE_ARG(pattern));
        return take_param(encoded, true, match);
    }
    return decode(encoded, true, literal, sizeof literal, &segment) && slice_eq(segment, pattern);
}

static bool match_path(struct slice pattern, struct slice path, struct route_match *match)
{
    struct slice wanted, segment;
    bool more_wanted = true, more = true;
    match->param_count = 0;
    while (more_wanted && more) {
        more_wanted = slice_cut(pattern, '/', &wanted, &pattern);
        if (is_rest(wanted)) {
            ASSERT_MSG(!more_wanted, "something behind " SLICE_FMT, SLICE_ARG(wanted));
            return take_param(path, false, match);
        }
        more = slice_cut(path, '/', &segment, &path);
        if (!match_segment(wanted, segment, match))
            return false;
    }
    return more_wanted == more;
}

/* What every pattern has in front of its first parameter, the whole of it if it has none. */
static struct slice literal_part(struct slice pattern, bool *out_is_whole)
{
    size_t end = slice_find_byte(pattern, '{');
    *out_is_whole = end == SLICE_NPOS;
    return *out_is_whole ? pattern : slice_first(pattern, end);
}

/* Most routes are told apart by their bytes alone, if the path has no escapes: taking each to
 * pieces cost 18 000 instructions a look-up (19 routes, callgrind, 2026-11). */
static bool may_match(struct slice pattern, struct slice path, bool has_escapes, bool *out_is_sure)
{
    bool is_whole;
    struct slice literal = literal_part(pattern, &is_whole);
    *out_is_sure = is_whole && !has_escapes;
    if (has_escapes)
        return true;
    return is_whole ? slice_eq(literal, path) : slice_starts_with(path, literal);
}

static bool matches(const struct route *route, struct slice path, bool has_escapes,
                    struct route_match *match)
{
    struct slice pattern = slice_str(route->pattern);
    bool is_sure;
    match->param_count = 0;
    return may_match(pattern, path, has_escapes, &is_sure) &&
           (is_sure || match_path(pattern, path, match));
}

enum err router_find(const struct route *routes, size_t count, enum http_method method,
                     struct slice path, struct route_match *out_match)
{
    out_match->route = NULL;
    out_match->allowed = 0;
    bool has_escapes = slice_find_byte(path, '%') != SLICE_NPOS;
    for (size_t i = 0; i < count; i++) {
        const struct route *route = &routes[i];
        if (!matches(route, path, has_escapes, out_match))
            continue;
        out_match->allowed |= answers(route);
        bool is_exact = route->method == method;
        bool is_head = method == HTTP_HEAD && route->method == HTTP_GET;
        if (!out_match->route && (is_exact || is_head))
            out_match->route = route;
    }
    if (!out_match->route) {
        out_match->param_count = 0;
        return out_match->allowed ? ERR_REFUSED : ERR_NOT_FOUND;
    }
    /* Later routes were tried in the same storage. */
    bool is_again = matches(out_match->route, path, has_escapes, out_match);
    ASSERT(is_again);
    return ERR_OK;
}

void router_allow(unsigned allowed, struct text *out)
{
    const char *separator = "";
    for (int method = 0; method < HTTP_OTHER; method++) {
        if (!(allowed & bit((enum http_method)method)))
            continue;
        text_add_str(out, separator);
        text_add_str(out, http_method_name((enum http_method)method));
        separator = ", ";
    }
}
