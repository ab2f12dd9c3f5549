/* buf_test - against a plain array, at the cap, and without memory. */
#include "base/buf.h"
#include "base/mem.h"
#include "testing/test.h"

enum { MODEL_BYTES = 40000, HALF = BUF_CHUNK_BYTES / 2 };

static char pattern[MODEL_BYTES];

static struct slice some_bytes(size_t len)
{
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)(i * 7 + i / 251);
    return slice_of(pattern, len);
}

static int chunk_count(const struct buf *buf)
{
    struct iovec iov[64];
    return buf_iov(buf, iov, 64);
}

static void check_holds(const struct buf *buf, struct slice expected)
{
    char bytes[MODEL_BYTES];
    CHECK_EQ(buf->len, expected.len);
    CHECK_EQ(buf_peek(buf, bytes, sizeof(bytes)), expected.len);
    CHECK_SLICES(slice_of(bytes, expected.len), expected);
}

TEST(cap_is_exact_and_a_refused_append_takes_nothing)
{
    for (size_t max = BUF_CHUNK_BYTES - 1; max <= BUF_CHUNK_BYTES + 1; max++) {
        struct buf buf;
        buf_init(&buf, max);
        CHECK_OK(buf_append(&buf, some_bytes(10)));
        CHECK_ERR(buf_append(&buf, some_bytes(max - 9)), ERR_FULL);
        CHECK_EQ(buf.len, 10);
        CHECK_OK(buf_append(&buf, some_bytes(max - 10)));
        CHECK_ERR(buf_append(&buf, SLICE("x")), ERR_FULL);
        CHECK_OK(buf_append(&buf, SLICE("")));
        CHECK_EQ(buf.len, max);
        buf_fini(&buf);
    }
}

TEST(empty_buf_costs_no_memory)
{
    struct buf buf;
    buf_init(&buf, MODEL_BYTES);
    CHECK(slice_is_empty(buf_front(&buf)));
    CHECK_OK(buf_append(&buf, some_bytes(2 * BUF_CHUNK_BYTES)));
    buf_consume(&buf, 2 * BUF_CHUNK_BYTES);
    CHECK(!buf.first && !buf.last && buf.len == 0);
    CHECK_OK(buf_append(&buf, SLICE("again")));
    CHECK_SLICE(buf_front(&buf), "again");
    buf_fini(&buf);
    CHECK(!buf.first && !buf.last && buf.len == 0);
    CHECK_OK(buf_append(&buf, SLICE("and again")));
    buf_fini(&buf);
}

TEST(bytes_stay_where_they_are_until_consumed)
{
    struct buf buf;
    buf_init(&buf, MODEL_BYTES);
    CHECK_OK(buf_append(&buf, SLICE("first")));
    struct slice front = buf_front(&buf);
    CHECK_OK(buf_append(&buf, some_bytes(20000)));
    buf_consume(&buf, 2);
    CHECK(buf_front(&buf).data == front.data + 2);
    CHECK_SLICE(slice_after(front, 2), "rst");
    buf_fini(&buf);
}

TEST(iov_stops_at_its_limit)
{
    struct buf buf;
    buf_init(&buf, MODEL_BYTES);
    CHECK_OK(buf_append(&buf, some_bytes(3 * BUF_CHUNK_BYTES)));
    struct iovec iov[4];
    CHECK_EQ(buf_iov(&buf, iov, 0), 0);
    CHECK_EQ(buf_iov(&buf, iov, 2), 2);
    CHECK_EQ(buf_iov(&buf, iov, 4), 3);
    CHECK(iov[0].iov_base == buf_front(&buf).data);
    CHECK_EQ(iov[0].iov_len + iov[1].iov_len + iov[2].iov_len, 3 * BUF_CHUNK_BYTES);
    buf_fini(&buf);
}

TEST(consuming_more_than_there_is_is_our_bug)
{
    struct buf buf;
    buf_init(&buf, 10);
    CHECK_OK(buf_append(&buf, SLICE("abc")));
    CHECK_ABORTS(buf_consume(&buf, 4), "4 of 3");
    buf_fini(&buf);
}

TEST(append_without_memory_takes_nothing)
{
    struct buf buf;
    buf_init(&buf, MODEL_BYTES);
    CHECK_OK(buf_append(&buf, SLICE("abc")));
    for (uint64_t nth = 1; nth <= 3; nth++) { /* 4093 fit beside "abc"; three more chunks */
        mem_test_fail_nth(nth);
        CHECK_ERR(buf_append(&buf, some_bytes(3 * BUF_CHUNK_BYTES)), ERR_FULL);
        check_holds(&buf, SLICE("abc"));
        CHECK_EQ(chunk_count(&buf), 1);
    }
    mem_test_fail_nth(0);
    CHECK_OK(buf_append(&buf, some_bytes(3 * BUF_CHUNK_BYTES)));
    CHECK_EQ(buf.len, 3 + 3 * BUF_CHUNK_BYTES);
    buf_fini(&buf);
}

