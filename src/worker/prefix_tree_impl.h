/* prefix_tree_impl - what the two files of the tree share: prefix_tree.c (what is known) and
 * prefix_find.c (what follows from it for a prompt). Nobody else includes it. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "worker/prefix_tree.h"

struct node {
    struct node *parent; /* NULL: the root of a scope, or nobody's */
    struct list children, sibling;
    struct list unused; /* in tree->unused: a leaf that nobody holds, oldest first */
    token_id *ids;      /* of the edge from its parent; the first one tells siblings apart */
    uint32_t id_count;
    uint32_t depth;    /* tokens from the root to its end */
    uint32_t slots;    /* whose content ends here */
    uint32_t requests; /* whose prompt begins with this (at most UINT32_MAX) */
    void *blob;
    size_t blob_bytes, disk_bytes; /* 0: none */
    double worth;                  /* of the blob: H of rule 5 */
    uint32_t uses;
    struct list saved; /* in tree->saved, when it has a blob */
    uint64_t scope;    /* of a root */
};

struct held { /* what a slot holds */
    struct node *node;
    bool is_busy, is_filling; /* filling: busy, and not all of it is there */
    uint64_t used_at;         /* prompts noted before */
};

struct prefix_tree {
    struct prefix_options options;
    struct node *nodes; /* options.nodes_max of them; [0]: of no scope and without children: what
                           empty slots hold, and where prompts of unknown scopes end */
    uint32_t *free_nodes;
    uint32_t free_count;
    struct map *scopes; /* to their roots: those that have children */
    struct map *edges;  /* (index of the parent, first id) to the child */
    struct held *slots;
    struct list unused, saved;
    struct node *answer; /* whose blob the last answer was about, or NULL */
    token_id *scratch;   /* ids of a blob that is dropped: context_tokens of them */
    size_t ids;
    uint64_t prompts;       /* noted, ever: the clock of slots */
    double inflation;       /* L of rule 5 */
    double bytes_per_token; /* of the blob saved last */
    struct prefix_counts counts;
};

struct match {         /* how far a prompt is known */
    struct node *node; /* the last one that it contains whole */
    struct node *next; /* the child on whose edge it ends, or NULL: it ends at the node */
    uint32_t tokens;
};
struct match prefix_match(const struct prefix_tree *tree, uint64_t scope, const token_id *ids,
                          uint32_t count);
static inline struct node *prefix_match_end(const struct match *match)
{
    return match->next ? match->next : match->node;
}

/* The node of the last answer's blob, which stays until the next: there is one at most. */
void prefix_tree_hold(struct prefix_tree *tree, struct node *node);
void prefix_tree_release(struct prefix_tree *tree);
