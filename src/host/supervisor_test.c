/* supervisor_test - real processes (supervisor_helper) that crash, hang, ignore what they are told,
 * flood and leave others behind. Waits for what must happen, with patience; never sleeps. */
#include "host/supervisor.h"
#include "testing/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE_US = 60 * 1000 * 1000, FAR_MS = 60000, MS = 1000 };

struct scene {
    struct loop *loop;
    struct supervisor *supervisor;
    struct supervisor_options options;
    int serving, stopped, gave_up;
    int status;
    char sentence[512], address[64];
};

static void on_serving(void *ctx, const char *address)
{
    struct scene *scene = ctx;
    scene->serving++;
    snprintf(scene->address, sizeof(scene->address), "%s", address);
}

static void on_change(void *ctx)
{
    (void)ctx;
}

static void on_give_up(void *ctx, const struct role_spec *spec, const char *sentence)
{
    struct scene *scene = ctx;
    (void)spec;
    scene->gave_up++;
    snprintf(scene->sentence, sizeof(scene->sentence), "%s", sentence);
}

static void on_stopped(void *ctx, int status)
{
    struct scene *scene = ctx;
    scene->stopped++;
    scene->status = status;
}

/* Each role: what it does. Those that listen are vital and overlap, as a gateway. */
static struct scene *scene_new(const char *how_gateway, const char *how_worker)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    scene->loop = loop_new();
    scene->options = (struct supervisor_options){
        .program = HELPER,
        .config_fd = -1,
        .watch = {.dead_ms = FAR_MS},
        .drain_ms = FAR_MS,
    };
    if (how_gateway)
        scene->options.roles[scene->options.role_count++] = (struct role_spec){.role = "gateway",
                                                                               .model = how_gateway,
                                                                               .listens = true,
                                                                               .overlaps = true,
                                                                               .is_vital = true};
    if (how_worker)
        scene->options.roles[scene->options.role_count++] =
            (struct role_spec){.role = "worker", .model = how_worker};
    return scene;
}

static void open_scene(struct scene *scene)
{
    static const struct supervisor_handler handler = {.on_serving = on_serving,
                                                      .on_change = on_change,
                                                      .on_give_up = on_give_up,
                                                      .on_stopped = on_stopped};
    struct err_note note;
    CHECK_OK(
        supervisor_new(scene->loop, &scene->options, &handler, scene, &scene->supervisor, &note));
}

static void close_scene(struct scene *scene)
{
    supervisor_free(scene->supervisor);
    loop_free(scene->loop);
    free(scene);
}

static void on_tick(void *ctx)
{
    deadline_after(ctx, 10 * MS);
}

#define WAIT_FOR(scene, cond)                                                                      \
    do {                                                                                           \
        struct deadline tick_;                                                                     \
        uint64_t until_us_ = loop_now_us((scene)->loop) + PATIENCE_US;                             \
        deadline_init(&tick_, (scene)->loop, on_tick, &tick_);                                     \
        on_tick(&tick_);                                                                           \
        while (!(cond) && loop_now_us((scene)->loop) < until_us_)                                  \
            (void)loop_turn((scene)->loop, true);                                                  \
        deadline_clear(&tick_);                                                                    \
        CHECK(cond);                                                                               \
    } while (0)

/* The row of that role; the successor's, not that of who leaves. */
static struct supervisor_row row_of(const struct scene *scene, const char *role)
{
    struct supervisor_row rows[16];
    size_t count = supervisor_rows(scene->supervisor, rows, ARRAY_COUNT(rows));
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].spec->role, role) == 0 && !rows[i].is_leaving)
            return rows[i];
    CHECK(false);
    return (struct supervisor_row){0};
}

static bool is_state(const struct scene *scene, const char *role, const char *state)
{
    return strcmp(row_of(scene, role).state, state) == 0;
}

static bool is_gone(int pid)
{
    return kill(pid, 0) != 0 && errno == ESRCH;
}

TEST(roles_start_serve_and_stop_in_order)
{
    struct scene *scene = scene_new("good", "good");
    open_scene(scene);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    CHECK_EQ(scene->serving, 1);
    CHECK_STR(scene->address, "127.0.0.1:1");
    WAIT_FOR(scene, row_of(scene, "worker").streams == 7);
    int gateway = row_of(scene, "gateway").pid, worker = row_of(scene, "worker").pid;
    supervisor_stop(scene->supervisor, 0);
    WAIT_FOR(scene, scene->stopped);
    CHECK_EQ(scene->status, 0);
    CHECK(is_gone(gateway) && is_gone(worker));
    close_scene(scene);
}

