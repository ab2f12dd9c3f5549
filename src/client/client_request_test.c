/* client_request_test - exchanges with a scripted peer over loopback, in virtual time. */
#include "base/mem.h"
#include "client/client_request.h"
#include "net/rig.h"
#include "testing/test.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MS = 1000, LOG_MAX_BYTES = 1 << 20 };

enum moment { NEVER, AT_START, AT_HEAD, AT_BODY, AT_EVENT };

/* A loop with a peer's listener on it, and at most one client at a time. */
struct scene {
    struct rig rig;
    struct client_options options;
    struct client_request *request;
    struct text log; /* what the callbacks told */
    int done_calls;
    bool in_start;
    enum moment cancel_at;
    struct client_result result;
};

static void note(struct scene *scene, enum moment moment)
{
    CHECK_EQ(scene->done_calls, 0);
    CHECK(!scene->in_start);
    CHECK(client_request_state(scene->request) != CLIENT_DONE);
    if (scene->cancel_at == moment)
        client_request_cancel(scene->request);
}

static void on_head(void *ctx, const struct http1_response *response)
{
    struct scene *scene = ctx;
    text_add_f(&scene->log, "%d " SLICE_FMT "\n", response->status, SLICE_ARG(response->reason));
    note(scene, AT_HEAD);
}

static void on_body(void *ctx, struct slice bytes)
{
    struct scene *scene = ctx;
    text_add(&scene->log, bytes);
    note(scene, AT_BODY);
}

static void on_event(void *ctx, const struct sse_event *event)
{
    struct scene *scene = ctx;
    text_add_f(&scene->log, SLICE_FMT "=" SLICE_FMT "\n", SLICE_ARG(event->event),
               SLICE_ARG(event->data));
    note(scene, AT_EVENT);
}

static void on_done(void *ctx, const struct client_result *result)
{
    struct scene *scene = ctx;
    CHECK(!scene->in_start);
    scene->done_calls++;
    scene->result = *result;
    client_request_cancel(scene->request); /* harmless to the last */
    scene->request = NULL;
}

static const struct client_events events = {
    .on_head = on_head, .on_body = on_body, .on_event = on_event, .on_done = on_done};

static void scene_open(struct scene *scene)
{
    *scene = (struct scene){0};
    rig_open(&scene->rig, loop_new_virtual(MS), 1 << 20);
    text_init(&scene->log, LOG_MAX_BYTES);
    scene->options = (struct client_options){
        .address = scene->rig.address,
        .method = "POST",
        .target = SLICE("/v1/x?y"),
        .fields = SLICE("Accept: text/event-stream\r\n"),
        .body = SLICE("{}"),
        .end_us = 10 * MS,
    };
}

static void scene_close(struct scene *scene)
{
    CHECK(scene->request == NULL);
    text_fini(&scene->log);
    rig_close(&scene->rig);
}

static void start(struct scene *scene)
{
    text_clear(&scene->log);
    scene->done_calls = 0;
    scene->result = (struct client_result){0};
    scene->in_start = true;
    CHECK_OK(
        client_request_start(scene->rig.loop, &scene->options, &events, scene, &scene->request));
    if (scene->cancel_at == AT_START)
        client_request_cancel(scene->request);
    CHECK_EQ(scene->done_calls, 0);
    scene->in_start = false;
}

static struct end *peer(struct scene *scene)
{
    return &scene->rig.ends[scene->rig.accepted - 1];
}

/* Started, and the peer has all of the request. */
static void start_and_ask(struct scene *scene)
{
    int accepted = scene->rig.accepted;
    start(scene);
    TURN_UNTIL(&scene->rig, scene->rig.accepted == accepted + 1 &&
                                slice_ends_with(text_slice(&peer(scene)->in), SLICE("\r\n\r\n{}")));
}

static void settle(struct scene *scene)
{
    CHECK(rig_is_quiet(&scene->rig));
}

