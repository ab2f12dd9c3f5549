/* fake_llama - a library by libllama's name that is not what it says, for llama_api_test. Its
 * release is $FAKE_LLAMA_VERSION. With FAKE_LACKS_FUNCTIONS it has no other function; without, it
 * has them all, and returns defaults that are all zero, as a release with other structs might. */
#include "engine/llama_api_list.h"

#include <stdlib.h>

const char *llama_version(void);
const char *llama_version(void)
{
    const char *version = getenv("FAKE_LLAMA_VERSION");
    return version ? version : "0.5.0-dev";
}

#ifndef FAKE_LACKS_FUNCTIONS
struct model_params {
    unsigned char bytes[80];
};
struct context_params {
    unsigned char bytes[160];
};

struct model_params llama_model_default_params(void);
struct model_params llama_model_default_params(void)
{
    return (struct model_params){{0}};
}

struct context_params llama_context_default_params(void);
struct context_params llama_context_default_params(void)
{
    return (struct context_params){{0}};
}

/* The rest must not be called before the library is trusted. */
#define llama_version                real_version_is_above
#define llama_model_default_params   real_model_params_are_above
#define llama_context_default_params real_context_params_are_above
#define STUB_OF(name)                                                                              \
    void name(void);                                                                               \
    void name(void)                                                                                \
    {                                                                                              \
        abort();                                                                                   \
    }
#define STUB(name) STUB_OF(name)
LLAMA_API_FUNCTIONS(STUB)
#endif
