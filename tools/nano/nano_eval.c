/* nano_eval - examines a model in what it was taught and prints the table of the gates.
 *
 *     nano_eval MODEL.gguf [--cases N] [--family NAME] [--show-wrong] [--json FILE]
 *               [--gates FILE] [--seed N] [--threads N]
 *
 * Exit status: 0 all gates passed; 1 one is not, or something failed; 2 wrong arguments; 77 there
 * is no engine to run the model (meson calls that skipped). */
#include "nano/answer_llama.h"
#include "nano/exam.h"
#include "nano/file.h"

#include <stdlib.h>
#include <time.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SKIPPED = 77, RECORDS_BYTES_MAX = 64 * 1024 };
enum { SEED = 5, THREADS = 2, THREADS_MAX = 64, CASES_MAX = 100000 };

struct arguments {
    const char *model, *json, *gates;
    struct exam_options exam;
    uint64_t threads;
    bool shows_wrong;
};

static int usage(const char *problem, const char *argument)
{
    fprintf(stderr, "nano_eval: %s%s\n", problem, argument);
    fprintf(stderr, "usage: nano_eval MODEL.gguf [--cases N] [--family NAME] [--show-wrong] "
                    "[--json FILE]\n                 [--gates FILE] [--seed N] [--threads N]\n");
    return EXIT_USAGE;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *out_number)
{
    return text && slice_parse_u64(slice_str(text), max, out_number) == ERR_OK;
}

static bool parse_family(const char *name, const struct family **out_family)
{
    for (size_t i = 0; name && i < FAMILY_COUNT; i++) {
        if (strcmp(families[i]->name, name) == 0) {
            *out_family = families[i];
            return true;
        }
    }
    return false;
}

static bool parse_path(const char *text, const char **out_path)
{
    *out_path = text;
    return text != NULL;
}

/* False: the option's value is missing or wrong. */
static bool parse_option(const char *name, const char *value, struct arguments *arguments)
{
    uint64_t cases;
    if (strcmp(name, "--json") == 0)
        return parse_path(value, &arguments->json);
    if (strcmp(name, "--gates") == 0)
        return parse_path(value, &arguments->gates);
    if (strcmp(name, "--family") == 0)
        return parse_family(value, &arguments->exam.family);
    if (strcmp(name, "--seed") == 0)
        return parse_number(value, UINT64_MAX, &arguments->exam.seed);
    if (strcmp(name, "--threads") == 0)
        return parse_number(value, THREADS_MAX, &arguments->threads) && arguments->threads > 0;
    if (strcmp(name, "--cases") == 0 && parse_number(value, CASES_MAX, &cases) && cases > 0) {
        arguments->exam.cases = (size_t)cases;
        return true;
    }
    return false;
}

static int parse(int argc, char **argv, struct arguments *out)
{
    *out = (struct arguments){.exam.seed = SEED, .threads = THREADS};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--show-wrong") == 0) {
            out->shows_wrong = true;
        } else if (argv[i][0] == '-') {
            if (!parse_option(argv[i], i + 1 < argc ? argv[i + 1] : NULL, out))
                return usage("unknown option, or its value is missing or wrong: ", argv[i]);
            i++;
        } else if (out->model) {
            return usage("more than one model: ", argv[i]);
        } else {
            out->model = argv[i];
        }
    }
    return out->model ? 0 : usage("no model", "");
}

static enum err read_records(const char *path, struct exam_records *out_records,
                             struct err_note *out_note)
{
    *out_records = (struct exam_records){0};
    if (!path)
        return ERR_OK;
    struct text text;
    text_init(&text, RECORDS_BYTES_MAX);
    enum err err = file_read(path, &text, out_note);
    if (err == ERR_OK)
        err = exam_records_read(text_slice(&text), out_records, out_note);
    text_fini(&text);
    return err;
}

static enum err write_json(const char *path, const struct exam *exam,
                           const struct exam_records *records, struct err_note *out_note)
{
    struct text json;
    text_init(&json, RECORDS_BYTES_MAX);
    exam_add_json(exam, records, &json);
    text_add_byte(&json, '\n');
    ASSERT(text_status(&json) == ERR_OK);
    struct slice part = text_slice(&json);
    enum err err = file_write(path, &part, 1, out_note);
    text_fini(&json);
    return err;
}

static double seconds_since(const struct timespec *begin)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) * 1e-9;
}

static enum err examine(const struct arguments *arguments, struct answer_llama *answer,
                        bool *out_passes, struct err_note *out_note)
{
    struct exam_records records;
    struct timespec begin;
    TRY(read_records(arguments->gates, &records, out_note));
    clock_gettime(CLOCK_MONOTONIC, &begin);
    struct exam *exam = exam_new(&arguments->exam);
    enum err err = exam_sit(exam, answer_llama_all, answer, out_note);
    if (err == ERR_OK) {
        struct answer_llama_cost cost = answer_llama_cost(answer);
        exam_judge(exam, arguments->shows_wrong ? stdout : NULL);
        exam_print(exam, &records, stdout);
        printf("%zu cases, %llu tokens asked, %llu answered, %llu steps, %.1f s\n", exam->count,
               (unsigned long long)cost.prompt_tokens, (unsigned long long)cost.answer_tokens,
               (unsigned long long)cost.steps, seconds_since(&begin));
        if (cost.too_long)
            printf("%llu prompts do not fit the model's context: counted as wrong\n",
                   (unsigned long long)cost.too_long);
        *out_passes = exam_passes(exam, &records);
        if (arguments->json)
            err = write_json(arguments->json, exam, &records, out_note);
    }
    exam_free(exam);
    return err;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct answer_llama *answer = NULL;
    struct err_note note = {{0}};
    bool passes = false;
    int status = parse(argc, argv, &arguments);
    if (status != 0)
        return status;
    enum err err = answer_llama_open(arguments.model, (unsigned)arguments.threads, &answer, &note);
    if (err == ERR_NOT_FOUND) {
        printf("skipped: %s\n", note.text);
        return EXIT_SKIPPED;
    }
    if (err == ERR_OK)
        err = examine(&arguments, answer, &passes, &note);
    answer_llama_close(&answer);
    if (err != ERR_OK)
        fprintf(stderr, "nano_eval: %s\n", note.text);
    return err == ERR_OK && passes ? EXIT_SUCCESS : EXIT_FAILED;
}
