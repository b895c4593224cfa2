"""CUDA C of a tile of a product of half kinds, by the tensor cores of sm_80 and later.

Parts of both operands, 32 steps along k, come to shared memory in several stages, by copies that
the threads do not wait for where an operand's neighbours lie in runs of 16 bytes; item by item
elsewhere. There they lie in chunks of eight items, along k or across it as in memory, whose places
are exchanged so that eight rows of a matrix are read from different banks. Four warps, two by two,
make a quarter of the tile each, from matrices of 16 by 16 and of 16 by 8.
"""

from collections.abc import Callable

from flambeau.backends.cuda_c.printer import indent

THREADS = 128
DEPTH = 32
STAGES = 3

HELPERS = """\
/* tensor cores: instructions that have no name in CUDA C */
static const int DEPTH = {depth}, STAGES = {stages}, THREADS = {threads};
static const int DOWN = ROWS / 2, RIGHT = COLUMNS / 2, PITCH = COLUMNS + 8;

static __device__ __forceinline__ unsigned int shared_place(const void *place)
{{
    unsigned int found;
    asm("{{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }}"
        : "=r"(found) : "l"(place));
    return found;
}}

static __device__ __forceinline__ void copy_later(void *target, const void *source, int bytes)
{{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
        : : "r"(shared_place(target)), "l"(source), "r"(bytes) : "memory");
}}

static __device__ __forceinline__ void close_group()
{{
    asm volatile("cp.async.commit_group;" : : : "memory");
}}

static __device__ __forceinline__ void await_groups()
{{
    asm volatile("cp.async.wait_group {left};" : : : "memory");
}}

static __device__ __forceinline__ void await_all()
{{
    asm volatile("cp.async.wait_group 0;" : : : "memory");
}}

static __device__ __forceinline__ void read_matrices(unsigned int (&out)[4], const void *place)
{{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%0, %1, %2, %3}}, [%4];"
        : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
        : "r"(shared_place(place)) : "memory");
}}

static __device__ __forceinline__ void read_transposed(unsigned int (&out)[4], const void *place)
{{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {{%0, %1, %2, %3}}, [%4];"
        : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
        : "r"(shared_place(place)) : "memory");
}}

static __device__ __forceinline__ void multiply(float (&sum)[4], const unsigned int (&a)[4],
                                                unsigned int b0, unsigned int b1)
{{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32 "
        "{{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}}

// chunks of eight items: of a line along k, or of a step along k across lines
template <int LINES, bool ACROSS>
static __device__ __forceinline__ int chunk_place(int outer, int chunk)
{{
    return ACROSS ? outer * (LINES / 8) + (chunk ^ (outer & 7))
                  : outer * (DEPTH / 8) + (chunk ^ (outer >> 1 & 3));
}}

// one stage of an operand; what lies outside of its lines and steps is 0
template <int LINES, bool ACROSS>
static __device__ __forceinline__ void bring(
    uint4 *held, const unsigned short *base, long long line_stride, long long step_stride,
    long long lines, long long steps, bool in_runs)
{{
    const int across = ACROSS ? LINES / 8 : DEPTH / 8;
    const long long outer_stride = ACROSS ? step_stride : line_stride;
    const long long inner_stride = ACROSS ? line_stride : step_stride;
    #pragma unroll
    for (int n = 0; n < LINES * DEPTH / 8 / THREADS; ++n) {{
        const int outer = (n * THREADS + threadIdx.x) / across;
        const int chunk = (n * THREADS + threadIdx.x) % across;
        const long long rest = (ACROSS ? lines : steps) - chunk * 8;
        const bool inside = outer < (ACROSS ? steps : lines) && rest > 0;
        const int count = !inside ? 0 : rest < 8 ? (int)rest : 8;
        const unsigned short *source = base + outer * outer_stride + chunk * 8 * inner_stride;
        uint4 *target = held + chunk_place<LINES, ACROSS>(outer, chunk);
        if (in_runs) {{
            copy_later(target, inside ? source : base, count * 2);
            continue;
        }}
        unsigned int words[4];
        #pragma unroll
        for (int word = 0; word < 4; ++word) {{
            const unsigned int low = 2 * word < count ? source[2 * word * inner_stride] : 0;
            const unsigned int high =
                2 * word + 1 < count ? source[(2 * word + 1) * inner_stride] : 0;
            words[word] = low | high << 16;
        }}
        *target = uint4{{words[0], words[1], words[2], words[3]}};
    }}
}}

// 16 lines by 16 steps: four matrices of eight rows, the first two differ in lines or in steps
template <int LINES, bool ACROSS, bool LINES_FIRST>
static __device__ __forceinline__ void take(
    unsigned int (&out)[4], const uint4 *held, int line, int step)
{{
    const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
    const int line_block = LINES_FIRST ? matrix % 2 : matrix / 2;
    const int step_block = LINES_FIRST ? matrix / 2 : matrix % 2;
    if (ACROSS)
        read_transposed(out, held + chunk_place<LINES, ACROSS>(
            step + step_block * 8 + row, line / 8 + line_block));
    else
        read_matrices(out, held + chunk_place<LINES, ACROSS>(
            line + line_block * 8 + row, step / 8 + step_block));
}}

static __device__ __forceinline__ bool are_runs(
    const void *base, long long inner, long long outer, long long next)
{{
    return inner == 1 && outer % 8 == 0 && next % 8 == 0 && (unsigned long long)base % 16 == 0;
}}
"""

