"""LLVM text of what a compiled step's native call checks, and of the arrays that it takes.

`is_like` compares an array with words, `has_items`, `is_dict`, `is_list` and `is_set` containers,
`fact_of` reads a tensor's rarer facts, and `take_arrays` gives new arrays for results.
"""

from flambeau.backends.llvm.calls import DTYPE, FLAGS, HEAD, NEEDED_FLAGS, RANK, SIZES, STRIDES

__all__ = ["FUNCTIONS", "SPARES", "WANTED", "WRITEABLE", "check_text"]

FUNCTIONS = (
    "PyErr_Clear", "PyEval_SaveThread", "PyEval_RestoreThread", "PyObject_GetAttr",
    "PyDict_GetItem", "PyDict_Size", "PyDict_Next", "PyList_Size", "PyList_GetItem",
    "PyCell_Get", "Py_IncRef", "Py_DecRef", "PyTuple_New", "PyTuple_SetItem", "PyTuple_GetItem",
    "PyList_SetItem", "PyObject_CallNoArgs", "PySet_Contains", "PySet_Size")
# How many arrays are kept for each result: one may be in use while the next is made.
SPARES = 2
# NumPy's flags of an array that may be written, and of one that is C-contiguous, aligned,
# writeable, and the owner of its memory
WRITEABLE = 0x0400
WANTED = NEEDED_FLAGS | WRITEABLE | 0x0004

_DECLARATIONS = """
declare void @PyErr_Clear()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare ptr @PyDict_GetItem(ptr, ptr)
declare i64 @PyDict_Size(ptr)
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)
declare i64 @PyList_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare ptr @PyCell_Get(ptr)
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare i32 @PySet_Contains(ptr, ptr)
declare i64 @PySet_Size(ptr)
@ndarray = external global i8
@none = external global i8
"""

# An array is like its words: rank, dtype, flags that it has, sizes, strides.
_LIKE = f"""
define internal i1 @is_like(ptr %a, ptr %words) {{
entry:
  %null = icmp eq ptr %a, null
  br i1 %null, label %no, label %look
look:
  %type_at = getelementptr i8, ptr %a, i64 {HEAD - 8}
  %type = load ptr, ptr %type_at
  %is_array = icmp eq ptr %type, @ndarray
  br i1 %is_array, label %describe, label %no
describe:
  %rank_at = getelementptr i8, ptr %a, i64 {RANK}
  %rank32 = load i32, ptr %rank_at
  %rank = sext i32 %rank32 to i64
  %want_rank = load i64, ptr %words
  %dtype_at = getelementptr i8, ptr %a, i64 {DTYPE}
  %dtype = load i64, ptr %dtype_at
  %want_dtype_at = getelementptr i64, ptr %words, i64 1
  %want_dtype = load i64, ptr %want_dtype_at
  %flags_at = getelementptr i8, ptr %a, i64 {FLAGS}
  %flags32 = load i32, ptr %flags_at
  %flags = zext i32 %flags32 to i64
  %want_flags_at = getelementptr i64, ptr %words, i64 2
  %want_flags = load i64, ptr %want_flags_at
  %have_flags = and i64 %flags, %want_flags
  %same_flags = icmp eq i64 %have_flags, %want_flags
  %same_rank = icmp eq i64 %rank, %want_rank
  %same_dtype = icmp eq i64 %dtype, %want_dtype
  %same_kind = and i1 %same_rank, %same_dtype
  %same = and i1 %same_kind, %same_flags
  br i1 %same, label %measure, label %no
measure:
  %sizes_at = getelementptr i8, ptr %a, i64 {SIZES}
  %sizes = load ptr, ptr %sizes_at
  %strides_at = getelementptr i8, ptr %a, i64 {STRIDES}
  %strides = load ptr, ptr %strides_at
  %want_sizes = getelementptr i64, ptr %words, i64 3
  %want_strides = getelementptr i64, ptr %want_sizes, i64 %rank
  br label %next
next:
  %d = phi i64 [0, %measure], [%d1, %dim]
  %more = icmp slt i64 %d, %rank
  br i1 %more, label %dim, label %yes
dim:
  %size_at = getelementptr i64, ptr %sizes, i64 %d
  %size = load i64, ptr %size_at
  %want_size_at = getelementptr i64, ptr %want_sizes, i64 %d
  %want_size = load i64, ptr %want_size_at
  %stride_at = getelementptr i64, ptr %strides, i64 %d
  %stride = load i64, ptr %stride_at
  %want_stride_at = getelementptr i64, ptr %want_strides, i64 %d
  %want_stride = load i64, ptr %want_stride_at
  %same_size = icmp eq i64 %size, %want_size
  %same_stride = icmp eq i64 %stride, %want_stride
  %fits = and i1 %same_size, %same_stride
  %d1 = add i64 %d, 1
  br i1 %fits, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}
"""

