/* loading_page - GET /v1/loading/progress: see loading_page.h. */
#include "gateway/loading_page.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/reply.h"
#include "sse/sse.h"

enum {
    MODEL_NAME_MAX_BYTES = 256, /* of a node state */
    MESSAGE_MAX_BYTES = 512,
    EVENT_MAX_BYTES = 16 * 1024, /* more than both of them, escaped */
    TICK_MS = 1000,
    MIB = 1024 * 1024,
};

enum stage { STAGE_UNKNOWN, STAGE_LOADING, STAGE_READY, STAGE_ERROR };

struct loading {
    struct gateway *gateway;
    struct list subscribers;
    size_t count;
    struct deferred review; /* once a turn, whatever it brought */
    struct deadline tick;   /* for what nobody says: silence, pings; while there are subscribers */
};

/* A model that a client is told about, and what it was told last. */
struct followed {
    struct list link;
    enum stage stage;
    float fraction;
    size_t name_bytes;
    char name[];
};

struct subscriber {
    struct list link;
    struct loading *loading;
    struct http_conn *conn;
    struct key *key;  /* NULL: nobody's */
    bool follows_all; /* no model was named: all that load */
    struct list followed;
    size_t followed_count;
    uint64_t unsent_bytes; /* written, and not out of user space */
    uint64_t said_us, news_us;
    struct free_later free_later;
};

static uint64_t now_us(const struct loading *loading)
{
    return loop_now_us(loading->gateway->loop);
}

/* --- how it is with a model --- */

struct view {
    enum stage stage;
    const struct node_state *node; /* NULL: nobody has it */
    struct slice message;          /* of STAGE_ERROR */
};

/* Later what nobody has spoken of does not exist. */
static bool is_greeting(const struct loading *loading)
{
    return now_us(loading) - loading->gateway->opened_us < GATEWAY_GREETING_MS * UINT64_C(1000);
}

static struct slice cut(struct slice message)
{
    struct slice first = slice_first(message, MESSAGE_MAX_BYTES);
    return first.len < message.len ? slice_first(first, utf8_settled(first)) : message;
}

static struct view view_of_node(const struct node_state *node)
{
    switch (node->phase) {
    case NODE_LOADING:
        return (struct view){.stage = STAGE_LOADING, .node = node};
    case NODE_READY:
        return (struct view){.stage = STAGE_READY, .node = node};
    case NODE_DRAINING:
        return (struct view){STAGE_ERROR, node, SLICE("the model's worker is stopping")};
    case NODE_FAILED:
    case NODE_PHASE_COUNT:
        break;
    }
    return (struct view){STAGE_ERROR, node, cut(node->detail)};
}

static struct view look(const struct loading *loading, struct slice model)
{
    struct model_table *models = loading->gateway->models;
    const struct node_state *node = model_table_find(models, model);
    if (node)
        return view_of_node(node);
    if (is_greeting(loading) || model_table_knows(models, model))
        return (struct view){.stage = STAGE_UNKNOWN};
    return (struct view){.stage = STAGE_ERROR, .message = SLICE("no worker serves this model")};
}

/* --- events --- */

static void add_loading(struct json_out *json, const struct node_state *node)
{
    double fraction = (double)node->load_fraction;
    json_out_add_u64(json, "layers_loaded", (uint64_t)(fraction * node->layers));
    json_out_add_u64(json, "layers_total", node->layers);
    json_out_add_u64(json, "vram_mb", (uint64_t)(fraction * (double)node->size_bytes / MIB));
    json_out_add_u64(json, "device", 0);
    json_out_add_double(json, "fraction", fraction);
}

static void add_event(struct text *out, struct slice model, const struct view *view)
{
    static const char *const names[] = {
        [STAGE_LOADING] = "loading_to_vram", [STAGE_READY] = "ready", [STAGE_ERROR] = "error"};
    struct text data;
    text_init(&data, EVENT_MAX_BYTES);
    struct json_out json = json_out_to(&data);
    json_out_begin_object(&json);
    json_out_add_string(&json, "stage", slice_str(names[view->stage]));
    json_out_add_string(&json, "model", model);
    if (view->stage == STAGE_LOADING)
        add_loading(&json, view->node);
    else if (view->stage == STAGE_ERROR)
        json_out_add_string(&json, "message", view->message);
    json_out_end_object(&json);
    sse_add_data(out, text_slice(&data));
    text_fini(&data);
}

