#include "nano/family.h"
#include "testing/test.h"

TEST(the_shares_add_up)
{
    unsigned sum = 0;
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        sum += families[i]->share;
    CHECK_EQ(sum, 100);
}

TEST(each_family_comes_as_often_as_its_share)
{
    enum { DRAWS = 5000 };
    size_t counts[FAMILY_COUNT] = {0};
    struct sample sample;
    sample_init(&sample);
    for (uint64_t index = 0; index < DRAWS; index++) {
        const struct family *family = family_draw(&sample, 9, index);
        for (size_t i = 0; i < FAMILY_COUNT; i++)
            counts[i] += families[i] == family;
    }
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        CHECK_NEAR((double)counts[i] / DRAWS, families[i]->share / 100.0, 0.02); /* 3 sigma */
    sample_fini(&sample);
}

/* Whoever makes them, in whatever order: threads share them out by their index. */
TEST(a_document_depends_on_its_seed_and_index_alone)
{
    struct sample forth, back;
    struct rendering a, b;
    sample_init(&forth);
    sample_init(&back);
    rendering_init(&a);
    rendering_init(&b);
    for (uint64_t i = 0; i < 300; i++) {
        const struct family *family = family_draw(&forth, 5, i);
        family_draw(&back, 5, 300 - i);
        CHECK(family_draw(&back, 5, i) == family);
        sample_render(&forth, &a);
        sample_render(&back, &b);
        CHECK_SLICES(text_slice(&a.text), text_slice(&b.text));
        family_draw(&back, 6, i);
        sample_render(&back, &b);
        CHECK(!slice_eq(text_slice(&a.text), text_slice(&b.text)));
    }
    rendering_fini(&a);
    rendering_fini(&b);
    sample_fini(&forth);
    sample_fini(&back);
}

TEST(a_list_is_cut_into_two_parts_that_make_it_whole)
{
    for (size_t count = 5; count < 23; count++) {
        bool is_train[23] = {false}, is_test[23] = {false};
        struct choice choice = {count};
        for (int i = 0; i < 2000; i++) {
            is_train[list_part(&choice, count, SPLIT_TRAIN)] = true;
            is_test[list_part(&choice, count, SPLIT_TEST)] = true;
        }
        for (size_t i = 0; i < count; i++) {
            CHECK_EQ(is_train[i], i % 5 != 4);
            CHECK_EQ(is_test[i], i % 5 == 4);
        }
    }
}
