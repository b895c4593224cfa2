"""CartPole: an actor and a critic learn to balance a pole, by trying.

    python -m flambeau run examples/cartpole.py
    python examples/cartpole.py                # the same program on PyTorch

Proximal policy optimisation (Schulman and others, arXiv:1707.06347) with generalised advantages
(arXiv:1506.02438) on gymnasium's CartPole-v1, which counts as solved when the mean of 100 episodes
in a row is 475 steps. Draws the episodes' lengths into cartpole.png.
"""

import argparse
from pathlib import Path

import torch
from common import progress, save_picture
from torch import nn
from torch.nn import functional as F

SOLVED, DISCOUNT, TRACE = 475.0, 0.99, 0.95


class ActorCritic(nn.Module):
    """The logits of the two actions, and the value of a state."""

    def __init__(self, width=64):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
        self.critic = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, states):
        return self.actor(states), self.critic(states).squeeze(-1)


class Player:
    """Plays episode after episode, and keeps their lengths."""

    def __init__(self, seed):
        import gymnasium

        self.game = gymnasium.make("CartPole-v1")
        self.state, _ = self.game.reset(seed=seed)
        self.lengths, self.steps = [], 0

    def play(self, net, count):
        """``count`` steps: states, actions, their log chances, rewards, ends, and values."""
        states, actions, chances, ends, values = [], [], [], [], []
        with torch.no_grad():
            for _ in range(count):
                state = torch.from_numpy(self.state)
                logits, value = net(state)
                action = torch.multinomial(logits.softmax(-1), 1)
                states.append(state)
                actions.append(action)
                chances.append(logits.log_softmax(-1)[action])
                values.append(value)
                ends.append(self.step(action.item()))
            values.append(net(torch.from_numpy(self.state))[1])
        return (torch.stack(states), torch.cat(actions), torch.cat(chances),
                torch.tensor(ends), torch.stack(values))

    def step(self, action):
        """Act; gives 1.0 where the pole fell (or the time was over), else 0.0."""
        self.state, _, fell, over, _ = self.game.step(action)
        self.steps += 1
        if fell or over:
            self.lengths.append(self.steps)
            self.state, self.steps = self.game.reset()[0], 0
        return float(fell or over)


def advantages_of(ends, values):
    """How much better each action was than its state promised; every step is worth 1."""
    found, following = torch.zeros(len(ends)), 0.0
    for t in reversed(range(len(ends))):
        alive = 1 - ends[t]
        surprise = 1 + DISCOUNT * values[t + 1] * alive - values[t]
        following = surprise + DISCOUNT * TRACE * alive * following
        found[t] = following
    return found


def improve(net, optimizer, states, actions, chances, gains, aims):
    """Four passes over what was played, in pieces of 128."""
    for _ in range(4):
        for part in torch.randperm(len(states)).split(128):
            logits, values = net(states[part])
            chance = logits.log_softmax(-1).gather(1, actions[part, None]).squeeze(1)
            ratio = (chance - chances[part]).exp()
            gain = gains[part]
            policy = -torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
            entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()
            loss = policy + 0.5 * F.mse_loss(values, aims[part]) - 0.01 * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()


def draw(lengths, path):
    """The length of every episode, and the mean of the last hundred."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(lengths, ".", color="0.7", markersize=3)
    means = [sum(lengths[max(0, i - 99):i + 1]) / min(i + 1, 100) for i in range(len(lengths))]
    axes.plot(means)
    axes.axhline(SOLVED, color="C1", linestyle="--")
    axes.set(xlabel="episode", ylabel="steps")
    save_picture(figure, path)


def run(rounds=120, picture=None, quiet=False, seed=1):
    """Play and improve until solved, or for ``rounds``; gives the best mean and the episodes."""
    torch.manual_seed(seed)
    net, player = ActorCritic(), Player(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    best = 0.0
    for _ in progress(range(rounds), "playing", quiet):
        states, actions, chances, ends, values = player.play(net, 2048)
        gains = advantages_of(ends, values)
        aims = gains + values[:-1]
        gains = (gains - gains.mean()) / (gains.std() + 1e-8)
        improve(net, optimizer, states, actions, chances, gains, aims)
        if len(player.lengths) >= 100:
            best = max(best, sum(player.lengths[-100:]) / 100)
        if best >= SOLVED:
            break
    print(f"{len(player.lengths)} episodes; best mean of 100: {best:.1f} steps"
          + (": solved" if best >= SOLVED else ""))
    if picture:
        draw(player.lengths, Path(picture))
    return best, player.lengths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--picture", default="cartpole.png")
    options = parser.parse_args()
    run(options.rounds, options.picture)