/* The client has read it when this returns. */
static void answer(struct scene *scene, struct slice bytes)
{
    if (bytes.len > 0 && peer(scene)->stream)
        CHECK_OK(stream_write(peer(scene)->stream, bytes));
    settle(scene);
}

static void hang_up(struct scene *scene)
{
    if (peer(scene)->stream)
        end_close(peer(scene));
    TURN_UNTIL(&scene->rig, peer(scene)->stream == NULL);
    settle(scene);
}

static void reset(struct scene *scene)
{
    if (peer(scene)->stream) {
        peer(scene)->deaf = true;
        stream_abort(peer(scene)->stream);
    }
    TURN_UNTIL(&scene->rig, peer(scene)->stream == NULL);
    settle(scene);
}

static void check_done(struct scene *scene, enum err err, enum client_state at)
{
    TURN_UNTIL(&scene->rig, scene->done_calls > 0);
    settle(scene);
    CHECK_EQ(scene->done_calls, 1);
    CHECK_ERR(scene->result.err, err);
    CHECK_STR(client_state_name(scene->result.at), client_state_name(at));
    if (scene->rig.accepted > 0)
        hang_up(scene);
}

static const struct slice sse = SLICE("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; q\r\n"
                                      "Transfer-Encoding: chunked\r\n\r\n"
                                      "9\r\ndata: a\n\n\r\n"
                                      "17\r\n: ping\nevent: x\ndata:b\n\r\n"
                                      "1\r\n\n\r\n"
                                      "0\r\n\r\n");
static const struct slice sse_told = SLICE("200 OK\nmessage=a\nx=b\n");
static const struct slice json = SLICE("HTTP/1.1 503 Busy\r\nContent-Length: 8\r\n"
                                       "Retry-After: 2\r\n\r\n{\"a\":1}\n");
static const struct slice until_close = SLICE("HTTP/1.1 200 OK\r\n\r\nbytes");

TEST(the_request_is_one_well_formed_message)
{
    struct scene scene;
    char expected[256];
    char host[64];
    scene_open(&scene);
    start_and_ask(&scene);
    net_address_format(&scene.rig.address, host);
    (void)snprintf(expected, sizeof expected,
                   "POST /v1/x?y HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n"
                   "Content-Length: 2\r\nConnection: close\r\n\r\n{}",
                   host); /* fits */
    CHECK_SLICES(text_slice(&peer(&scene)->in), slice_str(expected));
    answer(&scene, json);
    hang_up(&scene);
    check_done(&scene, ERR_OK, CLIENT_END);
    scene_close(&scene);
}

TEST(an_exchange_is_told_the_same_wherever_it_is_cut)
{
    const struct {
        struct slice wire, told;
        uint64_t body_bytes;
    } cases[] = {
        {sse, sse_told, 33},
        {json, SLICE("503 Busy\n{\"a\":1}\n"), 8},
        {until_close, SLICE("200 OK\nbytes"), 5},
    };
    struct scene scene;
    scene_open(&scene);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (size_t cut = 0; cut <= cases[i].wire.len; cut++) {
            start_and_ask(&scene);
            answer(&scene, slice_first(cases[i].wire, cut));
            answer(&scene, slice_after(cases[i].wire, cut));
            CHECK_EQ(scene.done_calls, 0); /* the FIN is due */
            hang_up(&scene);
            check_done(&scene, ERR_OK, i == 2 ? CLIENT_BODY : CLIENT_END);
            CHECK_SLICES(text_slice(&scene.log), cases[i].told);
            CHECK_EQ(scene.result.body_bytes, cases[i].body_bytes);
            CHECK(scene.result.peer_closed);
        }
    }
    scene_close(&scene);
}

TEST(a_peer_that_leaves_early_is_seen_at_every_byte)
{
    struct scene scene;
    scene_open(&scene);
    for (size_t len = 0; len < sse.len; len++) {
        for (int by_reset = 0; by_reset <= 1; by_reset++) {
            start_and_ask(&scene);
            answer(&scene, slice_first(sse, len));
            by_reset ? reset(&scene) : hang_up(&scene);
            check_done(&scene, ERR_CLOSED, scene.result.status ? CLIENT_BODY : CLIENT_HEAD);
            CHECK(scene.result.peer_closed);
        }
    }
    scene_close(&scene);
}

