"""LLVM text of loops that NumPy has not as ufuncs, with the same arguments as its own.

A loop is given its operands, how many turns it takes, their strides, and what it is given besides.
"""

from __future__ import annotations

from flambeau.backends.llvm.ordered_sum import total_text

__all__ = ["LOOPS", "loops_text"]

# `choose`: a where the mask holds, else b. `widen`, `narrow`: float32 as float64 and back.
# `pick`: from each row of `a` the item that an index names, `put`: into it; besides: the number of
# items, the stride between them, and where to say that none is there.
_OPEN = """
define void @{name}(ptr %operands, ptr %length, ptr %strides, ptr %besides) {{
entry:
  %n = load i64, ptr %length
  %o0 = load ptr, ptr %operands
  %s0 = load i64, ptr %strides"""
_OPERAND = """
  %po{k} = getelementptr ptr, ptr %operands, i64 {k}
  %o{k} = load ptr, ptr %po{k}
  %ps{k} = getelementptr i64, ptr %strides, i64 {k}
  %s{k} = load i64, ptr %ps{k}"""
_EACH = """
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, {last}]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1"""
_AT = """
  %d{k} = mul i64 %i, %s{k}
  %a{k} = getelementptr i8, ptr %o{k}, i64 %d{k}"""
_CLOSE = """
  br label %next
done:
  ret void
}}
"""
_CHOOSE = """
  %m = load i8, ptr %a0
  %holds = icmp ne i8 %m, 0
  %from = select i1 %holds, ptr %a1, ptr %a2
  %value = load {type}, ptr %from
  store {type} %value, ptr %a3"""
_BY_ROW = """
  %classes = load i64, ptr %besides
  %pstep = getelementptr i64, ptr %besides, i64 1
  %step = load i64, ptr %pstep
  %pwrong = getelementptr ptr, ptr %besides, i64 2
  %wrong = load ptr, ptr %pwrong
  %index = load i64, ptr %a1
  %inside = icmp ult i64 %index, %classes
  %before = load i64, ptr %wrong
  %outside = zext i1 %inside to i64
  %failed = xor i64 %outside, 1
  %now = or i64 %before, %failed
  store i64 %now, ptr %wrong
  %safe = select i1 %inside, i64 %index, i64 0
  %far = mul i64 %safe, %step
  %there = getelementptr i8, ptr %a0, i64 %far"""
_PICK = _BY_ROW + """
  %value = load {type}, ptr %there
  store {type} %value, ptr %a2"""
_PUT = _BY_ROW + """
  %value = load {type}, ptr %a2
  store {type} %value, ptr %there"""
_CAST = """
  %value = load {type}, ptr %a0
  %other = {how}
  store {to} %other, ptr %a1"""
_WIDEN = _CAST.format(type="float", to="double", how="fpext float %value to double")
_NARROW = _CAST.format(type="double", to="float", how="fptrunc double %value to float")
_ADD = _BY_ROW + """
  %value = load {type}, ptr %a2
  %old = load {type}, ptr %there
  %sum = fadd {type} %old, %value
  store {type} %sum, ptr %there"""
_COPY = """
  %value = load {type}, ptr %a0
  store {type} %value, ptr %a1"""

