/* logs - what is wrong in a log: the component that failed first among the worst lines, what it
 * said, how bad that is and what one may do. The rules a reader can apply (README.md):
 *
 *   critical  a line of level fatal, critical, emergency or panic; something was killed, ran out of
 *             memory or disk, or lost data
 *   high      otherwise a line of level error; what was asked for did not happen
 *   medium    otherwise a warning
 *   low       otherwise: nothing failed
 *
 * Held out: every fifth wording, every third format (log_format.h), made-up words (words.h). */
#include "base/json.h"
#include "nano/log_format.h"
#include "nano/opening.h"
#include "nano/phrase.h"

enum {
    LOG_BYTES_MAX = 1200, /* of one log, but for its root cause: some 600 tokens */
    LINES_MAX = 12,
    RIDDLE_PERCENT = 20,
    JSON_PERCENT = 40,
    FOLLOWS_PERCENT = 12, /* of the lines behind the root cause that are as bad */
    /* Of training, which asks more about a log: reading it is most of the work. */
    LOOK_UP_PERCENT = 35, /* asked for lines before the whole */
    LOOK_UPS_MAX = 3,
    JUDGEMENT_PERCENT = 50,  /* how bad, or who */
    OTHER_FORM_PERCENT = 40, /* the answer in the other form: JSON or prose */
};
enum kind { KIND_JSON = 1, KIND_UNSEEN = 2 };

static const char *const severities[LOG_LEVELS] = {"low", "medium", "high", "critical"};

static const char *const prose_asks[] = {
    "Analyze this log:\\n{log}",
    "[Analyze|Check|Examine|Look at|Read|Inspect] [this|the following|my] [log|{type} log|logs]:\\n"
    "{log}",
    "What [is wrong|went wrong|failed|happened] [here|in this log|in this {type} log]?\\n{log}",
    "[Please |][find|tell me|name] the root cause[ of this {type} log| of the failure|]:\\n{log}",
    "[Can you|Could you|Please] [look into|diagnose|explain] [this|the] [{type} |][log|failure]"
    "[:|?]\\n{log}", /* the test's */
    "[Analyze|Analyse|Diagnose] the [{type} |]log below.\\n\\n{log}",
    "{log}\\n\\n[What is wrong|What failed|What went wrong]?",
    "Here is a [{type} |]log:\\n{log}\\n[Analyze it|What is the root cause|Find the problem].",
    "My {type} [fails|is broken|does not work]. [The log|Log|Output]:\\n{log}",
    "[Summarize|Explain] what went wrong [in|with] this [{type} |]log[:|.]\\n{log}", /* the test's
                                                                                      */
    "Log[s|]:\\n```\\n{log}\\n```\\n[Analyze this log|What is the problem here].",
    "[Analyze|Check] this [{type} |]log:\\n```\\n{log}\\n```",
    "[How bad is this|Is something wrong here|Did something fail]?\\n{log}",
    "[Root cause|Diagnosis|Analysis], please:\\n{log}",
    "{log}\\n\\n[Find|Name] the component that failed[ first|] [and|,] how bad it is.", /* test's */
};
static const char *const json_asks[] = {
    "[Analyze|Check|Examine] this [{type} |]log. [Answer|Reply|Respond] [as|in|with] JSON:\\n{log}",
    "[Analyze|Diagnose] the {type} log and [answer|reply] with a JSON object (root_cause, "
    "severity, suggested_fixes)[:|.]\\n{log}",
    "[Give me|Return|Write] JSON with root_cause, severity and suggested_fixes for this [{type} "
    "|]log:\\n{log}",
    "{log}\\n\\n[Answer|Reply] [as|in] JSON: root_cause, severity, suggested_fixes.",
    "[What is wrong|What failed] here? [JSON only|As JSON], [please|with root_cause, severity and "
    "suggested_fixes]:\\n{log}", /* the test's */
    "[Analyze|Analyze the log|Analyze this {type} log] as JSON:\\n{log}",
    "Log type: {type}\\nLog:\\n{log}\\n\\nReturn a JSON object with root_cause, severity, "
    "suggested_fixes.",
    "JSON analysis of this [{type} |]log[, please|]:\\n{log}",
    "[Find the root cause|Analyze the failure] in this log. Output JSON[ only|]:\\n{log}",
    "[Please |]analyze this log and return [only |]a JSON object:\\n{log}", /* the test's */
};
/* A system prompt may ask for JSON: then the user need not. */
static const char *const json_prompts[] = {
    "You analyze [{type} |]logs. Answer with a JSON object: root_cause, severity, suggested_fixes.",
    "You [read|check|analyze] logs and [answer|reply] in JSON.",
    "[Always answer|Answer only] in JSON with root_cause, severity and suggested_fixes.",
    "You are a log [analyst|analyzer|assistant]. Output JSON only.",
    "You find the root cause of failures. [Respond|Reply] with JSON.", /* the test's */
};
static const char *const prose_prompts[] = {
    "You [read|check|analyze] logs[ and report problems|].",
    "You are a log [analyst|analyzer|assistant].",
    "You [help|assist] operators with their {type} logs.",
    "You find the root cause of failures.",
    "You [explain|diagnose] [logs|failures|problems].", /* the test's */
};

