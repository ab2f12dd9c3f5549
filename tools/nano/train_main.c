/* nano_train - makes a model, a step at a time (tools/nano/make runs them all). */
#include "nano/train.h"

#include "base/slice.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: nano_train learn TOKENIZER [--vocab N]\n"
    "       nano_train count TOKENIZER\n"
    "       nano_train train TOKENIZER CHECKPOINT [--steps N] [--rows N] [--stop-at N]\n"
    "                        [--threads N]\n"
    "       nano_train export TOKENIZER CHECKPOINT TEMPLATE MODEL.gguf\n"
    "\n"
    "learn    learns the tokenizer from documents of training\n"
    "count    prints how long the documents of each kind are\n"
    "train    trains, going on from CHECKPOINT when it is there\n"
    "export   writes CHECKPOINT as llama.cpp reads it, at Q8_0, with the chat template\n"
    "\n"
    "--vocab N     tokens: a multiple of 32, 288..4096\n"
    "--steps N     of the whole training, 1..1000000: the schedule depends on it\n"
    "--rows N      of 512 tokens a step, at the end: 1..1024\n"
    "--stop-at N   ends after step N, with a checkpoint\n"
    "--threads N   1..64; the model does not depend on it\n";

enum { OPTION_VOCAB, OPTION_STEPS, OPTION_ROWS, OPTION_STOP_AT, OPTION_THREADS };

static const struct option long_options[] = {
    {"vocab", required_argument, NULL, OPTION_VOCAB},
    {"steps", required_argument, NULL, OPTION_STEPS},
    {"rows", required_argument, NULL, OPTION_ROWS},
    {"stop-at", required_argument, NULL, OPTION_STOP_AT},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {0},
};

_Noreturn static void die_of_usage(void)
{
    fputs(usage, stderr);
    exit(2);
}

static uint32_t number(const char *name, uint64_t least, uint64_t most)
{
    uint64_t value;
    if (slice_parse_u64(slice_str(optarg), most, &value) == ERR_OK && value >= least)
        return (uint32_t)value;
    fprintf(stderr, "nano_train: --%s %s: allowed are %llu..%llu\n", name, optarg,
            (unsigned long long)least, (unsigned long long)most);
    exit(2);
}

static struct train_options parse_options(int argc, char **argv)
{
    struct train_options options = {.threads = 2};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (option == OPTION_VOCAB)
            options.vocab = number("vocab", 288, 4096);
        else if (option == OPTION_STEPS)
            options.steps = number("steps", 1, 1000000);
        else if (option == OPTION_ROWS)
            options.rows = number("rows", 1, 1024);
        else if (option == OPTION_STOP_AT)
            options.stop_at = number("stop-at", 1, 1000000);
        else if (option == OPTION_THREADS)
            options.threads = number("threads", 1, 64);
        else
            die_of_usage();
    }
    return options;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int paths;
        enum err (*run)(const struct train_options *options, struct err_note *out_note);
    } commands[] = {{"learn", 1, train_learn},
                    {"count", 1, train_count},
                    {"train", 2, train_train},
                    {"export", 4, train_export}};
    struct train_options options = parse_options(argc, argv);
    const char *name = optind < argc ? argv[optind] : "";
    int paths = argc - optind - 1;
    options.tokenizer_path = paths > 0 ? argv[optind + 1] : NULL;
    options.checkpoint_path = paths > 1 ? argv[optind + 2] : NULL;
    options.template_path = paths > 2 ? argv[optind + 3] : NULL;
    options.model_path = paths > 3 ? argv[optind + 4] : NULL;
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        if (strcmp(name, commands[i].name) != 0 || paths != commands[i].paths)
            continue;
        struct err_note note = {{0}};
        if (commands[i].run(&options, &note) == ERR_OK)
            return 0;
        fprintf(stderr, "nano_train: %s\n", note.text);
        return 1;
    }
    die_of_usage();
}
