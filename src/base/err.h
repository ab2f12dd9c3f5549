/* err - the one error type, and the one way to die.
 *
 * A peer did something (bad bytes, hung up, asked too much): an `enum err`, handled by the caller.
 * We did something (a broken invariant): ASSERT, always compiled in. A peer can never reach one.
 * A function logs or returns an error, never both; folders up to bus and engine only return. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Comes first in a declaration. This form, not gcc's warn_unused_result: it alone lets a visible
 * `(void)call(); // why` ignore the result. */
#define MUST_USE [[nodiscard]]
#define PRINTF_LIKE(format_index, first_index)                                                     \
    __attribute__((format(printf, format_index, first_index)))

enum err {
    ERR_OK = 0,
    ERR_AGAIN,     /* nothing now; ask again after an event */
    ERR_FULL,      /* a bounded queue or buffer has no room; nothing was taken */
    ERR_CLOSED,    /* the other side, or this object, is already closed */
    ERR_TIMEOUT,   /* a deadline passed */
    ERR_CANCELLED, /* someone asked for it to stop */
    ERR_LIMIT,     /* the peer asked for more than a limit allows */
    ERR_PROTOCOL,  /* the peer's bytes are not what the protocol says */
    ERR_NOT_FOUND, /* no such thing */
    ERR_REFUSED,   /* understood, and not done */
    ERR_NO_MEMORY, /* an engine or accelerator is out of memory */
    ERR_SYSTEM,    /* the operating system said no; see errno or the note */
    ERR_COUNT
};

/* "ERR_OK" ... ; never NULL, "ERR_?" for a value outside the enum. */
const char *err_name(enum err err);

/* Returns from the calling function on any error: the only macro that does. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        enum err try_err_ = (expr);                                                                \
        if (try_err_ != ERR_OK)                                                                    \
            return try_err_;                                                                       \
    } while (0)

/* A sentence for a human, filled where the failure is understood (start-up, config, parsers of
 * request bodies): what, where, and the allowed range. Longer text is cut at a whole character. */
struct err_note {
    char text[512];
};

/* Writes the sentence and returns `err`, so that a failure reads
 * `return err_note_fail(out_note, ERR_LIMIT, "port %d: allowed are 0..65535", port);`
 * out_note may be NULL. */
MUST_USE enum err err_note_fail(struct err_note *out_note, enum err err, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Aborts after printing the place and the broken invariant to stderr. */
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            assert_fail(__FILE__, __LINE__, __func__, #cond, NULL);                                \
    } while (0)
/* The same, with the object's state in words: ASSERT_MSG(ok, "state %s", name). */
#define ASSERT_MSG(cond, ...)                                                                      \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            assert_fail(__FILE__, __LINE__, __func__, #cond, __VA_ARGS__);                         \
    } while (0)

_Noreturn void assert_fail(const char *file, int line, const char *function, const char *condition,
                           const char *format, ...) PRINTF_LIKE(5, 6);

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
