/* sim_host - what the host of a machine tells the others: of a worker that is away, that its model
 * is being loaded, each second and at once when it notices. Starting and killing are deeds of the
 * plan. */
#include "testing/sim/sim_impl.h"

#include "wire/node_state.h"

#include <stdio.h>

enum { HOST_BEAT_US = 100000, STATE_MAX_BYTES = 4096, SAID_EVERY = 10 /* beats */ };

static void say_loading(const struct role *host, const struct role *worker)
{
    struct text frame;
    struct wire_writer writer;
    char node[32];
    snprintf(node, sizeof(node), "host.%u", worker->place);
    struct node_state state = {.node = slice_str(node),
                               .model = slice_str(sim_model(worker->model)),
                               .engine = SLICE("toy"),
                               .control = bus_inbox(host->bus),
                               .phase = NODE_LOADING};
    text_init(&frame, STATE_MAX_BYTES);
    wire_begin(&writer, &frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_NODE_STATE});
    node_state_encode(&state, &frame);
    wire_close_record(&writer);
    if (wire_finish(&writer) == ERR_OK)
        (void)bus_publish(host->bus, SLICE("state.nodes"), (struct slice){0},
                          text_slice(&frame)); /* lost: the next one says it again */
    text_fini(&frame);
}

static void on_beat(void *ctx)
{
    struct role *host = ctx;
    struct sim *sim = host->sim;
    for (uint32_t i = 0; i < sim->plan.place_count; i++) {
        struct role *role = &sim->roles[i];
        if (role->kind != ROLE_WORKER || role->is_up)
            role->away_beats = 0;
        else if (role->away_beats++ % SAID_EVERY == 0)
            say_loading(host, role);
    }
    deadline_after(&host->beat, HOST_BEAT_US);
}

void host_start(struct role *role)
{
    deadline_init(&role->beat, role->loop, on_beat, role);
    on_beat(role);
}

void host_stop(struct role *role)
{
    deadline_clear(&role->beat);
}
