"""The words of random training programs: what `random_training` puts together.

Values have the shape (batch, 4). In braces: {a} and {b} are such values, {o} one that may be
changed, {f} a float, {k} a small integer, {i} the number of a call, {c} a condition, {m} a module.
"""

from __future__ import annotations

LAYERS = (
    "nn.Linear(4, 4)", "nn.Linear(4, 4, bias=False)",
    "nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))",
    "nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Dropout(0.2), nn.Linear(6, 4))",
    "nn.Sequential(nn.Linear(4, 5), nn.SiLU(inplace=True), nn.Linear(5, 4))",
    "nn.LayerNorm(4)", "nn.BatchNorm1d(4)", "nn.BatchNorm1d(4, momentum=None)",
    "nn.BatchNorm1d(4, affine=False)", "nn.BatchNorm1d(4, track_running_stats=False)",
    "nn.RMSNorm(4)", "nn.GroupNorm(2, 4)", "nn.Dropout(0.3)", "nn.AlphaDropout(0.2)",
    "Residual(nn.Linear(4, 4))", "Residual(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)))",
    "Image(nn.Conv2d(1, 1, 3, padding=1))",
    "Image(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), "
    "nn.Conv2d(3, 1, 1)))",
    "Image(nn.Sequential(nn.Conv2d(1, 4, 2), nn.Flatten(), nn.Linear(4, 4)))",
    "Image(nn.Sequential(nn.ConvTranspose2d(1, 2, 2, 2), nn.MaxPool2d(2), nn.Conv2d(2, 1, 1)))",
    "Image(nn.Sequential(nn.Upsample(scale_factor=2), nn.AvgPool2d(2)))",
    "Signal(nn.Conv1d(1, 1, 3, padding=1))",
    "Signal(nn.Sequential(nn.Conv1d(1, 2, 2, padding='same'), nn.InstanceNorm1d(2), nn.Tanh(), "
    "nn.Conv1d(2, 1, 1)))",
    "Sequence(nn.LSTM(4, 4))", "Sequence(nn.GRU(4, 4, num_layers=2))", "Sequence(nn.RNN(4, 4))",
    "Sequence(nn.LSTM(4, 4), keep=True)", "Sequence(nn.GRU(4, 2, bidirectional=True))",
    "Heads()", "Heads(True)", "Dot()", "Words()", "Bag()", "Counter()", "Gated()", "Tied()",
    "nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)",
    "nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))",
    "nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))",
    "nn.PReLU(4)", "nn.Softmax(-1)", "nn.Hardtanh(-2, 2)", "nn.Identity()", "nn.Softplus()")

OPTIMIZERS = (
    "SGD(parameters, lr=0.1)", "SGD(parameters, lr=0.1, momentum=0.9)",
    "SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)",
    "SGD(parameters, lr=0.1, momentum=0.5, dampening=0.1, maximize=True)",
    "Adam(parameters, lr=0.01)", "Adam(parameters, lr=0.01, amsgrad=True, weight_decay=0.1)",
    "AdamW(parameters, lr=0.01)", "AdamW(parameters, lr=torch.tensor(0.01), foreach=False)",
    "AdamW([{'params': parameters[:2], 'lr': 0.02}, {'params': parameters[2:]}], lr=0.01, "
    "maximize=True)",
    "Adagrad(parameters, lr=0.05)", "Adagrad(parameters, lr=0.05, lr_decay=0.1)",
    "Adadelta(parameters, lr=0.5)", "Adamax(parameters, lr=0.01)", "ASGD(parameters, lr=0.05)",
    "NAdam(parameters, lr=0.01)", "NAdam(parameters, lr=0.01, decoupled_weight_decay=True, "
    "weight_decay=0.1)", "RAdam(parameters, lr=0.01)", "RMSprop(parameters, lr=0.01)",
    "RMSprop(parameters, lr=0.01, momentum=0.5, centered=True)", "Rprop(parameters, lr=0.01)",
    "Adafactor(parameters, lr=0.01)", "LBFGS(parameters, lr=0.1, max_iter=2)",
    "Adam(parameters, lr=0.01, capturable=False, fused=True)",
    "Adam(parameters, lr=0.01, betas=(0.5, 0.9), decoupled_weight_decay=True)",
    "SGD([{'params': [w], 'momentum': 0.5}, {'params': list(net.parameters())}], lr=0.05)")
