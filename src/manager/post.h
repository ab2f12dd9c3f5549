/* post - what one turn has to say to one subject leaves in one frame, at the end of the turn (or
 * earlier, when a frame is full). In order for each subject. Nothing waits beyond the turn, and
 * nothing is repeated here: a frame that the bus does not take is lost, and who wrote it has its
 * own clock. Belongs to the loop of its bus. */
#pragma once

#include "bus/bus.h"
#include "wire/frame.h"

enum {
    POST_FRAME_BYTES = 64 * 1024, /* a frame that has so much leaves before more is added */
    POST_SUBJECTS_MAX = 64,       /* at once; one more sends all that was gathered */
};

struct post;

struct post *post_new(struct bus *bus); /* never NULL */
void post_free(struct post *post);      /* what has not left is dropped; NULL is fine */

/* Where to add one record to a frame of that kind, whose reply subject is our inbox; `bytes`: the
 * size of its payload, about. Good until the next call. NULL: no subject that a bus would take. */
struct wire_writer *post_to(struct post *post, enum wire_kind kind, struct slice subject,
                            size_t bytes);
void post_flush(struct post *post); /* all of it, now */

struct post_stats {
    uint64_t frames, lost; /* lost: the bus did not take them, or no memory */
};
struct post_stats post_stats(const struct post *post);
