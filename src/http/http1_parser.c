/* http1_parser - the request head (RFC 9112 2-3, 5-6), and the words for every refusal.
 *
 *   START --one empty line or none--> METHOD --SP--> TARGET --SP--> VERSION --CRLF--> NAME
 *   NAME --colon--> VALUE --CRLF--> NAME;   NAME --CRLF at the line's start--> END
 *
 * Strictly left to right, and a byte is refused as soon as it is seen: that is what makes the
 * result independent of where reads end (rule 1). The length cap is part of the same order: bytes
 * behind head_max_bytes are never looked at (rule 2). */
#include "http/http1_parser.h"

#include "http/http_bytes.h"

int http1_refusal_status(enum http1_refusal refusal)
{
    static const short statuses[HTTP1_REFUSAL_COUNT] = {[HTTP1_FINE] = 200,
#define X(name, status, sentence) [HTTP1_##name] = status,
                                                        HTTP1_REFUSALS(X)
#undef X
    };
    ASSERT((unsigned)refusal < HTTP1_REFUSAL_COUNT);
    return statuses[refusal];
}

const char *http1_refusal_sentence(enum http1_refusal refusal)
{
    static const char *const sentences[HTTP1_REFUSAL_COUNT] = {[HTTP1_FINE] = "fine",
#define X(name, status, sentence) [HTTP1_##name] = sentence,
                                                               HTTP1_REFUSALS(X)
#undef X
    };
    ASSERT((unsigned)refusal < HTTP1_REFUSAL_COUNT);
    return sentences[refusal];
}

const char *http1_refusal_name(enum http1_refusal refusal)
{
    static const char *const names[HTTP1_REFUSAL_COUNT] = {[HTTP1_FINE] = "FINE",
#define X(name, status, sentence) [HTTP1_##name] = #name,
                                                           HTTP1_REFUSALS(X)
#undef X
    };
    ASSERT((unsigned)refusal < HTTP1_REFUSAL_COUNT);
    return names[refusal];
}

enum err http1_refusal_err(enum http1_refusal refusal)
{
    switch (http1_refusal_status(refusal)) {
    case 413:
    case 414:
    case 431:
        return ERR_LIMIT;
    default:
        return ERR_PROTOCOL;
    }
}

enum part { PART_START, PART_METHOD, PART_TARGET, PART_VERSION, PART_NAME, PART_VALUE, PART_END };
enum {
    SEEN_HOST = 1,
    SEEN_LENGTH = 2,
    SEEN_ENCODING = 4,
    SEEN_CONNECTION = 8,
    SEEN_EXPECT = 16,
};

/* Longer than any method in the IANA registry. */
enum { METHOD_MAX_BYTES = 32 };

/* One call: the parser, what it may look at, and what it fills. */
struct head {
    struct http1_head_parser *parser;
    const char *data;
    size_t end; /* at most head_max_bytes */
    const struct http1_limits *limits;
    struct http_field *fields;
    struct http_request request; /* complete only when the call began at the head's first byte */
    enum http1_refusal refusal;
};

static enum err refuse(struct head *head, enum http1_refusal refusal)
{
    head->refusal = refusal;
    return http1_refusal_err(refusal);
}

/* The bytes are used up before the part was whole. */
static enum err starve(struct head *head)
{
    if (head->end < head->limits->head_max_bytes)
        return ERR_AGAIN;
    return refuse(head,
                  head->parser->part == PART_TARGET ? HTTP1_TARGET_TOO_LONG : HTTP1_HEAD_TOO_LARGE);
}

static bool is_at_end(const struct head *head)
{
    return head->parser->scanned == head->end;
}

static char byte_here(const struct head *head)
{
    return head->data[head->parser->scanned];
}

/* Passes bytes of that kind. */
static void span(struct head *head, uint8_t kind)
{
    size_t at = head->parser->scanned;
    while (at < head->end && http_byte_is(head->data[at], kind))
        at++;
    head->parser->scanned = at;
}