# Whose steps do not depend on the last bits of a gradient.
CALM_OPTIMIZERS = tuple([o for o in OPTIMIZERS if o.startswith("SGD")])
# Where parameters have a gradient that is zero but for rounding.
NO_GRADIENT = ("BatchNorm", "InstanceNorm", "Heads", "Dot", "Transformer", "spectral")

SCHEDULERS = (
    "None", "None", "torch.optim.lr_scheduler.StepLR(opt, 2, 0.5)",
    "torch.optim.lr_scheduler.CosineAnnealingLR(opt, 5)",
    "torch.optim.lr_scheduler.LambdaLR(opt, lambda e: 1 / (1 + e))",
    "torch.optim.lr_scheduler.ExponentialLR(opt, 0.9)",
    "torch.optim.lr_scheduler.LinearLR(opt, total_iters=4)",
    "torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, 20, cycle_momentum=False)",
    "torch.optim.lr_scheduler.SequentialLR(opt, [torch.optim.lr_scheduler.ConstantLR(opt), "
    "torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)], [3])")

HEADS = ("def step(x, y):", "def step(x, y):", "def step(x, y, scale=1.0, *, flag=True):",
         "def step(x, y, *rest, **named):", "@torch.no_grad()\ndef step(x, y):",
         "def step(x, y=None, batch=None):")
ZEROING = ("opt.zero_grad()", "opt.zero_grad()", "opt.zero_grad()",
           "opt.zero_grad(set_to_none=False)", "net.zero_grad(); w.grad = None",
           "for p in parameters: p.grad = None",
           "if state['n'] % 2 == 0: opt.zero_grad()",
           "for p in parameters:\n    if p.grad is not None: p.grad.zero_()")