/* Data ends with a FIN there; a reset may have eaten some of it. */
TEST(a_reset_ends_no_body)
{
    struct scene scene;
    scene_open(&scene);
    start_and_ask(&scene);
    answer(&scene, until_close);
    reset(&scene);
    check_done(&scene, ERR_CLOSED, CLIENT_BODY);
    start_and_ask(&scene);
    answer(&scene, json); /* but this one was whole before */
    reset(&scene);
    check_done(&scene, ERR_OK, CLIENT_END);
    scene_close(&scene);
}

TEST(bytes_behind_the_end_are_an_error_wherever_they_are_cut)
{
    struct scene scene;
    scene_open(&scene);
    for (int late = 0; late <= 1; late++) {
        struct text wire;
        text_init(&wire, LOG_MAX_BYTES);
        text_add(&wire, sse);
        text_add_byte(&wire, '\n');
        start_and_ask(&scene);
        answer(&scene, slice_first(text_slice(&wire), sse.len + !late));
        answer(&scene, slice_after(text_slice(&wire), sse.len + !late));
        check_done(&scene, ERR_PROTOCOL, CLIENT_END);
        CHECK_EQ(scene.result.refusal, RESPONSE_BYTES_AFTER);
        CHECK_SLICES(text_slice(&scene.log), sse_told);
        text_fini(&wire);
    }
    scene.options.end_us = 0; /* who does not wait for the end does not look behind it */
    start_and_ask(&scene);
    answer(&scene, SLICE("HTTP/1.1 204 No Content\r\n\r\nHTTP"));
    check_done(&scene, ERR_OK, CLIENT_END);
    CHECK(!scene.result.peer_closed);
    scene_close(&scene);
}

