"""What flambeau adds to PyTorch's error messages, in English and in 中文.

Each text says what to do next; names in braces are facts of the error.
"""

from __future__ import annotations

import locale
import os

__all__ = ["TEXTS", "language", "text"]

TEXTS: dict[str, dict[str, str]] = {
    "at": {"en": "at line {line} of {file}:  {code}", "zh": "位于 {file} 第 {line} 行：  {code}"},
    "tensor": {"en": "{name}: {dtype}, shape {shape}", "zh": "{name}：{dtype}，形状 {shape}"},
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
    "bool": {
        "en": "It holds {count} values of shape {shape}. Ask {name}.any() or {name}.all(), or "
              "compare one element.",
        "zh": "它有 {count} 个值，形状 {shape}。请用 {name}.any() 或 {name}.all()，或只比较一个元素。"},
}


def language() -> str:
    """"zh" or "en": FLAMBEAU_LANG decides, then the locale.

    >>> language() in ("en", "zh")
    True
    """
    chosen = os.environ.get("FLAMBEAU_LANG")
    if not chosen:
        chosen = next((os.environ[v] for v in ("LC_ALL", "LC_MESSAGES", "LANG")
                       if os.environ.get(v)), None) or locale.getlocale()[0] or "en"
    return "zh" if chosen.lower().startswith(("zh", "chinese")) else "en"


def text(key: str, **facts: object) -> str:
    """The text ``key`` in the user's language, with the facts filled in."""
    return TEXTS[key][language()].format(**facts)
