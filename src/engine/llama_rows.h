/* llama_rows - in which order, and in how many calls of llama_decode(), the rows of one decode() go
 * in. Pure.
 *
 * With one stream of cells for each sequence libllama cuts what it gets into graphs by itself
 * (llama_batch_allocr::split_equal of the pinned release): the same number of rows of each
 * sequence, and only of sequences whose ids follow each other, in the order in which they come. So
 * slots 2, 0, 1 would be two graphs where 0, 1, 2 are one; and of a sequence with one row beside
 * one with 64 the latter's first row would go in alone, which gives other bits than it has among
 * its own (engine_info.single_rows_differ). Hence:
 *
 * 1. Rows are in the order of their slots; those of a slot stay in their own.
 * 2. A call gets the slots that have the same number of rows; those with most go first. So single
 *    rows, which are what wants logits in nearly every step, are in the last call.
 *
 * That is as many graphs as libllama would make of it, or one more. */
#pragma once

#include "engine/engine.h"

struct llama_rows {
    uint32_t *order;      /* of the rows that were given: which is the i-th */
    uint32_t *call_ends;  /* in `order`, rising */
    uint32_t *slot_begin; /* of each slot, scratch: where its rows begin in `order` */
    uint32_t *slot_count; /* of each slot: its rows; 0 between two calls */
    uint32_t *slots;      /* scratch: those that have rows */
    uint32_t call_count;
    uint32_t slot_max;
};

void llama_rows_init(struct llama_rows *self, uint32_t slots, uint32_t batch_tokens);
void llama_rows_fini(struct llama_rows *self); /* of a zeroed one: harmless */
/* 1 <= count <= batch_tokens. Allocates nothing. */
void llama_rows_arrange(struct llama_rows *self, const struct engine_row *rows, uint32_t count);
/* As they came, in one call: for one cache that all slots share. */
void llama_rows_keep(struct llama_rows *self, uint32_t count);
