/* form_params - the form that an answer must have. */
#include "gateway/form_params.h"

#include "gateway/params.h"

#include <stdio.h>

enum { NAME_MAX_BYTES = 64 /* of a schema, as OpenAI has it */ };

/* --- a form, and only one --- */

MUST_USE static enum err set_form(struct call *call, const struct form *form,
                                  struct api_error *out_error)
{
    const struct form *before = &call->request.form;
    if (before->kind != FORM_FREE)
        return api_error_set(out_error, 400, "invalid_value", form->param.data,
                             "%s and " SLICE_FMT " exclude each other", form->param.data,
                             SLICE_ARG(before->param));
    call->request.form = *form;
    return ERR_OK;
}

MUST_USE static enum err too_large(const char *param, struct api_error *out_error)
{
    return api_error_set(out_error, 400, "invalid_value", param, "%s has more than %d bytes", param,
                         FORM_TEXT_MAX_BYTES);
}

/* The schema's text again: its members in their order, and numbers that read as the same. */
MUST_USE static enum err schema_text(struct call *call, const json_t *schema, const char *param,
                                     struct slice *out_text, struct api_error *out_error)
{
    struct text text;
    enum err err = ERR_OK;
    text_init(&text, FORM_TEXT_MAX_BYTES);
    json_add_value(&text, schema);
    if (text_status(&text) != ERR_OK)
        err = too_large(param, out_error);
    else if (arena_dup(call->arena, text_slice(&text), out_text) != ERR_OK)
        err = api_error_set(out_error, 413, "body_too_large", param, "%s is too large", param);
    text_fini(&text);
    return err;
}

MUST_USE static enum err set_schema(struct call *call, const json_t *schema, const char *param,
                                    struct api_error *out_error)
{
    struct form form = {.kind = FORM_JSON_SCHEMA, .param = slice_str(param)};
    if (!json_is_object(schema))
        return param_wrong_type(out_error, param, "an object");
    TRY(schema_text(call, schema, param, &form.text, out_error));
    return set_form(call, &form, out_error);
}

/* --- response_format --- */

MUST_USE static enum err check_name(const json_t *described, struct api_error *out_error)
{
    static const char param[] = "response_format.json_schema.name";
    const json_t *value = param_member(described, "name");
    struct slice name = json_slice(value);
    if (!value)
        return ERR_OK; /* OpenAI wants one, and it says nothing */
    if (!json_is_string(value))
        return param_wrong_type(out_error, param, "a string");
    if (name.len >= 1 && name.len <= NAME_MAX_BYTES)
        return ERR_OK;
    return api_error_set(out_error, 400, "invalid_value", param,
                         "%s has %zu bytes: allowed are 1..%d", param, name.len, NAME_MAX_BYTES);
}

/* `strict` is what is done either way. */
MUST_USE static enum err read_json_schema(struct call *call, const json_t *format,
                                          struct api_error *out_error)
{
    const json_t *described = param_member(format, "json_schema");
    if (!json_is_object(described))
        return param_wrong_type(out_error, "response_format.json_schema", "an object");
    TRY(check_name(described, out_error));
    const json_t *strict = param_member(described, "strict");
    if (strict && !json_is_boolean(strict))
        return param_wrong_type(out_error, "response_format.json_schema.strict", "true or false");
    return set_schema(call, param_member(described, "schema"), "response_format.json_schema.schema",
                      out_error);
}

MUST_USE static enum err read_response_format(struct call *call, const json_t *body,
                                              struct api_error *out_error)
{
    const json_t *format = param_member(body, "response_format");
    if (!format)
        return ERR_OK;
    if (!json_is_object(format))
        return param_wrong_type(out_error, "response_format", "an object");
    struct slice type = json_slice(json_object_get(format, "type"));
    if (slice_eq_str(type, "text"))
        return ERR_OK;
    if (slice_eq_str(type, "json_schema"))
        return read_json_schema(call, format, out_error);
    if (!slice_eq_str(type, "json_object"))
        return api_error_set(out_error, 400, "invalid_value", "response_format.type",
                             "response_format.type must be text, json_object or json_schema");
    const json_t *schema = param_member(format, "schema"); /* as llama-server */
    if (schema)
        return set_schema(call, schema, "response_format.schema", out_error);
    return set_form(call,
                    &(struct form){.kind = FORM_JSON_OBJECT, .param = SLICE("response_format")},
                    out_error);
}

/* --- grammar, and when it binds --- */

MUST_USE static enum err read_grammar(struct call *call, const json_t *body,
                                      struct api_error *out_error)
{
    struct form form = {.kind = FORM_GRAMMAR, .param = SLICE("grammar")};
    TRY(param_string(call, body, "grammar", &form.text, out_error));
    if (form.text.len == 0) /* clients send it */
        return ERR_OK;
    if (form.text.len > FORM_TEXT_MAX_BYTES)
        return too_large("grammar", out_error);
    return set_form(call, &form, out_error);
}

/* llama-server's numbers; 2 and 3 are regular expressions. */
enum { TRIGGER_TOKEN, TRIGGER_WORD, TRIGGER_PATTERN, TRIGGER_PATTERN_FULL };

