/* load_request - see load_request.h. */
#include "load_request.h"

#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>

enum { HEAD_MAX_BYTES = 16 << 10 }; /* the longest options fit */

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

static enum err read_body(const char *option, const char *path, struct text *out,
                          struct err_note *out_note)
{
    char piece[4096];
    size_t count;
    FILE *file = fopen(path, "re");
    if (!file)
        return err_note_fail(out_note, ERR_SYSTEM, "%s %s: %s", option, path, strerror(errno));
    while ((count = fread(piece, 1, sizeof piece, file)) > 0)
        text_add(out, slice_of(piece, count));
    bool is_bad = ferror(file);
    (void)fclose(file); /* it was only read */
    if (is_bad)
        return err_note_fail(out_note, ERR_SYSTEM, "%s %s: it cannot be read", option, path);
    if (text_status(out) != ERR_OK)
        return err_note_fail(out_note, ERR_LIMIT, "%s %s: more than %d bytes", option, path,
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

static enum err write_post(const struct load_options *options, struct slice body, struct text *out)
{
    write_head(options, "POST", options->path, out);
    text_add_f(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body.len);
    text_add(out, body);
    return text_status(out);
}

enum err load_request_write(const struct load_options *options, struct text *out,
                            struct err_note *out_note)
{
    struct text body;
    text_init(&body, LOAD_BODY_MAX_BYTES);
    enum err err = options->body_file ? read_body("body-file", options->body_file, &body, out_note)
                                      : make_body(options, &body, out_note);
    if (err == ERR_OK)
        err = write_post(options, text_slice(&body), out);
    text_fini(&body);
    return err;
}

/* --- many --- */

static enum err add_request(const struct load_options *options, struct slice body,
                            struct load_requests *requests, struct err_note *out_note)
{
    if (requests->count == LOAD_REQUESTS_MAX)
        return err_note_fail(out_note, ERR_LIMIT, "bodies %s: more than %d lines", options->bodies,
                             LOAD_REQUESTS_MAX);
    if (body.len < 2 || body.data[0] != '{' || body.data[body.len - 1] != '}')
        return err_note_fail(out_note, ERR_PROTOCOL, "bodies %s: line %u is no object",
                             options->bodies, requests->count + 1);
    struct text *text = &requests->texts[requests->count++];
    text_init(text, body.len + HEAD_MAX_BYTES);
    return write_post(options, body, text);
}

static enum err add_lines(const struct load_options *options, struct slice lines,
                          struct load_requests *requests, struct err_note *out_note)
{
    while (lines.len > 0) {
        struct slice line;
        (void)slice_cut(lines, '\n', &line, &lines); /* the last one may do without */
        TRY(add_request(options, line, requests, out_note));
    }
    if (requests->count == 0)
        return err_note_fail(out_note, ERR_LIMIT, "bodies %s: no lines", options->bodies);
    return ERR_OK;
}

enum err load_requests_read(const struct load_options *options, struct load_requests *out_requests,
                            struct err_note *out_note)
{
    struct load_requests requests = {.texts = mem_array(LOAD_REQUESTS_MAX, sizeof *requests.texts)};
    struct text lines;
    text_init(&lines, LOAD_BODY_MAX_BYTES);
    enum err err = read_body("bodies", options->bodies, &lines, out_note);
    if (err == ERR_OK)
        err = add_lines(options, text_slice(&lines), &requests, out_note);
    text_fini(&lines);
    if (err == ERR_OK)
        *out_requests = requests;
    else
        load_requests_free(&requests);
    return err;
}

struct slice load_requests_next(struct load_requests *requests)
{
    uint32_t at = requests->next++ % requests->count;
    return text_slice(&requests->texts[at]);
}

void load_requests_free(struct load_requests *requests)
{
    for (uint32_t i = 0; i < requests->count; i++)
        text_fini(&requests->texts[i]);
    mem_free(requests->texts);
    *requests = (struct load_requests){0};
}

void load_request_write_get(const struct load_options *options, const char *path, struct text *out)
{
    write_head(options, "GET", path, out);
    text_add_str(out, "\r\n");
}
