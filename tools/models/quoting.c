/* quoting - see quoting.h. What is in x, by column:
 *
 *   0        the same in each token: what a head turns into "so many positions back"
 *   32 ..    five parts, each as wide as a head: the token's code, those of the three before it,
 *            and what was found
 *   others   random
 *
 * The numbers below were chosen so that what decides (one position further, one token of three that
 * differs) is a factor of e^10 and more in attention, and stays that with weights of 4 bits. */
#include "models/quoting.h"

#include "base/err.h"
#include "base/splitmix.h"

#include <math.h>
#include <string.h>

enum {
    PARTS_BEGIN = 32,
    PART_TOKEN = 0, /* PART_TOKEN + n: the token n before it */
    BACK = 3,
    PART_FOUND = BACK + 1,
    PARTS,
    NEAR_PAIRS = 4, /* of a head, that tell how far back */
    READERS = 4, /* each compares other sums: what one takes for the same by chance, three do not */
    CODE_BITS_MAX = 64,
    LAYERS_LEAST = 2,
};
static const float constant = 4, near_weight = 2, kept = 0.4f, compared_weight = 0.2f, found = 0.7f,
                   said = 0.2f, quiet = 0.02f;

static uint32_t head_width(const struct quoting *quoting)
{
    return quoting->width / quoting->heads;
}

static uint32_t part_column(const struct quoting *quoting, uint32_t part)
{
    return PARTS_BEGIN + part * head_width(quoting);
}

bool quoting_fits(const struct quoting *quoting, uint32_t layers)
{
    return layers >= LAYERS_LEAST && quoting->heads >= READERS &&
           head_width(quoting) <= CODE_BITS_MAX && head_width(quoting) % 8 == 0 &&
           part_column(quoting, PARTS) <= quoting->width;
}

/* 64 signs of whatever `what` numbers. */
static uint64_t signs_of(const struct quoting *quoting, uint64_t what)
{
    uint64_t state = quoting->seed ^ what * UINT64_C(0xd1342543de82ef95);
    return splitmix_next(&state);
}

static float sign(uint64_t signs, uint32_t bit)
{
    return signs >> bit & 1 ? 1 : -1;
}

static void put_code(const struct quoting *quoting, uint32_t part, uint64_t signs, float size,
                     float *row)
{
    float *at = row + part_column(quoting, part);
    for (uint32_t bit = 0; bit < head_width(quoting); bit++)
        at[bit] = size * sign(signs, bit);
}

static void clear(float *row, uint32_t count)
{
    memset(row, 0, count * sizeof(*row));
}

/* --- tokens --- */

static void draw_token(const struct quoting *quoting, uint32_t token, float *row)
{
    clear(row + PARTS_BEGIN, PARTS * head_width(quoting));
    row[0] = constant;
    put_code(quoting, PART_TOKEN, signs_of(quoting, token), 1, row);
}

static void draw_output(const struct quoting *quoting, uint32_t token, float *row)
{
    put_code(quoting, PART_FOUND, signs_of(quoting, token), said, row);
}

/* --- the first layer: its head n looks n + 1 positions back --- */

/* Query and key are the same number in each token, turned against each other by as much as so many
 * positions turn them: highest where the key is so many back. */
static void draw_back(const struct quoting *quoting, uint32_t index, float back, float *row)
{
    uint32_t in_head = index % head_width(quoting);
    if (index / head_width(quoting) >= BACK)
        return;
    clear(row, quoting->width);
    if (in_head >= 2 * NEAR_PAIRS)
        return;
    float pair = (float)(in_head / 2);
    float angle = back * powf(QUOTING_ROPE_BASE, -2 * pair / (float)head_width(quoting));
    row[0] = near_weight * (in_head % 2 ? -sinf(angle) : cosf(angle));
}

static void draw_back_query(const struct quoting *quoting, uint32_t index, float *row)
{
    draw_back(quoting, index, (float)(index / head_width(quoting)) + 1, row);
}