/* --- a client --- */

static void release(void *pointer)
{
    struct subscriber *subscriber = pointer;
    LIST_FOREACH_SAFE (link, &subscriber->followed)
        mem_free(CONTAINER_OF(link, struct followed, link));
    key_unref(subscriber->key);
    mem_free(subscriber);
}

/* Its connection is gone, or ended. */
static void forget(struct subscriber *subscriber)
{
    struct loading *loading = subscriber->loading;
    list_remove(&subscriber->link);
    if (--loading->count == 0)
        deadline_clear(&loading->tick);
    loop_free_later(loading->gateway->loop, &subscriber->free_later, release, subscriber);
}

static void end(struct subscriber *subscriber)
{
    struct http_conn *conn = subscriber->conn;
    forget(subscriber);
    http_conn_end(conn);
}

/* False: it did not fit, or the connection is closing. */
static bool write_out(struct subscriber *subscriber, const struct text *bytes)
{
    if (text_status(bytes) != ERR_OK ||
        http_conn_write(subscriber->conn, text_slice(bytes)) != ERR_OK)
        return false;
    subscriber->unsent_bytes += bytes->len;
    subscriber->said_us = now_us(subscriber->loading);
    return true;
}

static bool is_news(const struct followed *followed, const struct view *view)
{
    return view->stage != STAGE_UNKNOWN &&
           (view->stage != followed->stage ||
            (view->stage == STAGE_LOADING && view->node->load_fraction != followed->fraction));
}

static bool is_over(const struct followed *followed)
{
    return followed->stage == STAGE_READY || followed->stage == STAGE_ERROR;
}

/* False: nothing can be written now. */
static bool tell(struct subscriber *subscriber, struct followed *followed)
{
    struct slice model = slice_of(followed->name, followed->name_bytes);
    if (is_over(followed))
        return true;
    struct view view = look(subscriber->loading, model);
    if (!is_news(followed, &view))
        return true;
    struct text bytes;
    text_init(&bytes, EVENT_MAX_BYTES);
    add_event(&bytes, model, &view);
    bool is_told = write_out(subscriber, &bytes);
    text_fini(&bytes);
    if (!is_told)
        return false;
    followed->stage = view.stage;
    followed->fraction = view.node ? view.node->load_fraction : 0;
    subscriber->news_us = now_us(subscriber->loading);
    return true;
}

static bool follows(const struct subscriber *subscriber, struct slice model)
{
    LIST_FOREACH (link, &subscriber->followed) {
        const struct followed *followed = CONTAINER_OF(link, struct followed, link);
        if (slice_eq(slice_of(followed->name, followed->name_bytes), model))
            return true;
    }
    return false;
}

static void follow(struct subscriber *subscriber, struct slice model)
{
    if (subscriber->followed_count == LOADING_FOLLOWED_MAX || follows(subscriber, model))
        return;
    struct followed *followed = mem_alloc(sizeof(*followed) + model.len);
    followed->stage = STAGE_UNKNOWN;
    followed->name_bytes = model.len;
    memcpy(followed->name, model.data, model.len);
    list_push_back(&subscriber->followed, &followed->link);
    subscriber->followed_count++;
}

static void follow_all(struct subscriber *subscriber)
{
    struct model_table *models = subscriber->loading->gateway->models;
    const struct node_state *node;
    for (size_t cursor = 0; (node = model_table_next(models, &cursor));)
        if (node->phase == NODE_LOADING && model_table_find(models, node->model) == node)
            follow(subscriber, node->model);
}

/* Nothing but the terminator is left to say. False: there is. */
static bool end_if_over(struct subscriber *subscriber)
{
    LIST_FOREACH (link, &subscriber->followed)
        if (!is_over(CONTAINER_OF(link, struct followed, link)))
            return false;
    struct text bytes;
    text_init(&bytes, EVENT_MAX_BYTES);
    sse_add_data(&bytes, SLICE("[DONE]"));
    bool is_told = write_out(subscriber, &bytes);
    text_fini(&bytes);
    if (is_told)
        end(subscriber);
    return true;
}

/* Rule 1: what was said before has left. May end it. */
static void review(struct subscriber *subscriber)
{
    if (subscriber->unsent_bytes > 0)
        return;
    if (subscriber->follows_all)
        follow_all(subscriber);
    LIST_FOREACH (link, &subscriber->followed)
        if (!tell(subscriber, CONTAINER_OF(link, struct followed, link)))
            return;
    (void)end_if_over(subscriber); /* else it goes on */
}

