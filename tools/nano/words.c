/* words - lists, and bytes drawn by small rules. */
#include "nano/words.h"

#include "base/hash.h"

static const char *const persons[] = {
    "Mia",    "Tom",    "Ana",      "Leo",    "Zoe",     "Sam",    "Ivy",      "Max",     "Eva",
    "Ben",    "Lia",    "Noa",      "Omar",   "Priya",   "Chen",   "Yuki",     "Lars",    "Ingrid",
    "Pablo",  "Lucia",  "Diego",    "Amara",  "Kofi",    "Zainab", "Tariq",    "Leila",   "Boris",
    "Olga",   "Ivan",   "Marta",    "Piotr",  "Hanna",   "Emil",   "Freya",    "Nils",    "Sofia",
    "Hugo",   "Clara",  "Felix",    "Greta",  "Anton",   "Rosa",   "Bruno",    "Nadia",   "Samir",
    "Alice",  "Bob",    "Carol",    "David",  "Erin",    "Frank",  "Grace",    "Heidi",   "Judy",
    "Kevin",  "Laura",  "Mallory",  "Nina",   "Oscar",   "Peggy",  "Quinn",    "Rachel",  "Steven",
    "Trent",  "Ursula", "Victor",   "Wendy",  "Xavier",  "Yvonne", "Zack",     "Harriet", "George",
    "Martha", "Edward", "Florence", "Arthur", "Beatrix", "Casper", "Delia",    "Ezra",    "Fatima",
    "Goran",  "Helga",  "Isaac",    "Jasmin", "Kamala",  "Linus",  "Mireille", "Niamh",   "Otto",
    "Petra",  "Rafael", "Signe",    "Theo",   "Uma",     "Vera",   "Wanda",    "Ximena",  "Yusuf",
    "Zelda",
};
static const char *const surnames[] = {
    "Miller",   "Rossi",  "Tanaka", "Novak",  "Silva",  "Khan",    "Berg",   "Dubois",
    "Keller",   "Moreau", "Santos", "Okafor", "Larsen", "Petrov",  "Yilmaz", "Haddad",
    "Singh",    "Nguyen", "Park",   "Walker", "Hughes", "Fischer", "Garcia", "Lindgren",
    "Kowalski", "Mbeki",  "Ortiz",  "Quist",  "Ramos",  "Sato",    "Turner", "Ueda",
    "Vogel",    "Weber",  "Young",  "Zhang",  "Abbott", "Becker",  "Carver", "Dalton",
};
static const char *const cities[] = {
    "Paris",     "London",    "Berlin",       "Madrid",      "Rome",         "Oslo",
    "Tokyo",     "Delhi",     "Cairo",        "Lima",        "Quito",        "Boston",
    "Denver",    "Austin",    "Dublin",       "Vienna",      "Prague",       "Athens",
    "Lisbon",    "Zurich",    "Geneva",       "Milan",       "Seoul",        "Osaka",
    "Kyoto",     "Sydney",    "Perth",        "Toronto",     "Montreal",     "Havana",
    "Bogota",    "Nairobi",   "Lagos",        "Accra",       "Tunis",        "Riga",
    "Tallinn",   "Vilnius",   "Warsaw",       "Krakow",      "New York",     "San Diego",
    "Cape Town", "Hong Kong", "Los Angeles",  "Mexico City", "Buenos Aires", "Sao Paulo",
    "Tel Aviv",  "Abu Dhabi", "Kuala Lumpur", "Santa Fe",    "Las Palmas",   "Addis Ababa",
    "New Delhi", "Porto",     "Brussels",     "Antwerp",     "Ghent",        "Hamburg",
    "Munich",    "Cologne",   "Leipzig",      "Dresden",     "Lyon",         "Nice",
    "Marseille", "Naples",    "Turin",        "Venice",      "Seville",      "Valencia",
    "Bilbao",    "Glasgow",   "Leeds",        "Bristol",     "Cork",         "Helsinki",
    "Turku",     "Bergen",    "Malmo",        "Aarhus",      "Reykjavik",    "Sofia",
    "Bucharest", "Zagreb",    "Belgrade",     "Ankara",      "Izmir",        "Beirut",
    "Amman",     "Doha",      "Muscat",       "Karachi",     "Lahore",       "Mumbai",
    "Chennai",   "Kolkata",   "Dhaka",        "Bangkok",     "Hanoi",        "Manila",
    "Jakarta",   "Taipei",    "Shanghai",     "Beijing",     "Shenzhen",     "Busan",
    "Sapporo",   "Auckland",  "Chicago",      "Seattle",     "Portland",     "Phoenix",
    "Houston",   "Dallas",    "Atlanta",      "Miami",       "Detroit",      "Ottawa",
    "Calgary",   "Kingston",  "Panama",       "Caracas",     "Santiago",     "La Paz",
};
static const char *const things[] = {
    "lamp",     "chair",    "table",  "book",     "pencil", "bottle",   "basket",  "blanket",
    "bridge",   "camera",   "candle", "carpet",   "clock",  "cup",      "curtain", "desk",
    "door",     "drum",     "engine", "fence",    "flag",   "guitar",   "hammer",  "hat",
    "helmet",   "jacket",   "kettle", "key",      "kite",   "ladder",   "map",     "mirror",
    "monitor",  "mouse",    "needle", "notebook", "oven",   "paddle",   "pan",     "phone",
    "piano",    "pillow",   "plate",  "printer",  "radio",  "ring",     "rope",    "router",
    "ruler",    "saw",      "screw",  "shelf",    "shoe",   "shovel",   "soap",    "sofa",
    "spoon",    "stamp",    "stove",  "suitcase", "tent",   "ticket",   "towel",   "truck",
    "umbrella", "vase",     "violin", "wallet",   "watch",  "wheel",    "whistle", "window",
    "bicycle",  "keyboard", "scarf",  "sweater",  "teapot", "backpack", "compass", "lantern",
};
static const char *const english[] = {
    "the",      "and",      "for",     "not",       "with",    "you",     "this",      "but",
    "from",     "they",     "say",     "her",       "she",     "will",    "one",       "all",
    "would",    "there",    "their",   "what",      "out",     "about",   "who",       "get",
    "which",    "when",     "make",    "can",       "like",    "time",    "just",      "him",
    "know",     "take",     "people",  "into",      "year",    "your",    "good",      "some",
    "could",    "them",     "see",     "other",     "than",    "then",    "now",       "look",
    "only",     "come",     "its",     "over",      "think",   "also",    "back",      "after",
    "use",      "two",      "how",     "our",       "work",    "first",   "well",      "way",
    "even",     "new",      "want",    "because",   "any",     "these",   "give",      "day",
    "most",     "find",     "here",    "thing",     "many",    "those",   "tell",      "very",
    "more",     "ask",      "need",    "feel",      "three",   "state",   "never",     "become",
    "between",  "high",     "really",  "something", "another", "much",    "family",    "own",
    "leave",    "put",      "old",     "while",     "mean",    "keep",    "student",   "why",
    "let",      "great",    "same",    "big",       "group",   "begin",   "seem",      "country",
    "help",     "talk",     "where",   "turn",      "problem", "every",   "start",     "hand",
    "might",    "show",     "part",    "against",   "place",   "such",    "again",     "few",
    "case",     "week",     "company", "system",    "each",    "right",   "program",   "hear",
    "question", "during",   "play",    "run",       "small",   "number",  "off",       "always",
    "move",     "night",    "live",    "point",     "believe", "hold",    "today",     "bring",
    "happen",   "next",     "without", "before",    "large",   "million", "must",      "home",
    "under",    "water",    "room",    "write",     "mother",  "area",    "money",     "story",
    "young",    "fact",     "month",   "different", "lot",     "study",   "eye",       "job",
    "word",     "business", "issue",   "side",      "kind",    "four",    "head",      "far",
    "black",    "long",     "both",    "little",    "house",   "yes",     "since",     "provide",
    "service",  "around",   "friend",  "important", "father",  "sit",     "away",      "until",
    "power",    "hour",     "game",    "often",     "yet",     "line",    "political", "end",
    "among",    "ever",     "stand",   "bad",       "lose",    "however", "member",    "pay",
    "law",      "meet",     "car",     "city",      "almost",  "include", "continue",  "set",
    "later",    "red",      "blue",    "green",     "yellow",  "orange",  "silver",    "apple",
    "banana",   "cherry",   "river",   "mountain",  "forest",  "garden",  "winter",    "summer",
    "morning",  "evening",  "coffee",  "server",    "token",   "stream",  "model",     "worker",
    "queue",    "request",  "session", "memory",
};
static const char *const accented[] = {
    "café",     "naïve", "résumé",  "über",         "größe",  "señor",   "mañana",  "façade",
    "jalapeño", "crème", "brûlée",  "Zürich",       "Málaga", "Curaçao", "smörgås", "žluťoučký",
    "ação",     "élan",  "fiancée", "doppelgänger", "piñata", "São",     "Łódź",    "İzmir",
};
static const char *const chinese[] = {
    "你", "好", "我", "是", "不", "在", "有", "人", "这", "中", "大", "来", "上", "国", "个", "到",
    "说", "们", "为", "子", "和", "地", "出", "道", "也", "时", "年", "得", "就", "那", "要", "下",
    "天", "月", "山", "水", "火", "木", "花", "鸟", "鱼", "书", "车", "门", "风", "雨", "雪", "云",
};
static const char *const emoji[] = {
    "😀", "😂", "😍", "🤖", "🚀", "🌍", "🎉", "🔥", "🐱", "🐶", "🦊", "🐻", "🌸", "🍎", "🍕", "☕",
    "🎵", "⭐", "🌙", "🌈",    "👍", "👋", "🙏", "💡", "✅", "❌", "🧩", "📦", "🐢", "🐝", "🌊", "🏔️",
};

