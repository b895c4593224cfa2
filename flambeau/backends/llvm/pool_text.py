"""LLVM text of the thread pool: pthread workers that meet through one state word and futexes.

The state word holds generation << 33 | open << 32 | workers inside. The caller opens a generation;
workers join by compare-and-swap and take chunks from a shared counter; the caller works too, closes
the generation and waits until nobody is inside. A caller that finds the pool busy runs alone.
"""

# how often a waiter looks before it sleeps: about 0.3 ms, as a woken worker comes late
SPINS = 10000
PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}
FUTEX_CALL = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
FUTEX_WAIT = 128
FUTEX_WAKE = 129

# what a host without futex or pthread gets: the same entry point, run by the caller alone
SERIAL = """
define void @parallel_for(ptr %fn, ptr %context, i64 %count, i64 %chunk) {
  call void %fn(ptr %context, i64 0, i64 %count)
  ret void
}
"""

_STATE = """
@state = global i64 0, align 128
@sequence = global i32 0, align 128
@sleepers = global i32 0, align 128
@next = global i64 0, align 128
@lock = global i32 0, align 128
@caller_waits = global i32 0, align 128
@limit = global i32 0, align 128
@job_fn = global ptr null, align 128
@job_context = global ptr null
@job_count = global i64 0
@job_chunk = global i64 0
declare i64 @syscall(i64, ...)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(i64)

define internal void @futex(ptr %word, i64 %action, i32 %value) {
  %wide = zext i32 %value to i64
  call i64 (i64, ...) @syscall(i64 FUTEX, ptr %word, i64 %action, i64 %wide, ptr null)
  ret void
}
"""

_RUN = """
define internal void @take_chunks() {
entry:
  %fn = load ptr, ptr @job_fn
  %context = load ptr, ptr @job_context
  %count = load i64, ptr @job_count
  %chunk = load i64, ptr @job_chunk
  br label %take
take:
  %begin = atomicrmw add ptr @next, i64 %chunk monotonic
  %some = icmp slt i64 %begin, %count
  br i1 %some, label %work, label %done
work:
  %after = add i64 %begin, %chunk
  %whole = icmp slt i64 %after, %count
  %end = select i1 %whole, i64 %after, i64 %count
  call void %fn(ptr %context, i64 %begin, i64 %end)
  br label %take
done:
  ret void
}
"""

_WORKER = """
define internal ptr @worker(ptr %argument) {
entry:
  %number = ptrtoint ptr %argument to i64
  br label %top
top:
  %last = phi i64 [0, %entry], [%last, %idle], [%last, %sleep], [%generation, %left], [%last, %try]
  %spins = phi i64 [0, %entry], [%spins1, %idle], [0, %sleep], [0, %left], [%spins, %try]
  %seen = load atomic i32, ptr @sequence seq_cst, align 4
  %now = load atomic i64, ptr @state acquire, align 8
  %generation = lshr i64 %now, 33
  %open_bit = and i64 %now, 4294967296
  %open = icmp ne i64 %open_bit, 0
  %new = icmp ne i64 %generation, %last
  %limit32 = load atomic i32, ptr @limit monotonic, align 4
  %limit64 = zext i32 %limit32 to i64
  %wanted = icmp ult i64 %number, %limit64
  %some = and i1 %open, %new
  %go = and i1 %some, %wanted
  br i1 %go, label %try, label %nothing
try:
  %joined = add i64 %now, 1
  %swap = cmpxchg ptr @state, i64 %now, i64 %joined acq_rel monotonic
  %won = extractvalue {i64, i1} %swap, 1
  br i1 %won, label %run, label %top
run:
  call void @take_chunks()
  %before = atomicrmw sub ptr @state, i64 1 seq_cst
  %waits = load atomic i32, ptr @caller_waits seq_cst, align 4
  %waiting = icmp ne i32 %waits, 0
  br i1 %waiting, label %wake, label %left
wake:
  store atomic i32 0, ptr @caller_waits seq_cst, align 4
  call void @futex(ptr @caller_waits, i64 WAKE, i32 1)
  br label %left
left:
  br label %top
nothing:
  %spins1 = add i64 %spins, 1
  %tired = icmp ugt i64 %spins1, SPINS
  br i1 %tired, label %sleep, label %idle
idle:
  PAUSE_CALL
  br label %top
sleep:
  atomicrmw add ptr @sleepers, i32 1 seq_cst
  call void @futex(ptr @sequence, i64 WAIT, i32 %seen)
  atomicrmw sub ptr @sleepers, i32 1 seq_cst
  br label %top
}
"""

