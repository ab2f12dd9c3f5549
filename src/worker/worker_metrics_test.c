/* worker_metrics_test - what is counted stays true when workers of one model are added up. */
#include "worker/worker_metrics.h"

#include "metrics/snapshot.h"
#include "testing/test.h"

static void add_worker(struct metrics *sum, bool is_ready, enum node_determinism determinism)
{
    struct metrics *own = metrics_new();
    struct worker_metrics metrics;
    struct text payload;
    worker_metrics_init(&metrics, own, SLICE("m"));
    worker_metrics_set_determinism(&metrics, true, NODE_DETERMINISM_UNKNOWN); /* as each begins */
    worker_metrics_set_determinism(&metrics, is_ready, determinism);
    text_init(&payload, SNAPSHOT_MAX_BYTES);
    snapshot_write(own, &payload);
    struct snapshot_reader reader = snapshot_reader_of(text_slice(&payload));
    struct metric_sample sample;
    while (snapshot_next(&reader, &sample) == ERR_OK)
        CHECK_OK(metrics_merge(sum, &sample));
    text_fini(&payload);
    metrics_free(own);
}

static double nodes(struct metrics *sum, const char *labels)
{
    return metric_value(metrics_get(sum, METRIC_GAUGE, "millrace_numerics_nodes", "", labels));
}

/* Two exact ones are not "2", and one that is not does not hide behind one that is. */
TEST(the_sum_over_workers_says_how_many_are_exact)
{
    struct metrics *sum = metrics_new();
    add_worker(sum, true, NODE_EXACT);
    add_worker(sum, true, NODE_EXACT);
    CHECK_EQ(nodes(sum, "model=\"m\",determinism=\"exact\""), 2);
    CHECK_EQ(nodes(sum, "model=\"m\",determinism=\"compatible\""), 0);
    CHECK_EQ(nodes(sum, "model=\"m\",determinism=\"unknown\""), 0);
    add_worker(sum, true, NODE_COMPATIBLE);
    add_worker(sum, true, NODE_DETERMINISM_UNKNOWN);
    add_worker(sum, false, NODE_EXACT);
    CHECK_EQ(nodes(sum, "model=\"m\",determinism=\"exact\""), 2);
    CHECK_EQ(nodes(sum, "model=\"m\",determinism=\"compatible\""), 1);
    CHECK_EQ(nodes(sum, "model=\"m\",determinism=\"unknown\""), 1);
    metrics_free(sum);
}

TEST(without_a_registry_nothing_is_counted)
{
    struct worker_metrics metrics;
    worker_metrics_init(&metrics, NULL, SLICE("m"));
    worker_metrics_set_determinism(&metrics, true, NODE_EXACT);
    CHECK(metrics.numerics[NODE_EXACT] == NULL);
}