# words: how many, then key and held object each
_ITEMS = """
define internal i1 @has_items(ptr %dict, ptr %words) {
entry:
  %count = load i64, ptr %words
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %two = mul i64 %i, 2
  %at = add i64 %two, 1
  %key_at = getelementptr i64, ptr %words, i64 %at
  %key = load ptr, ptr %key_at
  %want_at = getelementptr i64, ptr %key_at, i64 1
  %want = load ptr, ptr %want_at
  %found = call ptr @PyDict_GetItem(ptr %dict, ptr %key)
  %same = icmp eq ptr %found, %want
  %i1 = add i64 %i, 1
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
define internal i1 @is_dict(ptr %dict, ptr %words) {
entry:
  %position = alloca i64
  %key_slot = alloca ptr
  %value_slot = alloca ptr
  store i64 0, ptr %position
  %count = load i64, ptr %words
  %size = call i64 @PyDict_Size(ptr %dict)
  %same_size = icmp eq i64 %size, %count
  br i1 %same_size, label %next, label %no
next:
  %i = phi i64 [0, %entry], [%i1, %compare]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %left = call i32 @PyDict_Next(ptr %dict, ptr %position, ptr %key_slot, ptr %value_slot)
  %any = icmp ne i32 %left, 0
  br i1 %any, label %compare, label %no
compare:
  %two = mul i64 %i, 2
  %at = add i64 %two, 1
  %want_key_at = getelementptr i64, ptr %words, i64 %at
  %want_key = load ptr, ptr %want_key_at
  %want_at = getelementptr i64, ptr %want_key_at, i64 1
  %want = load ptr, ptr %want_at
  %key = load ptr, ptr %key_slot
  %value = load ptr, ptr %value_slot
  %same_key = icmp eq ptr %key, %want_key
  %same_value = icmp eq ptr %value, %want
  %same = and i1 %same_key, %same_value
  %i1 = add i64 %i, 1
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
define internal ptr @borrowed(ptr %found) {
entry:
  %null = icmp eq ptr %found, null
  br i1 %null, label %clear, label %drop
clear:
  call void @PyErr_Clear()
  ret ptr null
drop:
  call void @Py_DecRef(ptr %found)
  ret ptr %found
}
"""

# words: how many, then each object
_SEQUENCE = """
define internal i1 @NAME(ptr %held, ptr %words) {
entry:
  %count = load i64, ptr %words
  %size = call i64 @SIZE(ptr %held)
  %same_size = icmp eq i64 %size, %count
  br i1 %same_size, label %next, label %no
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %i1 = add i64 %i, 1
  %want_at = getelementptr i64, ptr %words, i64 %i1
  %want = load ptr, ptr %want_at
COMPARE
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
"""
_IN_LIST = """  %found = call ptr @PyList_GetItem(ptr %held, i64 %i)
  %same = icmp eq ptr %found, %want"""
_IN_SET = """  %found = call i32 @PySet_Contains(ptr %held, ptr %want)
  %same = icmp eq i32 %found, 1"""

