/* err - names of errors, sentences about them, and dying with a reason. */
#include "base/err.h"

#include "base/slice.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const names[ERR_COUNT] = {
    [ERR_OK] = "ERR_OK",
    [ERR_AGAIN] = "ERR_AGAIN",
    [ERR_FULL] = "ERR_FULL",
    [ERR_CLOSED] = "ERR_CLOSED",
    [ERR_TIMEOUT] = "ERR_TIMEOUT",
    [ERR_CANCELLED] = "ERR_CANCELLED",
    [ERR_LIMIT] = "ERR_LIMIT",
    [ERR_PROTOCOL] = "ERR_PROTOCOL",
    [ERR_NOT_FOUND] = "ERR_NOT_FOUND",
    [ERR_REFUSED] = "ERR_REFUSED",
    [ERR_NO_MEMORY] = "ERR_NO_MEMORY",
    [ERR_SYSTEM] = "ERR_SYSTEM",
};

const char *err_name(enum err err)
{
    return (unsigned)err < ERR_COUNT ? names[err] : "ERR_?";
}

enum err err_note_fail(struct err_note *out_note, enum err err, const char *format, ...)
{
    if (!out_note)
        return err;
    va_list args;
    va_start(args, format);
    int written = vsnprintf(out_note->text, sizeof(out_note->text), format, args);
    va_end(args);
    if (written < 0)
        out_note->text[0] = '\0';
    else if ((size_t)written >= sizeof(out_note->text)) {
        struct slice kept = slice_of(out_note->text, sizeof(out_note->text) - 1);
        out_note->text[utf8_settled(kept)] = '\0';
    }
    return err;
}

void assert_fail(const char *file, int line, const char *function, const char *condition,
                 const char *format, ...)
{
    char state[512] = "";
    if (format) {
        va_list args;
        va_start(args, format);
        vsnprintf(state, sizeof(state), format, args);
        va_end(args);
    }
    /* dprintf and not stdio: the heap or stderr's lock may be what is broken. */
    dprintf(STDERR_FILENO, "%s:%d: %s: broken invariant: %s%s%s\n", file, line, function, condition,
            state[0] ? ": " : "", state);
    abort();
}