TEST(what_is_no_response_is_refused_by_name)
{
    static const struct {
        struct slice wire;
        enum response_refusal refusal;
        enum client_state at;
    } cases[] = {
        {SLICE("\x15\x03\x03"), RESPONSE_VERSION, CLIENT_HEAD},
        {SLICE("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), RESPONSE_LINE_END, CLIENT_HEAD},
        {SLICE("HTTP/1.1 101 Go\r\n\r\n"), RESPONSE_SWITCHED, CLIENT_HEAD},
        {SLICE("HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n"), RESPONSE_BODY_TOO_LARGE,
         CLIENT_HEAD},
        {SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx"), RESPONSE_BODY_FORM,
         CLIENT_BODY},
        {SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n"),
         RESPONSE_BODY_TOO_LARGE, CLIENT_BODY},
        {SLICE("HTTP/1.1 200 OK\r\n\r\n123456789012345678901234567890123"), RESPONSE_BODY_TOO_LARGE,
         CLIENT_BODY},
    };
    struct scene scene;
    scene_open(&scene);
    scene.options.body_max_bytes = 32;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        start_and_ask(&scene);
        answer(&scene, cases[i].wire);
        check_done(&scene, response_refusal_err(cases[i].refusal), cases[i].at);
        CHECK_STR(response_refusal_name(scene.result.refusal),
                  response_refusal_name(cases[i].refusal));
    }
    scene_close(&scene);
}

TEST(a_head_is_kept_up_to_its_limit)
{
    struct slice wire = SLICE("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend");
    struct scene scene;
    scene_open(&scene);
    for (size_t max = wire.len - 4; max <= wire.len - 2; max++) {
        bool fits = max >= wire.len - 3;
        scene.options.head_max_bytes = max;
        start_and_ask(&scene);
        answer(&scene, wire);
        hang_up(&scene);
        check_done(&scene, fits ? ERR_OK : ERR_LIMIT, fits ? CLIENT_END : CLIENT_HEAD);
        CHECK_EQ(scene.result.refusal, fits ? RESPONSE_FINE : RESPONSE_HEAD_TOO_LARGE);
    }
    scene_close(&scene);
}

TEST(an_event_is_kept_up_to_its_limit)
{
    struct scene scene;
    int whole = 0;
    scene_open(&scene);
    for (size_t max = 1; max <= 32; max++) {
        scene.options.event_max_bytes = max;
        start_and_ask(&scene);
        answer(&scene, sse);
        hang_up(&scene);
        bool fits = scene.result.err == ERR_OK;
        CHECK(fits || whole == 0); /* once it fits, it fits with more */
        check_done(&scene, fits ? ERR_OK : ERR_LIMIT, fits ? CLIENT_END : CLIENT_BODY);
        CHECK_EQ(scene.result.refusal, RESPONSE_FINE);
        whole += fits;
    }
    CHECK(whole > 0 && whole < 32);
    scene_close(&scene);
}

TEST(interim_responses_are_passed_over_up_to_a_limit)
{
    struct scene scene;
    scene_open(&scene);
    for (int count = CLIENT_INTERIM_MAX; count <= CLIENT_INTERIM_MAX + 1; count++) {
        bool fits = count <= CLIENT_INTERIM_MAX;
        struct text wire;
        text_init(&wire, LOG_MAX_BYTES);
        for (int i = 0; i < count; i++)
            text_add(&wire, SLICE("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"));
        text_add(&wire, json);
        start_and_ask(&scene);
        answer(&scene, text_slice(&wire));
        hang_up(&scene);
        check_done(&scene, fits ? ERR_OK : ERR_PROTOCOL, fits ? CLIENT_END : CLIENT_HEAD);
        CHECK_EQ(scene.result.status, fits ? 503 : 0);
        CHECK_EQ(scene.result.refusal, fits ? RESPONSE_FINE : RESPONSE_INTERIM_TOO_MANY);
        text_fini(&wire);
    }
    scene_close(&scene);
}

/* --- time --- */

TEST(a_head_that_does_not_come_is_waited_for_until_its_deadline)
{
    struct scene scene;
    scene_open(&scene);
    scene.options.head_us = 20 * MS;
    start_and_ask(&scene);
    loop_advance(scene.rig.loop, 15 * MS);
    answer(&scene, SLICE("HTTP/1.1 200")); /* dribbled bytes win no time */
    loop_advance(scene.rig.loop, 5 * MS - 1);
    CHECK_EQ(scene.done_calls, 0);
    loop_advance(scene.rig.loop, 1);
    check_done(&scene, ERR_TIMEOUT, CLIENT_HEAD);
    scene_close(&scene);
}

TEST(a_body_may_be_slow_but_not_silent)
{
    struct scene scene;
    scene_open(&scene);
    scene.options.idle_us = 20 * MS;
    start_and_ask(&scene);
    for (size_t at = 0; at < sse.len - 1; at++) {
        answer(&scene, slice_of(sse.data + at, 1));
        loop_advance(scene.rig.loop, 20 * MS - 1);
        CHECK_EQ(scene.done_calls, 0);
    }
    loop_advance(scene.rig.loop, 1);
    check_done(&scene, ERR_TIMEOUT, CLIENT_BODY);
    CHECK_SLICES(text_slice(&scene.log), sse_told);
    scene_close(&scene);
}

TEST(a_whole_answer_counts_though_the_peer_does_not_hang_up)
{
    struct scene scene;
    scene_open(&scene);
    for (int by_total = 0; by_total <= 1; by_total++) {
        scene.options.end_us = by_total ? 50 * MS : 10 * MS;
        scene.options.total_us = by_total ? 10 * MS : 0;
        start_and_ask(&scene);
        answer(&scene, sse);
        loop_advance(scene.rig.loop, 10 * MS - 1);
        CHECK_EQ(scene.done_calls, 0);
        loop_advance(scene.rig.loop, 1);
        check_done(&scene, ERR_OK, CLIENT_END);
        CHECK(!scene.result.peer_closed);
    }
    scene_close(&scene);
}

TEST(the_total_bounds_a_body_that_goes_on)
{
    struct scene scene;
    scene_open(&scene);
    scene.options.idle_us = 2 * MS;
    scene.options.total_us = 5 * MS;
    start_and_ask(&scene);
    answer(&scene, until_close);
    for (int i = 0; i < 4; i++) {
        loop_advance(scene.rig.loop, MS);
        answer(&scene, SLICE("."));
    }
    CHECK_EQ(scene.done_calls, 0);
    loop_advance(scene.rig.loop, MS);
    check_done(&scene, ERR_TIMEOUT, CLIENT_BODY);
    scene_close(&scene);
}

/* A socket whose queue of connections is full: the kernel answers no further handshake. */
static void open_deaf_listener(struct net_address *out_address, int fds[4])
{
    CHECK_OK(net_address_parse(SLICE("127.0.0.1"), 0, out_address, NULL));
    struct sockaddr *raw = (struct sockaddr *)(void *)out_address->storage.bytes;
    socklen_t len = sizeof out_address->storage;
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fds[0], raw, out_address->len) == 0 && getsockname(fds[0], raw, &len) == 0);
    CHECK(listen(fds[0], 0) == 0);
    for (int i = 1; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], raw, out_address->len); /* the first ones fill it, the rest hang */
    }
}

