#include "http/http1_write.h"

#include "testing/test.h"

static struct slice head_text(struct text *out, const struct http1_reply_head *head)
{
    text_init(out, 4096);
    http1_write_head(out, head);
    http1_write_head_end(out);
    CHECK_OK(text_status(out));
    return text_slice(out);
}

TEST(a_head_says_how_long_its_body_is)
{
    struct text out;
    CHECK_SLICE(head_text(&out, &(struct http1_reply_head){.status = 200,
                                                           .framing = HTTP1_FRAMING_LENGTH,
                                                           .length = 12,
                                                           .keep_alive = true,
                                                           .date = SLICE("today"),
                                                           .content_type = SLICE("text/plain"),
                                                           .fields = SLICE("A: 1\r\nB: 2\r\n")}),
                "HTTP/1.1 200 OK\r\nDate: today\r\nConnection: keep-alive\r\n"
                "Content-Type: text/plain\r\nContent-Length: 12\r\nA: 1\r\nB: 2\r\n\r\n");
    text_fini(&out);
}

TEST(a_chunked_head_has_no_length)
{
    struct text out;
    CHECK_SLICE(head_text(&out, &(struct http1_reply_head){.status = 404,
                                                           .framing = HTTP1_FRAMING_CHUNKED,
                                                           .date = SLICE("today")}),
                "HTTP/1.1 404 Not Found\r\nDate: today\r\nConnection: close\r\n"
                "Transfer-Encoding: chunked\r\n\r\n");
    text_fini(&out);
}

TEST(a_head_without_body_or_until_close_speaks_of_no_length_at_all)
{
    struct text out;
    for (int i = 0; i < 2; i++) {
        struct http1_reply_head head = {.status = 204,
                                        .framing = i ? HTTP1_FRAMING_CLOSE : HTTP1_FRAMING_NONE,
                                        .date = SLICE("today")};
        CHECK_SLICE(head_text(&out, &head),
                    "HTTP/1.1 204 No Content\r\nDate: today\r\nConnection: close\r\n\r\n");
        text_fini(&out);
    }
}

TEST(sound_fields_are_whole_lines_that_are_not_the_servers_own)
{
    CHECK(http1_fields_are_sound(SLICE("")));
    CHECK(http1_fields_are_sound(SLICE("X: 1\r\n")));
    CHECK(http1_fields_are_sound(SLICE("X-Y: \xc3\xa9 \t!\r\nZ:\r\n")));
    static const char *const unsound[] = {
        "X: 1",
        "X: 1\n",
        "X: 1\r\n\r\n",
        "\r\n",
        ": 1\r\n",
        "X 1\r\n",
        "X : 1\r\n",
        "X: a\rb\r\n",
        "X: a\nEvil: b\r\n",
        "X: a\x01\r\n",
        "Connection: close\r\n",
        "X: 1\r\ncontent-length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "DATE: now\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(unsound); i++)
        CHECK_EQ(http1_fields_are_sound(slice_str(unsound[i])) ? (int)i : -1, -1);
    CHECK(!http1_fields_are_sound(slice_of("X: \0\r\n", 6)));
}

TEST(a_chunk_line_is_the_size_in_hex)
{
    char line[HTTP1_CHUNK_LINE_MAX];
    CHECK_SLICE(http1_chunk_line(1, line), "1\r\n");
    CHECK_SLICE(http1_chunk_line(15, line), "f\r\n");
    CHECK_SLICE(http1_chunk_line(16, line), "10\r\n");
    CHECK_SLICE(http1_chunk_line(0xabcdef, line), "abcdef\r\n");
    CHECK_SLICE(http1_chunk_line(SIZE_MAX, line), "ffffffffffffffff\r\n");
}

TEST(chunk_room_is_the_most_that_fits)
{
    for (size_t room = 0; room < 70000; room++) {
        size_t data = http1_chunk_room(room);
        CHECK(data == 0 || http1_chunk_bytes(data) <= room);
        CHECK(http1_chunk_bytes(data + 1) > room);
    }
}

TEST(a_date_is_in_the_form_of_rfc_9110)
{
    struct http_date date = {0};
    CHECK_SLICE(http_date_at(&date, 784111777000), "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK_SLICE(http_date_at(&date, 0), "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK_SLICE(http_date_at(&date, 1709164800000), "Thu, 29 Feb 2024 00:00:00 GMT");
    CHECK_SLICE(http_date_at(&date, 253402300799999), "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST(a_date_is_made_once_a_second)
{
    struct http_date date = {0};
    CHECK_SLICE(http_date_at(&date, 1000), "Thu, 01 Jan 1970 00:00:01 GMT");
    date.text[0] = 'X'; /* would not survive being made again */
    CHECK_EQ(http_date_at(&date, 1999).data[0], 'X');
    CHECK_SLICE(http_date_at(&date, 2000), "Thu, 01 Jan 1970 00:00:02 GMT");
}
