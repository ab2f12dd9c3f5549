/* step_cost - a table of widths and a line, both learned in steps whose influence is bounded. */
#include "worker/step_cost.h"

#include <math.h>
#include <string.h>

/* The line's inputs are scaled so that all terms are of the order of a step of some milliseconds:
 * 64 prompt rows, 16 decode rows, 64 Ki pairs. */
#define DECODE_UNIT 16.0
#define PROMPT_UNIT 64.0
#define PAIR_UNIT   65536.0
enum { FIXED, DECODE_ROWS, PROMPT_ROWS, PAIRS };

enum {
    FIRST_ROW_US = 1000, /* rule 1 */
    TRUSTED_SEEN = 3,
    SEEN_MAX = 16,   /* a mean over about so many of the last steps of a width */
    LINE_KNOWN = 32, /* steps */
    UNSEEN_ITL_US = 20000,
};
#define PACE_GAIN      0.125 /* of what a step says, this goes to all widths and the line */
#define HUBER          3.0   /* deviations */
#define DEVIATION_MIN  0.02  /* clocks and caches: no machine is steadier */
#define DEVIATION_MAX  1.0
#define DEVIATION_GAIN 0.0625
#define FORGET         0.99 /* of the line: steps with prompts count for about 100 of them */
#define LINE_NOISE     0.05 /* a measured step's own deviation, relative */
#define NARROW_GAIN    0.875
#define GAP_GOAL       4.6 /* 5, less what the longest of a hundred steps is above the others */
#define TTFT_GOAL      1.5
#define ITL_ROUNDS_MIN 2.0

static const uint32_t anchors[STEP_COST_ANCHORS] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   10,
                                                    11, 12, 13, 14, 15, 16, 32, 64, 128, 256};

/* --- surprises --- */

/* Rule 2. How many times longer or shorter than expected, as a logarithm: neither has an end, so
 * that both are cut alike. */
static double surprise_of(double *deviation, double expected_us, double spent_us)
{
    double surprise = log(spent_us / expected_us);
    double size = fabs(surprise), most = HUBER * *deviation;
    double counted = fmin(size, 2 * most); /* all cut: it grows by a third with each step */
    *deviation += DEVIATION_GAIN * (counted - *deviation);
    *deviation = fmin(DEVIATION_MAX, fmax(DEVIATION_MIN, *deviation));
    return copysign(fmin(size, most), surprise);
}

/* --- the table of widths --- */

struct between { /* two anchors: value = (1 - part) * low + part * high */
    uint32_t low, high;
    double part;
};

static struct between find(uint32_t width)
{
    if (width <= STEP_COST_WIDTHS)
        return (struct between){width - 1, width - 1, 0};
    uint32_t high = STEP_COST_WIDTHS;
    while (high < STEP_COST_ANCHORS - 1 && anchors[high] < width)
        high++;
    double part = (width - (double)anchors[high - 1]) / (anchors[high] - (double)anchors[high - 1]);
    return (struct between){high - 1, high, part}; /* part > 1 beyond the last: the line goes on */
}

static double decode_us(const struct step_cost *cost, uint32_t width)
{
    struct between at = find(width);
    double low = cost->decode_us[at.low], high = cost->decode_us[at.high];
    double slope = at.part <= 1 ? high - low : fmax(0, high - low);
    return cost->pace * (low + at.part * slope);
}

/* An anchor that was never seen is guessed from the next ones that were: on the line between
 * two; else from one, half way between "rows are free" and "every row costs the same". */
static double guess(const struct step_cost *cost, uint32_t index)
{
    uint32_t below = index, above = index;
    while (below > 0 && cost->seen[below] == 0)
        below--;
    while (above < STEP_COST_ANCHORS - 1 && cost->seen[above] == 0)
        above++;
    double width = anchors[index];
    bool has_below = cost->seen[below] > 0, has_above = cost->seen[above] > 0;
    if (has_below && has_above) {
        double part = (width - anchors[below]) / ((double)anchors[above] - anchors[below]);
        return cost->decode_us[below] + part * (cost->decode_us[above] - cost->decode_us[below]);
    }
    uint32_t only = has_below ? below : above;
    return cost->decode_us[only] * (0.5 + 0.5 * width / anchors[only]);
}

static void guess_the_unseen(struct step_cost *cost)
{
    for (uint32_t i = 0; i < STEP_COST_ANCHORS; i++) {
        if (cost->seen[i] == 0)
            cost->decode_us[i] = guess(cost, i);
    }
}

/* Of the first three steps the shortest counts, whatever was guessed: there may be a cliff, and a
 * hanging step is never the shortest. */
static void learn_new_anchor(struct step_cost *cost, uint32_t index, double spent_us)
{
    double value = spent_us / cost->pace;
    if (cost->seen[index] == 0 || value < cost->decode_us[index])
        cost->decode_us[index] = value;
    cost->seen[index]++;
}

static void learn_anchor(struct step_cost *cost, uint32_t index, double part, double surprise)
{
    cost->seen[index] += cost->seen[index] < SEEN_MAX;
    cost->decode_us[index] *= exp(surprise * part / cost->seen[index]);
}

