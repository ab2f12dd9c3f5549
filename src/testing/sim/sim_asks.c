/* sim_asks - requests, and the checker that knows what each must be answered (rules of sim.h). */
#include "base/clock.h"
#include "testing/sim/sim_impl.h"

#include <inttypes.h>

enum {
    AFTERMATH_US = 1000000, /* of a fault: joining again, what was said meanwhile */
    PROBE_MAX_US = 5000000,
    YOUNG_US = 9000000, /* so long a manager may not have heard of a worker that was held up */
    RERUNS_MAX = 3,
    NEWS_US = 2500000, /* by then an asker knows that its worker is gone */
    FREEZE_US = BUS_SIM_DEAD_US - 100000,
    TROUBLE_US = 3500000,      /* less than what makes a worker silent */
    LONG_ABSENCE_US = 3000000, /* less than submit_ms: what comes after it counts too */
};

/* --- injuries --- */

void sim_hurt(struct sim *sim, int place, enum injury_kind kind)
{
    if (sim->is_over)
        return;
    ASSERT(sim->injury_count < SIM_INJURIES_MAX);
    sim->injuries[sim->injury_count++] = (struct injury){
        .place = place, .kind = kind, .from_us = sim->now_us, .until_us = UINT64_MAX};
    sim->result.faults++;
}

void sim_healed(struct sim *sim, int place, enum injury_kind kind)
{
    for (size_t i = 0; i < sim->injury_count; i++) {
        struct injury *injury = &sim->injuries[i];
        if (injury->place == place && injury->kind == kind && injury->until_us == UINT64_MAX)
            injury->until_us = sim->now_us;
    }
}

/* How long it lasted, as far as it may have to do with what began then. */
static uint64_t lasted_us(const struct sim *sim, const struct injury *injury, uint64_t since_us)
{
    uint64_t until_us = injury->until_us == UINT64_MAX ? sim->now_us : injury->until_us;
    return until_us + AFTERMATH_US >= since_us ? until_us - injury->from_us : 0;
}

static bool concerns(const struct injury *injury, int place, uint64_t since_us)
{
    return injury->place == place &&
           (injury->until_us == UINT64_MAX || injury->until_us + AFTERMATH_US >= since_us);
}

/* So many times the place was hit hard enough for its streams to be lost. */
static uint32_t count_losses(const struct sim *sim, int place, uint64_t since_us)
{
    uint32_t count = 0;
    uint64_t trouble_us = 0;
    for (size_t i = 0; i < sim->injury_count; i++) {
        const struct injury *injury = &sim->injuries[i];
        uint64_t us = lasted_us(sim, injury, since_us);
        if (!concerns(injury, place, since_us))
            continue;
        if (injury->kind == INJURY_DEATH || (injury->kind == INJURY_FREEZE && us >= FREEZE_US))
            count++;
        else
            trouble_us += us;
    }
    return count + (uint32_t)(trouble_us / TROUBLE_US);
}

static uint64_t hurt_us(const struct sim *sim, int place, uint64_t since_us)
{
    uint64_t sum_us = 0;
    for (size_t i = 0; i < sim->injury_count; i++)
        if (concerns(&sim->injuries[i], place, since_us))
            sum_us += lasted_us(sim, &sim->injuries[i], since_us);
    return sum_us;
}

/* --- what may go wrong, and when --- */

/* A network that drops frames may explain everything but a wrong answer. */
static bool is_in_storm(const struct sim_ask *ask)
{
    return count_losses(ask->sim, -1, ask->opened_us) > 0;
}

static uint32_t losses_of(const struct sim_ask *ask, int place)
{
    return place >= 0 ? count_losses(ask->sim, place, ask->opened_us) : 0;
}

static uint32_t losses_of_workers(const struct sim_ask *ask)
{
    const struct sim *sim = ask->sim;
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->plan.place_count; i++)
        if (sim->roles[i].kind == ROLE_WORKER && sim->roles[i].model == ask->model)
            count += losses_of(ask, (int)i);
    return count;
}

