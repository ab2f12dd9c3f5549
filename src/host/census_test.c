/* census_test - what others hear of the roles: over a bus, of real processes. */
#include "host/census.h"
#include "bus/bus_mem.h"
#include "base/json.h"
#include "testing/test.h"
#include "wire/call.h"
#include "wire/node_state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_US = 60 * 1000 * 1000, MS = 1000 };

struct scene {
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *host, *asker;
    struct supervisor *supervisor;
    struct census *census;
    struct bus_subscription *answers, *nodes;
    struct deadline ask;
    const char *question;
    uint64_t number, answered; /* of the last answer */
    json_t *answer;
    bool said_loading, said_failed[2]; /* of the worker with that number */
    char detail[512];
};

static void on_answer(void *ctx, const struct bus_message *message)
{
    struct scene *scene = ctx;
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    CHECK_OK(wire_next(&reader, &record));
    json_decref(scene->answer);
    scene->answer = NULL;
    CHECK_OK(wire_read_answer(&record, &scene->answer));
    scene->answered = record.stream;
}

static void on_node(void *ctx, const struct bus_message *message)
{
    struct scene *scene = ctx;
    struct wire_reader reader;
    struct wire_record record;
    struct node_state state;
    struct arena *arena = arena_new(65536);
    CHECK_OK(wire_open(message->frame, &reader));
    CHECK_EQ(reader.kind, WIRE_STATE);
    CHECK_OK(wire_next(&reader, &record));
    CHECK_OK(node_state_decode(record.payload, arena, &state));
    bool is_second = slice_eq_str(state.node, "crash.host1");
    if (!is_second)
        CHECK_SLICE(state.node, "crash.host"); /* never of one that runs */
    CHECK_SLICE(state.model, "crash");
    CHECK_EQ(state.slots, 0);
    scene->said_loading |= state.phase == NODE_LOADING;
    scene->said_failed[is_second] |= state.phase == NODE_FAILED;
    if (state.phase == NODE_FAILED)
        snprintf(scene->detail, sizeof(scene->detail), SLICE_FMT, SLICE_ARG(state.detail));
    arena_free(arena);
}

static void on_ask(void *ctx)
{
    struct scene *scene = ctx;
    struct text frame;
    text_init(&frame, 65536);
    CHECK_OK(wire_write_call(&frame, ++scene->number, slice_str(scene->question)));
    CHECK_OK(bus_publish(scene->asker, SLICE("host.calls"), bus_inbox(scene->asker),
                         text_slice(&frame)));
    text_fini(&frame);
    deadline_after(&scene->ask, 20 * MS);
}

static void ignore_address(void *ctx, const char *address)
{
    (void)ctx, (void)address;
}

static void on_change(void *ctx)
{
    struct scene *scene = ctx;
    if (scene->census)
        census_changed(scene->census);
}

static void ignore_give_up(void *ctx, const struct role_spec *spec, const char *sentence)
{
    (void)ctx, (void)spec, (void)sentence;
}

static void ignore_stopped(void *ctx, int status)
{
    (void)ctx, (void)status;
}

static struct scene *scene_new(void)
{
    static const struct supervisor_handler handler = {.on_serving = ignore_address,
                                                      .on_change = on_change,
                                                      .on_give_up = ignore_give_up,
                                                      .on_stopped = ignore_stopped};
    struct supervisor_options options = {
        .program = HELPER,
        .roles = {{.role = "worker", .model = "good"},
                  {.role = "worker", .model = "crash"},
                  {.role = "worker", .model = "crash", .number = 1}},
        .role_count = 3,
        .config_fd = -1,
        .watch = {.dead_ms = 60000}};
    struct scene *scene = calloc(1, sizeof(*scene));
    struct err_note note;
    scene->loop = loop_new();
    scene->bus_mem = bus_mem_new(1 << 20);
    scene->host = bus_mem_open(scene->bus_mem, scene->loop);
    scene->asker = bus_mem_open(scene->bus_mem, scene->loop);
    scene->question = "{\"call\":\"roles\"}";
    CHECK_OK(bus_subscribe(scene->asker, bus_inbox(scene->asker), (struct slice){0}, on_answer,
                           scene, &scene->answers));
    CHECK_OK(bus_subscribe(scene->asker, SLICE("state.nodes"), (struct slice){0}, on_node, scene,
                           &scene->nodes));
    CHECK_OK(supervisor_new(scene->loop, &options, &handler, scene, &scene->supervisor, &note));
    CHECK_OK(census_new(scene->host, scene->supervisor, loop_now_us(scene->loop), &scene->census));
    deadline_init(&scene->ask, scene->loop, on_ask, scene);
    deadline_after(&scene->ask, 0);
    return scene;
}

