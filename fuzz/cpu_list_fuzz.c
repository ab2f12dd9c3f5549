/* A list of processors: what is read is written, and read back to the same set. */
#include "base/cpu_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cpu_set_t cpus, again;
    struct err_note note = {{0}};
    enum err err = cpu_list_parse(slice_of(data, size), &cpus, &note);
    ASSERT(err == ERR_OK || (err == ERR_PROTOCOL && note.text[0]));
    if (err != ERR_OK)
        return 0;
    ASSERT(CPU_COUNT(&cpus) > 0);
    struct text text;
    text_init(&text, 8192); /* every second CPU: 512 of up to 4 digits and a comma */
    cpu_list_write(&cpus, &text);
    ASSERT(text_status(&text) == ERR_OK);
    ASSERT(cpu_list_parse(text_slice(&text), &again, NULL) == ERR_OK);
    ASSERT(CPU_EQUAL(&cpus, &again));
    text_fini(&text);
    return 0;
}
