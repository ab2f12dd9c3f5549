/* ps - the roles of a service, asked of its host over the bus. */
#include "cli/ps.h"

#include "ask/call.h"
#include "bus/bus_unix.h"
#include "cli/table.h"
#include "host/instance.h"
#include "role/folders.h"

#include <stdio.h>

enum { JOIN_MS = 2000, ANSWER_MS = 5000, OUT_MAX_BYTES = 4 * 1024 * 1024 };

struct ps {
    struct loop *loop;
    struct caller *caller;
    struct instance_info instance;
    struct err_note note; /* why there is no table; "": there is */
    struct text out;
};

static struct slice string_of(const json_t *row, const char *key)
{
    return json_slice(json_object_get(row, key));
}

static uint64_t number_of(const json_t *row, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(row, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* Workers of one model have its name: from the second on with their numbers. */
static void add_name(struct table *table, const json_t *row)
{
    struct slice name = string_of(row, "name");
    uint64_t number = number_of(row, "number");
    if (number > 0)
        table_add_f(table, SLICE_FMT "#%llu", SLICE_ARG(name), (unsigned long long)number);
    else
        table_add(table, name);
}

static void add_row(struct table *table, const json_t *row)
{
    char up[24] = "", memory[24] = "", pid[24] = "";
    if (number_of(row, "pid") > 0) { /* else there is no process to tell of */
        snprintf(pid, sizeof(pid), "%llu", (unsigned long long)number_of(row, "pid"));
        table_duration(number_of(row, "up_ms"), up);
    }
    if (number_of(row, "pss_bytes") > 0)
        table_bytes(number_of(row, "pss_bytes"), memory);
    table_add(table, string_of(row, "role"));
    add_name(table, row);
    table_add(table, slice_str(pid));
    table_add(table, string_of(row, "state"));
    table_add_f(table, "%llu", (unsigned long long)number_of(row, "restarts"));
    table_add(table, slice_str(up));
    table_add(table, slice_str(memory));
    table_add_f(table, "%llu", (unsigned long long)number_of(row, "streams"));
    table_add(table, string_of(row, "note"));
}

static void write_table(struct ps *ps, const json_t *roles)
{
    static const char *const columns[] = {"role", "name",   "pid",     "state", "restarts",
                                          "up",   "memory", "streams", "note",  NULL};
    struct table *table = table_new(columns);
    size_t index;
    json_t *row;
    json_array_foreach(roles, index, row) add_row(table, row);
    table_write(table, &ps->out);
    table_free(table);
}

static void on_answer(void *ctx, enum err err, json_t *answer)
{
    struct ps *ps = ctx;
    struct slice error = err == ERR_OK ? string_of(answer, "error") : (struct slice){0};
    loop_stop(ps->loop);
    if (err != ERR_OK)
        (void)err_note_fail(&ps->note, err, "millrace, process %d, does not answer (%s)",
                            ps->instance.pid, err_name(err));
    else if (error.len || !json_is_array(json_object_get(answer, "roles")))
        (void)err_note_fail(&ps->note, err,
                            "millrace, process %d (version %s), answers: " SLICE_FMT,
                            ps->instance.pid, ps->instance.version,
                            SLICE_ARG(error.len ? error : SLICE("no roles")));
    else
        write_table(ps, json_object_get(answer, "roles"));
}

/* ERR_*: the sentence is in ps->note. */
MUST_USE static enum err ask_over(struct ps *ps, struct bus *bus)
{
    struct pending_call *call;
    enum err err = caller_new(bus, &ps->caller);
    if (err != ERR_OK)
        return err_note_fail(&ps->note, err, "the bus does not take a subscription (%s)",
                             err_name(err));
    bus_on_bounce(bus, caller_on_bounce, ps->caller);
    err = call_open(ps->caller, SLICE("host.calls"), SLICE("{\"call\":\"roles\"}"), ANSWER_MS,
                    on_answer, ps, &call);
    if (err != ERR_OK)
        return err_note_fail(&ps->note, err, "the question could not be sent (%s)", err_name(err));
    loop_run(ps->loop); /* until the answer, or its timeout */
    return ERR_OK;
}

MUST_USE static enum err ask_service(struct ps *ps)
{
    struct bus_unix *bus_unix = NULL;
    struct bus *bus = NULL;
    enum err err = bus_unix_new(ps->instance.bus_dir, &bus_unix);
    if (err == ERR_OK)
        err = bus_unix_open(bus_unix, ps->loop, JOIN_MS, &bus);
    if (err != ERR_OK)
        err = err_note_fail(&ps->note, err,
                            "no millrace answers at %s (%s); process %d wrote that it serves, and "
                            "may have been killed",
                            ps->instance.bus_dir, err_name(err), ps->instance.pid);
    else
        err = ask_over(ps, bus);
    caller_free(ps->caller);
    if (bus)
        bus_close(&bus);
    bus_unix_free(bus_unix);
    return err;
}

MUST_USE static enum err find_service(struct ps *ps, const struct config *config)
{
    char state_dir[FOLDER_MAX_BYTES];
    TRY(folder_state(config, state_dir, sizeof(state_dir), &ps->note));
    return instance_read(state_dir, &ps->instance, &ps->note);
}

int cli_ps(const struct config *config)
{
    struct ps ps = {.loop = loop_new()};
    text_init(&ps.out, OUT_MAX_BYTES);
    enum err err = find_service(&ps, config);
    if (err == ERR_OK)
        err = ask_service(&ps);
    loop_free(ps.loop);
    bool is_told = err == ERR_OK && !ps.note.text[0];
    if (is_told)
        fwrite(ps.out.data, 1, ps.out.len, stdout);
    else
        fprintf(stderr, "millrace: %s\n", ps.note.text);
    text_fini(&ps.out);
    if (is_told && fflush(stdout) != 0) {
        perror("millrace: standard output");
        return 1;
    }
    return is_told ? 0 : 1;
}
