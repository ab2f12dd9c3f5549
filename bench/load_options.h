/* load_options - the command line of load, checked. Pure but for the text of --help. */
#pragma once

#include "base/text.h"
#include "net/listener.h"

enum load_mode {
    LOAD_STREAMS,
    LOAD_OPEN,
    LOAD_ABORT,
    LOAD_SLOW,
    LOAD_IDLE,
    LOAD_ARRIVE,
    LOAD_MODE_COUNT
};
enum load_phase { PHASE_QUEUED, PHASE_PREFILL, PHASE_DECODE };
enum load_kind { KIND_KEEPALIVE, KIND_SSE };
enum load_ready { READY_HEAD, READY_EVENT };
enum load_poll_peer { POLL_MILLRACE, POLL_LLAMA };

struct load_options {
    enum load_mode mode;
    const char *url;
    struct net_address address; /* of url; loopback */
    uint32_t pid;               /* of the server; 0: unknown */

    /* The request. */
    const char *path, *model;
    const char *extra;     /* members added to the body; NULL: none */
    const char *body_file; /* NULL: the body is made */
    const char *bodies;    /* a file with a body in each line, asked for in turn; NULL: none */
    const char *key;       /* API key; NULL: none is sent */
    uint32_t max_tokens;
    uint32_t body_bytes; /* the made body is filled up to so many; 0: as short as it can be */
    uint32_t events;     /* that each answer must have; 0: as many as the first one */
    bool is_json;        /* answers are JSON objects, not streams */
    bool is_closing;     /* a connection for each request */
    bool has_clock;      /* the text of an event is the microsecond it was made at */
    bool has_usage;      /* each stream tells its tokens, of which it must have max_tokens */

    double timeout_s; /* of one stream */
    uint32_t seed;

    uint32_t concurrency, requests; /* streams, abort, arrive */
    double leave_ratio;             /* streams */
    bool has_no_tail;               /* streams: over when the last one has begun */
    double rate, seconds;           /* open; seconds also of idle, arrive */
    uint32_t phase, poll;           /* abort */
    double settle_s;                /* slow, idle: before memory is read */
    uint32_t slow, slow_bytes_per_s, fast, fast_requests;
    uint32_t kind, ready, connections; /* idle */
};

const char *load_mode_name(enum load_mode mode);
/* argv[0] is the program. ERR_CANCELLED: --help was asked for. ERR_PROTOCOL or ERR_LIMIT + note:
 * which option, and what it may be. */
MUST_USE enum err load_options_parse(int argc, const char *const *argv,
                                     struct load_options *out_options, struct err_note *out_note);
void load_options_help(struct text *out);
