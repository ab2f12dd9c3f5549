/* schema_impl - a conversion while it is made. For the files of this folder. */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "base/map.h"
#include "grammar/grammar.h"
#include "grammar/schema.h"

struct place { /* a schema inside the document; its rule is named s and its number */
    json_t *schema;
    struct slice path; /* "#/properties/a" */
};

/* One place is said by another alone ($ref, anyOf): a cycle of those is never said. */
struct alias {
    uint32_t from, to;
};
enum { ALIASES_MAX = 4 * SCHEMA_PLACES_MAX };

struct conversion {
    json_t *root;
    struct text *out;
    struct err_note *note;
    struct arena *arena;
    struct map *numbers; /* schema -> its place, and one */
    struct place *places;
    struct alias *aliases;
    uint32_t place_count, alias_count;
    uint32_t place;     /* that is being written */
    bool wants_object;  /* its line names rules of schema_add_object_rules() */
    json_t *merged;     /* array: schemas that allOf made, kept until the end */
    size_t merged_keys; /* that were put into those, each as often as it was */
};

/* "schema: at PATH: " and the message; PATH is that of the place being written. Returns err. */
MUST_USE enum err schema_fail(struct conversion *conversion, enum err err, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* ERR_LIMIT, in the same words: for what found no room, whatever the size was limited by. */
MUST_USE enum err schema_fail_room(struct conversion *conversion);
/* The place of a schema, new or known: its rule will be written. `key` and `index` (or SIZE_MAX)
 * tell how it is reached from the one being written. */
MUST_USE enum err schema_place(struct conversion *conversion, json_t *schema, const char *key,
                               struct slice name, uint32_t *out_place);

/* What keywords are about (schema_keywords.c). */
enum {
    ANNOTATION = 1 << 0,
    TYPE = 1 << 1,
    STRING = 1 << 2,
    NUMBER = 1 << 3,
    ARRAY = 1 << 4,
    OBJECT = 1 << 5,
    VALUES = 1 << 6,
    CHOICE = 1 << 7,
    ALL = 1 << 8,
    REFERENCE = 1 << 9
};

/* 0: we do not know it. */
uint32_t schema_keyword_group(const char *keyword);
/* All groups that the schema has keywords of. ERR_REFUSED: one that we do not know. */
MUST_USE enum err schema_read_groups(struct conversion *conversion, json_t *schema,
                                     uint32_t *out_groups);
/* The first keyword that is of none of these groups, and no annotation; NULL: there is none. */
const char *schema_other_keyword(json_t *schema, uint32_t groups);
/* ERR_REFUSED: there is one, which is not supported beside `beside`. */
MUST_USE enum err schema_allow_only(struct conversion *conversion, json_t *schema, uint32_t groups,
                                    const char *beside);
MUST_USE enum err schema_fail_keyword(struct conversion *conversion, const char *keyword,
                                      const char *why);
/* For notes: what is not plain in a name is shown as '?'. */
void schema_add_plain(struct text *out, struct slice name);

/* Sets of types are bits, in this order. */
enum { SCHEMA_TYPES = 7 };
extern const char *const schema_types[SCHEMA_TYPES];
bool schema_fits_type(const json_t *value, const char *type);
/* Those that the schema names, or that its keywords are about; 0: any. */
MUST_USE enum err schema_read_types(struct conversion *conversion, json_t *schema, uint32_t groups,
                                    uint32_t *out_types);

/* Writes the rule's name, and that the place being written is nothing but that one. */
MUST_USE enum err schema_add_alias(struct conversion *conversion, uint32_t to);
MUST_USE enum err schema_find_reference(struct conversion *conversion, json_t *schema,
                                        json_t **out_target);
MUST_USE enum err schema_add_all(struct conversion *conversion, json_t *schema);

/* A literal of GBNF. */
void schema_add_literal(struct text *out, struct slice bytes);

/* Each writes what stands behind ::= for one type, some with rules of their own behind it; those
 * begin on a new line. */
MUST_USE enum err schema_add_string(struct conversion *conversion, const json_t *schema);
MUST_USE enum err schema_add_integer(struct conversion *conversion, const json_t *schema);
MUST_USE enum err schema_add_number(struct conversion *conversion, const json_t *schema);
MUST_USE enum err schema_add_object(struct conversion *conversion, json_t *schema);
MUST_USE enum err schema_add_array(struct conversion *conversion, json_t *schema);
/* And what an object needs behind its line. */
MUST_USE enum err schema_add_object_rules(struct conversion *conversion, json_t *schema);

/* A count of the schema, 0..GRAMMAR_REPEAT_MAX; *out_count is left where there is none. */
MUST_USE enum err schema_read_count(struct conversion *conversion, const json_t *schema,
                                    const char *keyword, uint32_t *out_count);
/* The pattern as GBNF of the inside of a JSON string. The words say what is wrong. */
MUST_USE enum err schema_add_pattern(struct slice pattern, struct text *out,
                                     const char **out_words);