/* "grammar_triggers[3].value must be a string" */
MUST_USE static enum err wrong_trigger(struct api_error *out_error, const char *code, size_t index,
                                       const char *member, const char *what)
{
    char param[64];
    snprintf(param, sizeof(param), "grammar_triggers[%zu]%s", index, member);
    return api_error_set(out_error, 400, code, "grammar_triggers", "%s %s", param, what);
}

MUST_USE static enum err read_trigger_token(const json_t *item, size_t index,
                                            struct form_trigger *trigger,
                                            struct api_error *out_error)
{
    const json_t *token = param_member(item, "token");
    if (!json_is_integer(token) || json_integer_value(token) < 0 ||
        json_integer_value(token) > INT32_MAX)
        return wrong_trigger(out_error, "invalid_type", index, ".token", "must be a token id");
    trigger->token = (int32_t)json_integer_value(token);
    return ERR_OK;
}

MUST_USE static enum err read_trigger_word(struct call *call, const json_t *item, size_t index,
                                           struct form_trigger *trigger,
                                           struct api_error *out_error)
{
    const json_t *value = param_member(item, "value");
    if (!value && trigger->token != FORM_NO_TOKEN)
        return ERR_OK; /* its own bytes */
    struct slice word = json_slice(value);
    if (word.len == 0 || word.len > FORM_TRIGGER_MAX_BYTES)
        return wrong_trigger(out_error, "invalid_value", index, ".value",
                             "must be a string of 1..128 bytes");
    if (arena_dup(call->arena, word, &trigger->word) != ERR_OK)
        return api_error_set(out_error, 413, "body_too_large", "grammar_triggers", "out of memory");
    return ERR_OK;
}
_Static_assert(FORM_TRIGGER_MAX_BYTES == 128, "the sentence above says so");

MUST_USE static enum err read_trigger(struct call *call, const json_t *item, size_t index,
                                      struct form_trigger *out_trigger, struct api_error *out_error)
{
    struct form_trigger trigger = {.token = FORM_NO_TOKEN, .is_included = true};
    const json_t *type = json_object_get(item, "type");
    json_int_t number = json_integer_value(type);
    if (!json_is_object(item))
        return wrong_trigger(out_error, "invalid_type", index, "", "must be an object");
    if (!json_is_integer(type) || number < TRIGGER_TOKEN || number > TRIGGER_PATTERN_FULL)
        return wrong_trigger(out_error, "invalid_value", index, ".type",
                             "must be 0 (a token) or 1 (a word)");
    if (number >= TRIGGER_PATTERN)
        return wrong_trigger(out_error, "unsupported_parameter", index, ".type",
                             "is a pattern: only 0 (a token) and 1 (a word) are supported");
    if (number == TRIGGER_TOKEN)
        TRY(read_trigger_token(item, index, &trigger, out_error));
    TRY(read_trigger_word(call, item, index, &trigger, out_error));
    *out_trigger = trigger;
    return ERR_OK;
}

MUST_USE static enum err read_trigger_list(struct call *call, const json_t *list,
                                           struct api_error *out_error)
{
    size_t count = json_array_size(list);
    if (count > FORM_TRIGGERS_MAX)
        return api_error_set(out_error, 400, "invalid_value", "grammar_triggers",
                             "grammar_triggers has %zu entries: allowed are %d", count,
                             FORM_TRIGGERS_MAX);
    struct form_trigger *triggers = arena_array(call->arena, count, sizeof(*triggers));
    if (!triggers)
        return api_error_set(out_error, 413, "body_too_large", "grammar_triggers", "out of memory");
    for (size_t i = 0; i < count; i++)
        TRY(read_trigger(call, json_array_get(list, i), i, &triggers[i], out_error));
    call->request.form.triggers = triggers;
    call->request.form.trigger_count = count;
    return ERR_OK;
}

/* Lazy: it binds from a trigger on. One without the other is a misunderstanding worth telling. */
MUST_USE static enum err read_triggers(struct call *call, const json_t *body,
                                       struct api_error *out_error)
{
    bool is_lazy = false;
    const json_t *list = param_member(body, "grammar_triggers");
    TRY(param_bool(body, "grammar_lazy", &is_lazy, out_error));
    if (list && !json_is_array(list))
        return param_wrong_type(out_error, "grammar_triggers", "a list");
    bool has_triggers = json_array_size(list) > 0;
    if (!is_lazy && !has_triggers)
        return ERR_OK;
    if (is_lazy != has_triggers)
        return api_error_set(out_error, 400, "invalid_value",
                             is_lazy ? "grammar_lazy" : "grammar_triggers",
                             "grammar_lazy and grammar_triggers go together");
    if (call->request.form.kind == FORM_FREE)
        return api_error_set(out_error, 400, "invalid_value", "grammar_lazy",
                             "grammar_lazy needs a grammar or a schema");
    return read_trigger_list(call, list, out_error);
}

enum err form_params(struct call *call, const json_t *body, struct api_error *out_error)
{
    TRY(read_response_format(call, body, out_error));
    TRY(read_grammar(call, body, out_error));
    const json_t *schema = param_member(body, "json_schema");
    if (schema)
        TRY(set_schema(call, schema, "json_schema", out_error));
    return read_triggers(call, body, out_error);
}
