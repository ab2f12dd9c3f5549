/* table - columns of text for a person: each as wide as its widest cell, two spaces between. Pure.
 */
#pragma once

#include "base/text.h"

enum { TABLE_COLUMNS_MAX = 16, TABLE_ROWS_MAX = 1024, TABLE_CELL_MAX_BYTES = 512 };

struct table;
/* NULL-terminated names of the columns. */
struct table *table_new(const char *const *columns);
void table_free(struct table *table); /* NULL is fine */
/* The next cell, row by row. Control bytes become spaces, a longer one is cut; empty: "-" (so that
 * every row has as many words), but in the last column nothing. More rows than TABLE_ROWS_MAX are
 * dropped. */
void table_add(struct table *table, struct slice cell);
void table_add_f(struct table *table, const char *format, ...) PRINTF_LIKE(2, 3);
void table_write(const struct table *table, struct text *out);

/* "812 ms", "42 s", "3 min", "5 h", "12 d": how long something runs. */
void table_duration(uint64_t ms, char out[24]);
/* "0 B", "812 KiB", "1.5 GiB". */
void table_bytes(uint64_t bytes, char out[24]);
