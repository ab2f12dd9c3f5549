/* calls - questions about what is in flight, and cancel by id (wire/call.h). */
#include "manager/manager_impl.h"

#include "base/clock.h"
#include "wire/call.h"
#include "wire/request.h"

enum {
    LIMIT_DEFAULT = 1000,
    LIMIT_MAX = 10000,
    ENTRY_MAX_BYTES = 16 * 1024, /* the longest names, every byte escaped */
};

/* --- requests --- */

struct listing {
    struct json_out json;
    struct text *out;
    struct slice tenant; /* empty: of all */
    json_int_t left;
    bool is_cut;
    int64_t now_ms;
};

static bool is_wanted(struct listing *listing, const struct ticket *ticket)
{
    if (listing->tenant.len && !slice_eq(listing->tenant, ticket->life->tenant))
        return false;
    listing->is_cut |=
        listing->left == 0 || listing->out->len + ENTRY_MAX_BYTES > CALL_ANSWER_MAX_BYTES;
    return !listing->is_cut;
}

static const char *state_name(const struct ticket *ticket)
{
    if (ticket->state == TICKET_QUEUED)
        return "queued";
    return ticket->life->is_held ? held_state_name(ticket->life->held.state) : "assigned";
}

static void add_ticket(struct listing *listing, const struct ticket *ticket, struct slice model)
{
    char id[ID_TEXT_BYTES + 1];
    const struct ticket_life *life = ticket->life;
    struct json_out *json = &listing->json;
    if (!is_wanted(listing, ticket))
        return;
    listing->left--;
    int64_t age_ms = life->arrival_ms ? listing->now_ms - life->arrival_ms : 0;
    json_out_begin_object(json);
    json_out_add_string(json, "id", id_format(ticket->id, id));
    json_out_add_string(json, "model", model);
    json_out_add_string(json, "tenant", life->tenant);
    json_out_add_string(json, "session", life->session);
    json_out_add_string(json, "label", life->label);
    json_out_add_string(json, "state", slice_str(state_name(ticket)));
    bool waits = ticket->state == TICKET_QUEUED && life->model;
    json_out_add_u64(json, "position", waits ? life->place.position : 0);
    json_out_add_u64(json, "eta_ms",
                     waits ? queue_eta_ms(&life->model->queue, life->place.position) : 0);
    json_out_add_u64(json, "tokens", life->held.tokens);
    json_out_add_u64(json, "age_ms", age_ms > 0 ? (uint64_t)age_ms : 0);
    json_out_add_string(json, "worker", ticket->node ? ticket->node->name : (struct slice){0});
    json_out_end_object(json);
}

static void add_waiting(struct listing *listing, const struct manager *manager)
{
    LIST_FOREACH (link, &manager->models) {
        struct model *model = model_of_link(link);
        queue_number(&model->queue);
        for (struct queue_place *place = NULL;
             !listing->is_cut && (place = queue_after(&model->queue, place));)
            add_ticket(listing, ticket_of_place(place), model->name);
    }
}

static void add_assigned(struct listing *listing, const struct manager *manager)
{
    LIST_FOREACH (link, &manager->nodes) {
        const struct node *node = node_of_link(link);
        struct slice model = node->model ? node->model->name : (struct slice){0};
        for (struct list *at = node->tickets.next; at != &node->tickets && !listing->is_cut;
             at = at->next)
            add_ticket(listing, ticket_of_link(at), model);
    }
}

static json_int_t limit_of(const json_t *question)
{
    const json_t *limit = json_object_get(question, "limit");
    json_int_t value = json_is_integer(limit) ? json_integer_value(limit) : LIMIT_DEFAULT;
    return value < 1 ? 1 : value > LIMIT_MAX ? LIMIT_MAX : value;
}

static struct slice string_of(const json_t *question, const char *key)
{
    return json_slice(json_object_get(question, key));
}

static void answer_requests(const struct manager *manager, const json_t *question, struct text *out)
{
    struct listing listing = {.json = json_out_to(out),
                              .out = out,
                              .tenant = string_of(question, "tenant"),
                              .left = limit_of(question),
                              .now_ms = clock_wall_ms()};
    json_out_begin_object(&listing.json);
    json_out_key(&listing.json, "requests");
    json_out_begin_array(&listing.json);
    add_waiting(&listing, manager);
    add_assigned(&listing, manager);
    json_out_end_array(&listing.json);
    json_out_add_bool(&listing.json, "is_cut", listing.is_cut);
    json_out_end_object(&listing.json);
}

/* --- cancel --- */

static void answer_error(struct text *out, const char *error)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_string(&json, "error", slice_str(error));
    json_out_end_object(&json);
}

static struct ticket *find_for(const struct manager *manager, struct id id, struct slice tenant)
{
    struct ticket *ticket = ticket_find(manager, id.low);
    bool is_living = ticket && ticket->life && ticket->state != TICKET_ENDING;
    if (!is_living || !id_eq(ticket->id, id))
        return NULL;
    return tenant.len == 0 || slice_eq(tenant, ticket->life->tenant) ? ticket : NULL;
}

/* The id of a first choice means the request of the client, which may have others. True: there was
 * something to cancel. */
static bool cancel_all(const struct manager *manager, struct id id, struct slice tenant)
{
    uint32_t count = request_id_names_all(id) ? REQUEST_CHOICES_MAX : 1;
    bool is_found = false;
    for (uint32_t i = 0; i < count; i++) {
        struct ticket *ticket = find_for(manager, request_choice_id(id, i), tenant);
        if (ticket)
            submit_cancel(ticket);
        is_found |= ticket != NULL;
    }
    return is_found;
}

static void answer_cancel(const struct manager *manager, const json_t *question, struct text *out)
{
    struct id id;
    if (id_parse(string_of(question, "id"), &id) != ERR_OK) {
        answer_error(out, "id: 32 hex digits are required");
        return;
    }
    bool is_found = cancel_all(manager, id, string_of(question, "tenant"));
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_bool(&json, "found", is_found);
    json_out_end_object(&json);
}

/* --- answering --- */

static void write_answer(const struct manager *manager, const json_t *question, struct text *out)
{
    struct slice call = string_of(question, "call");
    if (slice_eq_str(call, "requests"))
        answer_requests(manager, question, out);
    else if (slice_eq_str(call, "cancel"))
        answer_cancel(manager, question, out);
    else
        answer_error(out, "call: \"requests\" and \"cancel\" are known here");
}

static void answer(struct manager *manager, const struct wire_record *record, struct slice reply)
{
    json_t *question = NULL;
    struct text text, frame;
    if (reply.len == 0 || wire_read_call(record, &question) != ERR_OK)
        return; /* nobody to answer, or nothing that was asked */
    text_init(&text, CALL_ANSWER_MAX_BYTES);
    text_init(&frame, WIRE_FRAME_MAX_BYTES);
    write_answer(manager, question, &text);
    if (text_status(&text) == ERR_OK &&
        wire_write_answer(&frame, record->stream, text_slice(&text)) == ERR_OK)
        (void)bus_publish(manager->bus, reply, bus_inbox(manager->bus),
                          text_slice(&frame)); /* lost: it is asked again */
    text_fini(&frame);
    text_fini(&text);
    json_decref(question);
}

void calls_on_message(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_CONTROL)
        return; /* not for us: who asks repeats it */
    while (wire_next(&reader, &record) == ERR_OK)
        if (record.type == WIRE_CALL)
            answer(ctx, &record, message->reply);
}
