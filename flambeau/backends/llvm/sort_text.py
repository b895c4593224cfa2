"""LLVM text of stable orders of rows, by radix, and of the first few of each row, by insertion.

Items are compared by keys: unsigned integers in their order, where -0 is 0, and NaN is above all.
Flipped, every bit, they give the opposite order.
"""

from flambeau.backends.llvm.emit import FLOATS, LLVM_TYPE
from flambeau.backends.llvm.program import ITEM_BYTES

# bits of a digit
DIGIT = 8
# most items that insertion keeps of a row
MOST_KEPT = 64
VECTOR = 8


def key_lines(kind: str, bits: str, name: str, lanes: int = 1) -> str:
    """The lines that make `%name`, a key before it is flipped, of an item's bits."""
    size = 8 * ITEM_BYTES[kind]
    whole, top = f"i{size}", 1 << (size - 1)
    real = LLVM_TYPE[kind]
    if lanes > 1:
        whole, real = f"<{lanes} x {whole}>", f"<{lanes} x {real}>"

    def splat(number: int) -> str:
        return str(number) if lanes == 1 else f"splat (i{size} {number})"

    if kind not in FLOATS:
        return f"  %{name} = xor {whole} {bits}, {splat(-top)}\n"
    truth = "i1" if lanes == 1 else f"<{lanes} x i1>"
    return f"""  %{name}.x = bitcast {whole} {bits} to {real}
  %{name}.nan = fcmp uno {real} %{name}.x, %{name}.x
  %{name}.zero = fcmp oeq {real} %{name}.x, {'0.0' if lanes == 1 else 'zeroinitializer'}
  %{name}.plain = select {truth} %{name}.zero, {whole} {splat(0)}, {whole} {bits}
  %{name}.sign = ashr {whole} %{name}.plain, {splat(size - 1)}
  %{name}.mask = or {whole} %{name}.sign, {splat(-top)}
  %{name}.key = xor {whole} %{name}.plain, %{name}.mask
  %{name} = select {truth} %{name}.nan, {whole} {splat(-1)}, {whole} %{name}.key
"""


_KEYS = """  %ka = getelementptr i64, ptr %s, i64 %n
  %kb = getelementptr i64, ptr %ka, i64 %n
  store ptr %ka, ptr %keys.from
  store ptr %kb, ptr %keys.to
"""
_PUT_TWO = """  %put.key = getelementptr i64, ptr %ka, i64 %i
  store i64 %key, ptr %put.key
  %put = getelementptr i64, ptr %o, i64 %i
  store i64 %i, ptr %put
"""
_PUT_ONE = """  %wide = zext i32 %key to i64
  %high = shl i64 %wide, 32
  %record = or i64 %high, %i
  %put = getelementptr i64, ptr %o, i64 %i
  store i64 %record, ptr %put
"""
# the items whose places were found, to the row of the result: of COUNT
_GIVE = """  %item.at = getelementptr WHOLE, ptr %in, i64 %place
  %item = load WHOLE, ptr %item.at
  %out.at = getelementptr WHOLE, ptr %out, i64 %g
  store WHOLE %item, ptr %out.at
  %g1 = add i64 %g, 1
  %more.give = icmp slt i64 %g1, COUNT
  br i1 %more.give, label %give, label %row.done
row.done:
  %r1 = add i64 %r, 1
  br label %rows
over:
  ret void
}
"""
_ORDER = """declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define void @kernel(ptr %context, i64 %begin, i64 %end) {
entry:
WORDS
  %flip = FLIP
  %counts = alloca [COUNTERS x i64], align 64
  %from = alloca ptr
  %to = alloca ptr
  %keys.from = alloca ptr
  %keys.to = alloca ptr
  br label %rows
rows:
  %r = phi i64 [%begin, %entry], [%r1, %row.done]
  %more.rows = icmp slt i64 %r, %end
  br i1 %more.rows, label %row, label %over
row:
  %line = mul i64 %r, %n
  %in = getelementptr WHOLE, ptr %source, i64 %line
  %out = getelementptr WHOLE, ptr %values, i64 %line
  %o = getelementptr i64, ptr %order, i64 %line
  %scratch.line = LINE
  %s = getelementptr i64, ptr %scratch, i64 %scratch.line
  store ptr %o, ptr %from
  store ptr %s, ptr %to
KEYS  call void @llvm.memset.p0.i64(ptr %counts, i8 0, i64 BYTES, i1 false)
  br label %fill
fill:
  %i = phi i64 [0, %row], [%i1, %fill]
  %in.at = getelementptr WHOLE, ptr %in, i64 %i
  %bits = load WHOLE, ptr %in.at
PLAIN  %key = xor WHOLE %plain.key, %flip
PUTS  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %fill, label %pass0
MOVESENDS:
  %last = load ptr, ptr %from
  br label %give
give:
  %g = phi i64 [0, %ENDS], [%g1, %give]
  %last.at = getelementptr i64, ptr %last, i64 %g
  %found = load i64, ptr %last.at
PLACE  %o.at = getelementptr i64, ptr %o, i64 %g
  store i64 %place, ptr %o.at
GIVE"""