static void learn_decodes(struct step_cost *cost, const struct step_shape *shape,
                          double expected_us, double spent_us)
{
    struct between at = find(shape->decode_rows);
    double part = fmin(at.part, 1);
    uint32_t nearest = part < 0.5 ? at.low : at.high;
    if (cost->seen[nearest] < TRUSTED_SEEN) {
        learn_new_anchor(cost, nearest, spent_us * anchors[nearest] / shape->decode_rows);
    } else {
        double surprise = surprise_of(&cost->decode_deviation, expected_us, spent_us);
        cost->pace *= exp(PACE_GAIN * surprise);
        learn_anchor(cost, at.low, 1 - part, (1 - PACE_GAIN) * surprise);
        if (at.high != at.low)
            learn_anchor(cost, at.high, part, (1 - PACE_GAIN) * surprise);
    }
    guess_the_unseen(cost);
}

/* --- the line --- */

static void inputs_of(const struct step_shape *shape, double out_inputs[STEP_COST_TERMS])
{
    out_inputs[FIXED] = 1;
    out_inputs[DECODE_ROWS] = shape->decode_rows / DECODE_UNIT;
    out_inputs[PROMPT_ROWS] = shape->prompt_rows / PROMPT_UNIT;
    out_inputs[PAIRS] = (double)shape->pairs / PAIR_UNIT;
}

