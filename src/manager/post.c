/* post - see post.h. */
#include "manager/post.h"

#include "base/mem.h"

enum { KEPT_BYTES = 4096 /* of a frame's memory, between turns */ };

struct parcel {
    char subject[BUS_SUBJECT_MAX_BYTES];
    size_t subject_bytes;
    enum wire_kind kind;
    struct text text;
    struct wire_writer writer;
};

struct post {
    struct bus *bus;
    struct parcel parcels[POST_SUBJECTS_MAX];
    size_t count;
    struct deferred flush;
    struct post_stats stats;
};

static struct slice subject_of(const struct parcel *parcel)
{
    return slice_of(parcel->subject, parcel->subject_bytes);
}

/* Empty afterwards, ready for more. */
static void send_parcel(struct post *post, struct parcel *parcel)
{
    if (parcel->writer.record_count == 0)
        return;
    enum err err = wire_finish(&parcel->writer);
    if (err == ERR_OK)
        err = bus_publish(post->bus, subject_of(parcel), bus_inbox(post->bus),
                          text_slice(&parcel->text));
    if (err == ERR_OK)
        post->stats.frames++;
    else
        post->stats.lost++;
    if (parcel->text.capacity > KEPT_BYTES)
        text_fini(&parcel->text);
    text_clear(&parcel->text);
    wire_begin(&parcel->writer, &parcel->text, parcel->kind);
}

void post_flush(struct post *post)
{
    size_t count = post->count;
    post->count = 0;
    for (size_t i = 0; i < count; i++)
        send_parcel(post, &post->parcels[i]);
}

static void on_flush(void *ctx)
{
    post_flush(ctx);
}

static struct parcel *find(struct post *post, enum wire_kind kind, struct slice subject)
{
    for (size_t i = post->count; i-- > 0;) /* the last one is the likely one */
        if (post->parcels[i].kind == kind && slice_eq(subject_of(&post->parcels[i]), subject))
            return &post->parcels[i];
    return NULL;
}

static struct parcel *begin(struct post *post, enum wire_kind kind, struct slice subject)
{
    if (post->count == POST_SUBJECTS_MAX)
        post_flush(post);
    struct parcel *parcel = &post->parcels[post->count++];
    memcpy(parcel->subject, subject.data, subject.len);
    parcel->subject_bytes = subject.len;
    parcel->kind = kind;
    text_clear(&parcel->text);
    wire_begin(&parcel->writer, &parcel->text, kind);
    loop_before_sleep(bus_loop(post->bus), &post->flush);
    return parcel;
}

struct wire_writer *post_to(struct post *post, enum wire_kind kind, struct slice subject,
                            size_t bytes)
{
    if (subject.len == 0 || subject.len > BUS_SUBJECT_MAX_BYTES)
        return NULL;
    struct parcel *parcel = find(post, kind, subject);
    if (!parcel)
        parcel = begin(post, kind, subject);
    if (parcel->text.len + bytes > POST_FRAME_BYTES)
        send_parcel(post, parcel);
    return &parcel->writer;
}

struct post *post_new(struct bus *bus)
{
    struct post *post = mem_alloc(sizeof(*post));
    post->bus = bus;
    for (size_t i = 0; i < POST_SUBJECTS_MAX; i++)
        text_init(&post->parcels[i].text, WIRE_FRAME_MAX_BYTES);
    deferred_init(&post->flush, on_flush, post);
    return post;
}

void post_free(struct post *post)
{
    if (!post)
        return;
    deferred_cancel(&post->flush);
    for (size_t i = 0; i < POST_SUBJECTS_MAX; i++)
        text_fini(&post->parcels[i].text);
    mem_free(post);
}

struct post_stats post_stats(const struct post *post)
{
    return post->stats;
}
