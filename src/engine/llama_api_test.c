/* Tests of finding libllama and of refusing what is not the pinned release. */
#include "engine/llama_api.h"

#include "testing/test.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};

/* A folder that holds `target` under libllama's name. */
struct folder {
    char path[64], library[96];
};

static struct folder folder_with(const char *target, const char *name)
{
    struct folder folder = {.path = "/tmp/llama-api-test-XXXXXX"};
    CHECK(mkdtemp(folder.path));
    snprintf(folder.library, sizeof(folder.library), "%s/%s", folder.path, name);
    if (target)
        CHECK_EQ(symlink(target, folder.library), 0);
    return folder;
}

static void remove_folder(const struct folder *folder)
{
    unlink(folder->library);
    CHECK_EQ(rmdir(folder->path), 0);
}

static void check_refused(const char *target, const char *name, enum err expected, const char *why)
{
    struct folder folder = folder_with(target, name);
    const struct llama_api *api = NULL;
    struct err_note note = {{0}};
    enum err err = llama_api_load(folder.path, NULL, &api, &note);
    remove_folder(&folder);
    CHECK_ERR(err, expected);
    CHECK(api == NULL);
    if (!strstr(note.text, why) || !strstr(note.text, folder.path))
        CHECK_STR(note.text, why);
}

TEST(release_is_compared_whole)
{
    const char *fits[] = {"0.5.0", "0.5.0-dev", "0.5.0-12-gabcdef"};
    const char *others[] = {"",     "0",       "0.5",   "0.5.",   "0.5.1",   "0.5.01",
                            "0.50", "0.5.0.1", "1.5.0", "v0.5.0", "0.5.0dev"};
    for (size_t i = 0; i < ARRAY_COUNT(fits); i++)
        CHECK(llama_api_release_fits(fits[i]));
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        CHECK(!llama_api_release_fits(others[i]));
}

TEST(folder_without_a_library_is_named)
{
    check_refused(NULL, "libllama.so", ERR_NOT_FOUND, "no libllama.v0.5.0.so and no libllama.so");
}

TEST(places_that_were_searched_are_named)
{
    void *system = dlopen("libllama.v" LLAMA_API_RELEASE ".so", RTLD_LAZY | RTLD_LOCAL);
    if (system) {
        dlclose(system);
        SKIP("this system has a libllama of its own");
    }
    const char *const nowhere[] = {"/nowhere/one", "/nowhere/two", NULL};
    const struct llama_api *api = NULL;
    struct err_note note = {{0}};
    CHECK_ERR(llama_api_load(NULL, nowhere, &api, &note), ERR_NOT_FOUND);
    CHECK(strstr(note.text, "/nowhere/one, /nowhere/two."));
    CHECK(strstr(note.text, "tools/setup-engine"));
    CHECK_ERR(llama_api_load(NULL, NULL, &api, &note), ERR_NOT_FOUND);
}

TEST(file_that_is_no_library_is_refused_with_the_loaders_reason)
{
    check_refused(SOURCE_ROOT "/meson.build", "libllama.so", ERR_NOT_FOUND, "invalid ELF header");
}

TEST(other_release_is_refused)
{
    CHECK_EQ(setenv("FAKE_LLAMA_VERSION", "0.4.9", 1), 0);
    check_refused(FAKE_LLAMA, "libllama.so", ERR_REFUSED, "is of release 0.4.9");
    CHECK_EQ(setenv("FAKE_LLAMA_VERSION", "0.5.1-dev", 1), 0);
    check_refused(FAKE_LLAMA, "libllama.v0.5.0.so", ERR_REFUSED, "is of release 0.5.1-dev");
    CHECK_EQ(unsetenv("FAKE_LLAMA_VERSION"), 0);
}

TEST(missing_function_is_named)
{
    check_refused(FAKE_LLAMA_LACKS, "libllama.so", ERR_REFUSED,
                  "lacks the function ggml_backend_dev_backend_reg");
}

TEST(other_defaults_betray_other_structs)
{
    check_refused(FAKE_LLAMA, "libllama.so", ERR_REFUSED, "its defaults are not that release's");
}

/* The last: from here on the process has its library. */
TEST(real_library_is_loaded_once)
{
    const struct llama_api *api = NULL, *again = NULL;
    struct err_note note = {{0}};
    const char *dir = getenv("MILLRACE_ENGINE_DIR");
    if (llama_api_load(dir, search, &api, &note) != ERR_OK)
        SKIP("%s", note.text);
    CHECK(llama_api_release_fits(api->llama_version()));
    CHECK_OK(llama_api_load(NULL, NULL, &again, &note));
    CHECK(again == api);

    struct folder other = folder_with(FAKE_LLAMA, "libllama.so");
    CHECK_ERR(llama_api_load(other.path, NULL, &again, &note), ERR_REFUSED);
    CHECK(strstr(note.text, other.path));
    remove_folder(&other);
}