static int manager_place(const struct sim_ask *ask)
{
    uint32_t place = 0;
    while (ask->sim->roles[place].kind != ROLE_MANAGER)
        place++;
    return (int)place;
}

static bool all_workers_were_hurt(const struct sim_ask *ask)
{
    const struct sim *sim = ask->sim;
    for (uint32_t i = 0; i < sim->plan.place_count; i++) {
        const struct role *role = &sim->roles[i];
        if (role->kind == ROLE_WORKER && role->model == ask->model &&
            hurt_us(sim, (int)i, ask->opened_us) == 0)
            return false;
    }
    return true;
}

/* A manager that is new learns of a model from its workers, or from the host while they are away:
 * unless it was held up itself in its first moments, or they were. */
static bool may_be_unknown(const struct sim_ask *ask)
{
    const struct sim *sim = ask->sim;
    const struct role *manager = &sim->roles[manager_place(ask)];
    bool is_held_up = hurt_us(sim, (int)manager->place, manager->born_us + AFTERMATH_US + 1) > 0;
    bool is_new = manager->born_us + YOUNG_US > sim->now_us;
    return is_new && (is_held_up || all_workers_were_hurt(ask));
}

/* In mid-stream another worker goes on with it. */
static bool is_kept(const struct sim_ask *ask)
{
    return ask->sim->plan.ask.continue_bytes_max > 0;
}

/* Nothing of its answer came; or the worker of what came is gone, and it is as if it had just been
 * asked. */
static bool is_silent(const struct sim_ask *ask)
{
    return ask->delta_count == 0 || (is_kept(ask) && losses_of_workers(ask) > 0);
}

/* Rule 2. */
static bool may_be_lost(const struct sim_ask *ask)
{
    uint32_t of_asker = losses_of(ask, (int)ask->asker->place);
    if (ask->delta_count > 0 && !is_kept(ask))
        return of_asker > 0 || losses_of(ask, ask->worker_place) > 0;
    return of_asker + losses_of_workers(ask) > RERUNS_MAX;
}

/* submit_ms without a word of a manager. */
static bool may_lack_manager(const struct sim_ask *ask)
{
    return hurt_us(ask->sim, manager_place(ask), ask->opened_us) +
               hurt_us(ask->sim, (int)ask->asker->place, ask->opened_us) >=
           LONG_ABSENCE_US;
}

static bool may_end_with(const struct sim_ask *ask, enum fault fault)
{
    switch (fault) {
    case FAULT_QUEUE_FULL:
    case FAULT_QUEUE_TIMEOUT:
        return !ask->is_probe && is_silent(ask);
    case FAULT_WORKER_LOST:
        return is_in_storm(ask) || may_be_lost(ask);
    case FAULT_LOADING:
        return is_silent(ask) && (is_in_storm(ask) || may_lack_manager(ask));
    case FAULT_MODEL_NOT_FOUND:
        return is_silent(ask) && (is_in_storm(ask) || may_be_unknown(ask));
    case FAULT_DRAINING: /* told to go: it took longer than it drains, or there is no other */
        return (is_silent(ask) ? losses_of_workers(ask) : losses_of(ask, ask->worker_place)) > 0;
    default:
        return false;
    }
}

/* --- the events of one request --- */

static void check_started(struct sim_ask *ask, const struct event *event)
{
    struct sim *sim = ask->sim;
    const struct question *question = &ask->question;
    if (ask->is_started)
        sim_fail(sim, "ask %u: started twice", ask->index);
    if (event->started.seed != question->sampling.seed)
        sim_fail(sim, "ask %u: started with seed %" PRIu64 ", asked for %" PRIu64, ask->index,
                 event->started.seed, question->sampling.seed);
    if (event->started.prompt_tokens != question->prompt_count)
        sim_fail(sim, "ask %u: %u prompt tokens of %u", ask->index, event->started.prompt_tokens,
                 question->prompt_count);
    if (!slice_eq_str(event->started.model, sim_model(ask->model)))
        sim_fail(sim, "ask %u: answered by model " SLICE_FMT, ask->index,
                 SLICE_ARG(event->started.model));
    if (!ask->is_started)
        answer_find(question, event->started.seed, &ask->answer);
    ask->is_started = true;
}