TEST(a_handshake_that_is_not_answered_ends_by_deadline_or_cancel)
{
    struct scene scene;
    int fds[4];
    scene_open(&scene);
    size_t descriptors = open_descriptors();
    open_deaf_listener(&scene.options.address, fds);
    for (int by_cancel = 0; by_cancel <= 1; by_cancel++) {
        scene.options.connect_us = 7 * MS;
        start(&scene);
        settle(&scene);
        loop_advance(scene.rig.loop, 7 * MS - 1);
        CHECK_EQ(scene.done_calls, 0);
        if (by_cancel)
            client_request_cancel(scene.request);
        CHECK_EQ(scene.done_calls, 0);
        loop_advance(scene.rig.loop, 1);
        check_done(&scene, by_cancel ? ERR_CANCELLED : ERR_TIMEOUT, CLIENT_CONNECT);
    }
    for (int i = 0; i < 4; i++)
        (void)close(fds[i]);
    CHECK_EQ(open_descriptors(), descriptors);
    scene_close(&scene);
}

TEST(a_refused_connection_is_told_from_the_loop)
{
    struct scene scene;
    scene_open(&scene);
    listener_close(&scene.rig.listener);
    start(&scene);
    check_done(&scene, ERR_REFUSED, CLIENT_CONNECT);
    CHECK_EQ(scene.result.status, 0);
    scene_close(&scene);
}

/* --- cancel --- */

TEST(a_cancel_in_a_callback_ends_all_others)
{
    static const struct {
        enum moment moment;
        struct slice told;
    } cases[] = {
        {AT_START, SLICE("")},
        {AT_HEAD, SLICE("200 OK\n")},
        {AT_EVENT, SLICE("200 OK\nmessage=a\n")},
    };
    struct scene scene;
    scene_open(&scene);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        scene.cancel_at = cases[i].moment;
        if (cases[i].moment == AT_START) {
            start(&scene);
        } else {
            start_and_ask(&scene);
            answer(&scene, sse);
        }
        TURN_UNTIL(&scene.rig, scene.done_calls == 1);
        CHECK_ERR(scene.result.err, ERR_CANCELLED);
        CHECK_SLICES(text_slice(&scene.log), cases[i].told);
        settle(&scene);
    }
    scene.cancel_at = AT_BODY;
    start_and_ask(&scene);
    answer(&scene, json);
    TURN_UNTIL(&scene.rig, scene.done_calls == 1);
    CHECK_ERR(scene.result.err, ERR_CANCELLED);
    CHECK_SLICE(text_slice(&scene.log), "503 Busy\n{\"a\":1}\n");
    scene_close(&scene);
}