VALUES = (
    "torch.tanh({a})", "{a} * {b}", "{a} + 0.5 * {b}", "{m}({a})", "net({a})", "net({a}, 0.5)",
    "net(scale={f}, x={a})", "{a}.detach()", "F.dropout({a}, 0.25)",
    "F.dropout({a}, 0.3, net.training)", "torch.where({a} > 0, {a}, {b} * 0.1)",
    "({a} @ {b}.t()) @ {b} * 0.1", "{a}.softmax(-1)", "{a}.log_softmax(0) * 0.1",
    "F.layer_norm({a}, (4,))", "{a}.t().contiguous().t()", "{a}.reshape(-1).view({a}.shape)",
    "{a}.flip(0)", "{a}.roll(1, 0)", "torch.cat([{a}[:, :2], {b}[:, 2:]], 1)",
    "torch.stack([{a}, {b}]).mean(0)", "{a}.clone()", "{a}.expand(2, -1, -1).sum(0) * 0.5",
    "{a}[torch.arange({a}.shape[0]).flip(0)]", "{a}.gather(1, torch.arange(4).expand_as({b}))",
    "torch.vmap(lambda v: torch.sin(v) * 0.5)({a})",
    "torch.vmap(torch.func.grad(lambda v: v.pow(3).sum()))({a})",
    "torch.func.grad(lambda v: (v * v).sum() * {f})({a})",
    "torch.func.jvp(torch.sin, ({a},), (torch.ones_like({a}),))[1]",
    "torch.func.vjp(lambda v: v * {f}, {a})[1](torch.ones_like({a}))[0]",
    "checkpoint(lambda v: torch.sin(v) * v, {a}, use_reentrant=False)", "Square.apply({a})",
    "Square.apply({a}, {f})", "Straight.apply({a}, {b})[1]", "Straight.apply({a}, {b})[0]",
    "torch.einsum('ij,kj->ik', {a}, w)", "{a} @ w", "F.linear({a}, w)", "F.linear({a}, w.tanh())",
    "torch.lerp({a}, {b}, 0.25)", "torch.addcmul({a}, {a}, {b}, value=0.5)",
    "{a}.float().to({a}.dtype)", "{a}.bfloat16().to({a}.dtype)",
    "{a} + torch.randn_like({a}) * 0.1",
    "{a} + torch.rand({a}.shape, dtype={a}.dtype)",
    "torch.bernoulli({a}.sigmoid() * 0 + 0.5) * {a}",
    "{a} * ({a} > 0)", "{a}.masked_fill({b} > 0.5, 0.0)", "{a}.cumsum(0) * 0.5",
    "{a}.sort(0).values", "{a}.topk(4, 1).values", "F.pad({a}[:, 1:], (1, 0))",
    "F.one_hot({a}.argmax(1), 4).to({a}.dtype) * {b}", "{a}.unsqueeze(0).squeeze(0)",
    "{a}.chunk(2, 1)[0].repeat(1, 2)", "{a} / (1 + {b}.abs())", "{a}.clamp(-1, {f})", "{a} ** 2",
    "{a}.norm(dim=1, keepdim=True) * 0.1 + {b}", "{a} * {f}", "{a} - {f}", "{a} / {f}",
    "helper({a}, {b})", "helper({a}, {b}, {f}, flag=cfg.flag)", "helper(b={a}, a={b})",
    "loud({a})", "gentle({a})", "sum(v * 0.5 for v in ({a}, {b}))", "[{a}, {b}][1]",
    "{{'q': {a}}}['q']", "(lambda v: v * gain)({a})", "{a} * TABLE['layers'][1]",
    "{a} + view", "{a} + total", "{a} + WIDE.to({a}.dtype)", "{a} * state['n']",
    "{a} * net.factor", "teacher({a}).detach()", "{a} * torch.tensor({f})",
    "{a} + torch.tensor([1.0, 2.0, 3.0, 4.0])", "{a} + torch.arange(4)", "{a}.T.T",
    "{a}.as_strided({a}.shape, {a}.stride()) * 1", "{a}.std(0, correction=0) + {b}",
    "{a} * (1.0 if cfg.flag else 0.5)", "{a} * (0.5 if {c} else 2.0)", "{a}.mul({b}).relu()",
    "torch.maximum({a}, {b})", "torch.atan2({a}, {b}.exp())", "{a}.exp().log1p()",
    "{a}.narrow(1, 0, 2).tile(1, 2)", "torch.from_numpy({a}.detach().numpy() * 2) + {b}",
    "{a} + torch.as_tensor(shared)", "{a} * len(log)", "{a} * {a}.shape[0]", "{a}.mean() + {b}",
    "functools.reduce(operator.add, [{a}, {b}, {a}]) * 0.3", "{a} + y[:, None] * 0.1",
    "{a} * x.requires_grad", "{a}.movedim(0, 1).swapaxes(0, 1)", "{a}.real", "{a} * 1j.imag",
    "F.embedding(y, w)", "w[y]", "{a}.index_select(1, torch.tensor([3, 1, 2, 0]))",
    "{a} + np.float64(0.5)", "{a} * np.float32(0.5)", "{a} * torch.pi", "{a} * math.sqrt({f})",
    "torch.nan_to_num({a} / {a})", "{a} + cfg.table.get('bias', 0.0)", "{a}.sum(0, True) + {b}",
    "copy.copy({a}) * 1", "F.normalize({a}, dim=-1)", "F.gumbel_softmax({a})", "{a} % 1.5",
    "torch.autograd.grad(({a} * w[0]).sum(), w, create_graph=True)[0].sum(0) + {a}",
    "torch.utils.checkpoint.checkpoint(net, {a}, use_reentrant=False)",
    "torch.func.functional_call(net, dict(net.named_parameters()), ({a},))",
    "torch.stack([v * j for j, v in enumerate({a}.unbind(1))], 1)",
    "F.conv1d({a}[:, None], w[:1, None, :3], padding=1)[:, 0]",
    "F.max_pool1d({a}, 3, 1, 1)", "F.avg_pool1d({a}, 3, 1, 1)", "{a}.abs()",
    "F.scaled_dot_product_attention({a}, {b}, {b})", "{a}.logcumsumexp(1) * 0.1",
    "{a} * {a}.new_tensor(0.5)", "{a} * torch.full((4,), {f})", "{a}.triu()", "{a}.diff(dim=1, "
    "prepend={b}[:, :1])", "torch.linalg.norm({a}) * {b} * 0.1", "{a}.abs()")

