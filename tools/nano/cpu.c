/* cpu - asked before the first vector instruction; built without them itself. */
#include "nano/cpu.h"

enum err cpu_can_train(struct err_note *out_note)
{
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return err_note_fail(out_note, ERR_REFUSED,
                             "training needs a processor with AVX2 and FMA (x86-64-v3)");
#endif
    (void)out_note; /* elsewhere nano_math is built for what every such processor has */
    return ERR_OK;
}