static void on_review(void *ctx)
{
    struct loading *loading = ctx;
    LIST_FOREACH_SAFE (link, &loading->subscribers)
        review(CONTAINER_OF(link, struct subscriber, link));
}

static void review_soon(void *ctx)
{
    struct loading *loading = ctx;
    if (loading->count > 0)
        loop_defer(loading->gateway->loop, &loading->review);
}

/* --- what time brings --- */

static void ping(struct subscriber *subscriber)
{
    struct text bytes;
    text_init(&bytes, EVENT_MAX_BYTES);
    sse_add_ping(&bytes);
    (void)write_out(subscriber, &bytes); /* no room: then it is not silent either */
    text_fini(&bytes);
}

static void look_at_clock(struct subscriber *subscriber)
{
    const struct loading *loading = subscriber->loading;
    uint64_t ping_us = loading->gateway->options.ping_ms * UINT64_C(1000);
    if (now_us(loading) - subscriber->news_us >= LOADING_IDLE_MS * UINT64_C(1000))
        end(subscriber); /* rule 2 */
    else if (now_us(loading) - subscriber->said_us >= ping_us && subscriber->unsent_bytes == 0)
        ping(subscriber);
}

static void on_tick(void *ctx)
{
    struct loading *loading = ctx;
    deadline_after(&loading->tick, TICK_MS * UINT64_C(1000));
    on_review(loading); /* may be the end of the last one, and of the tick */
    LIST_FOREACH_SAFE (link, &loading->subscribers)
        look_at_clock(CONTAINER_OF(link, struct subscriber, link));
}

/* --- what its connection says --- */

static void on_client_gone(void *ctx, enum err why)
{
    (void)why; /* whatever it was, nobody listens */
    forget(ctx);
}

static void on_sent(void *ctx, size_t bytes)
{
    struct subscriber *subscriber = ctx;
    subscriber->unsent_bytes -= bytes;
    review_soon(subscriber->loading);
}

static void begin_stream(struct http_conn *conn)
{
    http_conn_begin(conn, 200, SLICE("text/event-stream"),
                    SLICE("Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"));
}

static struct subscriber *subscribe(struct loading *loading, struct http_conn *conn,
                                    struct key *key)
{
    static const struct http_reply_events events = {.on_gone = on_client_gone, .on_sent = on_sent};
    struct subscriber *subscriber = mem_alloc(sizeof(*subscriber));
    *subscriber = (struct subscriber){.loading = loading,
                                      .conn = conn,
                                      .key = key_ref(key),
                                      .said_us = now_us(loading),
                                      .news_us = now_us(loading)};
    list_init(&subscriber->followed);
    list_push_back(&loading->subscribers, &subscriber->link);
    if (loading->count++ == 0)
        deadline_after(&loading->tick, TICK_MS * UINT64_C(1000));
    http_conn_listen(conn, &events, subscriber);
    begin_stream(conn);
    return subscriber;
}

/* --- the question --- */

MUST_USE static enum err refuse_unknown(struct slice model, struct api_error *out_error)
{
    return api_error_set(out_error, 404, "model_not_found", "model",
                         "the model '" SLICE_FMT "' does not exist", SLICE_ARG(model));
}

MUST_USE static enum err refuse_idle(const struct loading *loading, struct api_error *out_error)
{
    enum err err = api_error_set(out_error, 503, "not_loading", NULL,
                                 "no model is being loaded; ?model=NAME asks for one by its name");
    out_error->retry_after_ms = is_greeting(loading) ? TICK_MS : 0; /* nobody may have spoken yet */
    return err;
}

static bool is_any_loading(const struct loading *loading)
{
    struct model_table *models = loading->gateway->models;
    const struct node_state *node;
    for (size_t cursor = 0; (node = model_table_next(models, &cursor));)
        if (node->phase == NODE_LOADING && model_table_find(models, node->model) == node)
            return true;
    return false;
}

/* Left as it is, empty, when none was named. */
MUST_USE static enum err read_model(const struct http_request *request, struct text *model,
                                    struct api_error *out_error)
{
    enum err err = http_query_value(request->query, "model", model);
    if (err == ERR_OK || err == ERR_NOT_FOUND)
        return ERR_OK;
    return api_error_set(out_error, 400, "invalid_value", "model",
                         "model must be the name of a model, of at most %d bytes of UTF-8",
                         MODEL_NAME_MAX_BYTES);
}

