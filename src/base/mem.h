/* mem - memory, by who chose its size.
 * Any thread. */
#pragma once

#include "base/err.h"

/* Size chosen by us: aborts the process when there is none, so it is never NULL. Zeroed. */
void *mem_alloc(size_t bytes);
void *mem_array(size_t count, size_t item_bytes); /* also aborts on overflow of the product */
void *mem_grow(void *pointer, size_t bytes);      /* realloc; new bytes are not zeroed */

/* Size chosen by a peer, already checked against a limit: NULL when there is none. Not zeroed. */
MUST_USE void *mem_peer_alloc(size_t bytes);
MUST_USE void *mem_peer_grow(void *pointer, size_t bytes);

void mem_free(void *pointer); /* NULL is fine */
/* What was freed goes back to the system as far as it can; the allocator keeps it otherwise, for
 * good where much was many small pieces. Takes milliseconds: not on a loop. */
void mem_give_back(void);
/* From now on what is freed of blocks of 16 MiB and more goes back at once. By itself the allocator
 * learns from the first such block to keep up to 32 MiB among its small ones (13 MiB, for good, of
 * a loaded 110m Q4_0). Of the whole process. */
void mem_give_back_large(void);

/* Tests only: the nth peer-sized allocation of this thread from now on fails, once (1 = the next);
 * 0 switches it off. mem_peer_count() tells how many this thread has made. */
void mem_test_fail_nth(uint64_t nth);
uint64_t mem_peer_count(void);
