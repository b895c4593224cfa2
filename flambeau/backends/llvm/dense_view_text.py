"""LLVM text of `dense_view` and `expanded_view`: views whose sizes and strides are computed here.

Both take a tensor and a tuple of sizes, plain integers, of which one may be -1 (any of those that
are expanded). NumPy makes their arrays, by its own interface for C.
"""

from collections.abc import Mapping

from flambeau.backends.llvm.object_text import placed

__all__ = ["MAX_RANK", "dense_view_text"]

# NumPy's NPY_MAXDIMS
MAX_RANK = 64

_SHARED = """
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare i32 @PyArray_SetBaseObject(ptr, ptr)
declare {i64, i1} @llvm.smul.with.overflow.i64(i64, i64)

; A size that is a plain integer of at least -1; -2 stands for any other.
define internal i64 @size_of(ptr %shape, i64 %i) {
entry:
  %size = call ptr @PyTuple_GetItem(ptr %shape, i64 %i)
  %type = call ptr @type_of(ptr %size)
  %is_int = icmp eq ptr %type, @int
  br i1 %is_int, label %read, label %other
read:
  %value = call i64 @PyLong_AsSsize_t(ptr %size)
  %fine = icmp sge i64 %value, 0
  br i1 %fine, label %done, label %below
below:
  %minus = icmp eq i64 %value, -1
  br i1 %minus, label %doubt, label %other
doubt:
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %done, label %large
large:
  call void @PyErr_Clear()
  br label %other
done:
  ret i64 %value
other:
  ret i64 -2
}
; An array over the memory of `own`; strides may be null for those of C order.
define internal ptr @strided(ptr %own, i64 %rank, ptr %sizes, ptr %strides, i32 %kept) {
entry:
  %dtype = call ptr @slot(ptr %own, i64 {DTYPE})
  %data = call ptr @slot(ptr %own, i64 {HEAD})
  %flags_at = getelementptr i8, ptr %own, i64 {FLAGS}
  %all = load i32, ptr %flags_at
  %flags = and i32 %all, %kept
  %count = trunc i64 %rank to i32
  call void @Py_IncRef(ptr %dtype)
  %array = call ptr @PyArray_NewFromDescr(ptr @ndarray, ptr %dtype, i32 %count, ptr %sizes,
                                          ptr %strides, ptr %data, i32 %flags, ptr null)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %error, label %base
base:
  call void @Py_IncRef(ptr %own)
  %based = call i32 @PyArray_SetBaseObject(ptr %array, ptr %own)
  %homeless = icmp slt i32 %based, 0
  br i1 %homeless, label %drop, label %done
done:
  ret ptr %array
drop:
  call void @Py_DecRef(ptr %array)
  br label %error
error:
  ret ptr null
}
; The view of `t` over `array`, whose reference it takes, by an operator with the one param `shape`:
; `given`, or what the array has where that is null. Null with an error set.
define internal ptr @shaped(ptr %op, ptr %t, ptr %array, ptr %given) {
entry:
  %four = alloca [4 x ptr]
  %no_array = icmp eq ptr %array, null
  br i1 %no_array, label %error, label %params
params:
  %params_is = call ptr @PyDict_New()
  %no_params = icmp eq ptr %params_is, null
  br i1 %no_params, label %drop, label %choose
choose:
  %ask = icmp eq ptr %given, null
  br i1 %ask, label %read, label %known
known:
  call void @Py_IncRef(ptr %given)
  br label %fill
read:
  %found = call ptr @PyObject_GetAttr(ptr %array, ptr @shape)
  %no_shape = icmp eq ptr %found, null
  br i1 %no_shape, label %forget, label %fill
fill:
  %shape_is = phi ptr [%given, %known], [%found, %read]
  %put = call i32 @PyDict_SetItem(ptr %params_is, ptr @shape, ptr %shape_is)
  call void @Py_DecRef(ptr %shape_is)
  %failed = icmp slt i32 %put, 0
  br i1 %failed, label %forget, label %make
make:
  call void @give(ptr %four, i64 0, ptr %op)
  call void @give(ptr %four, i64 8, ptr %t)
  call void @give(ptr %four, i64 16, ptr %array)
  call void @give(ptr %four, i64 24, ptr %params_is)
  %made = call ptr @make_view(ptr null, ptr %four, i64 4)
  br label %forget
forget:
  %view = phi ptr [null, %read], [null, %fill], [%made, %make]
  call void @Py_DecRef(ptr %params_is)
  br label %drop
drop:
  %answer = phi ptr [null, %params], [%view, %forget]
  call void @Py_DecRef(ptr %array)
  ret ptr %answer
error:
  ret ptr null
}
; The sizes asked for: the given tuple, or the one tuple that is in it. Null where that is no tuple.
define internal ptr @sizes_in(ptr %args, i64 %nargs) {
entry:
  %two = icmp eq i64 %nargs, 2
  br i1 %two, label %look, label %none
look:
  %given = call ptr @item(ptr %args, i64 1)
  %type = call ptr @type_of(ptr %given)
  %is_tuple = icmp eq ptr %type, @tuple_type
  br i1 %is_tuple, label %source, label %none
source:
  %t = load ptr, ptr %args
  %plain = call i1 @is_plain_tensor(ptr %t)
  br i1 %plain, label %count, label %none
count:
  %n = call i64 @PyTuple_Size(ptr %given)
  %one = icmp eq i64 %n, 1
  br i1 %one, label %first, label %all
first:
  %inner = call ptr @PyTuple_GetItem(ptr %given, i64 0)
  %inner_type = call ptr @type_of(ptr %inner)
  %nested = call i32 @PyType_IsSubtype(ptr %inner_type, ptr @tuple_type)
  %inside = icmp ne i32 %nested, 0
  %shape_is = select i1 %inside, ptr %inner, ptr %given
  br label %rank
all:
  br label %rank
rank:
  %found = phi ptr [%shape_is, %first], [%given, %all]
  %rank_is = call i64 @PyTuple_Size(ptr %found)
  %few = icmp sle i64 %rank_is, {MAX_RANK}
  br i1 %few, label %done, label %none
done:
  ret ptr %found
none:
  ret ptr null
}
; A tuple itself where it can be kept as the shape: of that very type, without -1. Else null.
define internal ptr @as_shape(ptr %sizes, i1 %inferred) {
  %type = call ptr @type_of(ptr %sizes)
  %differs = icmp ne ptr %type, @tuple_type
  %other = or i1 %differs, %inferred
  %kept = select i1 %other, ptr null, ptr %sizes
  ret ptr %kept
}
"""

