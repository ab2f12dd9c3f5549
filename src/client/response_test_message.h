/* response_test_message - drives the response parser over one message as a client does, cut as
 * told. For http1_response_test.c and fuzz/ only.
 *
 * Every call gets its bytes in a block of exactly their size, moved each time: reading too far, or
 * a pointer kept from an earlier call, is a sanitizer's finding. */
#pragma once

#include "base/mem.h"
#include "client/http1_response.h"

/* Reads bring `first` bytes, then `step` bytes each; 0: all that is left. */
struct response_cuts {
    size_t first, step;
};

struct response_message {
    enum err err; /* ERR_OK: whole; ERR_AGAIN: the input ended before the message did */
    enum response_refusal refusal;
    bool has_head, ends_at_fin;
    struct http1_response response; /* when has_head; its slices point into `head` */
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t end; /* when ERR_OK: what lies behind begins here */
    char *head; /* owned */
    struct text body;
};

static inline size_t response_read(struct response_cuts *cuts, size_t left)
{
    size_t piece = cuts->first ? cuts->first : left;
    cuts->first = cuts->step;
    return piece < left ? piece : left;
}

/* Returns how much of `input` had been read when the head was whole (or refused, or all read). */
static inline size_t response_read_head(struct slice input, bool to_head,
                                        const struct http1_limits *limits,
                                        struct response_cuts *cuts,
                                        struct response_message *message, size_t *out_head_bytes)
{
    struct http1_response_parser parser;
    size_t have = 0;
    http1_response_init(&parser, to_head);
    do {
        have += response_read(cuts, input.len - have);
        char *moved = mem_alloc(have ? have : 1);
        if (have)
            memcpy(moved, input.data, have);
        mem_free(message->head);
        message->head = moved;
        message->err = http1_response_parse(&parser, slice_of(moved, have), limits, message->fields,
                                            &message->response, out_head_bytes, &message->refusal);
    } while (message->err == ERR_AGAIN && have < input.len);
    message->has_head = message->err == ERR_OK;
    return have;
}

/* One read's worth; returns how much of it belonged to the body. */
static inline size_t response_read_body(struct http1_response_body *body, struct slice piece,
                                        struct response_message *message)
{
    char *exact = mem_alloc(piece.len ? piece.len : 1);
    size_t at = 0;
    if (piece.len)
        memcpy(exact, piece.data, piece.len);
    do {
        struct slice data;
        size_t consumed;
        message->err = http1_response_body_parse(body, slice_of(exact + at, piece.len - at),
                                                 &consumed, &data, &message->refusal);
        if (message->err != ERR_OK && message->err != ERR_AGAIN)
            break;
        ASSERT(consumed > 0 || at == piece.len || message->err == ERR_OK);
        text_add(&message->body, data);
        at += consumed;
    } while (message->err == ERR_AGAIN && at < piece.len);
    mem_free(exact);
    return at;
}

static inline void response_parse_cut(struct slice input, bool to_head,
                                      const struct http1_limits *limits, struct response_cuts cuts,
                                      struct response_message *out_message)
{
    struct http1_response_body body;
    size_t at = 0;
    *out_message = (struct response_message){0};
    text_init(&out_message->body, input.len);
    size_t have = response_read_head(input, to_head, limits, &cuts, out_message, &at);
    if (!out_message->has_head)
        return;
    out_message->err =
        http1_response_body_init(&body, &out_message->response, limits, &out_message->refusal);
    if (out_message->err != ERR_OK)
        return;
    out_message->ends_at_fin = http1_response_body_ends_at_fin(&body);
    at += response_read_body(&body, slice_of(input.data + at, have - at), out_message);
    while (out_message->err == ERR_AGAIN && have < input.len) {
        size_t piece = response_read(&cuts, input.len - have);
        at += response_read_body(&body, slice_of(input.data + have, piece), out_message);
        have += piece;
    }
    ASSERT(!out_message->body.overflowed);
    if (out_message->err == ERR_OK)
        out_message->end = at;
}

static inline void response_message_fini(struct response_message *message)
{
    mem_free(message->head);
    text_fini(&message->body);
}

static inline bool response_heads_agree(const struct http1_response *a,
                                        const struct http1_response *b)
{
    if (a->field_count != b->field_count)
        return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (!slice_eq(a->fields[i].name, b->fields[i].name) ||
            !slice_eq(a->fields[i].value, b->fields[i].value))
            return false;
    return a->status == b->status && slice_eq(a->reason, b->reason) && a->minor == b->minor &&
           a->keep_alive == b->keep_alive && a->framing == b->framing &&
           a->content_length == b->content_length;
}

/* The same outcome, whatever the cuts were. */
static inline bool response_messages_agree(const struct response_message *a,
                                           const struct response_message *b)
{
    if (a->err != b->err || a->refusal != b->refusal || a->has_head != b->has_head)
        return false;
    if (a->has_head && !response_heads_agree(&a->response, &b->response))
        return false;
    /* What was delivered before a refusal is not promised: a cut may bring it earlier. */
    bool is_refused = a->refusal != RESPONSE_FINE;
    return is_refused || (a->end == b->end && a->ends_at_fin == b->ends_at_fin &&
                          slice_eq(text_slice(&a->body), text_slice(&b->body)));
}