def order_text(kind: str) -> str:
    """The kernel: context values, order, source, scratch, the row's length, what flips keys.

    A unit of work is a row. Keys and places travel together from `order` to `scratch` and back: as
    one number, or, where keys have 64 bits, as two, whose keys lie behind each other in scratch.
    """
    wide = ITEM_BYTES[kind] == 8
    size = 8 * ITEM_BYTES[kind]
    passes = size // DIGIT
    places = {
        "WORDS": _words(("values", "order", "source", "scratch"), ("n", "flips")),
        "FLIP": "add i64 %flips, 0" if wide else "trunc i64 %flips to i32",
        "BYTES": str(passes * 256 * 8), "COUNTERS": str(passes * 256),
        "LINE": "mul i64 %line, 3" if wide else "add i64 %line, 0",
        "KEYS": _KEYS if wide else "",
        "PLAIN": key_lines(kind, "%bits", "plain.key"),
        "PUTS": (_PUT_TWO if wide else _PUT_ONE) + "".join(
            [_count(p, size) for p in range(passes)]),
        "MOVES": "".join([_pass(p, wide) for p in range(passes)]), "ENDS": f"pass{passes}",
        "PLACE": f"  %place = and i64 %found, {-1 if wide else (1 << 32) - 1}\n",
        "GIVE": _GIVE.replace("COUNT", "%n"), "WHOLE": f"i{size}"}
    return _filled(_ORDER, places)


def _filled(text: str, places: dict[str, str]) -> str:
    for name, found in places.items():
        text = text.replace(name, found)
    return text


def _words(pointers: tuple[str, ...], numbers: tuple[str, ...]) -> str:
    lines = []
    for at, name in enumerate((*pointers, *numbers)):
        kind = "ptr" if name in pointers else "i64"
        lines.append(f"  %{name}.word = getelementptr i64, ptr %context, i64 {at}")
        lines.append(f"  %{name} = load {kind}, ptr %{name}.word")
    return "\n".join(lines)


def _count(number: int, size: int) -> str:
    """Count a digit of `%key`."""
    p = f"count{number}"
    widen = f"  %{p}.wide = zext i{size} %{p}.digit to i64\n" if size < 64 else (
        f"  %{p}.wide = add i64 %{p}.digit, 0\n")
    return f"""  %{p}.low = lshr i{size} %key, {DIGIT * number}
  %{p}.digit = and i{size} %{p}.low, 255
{widen}  %{p}.at = add i64 %{p}.wide, {256 * number}
  %{p}.place = getelementptr i64, ptr %counts, i64 %{p}.at
  %{p}.before = load i64, ptr %{p}.place
  %{p}.after = add i64 %{p}.before, 1
  store i64 %{p}.after, ptr %{p}.place
"""


