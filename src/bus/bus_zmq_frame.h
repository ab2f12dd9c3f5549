/* bus_zmq_frame - a frame's bytes as a ZeroMQ message: copied once, freed by whoever is last. */
#pragma once

#include "base/slice.h"

#include <zmq.h>

/* ERR_LIMIT: no memory (the size is a sender's). Any thread. */
MUST_USE enum err zmq_frame_copy(struct slice frame, zmq_msg_t *out_message);
