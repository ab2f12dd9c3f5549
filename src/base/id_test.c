/* id_test - text and back, and what is not an id. */
#include "base/clock.h"
#include "base/id.h"
#include "testing/test.h"

#include <sys/wait.h>
#include <unistd.h>

TEST(id_is_formatted_high_half_first_in_lower_case)
{
    char text[ID_TEXT_BYTES + 1];
    struct id id = {UINT64_C(0x0123456789abcdef), UINT64_C(0xf)};
    CHECK_SLICE(id_format(id, text), "0123456789abcdef000000000000000f");
    CHECK_EQ(strlen(text), ID_TEXT_BYTES);
}

TEST(new_ids_differ_and_read_back)
{
    struct id last = {0};
    for (int i = 0; i < 1000; i++) {
        struct id id = id_new(), read;
        CHECK(!id_is_zero(id) && !id_eq(id, last));
        char text[ID_TEXT_BYTES + 1];
        CHECK_OK(id_parse(id_format(id, text), &read));
        CHECK(id_eq(id, read));
        last = id;
    }
    CHECK(random_u64() != random_u64());
}

TEST(a_forked_child_draws_other_numbers_than_its_parent)
{
    int fds[2], status;
    uint64_t of_child = 0;
    (void)random_u64(); /* a stock is there that both could draw from */
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        uint64_t mine = random_u64();
        _exit(write(fds[1], &mine, sizeof(mine)) == sizeof(mine) ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(read(fds[0], &of_child, sizeof(of_child)), (ssize_t)sizeof(of_child));
    CHECK(of_child != random_u64());
    close(fds[0]);
    close(fds[1]);
}

TEST(parse_takes_both_cases)
{
    struct id id;
    CHECK_OK(id_parse(SLICE("ABCDEFabcdef00000000000000000009"), &id));
    CHECK(id.high == UINT64_C(0xabcdefabcdef0000) && id.low == 9);
}

TEST(parse_refuses_all_but_32_hex_digits)
{
    struct id id = {7, 7};
    CHECK_ERR(id_parse(SLICE(""), &id), ERR_PROTOCOL);
    CHECK_ERR(id_parse(SLICE("0123456789abcdef000000000000000"), &id), ERR_PROTOCOL);
    CHECK_ERR(id_parse(SLICE("0123456789abcdef000000000000000ff"), &id), ERR_PROTOCOL);
    CHECK_ERR(id_parse(SLICE("00000000000000000000000000000000"), &id), ERR_PROTOCOL);
    /* The neighbours of the digits in ASCII, at every place. */
    for (size_t place = 0; place < ID_TEXT_BYTES; place++)
        for (const char *wrong = "/:@G`g -\xff"; *wrong; wrong++) {
            char text[] = "0123456789abcdef0123456789abcdef";
            text[place] = *wrong;
            CHECK_ERR(id_parse(slice_str(text), &id), ERR_PROTOCOL);
        }
    CHECK(id.high == 7 && id.low == 7);
}

TEST(clocks_run_forward_and_know_the_century)
{
    uint64_t before = clock_monotonic_us();
    CHECK(clock_monotonic_us() >= before);
    CHECK(clock_wall_ms() > INT64_C(1577836800000)); /* 2020-01-01 */
}
