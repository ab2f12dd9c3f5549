/* memory_available - how much memory this process could still take without hurting anybody: what
 * the kernel calls available, or less when a control group (a container, a systemd unit) allows
 * less. Reads a few files of /proc and /sys. Any thread. */
#pragma once

#include "base/slice.h"

/* Bytes; UINT64_MAX when the system does not tell. Control groups of version 2 only.
 * `root` is put before each path: "" but in tests. */
uint64_t memory_available_bytes(const char *root);
