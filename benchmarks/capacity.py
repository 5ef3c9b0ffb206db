"""KMS calls of a fleet: the model of docs/capacity.md, the real cache under simulated time, and a stampede.

    python benchmarks/capacity.py [--plot docs/img/capacity.png] [--seed N]

Three parts. The *model* is one formula. The *check* drives real ``DataKeys`` objects, one for each host, on a
simulated clock with random messages and compares their calls with the formula. The *stampede* steps a whole
fleet that starts within ten seconds through half an hour: with and without refresh-ahead, with and without
jitter, with and without the service's limit. Nothing here waits in real time; a run takes about a minute.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import machine
import numpy as np

from kmsenvelope import CachePolicy, Recipient, Suite
from kmsenvelope.datakeys import DataKeys

GENERATE_LIMIT = 150
"""GenerateDataKey calls a second for one account and region, by default. Source: API overview."""

EDITIONS = {
    "default": 150,
    "professional 3 000": 3000,
    "professional 12 000": 12_000,
    "dedicated, 2 HSMs": 20_000,
}
DEFAULT = CachePolicy()


# The model


def mean_share(policy: CachePolicy) -> float:
    """The share of the window after which a DEK is replaced, on average."""
    ahead = policy.refresh_ahead
    return 1.0 if ahead is None else ahead + (1 - ahead) / 4


def calls_per_second(entries: float, rate: float, policy: CachePolicy = DEFAULT) -> float:
    """GenerateDataKey calls a second: ``entries`` DEKs in use, ``rate`` messages a second for each of them.

    An entry is renewed by the first message after its renewal point; in a random stream that one comes 1/rate
    later on average. An entry is one encryption context in one process.
    """
    return entries / (mean_share(policy) * policy.max_age + 1 / rate)


def window_for(entries: float, limit: float, policy: CachePolicy = DEFAULT) -> float:
    """The ``max_age`` at which busy entries make at most ``limit`` calls a second."""
    return entries / (mean_share(policy) * limit)


# The check: real caches on a simulated clock


class InstantBackground:
    """Renewals that take no time: run by hand after each message."""

    def __init__(self, sweep: Callable[[], float | None]) -> None:
        self.jobs: list[Callable[[], None]] = []

    def reset(self) -> None: ...

    def watch(self) -> None: ...

    def stop(self) -> None: ...

    def soon(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def take(self) -> list[Callable[[], None]]:
        jobs, self.jobs = self.jobs, []
        return jobs


class CountingKeys:
    """A key set whose KMS always answers."""

    def __init__(self) -> None:
        self.calls = 0

    def generate(self, suite: Suite, context_json: str | None, observe: object) -> tuple:
        self.calls += 1
        return bytearray(suite.key_size), (Recipient("local", "key", "wrapped"),)


def real_calls(
    hosts: int, rate: float, policy: CachePolicy, seconds: float, rng: np.random.Generator
) -> float:
    """Calls a second of ``hosts`` real caches, each with ``rate`` messages a second, once they are warm."""
    warm = policy.max_age + 3 / rate
    counted = 0
    for _ in range(hosts):
        now = 0.0
        keys = CountingKeys()
        cache = DataKeys(
            keys,
            Suite.AES_256_GCM,
            policy,
            clock=lambda: now,  # noqa: B023 - called in this round only
            rand=rng.random,
            housekeeper=InstantBackground,
        )
        cold = 0
        while (now := now + rng.exponential(1 / rate)) < warm + seconds:
            with cache.for_writing(None, 1024):
                pass
            for job in cache._housekeeper.take():
                job()
            if now < warm:
                cold = keys.calls
        counted += keys.calls - cold
        cache.close()
    return counted / seconds


CHECKS = [(1, 10.0, 100_000.0), (100, 1.0, 6000.0), (1000, 1 / 30, 20_000.0), (1000, 1 / 300, 60_000.0)]
CHECKS += [(1000, 1 / 3000, 200_000.0)]


def print_check(rng: np.random.Generator) -> None:
    print("Check: real caches on a simulated clock against the model, calls a second\n")
    print(f"{'hosts':>6} {'messages/s each':>16} {'refresh-ahead':>14} {'model':>9} {'real':>9} {'ratio':>6}")
    for hosts, rate, seconds in CHECKS:
        for ahead in (0.5, None):
            policy = CachePolicy(refresh_ahead=ahead)
            real, model = real_calls(hosts, rate, policy, seconds, rng), calls_per_second(hosts, rate, policy)
            shown = "on" if ahead else "off"
            print(f"{hosts:6} {rate:16.4f} {shown:>14} {model:9.4f} {real:9.4f} {real / model:6.3f}")
    print()


# The stampede: a fleet in steps of time


@dataclass
class Fleet:
    """How a fleet behaves. ``jitter`` spreads the renewal point over a quarter of the window.

    Without refresh-ahead the library has no jitter; that line shows what it would do: it shortens the window.
    """

    hosts: int
    window: float
    ahead: bool
    jitter: bool
    limit: float | None = None
    rate: float = 1.0
    start: float = 10.0
    step: float = 0.1

    def life(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Seconds from a DEK's arrival to its renewal point."""
        spread = rng.random(count) if self.jitter else np.full(count, 0.0 if self.ahead else 1.0)
        return self.window * ((0.5 if self.ahead else 0.75) + 0.25 * spread)


