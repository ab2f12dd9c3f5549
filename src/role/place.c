/* place - the endpoint and the metrics of one loop. */
#include "role/place.h"

#include <stdio.h>

/* "inbox.5c1e.3" -> "gateway.5c1e.3" */
static void name_node(struct role_node *node, const char *role)
{
    struct slice inbox = bus_inbox(node->bus), head, rest;
    bool has_words = slice_cut(inbox, '.', &head, &rest);
    snprintf(node->name, sizeof(node->name), "%s." SLICE_FMT, role,
             SLICE_ARG(has_words ? rest : inbox));
}

enum err role_node_open(const struct role_place *place, struct loop *loop, const char *role,
                        bool is_first, struct role_node *out_node, struct err_note *out_note)
{
    struct role_node node = {0};
    TRY(place->open_bus(place->ctx, loop, &node.bus, out_note));
    name_node(&node, role);
    node.metrics = metrics_new();
    node.feed = metrics_feed_start(node.bus, node.metrics, role, node.name,
                                   place->has_process && is_first, NULL, NULL);
    *out_node = node;
    return ERR_OK;
}

void role_node_close(struct role_node *node)
{
    metrics_feed_stop(&node->feed);
    metrics_free(node->metrics);
    bus_close(&node->bus);
    *node = (struct role_node){0};
}
