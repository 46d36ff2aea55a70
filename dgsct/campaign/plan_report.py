"""A plan for people and for programs: a table with its sources, one line of totals in plain words, or JSON."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from dgsct.campaign.plan import Item, Plan, durations
from dgsct.campaign.submission import HEADS as JOB_HEADS
from dgsct.campaign.submission import Submission, submission_line, submission_rows
from dgsct.settings.scales import get_scale

HEADS = ("task", "method", "setting", "done", "to do", "half-way", "steps/run", "eval/run", "time/run", "time", "source")
STATES = ("missing", "stale", "failed", "corrupt")


def groups(plan: Plan) -> list[dict[str, Any]]:
    """The runs by task, method and setting: counts by state, what a whole run takes, what is left, and the source of its time.

    Times in seconds: of the longest run and of all, at most and typical; None where nothing tells.
    """
    grouped: dict[tuple[str, str, str], list[Item]] = {}
    for item in plan.items:
        grouped.setdefault((item.run.task, item.run.method, item.run.setting), []).append(item)
    return [_group(*names, items) for names, items in grouped.items()]


def _group(task: str, method: str, setting: str, items: list[Item]) -> dict[str, Any]:
    left = [item for item in items if item.work is not None]
    counts = Counter(item.state for item in items)
    first = left[0] if left else None
    known = bool(left) and first.time is not None
    tells = known and all(item.typical_seconds is not None for item in left)
    return {
        "task": task,
        "method": method,
        "setting": setting,
        "trains": any(item.run.kind == "trained" for item in items),
        "done": counts["ok"],
        "to_do": sum(item.state != "ok" and not item.given_up for item in items),
        "states": {name: counts[name] for name in STATES if counts[name]},
        "half_way_epochs": [i.work.done for i in left if i.work.half_way],
        "steps_per_run": max((i.work.steps for i in left), default=0),
        "evaluation_batches_per_run": max((i.work.evaluations for i in left), default=0),
        "seconds_per_run": max(durations(left, False)) if known else None,
        "typical_seconds_per_run": max(durations(left, True)) if tells else None,
        "seconds": sum(durations(left, False)) if known else None,
        "typical_seconds": sum(durations(left, True)) if tells else None,
        "seconds_per_step": first.time.training if known else None,
        "seconds_per_evaluation_batch": first.time.evaluation if known else None,
        "typical_epochs": first.time.epochs if known else None,
        "lower_bound": _lower_bound(left) if left and not known else None,
        "source": first.time.source if known else (first.bound.source if first.bound else "unknown") if left else None,
    }


def _lower_bound(left: list[Item]) -> dict[str, Any] | None:
    """What counts say of runs that nobody has timed: the least seconds of the longest and of all, and what was counted.

    Each in the epochs that patience cannot spare, and in all of the recipe's. None without a count.
    """
    bound = left[0].bound
    if bound is None:
        return None
    least, every = ([item.least_seconds(every_epoch) for item in left] for every_epoch in (False, True))
    return {
        "seconds_per_run": max(least),
        "every_epoch_seconds_per_run": max(every),
        "seconds": sum(least),
        "every_epoch_seconds": sum(every),
        "macs_per_step_with_gradients": bound.macs.learn,
        "macs_per_step_without_gradients": bound.macs.still,
        "macs_per_evaluation_batch": bound.macs.evaluation,
    }


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan in plain JSON types: settings, groups, every run with what is left, disk in bytes, and the totals."""
    disk = plan.disk
    return {
        "settings": {name: getattr(plan.settings, name) for name in ("scale", "protocol", "seeds", "tasks", "methods")},
        "device": {"name": plan.device.name, "gpu": plan.device.gpu, "count": plan.count},
        "clips": {task: {**clips, "source": plan.clips_source[task]} for task, clips in plan.clips.items()},
        "groups": groups(plan),
        "runs": [
            {
                "run": item.run.folder.as_posix(),
                "state": item.state,
                "given_up": item.given_up,
                "epochs_left": item.work.epochs if item.work else 0,
                "steps_left": item.work.steps if item.work else 0,
                "seconds": item.seconds,
                "gpus": item.gpus,
            }
            for item in plan.items
        ],
        "disk": {
            **{name: getattr(disk, name) for name in ("total", "checkpoints", "results", "data", "encoders", "free")},
            "already_there": list(disk.there),
            "unknown": list(disk.unknown),
        },
        "totals": {
            "to_train": len(plan.to_train),
            "done": sum(item.state == "ok" for item in plan.items),
            "given_up": sum(item.given_up for item in plan.items),
            "unknown_time": len(plan.to_train) - len(plan.timed),
            "seconds": plan.seconds(),
            "typical_seconds": plan.seconds(typical=True),
            "wall_seconds": plan.wall(),
            "typical_wall_seconds": plan.wall(typical=True),
            "lower_bound": {
                "runs": len(plan.bounded),
                "seconds": plan.least_seconds(),
                "every_epoch_seconds": plan.least_seconds(True),
                "wall_seconds": plan.least_wall(),
                "every_epoch_wall_seconds": plan.least_wall(True),
            },
            "words": total_line(plan),
        },
    }


