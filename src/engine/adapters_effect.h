/* adapters_effect - does each adapter change what the model computes? libllama looks adapters up
 * where its graphs multiply by one of its helpers, and in some architectures some matrices are
 * multiplied without (in PLM and MiniCPM3 those of attention): an adapter of such matrices alone is
 * loaded, named, paid for in turns, and changes no bit. So do matrices of zeros.
 *
 * It takes a prompt of a few tokens without adapters, and one with each: a decode() for each, and
 * one more (docs/design/027 has what that costs a load). Of an adapter that is looked up for some
 * of its matrices it says nothing. On the engine's thread, before anybody else uses a slot. */
#pragma once

#include "engine/engine.h"

/* `files` are those that the engine was opened with. All slots are empty afterwards; which set is
 * in use is not said. ERR_PROTOCOL, with the name and the file in the note: the logits are the same
 * bits with it as without; ERR_CANCELLED: `may_go_on`, asked before each, said no; else what
 * decode() says. */
MUST_USE enum err adapters_effect_check(struct engine *engine,
                                        const struct engine_adapter_file *files,
                                        bool (*may_go_on)(void *ctx), void *ctx,
                                        struct err_note *out_note);