CONDITIONS = (
    "{a}.sum() > 0", "{a}.mean().item() > {b}.mean().item()", "cfg.flag", "{f} > 0.4",
    "state['n'] % 3 == 0", "x.shape[0] > 2", "net.training", "len(log) % 2", "COUNT > 2",
    "MODE == 'plain'", "torch.is_grad_enabled()", "{a}.requires_grad", "bool(y.any())",
    "w.grad is None", "'extra' in state", "isinstance({a}, nn.Parameter)", "state['best'] is None",
    "{a}.is_contiguous()", "y.max() == 3", "torch.equal({a}, {b})", "rate < 0.3", "x is x",
    "opt.param_groups[0]['lr'] < 0.05", "hasattr(net, 'extra')", "{a}.abs().max() > 10")

CHANGES = (
    "{o}.mul_(0.9)", "{o}[:, 1] = {a}[:, 0]", "{o}[{o} > 1] = 0.0", "{o}[:, ::2] += 1",
    "{o} += {a}", "{o}.t()[1:2].mul_(0.5)", "{o}.view(-1)[::2].add_(0.1)", "{o}.copy_({a})",
    "{o}.zero_()", "{o}.clamp_(-1, 1)", "{o}.masked_fill_({a} > 0.5, 0.25)", "{o}.fill_({f})",
    "{o}.index_add_(0, torch.arange({o}.shape[0]), {a})", "{o} *= {f}", "{o}[..., -1] = {f}",
    "{o}.scatter_(1, torch.zeros({o}.shape[0], 1, dtype=torch.long), 0.3)", "{o}[:1] = {b}[:1]",
    "F.relu({o}, inplace=True)", "{o}[:] = {a}", "{o}.sub_({a}, alpha={f})", "{o}.uniform_()",
    "{o}.normal_()", "F.dropout({o}, 0.2, inplace=True)", "{o}.add_({a}.detach())",
    "{o}[:, [0, 2]] = {f}", "{o}.detach().mul_(0.5)", "{o}.data.add_(0.1)", "{o}.T.add_(0.5)",
    "{o}.narrow(1, 0, 2).copy_({a}[:, :2])", "torch.mul({a}.detach(), 2, out={o}.data)",
    "{o}.lerp_({a}, 0.3)", "{o}.relu_()", "{o}.tanh_()",
    "{o}[:, 0], {o}[:, 1] = {a}[:, 1], {a}[:, 0]", "{o}.addcmul_({a}, {b}, value=0.1)",
    "{o}.numpy(force=True)[:] = 0.5", "{o}.index_fill_(1, torch.tensor([1]), {f})",
    "{o}[y == 1] = {f}", "{o}.diagonal().zero_()", "{o}.unbind(1)[0].add_({a}[:, 0].detach())",
    "{o}[..., 1:].sub_({o}[..., :-1])")