def _rows(plan: Plan) -> tuple[list[list[str]], list[str]]:
    """The table's cells, and the sources in the order of their numbers."""
    rows, sources = [], []
    for group in groups(plan):
        source = group["source"]
        if source not in (None, "unknown") and source not in sources:
            sources.append(source)
        number = f"[{sources.index(source) + 1}]" if source in sources else source or "-"
        states = ", ".join(f"{n} {name}" for name, n in group["states"].items()) or "-"
        seconds = [_at_most(group["seconds_per_run"], group["typical_seconds_per_run"], span)]
        seconds.append(_at_most(group["seconds"], group["typical_seconds"], span))
        if least := group["lower_bound"]:
            seconds = [_at_least(least[name], least[f"every_epoch_{name}"], span) for name in ("seconds_per_run", "seconds")]
        if not group["trains"]:
            number, seconds = "no training", ["-", "-"]
        elif not group["to_do"]:
            seconds = ["-", "-"]
        steps = [f"{group[name]:,}" if group[name] else "-" for name in ("steps_per_run", "evaluation_batches_per_run")]
        half_way = f"{len(group['half_way_epochs'])} (epochs done: {', '.join(map(str, group['half_way_epochs']))})"
        rows.append(
            [
                *(group["task"], group["method"], group["setting"], str(group["done"]), states),
                *(half_way if group["half_way_epochs"] else "-", *steps, *seconds, number),
            ]
        )
    return rows, sources


def _at_most(seconds: float | None, typical: float | None, words: Callable[[float], str]) -> str:
    """`about 3 h (at most 5 h)`; `at most 5 h` where no earlier run tells when such runs stop."""
    if seconds is None:
        return "unknown"
    if typical is None:
        return f"at most {words(seconds)}"
    most, about = words(seconds), words(typical)
    return f"about {about}" if most == about else f"about {about} (at most {most})"


def _at_least(least: float, every: float, words: Callable[[float], str]) -> str:
    """`at least 20 min (every epoch: 50 min)`; without the second where patience cannot end the run before. Rounded down."""
    few, all_ = words(_floored(least)), words(_floored(every))
    return f"at least {few}" if few == all_ else f"at least {few} (every epoch: {all_})"


def _floored(seconds: float) -> float:
    """No more seconds than these, of which `span` keeps every digit."""
    step = 1 if seconds < 60 else 60 if seconds < 3600 else 360 if seconds < 36_000 else 3600
    return seconds // step * step


def span(seconds: float, unit: str = "") -> str:
    """A duration in the unit that suits it: `40 s`, `12 min`, `4.1 h`; with `unit`: `4.1 GPU-hours`."""
    short, long, value = ("h", "hours", seconds / 3600)
    if seconds < 60:
        short, long, value = ("s", "seconds", seconds)
    elif seconds < 3600:
        short, long, value = ("min", "minutes", seconds / 60)
    number = f"{value:.1f}" if 0 < value < 9.95 and short == "h" else f"{value:,.0f}"
    return f"{number} {unit}-{long}" if unit else f"{number} {short}"


def size(count: int) -> str:
    """Bytes in decimal units: `96 GB`."""
    for name, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {name}" if count < 9.95 * factor else f"{count / factor:,.0f} {name}"
    return f"{count} bytes"


def _unit(plan: Plan) -> str:
    return "GPU" if plan.device.gpu or not (plan.timed or get_scale(plan.settings.scale).short_runs) else "CPU"


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def total_line(plan: Plan) -> str:
    """`27 runs to train, 3 done: about 41 GPU-hours, 11 h on 4 GPUs, 96 GB of disk`."""
    train, unit = plan.to_train, _unit(plan)
    given_up = sum(item.given_up for item in plan.items)
    yardsticks = sum(item.state != "ok" and not item.given_up and item.run.kind == "yardstick" for item in plan.items)
    text = f"{_runs(len(train))} to train"
    if yardsticks:
        text += f", {yardsticks} without training to compute"
    text += f", {sum(item.state == 'ok' for item in plan.items)} done"
    if given_up:
        text += f", {given_up} given up (`dgsct retry` brings them back)"
    if not train:
        return f"{text}: no {unit}-hours, no disk"
    devices = f"{plan.count} {unit}{'s' * (plan.count != 1)}"
    unknown = len(train) - len(plan.timed) - len(plan.bounded)
    rest = f", without {_runs(unknown)} of unknown time" if unknown else ""
    if plan.bounded:
        least = _at_least(plan.least_seconds(), plan.least_seconds(True), lambda s: span(s, unit))
        if not plan.timed:
            wall = _at_least(plan.least_wall(), plan.least_wall(True), span)
            return f"{text}: LOWER BOUND, as nothing is measured: {least}, {wall} on {devices}{rest}, {_disk_words(plan)}"
        rest = f", without {_runs(len(plan.bounded))} that nobody has measured (LOWER BOUND: {least}){rest}"
    if not plan.timed:
        return f"{text}: {unit}-hours and wall time unknown, {_disk_words(plan)}"
    tells = any(item.typical_seconds is not None for item in plan.timed)
    hours = _at_most(plan.seconds(), plan.seconds(True) if tells else None, lambda s: span(s, unit))
    wall = _at_most(plan.wall(), plan.wall(True) if tells else None, span).removeprefix("about ").removeprefix("at most ")
    return f"{text}: {hours}, {wall} on {devices}{rest}, {_disk_words(plan)}"