bool word_is_of(struct slice word, enum split split)
{
    if (word.len < WORD_HELD_BYTES)
        return true;
    /* FNV's low bits alone would go by the last letter. */
    uint64_t hash = hash_bytes(word);
    return ((hash ^ hash >> 32) % 5 == 4) == (split == SPLIT_TEST);
}

size_t word_log_uniform(struct choice *choice, size_t low, size_t high)
{
    ASSERT(low >= 1 && low <= high);
    enum { ONE = 256, STEPS_MAX = 64 };
    uint64_t steps[STEPS_MAX + 1]; /* of a quarter each, in units of 1/256 */
    size_t count = 0;
    steps[0] = (uint64_t)low * ONE;
    while (steps[count] < (uint64_t)(high + 1) * ONE && count < STEPS_MAX) {
        steps[count + 1] = steps[count] + steps[count] / 4;
        count++;
    }
    size_t step = choice_below(choice, count);
    uint64_t drawn = steps[step] + choice_below(choice, (size_t)(steps[step + 1] - steps[step]));
    size_t value = (size_t)(drawn / ONE);
    return value < high ? value : high;
}

static struct slice since(const struct text *text, size_t begin)
{
    return slice_of(text->data + begin, text->len - begin);
}

static void add_one_of(struct text *out, struct choice *choice, const char *letters)
{
    text_add_byte(out, letters[choice_below(choice, strlen(letters))]);
}

