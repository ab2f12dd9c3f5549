/* make_model - writes a model of random weights (random_model.h), or an adapter (random_lora.h). */
#include "models/random_lora.h"
#include "models/random_model.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: make_model [--kind KIND] [--size SIZE] [--type TYPE] [--quotes] [--seed N]\n"
    "                  [--vocabulary FILE] OUT.gguf\n"
    "       make_model --lora-for MODEL.gguf [--seed N] OUT.gguf\n"
    "\n"
    "--kind KIND        llama, recurrent, hybrid, window, embedding, rerank\n"
    "--size SIZE        tiny; of llama also 15m, 110m\n"
    "--type TYPE        of the matrices: f32, f16, q8_0, q4_0\n"
    "--quotes           llama of 15m or 110m: what it says is what stood before\n"
    "--seed N           0..2^64-1\n"
    "--vocabulary FILE  the GGUF file whose tokenizer it gets\n"
    "--lora-for FILE    a LoRA adapter for this model, instead of a model\n"
    "\n"
    "The defaults: --kind llama --size tiny --type q8_0 --seed 1 and the shipped model's.\n";

enum {
    OPTION_KIND,
    OPTION_SIZE,
    OPTION_TYPE,
    OPTION_QUOTES,
    OPTION_SEED,
    OPTION_VOCABULARY,
    OPTION_LORA
};

static const struct option long_options[] = {
    {"kind", required_argument, NULL, OPTION_KIND},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"type", required_argument, NULL, OPTION_TYPE},
    {"quotes", no_argument, NULL, OPTION_QUOTES},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"vocabulary", required_argument, NULL, OPTION_VOCABULARY},
    {"lora-for", required_argument, NULL, OPTION_LORA},
    {0},
};

static const struct {
    const char *name;
    enum gguf_tensor_type type;
} types[] = {{"f32", GGUF_TENSOR_F32},
             {"f16", GGUF_TENSOR_F16},
             {"q8_0", GGUF_TENSOR_Q8_0},
             {"q4_0", GGUF_TENSOR_Q4_0}};

_Noreturn static void die_of_usage(void)
{
    fputs(usage, stderr);
    exit(2);
}

_Noreturn static void die_of_value(const char *option)
{
    fprintf(stderr, "make_model: --%s %s is not one of its values\n\n", option, optarg);
    die_of_usage();
}

static int index_in(const char *const *names, int count, const char *option)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], optarg) == 0)
            return i;
    die_of_value(option);
}

static enum gguf_tensor_type type_named(void)
{
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        if (strcmp(types[i].name, optarg) == 0)
            return types[i].type;
    die_of_value("type");
}

/* *out_base: what an adapter is wanted for. */
static struct random_model parse_options(int argc, char **argv, const char **out_base)
{
    struct random_model model = {
        .type = GGUF_TENSOR_Q8_0, .seed = 1, .vocabulary = SOURCE_ROOT "/models/nano.gguf"};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (option == OPTION_KIND)
            model.kind = (enum random_kind)index_in(random_kind_names, RANDOM_KIND_COUNT, "kind");
        else if (option == OPTION_SIZE)
            model.size = (enum random_size)index_in(random_size_names, RANDOM_SIZE_COUNT, "size");
        else if (option == OPTION_TYPE)
            model.type = type_named();
        else if (option == OPTION_QUOTES)
            model.quotes = true;
        else if (option == OPTION_VOCABULARY)
            model.vocabulary = optarg;
        else if (option == OPTION_LORA)
            *out_base = optarg;
        else if (option != OPTION_SEED)
            die_of_usage();
        else if (slice_parse_u64(slice_str(optarg), UINT64_MAX, &model.seed) != ERR_OK)
            die_of_value("seed");
    }
    return model;
}

int main(int argc, char **argv)
{
    const char *base = NULL;
    struct random_model model = parse_options(argc, argv, &base);
    if (argc - optind != 1)
        die_of_usage();
    struct err_note note = {{0}};
    struct random_lora lora = random_lora_default(base);
    lora.seed = model.seed;
    enum err err = base ? random_lora_write(&lora, argv[optind], &note)
                        : random_model_write(&model, argv[optind], &note);
    if (err == ERR_OK)
        return 0;
    fprintf(stderr, "make_model: %s\n", note.text);
    return 1;
}
