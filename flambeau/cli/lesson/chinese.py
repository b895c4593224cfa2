"""The lesson in 中文."""

from __future__ import annotations

from flambeau.cli.lesson.texts import Catalogue, PieceText, StepText

__all__ = ["CHINESE"]

_TENSOR = StepText("什么是张量", (PieceText(
    "张量是装数字的盒子，维数不限：单个数是 0 维，一行数是 1 维，一张表是 2 维，一张彩色图片是 3 维"
    "（通道、高、宽），一批图片是 4 维。",
    "shape（形状）说明每一维有多少项，把它们相乘就是数字的总数。一个张量里的数都是同一种类型，"
    "并且放在同一块内存里，所以对一百万个数做运算只要短短一行，也花不了多少时间。"),))

_ATTRIBUTES = StepText("八个属性", (
    PieceText(
        "每个张量都能说出关于自己的八件事。先看两个整数组成的张量。",
        "前四个说明张量里有什么，后四个说明它怎样参与学习：",
        {
            "data": "同样的数，但不带任何来历的记录",
            "dtype": "每个数的类型：整数、不同长度的浮点数、真假值……",
            "shape": "每一维有多少项",
            "device": "数放在哪里：cpu 就是普通内存",
            "requires_grad": "是否记录对它的运算，以便求出斜率（梯度）",
            "grad": "某个结果对它的斜率；backward() 运行之前是 None",
            "grad_fn": "算出它的那个运算（如果做了记录）",
            "is_leaf": "它是你自己创建的，还是由记录下来的运算得到的",
        }),
    PieceText(
        "还是这两个数，这次用浮点数，并且要求梯度。",
        "有三行变了：data 的数带上了小数点，dtype 是浮点类型，requires_grad 是 True。"
        "只有浮点数（和复数）可以要求梯度：斜率问的是“变化一点点会怎样”，而整数没法只变一点点。"
        "grad 和 grad_fn 仍是 None，因为还什么都没有算。")))

_LISTS = StepText("用列表创建张量", (
    PieceText(
        "torch.tensor() 接受数字，也接受任意层嵌套的列表，并自动选定类型。",
        "整数得到 int64。只要其中有一个带小数点，全部就成为 float32，神经网络通常就用这种类型计算。"
        "True 和 False 得到 bool。也可以用 dtype= 自己指定。"),
    PieceText(
        "很多时候，数值不是一个个写出来的，而是按规律生成的。",
        "函数名说明了填什么；以 _like 结尾的函数从另一个张量取得形状和类型。manual_seed() "
        "把随机数设到一个确定的起点：再运行一次，得到的还是同样的数，"
        "而且与 PyTorch 的每一位都相同。")))

_COPY = StepText("来自 NumPy：复制", (PieceText(
    "数据常常以 NumPy 数组的形式到来。torch.tensor() 会复制一份。之后我们修改数组，"
    "看看谁会跟着变。",
    "只有数组变了。张量有自己的内存，数组上发生什么都影响不到它。这样最安全，"
    "代价是复制所需的时间和内存。"),))

_SHARE = StepText("来自 NumPy：共享内存", (
    PieceText(
        "torch.from_numpy() 什么也不复制：数组和张量是同一块内存的两个视图。我们通过数组改第一项，"
        "通过张量改最后一项。",
        "两处修改在两边都能看到。无论数组多大，这样做都没有开销；但是写了一边，就等于写了另一边。"
        "这里的 dtype 是 float64，因为 NumPy 的浮点数就是这种；深度学习大多用 float32 计算，"
        "所以常要用 .to(torch.float32) 转换。"),
    PieceText(
        "反过来用 numpy()，它也是共享的。",
        "由张量得到的数组、张量本身和最初的数组，都是同一块内存。（要求梯度的张量会拒绝 numpy()，"
        "因为 NumPy 无法记录后面的运算：请写 t.detach().numpy()。）")))

_LEAF = StepText("叶子与计算图", (
    PieceText(
        "w 要求梯度，c 不要求。由它们算出来的张量呢？",
        "自己创建的张量是叶子。由要求梯度的张量算出来的张量也要求梯度，但不是叶子：它在 grad_fn "
        "里记住是哪个运算得到了它，print 会显示这个名字。c 也是叶子，只是没有人要它的斜率；"
        "只由这样的张量算出来的结果不做记录，也算叶子。"),
    PieceText(
        "沿着记录下来的运算，可以从结果走回叶子。我们先自己走一遍，再让 backward() 来走。",
        "这一串运算就是计算图。backward() 从终点往回走，把斜率放进叶子的 grad："
        "w[0] 增加 1，total 就增加 c[0]。c 没有要求梯度，所以是 None。"
        "中间的张量（例如 y）只是路过，"
        "不保留梯度，除非像这里一样事先用 retain_grad() 说明。")))

_CHAIN = StepText("梯度，以及手算链式法则", (
    PieceText(
        "x 变化时，z 变化得有多快？先问 autograd，再自己算：\n"
        "    u = 2x + 1     du/dx = 2\n"
        "    z = u^2        dz/du = 2u\n"
        "    链式法则       dz/dx = dz/du * du/dx = 2u * 2\n"
        "最后把 x 轻轻推一下，看看结果。",
        "三种办法结果一致（推一下的办法略有出入，因为那一步并不是无穷小）。链式法则是说："
        "一环扣一环时，"
        "斜率要相乘。u 的变化是 x 的 2 倍，z 的变化是 u 的 2u 倍，"
        "那么 z 的变化就是 x 的 2u * 2 倍。"
        "backward() 就是从终点到叶子，一个运算接一个运算地使用这条法则。这就是反向传播。"),
    PieceText(
        "x 里有四个数，就有四个斜率。z 是平方的平均：\n"
        "    z = (u1^2 + u2^2 + u3^2 + u4^2) / 4     dz/du = 2u / 4",
        "grad 的形状总是与它所属的张量相同：每个数一个斜率。backward() 是从单个数 z 出发的，"
        "所以损失的最后一步总是 mean() 或 sum()。")))

