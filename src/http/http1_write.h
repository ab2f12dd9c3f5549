/* http1_write - what a reply looks like on the wire: its head, and the frame of a chunk (RFC 9112).
 * Pure. Every reply says HTTP/1.1, also to a client of 1.0 (RFC 9110 2.5). */
#pragma once

#include "http/http.h"

/* How the client finds the end of the body (RFC 9112 6.3). */
enum http1_framing {
    HTTP1_FRAMING_NONE,    /* 204, 304: there is none, nor a field that speaks of one */
    HTTP1_FRAMING_LENGTH,  /* Content-Length */
    HTTP1_FRAMING_CHUNKED, /* Transfer-Encoding: chunked */
    HTTP1_FRAMING_CLOSE,   /* HTTP/1.0: where the connection ends */
};

struct http1_reply_head {
    int status;
    enum http1_framing framing;
    uint64_t length; /* LENGTH only */
    bool keep_alive;
    struct slice date;         /* of http_date_at() */
    struct slice content_type; /* empty: no such field */
    struct slice fields;       /* whole lines, see http1_fields_are_sound() */
};

/* Appends the status line and the fields. More lines may follow; http1_write_head_end() closes. */
void http1_write_head(struct text *out, const struct http1_reply_head *head);
void http1_write_head_end(struct text *out);

/* Whole lines "Name: value\r\n", no control bytes in them, and none of the fields that are the
 * server's own: Connection, Content-Length, Transfer-Encoding, Date. */
bool http1_fields_are_sound(struct slice lines);

/* --- chunks: hex size CR LF, data, CR LF --- */

enum { HTTP1_CHUNK_LINE_MAX = 18 }; /* 16 digits of a 64-bit size, CR LF */
/* The line that announces `bytes` (> 0) of data, written into out_line. */
struct slice http1_chunk_line(size_t bytes, char out_line[HTTP1_CHUNK_LINE_MAX]);
#define HTTP1_AFTER_CHUNK SLICE("\r\n")
#define HTTP1_LAST_CHUNK  SLICE("0\r\n\r\n")
size_t http1_chunk_bytes(size_t data_bytes); /* of the whole chunk */
/* The most data that a chunk of at most `room` bytes can carry; 0 when not even one. */
size_t http1_chunk_room(size_t room);

/* --- Date, made once a second --- */

enum { HTTP_DATE_BYTES = 29 }; /* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7) */
struct http_date {             /* zeroed memory is an empty one */
    int64_t unix_s;
    char text[HTTP_DATE_BYTES + 1];
};
/* Borrowed from *date until the next call. `wall_ms` is of the years 1970 to 9999. */
struct slice http_date_at(struct http_date *date, int64_t wall_ms);
