"""The lesson in English."""

from __future__ import annotations

from flambeau.cli.lesson.texts import Catalogue, PieceText, StepText

__all__ = ["ENGLISH"]

_TENSOR = StepText("What a tensor is", (PieceText(
    "A tensor is a box of numbers with any number of dimensions. A single number has none, a row "
    "has one, a table has two. A colour picture has three (channels, height, width), and a batch "
    "of pictures four.",
    "The shape says how many entries there are along each dimension; multiplied, they give the "
    "count of numbers. All the numbers of a tensor are of one type and lie in one block of memory, "
    "which is why computing with a million of them takes one short line and little time."),))

_ATTRIBUTES = StepText("Eight attributes", (
    PieceText(
        "Every tensor tells eight things about itself. Here they are for two whole numbers.",
        "The first four say what the tensor holds, the last four how it takes part in learning:",
        {
            "data": "the same numbers, without any record of where they came from",
            "dtype": "the type of each number: integers, floats of some length, truth values ...",
            "shape": "the entries along each dimension",
            "device": "where the numbers live: cpu is the ordinary memory",
            "requires_grad": "whether operations on it are recorded, so that slopes can be found",
            "grad": "the slope of a result with respect to it; None until backward() has run",
            "grad_fn": "the operation that made it, if one was recorded",
            "is_leaf": "whether you made it, rather than a recorded operation",
        }),
    PieceText(
        "The same numbers once more, now as floats that want a gradient.",
        "Three lines changed: data prints its numbers with a point, dtype is a float type, and "
        "requires_grad is True. Only floats (and complex numbers) may want a gradient: a slope "
        "asks what a tiny change does, and whole numbers cannot change by a tiny bit. grad and "
        "grad_fn are still None, since nothing has been computed yet.")))

_LISTS = StepText("Tensors from lists", (
    PieceText(
        "torch.tensor() takes numbers and lists of them, as deep as you like, and picks the type.",
        "Whole numbers become int64. One number with a point among them, and all become float32, "
        "the type in which networks usually compute. True and False become bool. With dtype= you "
        "decide yourself."),
    PieceText(
        "Often the values are not typed in but follow a rule.",
        "The names say what they fill with; those that end in _like take shape and type from "
        "another tensor. manual_seed() sets the random numbers to a known start: run it again "
        "and the same ones come. They are PyTorch's own, digit for digit.")))

_COPY = StepText("From NumPy, as a copy", (PieceText(
    "Data often arrives as a NumPy array. torch.tensor() copies it. We change the array "
    "afterwards, to see who notices.",
    "Only the array changed. The tensor has memory of its own, so nothing that happens to the "
    "array can reach it. That is the safe choice; it costs the time and the memory of a copy."),))

_SHARE = StepText("From NumPy, sharing memory", (
    PieceText(
        "torch.from_numpy() copies nothing: array and tensor are two views of one memory. We "
        "change the first entry through the array and the last through the tensor.",
        "Both changes show on both sides. This is free however large the array is, but whoever "
        "writes to one side writes to the other. The dtype is float64 because NumPy's floats are; "
        "most arithmetic here is done in float32, so expect to convert with .to(torch.float32)."),
    PieceText(
        "The way back is numpy(), and it shares, too.",
        "The array made from the tensor, the tensor and the first array are all the same memory. "
        "(A tensor that requires a gradient refuses numpy(), because NumPy could not record what "
        "happens next: write t.detach().numpy().)")))

_LEAF = StepText("Leaves and the graph", (
    PieceText(
        "w wants a gradient, c does not. What about tensors computed from them?",
        "What you make yourself is a leaf. What is computed from something that requires a "
        "gradient requires one, too, and is not a leaf: it remembers in grad_fn which operation "
        "made it, and print shows the name. c is a leaf as well, only nobody asks for its slope; "
        "and what is computed from such tensors alone is not recorded and counts as a leaf."),
    PieceText(
        "From the result the recorded operations lead back to the leaf. We walk along them by "
        "hand, then let backward() do it.",
        "This chain of operations is the graph. backward() walks it from the end and leaves the "
        "slopes in the leaves' grad: when w[0] grows by one, total grows by c[0]. c never asked, "
        "so it got None. Tensors in the middle, like y, are passed through and keep nothing, "
        "unless you ask beforehand, as retain_grad() does here.")))

_CHAIN = StepText("Gradients, and the chain rule by hand", (
    PieceText(
        "How fast does z grow when x does? We ask autograd, then reckon ourselves:\n"
        "    u = 2x + 1     du/dx = 2\n"
        "    z = u^2        dz/du = 2u\n"
        "    chain rule     dz/dx = dz/du * du/dx = 2u * 2\n"
        "and at last we nudge x a little and look.",
        "All three agree (the nudge nearly so, since it is not infinitely small). The chain rule "
        "says that slopes along a chain are multiplied: if u grows twice as fast as x, and z 2u "
        "times as fast as u, then z grows 2u * 2 times as fast as x. backward() is this rule, "
        "applied operation by operation from the end to the leaves. That is backpropagation."),
    PieceText(
        "With four numbers in x there are four slopes. z is the mean of the squares:\n"
        "    z = (u1^2 + u2^2 + u3^2 + u4^2) / 4     dz/du = 2u / 4",
        "grad always has the shape of the tensor it belongs to: one slope for each number. "
        "backward() started from a single number, z; that is why losses end in mean() or sum().")))

