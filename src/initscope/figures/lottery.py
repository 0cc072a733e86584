"""The lottery: when each layer wakes and dies, seed by seed, against whether the seed learned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from initscope.base.quantities import counted, percent
from initscope.figures.drawing import MOST_ROWS, Cell, Columns, Drawing, columns_of
from initscope.figures.groups import Ends, ends_of
from initscope.figures.note import draw_note
from initscope.figures.page import Page, open_page
from initscope.figures.style import INK, SMALL_PT, SOFT_INK, TEXT_PT, Look, looks
from initscope.figures.words import data_of
from initscope.records.results import Results
from initscope.records.run import Probes
from initscope.stats.outcomes import Outcome, classify

PREFERRED = "weights-zero-biases-default"
_MOST_LAYERS = 5
_DEATH = INK
_COLUMNS = (
    "condition", "seed", "outcome", "final_test_accuracy_percent", "layer", "first_gradient_step", "dead_from_step",
)  # fmt: skip
_RANK: dict[Outcome, int] = {"learned": 0, "partly": 1, "unknown": 2, "at chance": 3, "diverged": 4, "failed": 5}


@dataclass(frozen=True, kw_only=True)
class Life:
    """One layer of one seed. `wakes` the first probed step with a gradient, `dies` the first from which it stays dead.

    None: never.
    """

    layer: str
    wakes: int | None
    dies: int | None


@dataclass(frozen=True, kw_only=True)
class SeedLives:
    """The layers of one seed, with how the seed ended and the last probed step."""

    seed: int
    outcome: Outcome
    accuracy_percent: float
    lives: tuple[Life, ...]
    last_step: int

    @property
    def first_death(self) -> int | None:
        """The step from which some whole layer is dead for good, None where none is."""
        steps = [life.dies for life in self.lives if life.dies is not None]
        return min(steps) if steps else None


def draw_layer_deaths(results: Results) -> Drawing:
    """Returns the figure "layer_deaths" for the condition that splits most evenly into learners and runs at chance.

    Where no condition splits, the nearest candidate is drawn and the title says so.
    """
    name = "layer_deaths"
    end = chosen(results)
    about = "When each hidden layer first receives a gradient and when it dies"
    if end is None:
        return draw_note(name, "There is no run to look into", about, "No condition has a run.")
    seeds = seed_lives(results, end.condition)
    if not seeds:
        reason = f"No probes of the hidden layers are stored for {end.condition}."
        return draw_note(name, f"The layers of {end.condition} were not measured", about, reason)
    title = _title(end, seeds)
    subtitle = (
        f"{end.condition} on {data_of(results)}, {counted(len(seeds), 'seed')}, a row each, best at the top: from a "
        "layer's first gradient to the step from which it is dead for every test sample"
    )
    page = open_page(title, subtitle, left=0.95, right=1.75, key=0.62)
    _draw_panels(page, results, end.condition, seeds)
    caption = (
        f"{subtitle}. A line ends with a cross where the layer dies for good and runs on where it lives. Steps are "
        "those at which the network was probed, so an event may lie between two of them; the axis is logarithmic from "
        "step 1 on."
    )
    return Drawing(
        name=name,
        figure=page.figure,
        title=title,
        caption=caption,
        alt=_alt(title, seeds),
        columns=_columns(end.condition, seeds),
    )


def anything_to_show(results: Results) -> bool:
    """Returns whether some condition split, or a whole layer died for good in some run."""
    if any(end.split for end in ends_of(results, results.conditions)):
        return True
    probed = [run.probes for run in results.runs if run.probes is not None and run.probes.steps.size]
    return any(life.dies is not None for probes in probed for life in lives_of(probes))


def chosen(results: Results) -> Ends | None:
    """Returns the condition to look into: most even split first, then the preferred key, then most runs at chance."""
    ends = ends_of(results, results.conditions)
    if not ends:
        return None
    return max(ends, key=lambda end: (min(end.learned, end.at_chance), end.condition == PREFERRED, end.at_chance))


def seed_lives(results: Results, condition: str) -> tuple[SeedLives, ...]:
    """Returns the lives of every seed that was probed, learners first, then by falling accuracy."""
    outcomes = classify(results)
    found = [
        SeedLives(
            seed=run.seed,
            outcome=outcomes[condition, run.seed],
            accuracy_percent=run.final_test_accuracy_percent,
            lives=lives_of(run.probes),
            last_step=int(run.probes.steps[-1]),
        )
        for run in results.of(condition)
        if run.probes is not None and run.probes.steps.size and run.probes.layers
    ]
    return tuple(sorted(found, key=_order))


def _order(seed: SeedLives) -> tuple[float, ...]:
    accuracy = seed.accuracy_percent if math.isfinite(seed.accuracy_percent) else -1.0
    return _RANK[seed.outcome], -accuracy, -(seed.first_death if seed.first_death is not None else 10**9), seed.seed


def lives_of(probes: Probes) -> tuple[Life, ...]:
    """Returns when each layer first gets a gradient (any parameter of it) and from which probe it stays wholly dead."""
    lives = []
    for place, layer in enumerate(probes.layers):
        own = [i for i, path in enumerate(probes.parameters) if path.startswith(f"{layer}.")]
        awake = (probes.gradient_zero[:, own] == 0.0).any(axis=1) if own else np.zeros(len(probes.steps), bool)
        dead = probes.dead_units[:, place] == probes.units[place]
        alive_at = np.flatnonzero(~dead)
        start = int(alive_at[-1]) + 1 if alive_at.size else 0
        lives.append(
            Life(
                layer=layer,
                wakes=int(probes.steps[int(np.argmax(awake))]) if awake.any() else None,
                dies=int(probes.steps[start]) if start < len(probes.steps) else None,
            )
        )
    return tuple(lives)


def step_place(step: float) -> float:
    """Returns where a step lies on the axis: log2(1 + step), so that 0 has a place and doublings are about even."""
    return math.log2(1.0 + step)


def _title(end: Ends, seeds: Sequence[SeedLives]) -> str:
    learned = [seed for seed in seeds if seed.outcome == "learned"]
    others = [seed for seed in seeds if seed.outcome != "learned"]
    start = f"{len(learned)} of {counted(len(seeds), 'seed')} learned"
    if not end.split:
        start = f"No condition split: in {end.condition} {start}"
    if not others:
        return start
    deaths = [seed.first_death for seed in others if seed.first_death is not None]
    if not deaths:
        return f"{start}; {'in the others ' if learned else ''}no whole layer died"
    when = "from the start" if max(deaths) == 0 else f"by step {max(deaths):,}"
    also = sum(seed.first_death is not None for seed in learned)
    too = f", as in {also} that learned" if also else ""
    return f"{start}; {_whose(others, everyone=not learned)} a whole layer was dead {when}{too}"


def _whose(others: Sequence[SeedLives], *, everyone: bool) -> str:
    dead = [seed for seed in others if seed.first_death is not None]
    at_chance = [seed for seed in others if seed.outcome == "at chance"]
    rest = f"{len(others)}" if everyone else "the other" + (f" {len(others)}" if len(others) > 1 else "")
    if len(dead) == len(others):
        return f"in {'all ' if everyone else ''}{rest}"
    if [seed.seed for seed in dead] == [seed.seed for seed in at_chance]:
        return f"in all {len(dead)} that stayed at chance"
    return f"in {len(dead)} of {rest}"


def _draw_panels(page: Page, results: Results, condition: str, seeds: Sequence[SeedLives]) -> None:
    look = looks(results.study)[condition]
    layers = _layers(seeds)
    gap = 0.2
    width = (page.right - page.left - gap * (len(layers) - 1)) / len(layers)
    last = max(seed.last_step for seed in seeds)
    for column, layer in enumerate(layers):
        left = page.left + column * (width + gap)
        axes = page.axes(left, page.bottom, left + width, page.top, grid="x")
        axes.set_title(layer, loc="left", fontsize=TEXT_PT, color=INK, pad=5)
        _set_axes(axes, seeds, last, width, first=column == 0)
        for row, seed in enumerate(seeds):
            life = next((life for life in seed.lives if life.layer == layer), None)
            if life is not None:
                _draw_life(axes, row, seed, life, look)
        axes.set_xlabel("step (log scale)", fontsize=SMALL_PT)
        if column == len(layers) - 1:
            _write_ends(axes, seeds)
    _draw_key(page, look)


def _layers(seeds: Sequence[SeedLives]) -> list[str]:
    names = [life.layer for life in seeds[0].lives]
    deaths = Counter(life.layer for seed in seeds for life in seed.lives if life.dies is not None)
    most = sorted(names, key=lambda name: -deaths[name])[:_MOST_LAYERS]
    return [name for name in names if name in most]


def _set_axes(axes: Axes, seeds: Sequence[SeedLives], last: int, width: float, *, first: bool) -> None:
    n = len(seeds)
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_xlim(-0.35, step_place(last) + 0.35)
    ticks = _ticks(last, most=max(3, int(width / 0.38)))
    axes.set_xticks([step_place(tick) for tick in ticks], [f"{tick:,}" for tick in ticks])
    shown = n <= 24
    if first and shown:
        axes.set_yticks(range(n), [f"seed {seed.seed}" for seed in seeds])
    else:
        axes.set_yticks([])
    if first and not shown:
        axes.set_ylabel(f"{n} seeds, a row each", fontsize=SMALL_PT)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    learned = sum(seed.outcome == "learned" for seed in seeds)
    if 0 < learned < n:
        axes.axhline(learned - 0.5, color=INK, linewidth=1.0, zorder=2.5, label="_split")


def _ticks(last: int, most: int) -> list[int]:
    ticks = [0]
    distance = step_place(last) / max(most - 1, 1)
    for tick in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *(2**power for power in range(10, 40))):
        if tick <= last and step_place(tick) - step_place(ticks[-1]) >= distance * 0.95:
            ticks.append(tick)
    return ticks


def _draw_life(axes: Axes, row: int, seed: SeedLives, life: Life, look: Look) -> None:
    learned = seed.outcome == "learned"
    ink = look.colour if learned else SOFT_INK
    wide = 2.6 if row < 25 else 1.6
    if life.wakes is not None:
        end = life.dies if life.dies is not None else seed.last_step
        if end >= life.wakes:
            axes.plot(
                [step_place(life.wakes), step_place(end)], [row, row], color=ink, linewidth=wide, solid_capstyle="butt",
                zorder=3.0, label="_life",
            )  # fmt: skip
        axes.plot(step_place(life.wakes), row, "o", color=ink, markersize=wide + 2, zorder=3.5, label="_wakes")
    if life.dies is not None:
        axes.plot(
            step_place(life.dies), row, "X", color=_DEATH, markersize=wide + 5, markeredgecolor="white",
            markeredgewidth=0.6, zorder=4.0, label="_dies",
        )  # fmt: skip


def _write_ends(axes: Axes, seeds: Sequence[SeedLives]) -> None:
    if len(seeds) <= 24:
        for row, seed in enumerate(seeds):
            accuracy = f" {percent(seed.accuracy_percent)}" if math.isfinite(seed.accuracy_percent) else ""
            _beside(axes, row, f"{seed.outcome}{accuracy}")
        return
    for outcome in dict.fromkeys(seed.outcome for seed in seeds):
        rows = [row for row, seed in enumerate(seeds) if seed.outcome == outcome]
        finals = [seeds[row].accuracy_percent for row in rows if math.isfinite(seeds[row].accuracy_percent)]
        middle = f"\nmedian {percent(float(np.median(finals)))}" if finals else ""
        _beside(axes, float(np.mean(rows)), f"{len(rows)} {outcome}{middle}")


def _beside(axes: Axes, row: float, text: str) -> None:
    axes.annotate(
        text, (1.03, row), xycoords=axes.get_yaxis_transform(), fontsize=SMALL_PT, color=INK, ha="left", va="center",
        annotation_clip=False,
    )  # fmt: skip


def _draw_key(page: Page, look: Look) -> None:
    handles = [
        Line2D([], [], color=ink, linewidth=2.6, marker="o", markevery=[0], markersize=5, label=f"alive, seed {end}")
        for ink, end in ((look.colour, "learned"), (SOFT_INK, "did not"))
    ]
    handles += [
        Line2D(
            [], [], color=_DEATH, linestyle="none", marker="X", markersize=8, markeredgecolor="white",
            label="dead from here on",
        )
    ]  # fmt: skip
    page.key(handles, above=0.34)


def _alt(title: str, seeds: Sequence[SeedLives]) -> str:
    parts = []
    for outcome in dict.fromkeys(seed.outcome for seed in seeds):
        own = [seed for seed in seeds if seed.outcome == outcome]
        deaths: dict[str, list[int]] = {}
        for seed in own:
            for life in seed.lives:
                if life.dies is not None:
                    deaths.setdefault(life.layer, []).append(life.dies)
        died = [f"{layer} in {len(steps)} (steps {min(steps):,} to {max(steps):,})" for layer, steps in deaths.items()]
        parts.append(f"{len(own)} {outcome}: whole layers dead for good: {', '.join(died) if died else 'none'}")
    return f"A row a seed, a panel a hidden layer, over steps. {title}. {'. '.join(parts)}."


def _columns(condition: str, seeds: Sequence[SeedLives]) -> Columns:
    rows: list[dict[str, Cell]] = []
    for seed in seeds:
        for life in seed.lives:
            steps = [math.nan if step is None else step for step in (life.wakes, life.dies)]
            row = (condition, seed.seed, seed.outcome, seed.accuracy_percent, life.layer, *steps)
            rows += [dict(zip(_COLUMNS, row, strict=True))]
    return columns_of(_COLUMNS, rows[:MOST_ROWS])