/* The bytes of the present part that were passed so far. */
static struct slice part_slice(const struct head *head)
{
    const struct http1_head_parser *parser = head->parser;
    return slice_of(head->data + parser->part_start, parser->scanned - parser->part_start);
}

/* The next part begins `skip` bytes from here. */
static void enter(struct head *head, enum part part, size_t skip)
{
    head->parser->scanned += skip;
    head->parser->part = part;
    head->parser->part_start = head->parser->scanned;
}

/* CR LF and nothing else ends a line: a lone CR or LF is where two parsers come to disagree. */
static enum err pass_line_end(struct head *head)
{
    if (is_at_end(head))
        return starve(head);
    if (byte_here(head) != '\r')
        return refuse(head, HTTP1_LINE_END);
    if (head->parser->scanned + 1 == head->end)
        return starve(head); /* the CR is looked at again: one byte, once per call */
    if (head->data[head->parser->scanned + 1] != '\n')
        return refuse(head, HTTP1_LINE_END);
    head->parser->scanned += 2;
    return ERR_OK;
}

static enum err parse_start(struct head *head)
{
    if (is_at_end(head))
        return starve(head);
    if (byte_here(head) == '\n')
        return refuse(head, HTTP1_LINE_END);
    if (byte_here(head) == '\r')
        TRY(pass_line_end(head)); /* RFC 9112 2.2: one empty line before the request line */
    enter(head, PART_METHOD, 0);
    return ERR_OK;
}

static enum http_method method_of(struct slice text)
{
    for (int method = 0; method < HTTP_OTHER; method++)
        if (slice_eq_str(text, http_method_name((enum http_method)method)))
            return (enum http_method)method;
    return HTTP_OTHER;
}

static enum err parse_method(struct head *head)
{
    struct http1_head_parser *parser = head->parser;
    span(head, HTTP_BYTE_TOKEN);
    struct slice method = part_slice(head);
    if (method.len > METHOD_MAX_BYTES)
        return refuse(head, HTTP1_METHOD);
    if (is_at_end(head))
        return starve(head);
    if (slice_is_empty(method))
        return refuse(head, byte_here(head) == 0x16 /* TLS: a handshake record */
                                ? HTTP1_UPGRADE_PREFACE
                                : HTTP1_METHOD);
    if (byte_here(head) != ' ')
        return refuse(head, HTTP1_METHOD);
    parser->method = method_of(method);
    parser->is_preface = slice_eq_str(method, "PRI");
    head->request.method_text = method;
    enter(head, PART_TARGET, 1);
    return ERR_OK;
}

/* RFC 9112 3.2: origin-form, and "*" for OPTIONS. absolute-form and authority-form are for proxies,
 * which we are not; and they bring a second Host that could disagree with the first. */
static bool may_begin_target(const struct head *head, char byte)
{
    const struct http1_head_parser *parser = head->parser;
    return byte == '/' || (byte == '*' && (parser->method == HTTP_OPTIONS || parser->is_preface));
}

static enum err parse_target(struct head *head)
{
    if (is_at_end(head))
        return starve(head);
    if (!may_begin_target(head, head->data[head->parser->part_start]))
        return refuse(head, HTTP1_TARGET);
    span(head, HTTP_BYTE_TARGET);
    if (is_at_end(head))
        return starve(head);
    struct slice target = part_slice(head);
    bool is_star = target.data[0] == '*';
    if (byte_here(head) != ' ' || (is_star && target.len > 1))
        return refuse(head, HTTP1_TARGET);
    if (is_star && head->parser->is_preface)
        return refuse(head, HTTP1_UPGRADE_PREFACE); /* RFC 9113 3.4 */
    head->request.target = target;
    enter(head, PART_VERSION, 1);
    return ERR_OK;
}

/* As far as the bytes go, they are those of `text`. */
static bool begins_as(struct slice bytes, struct slice text)
{
    size_t len = bytes.len < text.len ? bytes.len : text.len;
    return slice_eq(slice_first(bytes, len), slice_first(text, len));
}