_DESCENT = StepText("梯度会累加；下山的一步", (
    PieceText(
        "不管 w 是多少，5w 的斜率都是 5。我们连问三次。",
        "backward() 会加到 grad 里原有的值上。几个结果共用一个张量时，这正合适；但在训练循环里，"
        "上一轮的斜率会搅乱这一轮。所以每轮之后要清掉：w.grad = None 或 w.grad.zero_()。"
        "这一行，人人都忘过一次。"),
    PieceText(
        "斜率指出哪边是上坡。所以朝反方向走一小步，z 就会变小。",
        "0.1 是学习率，即一步走多远。torch.no_grad() 表示这次修改不属于要求导的计算；"
        "没有它，原地修改叶子会被拒绝。求斜率，逆着它走一步，如此反复：这就是梯度下降。")))

_REGRESSION = StepText("一个回归：从数据到图", (
    PieceText(
        "一支约 20 厘米的蜡烛，每小时烧短约 1.8 厘米，而尺子量得不太准。我们造出 24 次这样的测量，"
        "然后忘掉这两个数，试着从数据里把它们找回来。模型是一条直"
        "线：height = slope * hours + start。"
        "两个未知数都从零开始。",
        "slope（斜率）和 start（起点）是参数，也是这里仅有的要求梯度的张量。测量值是给定的，"
        "没有人想改它们，"
        "所以不需要对它们求斜率。"),
    PieceText(
        "下面是一切训练的核心循环：猜测、比较、求导、走一步。",
        "损失先降得快，后来变慢：对当时的 start 来说 slope 已经合适，之后两者必须一起变。"
        "逐行来看：",
        {
            "rate = 0.03": "一步的长度。加倍，就会步步越过谷底，损失越来越大；只用十分之一，"
                           "就要十倍的时间。"
                           "不妨试试。",
            "losses = []": "留着画图。",
            "for step in range(1, 601):": "每一轮都用上全部 24 次测量。",
            "guess = slope * hours + start": "模型。slope 和 start 各只有一个数，"
                                             "会自动伸展到 24 个 hours"
                                             " 上：这叫广播。",
            "loss = ((guess - height) ** 2).mean()": "用一个数说明猜得有多错：差的平方的平均。"
                "平方使两个方向都计入，并且大的误差算得最重。",
            "loss.backward()": "按链式法则，经过平均、平方、减、加、乘往回走，"
                               "求出损失对 slope 和 start "
                               "的斜率。",
            "with torch.no_grad():": "下面的运算不做记录。",
            "slope -= rate * slope.grad": "逆着斜率走，损失就变小。",
            "start -= rate * start.grad": "另一个参数也一样。",
            "slope.grad = None": "清掉，否则下一轮会加在上面。",
            "start.grad = None": "这里也要清掉。",
            "losses.append(loss.item())": "item() 给出普通的 Python 数。若保存张量本身，"
                                          "它的整个计算图都会留在内存里。",
            "if step in (1, 2, 5, 10, 50, 100, 200, 400, 600):": "开头多看几次，后来少看：",
            'print(f"step {step:3}  loss {losses[-1]:8.3f}",\n'
            '      f" slope {slope.item():6.3f}  start {start.item():6.3f}")': "进展如何。",
        }),
    PieceText(
        "结果怎样？对于直线，还有一个公式能一次给出最好的斜率，正好用来核对。",
        "下降找到的与公式给出的一致，也接近我们藏起来的数；余下的差别和余下的损失都来自量不准的尺子。"
        "公式只对直线有效，而这个循环对任何能求出斜率的东西都有效：把直线换成神经网络，"
        "循环还是那四件事：猜测、比较、求导、走一步。"),
    PieceText(
        "最后用 matplotlib 画图：左边是测量值和直线，右边是损失，纵轴每往上一大格就是十倍。"
        "png 是文件名，由 --png 指定。",
        "detach() 给出不带来历的直线，因为 numpy() 只接受这样的张量。"
        "下面是画在终端里的同一幅图：")))

CHINESE = Catalogue(
    welcome="从装数字的盒子，到自己学会斜率的直线，一共九步。下面每段代码都在你阅读时真的运行，"
            "显示的就是它刚刚打印的内容。代码是按 PyTorch 写的：存成文件，"
            "用 `python -m flambeau run 文件` "
            "就能运行。",
    goodbye="训练就是这么回事。改改代码，看看会怎样；examples/house_prices.py 用真实的房屋和十三"
            "个特征"
            "做了同样的事。",
    words={
        "step": "第 {number} 步（共 {count} 步）：{title}", "code": "代码", "prints": "输出",
        "why": "为什么", "silent": "（没有输出。）",
        "pause": "按回车继续，输入 q 再按回车结束 ",
        "points": "o 测量值   - 拟合的直线", "hours": "hours", "loss": "每一步的损失",
        "steps": "step", "picture": "图片：{path}",
        "no_plot": "没有画 PNG：这需要 matplotlib，而这个 Python 里没有。"
                   "可以用 `pip install matplotlib` "
                   "安装；没有它，课程也能进行。",
        "no_file": "没有画 PNG：无法写入 {path}（{reason}）。请用 --png 文件 另选一个。",
    },
    steps={
        "tensor": _TENSOR, "attributes": _ATTRIBUTES, "lists": _LISTS, "copy": _COPY,
        "share": _SHARE, "leaf": _LEAF, "chain": _CHAIN, "descent": _DESCENT,
        "regression": _REGRESSION,
    })
