/* AVL: Adelson-Velsky and Landis, 1962. The heights of two siblings differ by at most one. */
#include "lib/assert.h"
#include "sched/tree.h"

static int height(const struct tree_node *n)
{
    return n != NULL ? n->height : 0;
}

/* Brings what n knows about its subtree up to date. */
static void update(struct tree *t, struct tree_node *n)
{
    const struct tree_node *child[] = {n->left, n->right};

    t->steps++;
    n->height = MAX(height(n->left), height(n->right)) + 1;
    n->least = n->value;
    n->any = n->mask;
    for (unsigned i = 0; i < ARRAY_SIZE(child); i++) {
        if (child[i] == NULL)
            continue;
        if (tree_before(child[i]->least, n->least))
            n->least = child[i]->least;
        n->any |= child[i]->any;
    }
}

/* The same of a node that has none below it. */
static void update_leaf(struct tree *t, struct tree_node *n)
{
    t->steps++;
    n->height = 1;
    n->least = n->value;
    n->any = n->mask;
}

/* Where a pointer to n is: in its parent, or the root. */
static struct tree_node **link_of(struct tree *t, struct tree_node *n)
{
    if (n->up == NULL)
        return &t->root;
    return n->up->left == n ? &n->up->left : &n->up->right;
}

static void replace(struct tree *t, struct tree_node *n, struct tree_node *with)
{
    *link_of(t, n) = with;
    if (with != NULL)
        with->up = n->up;
}

/* n's left child comes up; n becomes its right one. Returns the new top. */
static struct tree_node *rotate_right(struct tree *t, struct tree_node *n)
{
    struct tree_node *top = n->left;

    replace(t, n, top);
    n->left = top->right;
    if (n->left != NULL)
        n->left->up = n;
    top->right = n;
    n->up = top;
    update(t, n);
    update(t, top);
    return top;
}

static struct tree_node *rotate_left(struct tree *t, struct tree_node *n)
{
    struct tree_node *top = n->right;

    replace(t, n, top);
    n->right = top->left;
    if (n->right != NULL)
        n->right->up = n;
    top->left = n;
    n->up = top;
    update(t, n);
    update(t, top);
    return top;
}

static struct tree_node *balance(struct tree *t, struct tree_node *n)
{
    int lean = height(n->left) - height(n->right);

    if (lean > 1) {
        if (height(n->left->left) < height(n->left->right))
            rotate_left(t, n->left);
        return rotate_right(t, n);
    }
    if (lean < -1) {
        if (height(n->right->right) < height(n->right->left))
            rotate_right(t, n->right);
        return rotate_left(t, n);
    }
    return n;
}

/* From n, whose children have changed, up to the root. */
static void repair(struct tree *t, struct tree_node *n)
{
    for (; n != NULL; n = n->up) {
        update(t, n);
        n = balance(t, n);
    }
}

void tree_insert(struct tree *t, struct tree_node *n)
{
    struct tree_node **link = &t->root, *up = NULL;

    ASSERT(!tree_linked(n));
    if (t->root == NULL) {
        n->up = n->left = n->right = NULL;
        t->root = n;
        update_leaf(t, n);
        return;
    }
    while (*link != NULL) {
        t->steps++;
        up = *link;
        link = tree_before(n->key, up->key) ? &up->left : &up->right;
    }
    *link = n;
    n->up = up;
    n->left = n->right = NULL;
    repair(t, n);
}

/* n has two children: the next one in order takes its place. Returns where to repair from. */
static struct tree_node *replace_by_next(struct tree *t, struct tree_node *n)
{
    struct tree_node *next = n->right, *from;

    for (; next->left != NULL; next = next->left)
        t->steps++;
    from = next->up == n ? next : next->up;
    replace(t, next, next->right);
    replace(t, n, next);
    next->left = n->left;
    next->left->up = next;
    next->right = n->right;
    if (next->right != NULL)
        next->right->up = next;
    return from;
}

void tree_remove(struct tree *t, struct tree_node *n)
{
    struct tree_node *from = n->up;

    ASSERT(tree_linked(n));
    if (t->root == n && n->height == 1) {
        t->root = NULL;
        n->height = 0;
        return;
    }
    if (n->left != NULL && n->right != NULL)
        from = replace_by_next(t, n);
    else
        replace(t, n, n->left != NULL ? n->left : n->right);
    n->height = 0;
    repair(t, from);
}

struct tree_node *tree_first(struct tree *t)
{
    struct tree_node *n = t->root;

    while (n != NULL && n->left != NULL) {
        t->steps++;
        n = n->left;
    }
    return n;
}

/* The node below top, or top itself, that has its least value. */
static struct tree_node *least_in(struct tree *t, struct tree_node *top)
{
    struct tree_node *n = top;

    while (n->value != top->least) {
        t->steps++;
        n = n->left != NULL && n->left->least == top->least ? n->left : n->right;
    }
    return n;
}

/*
 * On the way down to limit, all of a node's left side is below it as soon as the node is: those
 * subtrees and the nodes on the way are all there is to look at.
 */
struct tree_node *tree_pick(struct tree *t, uint64_t limit)
{
    struct tree_node *best = NULL, *side = NULL, *n = t->root;

    while (n != NULL) {
        t->steps++;
        if (tree_before(limit, n->key)) {
            n = n->left;
            continue;
        }
        if (n->left != NULL && (side == NULL || tree_before(n->left->least, side->least)))
            side = n->left;
        if (best == NULL || tree_before(n->value, best->value))
            best = n;
        n = n->right;
    }
    if (side != NULL && !tree_before(best->value, side->least))
        return least_in(t, side);
    return best;
}

struct tree_node *tree_first_with(struct tree *t, uint64_t mask)
{
    struct tree_node *n = t->root;

    if (n == NULL || !(n->any & mask))
        return NULL;
    for (;;) {
        t->steps++;
        if (n->left != NULL && (n->left->any & mask))
            n = n->left;
        else if (n->mask & mask)
            return n;
        else
            n = n->right;
    }
}