@dataclass
class Outcome:
    """Calls asked for in each second; callers without a DEK, first ones apart; the last host to get one."""

    demand: np.ndarray
    waits: int
    filled: float


def stampede(fleet: Fleet, seconds: float, rng: np.random.Generator) -> Outcome:
    """Step the fleet through time. A refused call is repeated after a random pause that doubles up to 5 s."""
    count = fleet.hosts
    renew_at = rng.random(count) * fleet.start
    dies_at = np.zeros(count)
    retry_at = np.zeros(count)
    tries = np.zeros(count)
    waiting = np.zeros(count, bool)
    has_had = np.zeros(count, bool)
    demand = np.zeros(math.ceil(seconds))
    chance = 1 - math.exp(-fleet.rate * fleet.step)
    tokens, waits, filled = 0.0, 0, 0.0
    for number in range(int(seconds / fleet.step)):
        now = number * fleet.step
        due = np.nonzero((renew_at <= now) & (retry_at <= now))[0]
        due = due[waiting[due] | (rng.random(due.size) < chance)]
        late = due[(dies_at[due] <= now) & ~waiting[due]]
        waiting[late] = True
        waits += int(has_had[late].sum())
        demand[int(now)] += due.size
        if fleet.limit is not None:
            tokens = min(fleet.limit, tokens + fleet.limit * fleet.step)
            served = rng.permutation(due)[: int(tokens)]
            tokens -= served.size
            refused = np.setdiff1d(due, served, assume_unique=True)
            retry_at[refused] = now + rng.random(refused.size) * np.minimum(0.1 * 2 ** tries[refused], 5)
            tries[refused] += 1
        else:
            served = due
        renew_at[served] = now + fleet.life(served.size, rng)
        dies_at[served] = now + (fleet.window if fleet.ahead else renew_at[served] - now)
        waiting[served] = False
        if not filled and served.size:
            has_had[served] = True
            filled = now if has_had.all() else 0.0
        tries[served] = 0
    return Outcome(demand, waits, filled)


VARIANTS = [
    ("refresh-ahead and jitter", True, True),
    ("refresh-ahead, no jitter", True, False),
    ("no refresh-ahead, jitter", False, True),
    ("neither", False, False),
]


def print_stampede(rng: np.random.Generator, hosts: int, seconds: float) -> dict[str, np.ndarray]:
    print(f"Stampede: {hosts:,} hosts start within 10 s, window 300 s, one message a second each\n")
    print(
        f"{'variant':26} {'limit':>6} {'mean/s':>8} {'peak/s, last window':>20} {'callers without a DEK':>22}"
    )
    curves = {}
    for limit in (None, GENERATE_LIMIT):
        for name, ahead, jitter in VARIANTS:
            outcome = stampede(Fleet(hosts, 300, ahead, jitter, limit), seconds, rng)
            later = outcome.demand[100:]
            print(
                f"{name:26} {limit or 'none':>6} {later.mean():8.1f} {outcome.demand[-300:].max():20.0f} "
                f"{outcome.waits:22,}"
            )
            if limit is None:
                curves[name] = outcome.demand
    print()
    return curves