/* NULL: that all have together, where there are no keys. */
static size_t count_of(const struct loading *loading, const struct key *key)
{
    size_t count = 0;
    LIST_FOREACH (link, &loading->subscribers)
        count += CONTAINER_OF(link, struct subscriber, link)->key == key;
    return count;
}

MUST_USE static enum err refuse_many(const struct loading *loading, const struct key *key,
                                     struct api_error *out_error)
{
    enum err err = ERR_OK;
    if (key && count_of(loading, key) >= LOADING_PER_KEY_MAX)
        err = api_error_set(out_error, 429, "rate_limited", NULL,
                            "this API key follows the loading of models %d times here already",
                            LOADING_PER_KEY_MAX);
    else if (loading->count == LOADING_SUBSCRIBERS_MAX)
        err = api_error_set(out_error, 503, "overloaded", NULL,
                            "%d clients follow the loading of models already",
                            LOADING_SUBSCRIBERS_MAX);
    if (err != ERR_OK)
        out_error->retry_after_ms = TICK_MS;
    return err;
}

MUST_USE static enum err may_subscribe(const struct loading *loading, struct slice model,
                                       const struct key *key, struct api_error *out_error)
{
    struct view view = look(loading, model);
    if (loading->gateway->draining)
        return api_error_set(out_error, 503, "draining", NULL, "this server is stopping");
    if (model.len > 0 && view.stage == STAGE_ERROR && !view.node)
        return refuse_unknown(model, out_error);
    if (model.len == 0 && !is_any_loading(loading))
        return refuse_idle(loading, out_error);
    return refuse_many(loading, key, out_error);
}

static void answer(struct loading *loading, struct http_conn *conn, enum http_method method,
                   struct slice model, struct key *key)
{
    if (method == HTTP_HEAD) { /* what GET would begin with */
        begin_stream(conn);
        http_conn_end(conn);
        return;
    }
    struct subscriber *subscriber = subscribe(loading, conn, key);
    subscriber->follows_all = model.len == 0;
    if (model.len > 0)
        follow(subscriber, model);
    else
        follow_all(subscriber); /* what loads now: it may be over before the review */
    review_soon(loading);
}

void loading_page_answer(struct gateway *gateway, struct http_conn *conn,
                         const struct http_request *request, const struct route_match *match)
{
    (void)match;
    struct text model;
    struct api_error error;
    struct key *key = NULL; /* it was looked at a moment ago, by who called the route */
    enum key_verdict verdict = key_ring_check(gateway->keys, request, &key);
    ASSERT_MSG(verdict == KEY_FINE, "verdict %d", (int)verdict);
    text_init(&model, MODEL_NAME_MAX_BYTES);
    enum err err = read_model(request, &model, &error);
    if (err == ERR_OK)
        err = may_subscribe(gateway->loading, text_slice(&model), key, &error);
    if (err == ERR_OK)
        answer(gateway->loading, conn, request->method, text_slice(&model), key);
    else
        gateway_refuse(gateway, conn, &error, SLICE(""));
    text_fini(&model);
}

/* --- life --- */

struct loading *loading_new(struct gateway *gateway)
{
    struct loading *loading = mem_alloc(sizeof(*loading));
    loading->gateway = gateway;
    list_init(&loading->subscribers);
    deferred_init(&loading->review, on_review, loading);
    deadline_init(&loading->tick, gateway->loop, on_tick, loading);
    return loading;
}

void loading_start(struct loading *loading)
{
    model_table_on_change(loading->gateway->models, review_soon, loading);
}

void loading_drain(struct loading *loading)
{
    LIST_FOREACH_SAFE (link, &loading->subscribers)
        end(CONTAINER_OF(link, struct subscriber, link));
}

void loading_free(struct loading *loading)
{
    if (!loading)
        return;
    ASSERT(list_is_empty(&loading->subscribers));
    if (loading->gateway->models)
        model_table_on_change(loading->gateway->models, NULL, NULL);
    deferred_cancel(&loading->review);
    deadline_clear(&loading->tick);
    mem_free(loading);
}

size_t loading_subscribers(const struct loading *loading)
{
    return loading->count;
}
