/* process - what the kernel says of this process. Linux; from /proc. Any thread. */
#pragma once

#include <stdint.h>

/* 0 when /proc does not say. */
uint64_t process_resident_bytes(void);
uint64_t process_open_fds(void);
