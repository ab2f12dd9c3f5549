#include "manager/sched.h"
#include "testing/test.h"

enum { MS = 1000 };

struct crew {
    struct sched_model model;
    struct sched_node nodes[8];
    int count;
};

static void init(struct crew *crew)
{
    *crew = (struct crew){0};
    sched_model_init(&crew->model);
}

static struct sched_node *add(struct crew *crew, enum node_phase phase)
{
    struct sched_node *node = &crew->nodes[crew->count++];
    node->phase = phase;
    list_push_back(&crew->model.nodes, &node->link);
    return node;
}

static struct sched_node *add_worker(struct crew *crew, uint32_t slots, uint32_t room)
{
    struct sched_node *node = add(crew, NODE_READY);
    sched_take_load(node, &(struct wire_load){.slots = slots, .room = room});
    return node;
}

static long pick(struct crew *crew)
{
    const struct sched_node *node = sched_pick(&crew->model, "");
    return node ? node - crew->nodes : -1;
}

static enum sched_outlook outlook(struct crew *crew, uint64_t now_us)
{
    sched_review(&crew->model, now_us);
    return crew->model.outlook;
}

TEST(the_worker_with_most_room_for_its_size_is_picked)
{
    struct crew crew;
    init(&crew);
    add_worker(&crew, 8, 4);
    add_worker(&crew, 2, 2);
    sched_review(&crew.model, 1);
    CHECK_EQ(crew.model.room, 6);
    CHECK_EQ(pick(&crew), 1); /* 1 of 1 against 1/2 */
    CHECK_EQ(pick(&crew), 0); /* now 1/2 and 1/2: who was picked longest ago */
    CHECK_EQ(pick(&crew), 1);
    CHECK_EQ(pick(&crew), 0);
    CHECK_EQ(pick(&crew), 0);
    CHECK_EQ(pick(&crew), 0);
    CHECK_EQ(pick(&crew), -1);
    CHECK_EQ(crew.model.room, 0);
}

static long pick_like(struct crew *crew, const char *numerics)
{
    bool has_room = sched_has_room(&crew->model, numerics);
    const struct sched_node *node = sched_pick(&crew->model, numerics);
    CHECK_EQ(has_room, node != NULL);
    return node ? node - crew->nodes : -1;
}

TEST(who_is_known_to_have_other_numerics_gets_no_answer_that_was_begun_elsewhere)
{
    static const char mine[] = "0123456789abcdef0123456789abcdef";
    static const char other[] = "0123456789abcdef0123456789abcde0";
    struct crew crew;
    init(&crew);
    sched_take_numerics(add_worker(&crew, 8, 8), slice_str(other));
    sched_take_numerics(add_worker(&crew, 2, 1), slice_str(mine));
    add_worker(&crew, 2, 1); /* it does not know its own */
    sched_take_numerics(&crew.nodes[2], SLICE("too short"));
    sched_review(&crew.model, 1);
    CHECK_EQ(pick_like(&crew, mine), 1);
    CHECK_EQ(pick_like(&crew, mine), 2);
    CHECK_EQ(pick_like(&crew, mine), -1);
    CHECK_EQ(pick_like(&crew, other), 0);
    CHECK_EQ(pick_like(&crew, ""), 0);
    CHECK_EQ(crew.model.room, 6);
}

TEST(who_is_known_to_have_the_same_numerics_is_preferred_to_who_does_not_know)
{
    static const char mine[] = "0123456789abcdef0123456789abcdef";
    struct crew crew;
    init(&crew);
    add_worker(&crew, 2, 2);
    sched_take_numerics(add_worker(&crew, 4, 1), slice_str(mine));
    sched_take_numerics(add_worker(&crew, 4, 2), slice_str(mine));
    add_worker(&crew, 2, 2);
    sched_review(&crew.model, 1);
    CHECK_EQ(pick_like(&crew, mine), 2); /* of those, by room */
    CHECK_EQ(pick_like(&crew, mine), 1);
    CHECK_EQ(pick_like(&crew, mine), 2);
    CHECK_EQ(pick_like(&crew, mine), 0); /* better than to wait */
    CHECK_EQ(pick_like(&crew, ""), 3);
}

