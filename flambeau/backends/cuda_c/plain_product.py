"""CUDA C of a tile of a product in float32, by plain arithmetic, or float64, by tensor cores.

Both operands' parts are held in shared memory, a few steps along k at a time, while the next ones
are on their way. In float32 a thread makes packs of rows by packs of columns, which it reads 16
bytes at once. In float64 a warp makes matrices of 8 by 8, four steps along k at a time.
"""

from collections.abc import Callable
from typing import NamedTuple

from flambeau.backends.cuda_c.printer import indent
from flambeau.backends.cuda_c.values import C_TYPE
from flambeau.backends.llvm.program import ITEM_BYTES

THREADS = 256
# steps along k that are held at a time: so few that registers are enough, for two blocks in float32
DEPTH = 8

HELPERS = """\
static const int DEPTH = {depth}, PACK = {pack}, THREADS = {threads}, ROOM = 4;
static const int ROW_PITCH = ROWS + ROOM, COLUMN_PITCH = COLUMNS + ROOM;
static const int BAND = 16 * PACK, FINISHED = BAND * COLUMNS;
static const int HELD = 2 * DEPTH * (ROW_PITCH + COLUMN_PITCH);
typedef {type} Item;

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
    Item *target = held + step * (LINES + ROOM) + line;
    const int stride = along ? THREADS / DEPTH : THREADS / LINES * (LINES + ROOM);
    #pragma unroll
    for (int n = 0; n < LINES * DEPTH / THREADS; ++n) target[n * stride] = items[n];
}}
"""

BODY = """\
__shared__ __align__(16) Item pool[HELD > FINISHED ? HELD : FINISHED];
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
SETUP
const bool left_along = llabs(left_step) <= llabs(left_row);
const bool right_along = llabs(right_step) <= llabs(right_column);
const Item *left_part = in0 + number * left_next + top * left_row;
const Item *right_part = in1 + number * right_next + side * right_column;
Item left_items[ROWS * DEPTH / THREADS], right_items[COLUMNS * DEPTH / THREADS];
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
MULTIPLY
    turn ^= 1;
}
"""

# bands of rows go to shared memory, where all threads take neighbours from
STORES = """\
#pragma unroll
for (int part = 0; part < ROWS / BAND; ++part) {
    __syncthreads();
FINISH
    __syncthreads();
    #pragma unroll 4
    for (int item = threadIdx.x; item < FINISHED; item += THREADS) {
        const long long row = top + part * BAND + item / COLUMNS;
        const long long column = side + item % COLUMNS;
        if (row < m && column < n) {
            const Item sum = pool[item];
STORE
        }
    }
}
"""


class _Way(NamedTuple):
    """What a thread's sums are, how a part along k is added to them, how a band is written."""

    helpers: str
    setup: str
    multiply: str
    finish: str


PLAIN = _Way(
    helpers="""
struct __align__(16) Pack {
    Item items[PACK];
};
""",
    setup="""\
const int down = (warp / 2 * 4 + lane / 8) * PACK, right = (warp % 2 * 8 + lane % 8) * PACK;
Item sums[ROWS / 16][COLUMNS / 16] = {};""",
    multiply="""\
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
                sums[r][c] = fmaf(a[r / PACK].items[r % PACK], b[c / PACK].items[c % PACK],
                                  sums[r][c]);
    }""",
    finish="""\
    #pragma unroll
    for (int r = 0; r < PACK; ++r)
        #pragma unroll
        for (int c = 0; c < COLUMNS / 16; ++c)
            pool[(down + r) * COLUMNS + c / PACK * 16 * PACK + right + c % PACK] =
                sums[part * PACK + r][c];""",
)

TENSOR = _Way(
    helpers="""
/* tensor cores: an instruction that has no name in CUDA C */
static const int DOWN = ROWS / 2, RIGHT = COLUMNS / 4;

static __device__ __forceinline__ void multiply(double (&sum)[2], double a, double b)
{
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+d"(sum[0]), "+d"(sum[1]) : "d"(a), "d"(b));
}
""",
    setup="""\
const int warp_row = warp / 4, warp_column = warp % 4;
Item sums[DOWN / 8][RIGHT / 8][2] = {};""",
    multiply="""\
    #pragma unroll
    for (int step = 0; step < DEPTH; step += 4) {
        Item a[DOWN / 8], b[RIGHT / 8];
        #pragma unroll
        for (int r = 0; r < DOWN / 8; ++r)
            a[r] = left_held[(step + lane % 4) * ROW_PITCH + warp_row * DOWN + r * 8 + lane / 4];
        #pragma unroll
        for (int c = 0; c < RIGHT / 8; ++c)
            b[c] = right_held[(step + lane % 4) * COLUMN_PITCH + warp_column * RIGHT + c * 8
                              + lane / 4];
        #pragma unroll
        for (int r = 0; r < DOWN / 8; ++r)
            #pragma unroll
            for (int c = 0; c < RIGHT / 8; ++c) multiply(sums[r][c], a[r], b[c]);
    }""",
    finish="""\
    if (warp_row == part * BAND / DOWN) {
        #pragma unroll
        for (int r = 0; r < BAND / 8; ++r)
            #pragma unroll
            for (int c = 0; c < RIGHT / 8; ++c) {
                Item *target = pool + (r * 8 + lane / 4) * COLUMNS + warp_column * RIGHT + c * 8
                    + lane % 4 * 2;
                target[0] = sums[part * BAND % DOWN / 8 + r][c][0];
                target[1] = sums[part * BAND % DOWN / 8 + r][c][1];
            }
    }""",
)


def text(kind: str, rows: int, columns: int
         ) -> tuple[list[str], list[str], Callable[[list[str]], list[str]]]:
    """Functions, the sums of a tile, and how they are stored by lines that take each `sum`."""
    way = PLAIN if kind == "f32" else TENSOR
    helpers = HELPERS.format(depth=DEPTH, pack=16 // ITEM_BYTES[kind], threads=THREADS,
                             type=C_TYPE[kind]) + way.helpers
    body = BODY.replace("SETUP", way.setup).replace("MULTIPLY", way.multiply)

    def stores(lines: list[str]) -> list[str]:
        inner = "\n".join(indent(indent(indent(lines))))
        whole = STORES.replace("FINISH\n", way.finish + "\n")
        return whole.replace("STORE\n", inner + "\n").splitlines()

    return helpers.splitlines(), body.splitlines(), stores
