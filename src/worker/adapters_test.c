/* adapters_test - wishes in every form, and the scopes that come of them. */
#include "worker/adapters.h"

#include "base/text.h"
#include "testing/test.h"
#include "worker/prefix_tree.h"

static const struct engine_adapter adapters[] = {{.name = "sql", .digest = {1}},
                                                 {.name = "chat", .scale = 0.5f, .digest = {2}},
                                                 {.name = "third", .digest = {3}}};
static const struct engine_info info = {.adapters = adapters, .adapter_count = 3};

static struct engine_adapter_set resolved(const struct adapter_wish *items, size_t count)
{
    struct adapters_wish wish = {true, items, count};
    struct engine_adapter_set set;
    struct err_note note = {""};
    enum err err = adapters_resolve(&info, &wish, &set, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return set;
}

static void check_refused(const struct engine_info *of, const struct adapter_wish *items,
                          size_t count, enum err expected, const char *why)
{
    struct adapters_wish wish = {true, items, count};
    struct engine_adapter_set set;
    struct err_note note;
    CHECK_ERR(adapters_resolve(of, &wish, &set, &note), expected);
    CHECK_STR(note.text, why);
}

static void check_set(struct engine_adapter_set set, struct engine_adapter_set expected)
{
    CHECK(engine_adapter_set_eq(&set, &expected));
}

TEST(names_and_ids_in_any_order_are_one_set)
{
    const struct engine_adapter_set both = {.count = 2, .uses = {{0, 0.25f}, {2, -1}}};
    check_set(resolved((struct adapter_wish[]){{.name = SLICE("third"), .scale = -1},
                                               {.name = SLICE("sql"), .scale = 0.25f}},
                       2),
              both);
    check_set(resolved((struct adapter_wish[]){{.id = 0, .scale = 0.25f},
                                               {.id = 1, .scale = 0},
                                               {.id = 2, .scale = -1}},
                       3),
              both);
    check_set(resolved(NULL, 0), (struct engine_adapter_set){0});
    check_set(resolved((struct adapter_wish[]){{.id = 2, .scale = 0}}, 1),
              (struct engine_adapter_set){0});
}

TEST(who_says_nothing_gets_those_with_a_scale_of_their_own)
{
    struct adapters_wish wish = {0};
    struct engine_adapter_set set;
    CHECK_OK(adapters_resolve(&info, &wish, &set, NULL));
    check_set(set, (struct engine_adapter_set){.count = 1, .uses = {{1, 0.5f}}});
}

TEST(what_is_not_there_is_named_with_what_is)
{
    static const struct engine_info none = {0};
    struct adapter_wish item = {.name = SLICE("sqk"), .scale = 1};
    check_refused(&info, &item, 1, ERR_NOT_FOUND,
                  "the model has no adapter sqk: it has 0 'sql', 1 'chat', 2 'third'");
    check_refused(&none, &item, 1, ERR_NOT_FOUND, "the model has no adapter sqk: it has none");
    item = (struct adapter_wish){.id = 3, .scale = 0};
    check_refused(&info, &item, 1, ERR_NOT_FOUND,
                  "the model has no adapter 3: it has 0 'sql', 1 'chat', 2 'third'");
}

TEST(what_cannot_be_done_is_refused)
{
    const struct adapter_wish twice[] = {{.name = SLICE("sql"), .scale = 1}, {.id = 0, .scale = 1}};
    check_refused(&info, twice, 2, ERR_REFUSED, "the adapter 'sql' is named twice");
    const struct adapter_wish many[] = {
        {.id = 0, .scale = 1}, {.id = 1, .scale = 1}, {.id = 2, .scale = 1}};
    check_refused(&info, many, 3, ERR_LIMIT,
                  "more than 2 adapters at once, with a scale other than 0");
}

TEST(scopes_are_of_tenant_files_and_scales)
{
    const struct engine_adapter other[] = {{.name = "sql", .digest = {9}}};
    const struct engine_info elsewhere = {.adapters = other, .adapter_count = 1};
    const struct engine_adapter_set none = {0}, sql = {.count = 1, .uses = {{0, 1}}},
                                    less = {.count = 1, .uses = {{0, 0.5f}}},
                                    both = {.count = 2, .uses = {{0, 1}, {2, 1}}};
    struct slice a = SLICE("a"), nobody = {0};
    CHECK_EQ(adapters_scope(&info, nobody, &none), PREFIX_NOBODYS);
    const uint64_t scopes[] = {
        PREFIX_NOBODYS,
        adapters_scope(&info, a, &none),
        adapters_scope(&info, SLICE("b"), &none),
        adapters_scope(&info, nobody, &sql),
        adapters_scope(&info, a, &sql),
        adapters_scope(&info, nobody, &less),
        adapters_scope(&info, nobody, &both),
        adapters_scope(&elsewhere, nobody, &sql),
    };
    for (size_t i = 0; i < ARRAY_COUNT(scopes); i++)
        for (size_t j = 0; j < i; j++)
            CHECK(scopes[i] != scopes[j]);
    CHECK_EQ(adapters_scope(&info, a, &sql), scopes[4]);
}
