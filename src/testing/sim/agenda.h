/* agenda - what will happen, by time; of one time, in the order of agenda_put(). A heap. Owns
 * nothing that is in it. */
#pragma once

#include "base/err.h"

/* What it is part of; a flight that was called off is NOTHING. */
enum happening_kind { HAPPENING_FLIGHT, HAPPENING_CHANGE, HAPPENING_NOTHING, HAPPENING_DEED };

struct happening { /* lives inside what happens */
    enum happening_kind kind;
    uint64_t at_us, number;
};

struct agenda;
struct agenda *agenda_new(void);
void agenda_free(struct agenda *agenda); /* NULL is fine */
void agenda_put(struct agenda *agenda, struct happening *happening, uint64_t at_us);
uint64_t agenda_next_us(const struct agenda *agenda); /* UINT64_MAX: empty */
/* The first one, if it is due at now_us; else NULL. */
struct happening *agenda_take(struct agenda *agenda, uint64_t now_us);
/* To look at all of them, in no special order; not their times may be changed. */
size_t agenda_count(const struct agenda *agenda);
struct happening *agenda_at(const struct agenda *agenda, size_t index);
