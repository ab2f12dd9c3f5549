/* grammar_draft - a grammar on its way from text (grammar_text) to nodes (grammar_build): a tree of
 * items per rule. For the files of this folder. */
#pragma once

#include "base/map.h"
#include "grammar/grammar_impl.h"

enum item_kind {
    ITEM_CHARS,    /* one character of class `arg` */
    ITEM_RULE,     /* all of rule `arg` */
    ITEM_SEQUENCE, /* the items from `arg` on, one after the other */
    ITEM_CHOICE,   /* one of the items from `arg` on */
};
enum { NO_ITEM = UINT32_MAX, NO_NODE = UINT32_MAX, REPEAT_NO_END = UINT32_MAX };

struct item {
    uint32_t kind, arg;
    uint32_t sibling;  /* the next one of the same sequence or choice, or NO_ITEM */
    uint32_t min, max; /* how often; once: 1, 1 */
};

struct rule {
    struct slice name;             /* empty: of a group that is repeated */
    size_t first_use, defined;     /* where in the text; the latter only if there is a body */
    uint32_t body;                 /* an item, or NO_ITEM */
    uint32_t node;                 /* where it begins */
    uint32_t first_node, end_node; /* its nodes, but the last, which all rules share */
};

struct draft {
    struct slice text;
    struct err_note *note;
    struct grammar *grammar;
    struct item *items;
    struct rule *rules;
    uint32_t item_count, rule_count, item_capacity, rule_capacity;
    struct map *rules_by_name;      /* a hash -> the number of a rule, and one */
    struct map *classes_by_content; /* half a digest -> the number of a class, and one */
    uint32_t ascii_classes[128];    /* of single letters: the number of a class, and one; or 0 */
    size_t at;                      /* in the text */
    int nesting;
};

/* Writes "line L, column C: " and the message; returns err. */
MUST_USE enum err draft_fail(struct draft *draft, size_t at, enum err err, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* grammar_text: all rules of the text, checked to be all there. */
MUST_USE enum err draft_read(struct draft *draft);
/* grammar_build: the nodes of all rules, no left recursion among them. */
MUST_USE enum err draft_build(struct draft *draft);
/* grammar_left: ERR_REFUSED when a rule may begin with itself. The nodes are laid, and the `arg` of
 * calls are still numbers of rules. */
MUST_USE enum err draft_refuse_left_recursion(struct draft *draft);