TEST(a_killed_role_is_started_again_at_once)
{
    struct scene *scene = scene_new("good", "good");
    open_scene(scene);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    for (int i = 0; i < 2; i++) {
        const char *role = i ? "worker" : "gateway";
        int pid = row_of(scene, role).pid;
        kill(pid, SIGKILL);
        WAIT_FOR(scene, row_of(scene, role).pid != pid && is_state(scene, role, "ready"));
        CHECK(is_gone(pid));
        CHECK_EQ(row_of(scene, role).restarts, 1);
        CHECK(strstr(row_of(scene, role).note, "signal 9"));
    }
    CHECK_EQ(scene->serving, 1);
    close_scene(scene);
}

TEST(a_worker_that_crashes_at_its_start_is_held_back_and_retried_on_demand)
{
    struct scene *scene = scene_new("good", "crash");
    open_scene(scene);
    WAIT_FOR(scene, is_state(scene, "worker", "held_back"));
    struct supervisor_row row = row_of(scene, "worker");
    CHECK_EQ(row.pid, 0);
    CHECK_EQ(row.restarts, 2);
    CHECK(strstr(row.note, "status 3"));
    CHECK(strstr(row.note, "boom: no reason"));
    WAIT_FOR(scene, scene->serving); /* the others do not mind */
    CHECK_EQ(scene->gave_up, 0);
    supervisor_reload(scene->supervisor);
    WAIT_FOR(scene, row_of(scene, "worker").restarts == 3);
    WAIT_FOR(scene, is_state(scene, "worker", "held_back"));
    close_scene(scene);
}

/* What it says in its last instant is heard: it died of what it was given. */
TEST(a_worker_that_its_first_request_crashes_is_not_held_back)
{
    struct scene *scene = scene_new("good", "poisoned");
    open_scene(scene);
    WAIT_FOR(scene, row_of(scene, "worker").restarts == 4);
    close_scene(scene);
}

TEST(a_vital_role_that_crashes_at_its_start_ends_the_service)
{
    struct scene *scene = scene_new("abort", "good");
    open_scene(scene);
    WAIT_FOR(scene, scene->stopped);
    CHECK_EQ(scene->gave_up, 1);
    CHECK_EQ(scene->status, 1);
    CHECK_EQ(scene->serving, 0);
    CHECK(strstr(scene->sentence, "signal 6"));
    close_scene(scene);
}

TEST(a_role_that_says_why_it_cannot_start_ends_the_service)
{
    struct scene *scene = scene_new("good", "fails");
    open_scene(scene);
    WAIT_FOR(scene, scene->stopped);
    CHECK_EQ(scene->gave_up, 1);
    CHECK_EQ(scene->status, 1);
    CHECK_STR(scene->sentence, "no such file: model.gguf");
    CHECK_EQ(scene->serving, 1); /* told first, also when the other one was faster */
    close_scene(scene);
}

static void add_worker(struct scene *scene, const char *how)
{
    scene->options.roles[scene->options.role_count++] =
        (struct role_spec){.role = "worker", .model = how, .number = 1};
}

static bool is_worker_state(const struct scene *scene, uint32_t number, const char *state)
{
    struct supervisor_row rows[16];
    size_t count = supervisor_rows(scene->supervisor, rows, ARRAY_COUNT(rows));
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].spec->role, "worker") == 0 && rows[i].spec->number == number)
            return strcmp(rows[i].state, state) == 0;
    return false;
}

/* Whichever of them comes first, and whether the others are refused before it is ready or after. */
TEST(a_worker_that_does_not_fit_beside_another_of_its_model_is_held_back)
{
    char room[64];
    snprintf(room, sizeof(room), "/tmp/supervisor_test-%d", (int)getpid());
    CHECK_EQ(setenv("HELPER_ROOM", room, 1), 0);
    struct scene *scene = scene_new("good", "room_for_one");
    add_worker(scene, "room_for_one");
    open_scene(scene);
    WAIT_FOR(scene,
             (is_worker_state(scene, 0, "ready") && is_worker_state(scene, 1, "held_back")) ||
                 (is_worker_state(scene, 1, "ready") && is_worker_state(scene, 0, "held_back")) ||
                 scene->stopped);
    CHECK_EQ(scene->gave_up, 0);
    CHECK_EQ(scene->stopped, 0);
    close_scene(scene);
    unlink(room);
}

TEST(when_no_worker_of_a_model_can_start_the_service_ends)
{
    struct scene *scene = scene_new("good", "fails");
    add_worker(scene, "fails");
    open_scene(scene);
    WAIT_FOR(scene, scene->stopped);
    CHECK_EQ(scene->gave_up, 1);
    CHECK_STR(scene->sentence, "no such file: model.gguf");
    close_scene(scene);
}

