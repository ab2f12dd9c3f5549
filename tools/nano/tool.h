/* tool - something that a model may call: its schema as clients send it, what a user says who wants
 * it, and the call itself. The tools are in toolbox.c (written by hand) and tool_invented.c. */
#pragma once

#include "nano/invent.h"

enum { TOOL_PARAMETERS_MAX = 5, TOOL_ASKS_MAX = 5, WISH_BYTES_MAX = 2048 };

struct parameter {
    const char *name;    /* NULL: there are no more */
    const char *type;    /* of JSON schema: string, number, integer, boolean */
    enum thing thing;    /* what it holds, unless */
    const char *choices; /* these: "low|normal|high" */
    const char *description;
    bool is_optional;
};

struct tool {
    const char *name, *description;
    const char *group; /* never offered beside each other: what is asked of one may be meant for the
                          other */
    struct parameter parameters[TOOL_PARAMETERS_MAX];
    /* Patterns (phrase.h) in which <city> is the parameter's value, and <force=true> gives a value
     * without a word. Each gives all parameters that are not optional. */
    const char *asks[TOOL_ASKS_MAX]; /* NULL behind the last */
};

/* Appends a value that it may hold, as text without quotes. */
void parameter_add_value(struct text *out, const struct parameter *parameter, struct choice *choice,
                         enum split split);
/* The same value as JSON. */
void parameter_add_json(struct text *out, const struct parameter *parameter, struct slice value);

size_t tool_parameter_count(const struct tool *tool);

/* A JSON object on one line, with the keys, their order and spaces as one of the usual clients
 * sends them. */
void tool_add_schema(struct text *out, const struct tool *tool, unsigned style);
enum { TOOL_STYLES = 12 };

/* What a user says, and what is to be made of it. Belongs to one thread. */
struct wish {
    struct text words;
    struct text bytes; /* the values, as they were said */
    struct {
        uint32_t begin, len;
        bool is_given;
    } values[TOOL_PARAMETERS_MAX];
};

void wish_init(struct wish *wish);
void wish_fini(struct wish *wish);
/* One of the tool's wordings, with new values. */
void wish_make(struct wish *wish, const struct tool *tool, struct choice *choice, enum split split);
struct slice wish_value(const struct wish *wish, size_t parameter);

/* {"name": "x", "arguments": {..}}: what is given, in the order of the schema. */
void tool_add_call_json(struct text *out, const struct tool *tool, const struct wish *wish);
/* The same as the template writes it, between <tool_call> and </tool_call>. */
void tool_add_call(struct text *out, const struct tool *tool, const struct wish *wish);

/* The hand-written ones; every fifth is the test's (list_part). */
extern const struct tool toolbox[];
extern const size_t toolbox_count;
const struct tool *toolbox_draw(struct choice *choice, enum split split);

/* One made up on the spot: good as long as its storage. */
enum { INVENTED_BYTES = 4096 };
struct invented_tool {
    struct tool tool;
    const char *verb, *noun;
    char bytes[INVENTED_BYTES];
    size_t used;
};
/* `like` (or NULL): has the verb or the noun of that one, but not both. Two invented without it may
 * share one of them by chance: invented_is_like(). */
void tool_invent(struct invented_tool *out, const struct invented_tool *like, struct choice *choice,
                 enum split split);
bool invented_is_like(const struct invented_tool *a, const struct invented_tool *b);
