/*
 * A balanced search tree (AVL) of nodes that sit in their owners: sorted by key, and every node
 * knows the least value and the union of the masks below it. So "the least value among the keys
 * up to X" and "the first that may run on CPU N" cost O(log n), as insertion and removal do.
 *
 * Keys and values are points on a circle of 64 bits: all those in one tree lie within half of it
 * (2^63), and may wrap.
 */
#ifndef SCHED_TREE_H
#define SCHED_TREE_H

#include "lib/types.h"

struct tree_node {
    struct tree_node *up, *left, *right;
    int height; /* 1: a leaf; 0: in no tree */
    uint64_t key, value, mask;
    uint64_t least; /* value, of this node and all below it */
    uint64_t any;   /* mask, likewise */
};

struct tree {
    struct tree_node *root;
    uint64_t steps; /* nodes visited by all operations: what they cost */
};

/* Whether a lies before b. */
static inline bool tree_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}
static inline bool tree_linked(const struct tree_node *n)
{
    return n->height != 0;
}
static inline bool tree_empty(const struct tree *t)
{
    return t->root == NULL;
}

/* n's key, value and mask are set; it is in no tree. It comes after its equals. */
void tree_insert(struct tree *t, struct tree_node *n);
void tree_remove(struct tree *t, struct tree_node *n);
/* The least key; NULL: the tree is empty. */
struct tree_node *tree_first(struct tree *t);
/* Among the nodes with key <= limit, the one with the least value; NULL: there is none. */
struct tree_node *tree_pick(struct tree *t, uint64_t limit);
/* Among the nodes whose mask has one of these bits, the one with the least key; NULL: none. */
struct tree_node *tree_first_with(struct tree *t, uint64_t mask);

#endif