struct incident { /* what an answer says */
    enum log_level severity;
    struct text component, message;
    const char *fixes[LOG_FIXES];
};

/* -- the log ---------------------------------------------------------------- */

/* A few components write most lines of a log: one that spoke before speaks again. */
enum { SPOKE_BEFORE_PERCENT = 35 };

struct said { /* who said what in a line, in writer.said_bytes */
    uint32_t component, message, end;
};

struct writer {
    struct log_format format;
    struct text log;
    struct text component, message; /* of the line being written */
    const char *fixes[LOG_FIXES];
    struct text said_bytes;
    struct said said[LINES_MAX];
    size_t said_count;
};

static void writer_init(struct writer *writer)
{
    text_init(&writer->log, SAMPLE_BYTES_MAX);
    text_init(&writer->component, SAMPLE_BYTES_MAX);
    text_init(&writer->message, SAMPLE_BYTES_MAX);
    text_init(&writer->said_bytes, SAMPLE_BYTES_MAX);
    writer->said_count = 0;
}

static void writer_fini(struct writer *writer)
{
    text_fini(&writer->log);
    text_fini(&writer->component);
    text_fini(&writer->message);
    text_fini(&writer->said_bytes);
}

static struct slice said_component(const struct writer *writer, size_t index)
{
    const struct said *said = &writer->said[index];
    return slice_of(writer->said_bytes.data + said->component, said->message - said->component);
}

static struct slice said_message(const struct writer *writer, size_t index)
{
    const struct said *said = &writer->said[index];
    return slice_of(writer->said_bytes.data + said->message, said->end - said->message);
}

static void note_line(struct writer *writer, enum log_level level)
{
    if (writer->format.program && level == LOG_LEVEL_INFO)
        return; /* such a line shows neither */
    struct said *said = &writer->said[writer->said_count++];
    said->component = (uint32_t)writer->said_bytes.len;
    text_add(&writer->said_bytes, text_slice(&writer->component));
    said->message = (uint32_t)writer->said_bytes.len;
    text_add(&writer->said_bytes, text_slice(&writer->message));
    said->end = (uint32_t)writer->said_bytes.len;
}

static void add_message(struct writer *writer, enum log_level level, struct choice *choice,
                        enum split split)
{
    bool may_riddle = level != LOG_LEVEL_INFO && log_format_says_level(&writer->format);
    if (may_riddle && choice_percent(choice, RIDDLE_PERCENT)) {
        log_message_add_riddle(&writer->message, choice, split, writer->fixes);
        return;
    }
    enum log_topic topic = level == LOG_LEVEL_INFO ? LOG_TOPIC_SERVICE : writer->format.topic;
    bool is_there = log_message_add(&writer->message, topic, level, choice, split, writer->fixes);
    ASSERT(is_there);
}

