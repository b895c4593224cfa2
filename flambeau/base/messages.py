"""What flambeau adds to PyTorch's error messages, in English and in 中文.

Each text says what to do next; names in braces are facts of the error.
"""

from __future__ import annotations

import os

from flambeau.base import config

__all__ = ["TEXTS", "language", "text"]

TEXTS: dict[str, dict[str, str]] = {
    "at": {"en": "at line {line} of {file}:  {code}", "zh": "位于 {file} 第 {line} 行：  {code}"},
    "tensor": {"en": "{name}: {dtype}, shape {shape}", "zh": "{name}：{dtype}，形状 {shape}"},
    "module": {"en": "in module {path}: {module}", "zh": "位于模块 {path}：{module}"},
    "super_init": {
        "en": "Write super().__init__() as the first line of {kind}.__init__.",
        "zh": "请把 super().__init__() 写在 {kind}.__init__ 的第一行。"},
    "no_forward": {
        "en": "Define forward(self, ...) in class {kind}; look at its spelling and indentation.",
        "zh": "请在类 {kind} 里定义 forward(self, ...)；检查拼写和缩进。"},
    "not_parameter": {
        "en": "To change its values: with {prefix}.no_grad(): {name}.copy_(...). To put another "
              "one there: {prefix}.nn.Parameter(...).",
        "zh": "要改变它的值：with {prefix}.no_grad(): {name}.copy_(...)。要换成另一个："
              "{prefix}.nn.Parameter(...)。"},
    "matmul": {
        "en": "The last size of the left side ({inner}) must equal the size before the last of the "
              "right side ({other}).{fix}",
        "zh": "左边的最后一维（{inner}）必须等于右边的倒数第二维（{other}）。{fix}"},
    "matmul_transpose": {"en": " {right}.mT would fit here.", "zh": "这里用 {right}.mT 就能对上。"},
    "broadcast": {
        "en": "Compared from the last dimension, sizes must be equal or one of them 1. Reshape one "
              "side, or put in a dimension of size 1 with unsqueeze().",
        "zh": "从最后一维往前比较，两边的大小必须相等，或其中之一为 1。请用 reshape() 改变一边的形状，"
              "或用 unsqueeze() 加上大小为 1 的维度。"},
    "dtype": {
        "en": "Both sides must have one dtype: convert one, e.g. {name}.to({prefix}.{dtype}).",
        "zh": "两边的 dtype 必须相同：请转换其中之一，例如 {name}.to({prefix}.{dtype})。"},
    "twice": {
        "en": "The graph was freed by the first backward(). Compute the loss again before the next "
              "backward() (usually: inside the training loop), or call "
              "backward(retain_graph=True) the first time.",
        "zh": "第一次 backward() 之后计算图已释放。请在下一次 backward() 之前重新计算 loss"
              "（通常写在训练循环里），或第一次就用 backward(retain_graph=True)。"},
    "not_scalar": {
        "en": "{name} has shape {shape}; only one number has a gradient by itself. Reduce it "
              "first, {name}.sum() or {name}.mean(), or say how to weigh its elements: "
              "{name}.backward(gradient={prefix}.ones_like({name})).",
        "zh": "{name} 的形状是 {shape}；只有单个数才能直接求梯度。请先用 {name}.sum() 或 {name}.mean()"
              " 化成一个数，或给出各元素的权重：{name}.backward(gradient={prefix}.ones_like({name}))。"},
    "not_recorded": {
        "en": "Nothing was recorded for it: give the parameters requires_grad=True, and compute "
              "the loss from them outside {prefix}.no_grad(), without .detach(), .item(), .data or "
              ".numpy() on the way.",
        "zh": "没有任何运算被记录：请给参数设置 requires_grad=True，并在 {prefix}.no_grad() 之外用它们计算"
              " loss，中途不要用 .detach()、.item()、.data 或 .numpy()。"},
    "checkpoint_forward": {
        "en": "Saved during the original forward:", "zh": "第一次前向时保存的张量："},
    "checkpoint_again": {
        "en": "Saved during recomputation:", "zh": "重新计算时保存的张量："},
    "changed": {
        "en": "{node} saved this tensor in the forward pass and needs its old values. Change a "
              "copy instead: write x = x + 1 for x += 1 (or x.add_(1)), or clone() first.",
        "zh": "{node} 在前向时保存了这个张量，反向时需要它原来的值。请改用副本：把 x += 1（或 x.add_(1)）"
              "写成 x = x + 1，或先 clone()。"},
    "leaf": {
        "en": "{name} is a leaf that requires grad: a parameter. Update it where nothing is "
              "recorded:\n      with {prefix}.no_grad():\n          {name} -= lr * {name}.grad",
        "zh": "{name} 是需要梯度的叶子，即参数。请在不记录的范围里更新它：\n      with {prefix}.no_grad():"
              "\n          {name} -= lr * {name}.grad"},
    "view_of_leaf": {
        "en": "{name} shares the memory of a parameter. Change it inside {prefix}.no_grad(), or "
              "change {name}.clone() instead.",
        "zh": "{name} 与某个参数共享内存。请在 {prefix}.no_grad() 里修改，或改 {name}.clone()。"},
    "numpy": {
        "en": "A NumPy array cannot record gradients: write {name}.detach().numpy().",
        "zh": "NumPy 数组不能记录梯度：请写 {name}.detach().numpy()。"},
    "integer_grad": {
        "en": "Integers and bools have no slope. Give dtype={prefix}.float32, or write 1.0 for 1.",
        "zh": "整数和布尔值没有斜率。请给出 dtype={prefix}.float32，或把 1 写成 1.0。"},
    "index": {
        "en": "Indices of that dimension run from {low} to {high}.",
        "zh": "这一维的下标范围是 {low} 到 {high}。"},
    "no_cuda": {
        "en": "flambeau computes on the CPU; its CUDA backend is not part of this version. Write\n"
              "      device = 'cuda' if torch.cuda.is_available() else 'cpu'\n  and the program "
              "runs here and there. (A GPU backend would need: pip install cupy-cuda13x)",
        "zh": "flambeau 在 CPU 上计算，这个版本还没有 CUDA 后端。请写\n"
              "      device = 'cuda' if torch.cuda.is_available() else 'cpu'\n  这样程序在哪里都能运行。"
              "（GPU 后端将需要：pip install cupy-cuda13x）"},
    "no_device": {
        "en": "flambeau computes on the CPU: write device='cpu'.",
        "zh": "flambeau 在 CPU 上计算：请写 device='cpu'。"},
    "sparse": {
        "en": "Sparse tensors do not have this operator: use {name}.to_dense() here.",
        "zh": "稀疏张量没有这个运算：请在这里用 {name}.to_dense()。"},
    "bool": {
        "en": "It holds {count} values of shape {shape}. Ask {name}.any() or {name}.all(), or "
              "compare one element.",
        "zh": "它有 {count} 个值，形状 {shape}。请用 {name}.any() 或 {name}.all()，或只比较一个元素。"},
    "explain_path": {
        "en": "{name} was made by {count} recorded operations, the last of them {steps}. "
              "{name}.backward() sends gradients through them to {leaves} leaves:",
        "zh": "{name} 由 {count} 个被记录的运算得到，最后几个是 {steps}。{name}.backward() 会让梯度经过它们，"
              "传到 {leaves} 个叶子："},
    "explain_no_leaves": {
        "en": "{name} was made by recorded operations, but no leaf is left that gathers gradients.",
        "zh": "{name} 由被记录的运算得到，但没有任何会累积梯度的叶子。"},
    "explain_empty": {
        "en": "{name}, shape {shape}: its .grad is None; backward() will fill it.",
        "zh": "{name}，形状 {shape}：.grad 还是 None，backward() 之后才会有值。"},
    "explain_once": {
        "en": "{name}, shape {shape}: its .grad holds the gradient of one backward pass.",
        "zh": "{name}，形状 {shape}：.grad 是一次 backward() 的梯度。"},
    "explain_gathered": {
        "en": "{name}, shape {shape}: its .grad is the SUM of {count} backward passes; nothing "
              "cleared it between them. If that is not what you want, the zero_grad() is "
              "forgotten: call optimizer.zero_grad() (or {name}.grad = None) before each "
              "backward().",
        "zh": "{name}，形状 {shape}：.grad 是 {count} 次 backward() 的梯度之和，中间没有清零。如果这不是你想要的，"
              "就是忘了 zero_grad()：请在每次 backward() 之前调用 optimizer.zero_grad()"
              "（或 {name}.grad = None）。"},
    "explain_nan": {
        "en": "The gradient of {name} has NaN or infinite values; run backward() inside "
              "{prefix}.autograd.detect_anomaly() to find the operation that made them.",
        "zh": "{name} 的梯度里有 NaN 或无穷大；在 {prefix}.autograd.detect_anomaly() 里运行 backward()，"
              "就能找到是哪个运算造成的。"},
    "explain_zero": {
        "en": "The gradient of {name} is zero everywhere: this backward pass does not move it.",
        "zh": "{name} 的梯度处处为零：这次 backward() 不会改变它。"},
    "explain_leaf": {
        "en": "{name} is a leaf: you made it, and gradients gather in {name}.grad.",
        "zh": "{name} 是叶子：它是你直接创建的，梯度会累积在 {name}.grad 里。"},
    "explain_non_leaf": {
        "en": "{name} is not a leaf: an operation made it, so {name}.grad stays None. Call "
              "{name}.retain_grad() before backward() if you want to see it.",
        "zh": "{name} 不是叶子：它是运算的结果，所以 {name}.grad 一直是 None。想看它的梯度，请在 backward() "
              "之前调用 {name}.retain_grad()。"},
    "explain_retained": {
        "en": "{name} is not a leaf, but backward() fills {name}.grad, as retain_grad() asked.",
        "zh": "{name} 不是叶子，但已调用 retain_grad()，backward() 会填写 {name}.grad。"},
    "explain_freed": {
        "en": "The graph behind {name} has been used: backward() has run and freed it. Compute "
              "{name} again before the next backward().",
        "zh": "{name} 后面的计算图已经用过：backward() 运行后就释放了它。下次 backward() 之前请重新计算 {name}。"},
    "explain_none": {
        "en": "{name} has no gradient: requires_grad is False and nothing is recorded behind it.",
        "zh": "{name} 没有梯度：requires_grad 是 False，它后面没有任何记录。"},
    "explain_integer": {
        "en": "It holds {dtype} values. Integers and bools have no slope, and recording ends where "
              "values become integers (argmax, comparisons, .long(), indices).",
        "zh": "它的值是 {dtype}。整数和布尔值没有斜率；值一旦变成整数（argmax、比较、.long()、下标），记录就中断了。"},
    "explain_detached": {
        "en": "It shares its memory with another tensor without being a recorded view of it: that "
              "is what .detach(), .data and from_numpy() give. Leave them out where the gradient "
              "shall pass.",
        "zh": "它与另一个张量共享内存，却不是被记录的视图：.detach()、.data 和 from_numpy() 会得到这样的张量。"
              "在梯度要经过的地方请去掉它们。"},
    "explain_no_grad_view": {
        "en": "It is a view that was made where nothing is recorded (in {mode}).",
        "zh": "它是在不记录的范围里（{mode}）创建的视图。"},
    "explain_off": {
        "en": "Recording is off right now: you are inside {prefix}.no_grad() or inference_mode().",
        "zh": "现在没有在记录：你在 {prefix}.no_grad() 或 inference_mode() 里面。"},
    "explain_inference": {
        "en": "It was made in inference_mode(): such tensors can never be recorded. Use "
              "{name}.clone() outside.",
        "zh": "它是在 inference_mode() 里创建的：这样的张量永远不能被记录。请在外面用 {name}.clone()。"},
    "explain_plain": {
        "en": "Either none of what it was computed from had requires_grad=True, or it was computed "
              "inside {prefix}.no_grad(), or went through .item(), .numpy() or {prefix}.tensor(). "
              "Give the parameters requires_grad=True, and compute it from them directly.",
        "zh": "可能是参与计算的张量都没有 requires_grad=True；或者它在 {prefix}.no_grad() 里算出；或者中途用过 "
              ".item()、.numpy() 或 {prefix}.tensor()。请给参数设置 requires_grad=True，并直接用它们计算。"},
    "explain_module": {
        "en": "{name} has {count} parameters, {learn} of which require gradients.",
        "zh": "{name} 有 {count} 个参数，其中 {learn} 个需要梯度。"},
    "no_tensorboard": {
        "en": "writing for TensorBoard takes the package tensorboard: pip install tensorboard",
        "zh": "为 TensorBoard 写文件需要 tensorboard 包：pip install tensorboard"},
    "no_pillow": {
        "en": "adding a picture takes the package pillow: pip install pillow",
        "zh": "添加图片需要 pillow 包：pip install pillow"},
    "no_matplotlib": {
        "en": "adding a figure takes the package matplotlib: pip install matplotlib",
        "zh": "添加图形需要 matplotlib 包：pip install matplotlib"},
    "no_graph": {
        "en": "A graph is drawn of what autograd records while the model runs. Let the model "
              "compute floating-point results from its parameters or inputs, outside of "
              "{prefix}.no_grad().",
        "zh": "图是根据模型运行时 autograd 记录的内容画出的。请让模型在 {prefix}.no_grad() 之外，"
              "用参数或输入算出浮点结果。"},
    "explain_frozen": {
        "en": "{name}, shape {shape}: frozen (requires_grad is False); training does not move it.",
        "zh": "{name}，形状 {shape}：已冻结（requires_grad 为 False），训练不会改变它。"},
    "compile_eager": {
        "en": "{name} runs eagerly, not compiled: {reason}.",
        "zh": "{name} 没有编译，按 eager 方式运行：{reason}。"},
    "compile_many": {
        "en": "{name} has been compiled {count} times for different calls and runs eagerly on "
              "others. What keeps changing is told by compiler.explain().",
        "zh": "{name} 已为不同的调用编译了 {count} 次，其余的调用按 eager 方式运行。"
              "compiler.explain() 会说明是什么在不断变化。"},
    "compile_read": {
        "en": "the values of a tensor are read; compute with the tensor, or read it after the step",
        "zh": "读取了张量的值；请直接用张量计算，或在这一步之后再读取"},
    "compile_sizes": {
        "en": "the sizes of its tensors depend on the values of others, which keep changing",
        "zh": "其张量的大小取决于其他张量的值，而这些值一直在变化"},
    "compile_data": {
        "en": "Set x.data before the compiled step, or after backward(); or take backward() into "
              "the step.",
        "zh": "请在编译的步骤之前或 backward() 之后设置 x.data，或把 backward() 放进该步骤里。"},
    "compile_print": {
        "en": "a tensor is printed; return it, and print it after the step",
        "zh": "打印了张量；请返回它，在这一步之后再打印"},
    "compile_shared": {
        "en": "{name} gives memory of its input in a way that is not followed",
        "zh": "{name} 以无法跟踪的方式共享了输入的内存"},
    "compile_hidden": {
        "en": "{name} has a tensor as its parameter {param}",
        "zh": "{name} 的参数 {param} 是一个张量"},
    "read_only": {
        "en": "The tensor cannot be written to: it shares a NumPy array that is read-only. Write "
              "to a clone() of it, or copy the array first: torch.tensor(array).",
        "zh": "这个张量不能写入：它与一个只读的 NumPy 数组共享内存。请写入它的 clone()，"
              "或先复制数组：torch.tensor(array)。"},
    "compile_transformed": {
        "en": "a tensor of a transform (vmap, grad ...) outlives it",
        "zh": "变换（vmap、grad 等）中的张量在变换结束后仍被使用"},
    "compile_history": {
        "en": "what it returns or keeps has a history to go back through",
        "zh": "它返回或保留的张量带有计算图"},
    "compile_overlap": {
        "en": "tensors that it changes share memory with others",
        "zh": "它修改的张量与其他张量共享内存"},
    "compile_escape": {
        "en": "a tensor that it makes (shape {shape}) is kept, but not returned",
        "zh": "它产生的一个张量（形状 {shape}）被保留下来却没有返回"},
    "compile_call": {
        "en": "it calls {name}, which must run every time",
        "zh": "它调用了 {name}，这个调用每次都必须执行"},
    "explain_unit": {
        "en": "{name}: {programs} programs, traced {traces} times, run compiled {runs} times",
        "zh": "{name}：{programs} 个程序，跟踪了 {traces} 次，编译后运行了 {runs} 次"},
    "explain_retrace": {"en": "traced again: {why}", "zh": "重新跟踪：{why}"},
    "explain_eager": {"en": "not compiled: {reason}", "zh": "没有编译：{reason}"},
    "explain_python": {"en": "line {line} of {file} runs in Python: {code}  # {reason}",
                       "zh": "{file} 第 {line} 行由 Python 执行：{code}  # {reason}"},
    "explain_program": {"en": "program {number}", "zh": "程序 {number}"},
    "explain_graph": {"en": "graph:", "zh": "计算图："},
    "explain_kernels": {"en": "runs, in this order:", "zh": "按以下顺序运行："},
    "explain_back": {"en": "going back runs:", "zh": "反向运行："},
    "explain_kernel": {"en": "{name}: {bytes} bytes, {flops} operations",
                       "zh": "{name}：{bytes} 字节，{flops} 次运算"},
    "explain_checks": {"en": "checks at every call:", "zh": "每次调用时检查："},
    "compile_parts": {
        "en": "{name} runs compiled in parts, with Python between them: {reason}.",
        "zh": "{name} 分段编译运行，各段之间由 Python 执行：{reason}。"},
    "compile_anew": {
        "en": "it returns a {kind} that it makes or changes anew at every call",
        "zh": "它返回一个每次调用都会新建或改变的 {kind}"},
    "compile_views": {
        "en": "tensors that it returns share memory",
        "zh": "它返回的张量共享内存"},
    "compile_varies": {
        "en": "other values of {names} come in at every call",
        "zh": "每次调用时 {names} 的值都不同"},
    "compile_lines": {
        "en": "{name}, lines {first} to {last}",
        "zh": "{name}，第 {first} 至 {last} 行"},
    "compile_nothing": {
        "en": "there is nothing to compute",
        "zh": "没有需要计算的内容"},
    "compile_hook": {
        "en": "it registers a hook on a tensor that it did not make",
        "zh": "它在不是由它产生的张量上注册了钩子"},
    "compile_outside": {
        "en": "gradients go back through what was computed before it was called",
        "zh": "梯度会回传到调用之前的计算中"},
    "compile_disabled": {
        "en": "it calls {name}, which compiler.disable() keeps from being compiled",
        "zh": "它调用了 {name}，而 compiler.disable() 禁止编译该函数"},
    "compile_mode": {
        "en": "it changes a setting (grad mode, default dtype ...) for what comes after",
        "zh": "它改变了之后的设置（梯度模式、默认 dtype 等）"},
    "compile_effect": {
        "en": "it changes {place} in Python at every call",
        "zh": "它每次都在 Python 中修改 {place}"},
    "compile_gap": {
        "en": "it may depend on {what}, whose changes cannot be seen",
        "zh": "它可能依赖 {what}，而其变化无法察觉"},
    "compile_unreachable": {
        "en": "it uses a tensor (shape {shape}) that no variable leads to",
        "zh": "它使用了一个没有变量指向的张量（形状 {shape}）"},
}


def language() -> str:
    """"zh" or "en": FLAMBEAU_LANG decides, then the locale.

    >>> language() in ("en", "zh")
    True
    """
    chosen = config.language() or next(
        (os.environ[v] for v in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(v)), None)
    if not chosen:
        import locale  # At start-up it would cost a millisecond that few programs need.

        chosen = locale.getlocale()[0] or "en"
    return "zh" if chosen.lower().startswith(("zh", "chinese")) else "en"


def text(key: str, **facts: object) -> str:
    """The text ``key`` in the user's language, with the facts filled in."""
    return TEXTS[key][language()].format(**facts)
