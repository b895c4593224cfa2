"""LLVM text of chores in pieces: calls side by side, norms of whole arrays, copies of rows.

Each is a kernel, `void (ptr context, i64 begin, i64 end)`; its context is listed with it.
"""

__all__ = ["NAMES", "PIECE", "text_of"]

# The items of an array whose squares are added up as one piece.
PIECE = 4096
NAMES = ("several", "copy_rows", "squares_f32", "squares_f64", "norm_f32", "norm_f64")

# several: where pieces are, units' first pieces and their end; pieces (kernel, its context, begin,
# end), and contexts, their places in words from here; begin and end number the units
_SEVERAL = """
define void @several(ptr %context, i64 %begin, i64 %end) {
entry:
  %pieces_word = load i64, ptr %context
  %pieces = getelementptr i64, ptr %context, i64 %pieces_word
  %starts = getelementptr i64, ptr %context, i64 1
  %first_place = getelementptr i64, ptr %starts, i64 %begin
  %first = load i64, ptr %first_place
  %last_place = getelementptr i64, ptr %starts, i64 %end
  %last = load i64, ptr %last_place
  br label %next
next:
  %i = phi i64 [%first, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %last
  br i1 %more, label %one, label %over
one:
  %i4 = mul i64 %i, 4
  %piece = getelementptr i64, ptr %pieces, i64 %i4
  %kernel = load ptr, ptr %piece
  %own_place = getelementptr i64, ptr %piece, i64 1
  %own_word = load i64, ptr %own_place
  %own = getelementptr i64, ptr %context, i64 %own_word
  %from_place = getelementptr i64, ptr %piece, i64 2
  %from = load i64, ptr %from_place
  %to_place = getelementptr i64, ptr %piece, i64 3
  %to = load i64, ptr %to_place
  call void %kernel(ptr %own, i64 %from, i64 %to)
  %i1 = add i64 %i, 1
  br label %next
over:
  ret void
}
"""

# copy_rows: to, from, bytes of a row, bytes between rows of both; begin and end number the rows
_COPY_ROWS = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @copy_rows(ptr %context, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %context
  %p1 = getelementptr ptr, ptr %context, i64 1
  %from = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %context, i64 2
  %bytes = load i64, ptr %p2
  %p3 = getelementptr i64, ptr %context, i64 3
  %to_step = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %context, i64 4
  %from_step = load i64, ptr %p4
  br label %next
next:
  %i = phi i64 [%begin, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %one, label %over
one:
  %to_at = mul i64 %i, %to_step
  %from_at = mul i64 %i, %from_step
  %to_row = getelementptr i8, ptr %to, i64 %to_at
  %from_row = getelementptr i8, ptr %from, i64 %from_at
  call void @llvm.memcpy.p0.p0.i64(ptr %to_row, ptr %from_row, i64 %bytes, i1 false)
  %i1 = add i64 %i, 1
  br label %next
over:
  ret void
}
"""

# squares_f32, squares_f64: sums of squares by piece (float64), items, how many items; begin and end
# number the pieces
_SQUARES = f"""
define void @squares_NAME(ptr %context, i64 %begin, i64 %end) {{
entry:
  %to = load ptr, ptr %context
  %p1 = getelementptr ptr, ptr %context, i64 1
  %items = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %context, i64 2
  %size = load i64, ptr %p2
  br label %next
next:
  %piece = phi i64 [%begin, %entry], [%piece1, %store]
  %more = icmp slt i64 %piece, %end
  br i1 %more, label %enter, label %over
enter:
  %first = mul i64 %piece, {PIECE}
  %full = add i64 %first, {PIECE}
  %short = icmp slt i64 %size, %full
  %last = select i1 %short, i64 %size, i64 %full
  br label %wide
wide:
  %i = phi i64 [%first, %enter], [%i1, %sixteen]
  %a = phi <8 x double> [zeroinitializer, %enter], [%a1, %sixteen]
  %b = phi <8 x double> [zeroinitializer, %enter], [%b1, %sixteen]
  %i1 = add i64 %i, 16
  %whole = icmp sle i64 %i1, %last
  br i1 %whole, label %sixteen, label %join
sixteen:
  %place = getelementptr TYPE, ptr %items, i64 %i
  %second = getelementptr TYPE, ptr %place, i64 8
  %x0 = load <8 x TYPE>, ptr %place, align ALIGN
  %y0 = load <8 x TYPE>, ptr %second, align ALIGN
  %x = WIDEN <8 x TYPE> %x0 to <8 x double>
  %y = WIDEN <8 x TYPE> %y0 to <8 x double>
  %xx = fmul <8 x double> %x, %x
  %yy = fmul <8 x double> %y, %y
  %a1 = fadd <8 x double> %a, %xx
  %b1 = fadd <8 x double> %b, %yy
  br label %wide
join:
  %both = fadd <8 x double> %a, %b
  %sum = call double @llvm.vector.reduce.fadd.v8f64(double 0.0, <8 x double> %both)
  br label %tail
tail:
  %j = phi i64 [%i, %join], [%j1, %one]
  %total = phi double [%sum, %join], [%total1, %one]
  %left = icmp slt i64 %j, %last
  br i1 %left, label %one, label %store
one:
  %one_place = getelementptr TYPE, ptr %items, i64 %j
  %z0 = load TYPE, ptr %one_place
  %z = WIDEN TYPE %z0 to double
  %zz = fmul double %z, %z
  %total1 = fadd double %total, %zz
  %j1 = add i64 %j, 1
  br label %tail
store:
  %out = getelementptr double, ptr %to, i64 %piece
  store double %total, ptr %out
  %piece1 = add i64 %piece, 1
  br label %next
over:
  ret void
}}
"""

# norm_f32, norm_f64: the root, sums of squares by piece, how many pieces
_NORM = """
define void @norm_NAME(ptr %context, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %context
  %p1 = getelementptr ptr, ptr %context, i64 1
  %sums = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %context, i64 2
  %count = load i64, ptr %p2
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %total = phi double [0.0, %entry], [%total1, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %over
one:
  %place = getelementptr double, ptr %sums, i64 %i
  %x = load double, ptr %place
  %total1 = fadd double %total, %x
  %i1 = add i64 %i, 1
  br label %next
over:
  %root = call double @llvm.sqrt.f64(double %total)
  %small = NARROW double %root to TYPE
  store TYPE %small, ptr %to
  ret void
}
"""
_INTRINSICS = """
declare double @llvm.vector.reduce.fadd.v8f64(double, <8 x double>)
declare double @llvm.sqrt.f64(double)
"""


_TYPES = {"f32": ("float", "4", "fpext", "fptrunc"),
          "f64": ("double", "8", "bitcast", "bitcast")}


def text_of(name: str) -> str:
    """The module with one of the functions of `NAMES`."""
    if name == "several":
        return _SEVERAL
    if name == "copy_rows":
        return _COPY_ROWS
    how, _, kind = name.partition("_")
    text = _SQUARES if how == "squares" else _NORM
    for word, value in zip(("NAME", "TYPE", "ALIGN", "WIDEN", "NARROW"), (kind, *_TYPES[kind])):
        text = text.replace(word, value)
    return _INTRINSICS + text
