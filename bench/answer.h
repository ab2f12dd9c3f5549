/* answer - one HTTP answer, judged while it comes: is it of the right form, whole, and how many
 * events had it? Pure: no I/O, no clock. Bytes may come cut anywhere; the result does not depend on
 * the cut.
 *
 * Made to cost little beside a server: head and framing go through client/http1_response, which is
 * strict; an event's JSON is not parsed, only its first and last byte are looked at.
 * chat_check.h looks closer, and costs more.
 *
 * 1. What is wrong is found as early as the bytes allow, and then nothing else is taken.
 * 2. An answer of events is right when its status is 200, its type text/event-stream, every event
 *    one of data that begins with { and ends with }, none of them an error, the last one [DONE],
 *    and the body ends there. Comments and other fields may stand between.
 * 3. An answer of JSON is right when its status is 200, and its body begins with { and ends with };
 *    one of a page when its status is 200.
 * 4. A line that came in pieces is kept until it is whole, up to ANSWER_LINE_MAX_BYTES. */
#pragma once

#include "base/text.h"
#include "client/http1_response.h"

enum { ANSWER_HEAD_MAX_BYTES = 16 << 10, ANSWER_LINE_MAX_BYTES = 1 << 20 };

enum answer_kind { ANSWER_OF_EVENTS, ANSWER_OF_JSON, ANSWER_OF_PAGE };
enum answer_state { ANSWER_HEAD, ANSWER_BODY, ANSWER_WHOLE, ANSWER_WRONG };

/* The data of each event but [DONE]. */
typedef void answer_data_fn(void *ctx, struct slice data);

struct answer {
    /* Only to be read. */
    enum answer_state state;
    int status;      /* 0: no head came yet, or only interim ones */
    bool keep_alive; /* the connection may be used again; once WHOLE */
    bool is_touched; /* a byte came */
    uint32_t events; /* so far, [DONE] among them */
    char problem[160];

    /* Private. */
    enum answer_kind kind;
    bool is_stream;   /* of its type and a 200 */
    bool has_data;    /* the event that is coming has its data */
    bool is_done;     /* [DONE] came */
    struct text kept; /* the pieces of the head, of a line, or a body that is no event stream */
    union {
        struct http1_response_parser head;
        struct http1_response_body body;
    } parse;
    answer_data_fn *on_data; /* NULL: nobody wants it */
    void *ctx;
};

void answer_init(struct answer *answer, enum answer_kind kind, answer_data_fn *on_data, void *ctx);
void answer_fini(struct answer *answer); /* a zeroed one is fine */
/* Takes bytes until the answer is WHOLE or WRONG; bytes behind its end make it WRONG. */
void answer_feed(struct answer *answer, struct slice bytes);
/* The peer's FIN, or a reset: WHOLE only where the framing says so. */
void answer_end(struct answer *answer);
/* WRONG, for a reason of the caller's; the first one stays. */
void answer_fail(struct answer *answer, const char *format, ...) PRINTF_LIKE(2, 3);
/* The body of a whole answer that is no event stream. */
struct slice answer_body(const struct answer *answer);
