/* llama_api - finds libllama, makes sure that it is the one our header describes, and starts it. */
#include "engine/llama_api.h"

#include "base/log.h"
#include "base/text.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* LLAMA_API_RELEASE on the 64-bit ABIs of x86-64 and arm64; another header fails here. */
_Static_assert(sizeof(struct llama_model_params) == 80, "not the pinned release's llama.h");
_Static_assert(sizeof(struct llama_context_params) == 160, "not the pinned release's llama.h");
_Static_assert(sizeof(struct llama_batch) == 56, "not the pinned release's llama.h");
_Static_assert(sizeof(struct llama_chat_message) == 16, "not the pinned release's llama.h");
_Static_assert(sizeof(struct ggml_threadpool_params) == 528, "not the pinned release's ggml.h");

/* The first is how the prebuilt package names it, also its SONAME; the second is a build of one's
 * own. */
static const char *const library_names[] = {"libllama.v" LLAMA_API_RELEASE ".so", "libllama.so"};

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static bool loaded;               /* under load_lock */
static char loaded_dir[PATH_MAX]; /* under load_lock */
static struct llama_api api;      /* never changes once `loaded` */

static _Thread_local struct llama_log *listening;

void llama_log_begin(struct llama_log *log)
{
    ASSERT(!listening);
    *log = (struct llama_log){0};
    listening = log;
}

void llama_log_end(void)
{
    ASSERT(listening);
    listening = NULL;
}

static void listen_to(struct llama_log *log, enum ggml_log_level level, struct slice line)
{
    static const char compute[] = "compute buffer size =";
    if (level == GGML_LOG_LEVEL_ERROR && !log->first_error[0])
        snprintf(log->first_error, sizeof(log->first_error), SLICE_FMT, SLICE_ARG(line));
    size_t at = slice_find(line, SLICE(compute));
    if (at != SLICE_NPOS && slice_ends_with(line, SLICE(" MiB")))
        log->compute_bytes += (uint64_t)(strtod(line.data + at + strlen(compute), NULL) * 1048576);
    if (slice_find(line, SLICE("CPU_REPACK model buffer size =")) != SLICE_NPOS)
        log->is_repacked = true;
}

static void on_log(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    struct slice line = slice_str(text);
    while (slice_ends_with(line, SLICE("\n")))
        line.len--;
    if (listening)
        listen_to(listening, level, line);
    /* Its own debug lines are a thousand a load; and it draws progress with lone dots. */
    if (line.len > 1 && level != GGML_LOG_LEVEL_DEBUG)
        log_event(LOG_DEBUG, "llama_log", "text=%s", log_quote(line, 1024));
}

static void on_abort(const char *text)
{
    log_event(LOG_ERROR, "llama_abort", "text=%s", log_quote(slice_str(text), 1024));
}

bool llama_api_release_fits(const char *version)
{
    size_t len = strlen(LLAMA_API_RELEASE);
    return strncmp(version, LLAMA_API_RELEASE, len) == 0 &&
           (version[len] == '\0' || version[len] == '-');
}

static bool canary_sings(const struct llama_api *found)
{
    struct llama_model_params model = found->llama_model_default_params();
    struct llama_context_params context = found->llama_context_default_params();
    return model.n_gpu_layers == -1 && model.load_mode == LLAMA_LOAD_MODE_AUTO &&
           !model.progress_callback && !model.kv_overrides && !model.vocab_only &&
           !model.no_alloc && context.n_ctx == 512 && context.n_batch == 2048 &&
           context.n_ubatch == 512 && context.n_seq_max == 1 && context.n_outputs_max == 0 &&
           context.flash_attn_type == LLAMA_FLASH_ATTN_TYPE_AUTO && context.yarn_orig_ctx == 0 &&
           context.type_k == GGML_TYPE_F16 && context.type_v == GGML_TYPE_F16 &&
           !context.abort_callback && context.offload_kqv && context.no_perf && context.swa_full &&
           !context.kv_unified && !context.samplers && context.n_samplers == 0 &&
           !context.ctx_other;
}

