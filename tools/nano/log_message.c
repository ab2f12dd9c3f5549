/* log_message - patterns (phrase.h) with places in <>: s service, n number, d small number, h host,
 * p path, w word, t term, e id, v version, i address. */
#include "nano/log_message.h"

#include "nano/phrase.h"
#include "nano/words.h"

enum { MESSAGE_BYTES_MAX = 1024 };

struct message {
    uint8_t topic, level;
    const char *words;
    const char *fixes[LOG_FIXES];
};

#define FATAL(topic, words, ...)                                                                   \
    {                                                                                              \
        LOG_TOPIC_##topic, LOG_LEVEL_FATAL, words,                                                 \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ERROR(topic, words, ...)                                                                   \
    {                                                                                              \
        LOG_TOPIC_##topic, LOG_LEVEL_ERROR, words,                                                 \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define WARN(topic, words, ...)                                                                    \
    {                                                                                              \
        LOG_TOPIC_##topic, LOG_LEVEL_WARN, words,                                                  \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define INFO(topic, words)                                                                         \
    {                                                                                              \
        LOG_TOPIC_##topic, LOG_LEVEL_INFO, words,                                                  \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

static const struct message messages[] = {
    FATAL(SERVICE, "out of memory[: cannot allocate <n> bytes|: killed process <n>|]",
          "raise the memory limit", "look for a memory leak"),
    FATAL(SERVICE, "[no space left on device|disk full]: <p>", "free or add disk space",
          "rotate old files"),
    FATAL(SERVICE, "[data corruption in|checksum mismatch in|corrupt page in] <p>",
          "restore the data from a backup", "check the disk"),
    FATAL(SERVICE, "panic: [<w> <w>|index out of range <d>|nil pointer in <w>]",
          "report the crash with its trace", "go back to the last version that worked"),
    FATAL(SERVICE, "segmentation fault [at|in] <e>", "report the crash with its trace",
          "go back to the last version that worked"),
    FATAL(SERVICE, "[lost quorum|quorum lost]: <d> [nodes|members] [left|missing]",
          "bring the missing nodes back", "check the network between the nodes"),
    FATAL(SERVICE, "[cannot recover|unrecoverable error in <w>], shutting down",
          "restart it when the cause is gone", "restore the data from a backup"),
    FATAL(SERVICE, "[killed by|received] signal <d>[, core dumped|]",
          "report the crash with its trace", "look for a memory leak"),

    ERROR(SERVICE, "connection refused by <h>[:<n>|]", "check that the other side is running",
          "check host and port"),
    ERROR(SERVICE, "[timeout after <n> ms|timed out] [waiting for|calling] <s>",
          "check the load of the other side", "raise the timeout"),
    ERROR(SERVICE, "permission denied: <p>", "correct the rights of the file",
          "run it as the right user"),
    ERROR(SERVICE, "cannot [open|read|find] <p>: no such file or directory", "check the path",
          "create the missing file"),
    ERROR(SERVICE, "authentication failed for [user |]<w>", "check the credentials",
          "renew the password or token"),
    ERROR(SERVICE, "certificate of <h> has expired", "renew the certificate",
          "check the clock of the machine"),
    ERROR(SERVICE, "invalid configuration: [unknown key|bad value for|missing key] <w>",
          "correct the configuration", "compare it with the last one that worked"),
    ERROR(SERVICE, "request <e> failed with status 50<1>", "look at the log of the other side",
          "try the request again"),
    ERROR(SERVICE, "[name <h> could not be resolved|could not resolve host <h>]",
          "check the DNS entry", "check host and port"),
    ERROR(SERVICE,
          "[failed to|cannot|could not|unable to] "
          "[parse|read|write|load|send|store|start|update|delete|fetch|verify|sync] [<t>|<w>|<p>]",
          "look at what it was given", "try again with more logging"),
    ERROR(SERVICE, "port <n> is already in use", "stop the other process", "use another port"),
    ERROR(SERVICE, "deadlock detected [on|in] <w>", "run the transaction again",
          "take the locks in one order"),
    ERROR(SERVICE, "[unexpected end of|malformed|invalid] [message|input|record|response] from <s>",
          "check what the other side sends", "compare the versions of both sides"),
    ERROR(SERVICE, "[job|task] <e> failed[ after <d> attempts|: <w>|]", "look at what it was given",
          "try again with more logging"),
    ERROR(SERVICE, "database <w> [does not exist|is not reachable]",
          "check that the other side is running", "check the name of the database"),
    ERROR(SERVICE, "connection to <h> [lost|was reset|closed by peer]", "check the network",
          "check that the other side is running"),

    WARN(SERVICE, "slow query took <n> ms", "add an index", "look at the plan of the query"),
    WARN(SERVICE, "[retry|retrying|attempt] <d> of <d>[ for <s>|]", "watch whether it goes on",
         "check the load of the other side"),
    WARN(SERVICE, "disk <p> is <d> percent full", "free disk space soon", "rotate old files"),
    WARN(SERVICE, "queue depth is [high: |]<n>", "add workers", "slow the sender down"),
    WARN(SERVICE, "certificate of <h> expires in <d> days", "renew the certificate soon",
         "let it be renewed by itself"),
    WARN(SERVICE, "[option <w> is deprecated|deprecated option <w>]", "replace the option",
         "read the release notes"),
    WARN(SERVICE, "memory [use|usage] at <d> percent", "watch the memory",
         "raise the memory limit soon"),
    WARN(SERVICE, "clock [is off|drifted] by <n> ms", "check the time service",
         "watch whether it goes on"),
    WARN(SERVICE, "cache hit rate [fell|dropped] to <d> percent", "make the cache larger",
         "watch whether it goes on"),
    WARN(SERVICE, "connection pool is nearly [full|exhausted]", "make the pool larger",
         "look for connections that are not closed"),
    WARN(SERVICE, "response from <s> took <n> ms", "check the load of the other side",
         "watch whether it goes on"),

    INFO(SERVICE, "request <e> done in <n> ms"),
    INFO(SERVICE, "started worker <n>"),
    INFO(SERVICE, "user <w> logged in"),
    INFO(SERVICE, "saved <n> rows"),
    INFO(SERVICE, "listening on [port <n>|<i>]"),
    INFO(SERVICE, "configuration loaded from <p>"),
    INFO(SERVICE, "health check passed"),
    INFO(SERVICE, "connected to <h>"),
    INFO(SERVICE, "job <e> finished"),
    INFO(SERVICE, "cache warmed with <n> entries"),
    INFO(SERVICE, "version <v> started"),
    INFO(SERVICE, "[rotated|flushed|cleaned] <t> logs"),
    INFO(SERVICE, "received <n> bytes from <i>"),
    INFO(SERVICE, "GET /<w> 200 in <d> ms"),
    INFO(SERVICE, "[step|phase] <d> [done|finished]"),
    INFO(SERVICE, "processed <t> <e>"),

    ERROR(CODE, "'<w>' undeclared (first use in this function)", "declare the name",
          "include the header it comes from"),
    ERROR(CODE, "expected ';' before '<w>'", "add the missing semicolon",
          "look at the line before"),
    ERROR(CODE, "undefined reference to `<w>'", "link the library that has it",
          "check the spelling of the name"),
    ERROR(CODE, "cannot find [name|symbol] '<w>'", "declare the name",
          "check the spelling of the name"),
    ERROR(CODE, "mismatched types: expected `<w>`, found `<w>`", "convert the value",
          "correct the type"),
    ERROR(CODE, "unknown type name '<w>'", "include the header it comes from",
          "check the spelling of the name"),
    ERROR(CODE, "too [few|many] arguments to function '<w>'", "correct the call",
          "look at the declaration"),
    ERROR(CODE, "no member named '<w>' in '<w>'", "check the spelling of the name",
          "look at the declaration"),
    ERROR(CODE, "[undefined|undeclared name]: <w>", "declare the name",
          "check the spelling of the name"),
    ERROR(CODE, "type '<w>' is not assignable to type '<w>'", "correct the type",
          "convert the value"),
    ERROR(CODE, "<w>.h: No such file or directory", "install the missing package",
          "check the include path"),
    WARN(CODE, "unused variable '<w>'", "remove the variable", "use the variable"),
    WARN(CODE, "'<w>' is deprecated", "use what replaces it", "read the release notes"),
    WARN(CODE, "comparison of <w> and <w> of different sign", "convert the value",
         "correct the type"),
    WARN(CODE, "variable '<w>' may be used uninitialized", "give it a value",
         "look at every branch"),
    FATAL(CODE, "internal compiler error: killed, out of memory", "build with fewer jobs",
          "give the machine more memory"),

    ERROR(TEST, "assert <n> == <n>", "compare what the code does with what the test expects",
          "run this test alone"),
    ERROR(TEST, "[expected '<w>' but got '<w>'|expected <n>, got <n>]",
          "compare what the code does with what the test expects", "run this test alone"),
    ERROR(TEST, "[timed out after <d> s|test timeout of <n> ms exceeded]", "run this test alone",
          "look for what it waits for"),
    ERROR(TEST, "[error|exception] in set-up: <w> is not defined", "correct the set-up of the test",
          "run this test alone"),

    ERROR(PACKAGE, "version <v> [not found|was not found in the registry]",
          "check name and version", "check that the registry is reachable"),
    ERROR(PACKAGE, "[could not resolve dependency|unable to resolve] <w>[ <v>|]",
          "check name and version", "update the lock file"),
    ERROR(PACKAGE, "[integrity check|checksum verification] failed", "clear the package cache",
          "update the lock file"),
    ERROR(PACKAGE, "conflict with <w> <v>", "choose versions that fit together",
          "update the lock file"),
    ERROR(PACKAGE, "[compilation failed|compilation failure in <w>]",
          "look at the first error of the compiler", "build this module alone"),
    WARN(PACKAGE, "this version is [deprecated|no longer supported]", "use a newer version",
         "read the release notes"),
    WARN(PACKAGE, "has <d> known vulnerabilities", "use a newer version",
         "read the security notes"),

    ERROR(EXCEPTION, "[NullPointerException|IllegalStateException]: <w> is null",
          "check the value before it is used", "look at where the value comes from"),
    ERROR(EXCEPTION, "ValueError: invalid [literal|value] '<w>'", "look at what it was given",
          "check the value before it is used"),
    ERROR(EXCEPTION, "TypeError: cannot read property '<w>' of undefined",
          "check the value before it is used", "look at where the value comes from"),
    ERROR(EXCEPTION, "KeyError: '<w>'", "check that the key is there", "look at what it was given"),
    ERROR(EXCEPTION, "[IOException|OSError]: cannot open <p>", "check the path",
          "correct the rights of the file"),
    ERROR(EXCEPTION, "[ConnectException|ConnectionError]: connection refused by <h>",
          "check that the other side is running", "check host and port"),
    ERROR(EXCEPTION, "IndexError: index <n> out of range", "check the value before it is used",
          "look at where the value comes from"),
    FATAL(EXCEPTION, "[OutOfMemoryError: heap space exhausted|MemoryError: out of memory]",
          "raise the memory limit", "look for a memory leak"),

    ERROR(CLUSTER, "[failed to pull image|image not found:] <w>:<v>", "check name and tag",
          "push the image first"),
    ERROR(CLUSTER, "back-off restarting failed container <w>", "look at the log of the container",
          "go back to the last version that worked"),
    ERROR(CLUSTER, "[readiness|liveness] probe failed with status 50<1>",
          "look at the log of the container", "give it more time to start"),
    ERROR(CLUSTER, "failed to mount volume <w>", "check the volume and its claim",
          "check the node"),
    ERROR(CLUSTER, "failed scheduling: <d> nodes have too little [memory|cpu]", "add a node",
          "ask for less"),
    FATAL(CLUSTER, "OOMKilled: container <w> exceeded its memory limit", "raise the memory limit",
          "look for a memory leak"),

    ERROR(UNIT, "main process exited, code=exited, status=<d>/FAILURE",
          "read the log of the unit before this line", "start it by hand"),
    ERROR(UNIT, "failed with result 'exit-code'", "read the log of the unit before this line",
          "start it by hand"),
    ERROR(UNIT, "start [request repeated too quickly|operation timed out]",
          "read the log of the unit before this line", "start it by hand"),
    FATAL(UNIT, "a process of this unit has been killed by the OOM killer",
          "raise the memory limit", "look for a memory leak"),

    ERROR(ROLLOUT, "[health check failed <d> times|not healthy after <d> s]",
          "look at the log of the new version", "go back to the last version that worked"),
    ERROR(ROLLOUT, "image <w>:<v> not found", "check name and tag", "push the image first"),
    ERROR(ROLLOUT, "migration <e> failed: [column|table] <w> already exists",
          "repair the schema by hand", "go back to the last version that worked"),
    ERROR(ROLLOUT, "[quota exceeded|limit reached] for <w>", "ask for a higher quota",
          "remove what is not used"),
    ERROR(ROLLOUT, "[invalid|missing] [value|variable|secret] <w>", "correct the configuration",
          "compare it with the last one that worked"),
    ERROR(ROLLOUT, "[permission denied|access denied] for [role |user |]<w>",
          "check the credentials", "give the role the right it needs"),
    ERROR(ROLLOUT, "timed out waiting for <s>", "look at the log of the new version",
          "raise the timeout"),
    WARN(ROLLOUT, "replica <d> is not ready yet", "watch whether it goes on",
         "look at the log of the new version"),
    WARN(ROLLOUT, "[value|variable] <w> is deprecated", "replace the option",
         "read the release notes"),
};

static size_t count_of(enum log_topic topic, enum log_level level)
{
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(messages); i++)
        count += messages[i].topic == topic && messages[i].level == level;
    return count;
}

bool log_topic_has(enum log_topic topic, enum log_level level)
{
    return count_of(topic, level) > 0;
}

static const struct message *draw(enum log_topic topic, enum log_level level, struct choice *choice)
{
    size_t count = count_of(topic, level);
    if (count == 0)
        return NULL;
    size_t nth = choice_below(choice, count);
    for (size_t i = 0;; i++) {
        if (messages[i].topic == topic && messages[i].level == level && nth-- == 0)
            return &messages[i];
    }
}

static void add_place(struct text *out, char place, struct choice *choice, enum split split)
{
    static const struct {
        char place;
        uint8_t thing;
    } things[] = {
        {'s', THING_SERVICE}, {'n', THING_INTEGER}, {'d', THING_COUNT}, {'h', THING_HOST},
        {'p', THING_PATH},    {'w', THING_WORD},    {'t', THING_TERM},  {'e', THING_ID},
        {'v', THING_VERSION}, {'i', THING_IP},
    };
    if (place == '1') {
        text_add_u64(out, choice_below(choice, 5));
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(things); i++) {
        if (things[i].place == place) {
            invent(out, things[i].thing, choice, split);
            return;
        }
    }
    ASSERT_MSG(false, "no place <%c>", place);
}

bool log_message_add(struct text *out, enum log_topic topic, enum log_level level,
                     struct choice *choice, enum split split, const char *out_fixes[LOG_FIXES])
{
    const struct message *message = draw(topic, level, choice);
    if (!message)
        return false;
    struct text pattern;
    text_init(&pattern, MESSAGE_BYTES_MAX);
    phrase_add(&pattern, choice, slice_str(message->words), NULL, 0);
    struct slice rest = text_slice(&pattern), head;
    while (slice_cut(rest, '<', &head, &rest)) {
        text_add(out, head);
        add_place(out, rest.data[0], choice, split);
        rest = slice_after(rest, 2);
    }
    text_add(out, head);
    text_fini(&pattern);
    memcpy(out_fixes, message->fixes, sizeof(message->fixes));
    return true;
}

void log_message_add_riddle(struct text *out, struct choice *choice, enum split split,
                            const char *out_fixes[LOG_FIXES])
{
    size_t words = choice_below(choice, 4) + 2;
    for (size_t i = 0; i < words; i++) {
        text_add_str(out, i ? " " : "");
        invent(out, choice_percent(choice, 80) ? THING_TERM : THING_COUNT, choice, split);
    }
    out_fixes[0] = "read the log around this line";
    out_fixes[1] = "try again with more logging";
}