def print_fleets(rng: np.random.Generator) -> None:
    print(
        "Fleets that start within 10 s at the default limit of 150/s, window for half of it, defaults else\n"
    )
    print(
        f"{'hosts':>8} {'window s':>9} {'last host served after s':>25} {'model/s':>8} {'mean/s':>8} "
        f"{'peak/s, last window':>20} {'callers without a DEK':>22}"
    )
    for hosts in (1000, 10_000, 100_000):
        window = window_for(hosts, GENERATE_LIMIT / 2)
        fleet = Fleet(
            hosts, window, ahead=True, jitter=True, limit=GENERATE_LIMIT, step=0.1 if hosts < 1e5 else 0.5
        )
        outcome = stampede(fleet, 8 * window + 60, rng)
        last = outcome.demand[-int(window) :]
        model = calls_per_second(hosts, fleet.rate, CachePolicy(max_age=window))
        mean = outcome.demand[len(last) * 4 :].mean()
        print(
            f"{hosts:8,} {window:9.1f} {outcome.filled:25.0f} {model:8.1f} {mean:8.1f} "
            f"{last.max():20.0f} {outcome.waits:22,}"
        )
    print()


# The tables of the document


def print_windows() -> None:
    print("Window (max_age, seconds) at which busy hosts with one context each use half of the limit\n")
    print(f"{'hosts':>8} " + " ".join(f"{name:>20}" for name in EDITIONS))
    for hosts in (1, 10, 100, 1000, 10_000, 100_000):
        cells = " ".join(f"{window_for(hosts, limit / 2):20.1f}" for limit in EDITIONS.values())
        print(f"{hosts:8,} {cells}")
    print()


def print_tenants() -> None:
    tenants, messages = 1_000_000, 100_000.0
    print(f"A million tenants, {messages:,.0f} messages a second in all: GenerateDataKey calls a second\n")
    print(
        f"{'hosts':>8} {'window s':>9} {'any host, own DEK':>18} {'one host, own DEK':>18} {'shared DEK':>12}"
    )
    for hosts in (10, 100, 1000):
        for window in (300.0, 3600.0, 43_200.0):
            policy = CachePolicy(max_age=window)
            spread = calls_per_second(tenants * hosts, messages / tenants / hosts, policy)
            pinned = calls_per_second(tenants, messages / tenants, policy)
            shared = calls_per_second(hosts, messages / hosts, policy)
            print(f"{hosts:8,} {window:9,.0f} {spread:18,.1f} {pinned:18,.1f} {shared:12,.3f}")
    print()


def plot(path: str, curves: dict[str, np.ndarray], hosts: int) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), dpi=80)
    fleet = np.logspace(0, 5, 50)
    for window in (60.0, 300.0, 3600.0):
        policy = CachePolicy(max_age=window)
        calls = [calls_per_second(count, 10, policy) for count in fleet]
        left.loglog(fleet, calls, label=f"max_age {window:g} s")
    for name, limit in EDITIONS.items():
        left.axhline(limit, color="grey", linewidth=0.8, linestyle=":")
        side = "top" if name == "professional 12 000" else "bottom"
        left.text(1.1, limit, f"{name}: {limit:,}/s", fontsize=7, color="dimgrey", va=side)
    left.set(xlabel="hosts with one busy context each", ylabel="GenerateDataKey calls a second")
    left.set_title("Steady state, defaults", fontsize=10)
    left.set_ylim(1e-3, 6e4)
    left.legend(fontsize=8, loc="lower right")
    bins = 5
    for name, demand in curves.items():
        usable = demand[: demand.size // bins * bins].reshape(-1, bins).mean(axis=1)
        right.plot(np.arange(usable.size) * bins, usable, label=name, linewidth=1)
    right.axhline(GENERATE_LIMIT, color="grey", linewidth=0.8, linestyle=":")
    right.text(
        1790, GENERATE_LIMIT, "default limit: 150/s", fontsize=7, color="dimgrey", va="bottom", ha="right"
    )
    right.set_yscale("symlog", linthresh=10)
    right.set_ylim(0, 2000)
    right.set(xlabel="seconds after the start", ylabel="calls asked for, a second")
    right.set_title(f"{hosts:,} hosts that start together, window 300 s", fontsize=10)
    right.legend(fontsize=7, loc="lower right", framealpha=0.9)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", metavar="FILE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1800)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(machine.describe(), end="\n\n")
    print_windows()
    print_tenants()
    print_check(rng)
    print_fleets(rng)
    curves = print_stampede(rng, options.hosts, options.seconds)
    if options.plot:
        plot(options.plot, curves, options.hosts)


if __name__ == "__main__":
    main()