def _pass(number: int, wide: bool) -> str:
    """Move records by one digit, unless it is the same of all of them."""
    p, shift = f"pass{number}", DIGIT * number + (0 if wide else 32)
    keyed = "keys.from" if wide else "from"
    other = f"""  %{p}.place.at = getelementptr i64, ptr %{p}.from, i64 %{p}.i
  %{p}.place = load i64, ptr %{p}.place.at
  %{p}.place.to = getelementptr i64, ptr %{p}.to, i64 %{p}.next
  store i64 %{p}.place, ptr %{p}.place.to
""" if wide else ""
    target = "keys.to" if wide else "to"
    swap = f"""  store ptr %{p}.to, ptr %from
  store ptr %{p}.from, ptr %to
"""
    if wide:
        swap += f"""  store ptr %{p}.keys.to, ptr %keys.from
  store ptr %{p}.keys.from, ptr %keys.to
"""
    more = f"""  %{p}.keys.from = load ptr, ptr %keys.from
  %{p}.keys.to = load ptr, ptr %keys.to
""" if wide else ""
    return f"""{p}:
  %{p}.from = load ptr, ptr %from
  %{p}.to = load ptr, ptr %to
{more}  %{p}.first = load i64, ptr %{p}.{keyed}
  %{p}.first.low = lshr i64 %{p}.first, {shift}
  %{p}.first.digit = and i64 %{p}.first.low, 255
  %{p}.own = getelementptr i64, ptr %counts, i64 {256 * number}
  %{p}.first.place = getelementptr i64, ptr %{p}.own, i64 %{p}.first.digit
  %{p}.first.count = load i64, ptr %{p}.first.place
  %{p}.one = icmp eq i64 %{p}.first.count, %n
  br i1 %{p}.one, label %pass{number + 1}, label %{p}.sum
{p}.sum:
  %{p}.d = phi i64 [0, %{p}], [%{p}.d1, %{p}.sum]
  %{p}.total = phi i64 [0, %{p}], [%{p}.total1, %{p}.sum]
  %{p}.d.place = getelementptr i64, ptr %{p}.own, i64 %{p}.d
  %{p}.d.count = load i64, ptr %{p}.d.place
  store i64 %{p}.total, ptr %{p}.d.place
  %{p}.total1 = add i64 %{p}.total, %{p}.d.count
  %{p}.d1 = add i64 %{p}.d, 1
  %{p}.d.more = icmp slt i64 %{p}.d1, 256
  br i1 %{p}.d.more, label %{p}.sum, label %{p}.move
{p}.move:
  %{p}.i = phi i64 [0, %{p}.sum], [%{p}.i1, %{p}.move]
  %{p}.at = getelementptr i64, ptr %{p}.{keyed}, i64 %{p}.i
  %{p}.record = load i64, ptr %{p}.at
  %{p}.low = lshr i64 %{p}.record, {shift}
  %{p}.digit = and i64 %{p}.low, 255
  %{p}.place.next = getelementptr i64, ptr %{p}.own, i64 %{p}.digit
  %{p}.next = load i64, ptr %{p}.place.next
  %{p}.after = add i64 %{p}.next, 1
  store i64 %{p}.after, ptr %{p}.place.next
  %{p}.target = getelementptr i64, ptr %{p}.{target}, i64 %{p}.next
  store i64 %{p}.record, ptr %{p}.target
{other}  %{p}.i1 = add i64 %{p}.i, 1
  %{p}.more = icmp slt i64 %{p}.i1, %n
  br i1 %{p}.more, label %{p}.move, label %{p}.swap
{p}.swap:
{swap}  br label %pass{number + 1}
"""


