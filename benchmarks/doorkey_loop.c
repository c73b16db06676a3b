/* The SimpleDoorKey world as one plain loop on one core: what its steps cost without JAX.
 *
 * Same rules as envs_jax/doorkey.py at its defaults. A world keeps its grid painted, one word a
 * cell (object, colour, state and direction from the lowest byte up), and a byte for each cell
 * seen; the whole observation, 10 x 10 words, is written in every step.
 */
#include <stdint.h>
#include <string.h>

enum { SIZE = 10, CELLS = SIZE * SIZE, MAX_STEPS = 150, NUM_COLORS = 6 };
enum { EMPTY = 1, WALL = 2 | 5 << 8, DOOR = 4, KEY = 5, OPEN = 0, CLOSED = 1, LOCKED = 2, NO_DIRECTION = 4 };
enum { LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE };

typedef struct {
    uint32_t grid[CELLS];
    int8_t seen[CELLS]; /* -1: seen, 0: not */
    int32_t agent, direction, step_count;
    uint32_t hand; /* EMPTY, or the word of the carried key */
    uint64_t random;
} World;

static const int STEP_X[4] = {1, 0, -1, 0}, STEP_Y[4] = {0, 1, 0, -1};
static uint16_t lit_cells[512]; /* of a 3 x 3 view, by its opaque cells; bit 3 * row + column, nearest row first */

size_t world_bytes(void) { return sizeof(World); }

/* MiniGrid's spread of light: through clear cells along a row, then to the three in front. */
void prepare(void) {
    for (int opaque = 0; opaque < 512; opaque++) {
        int lit = 2, all = 0;
        for (int row = 0; row < 3; row++) {
            int solid = opaque >> 3 * row & 7, clear;
            for (int i = 0; i < 2; i++) {
                clear = lit & ~solid;
                lit = (lit | clear << 1 | clear >> 1) & 7;
            }
            all |= lit << 3 * row;
            clear = lit & ~solid;
            lit = (clear | clear << 1 | clear >> 1) & 7;
        }
        lit_cells[opaque] = (uint16_t)all;
    }
}

static int is_opaque(uint32_t word) {
    return word == WALL || ((word & 0xFF) == DOOR && word >> 16 != OPEN);
}

static void look(World *w) {
    int cells[9], opaque = 0;
    int ahead_x = STEP_X[w->direction], ahead_y = STEP_Y[w->direction];
    int x = w->agent / SIZE, y = w->agent % SIZE;
    for (int i = 0; i < 9; i++) {
        int far = i / 3, side = i % 3 - 1;
        int cx = x + far * ahead_x - side * ahead_y, cy = y + far * ahead_y + side * ahead_x;
        int inside = (unsigned)cx < SIZE && (unsigned)cy < SIZE;
        cells[i] = inside ? cx * SIZE + cy : -1;
        opaque |= (!inside || is_opaque(w->grid[cells[i]])) << i;
    }
    int lit = lit_cells[opaque];
    for (int i = 0; i < 9; i++)
        if (lit >> i & 1 && cells[i] >= 0) w->seen[cells[i]] = -1;
}

static void observe(const World *w, uint32_t *obs) {
    for (int i = 0; i < CELLS; i++)
        obs[i] = (w->grid[i] & (uint32_t)(int32_t)w->seen[i]) | (uint32_t)NO_DIRECTION << 24;
    obs[w->agent] = (w->hand & (uint32_t)(int32_t)w->seen[w->agent]) | (uint32_t)w->direction << 24;
}

/* A given layout at the start of an episode. */
void start(World *w, int columns, int rows, int door, int color, int key, int agent, int direction) {
    for (int i = 0; i < CELLS; i++) {
        int x = i / SIZE, y = i % SIZE;
        int border = x == 0 || y == 0 || x == columns - 1 || y == rows - 1;
        w->grid[i] = x < columns && y < rows && border ? WALL : EMPTY;
    }
    w->grid[door] = (uint32_t)(DOOR | color << 8 | LOCKED << 16);
    w->grid[key] = (uint32_t)(KEY | color << 8);
    memset(w->seen, 0, sizeof w->seen);
    w->agent = agent, w->direction = direction, w->step_count = 0, w->hand = EMPTY;
    look(w);
}

static int below(World *w, int limit) {
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return (int)((w->random >> 32) * (uint64_t)limit >> 32);
}

static void reset(World *w) {
    int columns = 5 + below(w, 6), rows = 5 + below(w, 6), side = below(w, 4);
    int place = 1 + below(w, (side % 2 ? columns : rows) - 2);
    int far = side == 0 ? columns - 1 : side == 1 ? rows - 1 : 0;
    int door = side % 2 ? place * SIZE + far : far * SIZE + place;
    int color = below(w, NUM_COLORS), height = rows - 2, inside = (columns - 2) * height;
    int agent = below(w, inside), key = below(w, inside - 1);
    key += key >= agent;
    int key_cell = (key / height + 1) * SIZE + key % height + 1;
    int agent_cell = (agent / height + 1) * SIZE + agent % height + 1;
    start(w, columns, rows, door, color, key_cell, agent_cell, below(w, 4));
}

/* Fresh worlds at steps spread over an episode, so that they don't all end at once. */
void reset_all(World *worlds, int n) {
    for (int i = 0; i < n; i++) {
        worlds[i].random = 0x9E3779B97F4A7C15u * (uint64_t)(i + 1);
        reset(&worlds[i]);
        worlds[i].step_count = below(&worlds[i], MAX_STEPS);
    }
}

/* Returns whether a door was opened. */
static int act(World *w, int action) {
    int x = w->agent / SIZE + STEP_X[w->direction], y = w->agent % SIZE + STEP_Y[w->direction];
    int inside = (unsigned)x < SIZE && (unsigned)y < SIZE, front = x * SIZE + y;
    uint32_t content = inside ? w->grid[front] : WALL;
    int is_door = (content & 0xFF) == DOOR, state = (int)(content >> 16);
    if (action == LEFT) w->direction = (w->direction + 3) & 3;
    if (action == RIGHT) w->direction = (w->direction + 1) & 3;
    if (action == FORWARD && (content == EMPTY || (is_door && state == OPEN))) w->agent = front;
    if (action == PICKUP && (content & 0xFF) == KEY && w->hand == EMPTY) w->hand = content, w->grid[front] = EMPTY;
    if (action == DROP && w->hand != EMPTY && content == EMPTY) w->grid[front] = w->hand, w->hand = EMPTY;
    if (action != TOGGLE || !is_door) return 0;
    int fits = w->hand != EMPTY && w->hand >> 8 == (content >> 8 & 0xFF);
    int after = state == LOCKED ? (fits ? OPEN : LOCKED) : CLOSED - state;
    w->grid[front] = (content & 0xFFFF) | (uint32_t)after << 16;
    return after == OPEN;
}

/* `steps` steps of n worlds: actions int8[steps, n], obs uint32[n, CELLS], rewards float[n]; returns episodes ended. */
int64_t run(World *worlds, const int8_t *actions, uint32_t *obs, float *rewards, int n, int steps) {
    int64_t ended = 0;
    for (int t = 0; t < steps; t++) {
        for (int i = 0; i < n; i++) {
            World *w = &worlds[i];
            int success = act(w, actions[(int64_t)t * n + i]);
            look(w);
            w->step_count++;
            rewards[i] = success ? 1 - 0.9f * (float)w->step_count / MAX_STEPS : 0;
            if (success || w->step_count >= MAX_STEPS) reset(w), ended++;
            observe(w, obs + (int64_t)i * CELLS);
        }
    }
    return ended;
}