static enum err parse_version(struct head *head)
{
    enum { VERSION_BYTES = sizeof "HTTP/1.x" - 1 };
    struct http1_head_parser *parser = head->parser;
    parser->scanned = parser->part_start; /* at most 8 bytes, looked at again */
    struct slice there = slice_of(head->data + parser->scanned, head->end - parser->scanned);
    there = slice_first(there, VERSION_BYTES);
    if (!begins_as(there, SLICE("HTTP/")))
        return refuse(head, HTTP1_TARGET); /* a space in the target, or no version (HTTP/0.9) */
    if (!begins_as(there, SLICE("HTTP/1.")))
        return refuse(head, HTTP1_VERSION);
    if (there.len < VERSION_BYTES)
        return starve(head);
    char minor = there.data[VERSION_BYTES - 1];
    if (minor != '0' && minor != '1')
        return refuse(head, HTTP1_VERSION);
    parser->minor = (uint8_t)(minor - '0');
    parser->scanned += VERSION_BYTES;
    TRY(pass_line_end(head));
    enter(head, PART_NAME, 0);
    return ERR_OK;
}

static enum err parse_line_start(struct head *head)
{
    if (is_at_end(head))
        return starve(head);
    switch (byte_here(head)) {
    case ' ':
    case '\t':
        return refuse(head, HTTP1_FOLDED); /* RFC 9112 5.2, and 2.2 before the first field */
    case '\n':
        return refuse(head, HTTP1_LINE_END);
    case '\r':
        TRY(pass_line_end(head));
        enter(head, PART_END, 0);
        return ERR_OK;
    default:
        if (head->parser->field_count == head->limits->fields_max)
            return refuse(head, HTTP1_TOO_MANY_FIELDS);
        return ERR_OK;
    }
}

static enum err parse_name(struct head *head)
{
    struct http1_head_parser *parser = head->parser;
    if (parser->scanned == parser->part_start) {
        TRY(parse_line_start(head));
        if (parser->part == PART_END)
            return ERR_OK;
    }
    span(head, HTTP_BYTE_TOKEN);
    if (is_at_end(head))
        return starve(head);
    struct slice name = part_slice(head);
    if (byte_here(head) != ':' || slice_is_empty(name))
        return refuse(head, HTTP1_FIELD_NAME);
    parser->name_start = parser->part_start;
    parser->name_bytes = name.len;
    enter(head, PART_VALUE, 1);
    return ERR_OK;
}

static bool is_port(struct slice text)
{
    uint64_t port;
    return text.len <= 5 && slice_parse_u64(text, UINT16_MAX, &port) == ERR_OK;
}

static bool is_address_byte(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') ||
           (byte >= 'A' && byte <= 'F') || byte == ':' || byte == '.';
}

/* Bytes of the name, or of the address in brackets, at the front of a Host; 0 when it is neither.
 */
static size_t host_name_bytes(struct slice host)
{
    size_t at = 0;
    if (host.len == 0 || host.data[0] != '[') {
        while (at < host.len && http_byte_is(host.data[at], HTTP_BYTE_HOST))
            at++;
        return at;
    }
    for (at = 1; at < host.len && is_address_byte(host.data[at]); at++)
        ;
    return at > 1 && at < host.len && host.data[at] == ']' ? at + 1 : 0;
}

/* Narrower than RFC 3986's reg-name: no escapes, no sub-delims (a comma could be two Hosts that a
 * proxy joined), and not empty (RFC 9110 4.2.1). */
static bool is_host(struct slice host)
{
    size_t name_bytes = host_name_bytes(host);
    struct slice rest = slice_after(host, name_bytes);
    if (name_bytes == 0)
        return false;
    return rest.len == 0 || (rest.data[0] == ':' && is_port(slice_after(rest, 1)));
}