_FIRST = """define internal void @insert(ptr %keys, ptr %places, i64 %last, WHOLE %key, i64 %at) {
entry:
  br label %look
look:
  %j = phi i64 [%last, %entry], [%before, %shift]
  %before = sub i64 %j, 1
  %inside = icmp sgt i64 %j, 0
  br i1 %inside, label %compare, label %put
compare:
  %key.at = getelementptr WHOLE, ptr %keys, i64 %before
  %other = load WHOLE, ptr %key.at
  %less = icmp ult WHOLE %other, %key
  br i1 %less, label %shift, label %put
shift:
  %key.to = getelementptr WHOLE, ptr %keys, i64 %j
  store WHOLE %other, ptr %key.to
  %place.at = getelementptr i64, ptr %places, i64 %before
  %place = load i64, ptr %place.at
  %place.to = getelementptr i64, ptr %places, i64 %j
  store i64 %place, ptr %place.to
  br label %look
put:
  %key.put = getelementptr WHOLE, ptr %keys, i64 %j
  store WHOLE %key, ptr %key.put
  %place.put = getelementptr i64, ptr %places, i64 %j
  store i64 %at, ptr %place.put
  ret void
}

define void @kernel(ptr %context, i64 %begin, i64 %end) {
entry:
WORDS
  %flip = FLIP
  %flip1 = insertelement SEVERAL poison, WHOLE %flip, i64 0
  %all.flip = shufflevector SEVERAL %flip1, SEVERAL poison, <LANES x i32> zeroinitializer
  %keys = alloca [KEPT x WHOLE], align 64
  %least = sub i64 %k, 1
  %least.at = getelementptr WHOLE, ptr %keys, i64 %least
  br label %rows
rows:
  %r = phi i64 [%begin, %entry], [%r1, %row.done]
  %more.rows = icmp slt i64 %r, %end
  br i1 %more.rows, label %row, label %over
row:
  %line = mul i64 %r, %n
  %in = getelementptr WHOLE, ptr %source, i64 %line
  %line.out = mul i64 %r, %k
  %out = getelementptr WHOLE, ptr %values, i64 %line.out
  %o = getelementptr i64, ptr %order, i64 %line.out
  br label %start
start:
  %f = phi i64 [0, %row], [%f1, %start]
  %f.at = getelementptr WHOLE, ptr %in, i64 %f
  %f.bits = load WHOLE, ptr %f.at
FIRST  %f.key = xor WHOLE %f.plain, %flip
  call void @insert(ptr %keys, ptr %o, i64 %f, WHOLE %f.key, i64 %f)
  %f1 = add i64 %f, 1
  %f.more = icmp slt i64 %f1, %k
  br i1 %f.more, label %start, label %scan
scan:
  %i = phi i64 [%k, %start], [%i1, %several], [%i1, %each.done]
  %i1 = add i64 %i, LANES
  %fits = icmp sle i64 %i1, %n
  br i1 %fits, label %several, label %rest
several:
  %i.at = getelementptr WHOLE, ptr %in, i64 %i
  %all.bits = load SEVERAL, ptr %i.at, align BYTES
ALL  %all.key = xor SEVERAL %all.plain, %all.flip
  %bound = load WHOLE, ptr %least.at
  %bound1 = insertelement SEVERAL poison, WHOLE %bound, i64 0
  %bounds = shufflevector SEVERAL %bound1, SEVERAL poison, <LANES x i32> zeroinitializer
  %above = icmp ugt SEVERAL %all.key, %bounds
  %mask = bitcast <LANES x i1> %above to iLANES
  %any = icmp ne iLANES %mask, 0
  br i1 %any, label %rest, label %scan
rest:
  %j.end = select i1 %fits, i64 %i1, i64 %n
  br label %each
each:
  %j = phi i64 [%i, %rest], [%j1, %each.next]
  %j.more = icmp slt i64 %j, %j.end
  br i1 %j.more, label %one, label %each.done
one:
  %j.at = getelementptr WHOLE, ptr %in, i64 %j
  %j.bits = load WHOLE, ptr %j.at
ONE  %j.key = xor WHOLE %j.plain, %flip
  %j.bound = load WHOLE, ptr %least.at
  %j.above = icmp ugt WHOLE %j.key, %j.bound
  br i1 %j.above, label %keep, label %each.next
keep:
  call void @insert(ptr %keys, ptr %o, i64 %least, WHOLE %j.key, i64 %j)
  br label %each.next
each.next:
  %j1 = add i64 %j, 1
  br label %each
each.done:
  br i1 %fits, label %scan, label %give
give:
  %g = phi i64 [0, %each.done], [%g1, %give]
  %o.at = getelementptr i64, ptr %o, i64 %g
  %place = load i64, ptr %o.at
GIVE"""


def first_text(kind: str) -> str:
    """The kernel: context values, places, source, the row's length, how many, what flips keys.

    A unit of work is a row. The greatest keys so far are kept in order, of equal ones the first.
    """
    size = 8 * ITEM_BYTES[kind]
    return _filled(_FIRST, {
        "WORDS": _words(("values", "order", "source"), ("n", "k", "flips")),
        "FLIP": "add i64 %flips, 0" if size == 64 else "trunc i64 %flips to i32",
        "FIRST": key_lines(kind, "%f.bits", "f.plain"),
        "ALL": key_lines(kind, "%all.bits", "all.plain", VECTOR),
        "ONE": key_lines(kind, "%j.bits", "j.plain"),
        "GIVE": _GIVE.replace("COUNT", "%k"),
        "SEVERAL": f"<{VECTOR} x i{size}>", "WHOLE": f"i{size}", "LANES": str(VECTOR),
        "KEPT": str(MOST_KEPT), "BYTES": str(size // 8)})
