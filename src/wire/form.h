/* form - the form that an answer must have: a grammar, or a JSON schema that becomes one, and what
 * has to appear before it binds; how that travels in the body of a submit. grammar/grammar.h says
 * what a grammar is, schema.h which schemas become one. Pure. */
#pragma once

#include "base/json.h"
#include "base/slice.h"

struct fields;

enum {
    FORM_TEXT_MAX_BYTES = 256 << 10,
    FORM_TRIGGERS_MAX = 16,
    FORM_TRIGGER_MAX_BYTES = 128,
    FORM_PARAM_MAX_BYTES = 64
};

enum form_kind { FORM_FREE, FORM_GRAMMAR, FORM_JSON_SCHEMA, FORM_JSON_OBJECT };

enum { FORM_NO_TOKEN = -1 };

struct form_trigger {
    struct slice word;  /* not empty, unless it is a token */
    int32_t token;      /* it is this token, which stands for the word; FORM_NO_TOKEN: it is text */
    bool only_at_start; /* nothing but white space comes before it in the answer */
    bool is_included;   /* the grammar describes it too; else what comes behind it */
};

struct form {
    enum form_kind kind;
    struct slice text;  /* GBNF, or the schema's JSON; not empty, but with FREE and JSON_OBJECT */
    struct slice param; /* what the client calls it, for complaints; may be empty */
    const struct form_trigger *triggers; /* none: it binds from the beginning */
    size_t trigger_count;                /* 0 with FREE */
};

/* One object; not for FORM_FREE. */
void form_encode(const struct form *form, struct json_out *json);
/* Failures are the fields'; *out_form is then as it was. */
void form_decode(struct fields *fields, struct form *out_form);
