/* list_test - nodes that know where they are. */
#include "base/list.h"
#include "testing/test.h"

struct item {
    int number;
    struct list link;
};

static int number_of(struct list *node)
{
    return CONTAINER_OF(node, struct item, link)->number;
}

TEST(order_is_that_of_pushing)
{
    struct list head = LIST_INIT(head);
    struct item items[3] = {{1, {0}}, {2, {0}}, {0, {0}}};
    CHECK(list_is_empty(&head) && !list_pop_front(&head));
    list_push_back(&head, &items[0].link);
    list_push_back(&head, &items[1].link);
    list_push_front(&head, &items[2].link);
    int expected = 0;
    LIST_FOREACH (node, &head)
        CHECK_EQ(number_of(node), expected++);
    CHECK_EQ(expected, 3);
    for (expected = 0; expected < 3; expected++)
        CHECK_EQ(number_of(list_pop_front(&head)), expected);
    CHECK(list_is_empty(&head));
}

TEST(remove_twice_is_harmless)
{
    struct list head = LIST_INIT(head), a, b;
    list_init(&a);
    CHECK(!list_is_linked(&a));
    list_remove(&a);
    list_push_back(&head, &a);
    list_push_back(&head, &b);
    CHECK(list_is_linked(&a));
    list_remove(&a);
    list_remove(&a);
    CHECK(head.next == &b && head.prev == &b && !list_is_linked(&a));
}

TEST(visited_node_may_leave)
{
    struct list head = LIST_INIT(head);
    struct item items[5];
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        list_push_back(&head, &items[i].link);
    }
    int visited = 0;
    LIST_FOREACH_SAFE (node, &head) {
        visited++;
        if (number_of(node) != 2)
            list_remove(node);
    }
    CHECK_EQ(visited, 5);
    CHECK(head.next == &items[2].link && head.prev == &items[2].link);
}
