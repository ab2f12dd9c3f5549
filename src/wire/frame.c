/* frame - writes and reads the header and the records of a bus frame. */
#include "wire/frame.h"

#include "wire/little.h"

enum { CREDIT_BYTES = 24 };

/* --- writing --- */

/* Room in place, or NULL once `out` has overflowed: wire_finish() then reports it. */
static char *claim(struct text *out, size_t bytes)
{
    if (out->overflowed)
        return NULL;
    char *room = text_reserve(out, bytes);
    if (room)
        out->len += bytes;
    return room;
}

void wire_begin(struct wire_writer *writer, struct text *out, enum wire_kind kind)
{
    *writer = (struct wire_writer){.out = out, .frame_start = out->len};
    char *header = claim(out, WIRE_FRAME_HEADER_BYTES);
    if (!header)
        return;
    memset(header, 0, WIRE_FRAME_HEADER_BYTES);
    little_put16(header, WIRE_MAGIC);
    header[2] = WIRE_VERSION;
    header[3] = (char)kind;
}

void wire_open_record(struct wire_writer *writer, const struct wire_record *record)
{
    ASSERT(!writer->record_open);
    writer->record_open = true;
    writer->record_start = writer->out->len;
    writer->record_count++;
    char *header = claim(writer->out, WIRE_RECORD_HEADER_BYTES);
    if (!header)
        return;
    little_put64(header, record->stream);
    little_put64(header + 8, record->seq);
    little_put32(header + 16, record->epoch);
    little_put32(header + 20, 0); /* payload_bytes: known when the record is closed */
    little_put16(header + 24, record->type);
    little_put16(header + 26, record->flags);
    little_put32(header + 28, 0);
}

void wire_close_record(struct wire_writer *writer)
{
    ASSERT(writer->record_open);
    writer->record_open = false;
    if (writer->out->overflowed)
        return;
    size_t payload_bytes = writer->out->len - writer->record_start - WIRE_RECORD_HEADER_BYTES;
    /* A payload beyond 4 GiB is cut here and refused, as any frame of that size, by wire_finish. */
    little_put32(writer->out->data + writer->record_start + 20, (uint32_t)payload_bytes);
}

void wire_add(struct wire_writer *writer, const struct wire_record *record)
{
    wire_open_record(writer, record);
    text_add(writer->out, record->payload);
    wire_close_record(writer);
}

enum err wire_finish(struct wire_writer *writer)
{
    ASSERT(!writer->record_open);
    TRY(text_status(writer->out));
    size_t frame_bytes = writer->out->len - writer->frame_start;
    if (frame_bytes > WIRE_FRAME_MAX_BYTES || writer->record_count > WIRE_RECORDS_MAX)
        return ERR_LIMIT;
    char *header = writer->out->data + writer->frame_start;
    little_put32(header + 8, writer->record_count);
    little_put32(header + 12, (uint32_t)(frame_bytes - WIRE_FRAME_HEADER_BYTES));
    return ERR_OK;
}

/* --- reading --- */

static bool kind_is_known(uint8_t kind)
{
    return kind == WIRE_CONTROL || kind == WIRE_EVENTS || kind == WIRE_STATE;
}

enum err wire_open(struct slice frame, struct wire_reader *out_reader)
{
    if (frame.len < WIRE_FRAME_HEADER_BYTES || frame.len > WIRE_FRAME_MAX_BYTES)
        return ERR_PROTOCOL;
    const char *header = frame.data;
    uint8_t kind = (uint8_t)header[3];
    if (little_get16(header) != WIRE_MAGIC || header[2] != WIRE_VERSION || !kind_is_known(kind) ||
        little_get32(header + 4) != 0) /* flags and reserved */
        return ERR_PROTOCOL;

    struct slice body = slice_after(frame, WIRE_FRAME_HEADER_BYTES);
    uint32_t record_count = little_get32(header + 8);
    if (little_get32(header + 12) != body.len || record_count > WIRE_RECORDS_MAX ||
        record_count > body.len / WIRE_RECORD_HEADER_BYTES)
        return ERR_PROTOCOL;
    *out_reader = (struct wire_reader){kind, record_count, body};
    return ERR_OK;
}

enum err wire_next(struct wire_reader *reader, struct wire_record *out_record)
{
    if (reader->records_left == 0)
        return reader->rest.len == 0 ? ERR_AGAIN : ERR_PROTOCOL;
    if (reader->rest.len < WIRE_RECORD_HEADER_BYTES)
        return ERR_PROTOCOL;
    const char *header = reader->rest.data;
    struct slice after_header = slice_after(reader->rest, WIRE_RECORD_HEADER_BYTES);
    uint32_t payload_bytes = little_get32(header + 20);
    if (payload_bytes > after_header.len || little_get32(header + 28) != 0)
        return ERR_PROTOCOL;

    *out_record = (struct wire_record){
        .stream = little_get64(header),
        .seq = little_get64(header + 8),
        .epoch = little_get32(header + 16),
        .type = little_get16(header + 24),
        .flags = little_get16(header + 26),
        .payload = slice_first(after_header, payload_bytes),
    };
    reader->records_left--;
    reader->rest = slice_after(after_header, payload_bytes);
    return ERR_OK;
}

/* --- credit --- */

void wire_add_credit(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                     const struct wire_credit *credit, bool resend)
{
    char payload[CREDIT_BYTES];
    little_put64(payload, credit->acked_seq);
    little_put64(payload + 8, credit->seq_limit);
    little_put64(payload + 16, credit->byte_limit);
    wire_add(writer, &(struct wire_record){.stream = stream,
                                           .epoch = epoch,
                                           .type = WIRE_CREDIT,
                                           .flags = resend ? WIRE_FLAG_RESEND : 0,
                                           .payload = slice_of(payload, sizeof(payload))});
}

enum err wire_read_credit(const struct wire_record *record, struct wire_credit *out)
{
    if (record->type != WIRE_CREDIT || record->payload.len != CREDIT_BYTES)
        return ERR_PROTOCOL;
    const char *payload = record->payload.data;
    *out = (struct wire_credit){little_get64(payload), little_get64(payload + 8),
                                little_get64(payload + 16)};
    return ERR_OK;
}