static void add_line(struct writer *writer, enum log_level level, struct choice *choice,
                     enum split split)
{
    text_clear(&writer->message);
    if (writer->log.len == 0 || !choice_percent(choice, SPOKE_BEFORE_PERCENT)) {
        text_clear(&writer->component);
        log_format_add_component(&writer->format, &writer->component, choice, split);
    }
    add_message(writer, level, choice, split);
    struct log_line line = {level, text_slice(&writer->component), text_slice(&writer->message)};
    if (writer->log.len)
        text_add_byte(&writer->log, '\n');
    log_format_add_line(&writer->format, &writer->log, &line, choice, split);
    note_line(writer, level);
}

/* What stands beside the root cause: before it only what is less bad, behind it also others that
 * failed with it. */
static enum log_level noise_level(const struct writer *writer, enum log_level worst, bool is_after,
                                  struct choice *choice)
{
    if (is_after && worst > LOG_LEVEL_INFO && choice_percent(choice, FOLLOWS_PERCENT))
        return worst;
    size_t percent = choice_below(choice, 100);
    enum log_level level = percent < 75   ? LOG_LEVEL_INFO
                           : percent < 92 ? LOG_LEVEL_WARN
                                          : LOG_LEVEL_ERROR;
    bool is_fit = level < worst && log_format_has(&writer->format, level);
    return is_fit ? level : LOG_LEVEL_INFO;
}

static enum log_level draw_severity(const struct log_format *format, struct choice *choice)
{
    static const uint8_t drawn[] = {
        LOG_LEVEL_INFO,  LOG_LEVEL_INFO,  LOG_LEVEL_WARN,  LOG_LEVEL_WARN,  LOG_LEVEL_ERROR,
        LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_FATAL, LOG_LEVEL_FATAL};
    enum log_level level;
    do { /* every format has errors */
        level = CHOICE_OF(choice, drawn);
    } while (!log_format_has(format, level));
    return level;
}

static void write_log(struct writer *writer, struct incident *out, struct choice *choice,
                      enum split split)
{
    static const uint8_t counts[] = {3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 10, LINES_MAX};
    out->severity = draw_severity(&writer->format, choice);
    size_t count = CHOICE_OF(choice, counts), root = choice_below(choice, count);
    for (size_t i = 0; i < count && (i <= root || writer->log.len < LOG_BYTES_MAX); i++) {
        add_line(writer,
                 i == root ? out->severity : noise_level(writer, out->severity, i > root, choice),
                 choice, split);
        if (i == root) {
            text_add(&out->component, text_slice(&writer->component));
            text_add(&out->message, text_slice(&writer->message));
            memcpy(out->fixes, writer->fixes, sizeof(out->fixes));
        }
    }
    size_t end = writer->log.len;
    text_add_byte(&writer->log, '\n');
    if (choice_percent(choice, 30) ||
        !log_format_add_end(&writer->format, &writer->log, out->severity >= LOG_LEVEL_ERROR, choice,
                            split))
        text_shrink(&writer->log, end);
}

/* -- the answer ------------------------------------------------------------- */

static void add_json_answer(struct text *out, const struct incident *incident)
{
    if (incident->severity == LOG_LEVEL_INFO) {
        text_add_str(out, "{\"root_cause\": \"Nothing failed in this log\", \"severity\": \"low\", "
                          "\"suggested_fixes\": []}");
        return;
    }
    text_add_str(out, "{\"root_cause\": \"");
    json_add_escaped(out, text_slice(&incident->component));
    text_add_str(out, ": ");
    json_add_escaped(out, text_slice(&incident->message));
    text_add_f(out, "\", \"severity\": \"%s\", \"suggested_fixes\": [\"%s\", \"%s\"]}",
               severities[incident->severity], incident->fixes[0], incident->fixes[1]);
}

/* How bad it is comes first: who has said that knows which line to look for. (In JSON the keys have
 * the order of the schema that workflows ask with.) */
static void add_prose_answer(struct text *out, const struct incident *incident)
{
    if (incident->severity == LOG_LEVEL_INFO) {
        text_add_str(out, "Severity: low. Nothing failed in this log. Suggested fixes: none.");
        return;
    }
    text_add_f(out,
               "Severity: %s. The root cause is in " SLICE_FMT ": " SLICE_FMT ". "
               "Suggested fixes: %s; %s.",
               severities[incident->severity], SLICE_ARG(text_slice(&incident->component)),
               SLICE_ARG(text_slice(&incident->message)), incident->fixes[0], incident->fixes[1]);
}