_DENSE = """
; The product of `n` sizes at `sizes`; -1 where it is too large.
define internal i64 @product(ptr %sizes, i64 %n) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %all = phi i64 [1, %entry], [%all1, %one]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %at = getelementptr i64, ptr %sizes, i64 %i
  %size = load i64, ptr %at
  %pair = call {i64, i1} @llvm.smul.with.overflow.i64(i64 %all, i64 %size)
  %all1 = extractvalue {i64, i1} %pair, 0
  %beyond = extractvalue {i64, i1} %pair, 1
  %i1 = add i64 %i, 1
  br i1 %beyond, label %large, label %next
done:
  ret i64 %all
large:
  ret i64 -1
}
; Writes the sizes, with 1 for -1. Gives the place of -1, or -1 where there is none, -2 where
; a size is no good.
define internal i64 @read_sizes(ptr %shape, i64 %n, ptr %sizes) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %put]
  %gap = phi i64 [-1, %entry], [%gap1, %put]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %size = call i64 @size_of(ptr %shape, i64 %i)
  %good = icmp sge i64 %size, -1
  br i1 %good, label %sort, label %bad
sort:
  %open = icmp slt i64 %size, 0
  %second = icmp sge i64 %gap, 0
  %twice = and i1 %open, %second
  br i1 %twice, label %bad, label %put
put:
  %gap1 = select i1 %open, i64 %i, i64 %gap
  %value = select i1 %open, i64 1, i64 %size
  %at = getelementptr i64, ptr %sizes, i64 %i
  store i64 %value, ptr %at
  br label %next
done:
  ret i64 %gap
bad:
  ret i64 -2
}
; Finds the size at `gap`, if there is one; whether all sizes hold as much as the array does.
define internal i1 @complete(ptr %own, ptr %sizes, i64 %n, i64 %gap) {
entry:
  %rank = call i64 @rank_of(ptr %own)
  %have = call ptr @slot(ptr %own, i64 {SIZES})
  %count = call i64 @product(ptr %have, i64 %rank)
  %known = call i64 @product(ptr %sizes, i64 %n)
  %open = icmp sge i64 %gap, 0
  br i1 %open, label %infer, label %compare
compare:
  %same = icmp eq i64 %known, %count
  ret i1 %same
infer:
  %some = icmp sgt i64 %known, 0
  br i1 %some, label %divide, label %no
divide:
  %left = sdiv i64 %count, %known
  %back = mul i64 %left, %known
  %fits = icmp eq i64 %back, %count
  %at = getelementptr i64, ptr %sizes, i64 %gap
  store i64 %left, ptr %at
  ret i1 %fits
no:
  ret i1 false
}
define ptr @dense_view(ptr %self, ptr %args, i64 %nargs) {
entry:
  %sizes = alloca [{MAX_RANK} x i64]
  %shape_is = call ptr @sizes_in(ptr %args, i64 %nargs)
  %strange = icmp eq ptr %shape_is, null
  br i1 %strange, label %python, label %order
order:
  %t = load ptr, ptr %args
  %own = call ptr @slot(ptr %t, i64 {A})
  %in_order = call i1 @has_flags(ptr %own, i32 {C_ORDER})
  br i1 %in_order, label %read, label %python
read:
  %n = call i64 @PyTuple_Size(ptr %shape_is)
  %gap = call i64 @read_sizes(ptr %shape_is, i64 %n, ptr %sizes)
  %good = icmp sge i64 %gap, -1
  br i1 %good, label %match, label %python
match:
  %fits = call i1 @complete(ptr %own, ptr %sizes, i64 %n, i64 %gap)
  br i1 %fits, label %make, label %python
make:
  %array = call ptr @strided(ptr %own, i64 %n, ptr %sizes, ptr null, i32 {KEPT})
  %inferred = icmp sge i64 %gap, 0
  %kept = call ptr @as_shape(ptr %shape_is, i1 %inferred)
  %made = call ptr @shaped(ptr @view, ptr %t, ptr %array, ptr %kept)
  ret ptr %made
python:
  %python_t = call ptr @by_python(ptr @dense_view_in_python, ptr %args, i64 %nargs)
  ret ptr %python_t
}
"""

