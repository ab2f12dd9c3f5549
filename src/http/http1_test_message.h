/* http1_test_message - drives both parsers over one message the way a connection does, cut as told.
 * For http1_parser_test.c and fuzz/ only.
 *
 * Every call gets its bytes in a block of exactly their size, moved each time: reading too far, or
 * a pointer kept from an earlier call, is a sanitizer's finding. */
#pragma once

#include "base/mem.h"
#include "http/http1_parser.h"

/* Reads bring `first` bytes, then `step` bytes each; 0: all that is left. */
struct http1_test_cuts {
    size_t first, step;
};

struct http1_test_message {
    enum err err; /* ERR_OK: whole; ERR_AGAIN: the input ended before the message did */
    enum http1_refusal refusal;
    bool has_head;
    struct http_request request; /* when has_head; its slices point into `head` */
    struct http_field *fields;   /* owned, so that the request's pointer survives a copy of this */
    size_t end;                  /* when ERR_OK: where the next message begins */
    char *head;                  /* owned */
    struct text body;
};

static inline size_t http1_test_read(struct http1_test_cuts *cuts, size_t left)
{
    size_t piece = cuts->first ? cuts->first : left;
    cuts->first = cuts->step;
    return piece < left ? piece : left;
}

/* Returns how much of `input` had been read when the head was whole (or refused, or all read). */
static inline size_t http1_test_head(struct slice input, const struct http1_limits *limits,
                                     struct http1_test_cuts *cuts,
                                     struct http1_test_message *out_message, size_t *out_head_bytes)
{
    struct http1_head_parser parser;
    size_t have = 0;
    http1_head_init(&parser);
    do {
        have += http1_test_read(cuts, input.len - have);
        char *moved = mem_alloc(have ? have : 1);
        if (have)
            memcpy(moved, input.data, have);
        mem_free(out_message->head);
        out_message->head = moved;
        out_message->err =
            http1_head_parse(&parser, slice_of(moved, have), limits, out_message->fields,
                             &out_message->request, out_head_bytes, &out_message->refusal);
    } while (out_message->err == ERR_AGAIN && have < input.len);
    out_message->has_head = out_message->err == ERR_OK;
    return have;
}

/* One read's worth; returns how much of it belonged to the body. */
static inline size_t http1_test_body(struct http1_body_parser *parser, struct slice piece,
                                     struct http1_test_message *message)
{
    char *exact = mem_alloc(piece.len ? piece.len : 1);
    size_t at = 0;
    if (piece.len)
        memcpy(exact, piece.data, piece.len);
    do {
        struct slice data;
        size_t consumed;
        message->err = http1_body_parse(parser, slice_of(exact + at, piece.len - at), &consumed,
                                        &data, &message->refusal);
        if (message->err != ERR_OK && message->err != ERR_AGAIN)
            break;
        ASSERT(consumed > 0 || at == piece.len || message->err == ERR_OK);
        text_add(&message->body, data);
        at += consumed;
    } while (message->err == ERR_AGAIN && at < piece.len);
    mem_free(exact);
    return at;
}

static inline void http1_test_parse(struct slice input, const struct http1_limits *limits,
                                    struct http1_test_cuts cuts,
                                    struct http1_test_message *out_message)
{
    struct http1_body_parser parser;
    size_t at = 0;
    *out_message = (struct http1_test_message){
        .fields = mem_array(HTTP_FIELDS_MAX, sizeof(struct http_field))};
    text_init(&out_message->body, input.len);
    size_t have = http1_test_head(input, limits, &cuts, out_message, &at);
    if (!out_message->has_head)
        return;
    out_message->err =
        http1_body_init(&parser, &out_message->request, limits, &out_message->refusal);
    if (out_message->err != ERR_OK)
        return;
    at += http1_test_body(&parser, slice_of(input.data + at, have - at), out_message);
    while (out_message->err == ERR_AGAIN && have < input.len) {
        size_t piece = http1_test_read(&cuts, input.len - have);
        at += http1_test_body(&parser, slice_of(input.data + have, piece), out_message);
        have += piece;
    }
    ASSERT(!out_message->body.overflowed);
    if (out_message->err == ERR_OK)
        out_message->end = at;
}

static inline void http1_test_message_fini(struct http1_test_message *message)
{
    mem_free(message->head);
    mem_free(message->fields);
    text_fini(&message->body);
}

static inline bool http1_test_heads_agree(const struct http_request *a,
                                          const struct http_request *b)
{
    if (a->field_count != b->field_count)
        return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (!slice_eq(a->fields[i].name, b->fields[i].name) ||
            !slice_eq(a->fields[i].value, b->fields[i].value))
            return false;
    return a->method == b->method && slice_eq(a->method_text, b->method_text) &&
           slice_eq(a->target, b->target) && slice_eq(a->path, b->path) &&
           slice_eq(a->query, b->query) && slice_eq(a->host, b->host) && a->minor == b->minor &&
           a->keep_alive == b->keep_alive && a->expect_continue == b->expect_continue &&
           a->chunked == b->chunked && a->has_length == b->has_length &&
           a->content_length == b->content_length;
}

/* The same outcome, whatever the cuts were. */
static inline bool http1_test_agree(const struct http1_test_message *a,
                                    const struct http1_test_message *b)
{
    if (a->err != b->err || a->refusal != b->refusal || a->has_head != b->has_head)
        return false;
    if (a->has_head && !http1_test_heads_agree(&a->request, &b->request))
        return false;
    /* What was delivered before a refusal is not promised: a cut may bring it earlier. */
    bool is_refused = a->refusal != HTTP1_FINE;
    return is_refused || (a->end == b->end && slice_eq(text_slice(&a->body), text_slice(&b->body)));
}
