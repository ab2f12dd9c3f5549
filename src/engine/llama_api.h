/* llama_api - libllama of one pinned release, opened at run time: the program starts without it and
 * says what is missing. Prototypes come from the release's own llama.h; nothing is declared twice.
 *
 * 1. A process has at most one libllama, and keeps it: its libraries cannot be unloaded safely, and
 *    two releases would share their back-ends by name. A failed load leaves none behind.
 * 2. Structs travel by value and nothing in the ABI checks them. So a library is used only if it is
 *    of LLAMA_API_RELEASE, the sizes in our header are that release's (static asserts), and the
 *    defaults it returns have the known values in the known places (the canary).
 * 3. Its log goes to our own at level debug. An error that it reports on a thread is kept for that
 *    thread: see llama_log. If it aborts, its last words are logged at level error.
 * 4. It throws C++ exceptions, which end the process where a C function is the next to catch them.
 *    What loads a model, an adapter or a context, or reads a state, catches its own.
 *    llama_decode() does not: it throws when, after another set of adapters, there is no memory any
 *    more for the compute buffers that it gives back and takes anew (docs/design/027). Nor does
 *    llama_tokenize(), of bytes that are no UTF-8. */
#pragma once

#include "base/slice.h"
#include "engine/llama_api_list.h"

#include <ggml-cpu.h>
#include <llama.h>

#define LLAMA_API_RELEASE "0.5.0"

struct llama_api {
#define LLAMA_API_FIELD(name) __typeof__(&(name)) name;
    LLAMA_API_FUNCTIONS(LLAMA_API_FIELD)
#undef LLAMA_API_FIELD
};

/* The process's library: opened by the first call that succeeds, the same after. Any thread.
 *
 * library_dir: the folder it must be in; NULL: the loader's own places, then the folders of
 * `search` (NULL-terminated; NULL: none). ERR_NOT_FOUND: there is none, or it cannot be loaded (the
 * note tells what was tried, or the loader's reason); ERR_REFUSED: another release, or it is not
 * what its release says (rule 2), or the process already has one from another folder than
 * library_dir. */
MUST_USE enum err llama_api_load(const char *library_dir, const char *const *search,
                                 const struct llama_api **out_api, struct err_note *out_note);

/* "0.5.0" and its own builds ("0.5.0-dev", "0.5.0-12-gabc"), not "0.5.01" or "0.5". */
bool llama_api_release_fits(const char *version);

/* What libllama logs on this thread between begin and end; begin/end do not nest. */
struct llama_log {
    char first_error[256]; /* the cause; the errors after it only say who gave up. "" if none */
    uint64_t
        compute_bytes; /* sum of its compute buffers, which it tells nowhere else (to 10 KiB) */
    bool is_repacked;  /* it has a buffer for weights in another order than the file's */
};
void llama_log_begin(struct llama_log *log);
void llama_log_end(void);