/* Rule 2: the release first, for what a symbol means depends on it. */
static enum err check_library(void *handle, const char *dir, struct llama_api *found,
                              struct err_note *out_note)
{
    *(void **)&found->llama_version = dlsym(handle, "llama_version");
    const char *version = found->llama_version ? found->llama_version() : "too old to say";
    if (!llama_api_release_fits(version))
        return err_note_fail(
            out_note, ERR_REFUSED,
            "libllama in %s is of release %s: this program needs " LLAMA_API_RELEASE
            " (tools/setup-engine gets it)",
            dir, log_quote(slice_str(version), 64));
#define LLAMA_API_RESOLVE(name)                                                                    \
    if (!(*(void **)&found->name = dlsym(handle, #name)))                                          \
        return err_note_fail(out_note, ERR_REFUSED, "libllama in %s lacks the function %s", dir,   \
                             #name);
    LLAMA_API_FUNCTIONS(LLAMA_API_RESOLVE)
#undef LLAMA_API_RESOLVE
    if (!canary_sings(found))
        return err_note_fail(out_note, ERR_REFUSED,
                             "libllama in %s says release %s, but its defaults are not that "
                             "release's: its structs may be laid out otherwise",
                             dir, version);
    return ERR_OK;
}

static enum err start_library(const struct llama_api *found, const char *dir,
                              struct err_note *out_note)
{
    found->llama_log_set(on_log, NULL);
    (void)found->ggml_set_abort_callback(on_abort); /* the one before was none */
    found->ggml_backend_load_all_from_path(dir);
    found->llama_backend_init();
    if (found->ggml_backend_dev_count() == 0)
        return err_note_fail(out_note, ERR_NOT_FOUND,
                             "libllama in %s has no back-end for this machine beside it "
                             "(libggml-cpu*.so)",
                             dir);
    return ERR_OK;
}

/* Takes the handle: closes it again unless it is good. */
static enum err adopt_library(void *handle, struct err_note *out_note)
{
    char dir[PATH_MAX];
    struct llama_api found = {0};
    enum err err = ERR_SYSTEM;
    if (dlinfo(handle, RTLD_DI_ORIGIN, dir) == 0)
        err = check_library(handle, dir, &found, out_note);
    if (err == ERR_OK)
        err = start_library(&found, dir, out_note);
    if (err != ERR_OK) {
        dlclose(handle);
        return err;
    }
    api = found;
    snprintf(loaded_dir, sizeof(loaded_dir), "%s", dir);
    loaded = true;
    return ERR_OK;
}

/* ERR_AGAIN: no such file in the folder, look elsewhere. */
static enum err try_folder(const char *dir, struct err_note *out_note)
{
    for (size_t i = 0; i < ARRAY_COUNT(library_names); i++) {
        char path[PATH_MAX];
        int len = snprintf(path, sizeof(path), "%s/%s", dir, library_names[i]);
        if (len < 0 || (size_t)len >= sizeof(path) || access(path, F_OK) != 0)
            continue;
        void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            return err_note_fail(out_note, ERR_NOT_FOUND, "cannot load libllama: %s", dlerror());
        return adopt_library(handle, out_note);
    }
    return ERR_AGAIN;
}

static enum err fail_not_found(const char *const *search, struct err_note *out_note)
{
    struct text tried;
    text_init(&tried, 256);
    for (; search && *search; search++)
        text_add_f(&tried, ", %s", *search);
    enum err err = err_note_fail(
        out_note, ERR_NOT_FOUND,
        "no libllama " LLAMA_API_RELEASE " found; tried the system's loader" SLICE_FMT
        "%s. ./run or tools/setup-engine gets it; or set MILLRACE_ENGINE_DIR to its folder",
        SLICE_ARG(text_slice(&tried)), tried.overflowed ? ", ..." : "");
    text_fini(&tried);
    return err;
}

static enum err find_library(const char *library_dir, const char *const *search,
                             struct err_note *out_note)
{
    if (library_dir) {
        enum err err = try_folder(library_dir, out_note);
        if (err != ERR_AGAIN)
            return err;
        return err_note_fail(out_note, ERR_NOT_FOUND,
                             "no %s and no %s in %s (MILLRACE_ENGINE_DIR); unset it, and ./run or "
                             "tools/setup-engine gets them",
                             library_names[0], library_names[1], library_dir);
    }
    /* Only by its SONAME: other releases of the system must not even be loaded (rule 1). */
    void *handle = dlopen(library_names[0], RTLD_NOW | RTLD_LOCAL);
    if (handle)
        return adopt_library(handle, out_note);
    for (const char *const *dir = search; dir && *dir; dir++) {
        enum err err = try_folder(*dir, out_note);
        if (err != ERR_AGAIN)
            return err;
    }
    return fail_not_found(search, out_note);
}

static bool is_same_folder(const char *a, const char *b)
{
    char real_a[PATH_MAX], real_b[PATH_MAX];
    return realpath(a, real_a) && realpath(b, real_b) && strcmp(real_a, real_b) == 0;
}

static enum err load_once(const char *library_dir, const char *const *search,
                          struct err_note *out_note)
{
    if (!loaded)
        return find_library(library_dir, search, out_note);
    if (library_dir && !is_same_folder(library_dir, loaded_dir))
        return err_note_fail(out_note, ERR_REFUSED,
                             "this process already uses the libllama in %s, and not another in %s",
                             loaded_dir, library_dir);
    return ERR_OK;
}

enum err llama_api_load(const char *library_dir, const char *const *search,
                        const struct llama_api **out_api, struct err_note *out_note)
{
    pthread_mutex_lock(&load_lock);
    enum err err = load_once(library_dir, search, out_note);
    pthread_mutex_unlock(&load_lock);
    if (err == ERR_OK)
        *out_api = &api;
    return err;
}
