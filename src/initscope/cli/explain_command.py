"""`initscope explain`: what a name means."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

import click

from initscope.base.quantities import counted

WIDTH = 100


@click.command("explain")
@click.argument("name")
@click.option(
    "--study", default="surprising-demo", show_default=True, metavar="STUDY", help="Where conditions are looked up."
)
def explain_command(name: str, study: str) -> None:
    """Explain NAME: a study, a condition of a study, a dataset, an initializer, a model or a rule of `check`.

    For a condition, what was measured is added where the study has been run into its default folder.
    """
    from initscope.base.errors import unknown_name
    from initscope.cli.catalogues import find_rule, rule_infos
    from initscope.datasets import catalogue as data
    from initscope.initializers.method import METHODS
    from initscope.models.registry import MODELS
    from initscope.report.findings.rule_page import rule_text
    from initscope.study.builtin_studies import builtin_names
    from initscope.study.file import load_study

    known = load_study(study)
    if name in builtin_names() or name == study or (name.endswith(".toml") and Path(name).exists()):
        _study(load_study(name))
    elif name in known.conditions:
        _condition(known, name)
    elif name in data.names():
        _dataset(name)
    elif name in METHODS:
        _documented(name, METHODS.get(name), "initializer")
    elif name in MODELS:
        _documented(name, MODELS.get(name), "model")
    elif (rule := find_rule(name)) is not None:
        click.echo(rule_text(rule, width=WIDTH), nl=False)
    else:
        rules = [one.name for one in rule_infos()]
        legal = [*builtin_names(), *known.conditions, *data.names(), *METHODS, *MODELS, *rules]
        raise unknown_name("name", name, legal)


def _study(study) -> None:  # type: ignore[no-untyped-def]  # a Study; its module loads pydantic
    from initscope.base.quantities import counted
    from initscope.report.condition_text import describe

    click.echo(f"{study.name}: {study.title}\n{study.question}\n")
    click.echo(f"data       {study.data.source}, {study.data.test_fraction:.0%} held out")
    click.echo(f"model      {study.model.label}, hidden {list(study.model.hidden)}, {study.model.activation}")
    train = study.train
    pace = f"learning rate {train.learning_rate:g}, batches of {train.batch_size}, {counted(train.epochs, 'epoch')}"
    click.echo(f"training   {train.optimizer}, {pace}")
    click.echo(f"seeds      {study.seeds}, baseline {study.baseline}\n\nconditions")
    width = max(map(len, study.conditions))
    for key, table in study.conditions.items():
        click.echo(f"  {key:<{width}}  {describe(table)}")


def _condition(study, key: str) -> None:  # type: ignore[no-untyped-def]  # as above
    from initscope.report.condition_text import describe

    click.echo(f"{key}: a condition of {study.name}")
    if key in study.about:
        click.echo(study.about[key])
    click.echo(f"{describe(study.conditions[key])}\n")
    for pattern, call in study.conditions[key].items():
        click.echo(f'  "{pattern}" = "{call}"')
    folder = Path("runs") / study.name
    if (folder / "results.db").exists():
        _measured(folder, key)
    else:
        click.echo(f"\nWhy it does what it does is measured in your runs: initscope run {study.name}")


def _measured(folder: Path, key: str) -> None:
    from initscope.api.run import open_results

    results = open_results(folder)
    runs = results.records.of(key)
    if not runs:
        return
    click.echo(f"\nmeasured in {folder} ({counted(len(runs), 'run')})")
    for sentence in results.explain(key):
        click.echo(textwrap.fill(sentence, 98, initial_indent="  ", subsequent_indent="  "))
    for path in results.study.kept_parameters:
        _before_and_after(results, key, runs[0].seed, path)


def _before_and_after(results, key: str, seed: int, path: str) -> None:  # type: ignore[no-untyped-def]  # StudyResults
    """Prints a kept parameter of one run before training and after, shortened as numpy does."""
    import numpy as np

    values = [results.weights(key, seed, path, moment) for moment in ("initial", "final")]
    if any(value is None for value in values):
        return
    with np.printoptions(precision=4, suppress=True, threshold=8, edgeitems=2, linewidth=98):
        for word, value in zip(("before", "after"), values, strict=True):
            click.echo(f"\n{path} of seed {seed} {word} training, {' x '.join(map(str, value.shape))}\n{value}")


def _dataset(name: str) -> None:
    from initscope.datasets.catalogue import find

    entry = find(name)
    click.echo(f"{name}: {entry.about}")
    click.echo(f"samples   {entry.n_samples:,}\nfeatures  {entry.n_features}\nclasses   {entry.n_classes}")
    click.echo(f"licence   {entry.licence}\ncite      {entry.citation}")
    source = f"downloaded at first use: initscope data fetch {name}" if entry.needs_download else "embedded"
    click.echo(f"source    {source}")


def _documented(name: str, thing: object, kind: str) -> None:
    from initscope.initializers.building import signature_text
    from initscope.initializers.method import METHODS

    click.echo(f"{signature_text(name) if name in METHODS else name}: {kind}\n")
    click.echo(inspect.getdoc(thing) or "")
    if name in METHODS:
        method = METHODS.get(name)
        first = next(one for one, own in METHODS.items() if own is method)
        others = [one for one in (first, *METHODS.aliases(first)) if one != name]
        click.echo(f"\nsource: {method.paper}; kind: {method.kind}; status: {method.status()}")
        if others:
            click.echo(f"also called: {', '.join(others)}")