_PARALLEL_FOR = """
define void @parallel_for(ptr %fn, ptr %context, i64 %count, i64 %chunk) {
entry:
  %limit = load atomic i32, ptr @limit monotonic, align 4
  %helped = icmp ne i32 %limit, 0
  %large = icmp sgt i64 %count, %chunk
  %parallel = and i1 %helped, %large
  br i1 %parallel, label %claim, label %serial
serial:
  call void %fn(ptr %context, i64 0, i64 %count)
  ret void
claim:
  %swap = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %won = extractvalue {i32, i1} %swap, 1
  br i1 %won, label %begin, label %serial
begin:
  store ptr %fn, ptr @job_fn
  store ptr %context, ptr @job_context
  store i64 %count, ptr @job_count
  store i64 %chunk, ptr @job_chunk
  store atomic i64 0, ptr @next monotonic, align 8
  %closed = load atomic i64, ptr @state monotonic, align 8
  %old = lshr i64 %closed, 33
  %generation = add i64 %old, 1
  %shifted = shl i64 %generation, 33
  %opened = or i64 %shifted, 4294967296
  store atomic i64 %opened, ptr @state seq_cst, align 8
  atomicrmw add ptr @sequence, i32 1 seq_cst
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %wake, label %work
wake:
  call void @futex(ptr @sequence, i64 WAKE, i32 %asleep)
  br label %work
work:
  call void @take_chunks()
  atomicrmw and ptr @state, i64 -4294967297 seq_cst
  br label %wait
wait:
  %spins = phi i64 [0, %work], [%spins1, %pause], [0, %woken]
  %now = load atomic i64, ptr @state seq_cst, align 8
  %inside = and i64 %now, 4294967295
  %alone = icmp eq i64 %inside, 0
  br i1 %alone, label %finish, label %more
more:
  %spins1 = add i64 %spins, 1
  %tired = icmp ugt i64 %spins1, SPINS
  br i1 %tired, label %sleep, label %pause
pause:
  PAUSE_CALL
  br label %wait
sleep:
  store atomic i32 1, ptr @caller_waits seq_cst, align 4
  %again = load atomic i64, ptr @state seq_cst, align 8
  %inside2 = and i64 %again, 4294967295
  %alone2 = icmp eq i64 %inside2, 0
  br i1 %alone2, label %woken, label %doze
doze:
  call void @futex(ptr @caller_waits, i64 WAIT, i32 1)
  br label %woken
woken:
  store atomic i32 0, ptr @caller_waits seq_cst, align 4
  br label %wait
finish:
  store atomic i32 0, ptr @lock release, align 4
  ret void
}
"""

# start returns how many of the workers [from, to) run; reset is for a forked child, where none do
_CONTROL = """
define i32 @start_workers(i32 %from, i32 %to) {
entry:
  %thread = alloca i64
  br label %head
head:
  %number = phi i32 [%from, %entry], [%after, %started]
  %more = icmp slt i32 %number, %to
  br i1 %more, label %start, label %done
start:
  %wide = zext i32 %number to i64
  %argument = inttoptr i64 %wide to ptr
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @worker, ptr %argument)
  %fine = icmp eq i32 %failed, 0
  br i1 %fine, label %started, label %done
started:
  %id = load i64, ptr %thread
  call i32 @pthread_detach(i64 %id)
  %after = add i32 %number, 1
  br label %head
done:
  ret i32 %number
}
define void @set_limit(i32 %workers) {
  store atomic i32 %workers, ptr @limit seq_cst, align 4
  ret void
}
define void @reset() {
  store atomic i64 0, ptr @state seq_cst, align 8
  store atomic i32 0, ptr @sequence seq_cst, align 4
  store atomic i32 0, ptr @sleepers seq_cst, align 4
  store atomic i32 0, ptr @lock seq_cst, align 4
  store atomic i32 0, ptr @caller_waits seq_cst, align 4
  store atomic i32 0, ptr @limit seq_cst, align 4
  ret void
}
"""


def parallel_text(machine: str) -> str:
    """Return the pool's module for a Linux machine that FUTEX_CALL knows."""
    declaration, call = PAUSE.get(machine, ("", "; no pause on this machine"))
    text = declaration + _STATE + _RUN + _WORKER + _PARALLEL_FOR + _CONTROL
    words = {"FUTEX": FUTEX_CALL[machine], "WAIT": FUTEX_WAIT, "WAKE": FUTEX_WAKE, "SPINS": SPINS}
    for word, number in words.items():
        text = text.replace(f"i64 {word}", f"i64 {number}").replace(f", {word}", f", {number}")
    return text.replace("PAUSE_CALL", call)
