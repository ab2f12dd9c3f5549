/* prefix_secret - the secret of a folder of prefix files: what their names and sums begin with, so
 * that nobody can guess from a name what was asked (docs/design/024). The workers of a model share
 * the folder, so they share it; those that start together, too. */
#pragma once

#include "base/err.h"

#include <stdint.h>

enum { PREFIX_SECRET_BYTES = 32 };

/* Makes it if it is not there; whoever comes first decides for all. A torn one is made anew, and
 * the files of before are then lost. ERR_SYSTEM: errno says why. */
MUST_USE enum err prefix_secret_read(const char *folder, uint8_t out_secret[PREFIX_SECRET_BYTES]);
