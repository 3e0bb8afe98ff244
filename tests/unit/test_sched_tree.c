/* sched/tree.c against a plain array: order, picks, balance, what every node knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "sched/tree.h"
#include "tests/unit/random.h"

#define NODES 300

/* Checks a subtree and returns its height. */
static int check(const struct tree_node *n, const struct tree_node *up, unsigned *count)
{
    int left, right;

    if (n == NULL)
        return 0;
    assert_ptr_equal(n->up, up);
    left = check(n->left, n, count);
    right = check(n->right, n, count);
    assert_true(left - right <= 1 && right - left <= 1);
    assert_int_equal(n->height, MAX(left, right) + 1);
    assert_false(n->left != NULL && tree_before(n->key, n->left->key));
    assert_false(n->right != NULL && tree_before(n->right->key, n->key));
    ++*count;
    return n->height;
}

static const struct tree_node *slow_pick(const struct tree_node *nodes, uint64_t limit)
{
    const struct tree_node *best = NULL;

    for (unsigned i = 0; i < NODES; i++)
        if (tree_linked(&nodes[i]) && !tree_before(limit, nodes[i].key) &&
            (best == NULL || tree_before(nodes[i].value, best->value)))
            best = &nodes[i];
    return best;
}

static const struct tree_node *slow_first(const struct tree_node *nodes, uint64_t mask)
{
    const struct tree_node *best = NULL;

    for (unsigned i = 0; i < NODES; i++)
        if (tree_linked(&nodes[i]) && (nodes[i].mask & mask) &&
            (best == NULL || tree_before(nodes[i].key, best->key)))
            best = &nodes[i];
    return best;
}

/* The same node, or one that is as good. */
static void same(const struct tree_node *a, const struct tree_node *b, bool by_key)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_int_equal(by_key ? a->key : a->value, by_key ? b->key : b->value);
}

/* Keys and values around the point where they wrap. */
static void change(struct tree *t, struct tree_node *n, struct random *rnd)
{
    if (tree_linked(n)) {
        tree_remove(t, n);
        return;
    }
    n->key = (uint64_t)0 - 500 + random_below(rnd, 1000);
    n->value = (uint64_t)0 - 5000 + random_below(rnd, 10000);
    n->mask = BIT(random_below(rnd, 64)) | BIT(random_below(rnd, 64));
    tree_insert(t, n);
}

static void test_random(void **state)
{
    static struct tree_node nodes[NODES];
    struct random rnd = {7};
    struct tree t = {0};

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t limit = (uint64_t)0 - 600 + random_below(&rnd, 1200);
        uint64_t mask = BIT(random_below(&rnd, 64));
        unsigned count = 0, want = 0;

        change(&t, &nodes[random_below(&rnd, NODES)], &rnd);
        same(tree_pick(&t, limit), slow_pick(nodes, limit), false);
        same(tree_first_with(&t, mask), slow_first(nodes, mask), true);
        same(tree_first(&t), slow_first(nodes, UINT64_MAX), true);
        if (i % 50 != 0)
            continue;
        check(t.root, NULL, &count);
        for (unsigned k = 0; k < NODES; k++)
            want += tree_linked(&nodes[k]);
        assert_int_equal(count, want);
    }
}

/* Equal keys: first in, first out. */
static void test_equals(void **state)
{
    static struct tree_node nodes[100];
    struct tree t = {0};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++) {
        nodes[i] = (struct tree_node){.key = 5, .value = i, .mask = 1};
        tree_insert(&t, &nodes[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++) {
        assert_ptr_equal(tree_first(&t), &nodes[i]);
        tree_remove(&t, &nodes[i]);
    }
    assert_true(tree_empty(&t));
    assert_null(tree_pick(&t, 100));
    assert_null(tree_first_with(&t, UINT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_equals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