STATEMENTS = (
    "log.append(round({a}.mean().item(), 3))", "state['n'] += 1", "print('here')",
    "print(f'{{{a}.detach().sum().item():.2f}}')", "state['best'] = {a}.detach().sum()",
    "total.add_({a}.detach().sum(0) * 0.1)", "total[1] = {a}.detach().sum()", "total.mul_(0.5)",
    "kept.append({a}.detach())", "kept[:] = [{a}.detach().clone()]", "cfg.scale *= 0.9",
    "counted()", "net.factor = 1.0 + state['n'] * 0.1", "w.grad = None",
    "rate_now = {a}.detach().abs().mean().item()", "gain_now = gain * 2", "assert {a}.ndim == 2",
    "assert not {a}.isnan().any()", "if {c}: return {a}", "TABLE['gain'] = 0.5 + state['n'] * 0.1",
    "if state['n'] == 3: raise ValueError('half')", "net.history.append({a}.shape)",
    "if {a}.sum().item() > 1e3: raise RuntimeError('large')", "torch.manual_seed({k})",
    "shared[0] += 0.1", "np.multiply(shared, 0.9, shared)", "view.mul_(0.9)",
    "with torch.no_grad(): w.clamp_(-1, 1)",
    "with torch.no_grad(): w.mul_(0.99)", "w.data.add_(0.01)",
    "net.first.weight.data.mul_(0.99)", "net.train(not net.training)", "state['seen'] += [1]",
    "cfg.table['bias'] = {f}", "del state['seen'][:]", "net.eval()", "net.train()",
    "state.setdefault('extra', 0.5)", "{a}.sum().backward(retain_graph=True)",
    "hook = {a}.register_hook(lambda g: g * 0.5) if {a}.requires_grad else None",
    "{a}.retain_grad() if {a}.requires_grad else None", "random.seed(0); z = random.random()",
    "z = np.random.default_rng(0).random()", "nested = lambda: {a} * gain",
    "first, *others = {a}.unbind(1)", "log.append(type({a}).__name__)", "log.append({c})",
    "log.append(tuple({a}.shape))", "log.append(str({a}.dtype))", "x.requires_grad_()",
    "opt.param_groups[0]['lr'] *= 0.9", "opt.param_groups[0]['lr'] = {f} * 0.1",
    "log.append(opt.param_groups[0]['lr'])", "shape = {a}.shape[0] * 2; log.append(shape)",
    "log.append(torch.rand(()).item())", "log.append(w.grad is None)",
    "for j, p in enumerate(net.parameters()): p.requires_grad_(True)",
    "log.append(len(net.state_dict()))", "view[:2] = {f}", "state['x'] = x", "x = x * 0.5")

BLOCKS = ("if {c}:", "if {c}:", "for k in range({k}):", "for k in range(state['n'] % 3):",
          "with torch.no_grad():", "try:", "with torch.enable_grad():", "for q in ({a}, {b}):",
          "with torch.set_grad_enabled({c}):", "while state['n'] % 2 == 1 and not log:",
          "with torch.autocast('cpu', dtype=torch.bfloat16):", "for j, q in enumerate([{a}]):",
          "with torch.random.fork_rng():", "with torch.autograd.set_detect_anomaly(False):")

LOSSES = (
    "F.cross_entropy({a}, y)", "F.mse_loss({a}, {b}.detach())", "{a}.square().mean()",
    "({a} * w.sum()).mean() + {b}.sum() * 0.01", "F.cross_entropy({a}, y, label_smoothing=0.1)",
    "F.nll_loss({a}.log_softmax(1), y)", "F.smooth_l1_loss({a}, torch.zeros_like({a}))",
    "F.binary_cross_entropy_with_logits({a}, ({b}.detach() > 0).to({a}.dtype))",
    "F.kl_div({a}.log_softmax(1), {b}.detach().softmax(1), reduction='batchmean')",
    "net(x).square().mean()", "F.cross_entropy(net(x), y)", "{a}.logsumexp(1).mean() + w.norm()",
    "nn.MSELoss()({a}, {b})", "sum(p.square().sum() for p in parameters) * 0.1 + {a}.mean()",
    "F.cross_entropy(net(x), y) + 0.1 * w.square().sum() + {a}.mean()",
    "F.cross_entropy(net({a}), y, ignore_index=1)", "({a} - y[:, None]).abs().mean()")

BACKWARD = (
    "loss.backward()", "loss.backward()", "loss.backward()", "loss.backward()",
    "(loss / 2).backward()", "loss.backward(torch.tensor(0.5))", "loss.backward(retain_graph=True)",
    "if loss.requires_grad: loss.backward()", "loss.backward(); net(x).sum().backward()",
    "for p, g in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True)): "
    "p.grad = g",
    "loss.backward(inputs=[p for p in parameters if p.requires_grad])",
    "loss.backward(retain_graph=True); loss.backward()",
    "(g,) = torch.autograd.grad(loss, w, create_graph=True, allow_unused=True)\n"
    "(loss + (0 if g is None else g.square().sum() * 0.1)).backward()",
    "with torch.enable_grad(): loss.backward()",
    "torch.autograd.backward([loss, {a}.sum()])")