static void add_syllable(struct text *out, struct choice *choice)
{
    static const char *const onsets[] = {"br", "ch", "cl", "dr", "fl", "gr", "kr", "pl", "pr",
                                         "qu", "sh", "sk", "sl", "st", "th", "tr", "wh", ""};
    if (choice_percent(choice, 20))
        text_add_str(out, CHOICE_OF(choice, onsets));
    else
        add_one_of(out, choice, "bcdfghjklmnprstvwxyz");
    add_one_of(out, choice, "aaeeiioouuy");
    if (choice_percent(choice, 25))
        add_one_of(out, choice, "lmnrstxkpdg");
}

/* Draws until the word is of the split; one in five is, so the bound is never met. */
#define DRAW_OF_SPLIT(out, split, draw)                                                            \
    do {                                                                                           \
        size_t begin_ = (out)->len;                                                                \
        for (int tries_ = 0; tries_ < 200; tries_++) {                                             \
            text_shrink((out), begin_);                                                            \
            draw;                                                                                  \
            if (word_is_of(since((out), begin_), (split)))                                         \
                break;                                                                             \
        }                                                                                          \
    } while (0)

static void draw_syllables(struct text *out, struct choice *choice, size_t least, size_t most)
{
    size_t count = (size_t)choice_between(choice, (int64_t)least, (int64_t)most);
    for (size_t i = 0; i < count; i++)
        add_syllable(out, choice);
}

void word_add_syllables(struct text *out, struct choice *choice, enum split split,
                        size_t least_syllables, size_t most_syllables)
{
    DRAW_OF_SPLIT(out, split, draw_syllables(out, choice, least_syllables, most_syllables));
}

void word_add_english(struct text *out, struct choice *choice)
{
    text_add_str(out, CHOICE_OF(choice, english));
}

void word_add_digits(struct text *out, struct choice *choice, size_t digits)
{
    for (size_t i = 0; i < digits; i++)
        add_one_of(out, choice, i == 0 && digits > 1 ? "123456789" : "0123456789");
}

