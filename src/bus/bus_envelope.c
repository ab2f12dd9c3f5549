/* bus_envelope - the codec. See bus_envelope.h. */
#include "bus/bus_envelope.h"

enum {
    VERSION = 1,
    AT_KIND = 1,
    AT_WHY = 2,
    AT_SUBJECT_LEN = 3,
    AT_REPLY_LEN = 4,
    AT_ZEROS = 5,
    AT_NUMBER = 8,
    AT_VALUE = 16,
    AT_EXTRA = 24,
};

bool envelope_has_frame(enum envelope_kind kind)
{
    return kind == ENVELOPE_PUBLISH || kind == ENVELOPE_DELIVER || kind == ENVELOPE_BOUNCE;
}

static bool has_subject(enum envelope_kind kind)
{
    return envelope_has_frame(kind) || kind == ENVELOPE_SUBSCRIBE;
}

static void put_u64(char *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (char)(uint8_t)(value >> (8 * i));
}

static uint64_t get_u64(const char *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | (uint8_t)at[i];
    return value;
}

static size_t put_slice(char *at, struct slice source)
{
    if (source.len)
        memcpy(at, source.data, source.len);
    return source.len;
}

void envelope_encode_head(const struct envelope *envelope, char out_bytes[ENVELOPE_HEAD_BYTES])
{
    ASSERT(envelope->subject.len <= BUS_SUBJECT_MAX_BYTES);
    ASSERT(envelope->reply.len <= BUS_SUBJECT_MAX_BYTES);
    memset(out_bytes, 0, ENVELOPE_HEAD_BYTES);
    out_bytes[0] = VERSION;
    out_bytes[AT_KIND] = (char)envelope->kind;
    out_bytes[AT_WHY] = (char)envelope->why;
    out_bytes[AT_SUBJECT_LEN] = (char)(uint8_t)envelope->subject.len;
    out_bytes[AT_REPLY_LEN] = (char)(uint8_t)envelope->reply.len;
    put_u64(out_bytes + AT_NUMBER, envelope->number);
    put_u64(out_bytes + AT_VALUE, envelope->value);
    put_u64(out_bytes + AT_EXTRA, envelope->extra);
}

size_t envelope_encode(const struct envelope *envelope, char out_bytes[ENVELOPE_MAX_BYTES])
{
    envelope_encode_head(envelope, out_bytes);
    size_t len = ENVELOPE_HEAD_BYTES;
    len += put_slice(out_bytes + len, envelope->subject);
    len += put_slice(out_bytes + len, envelope->reply);
    return len;
}

static enum err check(struct slice bytes)
{
    if (bytes.len < ENVELOPE_HEAD_BYTES)
        return ERR_PROTOCOL;
    const uint8_t *head = (const uint8_t *)bytes.data;
    size_t subject_len = head[AT_SUBJECT_LEN], reply_len = head[AT_REPLY_LEN];
    if (head[0] != VERSION || head[AT_KIND] == 0 || head[AT_KIND] >= ENVELOPE_KIND_END)
        return ERR_PROTOCOL;
    if (head[AT_WHY] >= ERR_COUNT || head[AT_ZEROS] || head[AT_ZEROS + 1] || head[AT_ZEROS + 2])
        return ERR_PROTOCOL;
    if (subject_len > BUS_SUBJECT_MAX_BYTES || reply_len > BUS_SUBJECT_MAX_BYTES)
        return ERR_PROTOCOL;
    if (has_subject(head[AT_KIND]) != (subject_len > 0))
        return ERR_PROTOCOL;
    if (reply_len > 0 && subject_len == 0)
        return ERR_PROTOCOL;
    return bytes.len == ENVELOPE_HEAD_BYTES + subject_len + reply_len ? ERR_OK : ERR_PROTOCOL;
}

enum err envelope_decode(struct slice bytes, struct envelope *out_envelope)
{
    TRY(check(bytes));
    const uint8_t *head = (const uint8_t *)bytes.data;
    struct slice names = slice_after(bytes, ENVELOPE_HEAD_BYTES);
    *out_envelope = (struct envelope){
        .kind = head[AT_KIND],
        .why = head[AT_WHY],
        .number = get_u64(bytes.data + AT_NUMBER),
        .value = get_u64(bytes.data + AT_VALUE),
        .extra = get_u64(bytes.data + AT_EXTRA),
        .subject = slice_first(names, head[AT_SUBJECT_LEN]),
        .reply = slice_after(names, head[AT_SUBJECT_LEN]),
    };
    return ERR_OK;
}

enum err envelope_decode_front(struct slice bytes, struct envelope *out_envelope,
                               struct slice *out_rest)
{
    if (bytes.len < ENVELOPE_HEAD_BYTES)
        return ERR_PROTOCOL;
    const uint8_t *head = (const uint8_t *)bytes.data;
    size_t len = ENVELOPE_HEAD_BYTES + head[AT_SUBJECT_LEN] + head[AT_REPLY_LEN];
    if (len > bytes.len)
        return ERR_PROTOCOL;
    TRY(envelope_decode(slice_first(bytes, len), out_envelope));
    *out_rest = slice_after(bytes, len);
    return ERR_OK;
}
