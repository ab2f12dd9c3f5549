/* log_message - what lines of logs say, and what one does about it. Pure functions of the choice.
 */
#pragma once

#include "nano/invent.h"

/* How bad a line is; the worst of a log is its severity: low, medium, high, critical. */
enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_FATAL, LOG_LEVELS };

/* Who speaks. */
#define LOG_TOPICS(X)                                                                              \
    X(SERVICE)   /* something that runs */                                                         \
    X(CODE)      /* a compiler */                                                                  \
    X(TEST)      /* a test that ran */                                                             \
    X(PACKAGE)   /* what fetches packages */                                                       \
    X(EXCEPTION) /* a stack trace */                                                               \
    X(CLUSTER)   /* what runs containers */                                                        \
    X(UNIT)      /* what runs services of a machine */                                             \
    X(ROLLOUT)   /* what brings a version out */
enum log_topic {
#define X(name) LOG_TOPIC_##name,
    LOG_TOPICS(X)
#undef X
        LOG_TOPIC_COUNT,
};

enum { LOG_FIXES = 2 };

/* Appends a message; its fixes are literals. False: this topic has none of that level. */
MUST_USE bool log_message_add(struct text *out, enum log_topic topic, enum log_level level,
                              struct choice *choice, enum split split,
                              const char *out_fixes[LOG_FIXES]);
bool log_topic_has(enum log_topic topic, enum log_level level);
/* Made-up words that say nothing: only the line's level tells how bad it is. */
void log_message_add_riddle(struct text *out, struct choice *choice, enum split split,
                            const char *out_fixes[LOG_FIXES]);
