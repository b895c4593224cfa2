"""CUDA C of a tile of a product of half kinds, by the tensor cores of sm_80 and later.

Parts of both operands, 64 steps along k, come to shared memory in several stages, by copies that
the threads do not wait for where an operand's neighbours lie in runs of 16 bytes; item by item
elsewhere. There they lie in chunks of eight items, along k or across it as in memory, whose places
are exchanged so that eight rows of a matrix are read from different banks. Every warp makes 64 by
64 sums, or 32 by 32 of a small tile, from matrices of 16 by 16 and of 16 by 8.
"""

from collections.abc import Callable

from flambeau.backends.cuda_c.printer import indent

DEPTH = 64
STAGES = 3

HELPERS = """\
/* tensor cores: instructions that have no name in CUDA C */
static const int DEPTH = {depth}, STAGES = {stages}, THREADS = {threads};
static const int DOWN = {side}, RIGHT = {side}, PITCH = COLUMNS + 8;
static const int STAGE_BYTES = (ROWS + COLUMNS) * DEPTH * 2;

static __device__ __forceinline__ unsigned int shared_place(const void *place)
{{
    unsigned int found;
    asm("{{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }}"
        : "=r"(found) : "l"(place));
    return found;
}}

static __device__ __forceinline__ void copy_later(unsigned int target, const void *source,
                                                  int bytes)
{{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
        : : "r"(target), "l"(source), "r"(bytes) : "memory");
}}

static __device__ __forceinline__ void keep(unsigned int target, const unsigned int (&words)[4])
{{
    asm volatile("st.shared.v4.b32 [%0], {{%1, %2, %3, %4}};"
        : : "r"(target), "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
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

static __device__ __forceinline__ void read_matrices(unsigned int (&out)[4], unsigned int place)
{{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%0, %1, %2, %3}}, [%4];"
        : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(place) : "memory");
}}

static __device__ __forceinline__ void read_transposed(unsigned int (&out)[4], unsigned int place)
{{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {{%0, %1, %2, %3}}, [%4];"
        : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(place) : "memory");
}}

static __device__ __forceinline__ void multiply(float (&sum)[4], const unsigned int (&a)[4],
                                                unsigned int b0, unsigned int b1)
{{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32 "
        "{{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}}

// an operand's part of a tile: its lines, and where this thread's chunks of eight items lie. A
// chunk is of a line along k, or of a step along k across lines; `outer` numbers that line or step
template <int LINES, bool ACROSS>
struct Part {{
    static const int WIDTH = (ACROSS ? LINES : DEPTH) / 8;
    static const int APART = THREADS / WIDTH, COUNT = LINES * DEPTH / 8 / THREADS;
    const unsigned short *source;
    long long outer_stride, inner_stride, step_stride, lines;
    int outer, chunk;
    bool in_runs;

    static __device__ __forceinline__ unsigned int place(int outer, int chunk)
    {{
        return (outer * WIDTH + (chunk ^ (outer & 7))) * 16;
    }}

    __device__ __forceinline__ Part(const unsigned short *whole, long long skipped, long long next,
                                    long long line, long long step, long long rest)
        : outer_stride(ACROSS ? step : line), inner_stride(ACROSS ? line : step),
          step_stride(step), lines(rest), outer(threadIdx.x / WIDTH), chunk(threadIdx.x % WIDTH)
    {{
        source = whole + skipped + outer * outer_stride + chunk * 8 * inner_stride;
        in_runs = inner_stride == 1 && outer_stride % 8 == 0 && next % 8 == 0
            && (unsigned long long)whole % 16 == 0;
    }}

    // the steps from `done` on, to a stage; what lies outside of lines and steps is 0
    __device__ __forceinline__ void bring(unsigned int stage, long long done, long long steps) const
    {{
        const unsigned short *from = source + done * step_stride;
        const unsigned int target = stage + place(outer, chunk);
        if (in_runs && lines >= LINES && steps >= DEPTH) {{
            #pragma unroll
            for (int n = 0; n < COUNT; ++n)
                copy_later(target + n * APART * WIDTH * 16, from + n * APART * outer_stride, 16);
            return;
        }}
        const long long rest = (ACROSS ? lines : steps) - chunk * 8;
        for (int n = 0; n < COUNT; ++n) {{
            const bool inside = outer + n * APART < (ACROSS ? steps : lines) && rest > 0;
            const int count = !inside ? 0 : rest < 8 ? (int)rest : 8;
            bring_chunk(target + n * APART * WIDTH * 16, from + n * APART * outer_stride, count);
        }}
    }}

    __device__ __forceinline__ void bring_chunk(unsigned int target, const unsigned short *from,
                                                int count) const
    {{
        if (in_runs) {{
            copy_later(target, count ? from : source, count * 2);
            return;
        }}
        unsigned int words[4];
        #pragma unroll
        for (int word = 0; word < 4; ++word) {{
            const unsigned int low = 2 * word < count ? from[2 * word * inner_stride] : 0;
            const unsigned int high =
                2 * word + 1 < count ? from[(2 * word + 1) * inner_stride] : 0;
            words[word] = low | high << 16;
        }}
        keep(target, words);
    }}
}};

// where this thread reads 16 lines by 16 steps from: four matrices of eight rows, of which the
// first two differ in lines or in steps. `at` holds what the exchange of chunks makes differ
template <int LINES, bool ACROSS, bool LINES_FIRST>
struct Reader {{
    unsigned int at[4];

    __device__ __forceinline__ Reader(int line)
    {{
        const int lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
        const int line_block = LINES_FIRST ? matrix % 2 : matrix / 2;
        const int step_block = LINES_FIRST ? matrix / 2 : matrix % 2;
        #pragma unroll
        for (int n = 0; n < 4; ++n)
            at[n] = ACROSS
                ? Part<LINES, ACROSS>::place(step_block * 8 + row, line / 8 + n * 2 + line_block)
                : Part<LINES, ACROSS>::place(line + line_block * 8 + row, n * 2 + step_block);
    }}

    __device__ __forceinline__ void take(unsigned int (&out)[4], unsigned int stage, int block,
                                         int step) const
    {{
        const int row_bytes = Part<LINES, ACROSS>::WIDTH * 16;
        if (ACROSS) read_transposed(out, stage + at[block] + step * 16 * row_bytes);
        else read_matrices(out, stage + at[step] + block * 16 * row_bytes);
    }}
}};
"""

