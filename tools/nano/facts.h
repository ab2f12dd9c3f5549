/* facts - what is so about millrace, as facts.txt has it. */
#pragma once

#include "nano/facts_file.h"

/* Of the facts.txt that this was built with; read at the first call, any thread. */
const struct facts *facts_of_millrace(void);