GRADIENTS = (
    "nn.utils.clip_grad_norm_(parameters, 1.0)", "nn.utils.clip_grad_value_(parameters, 0.1)",
    "log.append(nn.utils.clip_grad_norm_(parameters, 0.5).item() > 0)",
    "for p in parameters:\n    if p.grad is not None: p.grad.mul_(0.5)",
    "for p in parameters:\n    if p.grad is not None: p.grad = p.grad + 0.01 * p.detach()",
    "for p in parameters:\n    if p.grad is not None: p.grad += torch.randn_like(p) * 0.01",
    "w.grad = torch.ones_like(w)", "norm = sum(p.grad.norm() for p in parameters if p.grad is not "
    "None)", "nn.utils.clip_grad_norm_(net.parameters(), 0.1, norm_type=float('inf'))",
    "if net.first.weight.grad is not None: net.first.weight.grad[0] = 0",
    "if w.grad is not None and w.grad.isnan().any(): return loss")

STEPS = ("opt.step()", "opt.step()", "opt.step()", "opt.step()", "opt.step(lambda: loss)",
         "if state['n'] % 2 == 0: opt.step()", "opt.step(); opt.zero_grad()",
         "opt.step()\nif sched: sched.step()", "opt.step()\nopt.step()",
         "with torch.no_grad():\n    for p in parameters:\n"
         "        if p.grad is not None: p -= 0.05 * p.grad",
         "for p in parameters:\n    if p.grad is not None: p.data = p.data - 0.05 * p.grad",
         "def closure():\n    opt.zero_grad()\n    again = F.cross_entropy(net(x), y)\n"
         "    again.backward()\n    return again\nloss = opt.step(closure)")

AFTER = (
    "w.data = w.data * 0.99", "x.data = x.data * 0.5",
    "with torch.no_grad():\n    for p, q in zip(teacher.parameters(), net.parameters()): "
    "p.lerp_(q, 0.1)",
    "with torch.no_grad():\n    for p, q in zip(teacher.parameters(), net.parameters()): "
    "p.mul_(0.9).add_(q, alpha=0.1)",
    "teacher.load_state_dict(net.state_dict())", "state['n'] += 1", "log.append(loss.item())",
    "total.copy_(total * 0.9 + 0.1 * loss.detach())", "state['loss'] = loss",
    "state['loss'] = loss.detach()",
    "state['best'] = loss.detach() if state['best'] is None else torch.minimum(state['best'], "
    "loss.detach())", "kept.append(loss.detach())", "del loss; loss = {a}.mean()")

RESULTS = (
    "loss", "loss", "loss.item()", "loss.detach()", "{{'loss': loss, 'out': {a}}}", "loss, {a}",
    "[loss, {a}, {b}]", "x", "{a}", "(loss.item(), {a}.detach())", "{a}[0:1]", "w", "w.grad",
    "total", "{a}, {a}", "None", "net.first.weight", "loss, {f}", "log[-1:]", "{a}.t(), {a}[:, 1:]",
    "loss, {a}.argmax(1)", "({a}.detach() > 0).sum()", "(y, [loss.detach(), {{'k': {a}.shape}}])",
    "float(loss)", "loss.detach().numpy()", "state['n'], loss", "total.clone(), view", "x.t(), y",
    "torch.Size({a}.shape)", "{a}.dtype, loss", "loss.item() * 2", "round(loss.item(), 2), {a}",
    "[p.grad for p in parameters]", "{a}.detach().numpy().sum()", "{a}.expand(2, -1, -1)",
    "total[1:3], total[0]", "loss, state['best']", "{a}.tolist() if {a}.numel() < 8 else None")

SIZES = ("3", "3", "3", "3", "[3, 5][i % 2]", "3 + i // 3", "[3, 1, 3, 0, 3, 3, 3, 3, 3][i]", "1",
         "max(1, 4 - i)", "33")
