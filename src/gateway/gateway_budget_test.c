/* gateway_budget_test - what a streamed token costs: no allocation, in any dialect, and one write
 * to the socket for all that a turn brings. Both are counted by wrapping the functions of libc. */
#include "gateway/gateway_rig.h"
#include "testing/alloc_count.h"
#include "testing/test.h"

#include <stdio.h>
#include <sys/socket.h>

enum {
    WARM_UP_TOKENS = 64,
    TOKENS = 1000,
    BUS_PER_FRAME = 2, /* a credit that the hub sends: packet and delivery */
};

ssize_t __real_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

static int writes; /* to sockets, by anybody */

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
    writes++;
    return __real_send(fd, bytes, len, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    writes++;
    return __real_sendmsg(fd, message, flags);
}

/* Streams tokens, each in a turn of its own; counts while the gateway has them. */
static void stream(struct job *job, int tokens)
{
    struct gateway_rig *rig = job->rig;
    for (int i = 0; i < tokens; i++) {
        job_burst(job, SLICE(" t\xc3\xb6ken\n"), 1);
        alloc_count_resume();
        rig_settle(&rig->http);
        alloc_count_pause();
        if (i % 16 == 0)
            client_settle(&rig->client);
    }
}

TEST(a_streamed_token_costs_no_allocation_from_the_record_to_the_socket)
{
    static const struct {
        const char *name, *path, *body;
    } surfaces[] = {
        {"completions", "/v1/completions", "{\"prompt\":\"x\",\"stream\":true}"},
        {"serving v2", "/v1/completions?stream=true", "{\"prompt\":\"x\"}"},
        {"chat", "/v1/chat/completions",
         "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {"chat, n = 3", "/v1/chat/completions",
         "{\"stream\":true,\"n\":3,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {"infer", "/v1/infer", "{\"prompt\":\"x\",\"stream\":true}"},
        {"inference", "/v1/inference", "{\"prompt\":\"x\"}"},
        {"generate", "/generate/stream", "{\"prompt\":\"x\"}"},
        {"raw", "/v1/infer?format=raw", "{\"prompt\":\"x\"}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(surfaces); i++) {
        struct gateway_rig *rig = gateway_rig_open(NULL);
        struct job *job = client_ask(&rig->client, surfaces[i].path, surfaces[i].body);
        for (int choice = 0; choice < rig->job_count; choice++)
            job_start(&rig->jobs[choice]);
        stream(job, WARM_UP_TOKENS);
        int credits = job->credits;
        (void)alloc_count_take(); /* the warm-up's */
        stream(job, TOKENS);
        long allocations = alloc_count_take();
        long bus = (long)(job->credits - credits) * BUS_PER_FRAME;
        printf("%-12s %d tokens, a turn each: %ld allocations, of these bus %ld\n",
               surfaces[i].name, TOKENS, allocations, bus);
        CHECK_EQ(allocations - bus, 0);
        for (int choice = 0; choice < rig->job_count; choice++)
            job_done(&rig->jobs[choice], DONE_EOS);
        client_settle(&rig->client);
        CHECK(rig_is_idle(rig));
        gateway_rig_close(rig);
    }
}

static int settled_writes(struct gateway_rig *rig)
{
    writes = 0;
    rig_settle(&rig->http);
    return writes;
}

TEST(what_a_turn_brings_a_stream_leaves_in_one_write)
{
    enum { STREAMS = 5 };
    struct gateway_rig *rig = gateway_rig_open(NULL);
    struct client clients[STREAMS];
    struct job *jobs[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        client_open(&clients[i], &rig->http);
        jobs[i] = client_ask(&clients[i], "/v1/infer", "{\"prompt\":\"x\",\"stream\":true}");
        job_start(jobs[i]);
    }
    for (int deltas = 1; deltas <= 4; deltas++) {
        for (int i = 0; i < STREAMS; i++)
            job_burst(jobs[i], SLICE("t"), deltas);
        CHECK_EQ(settled_writes(rig), STREAMS); /* the first ones with their head */
    }
    for (int i = 0; i < STREAMS; i++) {
        job_burst(jobs[i], SLICE("t"), 2);
        job_post(jobs[i], &(struct event){.type = EVENT_DONE, .done.reason = DONE_EOS});
    }
    CHECK_EQ(settled_writes(rig), STREAMS); /* with the terminator, and the last chunk */
    for (int i = 0; i < STREAMS; i++) {
        struct answer answer = client_answer(&clients[i]);
        CHECK_EQ(answer_count(&answer, "data: {\"token\":\"t\"}\n\n"), 12);
        CHECK_EQ(answer.chunks, 5);
        CHECK(answer.is_whole);
        answer_fini(&answer);
        client_fini(&clients[i]);
    }
    gateway_rig_close(rig);
}
