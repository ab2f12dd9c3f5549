/* counts - what one gateway counts about answers and about requests to models (docs/metrics.md has
 * all series). Every call is fine without a registry. Belongs to the gateway's loop.
 *
 * No word of a client becomes a label: routes are the templates of our table, models are those that
 * some node serves, ends and codes are literals of ours. */
#pragma once

#include "base/list.h"
#include "base/slice.h"
#include "metrics/metrics.h"

/* More models than this share one set of series with the requests for which none was found. */
enum { COUNTS_MODELS_MAX = 64 };

/* Of one model, looked up once for each request. */
struct model_counts {
    struct list link;
    struct slice name;           /* empty: no model was found, or there are too many */
    struct metric *ttft_seconds; /* these are NULL then */
    struct metric *inter_token_seconds, *request_seconds;
};

struct gateway;
struct counts;

/* `metrics` is borrowed; NULL: nothing is counted. Never NULL. */
struct counts *counts_new(struct metrics *metrics);
void counts_free(struct counts *counts); /* NULL is fine */

/* An answer, by the mark of its request (routes.h); 499: the client left before there was one. */
void counts_answer(struct counts *counts, uint32_t mark, int status);

/* A model that some node serves; an empty name: none. Lives as long as the counts. */
const struct model_counts *counts_model(struct counts *counts, struct slice model);
/* A request to a model is over. `dialect` and `end` are literals. */
void counts_end(struct counts *counts, const struct model_counts *model, const char *dialect,
                const char *end, double seconds);
/* For the feed: sets what is known from state that is kept anyway. */
void counts_collect(struct counts *counts, const struct gateway *gateway);