INPUTS = (
    "x = x.t().contiguous().t()", "x = x.expand(2, *x.shape)[i % 2]", "x = torch.cat([x, x])[::2]",
    "x = torch.randn(1, 4, dtype=x.dtype).expand(3, 4)", "x = x.requires_grad_()",
    "x = x if i % 2 else x.t().contiguous().t()", "x = (x * 2).round()", "x = w if i == {i} else x",
    "x = torch.from_numpy(np.ascontiguousarray(x.numpy()))", "x = x.requires_grad_(i % 2 == 0)",
    "x = x.float()", "x = kept[-1] if kept and i == {i} and kept[-1].shape[-1:] == (4,) and "
    "kept[-1].ndim == 2 else x", "x = nn.Parameter(x)", "x = x.float() if i == {i} else x",
    "x = torch.randn(20, dtype=x.dtype).as_strided((4, 4), (3, 1))", "x = x.flip(1)[:, ::1]",
    "x = torch.randn(7, dtype=x.dtype).unfold(0, 4, 1)", "x = total.expand(3, 4)",
    "x = (x * w[0].detach()) if i % 2 else x", "x = x * w[0]", "x = torch.stack([x, x], 2)[..., 0]",
    "x = w.detach()", "x = total[None]", "x = view[None].to(x.dtype)", "x = w.data")

CALLS = ("step(x, y)", "step(x, y)", "step(x, y)", "step(x, y=y)", "step(y=y, x=x)",
         "step(*[x, y])", "step(x, x.detach()[:, 0].long().abs() % 4)")