_DESCENT = StepText("Gradients add up; one step downhill", (
    PieceText(
        "The slope of 5w is 5, wherever w is. We ask for it three times.",
        "backward() adds to what is in grad already. That helps when several results share one "
        "tensor, but in a training loop yesterday's slopes would spoil today's. So they are "
        "cleared before the next round, with w.grad = None or w.grad.zero_(). It is the line that "
        "everyone forgets once."),
    PieceText(
        "The slope says where up is. So a small step the other way makes z smaller.",
        "0.1 is the learning rate: how far to step. torch.no_grad() says that this "
        "change is not part of the computation that is to be differentiated; without it, changing "
        "a leaf in place is refused. A slope and a step against it, again and again: that is "
        "gradient descent.")))

_REGRESSION = StepText("A regression, from data to picture", (
    PieceText(
        "A candle of about 20 cm burns down by about 1.8 cm an hour, and the ruler is not exact. "
        "We make 24 such measurements, then forget the two numbers and try to find them from the "
        "data. Our model is a straight line: height = slope * hours + start. Both unknowns begin "
        "at zero.",
        "slope and start are the parameters, and the only tensors here that require a gradient. "
        "The measurements are given: nobody wants to change them, so nobody asks for their slope."),
    PieceText(
        "Now the loop that all training is made of: guess, compare, differentiate, step.",
        "The loss falls fast at first and slower later, when the slope is right already for the "
        "start that it has and the two must change together. Line by line:",
        {
            "rate = 0.03": "The length of a step. Twice as much, and the steps overshoot until "
                           "the loss explodes; a tenth, and it takes ten times as long. Try it.",
            "losses = []": "Kept for the picture.",
            "for step in range(1, 601):": "Each round sees all 24 measurements.",
            "guess = slope * hours + start": "The model. slope and start have one number each and "
                                             "are stretched over all 24 hours: broadcasting.",
            "loss = ((guess - height) ** 2).mean()": "How wrong the guess is, in one number: the "
                "mean of the squared differences. Squares count both directions, and large "
                "errors most.",
            "loss.backward()": "The slopes of the loss with respect to slope and start, by the "
                               "chain rule back through mean, square, minus, plus and times.",
            "with torch.no_grad():": "What follows is not to be recorded.",
            "slope -= rate * slope.grad": "Against the slope, so the loss gets smaller.",
            "start -= rate * start.grad": "The same for the other parameter.",
            "slope.grad = None": "Cleared, or the next round would add to it.",
            "start.grad = None": "Here, too.",
            "losses.append(loss.item())": "item() gives a plain Python number. The tensor itself "
                                          "would keep its whole graph alive.",
            "if step in (1, 2, 5, 10, 50, 100, 200, 400, 600):": "Often at first, seldom later:",
            'print(f"step {step:3}  loss {losses[-1]:8.3f}",\n'
            '      f" slope {slope.item():6.3f}  start {start.item():6.3f}")': "how it goes.",
        }),
    PieceText(
        "What came out? For a straight line there is also a formula that gives the best slope at "
        "once, so we can check.",
        "The descent found what the formula gives, and it is close to what we had hidden; the "
        "rest is the inexact ruler, and so is what is left of the loss. The formula works for "
        "straight lines only. The loop works for anything whose slopes can be computed: put a "
        "network where the line is, and it is still guess, compare, differentiate, step."),
    PieceText(
        "At last the picture, with matplotlib: measurements and line on the left, the loss on the "
        "right, on a scale where each mark is ten times the one below. png is the file's name, "
        "which --png sets.",
        "detach() gives the line without its history, since numpy() takes no other. And here is "
        "the same for the terminal:")))

ENGLISH = Catalogue(
    welcome="From a box of numbers to a line that learned its own slope, in nine steps. Every "
            "piece of code below is run as you read it, and what you see is what it printed. It "
            "is written for PyTorch: put it into a file, and `python -m flambeau run FILE` runs "
            "it.",
    goodbye="That is all that training is. Change the code and see what happens; "
            "examples/house_prices.py does the same with real houses and thirteen features.",
    words={
        "step": "Step {number} of {count}: {title}", "code": "The code", "prints": "It prints",
        "why": "Why", "silent": "(It prints nothing.)",
        "pause": "[Enter] goes on, q and [Enter] stops ",
        "points": "o measured   - fitted", "hours": "hours", "loss": "the loss, step by step",
        "steps": "step", "picture": "The picture: {path}",
        "no_plot": "No PNG: it takes matplotlib, and this Python has none. "
                   "`pip install matplotlib` brings it; the lesson works without.",
        "no_file": "No PNG: {path} cannot be written ({reason}). Give another with --png FILE.",
    },
    steps={
        "tensor": _TENSOR, "attributes": _ATTRIBUTES, "lists": _LISTS, "copy": _COPY,
        "share": _SHARE, "leaf": _LEAF, "chain": _CHAIN, "descent": _DESCENT,
        "regression": _REGRESSION,
    })