static void check_tokens(struct sim_ask *ask, const struct event *event)
{
    for (uint32_t i = 0; i < event->delta.token_count; i++, ask->token_count++) {
        int32_t token = event_delta_token(event, i);
        if (ask->token_count >= ask->answer.count || token != ask->answer.ids[ask->token_count]) {
            sim_fail(ask->sim, "ask %u: token %zu is %d, which is not the answer's", ask->index,
                     ask->token_count, token);
            return;
        }
    }
}

static void check_delta(struct sim_ask *ask, const struct event *event)
{
    struct slice text = event->delta.text;
    ask->delta_count++;
    if (!ask->is_started) {
        sim_fail(ask->sim, "ask %u: a delta before started", ask->index);
        return;
    }
    check_tokens(ask, event);
    struct slice rest = slice_after(text_slice(&ask->answer.text), ask->text_bytes);
    if (!slice_starts_with(rest, text))
        sim_fail(ask->sim, "ask %u: byte %zu on is not the answer's", ask->index, ask->text_bytes);
    ask->text_bytes += text.len;
}

static bool is_whole(const struct sim_ask *ask)
{
    return ask->is_started && ask->text_bytes == ask->answer.text.len &&
           ask->token_count == ask->answer.count;
}

static void check_done(struct sim_ask *ask, enum done_reason reason)
{
    struct sim_result *result = &ask->sim->result;
    if (reason == DONE_CANCELLED) {
        result->cancelled++;
        if (!ask->is_cancelled)
            sim_fail(ask->sim, "ask %u: cancelled, and nobody wanted it", ask->index);
        return;
    }
    result->whole++;
    if (ask->usage_tokens != ask->token_count) /* of a cancelled one, deltas are held back */
        sim_fail(ask->sim, "ask %u: %u tokens counted, %zu came", ask->index, ask->usage_tokens,
                 ask->token_count);
    if (!is_whole(ask) || reason != ask->answer.reason)
        sim_fail(ask->sim, "ask %u: done (%s) with %zu of %u tokens and %zu of %zu bytes (%s)",
                 ask->index, done_reason_name(reason), ask->token_count, ask->answer.count,
                 ask->text_bytes, ask->answer.text.len, done_reason_name(ask->answer.reason));
}

/* When its worker began to be dead, UINT64_MAX: something else may have held up the news. */
static uint64_t death_us(const struct sim_ask *ask)
{
    const struct sim *sim = ask->sim;
    uint64_t last_us = UINT64_MAX;
    for (size_t i = 0; i < sim->injury_count; i++) {
        const struct injury *injury = &sim->injuries[i];
        bool is_worker = concerns(injury, ask->worker_place, ask->opened_us);
        if ((is_worker && injury->kind == INJURY_TROUBLE) || concerns(injury, -1, ask->opened_us) ||
            concerns(injury, (int)ask->asker->place, ask->opened_us))
            return UINT64_MAX;
        if (is_worker)
            last_us = injury->from_us;
    }
    return last_us;
}

static void check_lost(struct sim_ask *ask)
{
    uint64_t dead_us = death_us(ask);
    ask->sim->result.lost++;
    if (ask->delta_count > 0 && !is_kept(ask) && dead_us != UINT64_MAX &&
        ask->sim->now_us - dead_us > NEWS_US)
        sim_fail(ask->sim, "ask %u: heard only after %" PRIu64 " us that its worker is gone",
                 ask->index, ask->sim->now_us - dead_us);
}

static void check_error(struct sim_ask *ask, const struct event *event)
{
    if (event->error.fault == FAULT_WORKER_LOST)
        check_lost(ask);
    else
        ask->sim->result.refused++;
    if (!may_end_with(ask, event->error.fault))
        sim_fail(ask->sim, "ask %u%s: %s (" SLICE_FMT ") after %u deltas of worker %d%s",
                 ask->index, ask->is_probe ? " (a probe)" : "", fault_name(event->error.fault),
                 SLICE_ARG(event->error.message), ask->delta_count, ask->worker_place,
                 ask->is_cancelled ? ", cancelled" : "");
}

