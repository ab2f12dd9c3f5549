/* load_request - see load_request.h. */
#include "load_request.h"

#include "base/json.h"

#include <errno.h>
#include <stdio.h>

static void write_body(const struct load_options *options, size_t prompt_bytes, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_string(&json, "model", slice_str(options->model));
    json_out_add_bool(&json, "stream", !options->is_json);
    json_out_add_u64(&json, "max_tokens", options->max_tokens);
    if (options->extra)
        text_add_f(out, ",%s", options->extra);
    json_out_key(&json, "messages");
    text_add_str(out, "[{\"role\":\"user\",\"content\":\"");
    for (size_t i = 0; i < prompt_bytes; i++)
        text_add_byte(out, "a story "[i % 8]);
    text_add_str(out, "\"}]}");
}

static enum err make_body(const struct load_options *options, struct text *out,
                          struct err_note *out_note)
{
    write_body(options, 1, out);
    size_t shortest = out->len;
    if (options->body_bytes == 0)
        return ERR_OK;
    if (options->body_bytes < shortest)
        return err_note_fail(out_note, ERR_LIMIT, "body-bytes %u: the shortest body has %zu",
                             options->body_bytes, shortest);
    text_clear(out);
    write_body(options, 1 + options->body_bytes - shortest, out);
    return ERR_OK;
}

static enum err read_body(const char *path, struct text *out, struct err_note *out_note)
{
    char piece[4096];
    size_t count;
    FILE *file = fopen(path, "re");
    if (!file)
        return err_note_fail(out_note, ERR_SYSTEM, "body-file %s: %s", path, strerror(errno));
    while ((count = fread(piece, 1, sizeof piece, file)) > 0)
        text_add(out, slice_of(piece, count));
    bool is_bad = ferror(file);
    (void)fclose(file); /* it was only read */
    if (is_bad)
        return err_note_fail(out_note, ERR_SYSTEM, "body-file %s: it cannot be read", path);
    if (text_status(out) != ERR_OK)
        return err_note_fail(out_note, ERR_LIMIT, "body-file %s: more than %d bytes", path,
                             LOAD_BODY_MAX_BYTES);
    return ERR_OK;
}

static void write_head(const struct load_options *options, const char *method, const char *path,
                       struct text *out)
{
    char host[64];
    net_address_format(&options->address, host);
    text_add_f(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host);
    if (options->key)
        text_add_f(out, "Authorization: Bearer %s\r\n", options->key);
    if (options->is_closing)
        text_add_str(out, "Connection: close\r\n");
}

enum err load_request_write(const struct load_options *options, struct text *out,
                            struct err_note *out_note)
{
    struct text body;
    text_init(&body, LOAD_BODY_MAX_BYTES);
    enum err err = options->body_file ? read_body(options->body_file, &body, out_note)
                                      : make_body(options, &body, out_note);
    if (err == ERR_OK) {
        write_head(options, "POST", options->path, out);
        text_add_f(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body.len);
        text_add(out, text_slice(&body));
        err = text_status(out);
    }
    text_fini(&body);
    return err;
}

void load_request_write_get(const struct load_options *options, const char *path, struct text *out)
{
    write_head(options, "GET", path, out);
    text_add_str(out, "\r\n");
}
