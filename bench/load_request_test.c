/* load_request_test - the body has the bytes that were asked for, and is what servers read. */
#include "load_request.h"

#include "base/json.h"
#include "testing/test.h"

#include <stdlib.h>
#include <unistd.h>

static struct load_options options_of(uint32_t body_bytes)
{
    struct load_options options = {
        .path = "/v1/chat/completions", .model = "m", .max_tokens = 5, .body_bytes = body_bytes};
    struct err_note note;
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), 80, &options.address, &note));
    return options;
}

/* What lies behind the head; the caller frees the text. */
static struct slice body_of(const struct load_options *options, struct text *out)
{
    struct err_note note;
    text_init(out, LOAD_BODY_MAX_BYTES);
    CHECK_OK(load_request_write(options, out, &note));
    size_t head = slice_find(text_slice(out), SLICE("\r\n\r\n"));
    CHECK(head != SLICE_NPOS);
    return slice_after(text_slice(out), head + 4);
}

TEST(the_body_is_json_with_what_was_said)
{
    struct load_options options = options_of(0);
    struct text text;
    struct err_note note;
    json_t *body;
    options.extra = "\"ignore_eos\":true";
    CHECK_OK(json_read(body_of(&options, &text), JSON_DEPTH_MAX, &body, &note));
    CHECK_SLICE(json_slice(json_object_get(body, "model")), "m");
    CHECK(json_is_true(json_object_get(body, "stream")));
    CHECK(json_is_true(json_object_get(body, "ignore_eos")));
    CHECK_EQ(json_integer_value(json_object_get(body, "max_tokens")), 5);
    CHECK_EQ(json_array_size(json_object_get(body, "messages")), 1);
    json_decref(body);
    text_fini(&text);
}

TEST(the_body_has_as_many_bytes_as_were_asked_for)
{
    struct load_options options = options_of(0);
    struct text text;
    struct err_note note;
    uint32_t shortest = (uint32_t)body_of(&options, &text).len;
    text_fini(&text);
    options.body_bytes = shortest - 1;
    CHECK_ERR(load_request_write(&options, &text, &note), ERR_LIMIT);
    for (uint32_t more = 0; more < 20; more++) {
        options.body_bytes = shortest + more;
        CHECK_EQ(body_of(&options, &text).len, shortest + more);
        text_fini(&text);
    }
}

TEST(the_head_says_what_comes)
{
    struct load_options options = options_of(300);
    struct text text;
    options.key = "secret";
    options.is_closing = true;
    (void)body_of(&options, &text); /* its head is wanted */
    CHECK(slice_starts_with(text_slice(&text), SLICE("POST /v1/chat/completions HTTP/1.1\r\n"
                                                     "Host: 127.0.0.1:80\r\n"
                                                     "Authorization: Bearer secret\r\n"
                                                     "Connection: close\r\n"
                                                     "Content-Type: application/json\r\n"
                                                     "Content-Length: 300\r\n\r\n{")));
    text_clear(&text);
    load_request_write_get(&options, "/health", &text);
    CHECK_SLICE(text_slice(&text), "GET /health HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"
                                   "Authorization: Bearer secret\r\nConnection: close\r\n\r\n");
    text_fini(&text);
}

TEST(a_body_can_come_from_a_file)
{
    struct load_options options = options_of(0);
    struct text text;
    struct err_note note;
    char path[] = "/tmp/load_request_test.XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "{\"input\":1}", 11), 11);
    (void)close(fd); /* it was written */
    options.body_file = path;
    CHECK_SLICE(body_of(&options, &text), "{\"input\":1}");
    text_fini(&text);
    CHECK_EQ(unlink(path), 0);
    CHECK_ERR(load_request_write(&options, &text, &note), ERR_SYSTEM);
    CHECK(slice_find(slice_str(note.text), slice_str(path)) != SLICE_NPOS);
    options.body_file = "/";
    CHECK_ERR(load_request_write(&options, &text, &note), ERR_SYSTEM);
}

/* A file with these bytes; the caller unlinks it. */
static void write_bodies(char *path, struct slice bytes)
{
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, bytes.data, bytes.len), bytes.len);
    CHECK_EQ(close(fd), 0);
}

TEST(bodies_are_asked_for_in_turn)
{
    struct load_options options = options_of(0);
    struct load_requests requests;
    struct err_note note;
    char path[] = "/tmp/load-bodies-XXXXXX";
    write_bodies(path, SLICE("{\"n\":1}\n{\"n\":22}"));
    options.bodies = path;
    CHECK_OK(load_requests_read(&options, &requests, &note));
    CHECK_EQ(requests.count, 2);
    for (int round = 0; round < 2; round++) {
        struct slice first = load_requests_next(&requests), second = load_requests_next(&requests);
        CHECK(slice_find(first, SLICE("Content-Length: 7\r\n\r\n{\"n\":1}")) != SLICE_NPOS);
        CHECK(slice_find(second, SLICE("Content-Length: 8\r\n\r\n{\"n\":22}")) != SLICE_NPOS);
    }
    load_requests_free(&requests);
    CHECK_EQ(unlink(path), 0);
}

TEST(bodies_that_are_none_are_refused_with_their_line)
{
    static const struct {
        struct slice bytes;
        enum err err;
        const char *said;
    } cases[] = {{SLICE(""), ERR_LIMIT, "no lines"},
                 {SLICE("{}\n\n{}\n"), ERR_PROTOCOL, "line 2"},
                 {SLICE("{}\n[]\n"), ERR_PROTOCOL, "line 2"},
                 {SLICE("{\n"), ERR_PROTOCOL, "line 1"}};
    struct load_options options = options_of(0);
    struct load_requests requests;
    struct err_note note;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char path[] = "/tmp/load-bodies-XXXXXX";
        write_bodies(path, cases[i].bytes);
        options.bodies = path;
        CHECK_ERR(load_requests_read(&options, &requests, &note), cases[i].err);
        CHECK(slice_find(slice_str(note.text), slice_str(cases[i].said)) != SLICE_NPOS);
        CHECK_EQ(unlink(path), 0);
    }
    options.bodies = "/nowhere/bodies";
    CHECK_ERR(load_requests_read(&options, &requests, &note), ERR_SYSTEM);
}
