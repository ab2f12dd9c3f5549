/* base64 - bytes as letters (RFC 4648 section 4, with padding). Pure. */
#pragma once

#include "base/text.h"

/* What is added of several parts is that of all of them, if all but the last are of a length that 3
 * divides. */
void base64_add(struct text *out, struct slice bytes);
