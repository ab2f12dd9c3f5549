/* table - columns of text for a person. See table.h. */
#include "cli/table.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>

struct table {
    const char *const *columns;
    size_t column_count;
    size_t widths[TABLE_COLUMNS_MAX]; /* in characters */
    struct text *cells;               /* row by row */
    size_t cell_count;
};

static size_t characters(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return count;
}

struct table *table_new(const char *const *columns)
{
    struct table *table = mem_alloc(sizeof(*table));
    table->columns = columns;
    while (columns[table->column_count])
        table->column_count++;
    ASSERT(table->column_count > 0 && table->column_count <= TABLE_COLUMNS_MAX);
    for (size_t i = 0; i < table->column_count; i++)
        table->widths[i] = strlen(columns[i]);
    table->cells = mem_array(TABLE_ROWS_MAX * table->column_count, sizeof(*table->cells));
    return table;
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->cell_count; i++)
        text_fini(&table->cells[i]);
    mem_free(table->cells);
    mem_free(table);
}

static struct slice cut(struct slice cell)
{
    struct slice first = slice_first(cell, TABLE_CELL_MAX_BYTES);
    return first.len < cell.len ? slice_first(first, utf8_settled(first)) : first;
}

void table_add(struct table *table, struct slice cell)
{
    if (table->cell_count == TABLE_ROWS_MAX * table->column_count)
        return;
    size_t column = table->cell_count % table->column_count;
    struct text *text = &table->cells[table->cell_count++];
    bool is_last = column + 1 == table->column_count;
    cell = cell.len || is_last ? cut(cell) : SLICE("-");
    text_init(text, TABLE_CELL_MAX_BYTES);
    for (size_t i = 0; i < cell.len; i++) {
        char byte = cell.data[i];
        text_add_byte(text, (unsigned char)byte < 0x20 || byte == 0x7F ? ' ' : byte);
    }
    size_t width = characters(text_slice(text));
    if (width > table->widths[column])
        table->widths[column] = width;
}

void table_add_f(struct table *table, const char *format, ...)
{
    char cell[TABLE_CELL_MAX_BYTES + 1];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(cell, sizeof(cell), format, args); /* longer: cut, as any cell is */
    va_end(args);
    table_add(table, slice_str(cell));
}

static void write_cell(const struct table *table, size_t column, struct slice cell,
                       struct text *out)
{
    bool is_last = column + 1 == table->column_count;
    text_add(out, cell);
    if (is_last)
        text_add_byte(out, '\n');
    for (size_t i = characters(cell); !is_last && i < table->widths[column] + 2; i++)
        text_add_byte(out, ' ');
}

void table_write(const struct table *table, struct text *out)
{
    for (size_t i = 0; i < table->column_count; i++)
        write_cell(table, i, slice_str(table->columns[i]), out);
    for (size_t i = 0; i < table->cell_count; i++)
        write_cell(table, i % table->column_count, text_slice(&table->cells[i]), out);
}

void table_duration(uint64_t ms, char out[24])
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (i + 1 < ARRAY_COUNT(units) && ms < units[i].ms)
        i++;
    snprintf(out, 24, "%llu %s", (unsigned long long)(ms / units[i].ms), units[i].unit);
}

void table_bytes(uint64_t bytes, char out[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < ARRAY_COUNT(units); unit++)
        value /= 1024;
    snprintf(out, 24, unit < 3 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}
