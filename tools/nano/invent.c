/* invent - lists and generators of the things that samples speak of. */
#include "nano/invent.h"

#include "nano/coin.h"
#include "nano/words.h"

static const char *const terms[] = {
    "invoice",  "order",    "report",  "contract", "parcel",   "ticket",   "budget",   "meeting",
    "garden",   "engine",   "window",  "camera",   "printer",  "battery",  "bicycle",  "kitchen",
    "river",    "market",   "library", "school",   "airport",  "harbor",   "bridge",   "tower",
    "coffee",   "bread",    "apple",   "cheese",   "pepper",   "sugar",    "winter",   "summer",
    "music",    "painting", "novel",   "letter",   "photo",    "video",    "archive",  "backup",
    "password", "account",  "payment", "refund",   "delivery", "schedule", "calendar", "project",
    "release",  "design",   "survey",  "lesson",   "recipe",   "journey",  "forest",   "planet",
    "signal",   "sensor",   "cable",   "router",
};
static const char *const services[] = {
    "api",     "auth",    "billing", "cart",     "search",    "mail",    "gateway", "worker",
    "cache",   "queue",   "router",  "ingest",   "media",     "reports", "catalog", "checkout",
    "session", "ledger",  "orders",  "payments", "inventory", "metrics", "proxy",   "scheduler",
    "storage", "uploads", "profile", "notifier", "shipping",  "web",
};
static const char *const languages[] = {
    "French", "German", "Spanish", "Italian", "Polish", "Dutch",  "Greek", "Turkish",
    "Korean", "Hindi",  "Swedish", "Finnish", "Arabic", "Danish", "Latin",
};
static const char *const currencies[] = {"EUR", "USD", "GBP", "JPY", "CHF",
                                         "PLN", "SEK", "CAD", "AUD", "INR"};
static const char *const zones[] = {
    "UTC",           "Europe/Berlin",   "Asia/Tokyo", "America/New_York", "Africa/Cairo",
    "Europe/London", "America/Chicago", "Asia/Dubai", "Australia/Perth",  "Europe/Oslo",
};
static const char *const metrics[] = {
    "latency",    "errors",      "cpu",      "memory",      "queue_depth",   "requests",
    "disk_usage", "p99_latency", "sessions", "open_files",  "cache_hits",    "tokens_per_second",
    "restarts",   "uptime",      "io_wait",  "connections", "dropped_bytes", "heap_size",
};
static const char *const adjectives[] = {"late", "open", "small", "blue",  "quiet",
                                         "new",  "old",  "daily", "first", "green",
                                         "fast", "lost", "early", "red"};
static const char *const joints[] = {"from", "for", "about", "with", "in", "near", "of", "and"};
static const char *const sentences[] = {
    "is not ready yet",        "will be late today",     "was sent to the wrong place",
    "needs one more day",      "looks good to me",       "starts after lunch",
    "has to be checked again", "is on the second shelf", "can wait until next week",
    "arrived this morning",
};
static const char *const folders[] = {"var", "log", "home",  "data", "srv", "tmp",
                                      "etc", "opt", "share", "work", "src", "docs"};
static const char *const endings[] = {"txt",  "csv",  "json", "log",    "md", "pdf",
                                      "yaml", "conf", "png",  "tar.gz", "c",  "py"};
static const char *const domains[] = {"com", "org", "net", "io", "dev", "example.com"};

static void add_word(struct text *out, struct choice *choice, enum split split)
{
    if (choice_percent(choice, 40))
        coin_add_word(out, choice, split);
    else
        word_add_syllables(out, choice, split, 2, 4);
}

static void add_capitalised(struct text *out, struct choice *choice, enum split split)
{
    size_t begin = out->len;
    add_word(out, choice, split);
    word_capital(out, begin);
}

static void add_digits(struct text *out, struct choice *choice, size_t count)
{
    for (size_t i = 0; i < count; i++)
        text_add_byte(out, (char)('0' + choice_between(choice, i == 0 ? 1 : 0, 9)));
}

static void add_term(struct text *out, struct choice *choice, enum split split)
{
    if (choice_percent(choice, 40))
        text_add_str(out, LIST_PART(choice, terms, split));
    else
        add_word(out, choice, split);
}

static void add_title(struct text *out, struct choice *choice, enum split split)
{
    size_t words = choice_below(choice, 3) + 1;
    for (size_t i = 0; i < words; i++) {
        text_add_str(out, i ? " " : "");
        size_t begin = out->len;
        add_term(out, choice, split);
        word_capital(out, begin);
    }
}

