/* log_pump - our stderr may be a pipe or a terminal that nobody reads; that must not stop the
 * supervision. While it runs, descriptor 2 is a pipe of our own that never blocks, and a thread
 * writes on what comes out of it, as slowly as it has to.
 *
 * 1. What is written in one write of at most PIPE_BUF leaves in one write (the pipe keeps packets).
 * 2. When LOG_PUMP_LINES writes wait, another fails with EAGAIN: log.c counts it, log_pump_write()
 * says it.
 * 3. What ASSERT says before it aborts is waited for, LOG_PUMP_ABORT_MS at most. */
#pragma once

#include "base/slice.h"

enum { LOG_PUMP_LINES = 256, LOG_PUMP_ABORT_MS = 200, LOG_PUMP_STOP_MS = 1000 };

struct log_pump;
/* One per process (it is descriptor 2). ERR_SYSTEM. */
MUST_USE enum err log_pump_start(struct log_pump **out_pump, struct err_note *out_note);
/* Puts descriptor 2 back. What waits is written first, for LOG_PUMP_STOP_MS at most; behind a
 * stderr that is still stuck then the thread is left to the end of the process. */
void log_pump_stop(struct log_pump **pump); /* NULL inside is fine */
/* Whole lines on descriptor 2, PIPE_BUF bytes at most. False: they had no room and are gone. */
MUST_USE bool log_pump_write(struct slice lines);