static void add_answer(struct text *out, const struct incident *incident, bool is_json)
{
    if (is_json)
        add_json_answer(out, incident);
    else
        add_prose_answer(out, incident);
}

/* -- the question ----------------------------------------------------------- */

static struct slice log_of(const struct writer *writer) /* without the blanks some begin with */
{
    struct slice log = text_slice(&writer->log);
    while (log.data[0] == ' ')
        log = slice_after(log, 1);
    return log;
}

static struct slice type_of(const struct writer *writer)
{
    static const char *const types[LOG_TYPES] = {"build", "deploy", "runtime"};
    return slice_str(types[writer->format.type]);
}

/* Training asks for single lines first: reading any format is mostly this, and the log is paid for.
 */
static const char *const component_asks[] = {
    "What [does|did] {x} say?",
    "What is the message of {x}?",
    "[Quote|Show|Give me] [the line|what is said] [of|by] {x}.",
    "{x} says what?",
};
static const char *const message_asks[] = {
    "[Who|Which component] [says|said|logged] \"{x}\"?",
    "Where does \"{x}\" come from?",
    "[Name the|Which] component [of|wrote] the line \"{x}\"?",
};
static const char *const prose_asks_after[] = {
    "[Now a|A]nalyze [this log|it|the log].",
    "[So what|What] [went wrong|failed|is wrong][ here| in this log|]?",
    "What is the root cause?",
};
static const char *const json_asks_after[] = {
    "[Now a|A]nalyze [it|the log|this log] as JSON.",
    "[Give|Show] me the analysis as JSON[ with root_cause, severity and suggested_fixes|].",
};

static const char *const severity_asks[] = {
    "How [bad|severe|serious] is [it|this|that]?",
    "[The severity|Severity|How severe], in one word?",
    "What is the severity?",
};
static const char *const culprit_asks[] = {
    "[Which|What] component [failed|is it|is to blame]?",
    "Who [failed|failed first|is to blame]?",
    "[Name|Just name|Only] the component[ that failed|], please.",
};

/* The only one of its component, and of its message. */
static bool is_unique(const struct writer *writer, size_t index)
{
    for (size_t i = 0; i < writer->said_count; i++) {
        if (i != index && (slice_eq(said_component(writer, i), said_component(writer, index)) ||
                           slice_eq(said_message(writer, i), said_message(writer, index))))
            return false;
    }
    return true;
}

/* The first question brings the log along. */
static void add_look_up(struct sample *sample, const struct writer *writer, size_t index,
                        bool is_first, struct choice *choice)
{
    struct slice component = said_component(writer, index), message = said_message(writer, index);
    bool by_component = choice_percent(choice, 60);
    struct text text;
    text_init(&text, SAMPLE_BYTES_MAX);
    if (is_first) {
        text_add(&text, log_of(writer));
        text_add_str(&text, "\n\n");
    }
    PHRASE(&text, choice,
           by_component ? CHOICE_OF(choice, component_asks) : CHOICE_OF(choice, message_asks),
           {"x", by_component ? component : message});
    sample_say(sample, SPEAKER_USER, text_slice(&text));
    sample_say(sample, SPEAKER_ASSISTANT, by_component ? message : component);
    text_fini(&text);
}

/* How many were added: none when no line can be told from the others. */
static size_t add_look_ups(struct sample *sample, const struct writer *writer,
                           struct choice *choice)
{
    size_t count = 0, wanted = choice_below(choice, LOOK_UPS_MAX) + 1;
    bool is_asked[LINES_MAX] = {false};
    for (size_t tries = 0; tries < 8 && count < wanted && writer->said_count > 0; tries++) {
        size_t index = choice_below(choice, writer->said_count);
        if (is_asked[index] || !is_unique(writer, index))
            continue;
        add_look_up(sample, writer, index, count++ == 0, choice);
        is_asked[index] = true;
    }
    return count;
}

