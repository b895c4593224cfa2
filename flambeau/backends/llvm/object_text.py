"""LLVM text of small steps on Python's objects: reading them, making them, filling them.

Places in objects stand in braces, as `{HEAD}`: `placed` puts the numbers there.
"""

import re
from collections.abc import Iterable, Mapping

from flambeau.backends.llvm.calls import DTYPE, FLAGS, HEAD, RANK, SIZES, STRIDES

__all__ = ["FUNCTIONS", "object_text", "placed"]

_DECLARATIONS = """
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i32 @PyObject_SetAttr(ptr, ptr, ptr)
declare ptr @PyObject_Call(ptr, ptr, ptr)
declare ptr @PyDict_GetItem(ptr, ptr)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_Clear()
declare ptr @PyIter_Next(ptr)
declare i32 @PyList_Append(ptr, ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare i64 @PyList_Size(ptr)
declare i64 @PyLong_AsSsize_t(ptr)
declare ptr @PyLong_FromSsize_t(i64)
declare ptr @PySequence_Concat(ptr, ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare i64 @PyTuple_Size(ptr)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare ptr @PyWeakref_NewRef(ptr, ptr)
declare ptr @object_new(ptr, ptr, ptr)
"""

# Of any object, and of arrays.
_KNOWN = {"HEAD": HEAD, "TYPE": HEAD - 8, "DTYPE": DTYPE, "FLAGS": FLAGS, "RANK": RANK,
          "SIZES": SIZES, "STRIDES": STRIDES}
# `object_new` is what object.__new__ calls.
FUNCTIONS = tuple(re.findall(r"@(Py\w+)", _DECLARATIONS))

# Reading and filling objects. Slots hold references of their own; a new object's are null.
_OBJECTS = """
define internal ptr @type_of(ptr %o) {
  %at = getelementptr i8, ptr %o, i64 {TYPE}
  %type = load ptr, ptr %at
  ret ptr %type
}
define internal ptr @item(ptr %items, i64 %i) {
  %at = getelementptr ptr, ptr %items, i64 %i
  %item = load ptr, ptr %at
  ret ptr %item
}
define internal ptr @slot(ptr %o, i64 %offset) {
  %at = getelementptr i8, ptr %o, i64 %offset
  %value = load ptr, ptr %at
  ret ptr %value
}
define internal i64 @rank_of(ptr %array) {
  %at = getelementptr i8, ptr %array, i64 {RANK}
  %rank32 = load i32, ptr %at
  %rank = sext i32 %rank32 to i64
  ret i64 %rank
}
define internal i1 @has_flags(ptr %array, i32 %wanted) {
  %at = getelementptr i8, ptr %array, i64 {FLAGS}
  %flags = load i32, ptr %at
  %kept = and i32 %flags, %wanted
  %all = icmp eq i32 %kept, %wanted
  ret i1 %all
}
define internal void @give(ptr %o, i64 %offset, ptr %value) {
  %at = getelementptr i8, ptr %o, i64 %offset
  store ptr %value, ptr %at
  ret void
}
define internal void @put(ptr %o, i64 %offset, ptr %value) {
  call void @Py_IncRef(ptr %value)
  call void @give(ptr %o, i64 %offset, ptr %value)
  ret void
}
define internal ptr @new(ptr %class) {
  %o = call ptr @object_new(ptr %class, ptr @no_items, ptr null)
  ret ptr %o
}
; A tuple of one or two items, which it refers to; null without memory.
define internal ptr @tuple(ptr %first, ptr %second) {
entry:
  %one = icmp eq ptr %second, null
  %n = select i1 %one, i64 1, i64 2
  call void @Py_IncRef(ptr %first)
  %t = call ptr @PyTuple_New(i64 %n)
  %failed = icmp eq ptr %t, null
  br i1 %failed, label %drop, label %fill
drop:
  call void @Py_DecRef(ptr %first)
  ret ptr null
fill:
  %a = call i32 @PyTuple_SetItem(ptr %t, i64 0, ptr %first)
  br i1 %one, label %done, label %more
more:
  call void @Py_IncRef(ptr %second)
  %b = call i32 @PyTuple_SetItem(ptr %t, i64 1, ptr %second)
  br label %done
done:
  ret ptr %t
}
; Whether an attribute is a certain object: 1 or 0; -1 with an error set.
define internal i32 @attribute_is(ptr %o, ptr %name, ptr %value) {
entry:
  %found = call ptr @PyObject_GetAttr(ptr %o, ptr %name)
  %failed = icmp eq ptr %found, null
  br i1 %failed, label %error, label %compare
compare:
  %same = icmp eq ptr %found, %value
  call void @Py_DecRef(ptr %found)
  %answer = zext i1 %same to i32
  ret i32 %answer
error:
  ret i32 -1
}
; As PyObject_SetAttr, but takes the reference to the value, and hands on the failure to make it.
define internal i32 @set(ptr %o, ptr %name, ptr %value) {
entry:
  %failed = icmp eq ptr %value, null
  br i1 %failed, label %error, label %store
store:
  %answer = call i32 @PyObject_SetAttr(ptr %o, ptr %name, ptr %value)
  call void @Py_DecRef(ptr %value)
  ret i32 %answer
error:
  ret i32 -1
}
; What a function in Python gives, called with the same arguments.
define internal ptr @by_python(ptr %function, ptr %args, i64 %nargs) {
entry:
  %all = call ptr @PyTuple_New(i64 %nargs)
  %failed = icmp eq ptr %all, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %nargs
  br i1 %more, label %one, label %call
one:
  %item = call ptr @item(ptr %args, i64 %i)
  call void @Py_IncRef(ptr %item)
  %put = call i32 @PyTuple_SetItem(ptr %all, i64 %i, ptr %item)
  %i1 = add i64 %i, 1
  br label %next
call:
  %made = call ptr @PyObject_Call(ptr %function, ptr %all, ptr null)
  call void @Py_DecRef(ptr %all)
  ret ptr %made
error:
  ret ptr null
}
"""


def placed(text: str, places: Mapping[str, int]) -> str:
    """``text`` with the offset of every place in braces; some are known without being given."""
    for name, offset in {**_KNOWN, **places}.items():
        text = text.replace(f"{{{name}}}", str(offset))
    return text


def object_text(objects: Iterable[str]) -> str:
    """Declarations, of these objects too, and the small steps."""
    known = [f"@{name} = external global i8\n" for name in objects]
    return "".join(known) + placed(_DECLARATIONS + _OBJECTS, {})