TEST(who_has_adapters_and_does_not_know_its_numerics_gets_no_answer_that_was_begun_elsewhere)
{
    static const char mine[] = "0123456789abcdef0123456789abcdef";
    struct crew crew;
    init(&crew);
    struct sched_node *node = add_worker(&crew, 4, 4);
    node->has_adapters = true;
    sched_review(&crew.model, 1);
    CHECK_EQ(pick_like(&crew, mine), -1);
    CHECK_EQ(pick_like(&crew, ""), 0);
    sched_take_numerics(node, slice_str(mine));
    CHECK_EQ(pick_like(&crew, mine), 0);
}

TEST(equals_take_turns)
{
    struct crew crew;
    init(&crew);
    for (int i = 0; i < 3; i++)
        add_worker(&crew, 2, 2);
    sched_review(&crew.model, 1);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(pick(&crew), i % 3);
    CHECK_EQ(pick(&crew), -1);
}

TEST(what_was_given_and_not_seen_is_not_room)
{
    struct crew crew;
    init(&crew);
    struct sched_node *node = add_worker(&crew, 4, 3);
    static const struct {
        uint32_t given, expected;
    } cases[] = {{0, 3}, {2, 1}, {3, 0}, {4, 0}, {UINT32_MAX, 0}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        node->given = cases[i].given;
        CHECK_EQ(sched_room(node), cases[i].expected);
    }
}

TEST(who_is_doubted_is_not_picked_until_it_tells_its_load)
{
    struct crew crew;
    init(&crew);
    struct sched_node *node = add_worker(&crew, 4, 3);
    node->is_doubted = true;
    CHECK_EQ(outlook(&crew, 0), OUTLOOK_SERVED); /* nobody is refused for it */
    CHECK_EQ(crew.model.room, 3);
    CHECK_EQ(pick(&crew), -1);
    sched_take_load(node, &(struct wire_load){.slots = 4, .room = 3});
    CHECK_EQ(pick(&crew), 0);
}

TEST(only_ready_workers_have_room)
{
    for (int phase = 0; phase < NODE_PHASE_COUNT; phase++) {
        struct crew crew;
        init(&crew);
        add_worker(&crew, 4, 4)->phase = (enum node_phase)phase;
        sched_review(&crew.model, 1);
        CHECK_EQ(pick(&crew), phase == NODE_READY ? 0 : -1);
    }
    struct crew crew;
    init(&crew);
    add(&crew, NODE_READY); /* it has not told its load */
    add_worker(&crew, 0, 4);
    CHECK_EQ(outlook(&crew, 1), OUTLOOK_LOADING);
    CHECK_EQ(pick(&crew), -1);
}

TEST(absurd_numbers_of_a_worker_are_cut)
{
    struct crew crew;
    init(&crew);
    for (int i = 0; i < 8; i++)
        add_worker(&crew, UINT32_MAX, UINT32_MAX);
    sched_review(&crew.model, 1);
    CHECK_EQ(crew.model.slots, 8 * SCHED_SLOTS_MAX);
    CHECK_EQ(crew.model.room, 8 * SCHED_SLOTS_MAX);
}

TEST(one_ready_worker_serves_whatever_the_others_are)
{
    struct crew crew;
    init(&crew);
    CHECK_EQ(outlook(&crew, 1), OUTLOOK_ABSENT);
    add(&crew, NODE_FAILED);
    add(&crew, NODE_DRAINING);
    add(&crew, NODE_LOADING);
    CHECK_EQ(outlook(&crew, 1), OUTLOOK_LOADING);
    add_worker(&crew, 1, 0);
    CHECK_EQ(outlook(&crew, 1), OUTLOOK_SERVED);
    CHECK(sched_wake_us(&crew.model) == UINT64_MAX);
}

TEST(the_fraction_is_that_of_the_node_which_is_furthest)
{
    struct crew crew;
    init(&crew);
    add(&crew, NODE_LOADING)->load_fraction = 0.25f;
    add(&crew, NODE_LOADING)->load_fraction = 0.5f;
    add(&crew, NODE_FAILED)->load_fraction = 1;
    sched_review(&crew.model, 1);
    CHECK_NEAR(crew.model.load_fraction, 0.5, 0.001);
}

