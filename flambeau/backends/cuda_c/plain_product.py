"""CUDA C of a tile of a product in float32 or float64, by multiplications and additions.

Both operands' parts are held in shared memory, a few steps along k at a time, while the next ones
are on their way. A thread makes packs of rows by packs of columns, which it reads 16 bytes at once.
"""

from collections.abc import Callable

from flambeau.backends.cuda_c.printer import indent
from flambeau.backends.cuda_c.values import C_TYPE
from flambeau.backends.llvm.program import ITEM_BYTES

THREADS = 256
# steps along k that are held at a time: so few of float32 that two blocks have registers enough
DEPTHS = {"f32": 8, "f64": 16}

HELPERS = """\
static const int DEPTH = {depth}, PACK = {pack}, THREADS = {threads};
static const int ROW_PITCH = ROWS + PACK, COLUMN_PITCH = COLUMNS + PACK;
static const int HELD = 2 * DEPTH * (ROW_PITCH + COLUMN_PITCH), FINISHED = 16 * PACK * COLUMNS;
typedef {type} Item;

struct __align__(16) Pack {{
    Item items[PACK];
}};

// what a thread reads of a part of an operand, LINES across by DEPTH along k, neighbours in memory
// by neighbours; what lies outside is 0
template <int LINES>
static __device__ __forceinline__ void fetch(
    Item (&items)[LINES * DEPTH / THREADS], const Item *base, long long line_stride,
    long long step_stride, long long lines, long long steps, bool along)
{{
    const int line = along ? threadIdx.x / DEPTH : threadIdx.x % LINES;
    const int step = along ? threadIdx.x % DEPTH : threadIdx.x / LINES;
    const long long stride = along ? THREADS / DEPTH * line_stride : THREADS / LINES * step_stride;
    const Item *source = base + line * line_stride + step * step_stride;
    if (lines >= LINES && steps >= DEPTH) {{
        #pragma unroll
        for (int n = 0; n < LINES * DEPTH / THREADS; ++n) items[n] = source[n * stride];
        return;
    }}
    #pragma unroll
    for (int n = 0; n < LINES * DEPTH / THREADS; ++n) {{
        const bool inside = along ? line + n * (THREADS / DEPTH) < lines && step < steps
                                  : line < lines && step + n * (THREADS / LINES) < steps;
        items[n] = inside ? source[n * stride] : 0;
    }}
}}

// where `fetch` read from decides where its items go: (DEPTH, LINES), with room behind every step
template <int LINES>
static __device__ __forceinline__ void keep(
    Item *held, const Item (&items)[LINES * DEPTH / THREADS], bool along)
{{
    const int line = along ? threadIdx.x / DEPTH : threadIdx.x % LINES;
    const int step = along ? threadIdx.x % DEPTH : threadIdx.x / LINES;
    Item *target = held + step * (LINES + PACK) + line;
    const int stride = along ? THREADS / DEPTH : THREADS / LINES * (LINES + PACK);
    #pragma unroll
    for (int n = 0; n < LINES * DEPTH / THREADS; ++n) target[n * stride] = items[n];
}}
"""

BODY = """\
__shared__ __align__(16) Item pool[HELD > FINISHED ? HELD : FINISHED];
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int down = (warp / 2 * 4 + lane / 8) * PACK, right = (warp % 2 * 8 + lane % 8) * PACK;
const bool left_along = llabs(left_step) <= llabs(left_row);
const bool right_along = llabs(right_step) <= llabs(right_column);
const Item *left_part = in0 + number * left_next + top * left_row;
const Item *right_part = in1 + number * right_next + side * right_column;
Item left_items[ROWS * DEPTH / THREADS], right_items[COLUMNS * DEPTH / THREADS];
Item sums[ROWS / 16][COLUMNS / 16] = {};
fetch<ROWS>(left_items, left_part, left_row, left_step, m - top, k, left_along);
fetch<COLUMNS>(right_items, right_part, right_column, right_step, n - side, k, right_along);
int turn = 0;
for (long long depth = 0; depth < k; depth += DEPTH) {
    Item *left_held = pool + turn * DEPTH * (ROW_PITCH + COLUMN_PITCH);
    Item *right_held = left_held + DEPTH * ROW_PITCH;
    keep<ROWS>(left_held, left_items, left_along);
    keep<COLUMNS>(right_held, right_items, right_along);
    __syncthreads();
    const long long after = depth + DEPTH;
    if (after < k) {
        fetch<ROWS>(left_items, left_part + after * left_step, left_row, left_step, m - top,
                    k - after, left_along);
        fetch<COLUMNS>(right_items, right_part + after * right_step, right_column, right_step,
                       n - side, k - after, right_along);
    }
    #pragma unroll
    for (int step = 0; step < DEPTH; ++step) {
        Pack a[ROWS / 16 / PACK], b[COLUMNS / 16 / PACK];
        #pragma unroll
        for (int part = 0; part < ROWS / 16 / PACK; ++part)
            a[part] = *(const Pack *)(left_held + step * ROW_PITCH + part * 16 * PACK + down);
        #pragma unroll
        for (int part = 0; part < COLUMNS / 16 / PACK; ++part)
            b[part] = *(const Pack *)(right_held + step * COLUMN_PITCH + part * 16 * PACK + right);
        #pragma unroll
        for (int r = 0; r < ROWS / 16; ++r)
            #pragma unroll
            for (int c = 0; c < COLUMNS / 16; ++c)
                sums[r][c] = FMA(a[r / PACK].items[r % PACK], b[c / PACK].items[c % PACK],
                                 sums[r][c]);
    }
    turn ^= 1;
}
"""

# every thread's rows of one pack go to shared memory, where all threads take neighbours from
STORES = """\
#pragma unroll
for (int part = 0; part < ROWS / 16 / PACK; ++part) {
    __syncthreads();
    #pragma unroll
    for (int r = 0; r < PACK; ++r)
        #pragma unroll
        for (int c = 0; c < COLUMNS / 16; ++c)
            pool[(down + r) * COLUMNS + c / PACK * 16 * PACK + right + c % PACK] =
                sums[part * PACK + r][c];
    __syncthreads();
    #pragma unroll 4
    for (int item = threadIdx.x; item < FINISHED; item += THREADS) {
        const long long row = top + part * 16 * PACK + item / COLUMNS;
        const long long column = side + item % COLUMNS;
        if (row < m && column < n) {
            const Item sum = pool[item];
STORE
        }
    }
}
"""


def text(kind: str, rows: int, columns: int
         ) -> tuple[list[str], list[str], Callable[[list[str]], list[str]]]:
    """Functions, the sums of a tile, and how they are stored by lines that take each `sum`."""
    pack = 16 // ITEM_BYTES[kind]
    helpers = HELPERS.format(depth=DEPTHS[kind], pack=pack, threads=THREADS, type=C_TYPE[kind])
    body = BODY.replace("FMA", "fmaf" if kind == "f32" else "fma")

    def stores(lines: list[str]) -> list[str]:
        inner = "\n".join(indent(indent(indent(lines))))
        return STORES.replace("STORE\n", inner + "\n").splitlines()

    return helpers.splitlines(), body.splitlines(), stores
