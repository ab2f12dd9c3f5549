/* manager_state_test - a manager's broadcast comes back; others are refused. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/manager_state.h"

#include <stdio.h>

enum { ROOM = 1 << 20 };

static const struct manager_queue queues[] = {{{"llama", 5}, 3}, {{"d \"x\"", 5}, UINT32_MAX}};

static struct manager_state sample(void)
{
    return (struct manager_state){.manager = SLICE("manager.5c1e"),
                                  .control = SLICE("inbox.5c1e.2"),
                                  .queues = queues,
                                  .queue_count = ARRAY_COUNT(queues)};
}

static struct text encoded(const struct manager_state *state)
{
    struct text out;
    text_init(&out, ROOM);
    manager_state_encode(state, &out);
    CHECK_OK(text_status(&out));
    return out;
}

TEST(a_state_comes_back_without_needing_its_payload)
{
    struct manager_state state = sample(), read;
    struct arena *arena = arena_new(ROOM);
    struct text out = encoded(&state);
    CHECK_OK(manager_state_decode(text_slice(&out), arena, &read));
    memset(out.data, 'x', out.len);
    text_fini(&out);
    CHECK_SLICES(read.manager, state.manager);
    CHECK_SLICES(read.control, state.control);
    CHECK_EQ(read.queue_count, 2);
    CHECK_SLICE(read.queues[0].model, "llama");
    CHECK_EQ(read.queues[0].queued, 3);
    CHECK_SLICES(read.queues[1].model, queues[1].model);
    CHECK_EQ(read.queues[1].queued, UINT32_MAX);
    arena_free(arena);
}

TEST(nobody_waiting_is_an_empty_array)
{
    struct manager_state state = sample(), read;
    struct arena *arena = arena_new(ROOM);
    state.queue_count = 0;
    struct text out = encoded(&state);
    CHECK_OK(manager_state_decode(text_slice(&out), arena, &read));
    CHECK_EQ(read.queue_count, 0);
    text_fini(&out);
    arena_free(arena);
}

TEST(more_queues_than_are_read_are_not_written)
{
    static struct manager_queue many[MANAGER_STATE_QUEUES_MAX + 1];
    for (size_t i = 0; i < ARRAY_COUNT(many); i++)
        many[i] = (struct manager_queue){SLICE("m"), (uint32_t)i};
    for (size_t count = MANAGER_STATE_QUEUES_MAX - 1; count <= ARRAY_COUNT(many); count++) {
        struct manager_state state = sample(), read;
        struct arena *arena = arena_new(ROOM);
        state.queues = many;
        state.queue_count = count;
        struct text out = encoded(&state);
        CHECK_OK(manager_state_decode(text_slice(&out), arena, &read));
        CHECK_EQ(read.queue_count,
                 count < MANAGER_STATE_QUEUES_MAX ? count : MANAGER_STATE_QUEUES_MAX);
        text_fini(&out);
        arena_free(arena);
    }
}

static enum err decode(struct slice payload)
{
    struct arena *arena = arena_new(ROOM);
    struct manager_state read;
    enum err err = manager_state_decode(payload, arena, &read);
    arena_free(arena);
    return err;
}

TEST(more_queues_than_the_limit_are_refused)
{
    for (size_t count = MANAGER_STATE_QUEUES_MAX - 1; count <= MANAGER_STATE_QUEUES_MAX + 1;
         count++) {
        struct text payload;
        text_init(&payload, ROOM);
        text_add_str(&payload, "{\"manager\":\"m\",\"control\":\"c\",\"queues\":[");
        for (size_t i = 0; i < count; i++)
            text_add_f(&payload, "%s{\"model\":\"m\",\"queued\":0}", i ? "," : "");
        text_add_str(&payload, "]}");
        CHECK_ERR(decode(text_slice(&payload)),
                  count <= MANAGER_STATE_QUEUES_MAX ? ERR_OK : ERR_LIMIT);
        text_fini(&payload);
    }
}

TEST(members_are_required_and_checked)
{
    CHECK_OK(decode(SLICE("{\"manager\":\"m\",\"control\":\"c\",\"queues\":[],\"new\":1}")));
    static const char *const refused[] = {
        "{\"control\":\"c\",\"queues\":[]}",
        "{\"manager\":\"m\",\"queues\":[]}",
        "{\"manager\":\"m\",\"control\":\"c\"}",
        "{\"manager\":\"\",\"control\":\"c\",\"queues\":[]}",
        "{\"manager\":\"m\",\"control\":\"\",\"queues\":[]}",
        "{\"manager\":\"m\",\"control\":\"c\",\"queues\":{}}",
        "{\"manager\":\"m\",\"control\":\"c\",\"queues\":[1]}",
        "{\"manager\":\"m\",\"control\":\"c\",\"queues\":[{\"model\":\"\",\"queued\":1}]}",
        "{\"manager\":\"m\",\"control\":\"c\",\"queues\":[{\"model\":\"m\"}]}",
        "[]",
        "",
    };
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        CHECK_ERR(decode(slice_str(refused[i])), ERR_PROTOCOL);
    CHECK_ERR(decode(SLICE("{\"manager\":\"m\",\"control\":\"c\",\"queues\":[{\"model\":\"m\","
                           "\"queued\":-1}]}")),
              ERR_LIMIT);
}

TEST(names_are_held_to_their_limits)
{
    static const struct {
        const char *format;
        int max;
    } cases[] = {
        {"{\"manager\":\"%0*d\",\"control\":\"c\",\"queues\":[]}", 256},
        {"{\"manager\":\"m\",\"control\":\"%0*d\",\"queues\":[]}", 160},
        {"{\"manager\":\"m\",\"control\":\"c\",\"queues\":[{\"model\":\"%0*d\",\"queued\":0}]}",
         256},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (int len = cases[i].max - 1; len <= cases[i].max + 1; len++) {
            char payload[512];
            snprintf(payload, sizeof(payload), cases[i].format, len, 0);
            CHECK_ERR(decode(slice_str(payload)), len <= cases[i].max ? ERR_OK : ERR_LIMIT);
        }
    }
}

TEST(a_state_cut_anywhere_is_refused)
{
    struct manager_state state = sample();
    struct text out = encoded(&state);
    for (size_t cut = 0; cut < out.len; cut++)
        CHECK_ERR(decode(slice_first(text_slice(&out), cut)), ERR_PROTOCOL);
    text_fini(&out);
}

TEST(an_arena_too_small_by_a_byte_is_a_limit)
{
    struct manager_state state = sample(), read;
    struct text out = encoded(&state);
    struct arena *arena = arena_new(ROOM);
    CHECK_OK(manager_state_decode(text_slice(&out), arena, &read));
    size_t needed = arena_used(arena);
    arena_free(arena);
    for (size_t room = 0; room <= needed; room++) {
        arena = arena_new(room);
        CHECK_ERR(manager_state_decode(text_slice(&out), arena, &read),
                  room < needed ? ERR_LIMIT : ERR_OK);
        arena_free(arena);
    }
    text_fini(&out);
}

TEST(decoding_survives_every_failed_allocation)
{
    struct manager_state state = sample(), read;
    struct text out = encoded(&state);
    enum err err = ERR_LIMIT;
    for (uint64_t nth = 1; err != ERR_OK; nth++) {
        struct arena *arena = arena_new(ROOM);
        mem_test_fail_nth(nth);
        err = manager_state_decode(text_slice(&out), arena, &read);
        mem_test_fail_nth(0);
        arena_free(arena);
        CHECK(err == ERR_OK || err == ERR_LIMIT);
        CHECK(nth < 1000);
    }
    text_fini(&out);
}