EVENTS = (
    "opt.param_groups[0]['lr'] *= 0.5", "opt.param_groups[0]['lr'] = 0.02",
    "for g in opt.param_groups: g['weight_decay'] = 0.1", "if 'betas' in opt.param_groups[0]: "
    "opt.param_groups[0]['betas'] = (0.7, 0.8)", "net.eval()", "net.train()",
    "net.train(i % 2 == 0)", "net.layers[0].eval()", "net.first.weight.requires_grad_(False)",
    "net.first.weight.requires_grad_(i % 2 == 0)", "w.requires_grad_(not w.requires_grad)",
    "net.first.weight = nn.Parameter(net.first.weight.detach() * 0.5)",
    "net.first.bias = None", "w.data = w.data.clone() * 0.5",
    "w.data = w.data.t().contiguous().t()",
    "net.load_state_dict(copy.deepcopy(teacher.state_dict()))",
    "net.load_state_dict(teacher.state_dict(), assign=True)",
    "opt.load_state_dict(copy.deepcopy(opt.state_dict()))", "opt.state.clear()",
    "opt = torch.optim.SGD(parameters, lr=0.05)", "net.factor = 2.0", "net.factor *= 1.1",
    "cfg.scale = 0.1 * i", "cfg.flag = not cfg.flag", "cfg = Config(0.3, False)", "gain = 0.5 + i",
    "gain *= 0.9", "rate *= 0.8", "TABLE['gain'] = 0.1 * i", "TABLE['layers'][1] = float(i)",
    "COUNT += 1", "MODE = 'other'", "WIDE = WIDE * 2", "WIDE.add_(0.5)", "shared[1] = i",
    "shared *= 0.9", "view = torch.zeros(4, dtype=torch.float64)", "state['n'] += 1",
    "state['n'] = 0", "state['extra'] = i", "state = {{'n': i, 'best': None, 'seen': []}}",
    "log.clear()", "total.mul_(2)", "total = total.clone()", "total = torch.ones(4)",
    "net.layers[0] = nn.Tanh()", "net.layers.append(nn.Tanh())", "del net.layers[0]",
    "net.layers[0].register_forward_hook(lambda m, a, r: r * 0.5)",
    "net.first.register_forward_pre_hook(lambda m, a: (a[0] * 2,))",
    "net.register_full_backward_hook(lambda m, gi, go: (gi[0] if gi[0] is None else gi[0] * 2,))",
    "w.register_hook(lambda g: g * 0.5)", "net.first.weight.register_hook(lambda g: g + 1)",
    "net.first.register_forward_hook(lambda m, a, r: log.append('hook'))",
    "opt.register_step_pre_hook(lambda o, a, k: log.append('step'))",
    "w.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(0.5))",
    "net.forward = functools.partial(type(net).forward, net, scale=0.5)",
    "type(net).forward = lambda self, x, scale=1.0: self.first(x)",
    "net.first.forward = lambda v: v * 0.5", "helper = lambda a, b, *c, **k: a - b",
    "helper.__defaults__ = (0.5,)", "gentle = torch.sin",
    "helper.__code__ = (lambda a, b, *c, **k: a * 2 - b).__code__",
    "torch.manual_seed(i)", "torch.randn(3)", "torch.set_grad_enabled(i % 2 == 0)",
    "w.grad = torch.ones_like(w)", "w.grad = None", "w.grad = w.grad.clone() if w.grad is not None "
    "else None", "for p in parameters: p.grad = torch.zeros_like(p)", "Square.backward = "
    "staticmethod(lambda ctx, g: (g, None))", "net.first.extra = 1", "net.extra = True",
    "teacher = copy.deepcopy(net)", "net.first.weight.data.mul_(0.9)", "net.first.out_features = 4",
    "torch.set_default_dtype(torch.float64)", "parameters.pop()", "parameters.reverse()",
    "opt.add_param_group({{'params': [nn.Parameter(total.clone())]}})", "net.requires_grad_(False)",
    "net.requires_grad_(i % 2 == 0)", "nn.init.zeros_(net.first.weight)", "net.half and net.first."
    "weight.detach().zero_()", "np.copyto(w.detach().numpy(), 0.25)", "net.layers[0].p = 0.5",
    "net.layers[0].scale = 0.25", "net.layers[0].momentum = 0.5", "net.layers[0].eps = 0.1",
    "net.layers[0].training = False", "net.layers[0].order = ['b', 'a']", "net.layers[0].calls = 3",
    "net.layers[0].options = {{'power': 3, 'scale': 1.0}}", "net.layers[0].act = torch.tanh",
    "net.layers[0].causal = not getattr(net.layers[0], 'causal', False)", "setattr(net.layers[0], "
    "'weight', nn.Parameter(torch.ones(4, 4, dtype=x.dtype)))", "net.first = nn.Linear(4, 4, "
    "dtype=x.dtype)", "net._parameters.clear()", "net.to(torch.float64)",
    "vars(cfg)['scale'] = 0.2",
    "copy.deepcopy(net)(x.detach().to(w.dtype)).sum().backward()", "w.detach_()",
    "net.first.weight.data = net.first.weight.data.clone()", "net.layers[0].keep = False",
    "w.grad = torch.ones(4, 4, dtype=w.dtype).t() * 0.5", "setattr(F, 'relu', F.relu)",
    "kept.clear()", "del state['n']", "net.layers[-1].p = i / 10")

LATER = (
    "shared[2] += 1", "w.grad = None", "kept.append(result)", "kept[:] = [result]", "x.mul_(0)",
    "(result if isinstance(result, torch.Tensor) else result[0]).backward()",
    "with torch.no_grad(): (result if isinstance(result, torch.Tensor) else result[0]).mul_(2)",
    "(result[1] if isinstance(result, (tuple, list)) else result).sum().backward()",
    "torch.randn(2)", "with torch.no_grad(): w.add_(0.1)", "x = x.detach().requires_grad_()",
    "log.append(result) if isinstance(result, float) else None",
    "sched.step() if sched else None", "state['n'] = i", "log.append(w._version)",
    "log.append(x._version)", "log.append(total._version)")

DECLARED = ("global COUNT, MODE, WIDE\nnonlocal cfg, gain, rate, total, teacher, opt, view, state, "
            "helper, gentle, w")
SEEN = ("return [*net.parameters(), *net.buffers(), w, total, log, dict(state), kept, "
        "opt.state_dict(), [*teacher.parameters()], cfg.scale, cfg.table, dict(TABLE), COUNT, "
        "shared.copy(), net.training, [vars(m).get('calls') for m in net.modules()], net.history]")
