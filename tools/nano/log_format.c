/* log_format - composes shapes, and writes lines in them. */
#include "nano/log_format.h"

#include "nano/words.h"

#include <stdio.h>
#include <time.h>

enum { PROGRAM_PERCENT = 35, KEYED_PERCENT = 25, RANDOM_SHAPE_PERCENT = 50 };

/* Every third is unseen. */
static const char *const shapes[] = {
    "%t %l %c: %m",
    "%t %l [%c] %m",
    "%t | %l | %c | %m",
    "[%t] [%l] [%c] %m",
    "%t [%c] %l %m",
    "%l [%t] (%c) %m",
    "%t %h %c[%p]: %l: %m",
    "%l:%c:%m",
    "%t %p %l %c - %m",
    "%c: %t %l %m",
    "[%l] %c: %m",
    "%t <%l> %c >> %m",
    "%t %l %c - %m",
    "%c - %l - %m",
    "%c %t %l: %m",
    "%t %l [main] %c - %m",
    "{%t} %l {%c} %m",
    "%t;%l;%c;%m",
    "%l %t %c %m",
    "%t,%l,%c,%m",
    "%t %c/%l: %m",
    "%t %h %c %l %m",
    "%l/%c(%p): %m",
    "[%c] (%l) %m @%t",
    "(%t) %c: [%l] %m",
    "%t %l --- [%p] %c : %m",
    "%l, [%t #%p] -- %c: %m",
    "%t %c[%p]: %m",
    "%c %p %t - %m",
    "%t %h %c: %m",
};

/* INFO, WARN, ERROR, FATAL. */
static const char *const level_styles[][LOG_LEVELS] = {
    {"INFO", "WARN", "ERROR", "FATAL"},
    {"info", "warn", "error", "fatal"},
    {"INFO", "WARNING", "ERROR", "CRITICAL"},
    {"info", "warning", "error", "critical"},
    {"I", "W", "E", "F"},
    {"NOTICE", "WARN", "ERR", "CRIT"},
    {"Info", "Warning", "Error", "Critical"},
    {"debug", "warning", "err", "crit"},
    {"DEBUG", "WARN", "ERROR", "PANIC"},
    {"INF", "WRN", "ERR", "FTL"},
    {"trace", "warn", "error", "panic"},
    {"INFO", "WARN", "SEVERE", "FATAL"},
    {"notice", "warning", "err", "emerg"},
};

static const char *const time_styles[] = {
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S",
    "%H:%M:%S",
    "%b %d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S,~",
    "%Y-%m-%dT%H:%M:%S.~Z",
    "%H:%M:%S.~",
    "%d/%b/%Y:%H:%M:%S +0000",
    "%Y/%m/%d %H:%M:%S",
    "%s",
    "%s.~",
    "%m/%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S+02:00",
    "%a %b %d %H:%M:%S %Y",
    "%d.%m.%Y %H:%M:%S",
};

static size_t third_part(struct choice *choice, size_t count, bool is_unseen)
{
    if (is_unseen)
        return 3 * choice_below(choice, count / 3) + 2;
    size_t nth = choice_below(choice, count - count / 3);
    return nth + nth / 2;
}

/* -- shapes ----------------------------------------------------------------- */

/* {"ts": "%t", ..} or ts=%t ..: any order, keys as libraries call them. Every third of a list is
 * unseen. */