static void add_phrase(struct text *out, struct choice *choice, enum split split)
{
    if (choice_percent(choice, 50))
        text_add_f(out, "%s ", LIST_PART(choice, adjectives, split));
    add_term(out, choice, split);
    text_add_f(out, " %s ", LIST_PART(choice, joints, split));
    if (choice_percent(choice, 30))
        text_add_f(out, "%s ", LIST_PART(choice, adjectives, split));
    add_term(out, choice, split);
}

static void add_sentence(struct text *out, struct choice *choice, enum split split)
{
    text_add_str(out, "the ");
    if (choice_percent(choice, 40))
        text_add_f(out, "%s ", LIST_PART(choice, adjectives, split));
    add_term(out, choice, split);
    text_add_f(out, " %s", LIST_PART(choice, sentences, split));
}

static void add_person(struct text *out, struct choice *choice, enum split split)
{
    if (choice_percent(choice, 70))
        text_add_str(out, word_person(choice, split));
    else
        add_capitalised(out, choice, split);
    if (choice_percent(choice, 40)) {
        text_add_byte(out, ' ');
        add_capitalised(out, choice, split);
    }
}

static void add_city(struct text *out, struct choice *choice, enum split split)
{
    static const char *const fronts[] = {"New", "Port", "San", "Old", "Saint", "Lake", "Fort"};
    if (choice_percent(choice, 45)) {
        text_add_str(out, word_city(choice, split));
        return;
    }
    if (choice_percent(choice, 25))
        text_add_f(out, "%s ", LIST_PART(choice, fronts, split));
    add_capitalised(out, choice, split);
}

static void add_service(struct text *out, struct choice *choice, enum split split)
{
    static const char *const backs[] = {"-api", "-service", "-worker", "d", "_svc", "-db", "-v2"};
    if (choice_percent(choice, 50))
        text_add_str(out, LIST_PART(choice, services, split));
    else
        add_word(out, choice, split);
    if (choice_percent(choice, 35))
        text_add_str(out, LIST_PART(choice, backs, split));
}

static void add_host(struct text *out, struct choice *choice, enum split split)
{
    if (choice_percent(choice, 50))
        text_add_f(out, "%s-%02d", LIST_PART(choice, services, split),
                   (int)choice_between(choice, 1, 40));
    else
        add_word(out, choice, split);
    if (choice_percent(choice, 50)) {
        text_add_byte(out, '.');
        add_word(out, choice, split);
        text_add_f(out, ".%s", LIST_PART(choice, domains, split));
    }
}

static void add_ip(struct text *out, struct choice *choice)
{
    static const char *const nets[] = {"10.", "192.168.", "172.16."};
    const char *net = CHOICE_OF(choice, nets);
    text_add_f(out, "%s%d.%d", net, (int)choice_below(choice, 256), (int)choice_below(choice, 256));
    if (net == nets[0])
        text_add_f(out, ".%d", (int)choice_below(choice, 256));
}

static void add_url(struct text *out, struct choice *choice, enum split split)
{
    text_add_str(out, choice_percent(choice, 80) ? "https://" : "http://");
    add_word(out, choice, split);
    text_add_f(out, ".%s", LIST_PART(choice, domains, split));
    for (size_t i = choice_below(choice, 3); i > 0; i--) {
        text_add_byte(out, '/');
        add_term(out, choice, split);
    }
}

static void add_email(struct text *out, struct choice *choice, enum split split)
{
    add_word(out, choice, split);
    if (choice_percent(choice, 40)) {
        text_add_byte(out, '.');
        add_word(out, choice, split);
    }
    text_add_byte(out, '@');
    if (choice_percent(choice, 60)) {
        add_word(out, choice, split);
        text_add_byte(out, '.');
    }
    text_add_str(out, LIST_PART(choice, domains, split));
}

static void add_file(struct text *out, struct choice *choice, enum split split)
{
    static const char *const joins[] = {"_", "-", ".", ""};
    add_term(out, choice, split);
    if (choice_percent(choice, 40)) {
        text_add_str(out, CHOICE_OF(choice, joins));
        if (choice_percent(choice, 50))
            add_digits(out, choice, (size_t)choice_between(choice, 1, 4));
        else
            add_word(out, choice, split);
    }
    text_add_f(out, ".%s", LIST_PART(choice, endings, split));
}

static void add_path(struct text *out, struct choice *choice, enum split split)
{
    if (choice_percent(choice, 70))
        text_add_byte(out, '/');
    for (size_t i = choice_below(choice, 3) + 1; i > 0; i--)
        text_add_f(out, "%s/", LIST_PART(choice, folders, split));
    add_file(out, choice, split);
}