# `first`: of each row of `a` its first few items in order, and their numbers. Besides: how many
# items and the stride between them, how many are wanted, the strides between values and numbers.
# They are put where they belong among those that were found, from behind.
_FIRST = """
  %items = load i64, ptr %besides
  %pstep = getelementptr i64, ptr %besides, i64 1
  %step = load i64, ptr %pstep
  %pwanted = getelementptr i64, ptr %besides, i64 2
  %wanted = load i64, ptr %pwanted
  %pvstep = getelementptr i64, ptr %besides, i64 3
  %vstep = load i64, ptr %pvstep
  %pistep = getelementptr i64, ptr %besides, i64 4
  %istep = load i64, ptr %pistep
  br label %next_item
next_item:
  %k = phi i64 [0, %one], [%k1, %skip], [%k1, %put]
  %found = phi i64 [0, %one], [%found, %skip], [%found1, %put]
  %more_items = icmp slt i64 %k, %items
  br i1 %more_items, label %item, label %end
item:
  %k1 = add i64 %k, 1
  %far = mul i64 %k, %step
  %at = getelementptr i8, ptr %a0, i64 %far
  %value = load {type}, ptr %at
  %full = icmp eq i64 %found, %wanted
  %below = sub i64 %wanted, 1
  %start = select i1 %full, i64 %below, i64 %found
  %grown = add i64 %found, 1
  %found1 = select i1 %full, i64 %found, i64 %grown
  br i1 %full, label %worth, label %shift
worth:
  %farl = mul i64 %below, %vstep
  %atl = getelementptr i8, ptr %a1, i64 %farl
  %last = load {type}, ptr %atl
{last_before}
  br i1 %last_before, label %shift, label %skip
skip:
  br label %next_item
shift:
  %j = phi i64 [%start, %item], [%start, %worth], [%h, %move]
  %any = icmp sgt i64 %j, 0
  br i1 %any, label %look, label %put
look:
  %h = sub i64 %j, 1
  %farh = mul i64 %h, %vstep
  %ath = getelementptr i8, ptr %a1, i64 %farh
  %other = load {type}, ptr %ath
{other_before}
  br i1 %other_before, label %move, label %put
move:
  %farj = mul i64 %j, %vstep
  %atj = getelementptr i8, ptr %a1, i64 %farj
  store {type} %other, ptr %atj
  %farhi = mul i64 %h, %istep
  %athi = getelementptr i8, ptr %a2, i64 %farhi
  %number = load i64, ptr %athi
  %farji = mul i64 %j, %istep
  %atji = getelementptr i8, ptr %a2, i64 %farji
  store i64 %number, ptr %atji
  br label %shift
put:
  %farp = mul i64 %j, %vstep
  %atp = getelementptr i8, ptr %a1, i64 %farp
  store {type} %value, ptr %atp
  %farpi = mul i64 %j, %istep
  %atpi = getelementptr i8, ptr %a2, i64 %farpi
  store i64 %k, ptr %atpi
  br label %next_item
end:"""
# `best`: of each row of `a` its greatest item (`up`) or its least, the first of equal ones, and its
# number. Besides: how many items, and the stride between them.
_BEST = """
  %items = load i64, ptr %besides
  %pstep = getelementptr i64, ptr %besides, i64 1
  %step = load i64, ptr %pstep
  %start = load {type}, ptr %a0
  br label %next_item
next_item:
  %k = phi i64 [1, %one], [%k1, %item]
  %other = phi {type} [%start, %one], [%better, %item]
  %where = phi i64 [0, %one], [%there, %item]
  %more_items = icmp slt i64 %k, %items
  br i1 %more_items, label %item, label %end
item:
  %k1 = add i64 %k, 1
  %far = mul i64 %k, %step
  %at = getelementptr i8, ptr %a0, i64 %far
  %value = load {type}, ptr %at
{other_before}
  %better = select i1 %other_before, {type} %value, {type} %other
  %there = select i1 %other_before, i64 %k, i64 %where
  br label %next_item
end:
  store {type} %other, ptr %a1
  store i64 %where, ptr %a2"""
# Whether %value comes before another in order; NaN counts as greatest, or as best.
_BEFORE_INT = "  %{name}_before = icmp {way} i64 %value, %{name}"
_BEFORE_FLOAT = """  %{name}_plain = fcmp {way} {type} %value, %{name}
  %{name}_odd = fcmp uno {type} %{nan}, %{nan}
  %{name}_fine = fcmp ord {type} %{fine}, %{fine}
  %{name}_wins = and i1 %{name}_odd, %{name}_fine
  %{name}_before = or i1 %{name}_plain, %{name}_wins"""

# `product`: a product of matrices by a loop of NumPy's for several dimensions. Besides: that loop,
# what it is given besides, the numbers of its dimensions, and strides.
_PRODUCT = """
define void @product(ptr %operands, ptr %length, ptr %strides, ptr %besides) {
entry:
  %here = alloca [3 x ptr]
  %n = load i64, ptr %length
  %loop = load ptr, ptr %besides
  %pmore = getelementptr ptr, ptr %besides, i64 1
  %more_besides = load ptr, ptr %pmore
  %sizes = getelementptr i64, ptr %besides, i64 2
  %steps = getelementptr i64, ptr %besides, i64 6
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %call]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %next_operand, label %done
next_operand:
  %k = phi i64 [0, %next], [%k1, %operand]
  %any = icmp slt i64 %k, 3
  br i1 %any, label %operand, label %call
operand:
  %k1 = add i64 %k, 1
  %pstart = getelementptr ptr, ptr %operands, i64 %k
  %start = load ptr, ptr %pstart
  %pstride = getelementptr i64, ptr %strides, i64 %k
  %stride = load i64, ptr %pstride
  %far = mul i64 %i, %stride
  %at = getelementptr i8, ptr %start, i64 %far
  %place = getelementptr ptr, ptr %here, i64 %k
  store ptr %at, ptr %place
  br label %next_operand
call:
  call void %loop(ptr %here, ptr %sizes, ptr %steps, ptr %more_besides)
  %i1 = add i64 %i, 1
  br label %next
done:
  ret void
}
"""

# `total`: the sum of dense items, divided by a number. Besides: how many, and the number.
_TOTAL = """
define void @total_{item}(ptr %operands, ptr %length, ptr %strides, ptr %besides) {
  %a = load ptr, ptr %operands
  %pto = getelementptr ptr, ptr %operands, i64 1
  %to = load ptr, ptr %pto
  %n = load i64, ptr %besides
  %pby = getelementptr i64, ptr %besides, i64 1
  %by = load i64, ptr %pby
  %total = call {type} @sum_{item}(ptr %a, i64 %n)
  %divisor = sitofp i64 %by to {type}
  %result = fdiv {type} %total, %divisor
  store {type} %result, ptr %to
  ret void
}
"""

_WORDS = {"f": "float", "d": "double", "l": "i64"}
# Of ascending and descending order: which is less, by dtype, and what is NaN where it wins.
_WAYS = {"up": ("slt", "olt"), "down": ("sgt", "ogt")}


