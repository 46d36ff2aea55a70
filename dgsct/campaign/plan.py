"""What a target would cost before it is run: its runs, steps, hours on K devices and disk, and what is already there.

Every number has a source: records of earlier runs, a probe (`dgsct.campaign.step_times`), or counts and sizes written out here.
Where nothing was measured a count gives a lower bound (`dgsct.campaign.bounds`); what no source tells stays unknown. No torch.
"""

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dgsct.campaign.bounds import Bound, Counts, kind_of_step
from dgsct.campaign.disk import Disk, disk_needed
from dgsct.campaign.runtimes import write_runtimes
from dgsct.campaign.step_times import (
    Device,
    Measured,
    StepTime,
    batches,
    closest,
    cost_options,
    device_here,
    device_of_plan,
    history,
    probes,
    step_time,
)
from dgsct.data.packed import read_manifest
from dgsct.engine.checkpoint import finished, newest_state
from dgsct.errors import DgsctError, UsageError
from dgsct.records.results import validity
from dgsct.runs.experiments import Experiment, Settings, all_runs
from dgsct.runs.inputs import checksums, packed_folder, with_parents
from dgsct.runs.retention import keep_of
from dgsct.runs.run import Run
from dgsct.runs.site import Site
from dgsct.settings.scales import get_scale
from dgsct.tasks import get_set, get_task
from dgsct.tasks.generate import mini_splits


@dataclass(frozen=True)
class Work:
    """What is left of a run: `epochs` at most and `at_least`, with their training steps and evaluation batches.

    `half_way`: a checkpoint is there to go on from, `done` epochs are behind it.
    """

    epochs: int
    at_least: int
    steps: int
    evaluations: int
    done: int = 0  # epochs behind it
    steps_an_epoch: int = 0
    evaluations_an_epoch: int = 0  # of those that are evaluated
    half_way: bool = False
    selection_batches: int = 0  # of the split that selects


@dataclass(frozen=True)
class Item:
    """One run of a plan. `state` as in `dgsct.records.results`; no work for a valid result and for a yardstick.

    `time` is that of one GPU; a site may give the run `gpus`. `bound` stands in where no time is known.
    """

    run: Run
    state: str
    work: Work | None = None
    time: StepTime | None = None
    bound: Bound | None = None
    given_up: bool = False
    gpus: int = 0

    @property
    def seconds(self) -> float | None:
        """At most this long; None if there is nothing to train or no step time."""
        if self.work is None or self.time is None:
            return None
        return self.work.steps * self.time.training + self.work.evaluations * self.time.evaluation

    @property
    def typical_seconds(self) -> float | None:
        """As long as this if it stops after as many epochs as earlier runs did; None if no earlier run tells.

        Where patience cannot end it early, every epoch is sure to come.
        """
        work = self.work
        if self.seconds is None or (self.time.epochs is None and work.at_least < work.epochs):
            return None
        expected = (self.time.epochs or 0) - work.done
        kept = min(max(expected, work.at_least), work.epochs)
        evaluated = sum(map(self.run.recipe.evaluates, range(work.done + kept, work.done + work.epochs)))
        training = (work.epochs - kept) * work.steps_an_epoch * self.time.training
        return self.seconds - training - evaluated * work.evaluations_an_epoch * self.time.evaluation

    def least_seconds(self, every_epoch: bool = False) -> float | None:
        """At least this long by its bound: in the epochs that patience cannot spare, or in every one; None without a bound.

        Of the evaluations only those count that are sure: on the split that selects.
        """
        work, bound = self.work, self.bound
        if work is None or bound is None:
            return None
        epochs = work.epochs if every_epoch else work.at_least
        steps = max(work.steps - (work.epochs - epochs) * work.steps_an_epoch, 0)
        evaluated = sum(map(self.run.recipe.evaluates, range(work.done, work.done + epochs)))
        return steps * bound.training + evaluated * work.selection_batches * bound.evaluation


