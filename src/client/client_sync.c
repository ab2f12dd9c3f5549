/* client_sync - see client_sync.h. */
#include "client/client_sync.h"

#include "base/mem.h"

/* An event that came in a turn and was not asked for yet. */
struct kept {
    struct list link;
    struct sse_event event;
    char bytes[]; /* its three strings */
};

struct client_sync {
    struct loop *loop;
    struct client_request *request; /* NULL: done */
    struct client_result result;
    enum err why; /* we gave up by ourselves; ERR_OK: we did not */
    int status;   /* 0: no head yet */
    struct list events;
    struct kept *given; /* the one the caller reads */
    struct text body;
};

static void give_up(struct client_sync *sync, enum err why)
{
    sync->why = why;
    client_request_cancel(sync->request);
}

static void on_head(void *ctx, const struct http1_response *response)
{
    struct client_sync *sync = ctx;
    sync->status = response->status;
}

static void on_body(void *ctx, struct slice bytes)
{
    struct client_sync *sync = ctx;
    text_add(&sync->body, bytes);
    if (text_status(&sync->body) != ERR_OK)
        give_up(sync, ERR_LIMIT);
}

/* Copies into *at, which moves on. */
static struct slice keep(char **at, struct slice string)
{
    char *start = *at;
    if (string.len > 0)
        memcpy(start, string.data, string.len);
    *at += string.len;
    return slice_of(start, string.len);
}

static void on_event(void *ctx, const struct sse_event *event)
{
    struct client_sync *sync = ctx;
    struct kept *kept =
        mem_peer_alloc(sizeof(*kept) + event->event.len + event->data.len + event->id.len);
    if (!kept) {
        give_up(sync, ERR_LIMIT);
        return;
    }
    char *at = kept->bytes;
    kept->event.event = keep(&at, event->event);
    kept->event.data = keep(&at, event->data);
    kept->event.id = keep(&at, event->id);
    list_init(&kept->link);
    list_push_back(&sync->events, &kept->link);
}

static void on_done(void *ctx, const struct client_result *result)
{
    struct client_sync *sync = ctx;
    sync->result = *result;
    sync->request = NULL;
}

static const struct client_events events = {
    .on_head = on_head, .on_body = on_body, .on_event = on_event, .on_done = on_done};

enum err client_sync_open(const struct client_options *options, struct client_sync **out_sync)
{
    struct client_sync *sync = mem_alloc(sizeof(*sync));
    *sync = (struct client_sync){.loop = loop_new()};
    list_init(&sync->events);
    text_init(&sync->body, CLIENT_SYNC_BODY_BYTES);
    enum err err = client_request_start(sync->loop, options, &events, sync, &sync->request);
    if (err != ERR_OK) {
        client_sync_close(&sync);
        return err;
    }
    *out_sync = sync;
    return ERR_OK;
}

static enum err outcome(const struct client_sync *sync)
{
    return sync->why != ERR_OK ? sync->why : sync->result.err;
}

enum err client_sync_status(struct client_sync *sync, int *out_status)
{
    while (sync->status == 0 && sync->request)
        (void)loop_turn(sync->loop, true); /* something or nothing: we look at the state */
    if (sync->status == 0)
        return outcome(sync);
    *out_status = sync->status;
    return ERR_OK;
}

enum err client_sync_next(struct client_sync *sync, struct sse_event *out_event)
{
    mem_free(sync->given);
    sync->given = NULL;
    while (list_is_empty(&sync->events) && sync->request)
        (void)loop_turn(sync->loop, true); /* as above */
    struct list *first = list_pop_front(&sync->events);
    if (!first)
        return outcome(sync) == ERR_OK ? ERR_NOT_FOUND : outcome(sync);
    sync->given = CONTAINER_OF(first, struct kept, link);
    *out_event = sync->given->event;
    return ERR_OK;
}

enum err client_sync_body(struct client_sync *sync, struct slice *out_body)
{
    while (sync->request)
        (void)loop_turn(sync->loop, true); /* as above */
    TRY(outcome(sync));
    *out_body = text_slice(&sync->body);
    return ERR_OK;
}

void client_sync_close(struct client_sync **sync)
{
    struct client_sync *going = *sync;
    *sync = NULL;
    if (!going)
        return;
    if (going->request)
        client_request_cancel(going->request);
    while (going->request)
        (void)loop_turn(going->loop, true); /* on_done() is on its way */
    for (struct list *first; (first = list_pop_front(&going->events));)
        mem_free(CONTAINER_OF(first, struct kept, link));
    mem_free(going->given);
    text_fini(&going->body);
    loop_free(going->loop);
    mem_free(going);
}