void word_add_number(struct text *out, struct choice *choice)
{
    size_t kind = choice_below(choice, 20);
    if (kind < 2)
        text_add_byte(out, '-');
    if (kind == 19) {
        text_add_str(out, "00");
    }
    word_add_digits(out, choice, word_log_uniform(choice, 1, 8));
    if (kind >= 1 && kind < 5) {
        text_add_byte(out, '.');
        word_add_digits(out, choice, (size_t)choice_between(choice, 1, 4));
    } else if (kind == 5) {
        text_add_byte(out, ',');
        for (int i = 0; i < 3; i++)
            add_one_of(out, choice, "0123456789");
    }
}

void word_add_hex(struct text *out, struct choice *choice, size_t digits)
{
    for (size_t i = 0; i < digits; i++)
        add_one_of(out, choice, "0123456789abcdef");
}

static void add_date(struct text *out, struct choice *choice)
{
    text_add_f(out, "%d-%02d-%02d", (int)choice_between(choice, 1990, 2039),
               (int)choice_between(choice, 1, 12), (int)choice_between(choice, 1, 28));
}

static void add_address(struct text *out, struct choice *choice)
{
    text_add_f(out, "%d.%d.%d.%d", (int)choice_between(choice, 1, 223),
               (int)choice_below(choice, 256), (int)choice_below(choice, 256),
               (int)choice_below(choice, 256));
}

static void add_path(struct text *out, struct choice *choice)
{
    static const char *const endings[] = {".c", ".py", ".json", ".txt", ".log", ".gguf", ""};
    static const char *const tops[] = {"", "/", "src/", "/var/", "./", "lib/", "/home/"};
    text_add_str(out, CHOICE_OF(choice, tops));
    draw_syllables(out, choice, 1, 3);
    if (choice_percent(choice, 50)) {
        text_add_byte(out, '/');
        draw_syllables(out, choice, 1, 3);
    }
    text_add_str(out, CHOICE_OF(choice, endings));
}

static void add_mixed_id(struct text *out, struct choice *choice)
{
    size_t count = (size_t)choice_between(choice, 4, 12);
    for (size_t i = 0; i < count; i++)
        add_one_of(out, choice, "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789");
}

static void draw_id(struct text *out, struct choice *choice)
{
    switch (choice_below(choice, 12)) {
    case 0:
        text_add_f(out, "v%d.%d.%d", (int)choice_below(choice, 12), (int)choice_below(choice, 40),
                   (int)choice_below(choice, 20));
        break;
    case 1:
        add_address(out, choice);
        break;
    case 2:
        add_date(out, choice);
        break;
    case 3:
        text_add_f(out, "%02d:%02d:%02d", (int)choice_below(choice, 24),
                   (int)choice_below(choice, 60), (int)choice_below(choice, 60));
        break;
    case 4:
        draw_syllables(out, choice, 1, 3);
        text_add_byte(out, '@');
        draw_syllables(out, choice, 1, 3);
        add_one_of(out, choice, ".");
        text_add_str(out, choice_percent(choice, 50) ? "com" : "org");
        break;
    case 5:
        add_path(out, choice);
        break;
    case 6:
    case 7: {
        draw_syllables(out, choice, 1, 2);
        add_one_of(out, choice, "-_-_.#:");
        word_add_hex(out, choice, (size_t)choice_between(choice, 1, 6));
        break;
    }
    case 8:
        add_mixed_id(out, choice);
        break;
    case 9:
        draw_syllables(out, choice, 1, 2);
        add_one_of(out, choice, "-_.");
        draw_syllables(out, choice, 1, 3);
        break;
    default:
        word_add_hex(out, choice, (size_t)choice_between(choice, 3, 12));
    }
}

void word_add_id(struct text *out, struct choice *choice, enum split split)
{
    DRAW_OF_SPLIT(out, split, draw_id(out, choice));
}

void word_add_foreign(struct text *out, struct choice *choice)
{
    switch (choice_below(choice, 3)) {
    case 0:
        text_add_str(out, CHOICE_OF(choice, accented));
        break;
    case 1: {
        size_t count = (size_t)choice_between(choice, 1, 4);
        for (size_t i = 0; i < count; i++)
            text_add_str(out, CHOICE_OF(choice, chinese));
        break;
    }
    default:
        text_add_str(out, CHOICE_OF(choice, emoji));
    }
}