static void check_end(struct sim_ask *ask, const struct event *event)
{
    struct sim *sim = ask->sim;
    sim_say(sim, "---- ask %u ends: %s", ask->index,
            event->type == EVENT_DONE ? done_reason_name(event->done.reason)
                                      : fault_name(event->error.fault));
    if (event->type == EVENT_DONE)
        check_done(ask, event->done.reason);
    else
        check_error(ask, event);
    if (ask->is_probe && sim->now_us - ask->opened_us > PROBE_MAX_US)
        sim_fail(sim, "ask %u: a probe that took %" PRIu64 " us", ask->index,
                 sim->now_us - ask->opened_us);
    ask->has_ended = true;
    ask->ended_us = sim->now_us;
    ask->ask = NULL;
    deadline_clear(&ask->reading);
    sim->asks_open--;
}

/* --- reading --- */

static void consume(struct sim_ask *ask)
{
    uint32_t events = ask->held_events, bytes = ask->held_bytes;
    ask->held_events = ask->held_bytes = 0;
    if (ask->ask)
        ask_consumed(ask->ask, events, bytes);
}

static void on_read(void *ctx)
{
    consume(ctx);
}

static void hold(struct sim_ask *ask, const struct event *event)
{
    ask->held_events++;
    ask->held_bytes += event_credit_bytes(event);
    if (ask->read_us == 0 || ask->sim->is_quiet)
        consume(ask);
    else if (!deadline_is_armed(&ask->reading))
        deadline_after(&ask->reading, ask->read_us);
}

static void find_worker(struct sim_ask *ask, struct slice control)
{
    for (size_t i = 0; i < ask->sim->birth_count; i++)
        if (slice_eq_str(control, ask->sim->births[i].inbox))
            ask->worker_place = (int)ask->sim->births[i].place;
}

static void on_event(void *ctx, const struct event *event)
{
    struct sim_ask *ask = ctx;
    if (ask->is_orphaned)
        return; /* its asker is dead, and being taken down */
    if (ask->has_ended || ask->is_abandoned) {
        sim_fail(ask->sim, "ask %u: an event (%s) after its %s", ask->index,
                 event_type_name(event->type), ask->has_ended ? "end" : "being abandoned");
        return;
    }
    if (event->type == EVENT_ACCEPTED)
        find_worker(ask, event->accepted.control);
    else if (event->type == EVENT_STARTED)
        check_started(ask, event);
    else if (event->type == EVENT_DELTA)
        check_delta(ask, event);
    else if (event->type == EVENT_USAGE)
        ask->usage_tokens = event->usage.completion_tokens;
    if (event_is_end(event->type))
        check_end(ask, event);
    else if (event->type == EVENT_DELTA)
        hold(ask, event);
}

/* --- asking --- */

static struct request request_of(const struct sim_ask *ask)
{
    const struct question *question = &ask->question;
    return (struct request){
        .id = ask->id,
        .model = slice_str(sim_model(ask->model)),
        .prompt_kind = PROMPT_TOKENS,
        .tokens = question->prompt,
        .token_count = question->prompt_count,
        .sampling = question->sampling,
        .max_tokens = question->max_tokens,
        .stops = question->stops,
        .stop_count = question->stop_count,
        .ignore_eos = question->ignore_eos,
        .want_progress = ask->wants_progress,
        .priority = ask->priority,
        .arrival_ms = clock_wall_ms(), /* the one that the manager sees */
    };
}

