/* sim_trace - what a frame says, in one line; and the hash by which two runs are compared. */
#include "testing/sim/sim_impl.h"

#include <inttypes.h>
#include <stdio.h>

enum { LINE_BYTES = 600 };

static uint64_t add_bytes(uint64_t hash, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ (uint8_t)bytes.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t hash_of(const struct sim *sim, const struct bus_sim_sight *sight)
{
    uint64_t hash = sim->result.hash;
    hash = add_bytes(hash, slice_of(&sim->now_us, sizeof(sim->now_us)));
    hash = add_bytes(hash, slice_str(sight->from));
    hash = add_bytes(hash, slice_str(sight->to));
    hash = add_bytes(hash, sight->message->subject);
    return add_bytes(hash, sight->message->frame) ^ (uint64_t)sight->what;
}

static const char *type_name(uint16_t type)
{
    static const char *const names[] = {[WIRE_SUBMIT] = "submit",
                                        [WIRE_CANCEL] = "cancel",
                                        [WIRE_CREDIT] = "credit",
                                        [WIRE_HEARTBEAT] = "heartbeat",
                                        [WIRE_NODE_STATE] = "node_state",
                                        [WIRE_UNKNOWN_STREAM] = "unknown_stream",
                                        [WIRE_WAITING] = "waiting",
                                        [WIRE_ASSIGNED] = "assigned",
                                        [WIRE_PING] = "ping",
                                        [WIRE_MANAGER_STATE] = "manager_state",
                                        [WIRE_LOAD] = "load",
                                        [WIRE_HELD] = "held",
                                        [WIRE_TAKEN] = "taken",
                                        [WIRE_RELEASED] = "released"};
    if (type >= WIRE_EVENT && type < WIRE_EVENT + EVENT_TYPE_COUNT)
        return event_type_name((enum event_type)(type - WIRE_EVENT));
    return type < ARRAY_COUNT(names) && names[type] ? names[type] : "?";
}

static size_t add_record(char *line, size_t at, const struct wire_record *record)
{
    struct wire_credit credit;
    int len = snprintf(line + at, LINE_BYTES - at, "  %s", type_name(record->type));
    at += (size_t)len;
    if (record->stream && at < LINE_BYTES)
        at += (size_t)snprintf(line + at, LINE_BYTES - at, " %08x/%u", (unsigned)record->stream,
                               record->epoch);
    if (record->seq && at < LINE_BYTES)
        at += (size_t)snprintf(line + at, LINE_BYTES - at, " #%" PRIu64, record->seq);
    if (record->flags && at < LINE_BYTES)
        at += (size_t)snprintf(line + at, LINE_BYTES - at, " !%u", record->flags);
    if (record->type == WIRE_CREDIT && at < LINE_BYTES &&
        wire_read_credit(record, &credit) == ERR_OK)
        at += (size_t)snprintf(line + at, LINE_BYTES - at, " acked %" PRIu64 " limit %" PRIu64,
                               credit.acked_seq, credit.seq_limit);
    return at < LINE_BYTES ? at : LINE_BYTES - 1;
}

static void print(struct sim *sim, const struct bus_sim_sight *sight)
{
    static const char *const arrows[] = {[BUS_SIM_SENT] = "->",
                                         [BUS_SIM_HANDLED] = "=>",
                                         [BUS_SIM_BOUNCED] = "bounced to",
                                         [BUS_SIM_DROPPED] = "LOST for",
                                         [BUS_SIM_REPEATED] = "REPEATED for"};
    char line[LINE_BYTES] = "";
    size_t at = 0;
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(sight->message->frame, &reader) != ERR_OK)
        snprintf(line, sizeof(line), "  (not a frame)");
    else
        while (at < LINE_BYTES - 1 && wire_next(&reader, &record) == ERR_OK)
            at = add_record(line, at, &record);
    sim_say(sim, "%-5s %s %-5s " SLICE_FMT "%s%s%s", sight->from, arrows[sight->what], sight->to,
            SLICE_ARG(sight->message->subject), line, sight->why ? "  " : "",
            sight->why ? err_name(sight->why) : "");
}

void sim_trace_frame(struct sim *sim, const struct bus_sim_sight *sight)
{
    sim->result.hash = hash_of(sim, sight);
    if (sim->options.prints_trace)
        print(sim, sight);
}
