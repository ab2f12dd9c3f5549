/* nano_sample - prints documents, for people who want to read what the model is taught, and for the
 * test that holds them to the chat template. */
#include "nano/family.h"

#include "base/json.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: nano_sample [--seed N] [--count N] [--test] [--json] [FAMILY]\n"
    "\n"
    "FAMILY      one of those below; without it they come by their shares in training\n"
    "--seed N    0..2^63-1 (1)\n"
    "--count N   so many documents, 1..1000000 (10)\n"
    "--test      the examination's, not training's (with a FAMILY)\n"
    "--json      an object per line: family, kind, messages, tools, needles, text\n"
    "\n"
    "families:";

enum { OPTION_SEED, OPTION_COUNT, OPTION_TEST, OPTION_JSON };

static const struct option long_options[] = {
    {"seed", required_argument, NULL, OPTION_SEED},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"test", no_argument, NULL, OPTION_TEST},
    {"json", no_argument, NULL, OPTION_JSON},
    {0},
};

struct options {
    uint64_t seed, count;
    bool is_test, is_json;
    const struct family *family; /* NULL: all */
};

_Noreturn static void die_of_usage(void)
{
    fputs(usage, stderr);
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        fprintf(stderr, " %s", families[i]->name);
    fputs("\n", stderr);
    exit(2);
}

static uint64_t number(const char *name, uint64_t least, uint64_t most)
{
    uint64_t value;
    if (slice_parse_u64(slice_str(optarg), most, &value) == ERR_OK && value >= least)
        return value;
    fprintf(stderr, "nano_sample: --%s %s: allowed are %llu..%llu\n", name, optarg,
            (unsigned long long)least, (unsigned long long)most);
    exit(2);
}

static const struct family *family_named(const char *name)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        if (strcmp(families[i]->name, name) == 0)
            return families[i];
    }
    die_of_usage();
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.seed = 1, .count = 10};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (option == OPTION_SEED)
            options.seed = number("seed", 0, INT64_MAX);
        else if (option == OPTION_COUNT)
            options.count = number("count", 1, 1000000);
        else if (option == OPTION_TEST)
            options.is_test = true;
        else if (option == OPTION_JSON)
            options.is_json = true;
        else
            die_of_usage();
    }
    if (argc - optind > 1)
        die_of_usage();
    if (optind < argc)
        options.family = family_named(argv[optind]);
    if (options.is_test && !options.family)
        die_of_usage();
    return options;
}

/* Training's documents of one family alone: those of the others are passed over. */
static const struct family *next(struct sample *sample, const struct options *options,
                                 uint64_t *index)
{
    if (options->is_test) {
        family_examine(sample, options->family, options->seed, (*index)++);
        return options->family;
    }
    const struct family *family;
    do
        family = family_draw(sample, options->seed, (*index)++);
    while (options->family && family != options->family);
    return family;
}

static void add_messages(struct json_out *json, const struct sample *sample)
{
    static const char *const roles[] = {[SPEAKER_SYSTEM] = "system",
                                        [SPEAKER_USER] = "user",
                                        [SPEAKER_ASSISTANT] = "assistant",
                                        [SPEAKER_TOOL] = "tool"};
    json_out_key(json, "messages");
    json_out_begin_array(json);
    for (size_t i = 0; i < sample->turn_count; i++) {
        json_out_begin_object(json);
        json_out_add_string(json, "role", slice_str(roles[sample->turns[i].speaker]));
        json_out_add_string(json, "content", sample_text(sample, i));
        json_out_end_object(json);
    }
    json_out_end_array(json);
}

/* Each is a line of JSON already. */
static void add_tools(struct json_out *json, const struct sample *sample)
{
    struct slice rest = slice_of(sample->bytes.data + sample->tools_begin, sample->tools_bytes);
    json_out_key(json, "tools");
    json_out_begin_array(json);
    while (rest.len > 0) {
        struct slice line;
        slice_cut(rest, '\n', &line, &rest);
        json_out_raw(json, line);
    }
    json_out_end_array(json);
}

static void add_needles(struct json_out *json, const struct sample *sample)
{
    json_out_key(json, "needles");
    json_out_begin_array(json);
    for (size_t i = 0; i < sample->needle_count; i++)
        json_out_string(json, sample_needle(sample, i));
    json_out_end_array(json);
}

static void print_json(const struct family *family, const struct sample *sample,
                       const struct rendering *rendering, struct text *line)
{
    text_clear(line);
    struct json_out json = json_out_to(line);
    json_out_begin_object(&json);
    json_out_add_string(&json, "family", slice_str(family->name));
    json_out_add_u64(&json, "kind", sample->kind);
    add_messages(&json, sample);
    add_tools(&json, sample);
    add_needles(&json, sample);
    json_out_add_string(&json, "text", text_slice(&rendering->text));
    json_out_end_object(&json);
    ASSERT(text_status(line) == ERR_OK);
    printf(SLICE_FMT "\n", SLICE_ARG(text_slice(line)));
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    struct sample sample;
    struct rendering rendering;
    struct text line;
    sample_init(&sample);
    rendering_init(&rendering);
    text_init(&line, 16 * SAMPLE_BYTES_MAX); /* escapes make bytes longer */
    uint64_t index = 0;
    for (uint64_t i = 0; i < options.count; i++) {
        const struct family *family = next(&sample, &options, &index);
        sample_render(&sample, &rendering);
        if (options.is_json)
            print_json(family, &sample, &rendering, &line);
        else
            printf("--- %s, kind %u\n" SLICE_FMT, family->name, sample.kind,
                   SLICE_ARG(text_slice(&rendering.text)));
    }
    text_fini(&line);
    rendering_fini(&rendering);
    sample_fini(&sample);
    return fflush(stdout) == 0 ? 0 : 1;
}
