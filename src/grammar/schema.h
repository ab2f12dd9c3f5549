/* schema - a JSON schema as a grammar: GBNF text whose every word is a JSON value that satisfies
 * the schema. Pure.
 *
 * 1. Never wider than the schema: what cannot be said exactly is refused, with the path and the
 *    keyword. (But: keys that no property names may come twice, and oneOf is read as anyOf: that
 *    only one of its branches fits is the schema's affair.)
 * 2. Narrower, where a model gains by it: properties come in the order of the schema; an object
 *    with properties has no others unless additionalProperties says so; numbers have at most 16
 *    digits before and behind the point; white space is a blank, or a line end and up to 40 blanks
 *    and tabs; what enum and const name is written one way; without `type`, it is what the other
 *    keywords are about.
 *
 * Understood: type (also a list), enum, const, anyOf, oneOf, allOf (of objects,
 * additionalProperties only in parts that name all properties), $ref into the same document, also
 * recursive; properties, required, additionalProperties; items, minItems, maxItems; minLength,
 * maxLength, format (date, time, date-time, uuid, ipv4), pattern (^...$ without assertions and
 * references back); minimum, maximum, for integers also exclusive ones. Annotations (title,
 * description, default, examples, ...) are passed over; everything else is refused. */
#pragma once

#include "base/text.h"

enum {
    SCHEMA_MAX_BYTES = 256 << 10,
    SCHEMA_PLACES_MAX = 4096,   /* schemas inside it */
    SCHEMA_NAME_MAX_BYTES = 256 /* of a property, where additionalProperties must avoid it */
};

/* Appends the grammar, of at most GRAMMAR_TEXT_MAX_BYTES, to `out`. ERR_PROTOCOL: not JSON, or a
 * keyword's value is not what it must be; ERR_REFUSED: cannot be said as a grammar, or nothing can
 * satisfy it; ERR_LIMIT: too large, or `out` is full. The note says where and what. */
MUST_USE enum err schema_to_grammar(struct slice schema, struct text *out,
                                    struct err_note *out_note);

/* The grammar of any JSON object (response_format json_object). */
struct slice schema_any_object(void);