TEST(move_takes_all_or_nothing)
{
    for (size_t len = HALF - 1; len <= HALF + 1; len++) { /* where copying turns into linking */
        struct buf from, to;
        buf_init(&from, MODEL_BYTES);
        CHECK_OK(buf_append(&from, some_bytes(len)));
        buf_init(&to, len + 1);
        CHECK_OK(buf_append(&to, SLICE("ab")));
        CHECK_ERR(buf_move(&to, &from), ERR_FULL);
        check_holds(&to, SLICE("ab"));
        check_holds(&from, some_bytes(len));
        buf_consume(&to, 1);
        CHECK_OK(buf_move(&to, &from));
        CHECK_EQ(to.len, len + 1);
        CHECK(from.len == 0 && !from.first && !from.last);
        buf_consume(&to, 1);
        check_holds(&to, some_bytes(len));
        CHECK_OK(buf_append(&from, SLICE("still usable")));
        buf_fini(&from);
        buf_fini(&to);
    }
}

TEST(move_of_nothing_is_fine)
{
    struct buf from, to;
    buf_init(&from, 10);
    buf_init(&to, 0);
    CHECK_OK(buf_move(&to, &from));
    CHECK(!to.first && to.len == 0);
}

TEST(small_move_without_memory_moves_nothing)
{
    struct buf from, to;
    buf_init(&from, 10);
    buf_init(&to, 10);
    CHECK_OK(buf_append(&from, SLICE("abc")));
    mem_test_fail_nth(1);
    CHECK_ERR(buf_move(&to, &from), ERR_FULL);
    check_holds(&from, SLICE("abc"));
    CHECK_OK(buf_move(&to, &from));
    check_holds(&to, SLICE("abc"));
    buf_fini(&to);
}

/* Many small moves must not hold a chunk each (rule 4). */
TEST(moving_byte_by_byte_fills_chunks)
{
    struct buf from, to;
    buf_init(&from, 10);
    buf_init(&to, MODEL_BYTES);
    for (int i = 0; i < 2 * BUF_CHUNK_BYTES; i++) {
        CHECK_OK(buf_append(&from, SLICE("x")));
        CHECK_OK(buf_move(&to, &from));
    }
    CHECK_EQ(chunk_count(&to), 2);
    buf_fini(&to);
}

struct model {
    char bytes[MODEL_BYTES];
    size_t len;
};

static void random_step(struct buf *buf, struct model *model, uint64_t *seed)
{
    size_t len = test_random(seed) % (test_random(seed) % 4 ? 300 : 9000);
    switch (test_random(seed) % 3) {
    case 0:
    case 1: { /* append, directly or by way of another buf whose front is partly consumed */
        size_t skip = test_random(seed) % 3000;
        struct slice bytes = slice_after(some_bytes(skip + len), skip);
        struct buf other;
        buf_init(&other, MODEL_BYTES);
        CHECK_OK(buf_append(&other, some_bytes(skip + len)));
        buf_consume(&other, skip);
        enum err err = len % 2 ? buf_append(buf, bytes) : buf_move(buf, &other);
        buf_fini(&other);
        CHECK_ERR(err, len > buf->max_bytes - model->len ? ERR_FULL : ERR_OK);
        if (err == ERR_OK) {
            memcpy(model->bytes + model->len, bytes.data, bytes.len);
            model->len += len;
        }
        break;
    }
    default:
        len = len < model->len ? len : model->len;
        buf_consume(buf, len);
        memmove(model->bytes, model->bytes + len, model->len - len);
        model->len -= len;
    }
}

TEST(random_use_agrees_with_a_plain_array)
{
    static struct model model;
    for (uint64_t run = 0; run < 30; run++) {
        uint64_t seed = run;
        struct buf buf;
        buf_init(&buf, MODEL_BYTES - 5000 * (run % 5));
        model.len = 0;
        for (int step = 0; step < 100; step++) {
            random_step(&buf, &model, &seed);
            check_holds(&buf, slice_of(model.bytes, model.len));
            CHECK(chunk_count(&buf) <= 2 + 4 * (int)(buf.len / BUF_CHUNK_BYTES + 1));
        }
        buf_fini(&buf);
    }
}