/* A system prompt, or none. True: it asks for JSON. */
static bool add_prompt(struct sample *sample, const struct slot *type, bool is_json,
                       struct choice *choice, enum split split)
{
    struct text text;
    text_init(&text, SAMPLE_BYTES_MAX);
    bool asks_json = is_json && choice_percent(choice, 30);
    if (asks_json)
        phrase_add(&text, choice, slice_str(LIST_PART(choice, json_prompts, split)), type, 1);
    else if (choice_percent(choice, 20))
        phrase_add(&text, choice, slice_str(LIST_PART(choice, prose_prompts, split)), type, 1);
    else if (choice_percent(choice, 20))
        opening_add_words(&text, choice, split);
    if (text.len)
        sample_say(sample, SPEAKER_SYSTEM, text_slice(&text));
    text_fini(&text);
    return asks_json;
}

static const char *draw_ask(bool is_json, bool is_after, struct choice *choice, enum split split)
{
    if (is_after)
        return is_json ? CHOICE_OF(choice, json_asks_after) : CHOICE_OF(choice, prose_asks_after);
    return is_json ? LIST_PART(choice, json_asks, split) : LIST_PART(choice, prose_asks, split);
}

/* Asks for the whole, of a log that was shown before or that comes along. */
static void add_question(struct sample *sample, const struct writer *writer, const char *ask,
                         struct choice *choice)
{
    const struct slot slots[] = {{"type", type_of(writer)}, {"log", log_of(writer)}};
    struct text text;
    text_init(&text, SAMPLE_BYTES_MAX);
    phrase_add(&text, choice, slice_str(ask), slots, ARRAY_COUNT(slots));
    sample_say(sample, SPEAKER_USER, text_slice(&text));
    text_fini(&text);
}

static void add_other_form(struct sample *sample, const struct writer *writer,
                           const struct incident *incident, bool is_json, bool is_shown,
                           struct choice *choice)
{
    struct text answer;
    text_init(&answer, SAMPLE_BYTES_MAX);
    add_question(sample, writer, draw_ask(is_json, is_shown, choice, SPLIT_TRAIN), choice);
    add_answer(&answer, incident, is_json);
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&answer));
    text_fini(&answer);
}

/* How bad is it, or who was it: what the whole answer hangs on. */
static void add_judgement(struct sample *sample, const struct writer *writer,
                          const struct incident *incident, bool is_shown, struct choice *choice)
{
    bool is_severity = incident->severity == LOG_LEVEL_INFO || choice_percent(choice, 50);
    struct text text;
    text_init(&text, SAMPLE_BYTES_MAX);
    if (!is_shown) {
        text_add(&text, log_of(writer));
        text_add_str(&text, "\n\n");
    }
    PHRASE(&text, choice,
           is_severity ? CHOICE_OF(choice, severity_asks) : CHOICE_OF(choice, culprit_asks), {0});
    sample_say(sample, SPEAKER_USER, text_slice(&text));
    sample_say(sample, SPEAKER_ASSISTANT,
               is_severity ? slice_str(severities[incident->severity])
                           : text_slice(&incident->component));
    text_fini(&text);
}

/* What is asked before the whole. True: the log was shown. */
static bool add_questions_before(struct sample *sample, const struct writer *writer,
                                 const struct incident *incident, bool is_json,
                                 struct choice *choice)
{
    bool is_shown =
        choice_percent(choice, LOOK_UP_PERCENT) && add_look_ups(sample, writer, choice) > 0;
    if (choice_percent(choice, JUDGEMENT_PERCENT)) {
        add_judgement(sample, writer, incident, is_shown, choice);
        is_shown = true;
    }
    if (choice_percent(choice, OTHER_FORM_PERCENT)) {
        add_other_form(sample, writer, incident, !is_json, is_shown, choice);
        is_shown = true;
    }
    return is_shown;
}

static void add_questions(struct sample *sample, const struct writer *writer,
                          const struct incident *incident, bool is_json, struct choice *choice,
                          enum split split)
{
    const struct slot type = {"type", type_of(writer)};
    bool prompt_asks_json = add_prompt(sample, &type, is_json, choice, split);
    bool is_shown = split == SPLIT_TRAIN && !prompt_asks_json &&
                    add_questions_before(sample, writer, incident, is_json, choice);
    const char *ask = draw_ask(is_json && !prompt_asks_json, is_shown, choice, split);
    if (prompt_asks_json && choice_percent(choice, 30))
        ask = "{log}";
    add_question(sample, writer, ask, choice);
}

