/* Scores of one decision's candidates by a sum of regression trees, to the bit as LightGBM adds them up.
 *
 * Leaves of a tree are numbered from left to right, and a word of bits says which can still be reached. A split whose condition is false
 * clears the leaves below its left side; the leaf that a row falls into is then the lowest bit that is left (Lucchese et al. 2015,
 * "QuickScorer", section 3). Splits are sorted by column and threshold, so that the false ones of a column are a run from its start. All
 * candidates of a decision share the entity's features: those are looked at once. A candidate's own columns never change: what they clear
 * is made beforehand. What is left for a decision is one AND, one look-up and one addition for each candidate and tree.
 *
 * Nothing here is written to after it was made, so any thread may call; what a call needs to write it allocates.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define TOGETHER 4 /* candidates at once, so that their additions need not wait for each other */

enum kind { MISSING_NONE, MISSING_ZERO, MISSING_NAN, CATEGORIES };
enum link { IDENTITY, EXPONENTIAL, LOGISTIC, SQUARE, LOG_ONE_PLUS_EXP };

/* Splits of one column that treat what is missing alike. */
struct group {
    int64_t kind;
    int64_t begin, end;                 /* its splits; numerical ones by ascending threshold */
    int64_t default_begin, default_end; /* what it clears where the value is missing */
};

struct model {
    int64_t features, own, matched, candidates, trees, words; /* columns of each sort; words: of all trees together */
    int64_t link;
    double scale;
    const int64_t *groups_of;        /* (columns + 1,) where each column's groups begin */
    const struct group *groups;      /* by column */
    const double *thresholds;        /* of each split; of one by categories the number of its set */
    const int32_t *split_words;      /* the word that it clears leaves of */
    const uint64_t *split_keeps;     /* the leaves that it keeps there */
    const int32_t *default_words;    /* the same of what is cleared where a value is missing */
    const uint64_t *default_keeps;
    const int64_t *set_begins;       /* (sets + 1,) where the bits of each set of categories begin */
    const uint32_t *set_bits;
    const int32_t *first_words;      /* (trees + 1,) where each tree's words begin */
    const int32_t *first_leaves;     /* (trees,) where each tree's leaves begin */
    const double *leaves;            /* their values */
    const int64_t *matched_features; /* (candidates, matched) which feature a column takes; `features` for none */
    const uint64_t *own_keeps;       /* (candidates, words) leaves that a candidate's own columns keep */
};

static const double zero_threshold = (double)1e-35f;

static int in_set(const struct model *model, int64_t set, double value)
{
    int32_t code = value > -1.0 && value < 2147483648.0 ? (int32_t)value : -1;
    const uint32_t *bits = model->set_bits + model->set_begins[set];
    int64_t count = model->set_begins[set + 1] - model->set_begins[set];
    return code >= 0 && code / 32 < count && (bits[code / 32] >> (code % 32) & 1u);
}

static void clear(const struct model *model, int64_t column, double value, uint64_t *alive)
{
    if (fabs(value) <= zero_threshold)
        value = 0.0;
    for (int64_t number = model->groups_of[column]; number < model->groups_of[column + 1]; number++) {
        const struct group *group = model->groups + number;
        double seen = value != value && group->kind != MISSING_NAN ? 0.0 : value;
        if (group->kind == CATEGORIES) {
            for (int64_t split = group->begin; split < group->end; split++)
                if (!in_set(model, (int64_t)model->thresholds[split], value))
                    alive[model->split_words[split]] &= model->split_keeps[split];
        } else if (seen != seen || (group->kind == MISSING_ZERO && seen == 0.0)) {
            for (int64_t place = group->default_begin; place < group->default_end; place++)
                alive[model->default_words[place]] &= model->default_keeps[place];
        } else {
            for (int64_t split = group->begin; split < group->end && model->thresholds[split] < seen; split++)
                alive[model->split_words[split]] &= model->split_keeps[split];
        }
    }
}

static double linked(const struct model *model, double sum)
{
    switch (model->link) {
    case EXPONENTIAL:
        return exp(sum);
    case LOGISTIC:
        return 1.0 / (1.0 + exp(-model->scale * sum));
    case SQUARE:
        return ((sum > 0.0) - (sum < 0.0)) * sum * sum;
    case LOG_ONE_PLUS_EXP:
        return log1p(exp(sum));
    default:
        return sum;
    }
}