/* A process that is dead or frozen asks nothing; one that cannot send now neither. */
void sim_ask_open(struct sim_ask *ask)
{
    struct role *asker = ask->asker;
    if (!asker->is_up || asker->is_frozen || asker->is_curtained)
        return;
    struct request request = request_of(ask);
    uint64_t loop_us = loop_now_us(asker->loop);
    if (loop_us < ask->sim->now_us)
        loop_skip(asker->loop, ask->sim->now_us - loop_us);
    deadline_init(&ask->reading, asker->loop, on_read, ask);
    ask->opened_us = ask->sim->now_us;
    enum err err = ask_open(asker->hub, &request, on_event, ask, &ask->ask);
    sim_say(ask->sim, "---- ask %u: %s of %s, stream %08x: %u tokens, at most %u%s", ask->index,
            asker->name, sim_model(ask->model), (unsigned)ask->id.low, ask->question.prompt_count,
            ask->question.max_tokens, err == ERR_OK ? "" : " (refused)");
    asker->is_touched = true;
    if (err != ERR_OK) {
        if (err != ERR_FULL || hurt_us(ask->sim, (int)asker->place, ask->opened_us) == 0)
            sim_fail(ask->sim, "ask %u: ask_open: %s", ask->index, err_name(err));
        return;
    }
    ask->was_opened = true;
    ask->sim->asks_open++;
    ask->sim->result.asks++;
}

void sim_ask_cancel(struct sim_ask *ask)
{
    if (!ask->ask || ask->asker->is_frozen || ask->is_orphaned)
        return;
    sim_say(ask->sim, "---- ask %u: cancel", ask->index);
    uint64_t loop_us = loop_now_us(ask->asker->loop);
    if (loop_us < ask->sim->now_us)
        loop_skip(ask->asker->loop, ask->sim->now_us - loop_us);
    ask->asker->is_touched = true;
    ask->is_cancelled = true;
    if (sim_below(ask->sim, 4) > 0) {
        ask_cancel(ask->ask);
        return;
    }
    ask->is_abandoned = ask->has_ended = true; /* nothing is heard of it any more */
    deadline_clear(&ask->reading);
    ask->sim->asks_open--;
    ask_abandon(&ask->ask);
}

void sim_ask_orphan(struct sim_ask *ask)
{
    if (!ask->was_opened || ask->has_ended || ask->is_orphaned)
        return;
    ask->is_orphaned = true;
    ask->ask = NULL;
    deadline_clear(&ask->reading);
    ask->sim->asks_open--;
}

void sim_ask_fini(struct sim_ask *ask)
{
    if (ask->is_started)
        text_fini(&ask->answer.text);
}

/* --- rule 5: the order of assignments --- */

static struct sim_ask *ask_of(struct sim *sim, uint64_t stream)
{
    for (uint32_t i = 0; i < SIM_ASKS_MAX; i++)
        if (sim->asks[i].was_opened && sim->asks[i].id.low == stream)
            return &sim->asks[i];
    return NULL;
}

static void on_arrival(struct sim *sim, struct sim_ask *ask)
{
    if (ask->arrival == 0)
        ask->arrival = ++sim->arrivals;
}

/* One that came later and was assigned at an earlier moment has jumped the queue. (What is assigned
 * in one turn leaves in a frame for each worker, in no order.) */
static void on_assignment(struct sim *sim, struct sim_ask *ask)
{
    if (ask->assigned_us > 0)
        return;
    ask->assigned_us = sim->now_us;
    for (uint32_t i = 0; i < SIM_ASKS_MAX; i++) {
        const struct sim_ask *other = &sim->asks[i];
        if (other->model == ask->model && other->priority == ask->priority &&
            other->arrival > ask->arrival && other->assigned_us > 0 &&
            other->assigned_us < ask->assigned_us)
            sim_fail(sim, "ask %u was assigned before ask %u, which came earlier", other->index,
                     ask->index);
    }
}

void sim_check_order(struct sim *sim, const struct bus_sim_sight *sight)
{
    struct wire_reader reader;
    struct wire_record record;
    bool arrives = sight->what == BUS_SIM_HANDLED && sight->to[0] == 'm';
    bool leaves = sight->what == BUS_SIM_SENT && sight->from[0] == 'm';
    if ((!arrives && !leaves) || wire_open(sight->message->frame, &reader) != ERR_OK)
        return;
    while (wire_next(&reader, &record) == ERR_OK) {
        struct sim_ask *ask = record.type == WIRE_SUBMIT ? ask_of(sim, record.stream) : NULL;
        if (ask && arrives)
            on_arrival(sim, ask);
        else if (ask)
            on_assignment(sim, ask);
    }
}
