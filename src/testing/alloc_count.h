/* alloc_count - how often this program asks for memory: for tests that hold code to a budget. A
 * test that depends on alloc_count_dep is linked with --wrap, so that every malloc, calloc and
 * realloc of ours is counted, and every free; what shared libraries ask for themselves is not. */
#pragma once

/* Counts from here on, whatever thread it is, until the next alloc_count_pause(). */
void alloc_count_resume(void);
void alloc_count_pause(void);
/* How many were counted since the last call, or the start. */
long alloc_count_take(void);
/* Blocks that were asked for and not given back, of all that happened while it counted: what does
 * the same again and again and keeps nothing leaves this as it was. */
long alloc_count_kept(void);
