/* What a handler sends when it has gathered already: http_conn_send(). */
#include "http/server_rig.h"

#include "testing/test.h"

#include <poll.h>
#include <stdio.h>

static struct server_rig *rig;
static struct client client;
static struct visit *visit; /* it waits for its answer */
static char z_bytes[1000];

static void set_up_with(const char *request, int rcvbuf_bytes)
{
    struct http_limits limits = rig_limits();
    rig = rig_server(&limits);
    rig->on_visit = visit_wait;
    visit = &rig->visits[0];
    client_open_narrow(&client, rig, rcvbuf_bytes);
    client_send_str(&client, request);
    rig_settle(rig);
    CHECK_EQ(rig->visit_count, 1);
}

static void set_up(const char *request)
{
    set_up_with(request, 0);
}

static void tear_down(void)
{
    client_fini(&client);
    rig_server_free(rig);
}

#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

TEST(what_is_sent_leaves_at_once_and_is_told_at_once)
{
    size_t sent = 99;
    set_up(GET);
    visit_begin(visit);
    CHECK_OK(http_conn_send(visit->conn, SLICE("with the head"), &sent));
    CHECK_EQ(sent, 0);
    client_settle(&client);
    CHECK_EQ(visit->sent_bytes, 13);
    size_t head_bytes = client.in.len;
    CHECK_OK(http_conn_send(visit->conn, SLICE("alone"), &sent));
    CHECK_EQ(sent, 5);
    struct pollfd ready = {.fd = client.fd, .events = POLLIN};
    CHECK_EQ(poll(&ready, 1, RIG_PATIENCE_US / 1000), 1);
    client_read(&client); /* and no turn was run */
    CHECK_SLICE(slice_after(text_slice(&client.in), head_bytes), "5\r\nalone\r\n");
    rig_settle(rig);
    CHECK_EQ(visit->sent_bytes, 13); /* not told again */
    visit_end(visit);
    tear_down();
}

TEST(what_is_sent_is_told_once_whoever_reads_how_slowly)
{
    size_t written = 0, told = 0, sent = 0;
    set_up_with(GET, 4096);
    visit_begin(visit);
    rig_settle(rig);
    memset(z_bytes, 'z', sizeof z_bytes);
    while (http_conn_send(visit->conn, slice_of(z_bytes, sizeof z_bytes), &sent) == ERR_OK) {
        written += sizeof z_bytes;
        told += sent;
    }
    CHECK(told > 0 && told < written);
    CHECK_EQ(visit->sent_bytes, 0);
    int calls = visit->room_calls;
    READ_UNTIL(&client, told + visit->sent_bytes == written);
    READ_UNTIL(&client, client_count(&client, "z") == written);
    CHECK_EQ(visit->room_calls, calls + 1);
    visit_end(visit);
    tear_down();
}

TEST(a_chunk_of_any_size_is_sent_whole)
{
    static char bytes[20000];
    static const size_t sizes[] = {1, 15, 16, 255, 256, 4080, 4087, 4088, 4089, 4090, 4096, 20000};
    memset(bytes, 'b', sizeof bytes);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        char expected[32];
        size_t sent;
        set_up(GET);
        visit_begin(visit);
        client_settle(&client);
        client.in.len = 0;
        CHECK_OK(http_conn_send(visit->conn, slice_of(bytes, sizes[i]), &sent));
        visit_end(visit);
        client_settle(&client);
        size_t line = (size_t)snprintf(expected, sizeof expected, "%zx\r\n", sizes[i]);
        CHECK_SLICES(slice_first(text_slice(&client.in), line), slice_of(expected, line));
        CHECK_SLICE(slice_after(text_slice(&client.in), line + sizes[i]), "\r\n0\r\n\r\n");
        CHECK_EQ(client_count(&client, "b"), sizes[i]);
        tear_down();
    }
}

TEST(a_send_without_a_body_counts_as_sent)
{
    size_t sent = 99;
    set_up("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    visit_begin(visit);
    CHECK_OK(http_conn_send(visit->conn, SLICE("unseen"), &sent));
    CHECK_EQ(sent, 0);
    rig_settle(rig);
    CHECK_EQ(visit->sent_bytes, 6);
    visit_end(visit);
    tear_down();
}
