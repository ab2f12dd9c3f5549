/* http1_diff_fuzz - what we accept, llhttp (strict build) accepts too, with the same framing:
 * method, target, version, fields, body, and the byte where the message ends. In this direction
 * only: we refuse much that it takes. A difference is a request that could be smuggled past one of
 * us. */
/* Both have an enum of methods with the same words in it: llhttp's get other names here. */
#define HTTP_GET     ORACLE_GET
#define HTTP_HEAD    ORACLE_HEAD
#define HTTP_POST    ORACLE_POST
#define HTTP_PUT     ORACLE_PUT
#define HTTP_DELETE  ORACLE_DELETE
#define HTTP_OPTIONS ORACLE_OPTIONS
#define HTTP_PATCH   ORACLE_PATCH
#include <llhttp.h>
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_DELETE
#undef HTTP_OPTIONS
#undef HTTP_PATCH

#include "http/http1_test_message.h"

static const struct http1_limits limits = {
    .head_max_bytes = 65536, .fields_max = HTTP_FIELDS_MAX, .body_max_bytes = 1 << 20};

/* What llhttp made of one message. */
struct oracle {
    llhttp_t parser; /* first: the callbacks get this */
    struct text target, version, body;
    struct text fields; /* "name\nvalue\n" of each field of the head */
    struct text value;  /* of the field being read */
    bool is_head_done, is_whole;
};

static int add(struct text *text, const char *at, size_t len)
{
    text_add(text, slice_of(at, len));
    return 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    return add(&((struct oracle *)(void *)parser)->target, at, len);
}

static int on_version(llhttp_t *parser, const char *at, size_t len)
{
    return add(&((struct oracle *)(void *)parser)->version, at, len);
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    return add(&((struct oracle *)(void *)parser)->body, at, len);
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct oracle *oracle = (struct oracle *)(void *)parser;
    return oracle->is_head_done ? 0 : add(&oracle->fields, at, len);
}

static int on_field_end(llhttp_t *parser)
{
    return on_field(parser, "\n", 1);
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    return add(&((struct oracle *)(void *)parser)->value, at, len);
}

/* llhttp leaves the white space behind a value; RFC 9110 5.5 does not count it. */
static int on_value_end(llhttp_t *parser)
{
    struct oracle *oracle = (struct oracle *)(void *)parser;
    struct slice value = slice_trim(text_slice(&oracle->value));
    if (!oracle->is_head_done) {
        text_add(&oracle->fields, value);
        text_add_byte(&oracle->fields, '\n');
    }
    text_clear(&oracle->value);
    return 0;
}

static int on_head_done(llhttp_t *parser)
{
    ((struct oracle *)(void *)parser)->is_head_done = true;
    return 0;
}

static int on_whole(llhttp_t *parser)
{
    ((struct oracle *)(void *)parser)->is_whole = true;
    return HPE_PAUSED; /* so that the error position tells where the message ended */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_version = on_version,
    .on_body = on_body,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_end,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_head_done,
    .on_message_complete = on_whole,
};

static void oracle_fini(struct oracle *oracle)
{
    text_fini(&oracle->target);
    text_fini(&oracle->version);
    text_fini(&oracle->body);
    text_fini(&oracle->fields);
    text_fini(&oracle->value);
}

static void oracle_init(struct oracle *oracle, size_t max_bytes)
{
    text_init(&oracle->target, max_bytes);
    text_init(&oracle->version, max_bytes);
    text_init(&oracle->body, max_bytes);
    text_init(&oracle->fields, max_bytes);
    text_init(&oracle->value, max_bytes);
    oracle->is_head_done = oracle->is_whole = false;
    llhttp_init(&oracle->parser, HTTP_REQUEST, &settings);
}

static void add_fields(struct text *out, const struct http_request *request)
{
    for (size_t i = 0; i < request->field_count; i++) {
        text_add(out, request->fields[i].name);
        text_add_byte(out, '\n');
        text_add(out, request->fields[i].value);
        text_add_byte(out, '\n');
    }
}

/* Puts a method that both know in the place of one that only we let through: llhttp has a list, we
 * take any token and let the router refuse it. Returns by how much the bytes grew. */
static ptrdiff_t add_with_known_method(struct text *out, struct slice input,
                                       const struct http1_test_message *message)
{
    struct slice method = message->request.method_text;
    struct slice known =
        message->request.method == HTTP_OTHER ? SLICE("POST") : message->request.method_text;
    size_t start = (size_t)(method.data - message->head);
    text_add(out, slice_first(input, start));
    text_add(out, known);
    text_add(out, slice_after(input, start + method.len));
    return (ptrdiff_t)known.len - (ptrdiff_t)method.len;
}

static void check_head(const struct oracle *oracle, const struct http_request *request)
{
    struct text fields;
    text_init(&fields, 1 << 20);
    add_fields(&fields, request);
    ASSERT_MSG(slice_eq(text_slice(&oracle->target), request->target), "llhttp: " SLICE_FMT,
               SLICE_ARG(text_slice(&oracle->target)));
    ASSERT(slice_eq_str(text_slice(&oracle->version), request->minor ? "1.1" : "1.0"));
    ASSERT_MSG(slice_eq(text_slice(&oracle->fields), text_slice(&fields)),
               "llhttp:\n" SLICE_FMT "we:\n" SLICE_FMT, SLICE_ARG(text_slice(&oracle->fields)),
               SLICE_ARG(text_slice(&fields)));
    if (request->method != HTTP_OTHER)
        ASSERT(slice_eq_str(request->method_text,
                            llhttp_method_name((llhttp_method_t)oracle->parser.method)));
    text_fini(&fields);
}

static void check_message(struct slice input, const struct http1_test_message *message)
{
    struct oracle oracle;
    struct text same;
    oracle_init(&oracle, 1 << 20);
    text_init(&same, input.len + 4);
    ptrdiff_t growth = add_with_known_method(&same, input, message);
    ASSERT(!same.overflowed);
    llhttp_errno_t result = llhttp_execute(&oracle.parser, same.data, same.len);
    ASSERT_MSG(oracle.is_whole && result == HPE_PAUSED, "llhttp: %s %s", llhttp_errno_name(result),
               llhttp_get_error_reason(&oracle.parser));
    ptrdiff_t end = llhttp_get_error_pos(&oracle.parser) - same.data;
    ASSERT_MSG(end == (ptrdiff_t)message->end + growth, "llhttp ends at %td, we at %zu%+td", end,
               message->end, growth);
    check_head(&oracle, &message->request);
    ASSERT(slice_eq(text_slice(&oracle.body), text_slice(&message->body)));
    oracle_fini(&oracle);
    text_fini(&same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_of(data, size);
    size_t end = 1;
    for (int messages = 0; messages < 8 && end > 0; messages++) {
        struct http1_test_message message;
        http1_test_parse(input, &limits, (struct http1_test_cuts){0, 0}, &message);
        end = message.err == ERR_OK ? message.end : 0;
        if (message.err == ERR_OK)
            check_message(input, &message);
        http1_test_message_fini(&message);
        input = slice_after(input, end);
    }
    return 0;
}