/* True the first time; the caller refuses the second. */
static bool see(struct http1_head_parser *parser, uint8_t field)
{
    bool first = !(parser->seen & field);
    parser->seen |= field;
    return first;
}

static enum err take_host(struct head *head, struct slice value)
{
    if (!see(head->parser, SEEN_HOST))
        return refuse(head, HTTP1_HOST_TWICE);
    if (!is_host(value))
        return refuse(head, HTTP1_HOST_FORM);
    head->request.host = value;
    return ERR_OK;
}

/* Tabs around a value are white space by RFC 9110 5.6.3, but some (llhttp 8 for one) do not see
 * "chunked" in "chunked<HTAB>": in the fields that frame the message only spaces are. */
static bool has_tab(struct slice value)
{
    return slice_find_byte(value, '\t') != SLICE_NPOS;
}

/* A list of equal lengths may be taken as one (RFC 9110 8.6); we need not, and do not. A leading
 * zero is octal to some, so we want none. */
static enum err take_length(struct head *head, struct slice raw)
{
    struct slice value = slice_trim(raw);
    if (!see(head->parser, SEEN_LENGTH))
        return refuse(head, HTTP1_LENGTH_TWICE);
    if (head->parser->seen & SEEN_ENCODING)
        return refuse(head, HTTP1_LENGTH_AND_CHUNKED);
    if (has_tab(raw) || (value.len > 1 && value.data[0] == '0'))
        return refuse(head, HTTP1_LENGTH_FORM);
    switch (slice_parse_u64(value, UINT64_MAX, &head->request.content_length)) {
    case ERR_OK:
        head->request.has_length = true;
        return ERR_OK;
    case ERR_LIMIT:
        return refuse(head, HTTP1_BODY_TOO_LARGE);
    default:
        return refuse(head, HTTP1_LENGTH_FORM);
    }
}

static struct slice last_item(struct slice list)
{
    struct slice item;
    while (slice_cut(list, ',', &item, &list))
        ;
    return slice_trim(item);
}

static enum err take_encoding(struct head *head, struct slice raw) /* RFC 9112 6.1, 6.3 */
{
    if (!see(head->parser, SEEN_ENCODING))
        return refuse(head, HTTP1_ENCODING_TWICE);
    if (head->parser->minor == 0)
        return refuse(head, HTTP1_ENCODING_ON_10);
    if (head->parser->seen & SEEN_LENGTH)
        return refuse(head, HTTP1_LENGTH_AND_CHUNKED);
    struct slice value = slice_trim(raw);
    if (has_tab(raw) || !slice_eq_ci(last_item(value), SLICE("chunked")))
        return refuse(head, HTTP1_ENCODING_FORM); /* 6.3: no end could be found */
    if (value.len > sizeof "chunked" - 1)
        return refuse(head, HTTP1_ENCODING); /* 6.1: codings that we do not undo */
    head->request.chunked = true;
    return ERR_OK;
}

static enum err take_expect(struct head *head, struct slice value)
{
    (void)see(head->parser, SEEN_EXPECT); /* twice the same is harmless */
    return slice_eq_ci(value, SLICE("100-continue")) ? ERR_OK : refuse(head, HTTP1_EXPECT);
}

/* Fields that decide framing, host or life of the connection; their lengths are all different. */
static enum err take_meaning(struct head *head, struct slice name, struct slice raw)
{
    switch (name.len) {
    case sizeof "Host" - 1:
        return slice_eq_ci(name, SLICE("Host")) ? take_host(head, slice_trim(raw)) : ERR_OK;
    case sizeof "Expect" - 1:
        return slice_eq_ci(name, SLICE("Expect")) ? take_expect(head, slice_trim(raw)) : ERR_OK;
    case sizeof "Connection" - 1:
        if (slice_eq_ci(name, SLICE("Connection")))
            (void)see(head->parser, SEEN_CONNECTION); /* may come more than once */
        return ERR_OK;
    case sizeof "Content-Length" - 1:
        return slice_eq_ci(name, SLICE("Content-Length")) ? take_length(head, raw) : ERR_OK;
    case sizeof "Transfer-Encoding" - 1:
        return slice_eq_ci(name, SLICE("Transfer-Encoding")) ? take_encoding(head, raw) : ERR_OK;
    default:
        return ERR_OK;
    }
}