static void add_id(struct text *out, struct choice *choice)
{
    static const char *const fronts[] = {"INV-", "ORD-", "TCK-", "req-", "job-", "usr_", "A", "#"};
    switch (choice_below(choice, 3)) {
    case 0:
        text_add_str(out, CHOICE_OF(choice, fronts));
        add_digits(out, choice, (size_t)choice_between(choice, 2, 6));
        break;
    case 1:
        word_add_hex(out, choice, (size_t)choice_between(choice, 4, 12));
        break;
    default:
        for (int i = 0; i < 3; i++)
            text_add_byte(out, (char)('A' + choice_below(choice, 26)));
        text_add_byte(out, '-');
        add_digits(out, choice, (size_t)choice_between(choice, 1, 5));
    }
}

static void add_decimal(struct text *out, struct choice *choice)
{
    text_add_f(out, "%s%d.", choice_percent(choice, 25) ? "-" : "",
               (int)choice_below(choice, choice_percent(choice, 70) ? 100 : 10000));
    for (size_t i = choice_below(choice, 2); i > 0; i--)
        text_add_byte(out, (char)('0' + choice_below(choice, 10)));
    text_add_byte(out, (char)('1' + choice_below(choice, 9))); /* what reads back as it was said */
}

static void add_integer(struct text *out, struct choice *choice)
{
    add_digits(out, choice, (size_t)choice_between(choice, 1, 6));
}

static void add_number(struct text *out, struct choice *choice)
{
    if (choice_percent(choice, 35)) {
        add_decimal(out, choice);
        return;
    }
    text_add_str(out, choice_percent(choice, 20) ? "-" : "");
    add_integer(out, choice);
}

static void add_expression(struct text *out, struct choice *choice)
{
    static const char *const operators[] = {" + ", " - ", " * ", " / ", "+", "*", "-", "/"};
    size_t terms_left = choice_below(choice, 2) + 1;
    add_integer(out, choice);
    for (; terms_left > 0; terms_left--) {
        bool is_nested = choice_percent(choice, 20);
        text_add_f(out, "%s%s", CHOICE_OF(choice, operators), is_nested ? "(" : "");
        add_digits(out, choice, (size_t)choice_between(choice, 1, 3));
        if (is_nested) {
            text_add_str(out, CHOICE_OF(choice, operators));
            add_digits(out, choice, (size_t)choice_between(choice, 1, 2));
            text_add_byte(out, ')');
        }
    }
}

void invent(struct text *out, enum thing thing, struct choice *choice, enum split split)
{
    switch (thing) {
    case THING_WORD:
        add_word(out, choice, split);
        return;
    case THING_TERM:
        add_term(out, choice, split);
        return;
    case THING_TITLE:
        add_title(out, choice, split);
        return;
    case THING_PHRASE:
        add_phrase(out, choice, split);
        return;
    case THING_SENTENCE:
        add_sentence(out, choice, split);
        return;
    case THING_PERSON:
        add_person(out, choice, split);
        return;
    case THING_CITY:
        add_city(out, choice, split);
        return;
    case THING_SERVICE:
        add_service(out, choice, split);
        return;
    case THING_HOST:
        add_host(out, choice, split);
        return;
    case THING_IP:
        add_ip(out, choice);
        return;
    case THING_URL:
        add_url(out, choice, split);
        return;
    case THING_EMAIL:
        add_email(out, choice, split);
        return;
    case THING_PATH:
        add_path(out, choice, split);
        return;
    case THING_FILE:
        add_file(out, choice, split);
        return;
    case THING_ID:
        add_id(out, choice);
        return;
    case THING_VERSION:
        text_add_f(out, "%d.%d.%d", (int)choice_below(choice, 12), (int)choice_below(choice, 30),
                   (int)choice_below(choice, 20));
        return;
    case THING_DATE:
        text_add_f(out, "20%02d-%02d-%02d", (int)choice_between(choice, 20, 39),
                   (int)choice_between(choice, 1, 12), (int)choice_between(choice, 1, 28));
        return;
    case THING_TIME:
        text_add_f(out, "%02d:%02d", (int)choice_below(choice, 24), (int)choice_below(choice, 60));
        return;
    case THING_INTEGER:
        add_integer(out, choice);
        return;
    case THING_COUNT:
        text_add_i64(out, choice_between(choice, 1, 60));
        return;
    case THING_NUMBER:
        add_number(out, choice);
        return;
    case THING_DECIMAL:
        add_decimal(out, choice);
        return;
    case THING_EXPRESSION:
        add_expression(out, choice);
        return;
    case THING_LANGUAGE:
        text_add_str(out, LIST_PART(choice, languages, split));
        return;
    case THING_CURRENCY:
        text_add_str(out, LIST_PART(choice, currencies, split));
        return;
    case THING_ZONE:
        text_add_str(out, LIST_PART(choice, zones, split));
        return;
    case THING_METRIC:
        text_add_str(out, LIST_PART(choice, metrics, split));
        return;
    case THING_KINDS:
        break;
    }
    ASSERT(false);
}