TEST(a_vital_role_that_says_why_it_cannot_start_ends_the_service_at_once)
{
    struct scene *scene = scene_new("fails", "good");
    open_scene(scene);
    WAIT_FOR(scene, scene->stopped);
    CHECK_EQ(scene->gave_up, 1);
    CHECK_EQ(scene->serving, 0);
    CHECK_STR(scene->sentence, "no such file: model.gguf");
    close_scene(scene);
}

TEST(a_program_that_is_not_there_is_an_error_with_a_sentence)
{
    struct scene *scene = scene_new("good", NULL);
    struct err_note note;
    static const struct supervisor_handler handler = {.on_serving = on_serving,
                                                      .on_change = on_change,
                                                      .on_give_up = on_give_up,
                                                      .on_stopped = on_stopped};
    scene->options.program = "/nowhere/millrace";
    CHECK_ERR(
        supervisor_new(scene->loop, &scene->options, &handler, scene, &scene->supervisor, &note),
        ERR_SYSTEM);
    CHECK(strstr(note.text, "/nowhere/millrace"));
    close_scene(scene);
}

TEST(a_role_whose_loop_hangs_is_killed_and_replaced)
{
    struct scene *scene = scene_new("good", "hangs");
    scene->options.watch.dead_ms = 400;
    open_scene(scene);
    WAIT_FOR(scene, row_of(scene, "worker").restarts >= 1);
    CHECK(strstr(row_of(scene, "worker").note, "killed: silent"));
    CHECK_EQ(row_of(scene, "gateway").restarts, 0);
    close_scene(scene);
}

TEST(a_stopped_process_is_killed_and_replaced)
{
    struct scene *scene = scene_new("good", "good");
    scene->options.watch.dead_ms = 1000;
    open_scene(scene);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    int pid = row_of(scene, "worker").pid;
    kill(pid, SIGSTOP);
    WAIT_FOR(scene, row_of(scene, "worker").pid != pid && is_state(scene, "worker", "ready"));
    CHECK(is_gone(pid));
    close_scene(scene);
}

TEST(a_role_with_work_and_no_progress_is_killed_and_replaced)
{
    struct scene *scene = scene_new("good", "stuck");
    scene->options.watch.stuck_max_ms = 300;
    open_scene(scene);
    WAIT_FOR(scene, row_of(scene, "worker").restarts >= 1);
    CHECK(strstr(row_of(scene, "worker").note, "killed: stuck"));
    close_scene(scene);
}

TEST(a_role_that_ignores_the_end_is_killed_when_its_time_is_over)
{
    struct scene *scene = scene_new("stubborn", "good");
    scene->options.drain_ms = 0; /* and the 5 s that everybody has */
    open_scene(scene);
    WAIT_FOR(scene, scene->serving);
    int pid = row_of(scene, "gateway").pid;
    supervisor_stop(scene->supervisor, 0);
    WAIT_FOR(scene, scene->stopped);
    CHECK_EQ(scene->status, 0);
    CHECK(is_gone(pid));
    close_scene(scene);
}

TEST(a_second_wish_to_stop_kills_everybody_at_once)
{
    struct scene *scene = scene_new("stubborn", "stubborn");
    open_scene(scene);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    int gateway = row_of(scene, "gateway").pid, worker = row_of(scene, "worker").pid;
    supervisor_stop(scene->supervisor, 0);
    supervisor_kill(scene->supervisor, 130);
    WAIT_FOR(scene, scene->stopped);
    CHECK_EQ(scene->status, 130);
    CHECK(is_gone(gateway) && is_gone(worker));
    close_scene(scene);
}

TEST(who_overlaps_drains_beside_its_successor)
{
    struct scene *scene = scene_new("drains_long", NULL);
    struct supervisor_row rows[16];
    open_scene(scene);
    WAIT_FOR(scene, scene->serving);
    int pid = row_of(scene, "gateway").pid;
    kill(pid, SIGTERM);
    WAIT_FOR(scene, row_of(scene, "gateway").pid != pid && is_state(scene, "gateway", "ready"));
    CHECK_EQ(supervisor_rows(scene->supervisor, rows, ARRAY_COUNT(rows)), 2);
    CHECK(rows[0].is_leaving && rows[0].pid == pid && !is_gone(pid));
    CHECK_STR(rows[0].state, "draining");
    close_scene(scene);
    CHECK(is_gone(pid));
}

TEST(no_more_than_so_many_leave_at_the_same_time)
{
    struct scene *scene = scene_new("drains_long", NULL);
    struct supervisor_row rows[16];
    open_scene(scene);
    WAIT_FOR(scene, scene->serving);
    int first = row_of(scene, "gateway").pid;
    for (int i = 0; i <= SUPERVISOR_LEAVING_MAX; i++) {
        int pid = row_of(scene, "gateway").pid;
        WAIT_FOR(scene, is_state(scene, "gateway", "ready"));
        kill(pid, SIGTERM);
        WAIT_FOR(scene, row_of(scene, "gateway").pid != pid);
    }
    WAIT_FOR(scene, is_gone(first));
    CHECK_EQ(supervisor_rows(scene->supervisor, rows, ARRAY_COUNT(rows)),
             1 + SUPERVISOR_LEAVING_MAX);
    close_scene(scene);
}

