"""What runs again when a key of the config or a module is changed, as a page of the docs."""

from collections.abc import Container, Iterable, Mapping
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from imagenet_think import changes, configuration, plans, provenance
from imagenet_think.changes import Change
from imagenet_think.configuration import Config
from imagenet_think.plans import Plan, Rule

TARGETS = ("all", "dataset_full", "rejoin", "review_results", "paper", "pilot", "checkpoints")
"""What the runs make: all that a config has a say in."""

FEW = 4
"""Rules that are named where they stand; more have a row of the second table."""

NONE, NOTHING, ALL = "–", "nothing", "all"


def targets(config: Config) -> tuple[str, ...]:
    """Return what a run can make: of listed images no paper, and without pictures none is asked."""
    return TARGETS[:1] if config["images"]["source"]["kind"] == configuration.LISTING else TARGETS


def measure(folder: Path) -> tuple[dict[Change, Plan], dict[str, Rule]]:
    """Plan every change, in an empty folder.

    Returns
    -------
    dict
        The plan of each change.
    dict
        The rules of all plans by name, in the workflow's order.
    """
    plans.workplace(folder)
    configs = changes.runs(folder)
    rules: dict[str, Rule] = {}
    for config in configs.values():
        plans.pretend(folder, config, targets(config))
        for rule in plans.rules(folder, config, targets(config)):
            rules.setdefault(rule.name, rule)
    found = {}
    for change in changes.changes(configs):
        config = change.of(configs)
        found[change] = plans.plan(folder, config, targets(config))
    return found, rules


def users(rules: Iterable[Rule]) -> dict[str, list[str]]:
    """Return the rules that use each script and module, by its path from the scripts' folder."""
    found: dict[str, list[str]] = {}
    for rule in rules:
        for file in provenance.code(rule.script):
            place = file.relative_to(provenance.FOLDER).as_posix()
            found.setdefault(place, []).append(rule.name)
    return found


# The page ----------------------------------------------------------------------------------------

INTRODUCTION = """\
# What runs again

Made from the workflow itself by `make config-docs`: a run is taken for finished, each key gets
another value, and what Snakemake would then run is written down. Whatever needs a file that is made
anew runs as well, even if that file comes out the same.

Little is lost by it. `generate_responses` asks a model only for what the journal does not hold with
the same settings, and loads none where it holds all; the scores of pairs of texts that are known
come from the score cache.

`record_run`, which records config and commit, runs again with every change and is not named below.

Nothing runs again for a comment in the config, for another order of its keys, or for a file of
`scripts/imagenet_think/` that got another time and the same content. For a script, Snakemake goes
by its time. An edited rule file matters where it gives a rule other params, inputs or outputs.

`--sdm conda` on a run that was made without it, or none on one that was made with it, makes
everything again: Snakemake counts the environment as another one. Keep to the one or the other, or
say `--rerun-triggers code input mtime params`. Edits of `envs/` count with `--sdm conda` alone.
"""

KEYS = """
## A key of the config

*Takes it* names the rules whose own settings, inputs or outputs the key changes; *(some)* where
that holds for some of their jobs alone, as for those of one model. *Runs again* counts these and
all that follows from them; the number leads to their names.
"""

SETS = """
## The rules that run again

Of the rules of one run: those of other sources of images are not counted.

"""

MODULES = """
## A module or script

All jobs run again of the rules that use it, directly or not, and all that follows from those. A
script that is not named is used by the rule of its name alone.

"""

FOLLOWS = """
## What follows from a rule

"""


