/* coin - prefix, stem, suffix. */
#include "nano/coin.h"

#include "nano/words.h"

static const char *const prefixes[] = {
    "re",    "un",   "con",   "de",   "dis",   "pre",  "pro",  "in", "ex",
    "trans", "over", "under", "sub",  "inter", "out",  "per",  "en", "com",
    "ab",    "ad",   "mis",   "fore", "up",    "down", "back",
};
static const char *const stems[] = {
    "port", "form",  "ject",  "duct", "tract", "press", "vert",  "serv",  "struct", "graph",
    "line", "count", "name",  "file", "time",  "date",  "rate",  "size",  "level",  "state",
    "cept", "spect", "pose",  "sign", "mit",   "cord",  "fer",   "scrib", "cur",    "ven",
    "gest", "side",  "stand", "work", "load",  "point", "mark",  "set",   "turn",   "call",
    "hold", "cast",  "flow",  "lock", "bind",  "block", "ton",   "gram",  "mand",   "pel",
    "sist", "tain",  "vid",   "volv", "plic",  "grad",  "lat",   "nov",   "fin",    "med",
    "loc",  "mot",   "vol",   "dom",  "mor",   "val",   "ter",   "sol",   "lum",    "cap",
    "nat",  "pan",   "der",   "lim",  "ber",   "ron",   "mar",   "gal",   "tim",    "sen",
    "bal",  "gor",   "hel",   "wit",  "score", "room",  "field", "stock", "mail",   "page",
    "user", "code",  "step",  "task", "note",  "list",  "ball",  "light", "stone",  "field",
};
static const char *const suffixes[] = {
    "ing", "er",  "ed",  "s",    "tion", "able", "al",   "ance", "ment", "ity", "or",
    "ive", "ous", "ful", "ness", "ic",   "ist",  "ary",  "age",  "ure",  "ent", "ant",
    "le",  "en",  "y",   "ate",  "ize",  "ish",  "ward", "ship", "e",    "es",  "ly",
};

static void draw_word(struct text *out, struct choice *choice)
{
    if (choice_percent(choice, 40))
        text_add_str(out, CHOICE_OF(choice, prefixes));
    text_add_str(out, CHOICE_OF(choice, stems));
    if (choice_percent(choice, 15))
        text_add_str(out, CHOICE_OF(choice, stems));
    if (choice_percent(choice, 60))
        text_add_str(out, CHOICE_OF(choice, suffixes));
}

void coin_add_word(struct text *out, struct choice *choice, enum split split)
{
    size_t begin = out->len, tries = 200; /* one in five is of the test: never met */
    do {
        text_shrink(out, begin);
        draw_word(out, choice);
    } while (!word_is_of(slice_of(out->data + begin, out->len - begin), split) && --tries > 0);
}

static void add_part(struct text *out, struct choice *choice, enum split split)
{
    size_t kind = choice_below(choice, 10);
    if (kind < 5)
        coin_add_word(out, choice, split);
    else if (kind < 8)
        word_add_english(out, choice);
    else
        word_add_syllables(out, choice, split, 1, 3);
}

void coin_add_name(struct text *out, struct choice *choice, enum split split)
{
    static const char *const joints[] = {"_", "_", "_", "_", "-", ""};
    const char *joint = CHOICE_OF(choice, joints);
    size_t parts = choice_percent(choice, 80) ? 2 : 3;
    for (size_t i = 0; i < parts; i++) {
        text_add_str(out, i ? joint : "");
        size_t begin = out->len;
        add_part(out, choice, split);
        if (i > 0 && !*joint)
            word_capital(out, begin);
    }
}

void coin_add_field(struct text *out, struct choice *choice, enum split split)
{
    size_t kind = choice_below(choice, 3);
    if (kind == 0)
        word_add_syllables(out, choice, split, 2, 3);
    else if (kind == 1)
        coin_add_word(out, choice, split);
    else
        coin_add_name(out, choice, split);
}