@dataclass(frozen=True)
class Plan:
    """The answer: runs, the device they are reckoned for and how many of it, disk, and of each task the clips per split.

    `clips` maps a task to its clips by split, `clips_source` to where they are known from. `uncounted` says of a method why
    its steps could not be counted.
    """

    settings: Settings
    items: tuple[Item, ...]
    device: Device
    count: int
    clips: Mapping[str, Mapping[str, int]]
    clips_source: Mapping[str, str]
    disk: Disk
    uncounted: Mapping[str, str] = field(default_factory=dict)

    @property
    def to_train(self) -> list[Item]:
        """Runs that a model must be trained for, or trained further."""
        return [item for item in self.items if item.work is not None]

    @property
    def timed(self) -> list[Item]:
        """Of those the ones whose time is known."""
        return [item for item in self.to_train if item.seconds is not None]

    @property
    def bounded(self) -> list[Item]:
        """Of the others the ones of which a count tells the least time."""
        return [item for item in self.to_train if item.time is None and item.bound is not None]

    def least_seconds(self, every_epoch: bool = False) -> float:
        """Device-seconds that the bounded runs need at least."""
        return sum(item.least_seconds(every_epoch) for item in self.bounded)

    def least_wall(self, every_epoch: bool = False) -> float:
        """Seconds until the last bounded run can end at the earliest on `count` devices."""
        longest = max((item.least_seconds(every_epoch) for item in self.bounded), default=0.0)
        return max(longest, self.least_seconds(every_epoch) / self.count)

    def seconds(self, typical: bool = False) -> float | None:
        """Device-seconds of all timed runs; None if no time is known though there is something to train."""
        values = durations(self.timed, typical)
        return sum(values) if values or not self.to_train else None

    def wall(self, typical: bool = False) -> float | None:
        """Seconds until the last timed run ends on `count` devices; None as in `seconds`."""
        values = durations(self.timed, typical)
        return makespan(values, self.count) if values or not self.to_train else None


def durations(items: Iterable[Item], typical: bool) -> list[float]:
    """Seconds of the items: at most, or typical ones where known."""
    return [item.typical_seconds if typical and item.typical_seconds is not None else item.seconds for item in items]


def makespan(seconds: Sequence[float], count: int) -> float:
    """When the last run ends if each of `count` devices takes the longest run that is left as soon as it is free."""
    free_at = [0.0] * count
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def choose_runs(targets: Sequence[str], experiments: Mapping[str, Experiment], settings: Settings) -> list[Run]:
    """The runs of Snakemake's targets of that name, and of run folders, with those that they start from; UsageError for
    anything else."""
    figures = [e for e in experiments.values() if e.drawn]
    groups = {"all_tables": list(experiments.values()), "all_figures": figures, "report": list(experiments.values())}
    runs: dict[Run, None] = {}
    for target in targets or ["all_tables"]:
        if target in groups or target in experiments:
            chosen = all_runs(groups.get(target) or [experiments[target]], settings)
        elif "/" in target:
            chosen = [_run_at(target, settings)]
        else:
            known = ", ".join([*groups, *experiments])
            raise UsageError(f"unknown target {target!r}; known: {known}, or a run's folder")
        runs.update(dict.fromkeys(with_parents(chosen)))
    return list(runs)


def _run_at(target: str, settings: Settings) -> Run:
    path = Path(target)
    run = Run.from_folder(path.parent if path.name == "record.json" else path)
    if run.scale != settings.scale:
        raise UsageError(f"{target} is of scale {run.scale!r}; plan it with --scale {run.scale}")
    return run


def splits_of(root: Path, scale: str, task: str) -> tuple[dict[str, int], str]:
    """Clips of each split and where they are known from: the prepared data, else what the set is said to have."""
    dataset = get_task(task).dataset
    folder = Path(root) / packed_folder(scale, dataset)
    if (folder / "manifest.json").exists():
        coverage = read_manifest(folder)["coverage"]
        return {name: split["present"] for name, split in coverage.items()}, "the prepared data"
    if get_scale(scale).generated_data:
        return mini_splits(dataset), "the generator's settings"
    return dict(get_set(dataset).published), "the published splits"


def work_of(run: Run, root: Path, clips: Mapping[str, int]) -> Work:
    """What `run` has before it, a checkpoint of today's code, data and encoders counted; nothing if only its record is missing.

    An epoch that is evaluated is so on the split that selects, and after an improvement on the test split too: here each.
    """
    recipe, options = run.recipe, run.options
    steps = recipe.steps(clips["train"])
    evaluations = {split: batches(clips[split], recipe.batch_size) for split in (options.selection, "test")}
    state, over = _where_it_stands(run, root)
    done, batch = state.get("epoch", 0), state.get("batch", 0)
    left = 0 if over else max(recipe.epochs - done, 0)
    return Work(
        epochs=left,
        at_least=left if recipe.select == "last" else min(left, recipe.patience - state.get("below_best", 0)),
        steps=max(left * steps - batch, 0),
        evaluations=sum(map(recipe.evaluates, range(done, done + left))) * sum(evaluations.values()),
        done=done,
        steps_an_epoch=steps,
        evaluations_an_epoch=sum(evaluations.values()),
        half_way=over or bool(state),
        selection_batches=evaluations[options.selection],
    )