static void compose_keyed(struct text *out, bool is_unseen, struct choice *choice)
{
    static const char *const times[] = {"ts", "time", "@timestamp", "timestamp", "t", "at"};
    static const char *const levels[] = {"level",     "lvl",       "severity",
                                         "log.level", "levelname", "sev"};
    static const char *const components[] = {"component", "service", "source", "logger", "module",
                                             "unit",      "app",     "svc",    "name"};
    static const char *const messages[] = {"msg", "message", "text", "event", "error", "detail"};
    static const char codes[] = {'t', 'l', 'c', 'm'};
    const char *keys[] = {
        times[third_part(choice, ARRAY_COUNT(times), is_unseen)],
        levels[third_part(choice, ARRAY_COUNT(levels), is_unseen)],
        components[third_part(choice, ARRAY_COUNT(components), is_unseen)],
        messages[third_part(choice, ARRAY_COUNT(messages), is_unseen)],
    };
    uint8_t order[] = {0, 1, 2, 3};
    for (size_t i = 3; choice_percent(choice, 85) && i > 0; i--) {
        size_t j = choice_below(choice, i + 1);
        uint8_t other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
    bool is_json = choice_percent(choice, 55), is_spaced = choice_percent(choice, 50);
    bool has_time = choice_percent(choice, 85);
    const char *format = !is_json    ? "%s%s=%s%%%c%s"
                         : is_spaced ? "%s\"%s\": %s%%%c%s"
                                     : "%s\"%s\":%s%%%c%s";
    text_add_str(out, is_json ? "{" : "");
    bool is_first = true;
    for (size_t i = 0; i < 4; i++) {
        char code = codes[order[i]];
        if (code == 't' && !has_time)
            continue;
        const char *joint = is_first ? "" : !is_json ? " " : is_spaced ? ", " : ",";
        const char *quote = is_json || code == 'm' ? "\"" : "";
        text_add_f(out, format, joint, keys[order[i]], quote, code, quote);
        is_first = false;
    }
    if (choice_percent(choice, 25))
        text_add_str(out, is_json ? ",\"pid\":%p" : " pid=%p");
    text_add_str(out, is_json ? "}" : "");
}

/* The head of a line: time, level and component in any order, each in brackets of its own. */
static void compose_random(struct text *out, struct choice *choice)
{
    static const char *const wraps[] = {"%s",  "%s",  "[%s]", "(%s)", "{%s}",
                                        "%s:", "%s,", "#%s",  "*%s*"};
    static const char *const orders[] = {"tlc", "tcl", "ltc",  "clt",  "lct",  "lc",   "cl",
                                         "tc",  "ct",  "htcl", "thcl", "thlc", "tlpc", "tclp"};
    static const char *const ends[] = {" ", ": ", " - ", " ", " -- ", ", "};
    const char *order = CHOICE_OF(choice, orders);
    char code[] = "%?";
    for (size_t i = 0; order[i]; i++) {
        code[1] = order[i];
        const char *wrap = CHOICE_OF(choice, wraps);
        size_t percent = (size_t)(strchr(wrap, '%') - wrap);
        text_add_str(out, i ? " " : "");
        text_add(out, slice_of(wrap, percent));
        text_add_str(out, code);
        text_add_str(out, wrap + percent + 2);
    }
    text_add_f(out, "%s%%m", CHOICE_OF(choice, ends));
}

static bool is_unseen_shape(struct slice shape)
{
    for (size_t i = 2; i < ARRAY_COUNT(shapes); i += 3) {
        if (slice_eq_str(shape, shapes[i]))
            return true;
    }
    return false;
}

static void compose(struct log_format *format, bool is_unseen, struct choice *choice)
{
    struct text shape;
    text_init(&shape, sizeof(format->shape) - 1);
    do {
        text_clear(&shape);
        if (choice_percent(choice, KEYED_PERCENT))
            compose_keyed(&shape, is_unseen, choice);
        else if (!is_unseen && choice_percent(choice, RANDOM_SHAPE_PERCENT))
            compose_random(&shape, choice);
        else
            text_add_str(&shape, shapes[third_part(choice, ARRAY_COUNT(shapes), is_unseen)]);
    } while (!is_unseen && is_unseen_shape(text_slice(&shape)));
    ASSERT(text_status(&shape) == ERR_OK);
    memcpy(format->shape, shape.data, shape.len);
    format->shape[shape.len] = 0;
    text_fini(&shape);
}

/* -- drawing ---------------------------------------------------------------- */

static enum log_component draw_component(struct choice *choice)
{
    static const uint8_t usual[] = {
        LOG_COMPONENT_SERVICE, LOG_COMPONENT_SERVICE, LOG_COMPONENT_SERVICE,
        LOG_COMPONENT_SERVICE, LOG_COMPONENT_CLASS,   LOG_COMPONENT_MODULE,
        LOG_COMPONENT_SOURCE,  LOG_COMPONENT_POD,     LOG_COMPONENT_ROUTE,
    };
    return CHOICE_OF(choice, usual);
}

static void draw_host(struct log_format *format, struct choice *choice, enum split split)
{
    struct text host;
    text_init(&host, sizeof(format->host) - 1);
    invent(&host, THING_HOST, choice, split);
    ASSERT(text_status(&host) == ERR_OK);
    memcpy(format->host, host.data, host.len);
    format->host[host.len] = 0;
    text_fini(&host);
}

void log_format_draw(struct log_format *out, bool is_unseen, struct choice *choice,
                     enum split split)
{
    enum { YEAR_2024 = 1704067200, YEARS_4 = 126230400 };
    *out = (struct log_format){
        .time_style = (unsigned)choice_below(choice, ARRAY_COUNT(time_styles)),
        .level_style = (unsigned)choice_below(choice, ARRAY_COUNT(level_styles)),
        .clock_ms = (YEAR_2024 + choice_below(choice, YEARS_4)) * 1000,
    };
    draw_host(out, choice, split);
    if (choice_percent(choice, PROGRAM_PERCENT)) {
        out->program = &log_programs[third_part(choice, log_program_count, is_unseen)];
        out->topic = out->program->topic;
        out->type = out->program->type;
        out->component_style = out->program->component;
        return;
    }
    compose(out, is_unseen, choice);
    out->topic = choice_percent(choice, 80) ? LOG_TOPIC_SERVICE : LOG_TOPIC_ROLLOUT;
    out->type = out->topic == LOG_TOPIC_ROLLOUT ? LOG_TYPE_DEPLOY : LOG_TYPE_RUNTIME;
    out->component_style = draw_component(choice);
}

bool log_format_has(const struct log_format *format, enum log_level level)
{
    if (level == LOG_LEVEL_INFO)
        return true;
    return log_topic_has(format->topic, level) &&
           (!format->program || format->program->lines[level]);
}

bool log_format_says_level(const struct log_format *format)
{
    return !format->program && strstr(format->shape, "%l");
}

/* -- components ------------------------------------------------------------- */

static void add_class(struct text *out, struct choice *choice, enum split split)
{
    static const char *const roots[] = {"com", "org", "io", "net"};
    text_add_f(out, "%s.", CHOICE_OF(choice, roots));
    invent(out, THING_WORD, choice, split);
    text_add_byte(out, '.');
    size_t begin = out->len;
    invent(out, THING_TERM, choice, split);
    word_capital(out, begin);
}

static void add_source(struct text *out, const char *ending, struct choice *choice,
                       enum split split)
{
    static const char *const folders[] = {"src/", "lib/", "app/", "", "core/", "./", "/srv/app/"};
    text_add_str(out, CHOICE_OF(choice, folders));
    invent(out, THING_TERM, choice, split);
    if (choice_percent(choice, 30)) {
        text_add_byte(out, '_');
        invent(out, THING_TERM, choice, split);
    }
    text_add_f(out, ".%s", ending ? ending : "c");
}

static void add_pod(struct text *out, struct choice *choice, enum split split)
{
    invent(out, THING_SERVICE, choice, split);
    text_add_byte(out, '-');
    for (int i = 0; i < 9; i++)
        text_add_byte(out, "bcdfghjklmnpqrstvwxz2456789"[choice_below(choice, 27)]);
    text_add_byte(out, '-');
    for (int i = 0; i < 5; i++)
        text_add_byte(out, "bcdfghjklmnpqrstvwxz2456789"[choice_below(choice, 27)]);
}

void log_format_add_component(const struct log_format *format, struct text *out,
                              struct choice *choice, enum split split)
{
    switch ((enum log_component)format->component_style) {
    case LOG_COMPONENT_SOURCE:
        add_source(out, format->program ? format->program->ending : "py", choice, split);
        return;
    case LOG_COMPONENT_CLASS:
        add_class(out, choice, split);
        return;
    case LOG_COMPONENT_MODULE:
        invent(out, THING_WORD, choice, split);
        text_add_byte(out, '.');
        invent(out, THING_TERM, choice, split);
        return;
    case LOG_COMPONENT_POD:
        add_pod(out, choice, split);
        return;
    case LOG_COMPONENT_UNIT:
        invent(out, THING_SERVICE, choice, split);
        text_add_str(out, ".service");
        return;
    case LOG_COMPONENT_ROUTE:
        text_add_str(out, choice_percent(choice, 50) ? "/api/" : "/");
        invent(out, THING_TERM, choice, split);
        return;
    case LOG_COMPONENT_TEST:
        text_add_str(out, "test_");
        invent(out, THING_TERM, choice, split);
        text_add_byte(out, '_');
        invent(out, THING_TERM, choice, split);
        return;
    default:
        invent(out, THING_SERVICE, choice, split);
    }
}

/* -- lines ------------------------------------------------------------------ */

/* ~ in a style is the milliseconds. */
static void add_time(const struct log_format *format, struct text *out)
{
    time_t seconds = (time_t)(format->clock_ms / 1000);
    struct tm tm;
    char buffer[64];
    gmtime_r(&seconds, &tm);
    const char *style = time_styles[format->time_style];
    if (strncmp(style, "%s", 2) == 0) { /* strftime's is of the local zone */
        snprintf(buffer, sizeof(buffer), "%llu%s", (unsigned long long)(format->clock_ms / 1000),
                 style + 2);
    } else {
        size_t len = strftime(buffer, sizeof(buffer), style, &tm);
        ASSERT(len > 0);
    }
    for (const char *at = buffer; *at; at++) {
        if (*at == '~')
            text_add_f(out, "%03u", (unsigned)(format->clock_ms % 1000));
        else
            text_add_byte(out, *at);
    }
}

static void add_code(struct log_format *format, struct text *out, char code,
                     const struct log_line *line, struct choice *choice, enum split split)
{
    switch (code) {
    case 't':
        add_time(format, out);
        return;
    case 'l':
        text_add_str(out, level_styles[format->level_style][line->level]);
        return;
    case 'c':
        text_add(out, line->component);
        return;
    case 'm':
        text_add(out, line->message);
        return;
    case 'h':
        text_add_str(out, format->host);
        return;
    case 'p':
        text_add_i64(out, choice_between(choice, 100, 99999));
        return;
    case 'n':
        text_add_i64(out, choice_between(choice, 1, 99));
        return;
    case 'N':
        text_add_i64(out, choice_between(choice, 10, 9999));
        return;
    case 'x':
        text_add_f(out, "%06x", (unsigned)choice_below(choice, 1 << 24));
        return;
    case 'f':
        add_source(out, format->program->ending, choice, split);
        return;
    case 'o':
        log_format_add_component(format, out, choice, split);
        return;
    default:
        text_add_byte(out, code);
    }
}

static void add_shape(struct log_format *format, struct text *out, const char *shape,
                      const struct log_line *line, struct choice *choice, enum split split)
{
    for (const char *at = shape; *at; at++) {
        if (*at == '%')
            add_code(format, out, *++at, line, choice, split);
        else
            text_add_byte(out, *at);
    }
    format->clock_ms += choice_below(choice, choice_percent(choice, 70) ? 900 : 90000);
}

void log_format_add_line(struct log_format *format, struct text *out, const struct log_line *line,
                         struct choice *choice, enum split split)
{
    const struct log_program *program = format->program;
    const char *shape = format->shape;
    if (program && line->level == LOG_LEVEL_INFO)
        shape = CHOICE_OF(choice, program->infos);
    else if (program)
        shape = program->lines[line->level];
    add_shape(format, out, shape, line, choice, split);
}

bool log_format_add_end(struct log_format *format, struct text *out, bool failed,
                        struct choice *choice, enum split split)
{
    const struct log_program *program = format->program;
    const char *shape = !program ? NULL : failed ? program->failed : program->succeeded;
    if (!shape)
        return false;
    static const struct log_line none = {0};
    add_shape(format, out, shape, &none, choice, split);
    return true;
}