static enum err parse_value(struct head *head)
{
    struct http1_head_parser *parser = head->parser;
    span(head, HTTP_BYTE_VALUE);
    if (is_at_end(head))
        return starve(head);
    if (byte_here(head) != '\r')
        return refuse(head, byte_here(head) == '\n' ? HTTP1_LINE_END : HTTP1_FIELD_VALUE);
    struct slice name = slice_of(head->data + parser->name_start, parser->name_bytes);
    struct slice raw = part_slice(head);
    TRY(pass_line_end(head));
    head->fields[parser->field_count++] = (struct http_field){name, slice_trim(raw)};
    TRY(take_meaning(head, name, raw));
    enter(head, PART_NAME, 0);
    return ERR_OK;
}

static enum err parse_parts(struct head *head)
{
    static enum err (*const parse[PART_END])(struct head *) = {
        [PART_START] = parse_start,     [PART_METHOD] = parse_method, [PART_TARGET] = parse_target,
        [PART_VERSION] = parse_version, [PART_NAME] = parse_name,     [PART_VALUE] = parse_value,
    };
    while (head->parser->part != PART_END)
        TRY(parse[head->parser->part](head));
    if (head->parser->minor == 1 && !(head->parser->seen & SEEN_HOST))
        return refuse(head, HTTP1_HOST_MISSING); /* RFC 9112 3.2 */
    return ERR_OK;
}

/* What follows from the parts together. */
static void complete(struct head *head)
{
    const struct http1_head_parser *parser = head->parser;
    struct http_request *request = &head->request;
    request->method = (enum http_method)parser->method;
    request->minor = parser->minor;
    request->fields = head->fields;
    request->field_count = parser->field_count;
    if (!slice_cut(request->target, '?', &request->path, &request->query))
        request->path = request->target;
    request->keep_alive = parser->minor == 1;
    if (parser->seen & SEEN_CONNECTION) { /* RFC 9112 9.3: close wins */
        request->keep_alive =
            (request->keep_alive || http_field_has_token(request, "Connection", "keep-alive")) &&
            !http_field_has_token(request, "Connection", "close");
    }
    /* RFC 9110 10.1.1: to be ignored on 1.0; and nothing is waited for without a body. */
    request->expect_continue = parser->seen & SEEN_EXPECT && parser->minor == 1 &&
                               (request->chunked || request->content_length > 0);
}

void http1_head_init(struct http1_head_parser *parser)
{
    *parser = (struct http1_head_parser){.part = PART_START};
}

enum err http1_head_parse(struct http1_head_parser *parser, struct slice input,
                          const struct http1_limits *limits,
                          struct http_field fields[HTTP_FIELDS_MAX],
                          struct http_request *out_request, size_t *out_head_bytes,
                          enum http1_refusal *out_refusal)
{
    ASSERT(limits->fields_max <= HTTP_FIELDS_MAX);
    struct head head = {.parser = parser, .data = input.data, .limits = limits, .fields = fields};
    head.end = input.len < limits->head_max_bytes ? input.len : limits->head_max_bytes;
    bool is_resumed = parser->scanned > 0;
    enum err err = parse_parts(&head);
    if (err == ERR_OK && is_resumed) {
        /* The bytes of earlier calls may have moved since. The head is whole and small: pick its
         * slices up in one more pass. */
        http1_head_init(parser);
        head.request = (struct http_request){0};
        err = parse_parts(&head);
    }
    *out_refusal = head.refusal;
    if (err != ERR_OK)
        return err;
    complete(&head);
    *out_request = head.request;
    *out_head_bytes = parser->scanned;
    return ERR_OK;
}