_EXPANDED = """
; Writes sizes and strides. 0 where all sizes are given, bit 1 where one was -1, bit 2 where memory
; is repeated; -1 where a size is no good.
define internal i32 @expansion(ptr %shape, i64 %n, ptr %own, ptr %sizes, ptr %strides) {
entry:
  %rank = call i64 @rank_of(ptr %own)
  %lead = sub i64 %n, %rank
  %have = call ptr @slot(ptr %own, i64 {SIZES})
  %steps = call ptr @slot(ptr %own, i64 {STRIDES})
  %enough = icmp sge i64 %lead, 0
  br i1 %enough, label %next, label %bad
next:
  %i = phi i64 [0, %entry], [%i1, %put]
  %said = phi i32 [0, %entry], [%said1, %put]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %size = call i64 @size_of(ptr %shape, i64 %i)
  %from = sub i64 %i, %lead
  %old = icmp sge i64 %from, 0
  br i1 %old, label %read, label %sort
read:
  %have_at = getelementptr i64, ptr %have, i64 %from
  %have_is = load i64, ptr %have_at
  %step_at = getelementptr i64, ptr %steps, i64 %from
  %step_is = load i64, ptr %step_at
  %open = icmp eq i64 %size, -1
  br label %sort
sort:
  %was = phi i64 [1, %one], [%have_is, %read]
  %step = phi i64 [0, %one], [%step_is, %read]
  %keep = phi i1 [false, %one], [%open, %read]
  %wanted = select i1 %keep, i64 %was, i64 %size
  %same = icmp eq i64 %wanted, %was
  %single = icmp eq i64 %was, 1
  %positive = icmp sge i64 %wanted, 0
  %grows = and i1 %single, %positive
  %fine = or i1 %same, %grows
  br i1 %fine, label %put, label %bad
put:
  %step1 = select i1 %same, i64 %step, i64 0
  %size_to = getelementptr i64, ptr %sizes, i64 %i
  store i64 %wanted, ptr %size_to
  %step_to = getelementptr i64, ptr %strides, i64 %i
  store i64 %step1, ptr %step_to
  %bit1 = zext i1 %keep to i32
  %bit2 = select i1 %same, i32 0, i32 2
  %both = or i32 %bit1, %bit2
  %said1 = or i32 %said, %both
  br label %next
done:
  ret i32 %said
bad:
  ret i32 -1
}
define ptr @expanded_view(ptr %self, ptr %args, i64 %nargs) {
entry:
  %sizes = alloca [{MAX_RANK} x i64]
  %strides = alloca [{MAX_RANK} x i64]
  %shape_is = call ptr @sizes_in(ptr %args, i64 %nargs)
  %strange = icmp eq ptr %shape_is, null
  br i1 %strange, label %python, label %read
read:
  %t = load ptr, ptr %args
  %own = call ptr @slot(ptr %t, i64 {A})
  %n = call i64 @PyTuple_Size(ptr %shape_is)
  %said = call i32 @expansion(ptr %shape_is, i64 %n, ptr %own, ptr %sizes, ptr %strides)
  %bad = icmp slt i32 %said, 0
  br i1 %bad, label %python, label %make
make:
  %repeats = icmp uge i32 %said, 2
  %kept = select i1 %repeats, i32 {KEPT_READ_ONLY}, i32 {KEPT}
  %array = call ptr @strided(ptr %own, i64 %n, ptr %sizes, ptr %strides, i32 %kept)
  %low = and i32 %said, 1
  %inferred = icmp ne i32 %low, 0
  %given = call ptr @as_shape(ptr %shape_is, i1 %inferred)
  %made = call ptr @shaped(ptr @expand, ptr %t, ptr %array, ptr %given)
  ret ptr %made
python:
  %python_t = call ptr @by_python(ptr @expanded_view_in_python, ptr %args, i64 %nargs)
  ret ptr %python_t
}
"""
# NumPy's flags of arrays: in C order; aligned, writeable
_C_ORDER, _ALIGNED, _WRITEABLE = 0x0001, 0x0100, 0x0400


def dense_view_text(places: Mapping[str, int]) -> str:
    """What `view_makers_text` adds for them: they call `make_view`."""
    known = {"MAX_RANK": MAX_RANK, "C_ORDER": _C_ORDER, "KEPT": _ALIGNED | _WRITEABLE,
             "KEPT_READ_ONLY": _ALIGNED}
    return placed(_SHARED + _DENSE + _EXPANDED, {**places, **known})
