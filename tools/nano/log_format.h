/* log_format - how lines of logs look. A format is drawn once for a log: the shape of its lines
 * from parts (order, brackets, keys of logfmt and JSON, time stamps, words for levels), or that of
 * a program (compilers, build tools, test runners, orchestrators, stack traces).
 *
 * Every third shape and program is unseen: training never draws it. Belongs to one thread. */
#pragma once

#include "nano/log_message.h"

enum log_type { LOG_TYPE_BUILD, LOG_TYPE_DEPLOY, LOG_TYPE_RUNTIME, LOG_TYPES };

struct log_line { /* nothing in it needs an escape in JSON */
    enum log_level level;
    struct slice component, message;
};

struct log_program;
struct log_format {
    const struct log_program *program; /* NULL: composed of parts */
    enum log_topic topic;
    enum log_type type;
    char shape[256]; /* of a line: %t time, %l level, %c component, %m message, %h host, %p pid */
    unsigned time_style, level_style, component_style;
    uint64_t clock_ms; /* of the next line */
    char host[96];
};

void log_format_draw(struct log_format *out, bool is_unseen, struct choice *choice,
                     enum split split);
bool log_format_has(const struct log_format *format, enum log_level level);
/* False: lines do not name their level, the message has to tell. */
bool log_format_says_level(const struct log_format *format);
/* A name as components are called there. */
void log_format_add_component(const struct log_format *format, struct text *out,
                              struct choice *choice, enum split split);
/* One line, or the few that belong together; moves the clock on. Without a newline at its end. */
void log_format_add_line(struct log_format *format, struct text *out, const struct log_line *line,
                         struct choice *choice, enum split split);
/* What some programs say at the end; false: nothing. */
MUST_USE bool log_format_add_end(struct log_format *format, struct text *out, bool failed,
                                 struct choice *choice, enum split split);

/* --- inside --- */

/* What a program's components are. */
enum log_component {
    LOG_COMPONENT_SERVICE,
    LOG_COMPONENT_SOURCE, /* src/kaluto.c, with the program's ending */
    LOG_COMPONENT_CLASS,  /* com.kaluto.billing.Store */
    LOG_COMPONENT_MODULE, /* kaluto.jobs.sync */
    LOG_COMPONENT_POD,    /* kaluto-7d9f8b6c5-x2x4z */
    LOG_COMPONENT_UNIT,   /* kaluto.service */
    LOG_COMPONENT_ROUTE,  /* /api/kaluto */
    LOG_COMPONENT_TEST,   /* test_kaluto_limits */
    LOG_COMPONENTS
};

enum { LOG_INFOS_MAX = 3 };
/* Lines as in a shape, and: %f another file, %o another component, %n %N small numbers, %x hex. */
struct log_program {
    const char *name;
    enum log_type type;
    enum log_topic topic;
    enum log_component component;
    const char *ending; /* of source files */
    const char *infos[LOG_INFOS_MAX];
    const char *lines[LOG_LEVELS];  /* but INFO; NULL: it has none of that level */
    const char *failed, *succeeded; /* its last line, NULL: none */
};
extern const struct log_program log_programs[];
extern const size_t log_program_count;