BODY = """\
extern __shared__ __align__(16) uint4 pool[];
const unsigned int shared = shared_place(pool);
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int warp_row = warp / (COLUMNS / RIGHT), warp_column = warp % (COLUMNS / RIGHT);
const Part<ROWS, LEFT> left(in0, number * left_next + top * left_row, left_next, left_row,
                            left_step, m - top);
const Part<COLUMNS, SIDE> right(in1, number * right_next + side * right_column, right_next,
                                right_column, right_step, n - side);
const Reader<ROWS, LEFT, true> rows(warp_row * DOWN);
const Reader<COLUMNS, SIDE, false> columns(warp_column * RIGHT);
float sums[DOWN / 16][RIGHT / 8][4] = {};
for (int turn = 0; turn < STAGES - 1; ++turn) {
    const long long done = turn * DEPTH;
    if (done < k) {
        left.bring(shared + turn * STAGE_BYTES, done, k - done);
        right.bring(shared + turn * STAGE_BYTES + ROWS * DEPTH * 2, done, k - done);
    }
    close_group();
}
int stage = 0, free_stage = STAGES - 1;
for (long long depth = 0; depth < k; depth += DEPTH) {
    await_groups();
    __syncthreads();
    const long long ahead = depth + (STAGES - 1) * DEPTH;
    if (ahead < k) {
        const unsigned int target = shared + free_stage * STAGE_BYTES;
        left.bring(target, ahead, k - ahead);
        right.bring(target + ROWS * DEPTH * 2, ahead, k - ahead);
    }
    close_group();
    const unsigned int source = shared + stage * STAGE_BYTES;
    #pragma unroll
    for (int step = 0; step < DEPTH / 16; ++step) {
        unsigned int a[DOWN / 16][4], b[RIGHT / 16][4];
        #pragma unroll
        for (int r = 0; r < DOWN / 16; ++r) rows.take(a[r], source, r, step);
        #pragma unroll
        for (int c = 0; c < RIGHT / 16; ++c)
            columns.take(b[c], source + ROWS * DEPTH * 2, c, step);
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

# the rows of some warps go to shared memory, where all threads take neighbours from
STORES = """\
float *finished = (float *)pool;
for (int part = 0; part < ROWS / DOWN; ++part) {
    __syncthreads();
    if (warp_row == part) {
        #pragma unroll
        for (int r = 0; r < DOWN / 16; ++r)
            #pragma unroll
            for (int c = 0; c < RIGHT / 8; ++c) {
                float *target = finished + (r * 16 + lane / 4) * PITCH + warp_column * RIGHT
                    + c * 8 + lane % 4 * 2;
                *(float2 *)target = float2{sums[r][c][0], sums[r][c][1]};
                *(float2 *)(target + 8 * PITCH) = float2{sums[r][c][2], sums[r][c][3]};
            }
    }
    __syncthreads();
    #pragma unroll 4
    for (int item = threadIdx.x; item < DOWN * COLUMNS; item += THREADS) {
        const long long row = top + part * DOWN + item / COLUMNS;
        const long long column = side + item % COLUMNS;
        if (row < m && column < n) {
            const float sum = finished[item / COLUMNS * PITCH + item % COLUMNS];
STORE
        }
    }
}
"""


def side_of(rows: int, columns: int) -> int:
    """Rows, and columns, that one warp makes of a tile."""
    return 64 if rows % 128 == columns % 128 == 0 else 32


def threads_of(rows: int, columns: int) -> int:
    side = side_of(rows, columns)
    return rows // side * (columns // side) * 32


def shared_bytes(rows: int, columns: int) -> int:
    """Shared memory that a launch must give."""
    return STAGES * (rows + columns) * DEPTH * 2


def text(kind: str, rows: int, columns: int, across: tuple[bool, bool]
         ) -> tuple[list[str], list[str], Callable[[list[str]], list[str]]]:
    """Functions, the sums of a tile, and how they are stored by lines that take each `sum`."""
    helpers = HELPERS.format(depth=DEPTH, stages=STAGES, threads=threads_of(rows, columns),
                             left=STAGES - 2, kind=kind, side=side_of(rows, columns))
    words = ["false", "true"]
    helpers += f"\nstatic const bool LEFT = {words[across[0]]}, SIDE = {words[across[1]]};\n"

    def stores(lines: list[str]) -> list[str]:
        inner = "\n".join(indent(indent(indent(lines))))
        return STORES.replace("STORE\n", inner + "\n").splitlines()

    return helpers.splitlines(), BODY.splitlines(), stores
