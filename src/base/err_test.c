/* err_test - names, notes that are cut, and dying in words. */
#include "base/err.h"
#include "base/utf8.h"
#include "testing/test.h"

#include <string.h>

TEST(err_name_knows_every_error_and_survives_others)
{
    for (int err = 0; err < ERR_COUNT; err++)
        CHECK(strncmp(err_name((enum err)err), "ERR_", 4) == 0 &&
              err_name((enum err)err)[4] != '?');
    CHECK_STR(err_name(ERR_OK), "ERR_OK");
    CHECK_STR(err_name(ERR_SYSTEM), "ERR_SYSTEM");
    CHECK_STR(err_name(ERR_COUNT), "ERR_?");
    CHECK_STR(err_name((enum err) - 1), "ERR_?");
}

TEST(note_returns_its_error_with_and_without_a_place_for_the_sentence)
{
    struct err_note note;
    CHECK_ERR(err_note_fail(&note, ERR_LIMIT, "port %d: allowed are 0..65535", 70000), ERR_LIMIT);
    CHECK_STR(note.text, "port 70000: allowed are 0..65535");
    CHECK_ERR(err_note_fail(NULL, ERR_REFUSED, "nobody %s", "listens"), ERR_REFUSED);
}

/* 510..512 bytes of text in front of a 4-byte character: the cut never leaves a part of it. */
TEST(long_note_is_cut_at_a_whole_character)
{
    enum { ROOM = sizeof(((struct err_note *)0)->text) - 1 };
    for (int before = ROOM - 5; before <= ROOM + 1; before++) {
        struct err_note note;
        CHECK_ERR(err_note_fail(&note, ERR_LIMIT, "%0*d\xF0\x9F\x98\x80", before, 0), ERR_LIMIT);
        size_t expected = (size_t)(before + 4 <= ROOM ? before + 4 : before < ROOM ? before : ROOM);
        CHECK_EQ(strlen(note.text), expected);
        CHECK(utf8_is_valid(slice_str(note.text)));
    }
}

static enum err fail_if(enum err err, bool *out_reached)
{
    TRY(err);
    *out_reached = true;
    return ERR_OK;
}

TEST(try_returns_any_error_and_only_errors)
{
    bool reached = false;
    CHECK_ERR(fail_if(ERR_AGAIN, &reached), ERR_AGAIN);
    CHECK(!reached);
    CHECK_OK(fail_if(ERR_OK, &reached));
    CHECK(reached);
}

TEST(broken_assert_prints_place_condition_and_state)
{
    int parked = 3;
    CHECK_ABORTS(ASSERT(parked == 4), "err_test.c:");
    CHECK_ABORTS(ASSERT(parked == 4), "broken invariant: parked == 4\n");
    CHECK_ABORTS(ASSERT_MSG(parked == 4, "parked %d", parked), "parked == 4: parked 3\n");
    ASSERT(parked == 3);
    ASSERT_MSG(parked == 3, "parked %d", parked);
}
