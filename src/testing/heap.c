/* heap - see heap.h. */
#include "testing/heap.h"

#include <malloc.h>

__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

bool heap_bytes_are_exact(void)
{
    return __sanitizer_get_current_allocated_bytes != NULL;
}

size_t heap_bytes(void)
{
    if (heap_bytes_are_exact())
        return __sanitizer_get_current_allocated_bytes();
    return mallinfo2().uordblks;
}
