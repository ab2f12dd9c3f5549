/* frame - what travels on the bus: a header and N records. Described in docs/wire.md.
 *
 * Frame header, 16 bytes, little-endian:   Record header, 32 bytes, little-endian:
 *   0 u16 magic 0x524d ("MR")                0 u64 stream   the low 64 bits of the id
 *   2 u8  version (1)                        8 u64 seq      per (stream, epoch), from 1;
 *   3 u8  kind                                              0: not numbered
 *   4 u16 flags (0)                         16 u32 epoch
 *   6 u16 reserved (0)                      20 u32 payload_bytes
 *   8 u32 record_count                      24 u16 type
 *  12 u32 body_bytes (all records)          26 u16 flags
 *                                           28 u32 reserved (0)
 *                                           32 payload, not padded
 * Pure. The decoder trusts nothing: every length is checked before use, reserved fields must be 0.
 */
#pragma once

#include "base/slice.h"
#include "base/text.h"

enum {
    WIRE_MAGIC = 0x524d,
    WIRE_VERSION = 1,
    WIRE_FRAME_HEADER_BYTES = 16,
    WIRE_RECORD_HEADER_BYTES = 32
};
enum { WIRE_FRAME_MAX_BYTES = 16 * 1024 * 1024, WIRE_RECORDS_MAX = 65536 };

enum wire_kind {
    WIRE_CONTROL = 1, /* asker to manager or worker: submit, cancel, credit; worker to manager */
    WIRE_EVENTS = 2,  /* worker (or manager) to asker: numbered events, heartbeats */
    WIRE_STATE = 3,   /* broadcast: what a node is and how it is; replaced by the next one */
};

enum wire_type {
    WIRE_SUBMIT = 1,     /* payload: request.h; from the manager to a worker: seq = its number */
    WIRE_CANCEL = 2,     /* payload: empty */
    WIRE_CREDIT = 3,     /* payload: struct wire_credit */
    WIRE_HEARTBEAT = 4,  /* seq: the highest sent so far; payload: empty */
    WIRE_NODE_STATE = 5, /* payload: node_state.h */
    WIRE_UNKNOWN_STREAM = 6, /* to the asker: what you speak of is not here */
    WIRE_WAITING = 7,        /* asker to manager: do you still have it? payload: empty */
    WIRE_ASSIGNED = 8,       /* manager to asker: a worker has it. payload: assigned.h */
    WIRE_PING = 9,           /* to a worker, stream 0, empty: only its bounce says something */
    WIRE_MANAGER_STATE = 10, /* payload: manager_state.h */
    WIRE_LOAD = 11,          /* these four: worker to manager, load.h */
    WIRE_HELD = 12,
    WIRE_TAKEN = 13,
    WIRE_RELEASED = 14,
    WIRE_NODE_GONE = 15, /* manager to all, on "state.nodes". payload: the node's name */
    WIRE_EVENT = 16,     /* 16 + enum event_type: event.h; up to 255 */
    WIRE_EVENT_LAST = 255,
    WIRE_CALL = 256, /* these two: call.h */
    WIRE_ANSWER = 257,
    WIRE_METRICS = 258,      /* payload: metrics/feed.h */
    WIRE_STATE_WANTED = 259, /* to all nodes, on "state.wanted", empty: say your state now */
};

struct wire_record {
    uint64_t stream, seq;
    uint32_t epoch;
    uint16_t type, flags;
    struct slice payload; /* borrowed from the frame */
};

/* --- writing: begin, add records, finish --- */
struct wire_writer {
    struct text *out;
    size_t frame_start, record_start;
    uint32_t record_count;
    bool record_open;
};
void wire_begin(struct wire_writer *writer, struct text *out, enum wire_kind kind);
void wire_add(struct wire_writer *writer, const struct wire_record *record);
/* For payloads written in place: opens a record, the caller appends to writer->out, then closes. */
void wire_open_record(struct wire_writer *writer, const struct wire_record *record);
void wire_close_record(struct wire_writer *writer);
/* ERR_LIMIT: larger than WIRE_FRAME_MAX_BYTES, too many records, or `out` overflowed. */
MUST_USE enum err wire_finish(struct wire_writer *writer);

/* --- reading --- */
struct wire_reader {
    enum wire_kind kind;
    uint32_t records_left;
    struct slice rest;
};
/* ERR_PROTOCOL: not one whole frame of this version. */
MUST_USE enum err wire_open(struct slice frame, struct wire_reader *out_reader);
/* ERR_OK: *out_record; ERR_AGAIN: no more; ERR_PROTOCOL: lengths lie (the records before were fine,
 * the frame is dropped from here). */
MUST_USE enum err wire_next(struct wire_reader *reader, struct wire_record *out_record);

/* Credit: absolute, so that a lost, repeated or reordered one does no harm (the highest wins). */
struct wire_credit {
    uint64_t acked_seq;  /* all up to here has arrived without a gap: the producer may forget it */
    uint64_t seq_limit;  /* the producer may send events up to this seq */
    uint64_t byte_limit; /* and while the sum of its payload bytes so far is below this */
};
enum { WIRE_FLAG_RESEND = 1 }; /* on WIRE_CREDIT: send again everything after acked_seq */
void wire_add_credit(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                     const struct wire_credit *credit, bool resend);
MUST_USE enum err wire_read_credit(const struct wire_record *record, struct wire_credit *out);