TEST(a_cancel_at_every_byte_closes_the_connection)
{
    struct scene scene;
    scene_open(&scene);
    for (size_t len = 0; len <= sse.len; len++) {
        start_and_ask(&scene);
        answer(&scene, slice_first(sse, len));
        client_request_cancel(scene.request);
        client_request_cancel(scene.request);
        CHECK_EQ(scene.done_calls, 0);
        TURN_UNTIL(&scene.rig, peer(&scene)->calls[END_EOF] + peer(&scene)->calls[END_CLOSED] > 0);
        TURN_UNTIL(&scene.rig, scene.done_calls == 1);
        CHECK_ERR(scene.result.err, ERR_CANCELLED);
        hang_up(&scene);
    }
    scene_close(&scene);
}

/* --- what was asked --- */

TEST(a_request_that_could_be_two_is_not_sent)
{
    static const struct {
        const char *method;
        struct slice target, fields;
    } cases[] = {
        {"", SLICE("/"), SLICE("")},
        {"GE T", SLICE("/"), SLICE("")},
        {"GET", SLICE(""), SLICE("")},
        {"GET", SLICE("x"), SLICE("")},
        {"GET", SLICE("/ HTTP/1.1\r\n\r\n"), SLICE("")},
        {"GET", SLICE("/"), SLICE("A: b")},
        {"GET", SLICE("/"), SLICE("A: b\r\n\r\n")},
        {"GET", SLICE("/"), SLICE("\r\nA: b\r\n")},
        {"GET", SLICE("/"), SLICE("A: b\nC: d\r\n")},
        {"GET", SLICE("/"), SLICE("A: b\0\r\n")},
    };
    struct scene scene;
    scene_open(&scene);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct client_request *request = NULL;
        scene.options.method = cases[i].method;
        scene.options.target = cases[i].target;
        scene.options.fields = cases[i].fields;
        CHECK_ERR(client_request_start(scene.rig.loop, &scene.options, &events, &scene, &request),
                  ERR_REFUSED);
        CHECK(request == NULL);
    }
    settle(&scene);
    CHECK_EQ(scene.rig.accepted, 0);
    scene_close(&scene);
}

/* One exchange with that failure: ERR_OK, or how it failed. */
static enum err exchange_without(struct scene *scene, uint64_t nth)
{
    int accepted = scene->rig.accepted;
    scene->done_calls = 0;
    mem_test_fail_nth(nth);
    TRY(client_request_start(scene->rig.loop, &scene->options, &events, scene, &scene->request));
    TURN_UNTIL(&scene->rig,
               scene->done_calls == 1 || (scene->rig.accepted > accepted && peer(scene)->stream &&
                                          peer(scene)->calls[END_READ] > 0));
    if (scene->done_calls == 0 && stream_write(peer(scene)->stream, sse) != ERR_OK)
        CHECK_OK(stream_write(peer(scene)->stream, sse)); /* it was the peer's allocation */
    settle(scene);
    if (scene->rig.accepted > accepted)
        hang_up(scene);
    TURN_UNTIL(&scene->rig, scene->done_calls == 1);
    return scene->result.err;
}

/* Whichever allocation fails, also the peer's: an error in the call or one on_done(). */
TEST(without_memory_an_exchange_ends_once)
{
    struct scene scene;
    int whole = 0, failed = 0;
    bool was_reached = true;
    scene_open(&scene);
    for (uint64_t nth = 1; was_reached; nth++) {
        uint64_t before = mem_peer_count();
        enum err err = exchange_without(&scene, nth);
        mem_test_fail_nth(0);
        CHECK(err == ERR_OK || err == ERR_LIMIT);
        was_reached = mem_peer_count() - before >= nth || err == ERR_LIMIT;
        whole += err == ERR_OK;
        failed += err == ERR_LIMIT;
    }
    CHECK(whole > 0 && failed > 3);
    scene_close(&scene);
}