def _before(name: str, item: str, way: str, best: bool = False) -> str:
    """Whether %value comes before %``name``: in ascending order NaN is last, if it is not best."""
    whole, real = _WAYS[way]
    if item == "l":
        return _BEFORE_INT.format(name=name, way=whole)
    wins = best or way == "down"
    nan, fine = ("value", name) if wins else (name, "value")
    return _BEFORE_FLOAT.format(name=name, way=real, type=_WORDS[item], nan=nan, fine=fine)


def _ordering(item: str, way: str) -> tuple[int, str, str]:
    text = _FIRST.replace("{last_before}", _before("last", item, way))
    return 3, text.replace("{other_before}", _before("other", item, way)), _WORDS[item]


def _extreme(item: str, way: str) -> tuple[int, str, str]:
    found = _before("other", item, "down" if way == "up" else "up", True)
    return 3, _BEST.replace("{other_before}", found), _WORDS[item]


def _cast(kind: str, how: str, to: str) -> tuple[int, str, str]:
    """A loop that reads items of a type of LLVM's and writes what `how` makes of %value."""
    return 2, _CAST.replace("{how}", how).replace("{to}", to), kind


# Between dtypes by their characters: numbers from wholes and truths, whether numbers are not zero,
# and wholes of numbers, which the processor says where they are too large.
_CASTS = {
    "cast_?f": _cast("i8", "uitofp i8 %value to float", "float"),
    "cast_?d": _cast("i8", "uitofp i8 %value to double", "double"),
    "cast_?l": _cast("i8", "zext i8 %value to i64", "i64"),
    "cast_lf": _cast("i64", "sitofp i64 %value to float", "float"),
    "cast_ld": _cast("i64", "sitofp i64 %value to double", "double"),
    "cast_l?": _cast("i64", "icmp ne i64 %value, 0\n  %bit = zext i1 %other to i8", "i8"),
    "cast_f?": _cast("float", "fcmp une float %value, 0.0\n  %bit = zext i1 %other to i8", "i8"),
    "cast_d?": _cast("double", "fcmp une double %value, 0.0\n  %bit = zext i1 %other to i8", "i8"),
    "cast_i?": _cast("i32", "icmp ne i32 %value, 0\n  %bit = zext i1 %other to i8", "i8"),
    "cast_?i": _cast("i8", "zext i8 %value to i32", "i32"),
    "cast_il": _cast("i32", "sext i32 %value to i64", "i64"),
    "cast_li": _cast("i64", "trunc i64 %value to i32", "i32"),
    "cast_if": _cast("i32", "sitofp i32 %value to float", "float"),
    "cast_id": _cast("i32", "sitofp i32 %value to double", "double"),
    "cast_fi": _cast("float", "fptosi float %value to i32", "i32"),
    "cast_fl": _cast("float", "fptosi float %value to i64", "i64"),
    "cast_di": _cast("double", "fptosi double %value to i32", "i32"),
    "cast_dl": _cast("double", "fptosi double %value to i64", "i64")}
# By name: the operands, the text of one turn, the type of an item.
_KINDS = {"choose4": (4, _CHOOSE, "i32"), "choose8": (4, _CHOOSE, "i64"),
          "choose1": (4, _CHOOSE, "i8"),
          "widen": (2, _WIDEN, ""), "narrow": (2, _NARROW, ""),
          "copy1": (2, _COPY, "i8"), "copy4": (2, _COPY, "i32"), "copy8": (2, _COPY, "i64"),
          "pick1": (3, _PICK, "i8"), "pick4": (3, _PICK, "i32"), "pick8": (3, _PICK, "i64"),
          "put4": (3, _PUT, "i32"), "put8": (3, _PUT, "i64"),
          "addf": (3, _ADD, "float"), "addd": (3, _ADD, "double"),
          **{name.replace("?", "t"): (count, turn.replace("store i8 %other", "store i8 %bit"), kind)
             for name, (count, turn, kind) in _CASTS.items()},
          **{f"first_{way}_{item}": _ordering(item, way) for way in _WAYS for item in _WORDS},
          **{f"best_{way}_{item}": _extreme(item, way) for way in _WAYS for item in _WORDS}}
LOOPS = (*_KINDS, "product", "total_f", "total_d")


def loops_text() -> str:
    """The loops named in LOOPS."""
    text = [_PRODUCT]
    for item in "fd":
        text.append(total_text(item == "f").replace("@total(", f"@sum_{item}("))
        text.append(_TOTAL.replace("{item}", item).replace("{type}", _WORDS[item]))
    for name, (count, turn, item) in _KINDS.items():
        read = [_OPERAND.format(k=k) for k in range(1, count)]
        placing = [_AT.format(k=k) for k in range(count)]
        end = _CLOSE.format()
        turned = turn.replace("{type}", item)
        each = _EACH.replace("{last}", "%end" if "\nend:" in turn else "%one")
        text.append("".join([_OPEN.format(name=name), *read, each, *placing, turned, end]))
    return "".join(text)