TEST(hosts_that_hold_all_workers_back_are_believed_at_once)
{
    struct crew crew;
    init(&crew);
    add(&crew, NODE_FAILED);
    CHECK_EQ(outlook(&crew, 1), OUTLOOK_FAILED);
    struct sched_node *other = add(&crew, NODE_LOADING);
    CHECK_EQ(outlook(&crew, 2), OUTLOOK_LOADING);
    other->phase = NODE_FAILED;
    CHECK_EQ(outlook(&crew, 3), OUTLOOK_FAILED);
}

/* One is held back, the other has served and is replaced: by SIGTERM, or by SIGKILL. */
TEST(a_host_that_holds_one_of_several_back_ends_no_hope_for_the_others)
{
    struct crew crew;
    init(&crew);
    add(&crew, NODE_FAILED);
    struct sched_node *worker = add_worker(&crew, 1, 1);
    CHECK_EQ(outlook(&crew, 1), OUTLOOK_SERVED);
    worker->phase = NODE_DRAINING;
    CHECK_EQ(outlook(&crew, 5), OUTLOOK_LOADING);
    CHECK_EQ(outlook(&crew, 5 + SCHED_HOPE_MS * MS), OUTLOOK_DRAINING);
    list_remove(&worker->link); /* it has ended: its host is about to say that another one comes */
    CHECK_EQ(outlook(&crew, 5000 * MS), OUTLOOK_LOADING);
    CHECK_EQ(outlook(&crew, (5000 + SCHED_HOPE_MS) * MS), OUTLOOK_FAILED);
    list_push_back(&crew.model.nodes, &worker->link);
    worker->phase = NODE_READY;
    CHECK_EQ(outlook(&crew, 9000 * MS), OUTLOOK_SERVED);
    list_remove(&worker->link);
    CHECK_EQ(outlook(&crew, 9001 * MS), OUTLOOK_LOADING);
    CHECK_EQ(sched_wake_us(&crew.model), (9001 + SCHED_HOPE_MS) * MS);
    CHECK_EQ(outlook(&crew, (9001 + SCHED_HOPE_MS) * MS), OUTLOOK_FAILED);
}

TEST(workers_that_fail_or_drain_may_be_replaced_for_a_while)
{
    static const enum node_phase phases[] = {NODE_FAILED, NODE_DRAINING};
    static const enum sched_outlook ends[] = {OUTLOOK_FAILED, OUTLOOK_DRAINING};
    for (size_t i = 0; i < ARRAY_COUNT(phases); i++) {
        struct crew crew;
        init(&crew);
        add_worker(&crew, 1, 1)->phase = phases[i];
        CHECK_EQ(outlook(&crew, 5), OUTLOOK_LOADING);
        CHECK_EQ(sched_wake_us(&crew.model), 5 + SCHED_HOPE_MS * MS);
        CHECK_EQ(outlook(&crew, 4 + SCHED_HOPE_MS * MS), OUTLOOK_LOADING);
        CHECK_EQ(outlook(&crew, 5 + SCHED_HOPE_MS * MS), ends[i]);
        CHECK_EQ(outlook(&crew, 6 + SCHED_HOPE_MS * MS), ends[i]);
    }
}

TEST(hope_begins_anew_with_every_replacement)
{
    struct crew crew;
    init(&crew);
    add_worker(&crew, 1, 1)->phase = NODE_DRAINING;
    CHECK_EQ(outlook(&crew, 0), OUTLOOK_LOADING);
    struct sched_node *next = add(&crew, NODE_LOADING);
    CHECK_EQ(outlook(&crew, 2000 * MS), OUTLOOK_LOADING);
    CHECK(sched_wake_us(&crew.model) == UINT64_MAX);
    list_remove(&next->link);
    CHECK_EQ(outlook(&crew, 2500 * MS), OUTLOOK_LOADING);
    CHECK_EQ(outlook(&crew, 3500 * MS), OUTLOOK_DRAINING);
}