def page(planned: Mapping[Change, Plan], rules: Mapping[str, Rule]) -> str:
    """Return `config/reruns.md`; parameters as `measure` returns them."""
    again = {change: _again(plan, rules) for change, plan in planned.items()}
    sets = _names(again.values())
    lines = [INTRODUCTION, KEYS]
    for section, rows in groupby(planned, key=lambda change: change.key.partition(".")[0]):
        lines.append(f"\n### {section}\n\n{_head('key', 'takes it', 'runs again')}")
        for key, cases in groupby(rows, key=lambda change: change.key):
            own = {change.case: change for change in cases}
            takes = {case: _takers(planned[change], rules) for case, change in own.items()}
            runs = {case: _called(again[change], sets) for case, change in own.items()}
            lines.append(_row(f"`{key}`", _by_case(takes), _by_case(runs)))
    lines += [SETS, _head("rules", "by rule file")]
    lines += [_row(f'<a id="{name}"></a>{name}', text) for (_, text), name in sets.items()]
    by_users: dict[tuple[str, ...], list[str]] = {}
    for place, names in sorted(users(rules.values()).items()):
        if names != [Path(place).stem]:
            by_users.setdefault(tuple(names), []).append(place)
    lines += [MODULES, _head("files of `scripts/`", "rules that use it")]
    for names, modules in by_users.items():
        lines.append(_row(_listed(modules), _all_but(list(names), list(rules))))
    lines += [FOLLOWS, _head("rule", "by rule file")]
    for rule in rules.values():
        lines.append(_row(f"`{rule.name}`", _by_file(rule.follows, rules) or NOTHING))
    return "".join(lines)


Again = tuple[int, str]
"""How many rules run again, and which, in words."""


def _again(plan: Plan, rules: Mapping[str, Rule]) -> Again:
    there = {name: rule for name, rule in rules.items() if name in plan.jobs}
    if len(plan.again) <= FEW:
        return len(plan.again), _listed(name for name in there if name in plan.again) or NOTHING
    return len(plan.again), _by_file(plan.again, there)


def _names(found: Iterable[Again]) -> dict[Again, str]:
    """Name what is too long to stand where it is told: by its number of rules, and a letter."""
    names = {}
    large = sorted((again for again in set(found) if again[0] > FEW), key=lambda x: (-x[0], x[1]))
    for count, own in groupby(large, key=lambda again: again[0]):
        same = list(own)
        for place, again in enumerate(same):
            names[again] = f"{count}{chr(ord('a') + place) if len(same) > 1 else ''}"
    return names


def _called(again: Again, sets: Mapping[Again, str]) -> str:
    return f"[{sets[again]}](#{sets[again]})" if again in sets else again[1]


def _by_case(cells: Mapping[str, str]) -> str:
    """Return a line for each case that differs from the others."""
    cases: dict[str, list[str]] = {}
    for case, cell in cells.items():
        cases.setdefault(cell, []).append(case)
    if len(cases) == 1:
        return next(iter(cases))
    return "<br>".join(f"{' or '.join(own)}: {cell}" for cell, own in cases.items())


def _takers(plan: Plan, rules: Mapping[str, Rule]) -> str:
    names = [name for name in rules if name in plan.changed]
    if len(names) > len(plan.jobs) / 2:
        return _all_but(names, [name for name in rules if name in plan.jobs])
    some = {name for name in names if plan.changed[name] < plan.jobs[name]}
    return ", ".join(f"`{name}`{' (some)' * (name in some)}" for name in names) or NONE


def _by_file(chosen: Container[str], rules: Mapping[str, Rule]) -> str:
    """Return which rules are chosen, of some."""
    found: dict[str, str] = {}
    for file in dict.fromkeys(rule.file for rule in rules.values()):
        whole = [name for name, rule in rules.items() if rule.file == file]
        if names := [name for name in whole if name in chosen]:
            found[file] = _all_but(names, whole)
    entire = ", ".join(file for file, names in found.items() if names == ALL)
    rest = [f"*{file}* {names}" for file, names in found.items() if names != ALL]
    return "; ".join([*([f"all of *{entire}*"] if entire else []), *rest])


def _all_but(names: list[str], whole: list[str]) -> str:
    """Return names, or those that are left out where these are few."""
    others = [name for name in whole if name not in names]
    if not others:
        return ALL
    return f"all but {_listed(others)}" if len(others) < len(names) / 2 else _listed(names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _head(*cells: str) -> str:
    return _row(*cells) + _row(*["---"] * len(cells))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        print(page(*measure(Path(place))), end="")