def _disk_words(plan: Plan) -> str:
    return f"{size(plan.disk.total)} of disk{' or more' * bool(plan.disk.unknown)}"


def _notes(plan: Plan, sources: list[str]) -> list[str]:
    """Where the numbers come from, and what is not in them."""
    notes = [f"[{i}] {source}" for i, source in enumerate(sources, start=1)]
    notes += _epochs(plan)
    unmeasured = dict.fromkeys(item.run.method for item in plan.to_train if item.time is None)
    if unmeasured:
        where = "on the machine that will train" if _unit(plan) == "CPU" else "on a machine with the GPU"
        options = f"--scale {plan.settings.scale} --protocol {plan.settings.protocol}"
        notes.append(
            f"not measured: how long a step of {', '.join(unmeasured)} takes; `dgsct plan {options} --probe` {where}, "
            "with this results folder, measures it in minutes"
        )
    notes += [f"unknown: steps of {method} cannot be counted ({reason})" for method, reason in plan.uncounted.items()]
    several = Counter(item.gpus for item in plan.to_train if item.gpus > 1)
    notes += [
        f"{_runs(n)} train{'s' * (n == 1)} on {gpus} GPUs each, by the site file: their hours are reckoned for one"
        for gpus, n in sorted(several.items())
    ]
    disk = plan.disk
    if plan.to_train:
        at_a_time = min(plan.count, len(plan.to_train))
        notes.append(
            f"disk: {size(disk.checkpoints)} checkpoints while {_runs(at_a_time)} train{'s' * (at_a_time == 1)}, "
            f"{size(disk.results)} records and best weights that stay, {size(disk.data)} prepared data, "
            f"{size(disk.encoders)} encoders (computed: 12 bytes a trainable parameter, three checkpoints at a time); "
            f"free: {size(disk.free)}"
        )
        notes.append("not counted: preparing data and encoders, reading clips in a probe, waiting in a queue")
    if disk.unknown:
        notes.append(f"unknown: parameters of {', '.join(disk.unknown)}, so their checkpoints are not in the disk")
    if disk.there:
        notes.append(f"already there: {', '.join(disk.there)}")
    if disk.total > disk.free:
        notes.append(f"the disk is too small: {size(disk.total)} needed, {size(disk.free)} free")
    return notes


def _epochs(plan: Plan) -> list[str]:
    """What an epoch is, a line for each task and recipe; methods are named where a task has more than one."""
    kinds: dict[tuple[str, str], dict[str, None]] = {}
    for item in plan.to_train:
        recipe = item.run.recipe
        until = f"at most {recipe.epochs} epochs, less where {recipe.patience} in a row stay below the best"
        words = (
            f"{item.work.steps_an_epoch} training steps of {recipe.batch_size} clips and "
            f"{item.work.evaluations_an_epoch} evaluation batches ({plan.clips_source[item.run.task]}); "
            f"{until if recipe.patience < recipe.epochs else f'{recipe.epochs} epochs'}"
        )
        kinds.setdefault((item.run.task, words), {})[item.run.method] = None
    several = Counter(task for task, _ in kinds)
    return [
        f"epoch of {task}{' (' + ', '.join(methods) + ')' if several[task] > 1 else ''}: {words}"
        for (task, words), methods in kinds.items()
    ]


def plain_plan(plan: Plan) -> str:
    """The plan as lines of plain text, columns aligned by spaces, totals last."""
    rows, sources = _rows(plan)
    return "\n".join([*_aligned(HEADS, rows), *_notes(plan, sources), total_line(plan)])


def plain_submission(submission: Submission) -> str:
    """The jobs as lines of plain text, totals last."""
    return "\n".join([*_aligned(JOB_HEADS, submission_rows(submission)), submission_line(submission)])


def _aligned(heads: Sequence[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table; none without rows."""
    table = [list(heads), *rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return lines if rows else []


def print_plan(plan: Plan, submission: Submission | None = None) -> None:
    """Print the plan and the jobs that would be submitted: tables in a terminal, plain lines in a pipe or a log."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        print("\n\n".join([plain_plan(plan), *([plain_submission(submission)] if submission else [])]))
        return

    def show(heads: Sequence[str], rows: list[list[str]]) -> None:
        table = Table(*heads, box=None, header_style="bold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)

    rows, sources = _rows(plan)
    show(HEADS, rows)
    for note in _notes(plan, sources):
        console.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
    console.print(total_line(plan), style="bold", highlight=False, markup=False, soft_wrap=True)
    if submission:
        show(JOB_HEADS, submission_rows(submission))
        console.print(submission_line(submission), style="bold", highlight=False, markup=False, soft_wrap=True)