static void draw_back_key(const struct quoting *quoting, uint32_t index, float *row)
{
    draw_back(quoting, index, 0, row);
}

/* The code itself, in both layers. */
static void draw_value(const struct quoting *quoting, uint32_t index, uint32_t heads, float *row)
{
    if (index / head_width(quoting) >= heads)
        return;
    clear(row, quoting->width);
    row[part_column(quoting, PART_TOKEN) + index % head_width(quoting)] = 1;
}

static void draw_back_value(const struct quoting *quoting, uint32_t index, float *row)
{
    draw_value(quoting, index, BACK, row);
}

static bool is_in_part(const struct quoting *quoting, uint32_t column, uint32_t part)
{
    return column >= part_column(quoting, part) && column < part_column(quoting, part + 1);
}

static void draw_back_output(const struct quoting *quoting, uint32_t index, float *row)
{
    clear(row, BACK * head_width(quoting));
    for (uint32_t head = 0; head < BACK; head++)
        if (is_in_part(quoting, index, head + 1))
            row[head * head_width(quoting) + index - part_column(quoting, head + 1)] = kept;
}

/* --- the second layer: its first heads compare, and fetch what is behind --- */

/* A random sum of three codes, the same sum of the token at hand and the two before it as of the
 * three before a key: equal where all are. In the part of the head that positions do not turn. */
static void draw_sum(const struct quoting *quoting, uint32_t index, uint32_t first_part, float *row)
{
    if (index / head_width(quoting) >= READERS)
        return;
    clear(row, quoting->width);
    if (index % head_width(quoting) < head_width(quoting) / 4)
        return;
    for (uint32_t part = 0; part < BACK; part++)
        put_code(quoting, first_part + part,
                 signs_of(quoting, UINT32_MAX + (uint64_t)index * BACK + part), compared_weight,
                 row);
}

static void draw_sum_query(const struct quoting *quoting, uint32_t index, float *row)
{
    draw_sum(quoting, index, PART_TOKEN, row);
}

static void draw_sum_key(const struct quoting *quoting, uint32_t index, float *row)
{
    draw_sum(quoting, index, PART_TOKEN + 1, row);
}

static void draw_found_value(const struct quoting *quoting, uint32_t index, float *row)
{
    draw_value(quoting, index, READERS, row);
}

static void draw_found_output(const struct quoting *quoting, uint32_t index, float *row)
{
    clear(row, READERS * head_width(quoting));
    for (uint32_t head = 0; head < READERS; head++)
        if (is_in_part(quoting, index, PART_FOUND))
            row[head * head_width(quoting) + index - part_column(quoting, PART_FOUND)] = found;
}

/* --- which is which --- */

static const struct {
    const char *name;
    void (*draw)(const struct quoting *quoting, uint32_t index, float *row);
} drawn[] = {
    {"token_embd.weight", draw_token},         {"output.weight", draw_output},
    {"blk.0.attn_q.weight", draw_back_query},  {"blk.0.attn_k.weight", draw_back_key},
    {"blk.0.attn_v.weight", draw_back_value},  {"blk.0.attn_output.weight", draw_back_output},
    {"blk.1.attn_q.weight", draw_sum_query},   {"blk.1.attn_k.weight", draw_sum_key},
    {"blk.1.attn_v.weight", draw_found_value}, {"blk.1.attn_output.weight", draw_found_output},
};

static bool writes_into_x(const char *name)
{
    return strstr(name, "attn_output") || strstr(name, "ffn_down");
}

void quoting_row(const struct quoting *quoting, const char *name, uint32_t index, float *row,
                 uint32_t columns)
{
    for (uint32_t i = 0; writes_into_x(name) && i < columns; i++)
        row[i] *= quiet;
    for (size_t i = 0; i < ARRAY_COUNT(drawn); i++)
        if (strcmp(drawn[i].name, name) == 0)
            drawn[i].draw(quoting, index, row);
}