BODY = """\
__shared__ __align__(16) uint4 pool[STAGES * (ROWS + COLUMNS) * (DEPTH / 8)];
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int warp_row = warp / 2, warp_column = warp % 2;
const bool left_runs = LEFT ? are_runs(in0, left_row, left_step, left_next)
                            : are_runs(in0, left_step, left_row, left_next);
const bool right_runs = SIDE ? are_runs(in1, right_column, right_step, right_next)
                             : are_runs(in1, right_step, right_column, right_next);
const unsigned short *left_part = in0 + number * left_next + top * left_row;
const unsigned short *right_part = in1 + number * right_next + side * right_column;
const long long turns = (k + DEPTH - 1) / DEPTH;
float sums[DOWN / 16][RIGHT / 8][4] = {};
#pragma unroll
for (int turn = 0; turn < STAGES - 1; ++turn) {
    uint4 *held = pool + turn * (ROWS + COLUMNS) * (DEPTH / 8);
    if (turn < turns) {
        bring<ROWS, LEFT>(held, left_part + turn * DEPTH * left_step, left_row, left_step, m - top,
                          k - turn * DEPTH, left_runs);
        bring<COLUMNS, SIDE>(held + ROWS * (DEPTH / 8), right_part + turn * DEPTH * right_step,
                             right_column, right_step, n - side, k - turn * DEPTH, right_runs);
    }
    close_group();
}
int stage = 0, free_stage = STAGES - 1;
for (long long turn = 0; turn < turns; ++turn) {
    await_groups();
    __syncthreads();
    const long long ahead = turn + STAGES - 1;
    if (ahead < turns) {
        uint4 *held = pool + free_stage * (ROWS + COLUMNS) * (DEPTH / 8);
        bring<ROWS, LEFT>(held, left_part + ahead * DEPTH * left_step, left_row, left_step,
                          m - top, k - ahead * DEPTH, left_runs);
        bring<COLUMNS, SIDE>(held + ROWS * (DEPTH / 8), right_part + ahead * DEPTH * right_step,
                             right_column, right_step, n - side, k - ahead * DEPTH, right_runs);
    }
    close_group();
    const uint4 *left_held = pool + stage * (ROWS + COLUMNS) * (DEPTH / 8);
    const uint4 *right_held = left_held + ROWS * (DEPTH / 8);
    #pragma unroll
    for (int step = 0; step < DEPTH; step += 16) {
        unsigned int a[DOWN / 16][4], b[RIGHT / 16][4];
        #pragma unroll
        for (int r = 0; r < DOWN / 16; ++r)
            take<ROWS, LEFT, true>(a[r], left_held, warp_row * DOWN + r * 16, step);
        #pragma unroll
        for (int c = 0; c < RIGHT / 16; ++c)
            take<COLUMNS, SIDE, false>(b[c], right_held, warp_column * RIGHT + c * 16, step);
        #pragma unroll
        for (int r = 0; r < DOWN / 16; ++r)
            #pragma unroll
            for (int c = 0; c < RIGHT / 8; ++c)
                multiply(sums[r][c], a[r], b[c / 2][c % 2 * 2], b[c / 2][c % 2 * 2 + 1]);
    }
    stage = stage + 1 == STAGES ? 0 : stage + 1;
    free_stage = free_stage + 1 == STAGES ? 0 : free_stage + 1;
}
await_all();
"""

# each half of the rows goes to shared memory, where all threads take neighbours from
STORES = """\
float *finished = (float *)pool;
for (int half = 0; half < 2; ++half) {
    __syncthreads();
    if (warp_row == half) {
        #pragma unroll
        for (int r = 0; r < DOWN / 16; ++r)
            #pragma unroll
            for (int c = 0; c < RIGHT / 8; ++c) {
                float *target = finished + (r * 16 + lane / 4) * PITCH + warp_column * RIGHT
                    + c * 8 + lane % 4 * 2;
                target[0] = sums[r][c][0];
                target[1] = sums[r][c][1];
                target[8 * PITCH] = sums[r][c][2];
                target[8 * PITCH + 1] = sums[r][c][3];
            }
    }
    __syncthreads();
    #pragma unroll 4
    for (int item = threadIdx.x; item < DOWN * COLUMNS; item += THREADS) {
        const long long row = top + half * DOWN + item / COLUMNS;
        const long long column = side + item % COLUMNS;
        if (row < m && column < n) {
            const float sum = finished[item / COLUMNS * PITCH + item % COLUMNS];
STORE
        }
    }
}
"""


def text(kind: str, rows: int, columns: int, across: tuple[bool, bool]
         ) -> tuple[list[str], list[str], Callable[[list[str]], list[str]]]:
    """Functions, the sums of a tile, and how they are stored by lines that take each `sum`."""
    helpers = HELPERS.format(depth=DEPTH, stages=STAGES, threads=THREADS, left=STAGES - 2,
                             kind=kind)
    words = ["false", "true"]
    helpers += f"\nstatic const bool LEFT = {words[across[0]]}, SIDE = {words[across[1]]};\n"

    def stores(lines: list[str]) -> list[str]:
        inner = "\n".join(indent(indent(indent(lines))))
        return STORES.replace("STORE\n", inner + "\n").splitlines()

    return helpers.splitlines(), BODY.splitlines(), stores