TEST(who_does_not_overlap_is_replaced_after_its_end)
{
    struct scene *scene = scene_new("good", "good");
    open_scene(scene);
    WAIT_FOR(scene, is_state(scene, "worker", "ready"));
    int pid = row_of(scene, "worker").pid;
    kill(pid, SIGTERM);
    WAIT_FOR(scene, row_of(scene, "worker").pid != pid && is_state(scene, "worker", "ready"));
    CHECK(is_gone(pid));
    CHECK(strstr(row_of(scene, "worker").note, "status 0"));
    close_scene(scene);
}

/* It holds our pipes open: its parent's end is seen all the same, and it goes too. */
TEST(what_a_role_leaves_behind_is_killed_with_it)
{
    struct scene *scene = scene_new(NULL, "grandchild");
    open_scene(scene);
    WAIT_FOR(scene, is_state(scene, "worker", "ready"));
    int pid = row_of(scene, "worker").pid;
    kill(pid, SIGKILL);
    WAIT_FOR(scene, row_of(scene, "worker").restarts == 1);
    const char *words = strstr(row_of(scene, "worker").note, "grandchild=");
    CHECK(words != NULL);
    int grandchild = atoi(words + strlen("grandchild="));
    CHECK(grandchild > 0);
    WAIT_FOR(scene, kill(-pid, 0) != 0); /* nobody of that group, but for zombies of init's */
    close_scene(scene);
}

/* The test's own stderr takes it, as the pump would; other roles are heard meanwhile. */
TEST(a_flood_of_lines_holds_nobody_up)
{
    struct scene *scene = scene_new("good", "floods");
    int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    CHECK(saved >= 0 && null >= 0 && dup2(null, STDERR_FILENO) >= 0);
    scene->options.watch.dead_ms = 5000;
    open_scene(scene);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    for (int i = 0; i < 3; i++) {
        int pid = row_of(scene, "gateway").pid;
        kill(pid, SIGKILL);
        WAIT_FOR(scene, row_of(scene, "gateway").pid != pid && is_state(scene, "gateway", "ready"));
    }
    bool unharmed = row_of(scene, "worker").restarts == 0;
    supervisor_stop(scene->supervisor, 0);
    WAIT_FOR(scene, scene->stopped);
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved), close(null);
    CHECK(unharmed);
    close_scene(scene);
}

TEST(a_pause_of_the_host_kills_nobody)
{
    struct scene *scene = scene_new("good", "good");
    scene->options.watch.dead_ms = 600;
    open_scene(scene);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    WAIT_FOR(scene, row_of(scene, "worker").streams == 7);
    int worker = row_of(scene, "worker").pid;
    kill(worker, SIGSTOP); /* as if both had been: beats are missing, and so were our looks */
    usleep(1500 * MS);     /* the length of the pause is what is tested */
    kill(worker, SIGCONT);
    uint64_t resumed_us = loop_now_us(scene->loop);
    WAIT_FOR(scene, loop_now_us(scene->loop) > resumed_us + 500 * MS);
    CHECK_EQ(row_of(scene, "worker").restarts, 0);
    CHECK_EQ(row_of(scene, "worker").pid, worker);
    close_scene(scene);
}

TEST(a_reload_reaches_every_role)
{
    struct scene *scene = scene_new("good", "good");
    open_scene(scene);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    supervisor_reload(scene->supervisor);
    int pid = row_of(scene, "worker").pid;
    kill(pid, SIGTERM); /* handled after the SIGHUP: its last report says that it came */
    WAIT_FOR(scene, row_of(scene, "worker").pid != pid);
    WAIT_FOR(scene, strstr(row_of(scene, "worker").note, "reloaded"));
    close_scene(scene);
}

/* Not even exec() has happened when the signal is sent. */
TEST(a_reload_ends_nobody_who_has_just_been_started)
{
    struct scene *scene = scene_new("good", "good");
    open_scene(scene);
    supervisor_reload(scene->supervisor);
    WAIT_FOR(scene, scene->serving && is_state(scene, "worker", "ready"));
    int pid = row_of(scene, "worker").pid;
    CHECK_EQ(row_of(scene, "worker").restarts, 0);
    kill(pid, SIGTERM); /* handled after the SIGHUP: its last report says that it came */
    WAIT_FOR(scene, row_of(scene, "worker").pid != pid);
    WAIT_FOR(scene, strstr(row_of(scene, "worker").note, "reloaded"));
    close_scene(scene);
}