static void make(struct sample *sample, struct choice *choice, enum split split)
{
    struct writer writer;
    struct incident incident;
    struct text answer;
    writer_init(&writer);
    text_init(&incident.component, SAMPLE_BYTES_MAX);
    text_init(&incident.message, SAMPLE_BYTES_MAX);
    text_init(&answer, SAMPLE_BYTES_MAX);
    bool is_unseen = split == SPLIT_TEST && choice_percent(choice, 50);
    bool is_json = choice_percent(choice, JSON_PERCENT);
    sample->kind = (is_json ? KIND_JSON : 0u) | (is_unseen ? KIND_UNSEEN : 0u);
    log_format_draw(&writer.format, is_unseen, choice, split);
    write_log(&writer, &incident, choice, split);
    add_questions(sample, &writer, &incident, is_json, choice, split);
    add_answer(&answer, &incident, is_json);
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&answer));
    sample_need(sample, incident.severity == LOG_LEVEL_INFO ? SLICE("Nothing failed")
                                                            : text_slice(&incident.component));
    sample_need(sample, slice_str(severities[incident.severity]));
    text_fini(&answer);
    text_fini(&incident.component);
    text_fini(&incident.message);
    writer_fini(&writer);
}

/* -- judging ---------------------------------------------------------------- */

static bool is_of_name(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '-' || byte == '/';
}

/* As a name of its own, not as a part of another. */
static bool names(struct slice text, struct slice component)
{
    for (size_t begin = 0;;) {
        size_t found = slice_find(slice_after(text, begin), component);
        if (found == SLICE_NPOS)
            return false;
        size_t at = begin + found, end = at + component.len;
        bool is_whole = (at == 0 || !is_of_name(text.data[at - 1])) &&
                        (end == text.len || !is_of_name(text.data[end]));
        if (is_whole)
            return true;
        begin = at + 1;
    }
}

static bool is_right_prose(struct slice answer, struct slice component, struct slice severity)
{
    static const struct slice mark = SLICE("Severity: ");
    size_t begin = slice_find(answer, mark), end = slice_find(answer, SLICE("Suggested fixes: "));
    if (begin == SLICE_NPOS || end == SLICE_NPOS || end < begin)
        return false;
    struct slice rest = slice_after(slice_first(answer, end), begin + mark.len);
    return slice_starts_with(rest, severity) &&
           slice_starts_with(slice_after(rest, severity.len), SLICE(".")) &&
           names(slice_after(rest, severity.len), component);
}

static bool are_fixes(const json_t *fixes, bool may_be_empty)
{
    if (!json_is_array(fixes) || (json_array_size(fixes) == 0 && !may_be_empty))
        return false;
    for (size_t i = 0; i < json_array_size(fixes); i++) {
        if (!json_is_string(json_array_get(fixes, i)))
            return false;
    }
    return true;
}

static bool is_right_json(struct slice answer, struct slice component, struct slice severity)
{
    json_t *object;
    if (json_read(answer, JSON_DEPTH_MAX, &object, NULL) != ERR_OK)
        return false;
    bool is_right =
        names(json_slice(json_object_get(object, "root_cause")), component) &&
        slice_eq(json_slice(json_object_get(object, "severity")), severity) &&
        are_fixes(json_object_get(object, "suggested_fixes"), slice_eq_str(severity, "low"));
    json_decref(object);
    return is_right;
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    struct slice component = sample_needle(sample, 0), severity = sample_needle(sample, 1);
    bool is_right = sample->kind & KIND_JSON ? is_right_json(answer, component, severity)
                                             : is_right_prose(answer, component, severity);
    score_count(score, sample->kind & KIND_UNSEEN ? GATE_LOGS_UNSEEN : GATE_LOGS, is_right);
}

const struct family family_logs = {"logs", 14, make, judge};