# What a tensor's rarer facts have in a slot (its gradient, its hooks); null where None.
_GRADIENT = """
define internal ptr @fact_of(ptr %t, i64 %x_offset, i64 %offset) {
entry:
  %meta_at = getelementptr i8, ptr %t, i64 %x_offset
  %meta = load ptr, ptr %meta_at
  %no_meta = icmp eq ptr %meta, @none
  %unset = icmp eq ptr %meta, null
  %without = or i1 %no_meta, %unset
  br i1 %without, label %no, label %ask
ask:
  %slot = getelementptr i8, ptr %meta, i64 %offset
  %found = load ptr, ptr %slot
  %is_none = icmp eq ptr %found, @none
  br i1 %is_none, label %no, label %yes
yes:
  ret ptr %found
no:
  ret ptr null
}
"""

# take_arrays(words, pool): a tuple of new arrays, null with an error set. Words: how many; then for
# each what makes one, the pool's places for it, words to the next, and what it is like. An array
# that nobody but the pool has is as good as new.
_TAKE = """
define internal ptr @take_arrays(ptr %words, ptr %pool, i64 %turn) {
entry:
  %count = load i64, ptr %words
  %first = getelementptr i64, ptr %words, i64 1
  %tuple = call ptr @PyTuple_New(i64 %count)
  %failed = icmp eq ptr %tuple, null
  br i1 %failed, label %fail, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %put]
  %at = phi ptr [%first, %entry], [%at1, %put]
  %base = phi i64 [0, %entry], [%base1, %put]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %describe, label %over
describe:
  %maker = load ptr, ptr %at
  %places_at = getelementptr i64, ptr %at, i64 1
  %places = load i64, ptr %places_at
  %step_at = getelementptr i64, ptr %at, i64 2
  %step = load i64, ptr %step_at
  %like = getelementptr i64, ptr %at, i64 3
  %base1 = add i64 %base, %places
  br label %look
look:
  %p = phi i64 [%base, %describe], [%p1, %other]
  %any = icmp slt i64 %p, %base1
  br i1 %any, label %try, label %make
try:
  %old = call ptr @PyList_GetItem(ptr %pool, i64 %p)
  %holders = load i32, ptr %old
  %free = icmp eq i32 %holders, 1
  br i1 %free, label %fits, label %other
fits:
  %same = call i1 @is_like(ptr %old, ptr %like)
  br i1 %same, label %use, label %other
other:
  %p1 = add i64 %p, 1
  br label %look
use:
  call void @Py_IncRef(ptr %old)
  br label %put
make:
  %new = call ptr @PyObject_CallNoArgs(ptr %maker)
  %none = icmp eq ptr %new, null
  br i1 %none, label %drop, label %keep
keep:
  %has_places = icmp sgt i64 %places, 0
  br i1 %has_places, label %remember, label %put
remember:
  %nr = urem i64 %turn, %places
  %where = add i64 %base, %nr
  call void @Py_IncRef(ptr %new)
  call i32 @PyList_SetItem(ptr %pool, i64 %where, ptr %new)
  br label %put
put:
  %array = phi ptr [%old, %use], [%new, %keep], [%new, %remember]
  call i32 @PyTuple_SetItem(ptr %tuple, i64 %i, ptr %array)
  %i1 = add i64 %i, 1
  %at1 = getelementptr i64, ptr %at, i64 %step
  br label %next
over:
  ret ptr %tuple
drop:
  call void @Py_DecRef(ptr %tuple)
  br label %fail
fail:
  ret ptr null
}
"""


def check_text() -> str:
    """The functions, and what they declare."""
    sequences = [_SEQUENCE.replace("NAME", name).replace("SIZE", size).replace("COMPARE", compare)
                 for name, size, compare in (("is_list", "PyList_Size", _IN_LIST),
                                             ("is_set", "PySet_Size", _IN_SET))]
    return "".join([_DECLARATIONS, _LIKE, _ITEMS, *sequences, _GRADIENT, _TAKE])