static void scene_free(struct scene *scene)
{
    deadline_clear(&scene->ask);
    census_free(scene->census);
    supervisor_free(scene->supervisor);
    bus_close(&scene->host);
    bus_close(&scene->asker);
    while (loop_turn(scene->loop, false))
        ;
    bus_mem_free(scene->bus_mem);
    loop_free(scene->loop);
    json_decref(scene->answer);
    free(scene);
}

#define WAIT_FOR(scene, cond)                                                                      \
    do {                                                                                           \
        uint64_t until_us_ = loop_now_us((scene)->loop) + PATIENCE_US;                             \
        while (!(cond) && loop_now_us((scene)->loop) < until_us_)                                  \
            (void)loop_turn((scene)->loop, true); /* the questions wake it */                      \
        CHECK(cond);                                                                               \
    } while (0)

/* The row of the newest answer; NULL before the first. */
static json_t *row(const struct scene *scene, const char *role, const char *name)
{
    size_t index;
    json_t *row;
    json_array_foreach(
        json_object_get(scene->answer, "roles"), index,
        row) if (slice_eq_str(json_slice(json_object_get(row, "role")), role) &&
                 slice_eq_str(json_slice(json_object_get(row, "name")), name)) return row;
    return NULL;
}

static bool is_state(const struct scene *scene, const char *name, const char *state)
{
    return slice_eq_str(json_slice(json_object_get(row(scene, "worker", name), "state")), state);
}

static long long number(const struct scene *scene, const char *role, const char *name,
                        const char *key)
{
    return json_integer_value(json_object_get(row(scene, role, name), key));
}

TEST(whoever_asks_is_told_of_every_role)
{
    struct scene *scene = scene_new();
    WAIT_FOR(scene, is_state(scene, "good", "ready") && is_state(scene, "crash", "held_back"));
    CHECK(scene->answered > 0 && scene->answered <= scene->number);
    CHECK_EQ(number(scene, "host", "", "pid"), getpid());
    CHECK(kill((int)number(scene, "worker", "good", "pid"), 0) == 0);
    CHECK_EQ(number(scene, "worker", "good", "restarts"), 0);
    CHECK_EQ(number(scene, "worker", "crash", "restarts"), 2);
    CHECK_EQ(number(scene, "worker", "crash", "pid"), 0);
    struct slice note = json_slice(json_object_get(row(scene, "worker", "crash"), "note"));
    CHECK(slice_find(note, SLICE("boom: no reason")) != SLICE_NPOS);
    WAIT_FOR(scene, number(scene, "worker", "good", "pss_bytes") > 0 &&
                        number(scene, "host", "", "pss_bytes") > 0 &&
                        number(scene, "worker", "good", "streams") == 7 &&
                        number(scene, "worker", "good", "up_ms") > 0);
    scene_free(scene);
}

TEST(workers_of_one_model_have_numbers)
{
    struct scene *scene = scene_new();
    uint32_t numbers = 0; /* as bits */
    size_t index;
    json_t *one;
    WAIT_FOR(scene, row(scene, "worker", "crash") != NULL);
    json_array_foreach(json_object_get(scene->answer, "roles"), index, one) numbers |=
        slice_eq_str(json_slice(json_object_get(one, "name")), "crash")
            ? 1u << json_integer_value(json_object_get(one, "number"))
            : 0;
    CHECK_EQ(numbers, 3);
    scene_free(scene);
}

TEST(for_workers_that_cannot_speak_the_host_does)
{
    struct scene *scene = scene_new();
    WAIT_FOR(scene, scene->said_failed[0] && scene->said_failed[1]); /* each by a name of its own */
    CHECK(strstr(scene->detail, "status 3") && strstr(scene->detail, "boom: no reason"));
    scene_free(scene);
}

TEST(a_call_that_nobody_knows_is_answered_with_an_error)
{
    struct scene *scene = scene_new();
    scene->question = "{\"call\":\"coffee\"}";
    WAIT_FOR(scene, json_object_get(scene->answer, "error") != NULL);
    CHECK(json_object_get(scene->answer, "roles") == NULL);
    scene_free(scene);
}

TEST(nonsense_on_the_subject_is_passed_over)
{
    static const char frame[] = "MR no frame at all, but as long as one has to be";
    struct scene *scene = scene_new();
    for (size_t len = 0; len <= sizeof(frame); len++)
        CHECK_OK(bus_publish(scene->asker, SLICE("host.calls"), bus_inbox(scene->asker),
                             slice_of(frame, len)));
    WAIT_FOR(scene, row(scene, "host", "") != NULL);
    scene_free(scene);
}
