/* bus_zmq_frame - bytes that libzmq frees, on its own thread. */
#include "bus/bus_zmq_frame.h"

#include "base/mem.h"

#include <stdatomic.h>

struct block {
    atomic_bool is_filled; /* orders our writing before the free of another thread, visibly */
    char bytes[];
};

static void on_unused(void *bytes, void *hint)
{
    struct block *block = hint;
    (void)bytes; /* inside the block */
    ASSERT(atomic_load(&block->is_filled));
    mem_free(block);
}

enum err zmq_frame_copy(struct slice frame, zmq_msg_t *out_message)
{
    struct block *block = mem_peer_alloc(sizeof(*block) + frame.len);
    if (!block)
        return ERR_LIMIT;
    if (frame.len)
        memcpy(block->bytes, frame.data, frame.len);
    atomic_init(&block->is_filled, false);
    atomic_store(&block->is_filled, true);
    if (zmq_msg_init_data(out_message, block->bytes, frame.len, on_unused, block) != 0) {
        mem_free(block);
        return ERR_LIMIT;
    }
    return ERR_OK;
}
