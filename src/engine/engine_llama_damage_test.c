/* Model files that are cut, spoiled or lie, opened in a child that may refuse or die but not hang:
 * the worker is a process of its own for that reason. */
#include "testing/test.h"
#include "engine/engine_llama_test_open.h"

#include "base/mem.h"
#include "engine/gguf.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CHILD_ANSWERED = 10, /* it opened the file and decoded a token */
    CHILD_REFUSED,       /* ERR_PROTOCOL or ERR_NO_MEMORY, with a sentence */
    CHILD_FAILED,        /* anything else */
    CHILD_LIMIT_S = 30,
    NUMBERS_BYTES = 900, /* of the header's beginning, where most of its numbers are */
};

/* Before ggml is loaded: when it dies it would otherwise start a debugger, and wait for it. */
static void need_library(void)
{
    CHECK_EQ(setenv("GGML_NO_BACKTRACE", "1", 1), 0);
    (void)options_default(); /* skips the test without a library */
}

static struct slice read_model(void)
{
    struct stat status;
    int fd = open(model_path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &status), 0);
    char *bytes = mem_alloc((size_t)status.st_size);
    CHECK_EQ(read(fd, bytes, (size_t)status.st_size), status.st_size);
    close(fd);
    return slice_of(bytes, (size_t)status.st_size);
}

static size_t header_bytes(struct slice model)
{
    struct gguf_summary summary;
    CHECK_OK(gguf_check(model, model.len, &summary, NULL));
    return (size_t)summary.data_offset;
}

/* A file in memory only; the path lives as long as the descriptor. */
static int file_of(struct slice bytes, char path[64])
{
    int fd = memfd_create("model", 0);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static enum err open_path(const char *path, struct engine **engine, struct err_note *note)
{
    struct engine_llama_options options = options_default();
    options.model_path = path;
    options.slots = 2;
    return engine_llama_open(&options, NULL, NULL, engine, note);
}

static int try_model(const char *path)
{
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    enum err err = open_path(path, &engine, &note);
    if (err == ERR_PROTOCOL || err == ERR_NO_MEMORY)
        return note.text[0] ? CHILD_REFUSED : CHILD_FAILED;
    if (err != ERR_OK)
        return CHILD_FAILED;
    struct engine_row row = {.wants_logits = true};
    err = engine_decode(engine, &row, 1);
    engine_close(&engine);
    return err == ERR_OK ? CHILD_ANSWERED : CHILD_FAILED;
}

/* How the child ended: one of the above, or minus the signal (its own or a sanitizer's) that ended
 * it. */
static int outcome_of(struct slice bytes)
{
    char path[64];
    int fd = file_of(bytes, path), status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        alarm(CHILD_LIMIT_S);
        _exit(try_model(path));
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    close(fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(whole_model_answers)
{
    need_library();
    struct slice model = read_model();
    CHECK_EQ(outcome_of(model), CHILD_ANSWERED);
    mem_free((void *)model.data);
}

TEST(cut_model_is_refused_at_any_length)
{
    need_library();
    struct slice model = read_model();
    size_t header = header_bytes(model);
    uint64_t seed = 1;
    for (int i = 0; i < 40; i++) {
        size_t len = test_random(&seed) % (i % 2 ? header : model.len);
        CHECK_EQ(outcome_of(slice_first(model, len)), CHILD_REFUSED);
    }
    CHECK_EQ(outcome_of(slice_first(model, 0)), CHILD_REFUSED);
    CHECK_EQ(outcome_of(slice_first(model, model.len - 1)), CHILD_REFUSED);
    mem_free((void *)model.data);
}

TEST(garbage_is_refused)
{
    need_library();
    uint64_t seed = 1;
    for (int i = 0; i < 10; i++) {
        char bytes[4096];
        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (char)test_random(&seed);
        if (i % 2)
            memcpy(bytes, "GGUF\3\0\0\0", 8);
        CHECK_EQ(outcome_of(slice_of(bytes, sizeof(bytes))), CHILD_REFUSED);
    }
}

TEST(lying_header_does_not_hang_the_engine)
{
    need_library();
    struct slice model = read_model();
    char *bytes = mem_alloc(model.len);
    size_t header = header_bytes(model);
    for (uint64_t round = 1; round <= 60; round++) {
        uint64_t seed = round;
        memcpy(bytes, model.data, model.len);
        for (uint64_t i = 0; i < round % 4 + 1; i++) {
            size_t at = test_random(&seed) % (round % 3 ? NUMBERS_BYTES : header);
            bytes[at] = (char)test_random(&seed);
        }
        int outcome = outcome_of(slice_of(bytes, model.len));
        if (outcome == -SIGALRM)
            CHECK_EQ(round, 0); /* prints the round that hung */
    }
    mem_free(bytes);
    mem_free((void *)model.data);
}

static void check_refused_after(struct slice model, const char *from, const char *to,
                                const char *why)
{
    char path[64], *bytes = mem_alloc(model.len);
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    memcpy(bytes, model.data, model.len);
    size_t at = slice_find(model, slice_str(from));
    CHECK(at != SLICE_NPOS);
    memcpy(bytes + at, to, strlen(to));
    int fd = file_of(slice_of(bytes, model.len), path);
    CHECK_ERR(open_path(path, &engine, &note), ERR_PROTOCOL);
    if (!strstr(note.text, why))
        CHECK_STR(note.text, why);
    close(fd);
    mem_free(bytes);
}

TEST(reason_of_libllama_is_passed_on)
{
    need_library();
    struct slice model = read_model();
    check_refused_after(model, "blk.1.attn_q", "blk.9", "tensor 'blk.1.attn_q.weight' not found");
    check_refused_after(model, "qwen2", "qwenX", "unknown pre-tokenizer type");
    mem_free((void *)model.data);
}