void word_add_any(struct text *out, struct choice *choice, enum split split)
{
    size_t begin = out->len;
    size_t kind = choice_below(choice, 100);
    if (kind < 45) {
        word_add_syllables(out, choice, split, 1, 4);
    } else if (kind < 56) {
        word_add_syllables(out, choice, split, 1, 4);
        word_capital(out, begin);
    } else if (kind < 60) {
        word_add_syllables(out, choice, split, 1, 3);
        word_upper(out, begin);
    } else if (kind < 63) {
        word_add_syllables(out, choice, split, 2, 3);
        word_mixed_case(out, begin, choice);
    } else if (kind < 76) {
        word_add_number(out, choice);
    } else if (kind < 87) {
        word_add_id(out, choice, split);
    } else if (kind < 94) {
        word_add_english(out, choice);
    } else if (kind < 97) {
        text_add_str(out, word_city(choice, split));
    } else {
        word_add_foreign(out, choice);
    }
}

void word_add_sentence(struct text *out, struct choice *choice, enum split split)
{
    static const char *const ends[] = {".", ".", ".", "!", "?", "...", ""};
    size_t begin = out->len, count = (size_t)choice_between(choice, 3, 14);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text_add_str(out, choice_percent(choice, 10) ? ", " : " ");
        if (choice_percent(choice, 15))
            word_add_any(out, choice, split);
        else
            word_add_english(out, choice);
    }
    word_capital(out, begin);
    text_add_str(out, CHOICE_OF(choice, ends));
}

void word_add_spaced(struct text *out, const char *name)
{
    for (; *name; name++)
        text_add_byte(out, *name == '_' ? ' ' : *name);
}

const char *word_person(struct choice *choice, enum split split)
{
    return LIST_PART(choice, persons, split);
}

const char *word_surname(struct choice *choice, enum split split)
{
    return LIST_PART(choice, surnames, split);
}

const char *word_city(struct choice *choice, enum split split)
{
    return LIST_PART(choice, cities, split);
}

const char *word_thing(struct choice *choice, enum split split)
{
    return LIST_PART(choice, things, split);
}

const char *word_emoji(struct choice *choice)
{
    return CHOICE_OF(choice, emoji);
}

/* -- changes ---------------------------------------------------------------- */

static bool is_lower(char byte)
{
    return byte >= 'a' && byte <= 'z';
}

static bool is_upper(char byte)
{
    return byte >= 'A' && byte <= 'Z';
}

void word_upper(struct text *text, size_t begin)
{
    for (size_t i = begin; i < text->len; i++)
        text->data[i] = (char)(text->data[i] - (is_lower(text->data[i]) ? 'a' - 'A' : 0));
}

void word_lower(struct text *text, size_t begin)
{
    for (size_t i = begin; i < text->len; i++)
        text->data[i] = (char)(text->data[i] + (is_upper(text->data[i]) ? 'a' - 'A' : 0));
}

void word_capital(struct text *text, size_t begin)
{
    if (begin < text->len && is_lower(text->data[begin]))
        text->data[begin] = (char)(text->data[begin] - ('a' - 'A'));
}

void word_mixed_case(struct text *text, size_t begin, struct choice *choice)
{
    for (size_t i = begin; i < text->len; i++) {
        if (is_lower(text->data[i]) && choice_percent(choice, 50))
            text->data[i] = (char)(text->data[i] - ('a' - 'A'));
    }
}

/* The nth word of five lower-case letters or more; false: there are fewer. */
static bool find_long_word(const struct text *text, size_t begin, size_t nth, size_t *out_begin,
                           size_t *out_end)
{
    for (size_t at = begin; at < text->len;) {
        size_t end = at;
        bool is_plain = true;
        while (end < text->len && text->data[end] != ' ' && text->data[end] != '\n')
            is_plain = is_lower(text->data[end++]) && is_plain;
        if (is_plain && end - at >= 5 && nth-- == 0) {
            *out_begin = at;
            *out_end = end;
            return true;
        }
        at = end + 1;
    }
    return false;
}

void word_typo(struct text *text, size_t begin, struct choice *choice)
{
    size_t count = 0, word, end;
    while (find_long_word(text, begin, count, &word, &end))
        count++;
    if (count == 0)
        return;
    bool found = find_long_word(text, begin, choice_below(choice, count), &word, &end);
    ASSERT(found);
    /* Never the first letter: people do not miss that one, and it carries the most. */
    size_t at = word + 1 + choice_below(choice, end - word - 2);
    char *letter = text->data + at;
    if (choice_percent(choice, 50)) {
        char swapped = letter[0];
        letter[0] = letter[1];
        letter[1] = swapped;
    } else if (choice_percent(choice, 60)) {
        memmove(letter, letter + 1, text->len - at - 1);
        text_shrink(text, text->len - 1);
    } else {
        char twice = *letter;
        text_add_byte(text, ' '); /* may move the bytes */
        memmove(text->data + at + 1, text->data + at, text->len - at - 1);
        text->data[at] = twice;
    }
}