/* The value of the leaf that is left of a tree: the lowest bit of its words that both keep. */
static inline double leaf_left(const struct model *model, int64_t tree, const uint64_t *alive, const uint64_t *keeps)
{
    int64_t word = model->first_words[tree], end = model->first_words[tree + 1], at = word;
    uint64_t left = alive[at] & keeps[at];
    while (!left && ++at < end)
        left = alive[at] & keeps[at];
    return model->leaves[model->first_leaves[tree] + (left ? 64 * (at - word) + __builtin_ctzll(left) : 0)];
}

/* Adds up the leaves of TOGETHER candidates. A tree has one word unless it has more than 64 leaves. */
static void add_up(const struct model *model, const uint64_t *alive, const uint64_t *const keeps[TOGETHER], double sums[TOGETHER])
{
    for (int64_t tree = 0; tree < model->trees; tree++)
        for (int each = 0; each < TOGETHER; each++)
            sums[each] += leaf_left(model, tree, alive, keeps[each]);
}

static void add_up_small(const struct model *model, const uint64_t *alive, const uint64_t *const keeps[TOGETHER], double sums[TOGETHER])
{
    for (int64_t tree = 0; tree < model->trees; tree++) {
        const double *leaves = model->leaves + model->first_leaves[tree];
        for (int each = 0; each < TOGETHER; each++)
            sums[each] += leaves[__builtin_ctzll(alive[tree] & keeps[each][tree])];
    }
}

/* What the own columns of each candidate keep: (candidates, words), from (candidates, own) values. */
void offerloop_own_keeps(const struct model *model, const double *values, uint64_t *keeps)
{
    memset(keeps, 0xff, (size_t)(model->candidates * model->words) * sizeof *keeps);
    for (int64_t candidate = 0; candidate < model->candidates; candidate++)
        for (int64_t column = 0; column < model->own; column++)
            clear(model, model->features + column, values[candidate * model->own + column], keeps + candidate * model->words);
}

/* What one tree alone gives each of `count` rows of a model that has columns of the entity only. 0, or 1 without memory. */
int offerloop_tree(const struct model *model, int64_t tree, const double *rows, int64_t count, double *values)
{
    uint64_t *alive = malloc((size_t)model->words * sizeof *alive);
    if (!alive)
        return 1;
    for (int64_t row = 0; row < count; row++) {
        memset(alive, 0xff, (size_t)model->words * sizeof *alive);
        for (int64_t column = 0; column < model->features; column++)
            clear(model, column, rows[row * model->features + column], alive);
        values[row] = 0.0 + leaf_left(model, tree, alive, alive);
    }
    free(alive);
    return 0;
}

/* Scores of the candidates at `count` positions, for an entity's features. 0, 1 without memory, 2 where a position is none. */
int offerloop_score(const struct model *model, const double *features, const int64_t *positions, int64_t count, double *scores)
{
    for (int64_t place = 0; place < count; place++)
        if (positions[place] < 0 || positions[place] >= model->candidates)
            return 2;
    size_t words = (size_t)model->words, rows = model->matched ? 1 + TOGETHER : 1;
    uint64_t *alive = malloc(rows * (words ? words : 1) * sizeof *alive);
    if (!alive)
        return 1;
    memset(alive, 0xff, words * sizeof *alive);
    for (int64_t column = 0; column < model->features; column++)
        clear(model, column, features[column], alive);
    for (int64_t begin = 0; begin < count; begin += TOGETHER) {
        const uint64_t *keeps[TOGETHER];
        double sums[TOGETHER] = {0.0};
        int64_t together = count - begin < TOGETHER ? count - begin : TOGETHER;
        for (int64_t each = 0; each < TOGETHER; each++) {
            int64_t candidate = positions[begin + (each < together ? each : 0)];
            keeps[each] = model->own_keeps + (size_t)candidate * words;
            if (!model->matched || each >= together)
                continue;
            uint64_t *own = alive + (1 + (size_t)each) * words;
            memcpy(own, keeps[each], words * sizeof *own);
            for (int64_t column = 0; column < model->matched; column++) {
                int64_t feature = model->matched_features[candidate * model->matched + column];
                clear(model, model->features + model->own + column, feature < model->features ? features[feature] : NAN, own);
            }
            keeps[each] = own;
        }
        (model->words == model->trees ? add_up_small : add_up)(model, alive, keeps, sums);
        for (int64_t each = 0; each < together; each++)
            scores[begin + each] = linked(model, sums[each]);
    }
    free(alive);
    return 0;
}