static double dot(const double a[STEP_COST_TERMS], const double b[STEP_COST_TERMS])
{
    double sum = 0;
    for (int i = 0; i < STEP_COST_TERMS; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The first step with a prompt tells how long all of them are; the others, of what. What is read
 * may cost next to nothing, or as much as the rows do: 64 Ki pairs take 177 ms of a model whose 64
 * rows take 211 (110m Q4_0 without flash attention). Taken for nearly nothing, it would be looked
 * for in the other terms for hundreds of steps. */
static void start_line(struct step_cost *cost, double scale)
{
    for (int i = 0; i < STEP_COST_TERMS; i++) {
        cost->line[i] *= scale;
        cost->spread[i][i] = cost->line[i] * cost->line[i];
    }
    cost->spread[PAIRS][PAIRS] = cost->spread[PROMPT_ROWS][PROMPT_ROWS] / 16;
    cost->line_has_scale = true;
}

/* Forgetting makes what is not seen for long ever less certain (wind-up), until one odd step could
 * throw it anywhere: so a term is never less certain than it is large, or than a tenth of all. */
static void forget(struct step_cost *cost)
{
    double all = 0;
    for (int i = 0; i < STEP_COST_TERMS; i++)
        all += cost->line[i];
    for (int i = 0; i < STEP_COST_TERMS; i++) {
        double least_sure = fmax(cost->line[i], 0.1 * all);
        double room = least_sure * least_sure / fmax(cost->spread[i][i], 1e-9);
        double scale = sqrt(fmin(1 / FORGET, fmax(1, room)));
        for (int j = 0; j < STEP_COST_TERMS; j++) {
            cost->spread[i][j] *= scale;
            cost->spread[j][i] *= scale;
        }
    }
}

/* One step of recursive least squares. How far steps lie apart grows with their length, so the
 * noise is a part of what was expected. */
static void correct_line(struct step_cost *cost, const double inputs[STEP_COST_TERMS],
                         double expected, double error)
{
    double gain[STEP_COST_TERMS], noise = LINE_NOISE * expected;
    for (int i = 0; i < STEP_COST_TERMS; i++)
        gain[i] = dot(cost->spread[i], inputs);
    double total = dot(gain, inputs) + noise * noise;
    for (int i = 0; i < STEP_COST_TERMS; i++) {
        cost->line[i] = fmax(0, cost->line[i] + gain[i] / total * error);
        for (int j = 0; j < STEP_COST_TERMS; j++)
            cost->spread[i][j] -= gain[i] * gain[j] / total;
    }
}

static void learn_line(struct step_cost *cost, const struct step_shape *shape, double expected_us,
                       double spent_us)
{
    double inputs[STEP_COST_TERMS], expected = expected_us / cost->pace;
    inputs_of(shape, inputs);
    if (!cost->line_has_scale) {
        start_line(cost, spent_us / expected_us);
        return;
    }
    double surprise = surprise_of(&cost->line_deviation, expected_us, spent_us);
    if (cost->line_seen >= LINE_KNOWN) { /* it is the machine, not what we did not know of it */
        cost->pace *= exp(PACE_GAIN * surprise);
        surprise *= 1 - PACE_GAIN;
    }
    cost->line_seen += cost->line_seen < LINE_KNOWN;
    forget(cost);
    correct_line(cost, inputs, expected, expm1(surprise) * expected);
}

/* --- learning --- */

void step_cost_init(struct step_cost *cost)
{
    *cost = (struct step_cost){
        .pace = 1, .decode_deviation = DEVIATION_MAX, .line_deviation = DEVIATION_MAX};
    for (uint32_t i = 0; i < STEP_COST_ANCHORS; i++)
        cost->decode_us[i] = FIRST_ROW_US * (0.5 + 0.5 * anchors[i]);
    const double first[STEP_COST_TERMS] = {FIRST_ROW_US, FIRST_ROW_US * DECODE_UNIT / 2,
                                           FIRST_ROW_US * PROMPT_UNIT / 2, FIRST_ROW_US / 2.0};
    memcpy(cost->line, first, sizeof(first));
}

void step_cost_learn(struct step_cost *cost, const struct step_shape *shape, uint64_t spent_us)
{
    if (spent_us == 0 || shape->decode_rows + shape->prompt_rows == 0)
        return;
    double expected_us = step_cost_us(cost, shape);
    if (!cost->has_scale) { /* rule 1 */
        cost->pace = (double)spent_us / expected_us;
        cost->has_scale = true;
        expected_us = (double)spent_us;
    }
    if (shape->prompt_rows > 0)
        learn_line(cost, shape, expected_us, (double)spent_us);
    else
        learn_decodes(cost, shape, expected_us, (double)spent_us);
}

/* --- answers --- */

double step_cost_us(const struct step_cost *cost, const struct step_shape *shape)
{
    double inputs[STEP_COST_TERMS];
    if (shape->prompt_rows == 0)
        return shape->decode_rows ? decode_us(cost, shape->decode_rows) : 0;
    inputs_of(shape, inputs);
    return fmax(1, cost->pace * dot(cost->line, inputs));
}

static bool is_trusted(const struct step_cost *cost, uint32_t width)
{
    struct between at = find(width);
    return cost->seen[at.low] >= TRUSTED_SEEN && cost->seen[at.high] >= TRUSTED_SEEN;
}

uint32_t step_cost_decode_width(const struct step_cost *cost, uint32_t decodes)
{
    uint32_t best = decodes;
    if (decodes < 2 || !is_trusted(cost, decodes))
        return decodes;
    double best_us = NARROW_GAIN * decode_us(cost, decodes);
    for (uint32_t width = 1; width < decodes && width <= STEP_COST_WIDTHS; width++) {
        uint32_t steps = (decodes + width - 1) / width; /* until the last one has had its row */
        double round_us = decode_us(cost, width) * steps;
        if (is_trusted(cost, width) && round_us < best_us) {
            best = width;
            best_us = round_us;
        }
    }
    return best;
}

double step_cost_round_us(const struct step_cost *cost, uint32_t decodes)
{
    if (decodes == 0)
        return 0;
    uint32_t width = step_cost_decode_width(cost, decodes);
    return decode_us(cost, width) * decodes / width;
}

/* How long the rows of prompts take with which gap and first token are equally near their goals
 * (step_cost.h); no longer than a batch full of them. */
static double balanced_us(const struct step_cost *cost, double round_us, double crowding,
                          uint32_t batch_tokens)
{
    struct step_shape full = {0};
    step_shape_add_prompt(&full, 0, batch_tokens);
    return fmin(step_cost_us(cost, &full), round_us * GAP_GOAL / TTFT_GOAL * crowding);
}

double step_cost_target_us(const struct step_cost *cost, const struct step_shape *decodes,
                           uint32_t waiting, uint32_t batch_tokens, uint64_t itl_us)
{
    uint32_t running = decodes->decode_rows;
    double round_us = step_cost_round_us(cost, waiting > running ? waiting : running);
    if (itl_us > 0)
        return fmax((double)itl_us, ITL_ROUNDS_MIN * step_cost_round_us(cost, running));
    double crowding = waiting > running && running > 0 ? pow((double)waiting / running, 3) : 1;
    struct step_shape with = *decodes;
    step_shape_add_prompt(&with, 0, 1);
    /* The line's end at no rows is its least certain place: decodes take no less than alone. */
    double decodes_us = fmax(step_cost_us(cost, &with), step_cost_us(cost, decodes));
    double prompts_us = balanced_us(cost, round_us, crowding, batch_tokens);
    return fmax(decodes_us + prompts_us, UNSEEN_ITL_US);
}

uint32_t step_cost_fit(const struct step_cost *cost, const struct step_shape *taken,
                       uint32_t position, uint32_t most, double target_us)
{
    uint32_t fits = 0, too_many = most + 1; /* rule 4: bisection finds it */
    ASSERT(most < UINT32_MAX);
    while (too_many - fits > 1) {
        uint32_t rows = fits + (too_many - fits) / 2;
        struct step_shape shape = *taken;
        step_shape_add_prompt(&shape, position, rows);
        if (step_cost_us(cost, &shape) <= target_us)
            fits = rows;
        else
            too_many = rows;
    }
    return fits;
}

void step_shape_add_prompt(struct step_shape *shape, uint32_t position, uint32_t rows)
{
    shape->prompt_rows += rows;
    shape->pairs += (uint64_t)rows * position + (uint64_t)rows * (rows + 1) / 2;
}

void step_shape_add_decode(struct step_shape *shape, uint32_t position)
{
    shape->decode_rows++;
    shape->pairs += (uint64_t)position + 1;
}
