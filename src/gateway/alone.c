/* alone - a gateway linked from its own archives only (rule 1 of README.md): no engine, worker,
 * store or manager. Opens, serves nobody, drains, closes. That it links is the test; that it runs
 * is a bonus. */
#include "bus/bus_mem.h"
#include "gateway/gateway.h"

#include <stdio.h>

static void on_drained(void *ctx)
{
    *(bool *)ctx = true;
}

int main(void)
{
    struct gateway_options options = {
        .listen_fd = -1,
        .http = http_limits_default(),
        .ask = ask_options_default(),
        .default_model = "none",
        .live = {.allowed_hosts = "", .allowed_origins = ""},
        .ping_ms = 10000,
    };
    struct err_note note;
    struct gateway *gateway;
    struct loop *loop = loop_new();
    struct bus_mem *bus_mem = bus_mem_new(1 << 20);
    struct bus *bus = bus_mem_open(bus_mem, loop);
    bool drained = false;
    if (net_address_parse(SLICE("127.0.0.1"), 0, &options.address, &note) != ERR_OK ||
        gateway_open(bus, &options, &gateway, &note) != ERR_OK) {
        fprintf(stderr, "%s\n", note.text);
        return 1;
    }
    gateway_drain(gateway, 0, on_drained, &drained);
    while (!drained)
        loop_turn(loop, true);
    gateway_close(&gateway);
    bus_close(&bus);
    bus_mem_free(bus_mem);
    loop_free(loop);
    puts("a gateway, alone");
    return 0;
}
