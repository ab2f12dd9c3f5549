/* fault_test - names and back. */
#include "testing/test.h"
#include "wire/fault.h"

TEST(every_fault_has_a_name_that_is_read_back)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        enum fault fault = FAULT_COUNT;
        CHECK_OK(fault_parse(slice_str(fault_name((enum fault)i)), &fault));
        CHECK_EQ(fault, i);
    }
    CHECK_STR(fault_name(FAULT_QUEUE_FULL), "queue_full");
    CHECK_STR(fault_name(FAULT_COUNT), "?");
}

TEST(other_names_are_not_found)
{
    enum fault fault = FAULT_STALLED;
    CHECK_ERR(fault_parse(SLICE("queue_ful"), &fault), ERR_NOT_FOUND);
    CHECK_ERR(fault_parse(SLICE("queue_full "), &fault), ERR_NOT_FOUND);
    CHECK_ERR(fault_parse(SLICE(""), &fault), ERR_NOT_FOUND);
    CHECK_EQ(fault, FAULT_STALLED);
}

TEST(what_passes_by_itself_is_retryable)
{
    CHECK(fault_is_retryable(FAULT_QUEUE_FULL));
    CHECK(fault_is_retryable(FAULT_WORKER_LOST));
    CHECK(fault_is_retryable(FAULT_INSUFFICIENT_MEMORY));
    CHECK(!fault_is_retryable(FAULT_INVALID_REQUEST));
    CHECK(!fault_is_retryable(FAULT_STALLED));
    CHECK(!fault_is_retryable(FAULT_COUNT));
}
