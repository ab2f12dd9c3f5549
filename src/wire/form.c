/* form - the form that an answer must have, to and from JSON. */
#include "wire/form.h"

#include "wire/fields.h"

static void encode_trigger(const struct form_trigger *trigger, struct json_out *json)
{
    json_out_begin_object(json);
    if (trigger->token != FORM_NO_TOKEN)
        json_out_add_i64(json, "token", trigger->token);
    if (trigger->word.len)
        json_out_add_string(json, "word", trigger->word);
    json_out_add_bool(json, "at_start", trigger->only_at_start);
    json_out_add_bool(json, "included", trigger->is_included);
    json_out_end_object(json);
}

void form_encode(const struct form *form, struct json_out *json)
{
    json_out_begin_object(json);
    if (form->kind == FORM_JSON_OBJECT)
        json_out_add_bool(json, "json_object", true);
    else
        json_out_add_string(json, form->kind == FORM_GRAMMAR ? "grammar" : "json_schema",
                            form->text);
    if (form->param.len)
        json_out_add_string(json, "param", form->param);
    if (form->trigger_count) {
        json_out_key(json, "triggers");
        json_out_begin_array(json);
        for (size_t i = 0; i < form->trigger_count; i++)
            encode_trigger(&form->triggers[i], json);
        json_out_end_array(json);
    }
    json_out_end_object(json);
}

/* --- decoding --- */

static void decode_kind(struct fields *fields, struct form *form)
{
    static const struct {
        const char *key;
        enum form_kind kind;
    } kinds[] = {{"grammar", FORM_GRAMMAR},
                 {"json_schema", FORM_JSON_SCHEMA},
                 {"json_object", FORM_JSON_OBJECT}};
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (!fields_has(fields, kinds[i].key))
            continue;
        if (form->kind != FORM_FREE)
            fields_fail(fields, ERR_PROTOCOL, kinds[i].key, "a second form");
        form->kind = kinds[i].kind;
        if (form->kind != FORM_JSON_OBJECT)
            form->text = fields_string(fields, kinds[i].key, FORM_TEXT_MAX_BYTES);
        else if (!fields_bool(fields, kinds[i].key))
            fields_fail(fields, ERR_PROTOCOL, kinds[i].key, "is true, or not there");
    }
    if (form->kind == FORM_FREE)
        fields_fail(fields, ERR_PROTOCOL, "form", "one of grammar, json_schema and json_object");
    if (form->kind != FORM_JSON_OBJECT && form->text.len == 0)
        fields_fail(fields, ERR_PROTOCOL, "form", "the text is empty");
}

static struct form_trigger trigger_from(struct fields *fields, const json_t *item)
{
    struct fields inside = fields_inside(fields, item);
    struct form_trigger trigger = {
        .word = fields_optional_string(&inside, "word", FORM_TRIGGER_MAX_BYTES),
        .token = fields_has(&inside, "token") ? (int32_t)fields_i64(&inside, "token", 0, INT32_MAX)
                                              : FORM_NO_TOKEN,
        .only_at_start = fields_bool(&inside, "at_start"),
        .is_included = fields_bool(&inside, "included")};
    if (trigger.word.len == 0 && trigger.token == FORM_NO_TOKEN)
        fields_fail(&inside, ERR_PROTOCOL, "triggers", "a word or a token is required");
    fields->err = inside.err;
    return trigger;
}

static void decode_triggers(struct fields *fields, struct form *form)
{
    const json_t *array = fields_optional_array(fields, "triggers", FORM_TRIGGERS_MAX);
    if (!array)
        return;
    size_t count = json_array_size(array);
    struct form_trigger *triggers = fields_memory(fields, "triggers", count, sizeof(*triggers));
    for (size_t i = 0; triggers && i < count; i++)
        triggers[i] = trigger_from(fields, json_array_get(array, i));
    form->triggers = triggers;
    form->trigger_count = count;
}

void form_decode(struct fields *fields, struct form *out_form)
{
    struct form form = {0};
    decode_kind(fields, &form);
    form.param = fields_optional_string(fields, "param", FORM_PARAM_MAX_BYTES);
    decode_triggers(fields, &form);
    if (fields->err == ERR_OK)
        *out_form = form;
}