def _where_it_stands(run: Run, root: Path) -> tuple[dict[str, Any], bool]:
    """Progress in the newest checkpoint that the trainer would go on from, and whether its training is over."""
    folder = Path(root) / run.folder / "checkpoints"
    try:
        key = run.key(checksums(run, root))
    except DgsctError:  # without data nothing can be gone on from
        return {}, False
    newest = newest_state(folder, key)
    return newest[1] if newest else {}, finished(folder, key) is not None


def judge(runs: Sequence[Run], root: Path) -> list[Item]:
    """Each run with its state and the work that is left."""
    clips = {run.task: splits_of(root, run.scale, run.task)[0] for run in runs}
    items = []
    for run in runs:
        state = validity(run, root)
        trains = state.name != "ok" and not state.given_up and run.kind == "trained"
        work = work_of(run, root, clips[run.task]) if trains else None
        items.append(Item(run, state.name, work, given_up=state.given_up))
    return items


def to_probe(items: Iterable[Item], root: Path, scale: str, exact: bool) -> list[Run]:
    """One run of each kind of step to be trained of which nothing is known on this machine's device.

    A record of the same method is enough, a probe must be of this very kind; with `exact` both, and of today's code.
    """
    known, here = _known(root, scale), device_here()
    examples: dict[str, Run] = {}
    for item in items:
        if item.work is None or not item.work.steps:
            continue
        near, cost = closest(item.run, known, here), cost_options(item.run)
        same = bool(near) and near[0].cost == cost
        if not (same and near[0].current if exact else same or (near and not near[0].probe)):
            examples.setdefault(repr((item.run.task, item.run.method, cost)), item.run)
    return list(examples.values())


def to_count(items: Iterable[Item], root: Path, scale: str) -> list[Run]:
    """One run of each kind of step to be trained that nobody has measured on the device of the plan."""
    known = _known(root, scale)
    device = device_of_plan(scale, known)
    untimed = [item.run for item in items if item.work is not None and not closest(item.run, known, device)]
    return list({kind_of_step(run): run for run in reversed(untimed)}.values())[::-1]


def plan_device(root: Path, scale: str) -> Device:
    """What a plan of that scale is made for."""
    return device_of_plan(scale, _known(root, scale))


def _known(root: Path, scale: str) -> list[Measured]:
    return [*history(root, scale), *probes(root, scale)]


def make_plan(
    items: Sequence[Item],
    settings: Settings,
    root: Path,
    count: int,
    site: Site | None = None,
    needed: Collection[Run] = (),
    counts: Counts | None = None,
) -> Plan:
    """Times and disk for the judged runs on `count` devices, as `site` has them run; weights of the `needed` runs stay.

    `counts` bound the time of runs of which none is known.
    """
    site = site or Site()
    known = _known(root, settings.scale)
    device = device_of_plan(settings.scale, known)
    timed = [
        replace(i, time=step_time(i.run, known, device) if i.work else None, gpus=site.resources(i.run).gpus) for i in items
    ]
    if counts:
        timed = [replace(i, bound=counts.bound(i.run)) if i.work and i.time is None else i for i in timed]
    known_clips = {task: splits_of(root, settings.scale, task) for task in dict.fromkeys(item.run.task for item in items)}
    clips = {task: clips for task, (clips, _) in known_clips.items()}
    source = {task: source for task, (_, source) in known_clips.items()}
    passing = {i.run for i in timed if keep_of(i.run, site.run.keep, needed) == "record"}
    disk = disk_needed([(i.run, i.time or i.bound) for i in timed if i.work], root, settings.scale, count, passing)
    uncounted = {i.run.method: counts.why_not(i.run) for i in timed if counts and counts.why_not(i.run)}
    return Plan(settings, tuple(timed), device, count, clips, source, disk, uncounted)


def note_runtimes(plan: Plan, root: Path) -> tuple[Path, int]:
    """Write what each run takes at most for Snakemake's `runtime`; returns the file and how many runs have a time.

    A run of unknown time is noted nowhere, and asks for what the site allows.
    """
    planned = {
        item.run.folder.as_posix(): None if item.seconds is None else (item.seconds, item.time.source) for item in plan.to_train
    }
    return write_runtimes(root, planned), len(plan.timed)
