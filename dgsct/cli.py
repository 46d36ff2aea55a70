"""The command line `dgsct`. Thin: every command imports what it needs when it runs, so that --help answers at once.

Exit codes: 0 good, 1 failed, 2 wrong use, 75 stopped and resumable.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from dgsct.errors import UsageError, exit_code

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproducibility benchmark harness for DG-SCT. The whole benchmark: `snakemake all_tables`.",
)

Scale = Annotated[str, typer.Option(help="paper (full size) or mini")]
Protocol = Annotated[str, typer.Option(help="release, paper or clean")]
Seeds = Annotated[int, typer.Option(min=1, help="seeds 0 ... N-1 of every cell")]
Results = Annotated[Path, typer.Option(help="folder of data, encoders and records")]
Experiments = Annotated[Path | None, typer.Option(help="folder of experiment files")]
Out = Annotated[Path | None, typer.Option(help="default: paper_tables/SCALE/PROTOCOL")]


def _settings(scale: str, protocol: str, seeds: int):
    from dgsct.experiments import make_settings

    return make_settings({"scale": scale, "protocol": protocol, "seeds": seeds})


def _experiments(names: list[str] | None, folder: Path | None, figures: bool | None = None) -> dict:
    """The experiments by these names (default: all); with `figures` given, figures only or tables only."""
    from dgsct.experiments import EXPERIMENTS, load_experiments

    known = load_experiments(folder or EXPERIMENTS)
    for name in names or []:
        if name not in known:
            raise UsageError(f"unknown experiment {name!r}; known: {', '.join(known)}")
        if figures is not None and known[name].drawn != figures:
            this, other = ("figure", "tables") if figures else ("table", "figures")
            raise UsageError(f"{name} is no {this}; use `dgsct {other} {name}`")
    chosen = names or [n for n, e in known.items() if figures is None or e.drawn == figures]
    return {name: known[name] for name in chosen}


@app.command("ls")
def list_everything() -> None:
    """Tasks, methods, experiments and protocols, one line each."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from dgsct.experiments import load_experiments
    from dgsct.methods import METHODS
    from dgsct.protocols import SUMMARIES
    from dgsct.tasks import TASKS

    groups = {
        "tasks": {name: t.summary for name, t in TASKS.items()},
        "methods": {name: m.summary for name, m in METHODS.items()},
        "experiments": {name: f"{e.source}: {e.title}" for name, e in load_experiments().items()},
        "protocols": dict(SUMMARIES),
    }
    console = Console()
    for title, entries in groups.items():
        table = Table.grid(padding=(0, 2))
        for name, summary in entries.items():
            table.add_row(f"  [bold]{name}[/]", escape(summary))
        console.print(f"[bold cyan]{title}[/]")
        console.print(table)


@app.command()
def run(
    task: str,
    method: str,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="an option, e.g. S=off")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    results: Results = Path("results"),
    checkpoint_stages: Annotated[bool, typer.Option("--checkpoint-stages", help="less memory for more time")] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="let torch.compile fuse the stages")] = False,
    scratch: Annotated[str | None, typer.Option(help="folder on this machine's own disk for a copy of the data")] = None,
) -> None:
    """Train and evaluate one run in this terminal, and print its metrics."""
    from dgsct.runs import Run

    chosen = Run.make(task, method, _options(set_), protocol, scale, seed)
    from dgsct.engine import execute
    from dgsct.execution import Execution

    typer.echo(execute(chosen, results, Execution(checkpoint_stages, compile_, scratch)))


@app.command()
def bundle(
    folders: Annotated[list[Path], typer.Argument(help="run folders: RESULTS/runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED")],
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time")] = 1,
    time_budget: Annotated[float | None, typer.Option(help="minutes until all must have saved and stopped")] = None,
) -> None:
    """Train many runs in one process tree: torch is imported once, every run is a fork."""
    from dgsct.runs import Run

    for folder in folders:
        Run.from_folder(folder)
    from dgsct import worker
    from dgsct.execution import Execution
    from dgsct.stopping import deadline

    codes = set(worker.bundle(folders, jobs, execution=Execution(deadline=deadline(time_budget), waits=True)).values())
    raise typer.Exit(0 if codes <= {0} else 75 if codes <= {0, 75} else 1)


@app.command()
def prepare(
    task: str,
    root: Annotated[Path, typer.Argument(help="the data set in its own layout")],
    out: Annotated[Path, typer.Argument(help="where the packed arrays and manifest.json go")],
    scale: Scale = "paper",
    jobs: Annotated[int | None, typer.Option(min=1, help="processes (default: all cores)")] = None,
    layout: Annotated[str | None, typer.Option(help="videos, frames or published (default: what is there)")] = None,
) -> None:
    """Decode a data set once into memory-mapped arrays with a manifest; stopped or killed, the same command goes on."""
    from dgsct.data.sets import get_set
    from dgsct.scales import get_scale

    get_set(task)
    sizes = get_scale(scale)
    from dgsct.data.prepare import prepare_set

    prepare_set(task, root, out, sizes, jobs=jobs, layout=layout)


@app.command()
def efficiency(
    method: Annotated[str, typer.Argument(help="dg-sct or lavish-star")] = "dg-sct",
    scale: Scale = "paper",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    out: Annotated[Path | None, typer.Option(help="write the JSON to this file")] = None,
) -> None:
    """Parameters, trainable share and MACs of one clip, counted without weights (Table 6)."""
    from dgsct.methods import get_method

    get_method(method)
    from dgsct.efficiency import efficiency as count

    result = count(method, scale)
    if out:
        from dgsct.atomic import write_json_atomic

        write_json_atomic(out, result)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    elif not out:
        _print_efficiency(result)


def _options(items: list[str] | None) -> dict[str, str] | None:
    """`--set` items as options; None where none is given."""
    overrides = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--set {item!r} must have the form NAME=VALUE, for example --set S=off")
        overrides[name] = value
    return overrides or None


@app.command()
def weights(
    check: Annotated[bool, typer.Option("--check", help="read every number, and give the checksum")] = False,
    fetch: Annotated[str | None, typer.Option(help="download this one (swin) from its hub first; needs a network")] = None,
    keys: Annotated[str | None, typer.Option(help="print the expected keys and shapes of this one, such as swin")] = None,
    site: Annotated[Path | None, typer.Option(help="site file (default: workflow/config/site.yaml)")] = None,
) -> None:
    """The public weights: what they are, where they are looked for, and whether they are there and fit."""
    from dgsct.encoders import sources
    from dgsct.encoders.states import print_states, state_of

    if keys:
        sources.get_weights(keys)
        from dgsct.encoders.public import expected_keys

        typer.echo("\n".join(expected_keys(keys)))
        return
    said = sources.read_site(site)
    if fetch:
        typer.echo(sources.fetch(fetch, said))
    states = [state_of(name, said, check) for name in sources.WEIGHTS]
    print_states(states)
    raise typer.Exit(1 if any(state.name == "wrong" for state in states) else 0)


@app.command()
def convert(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="release-to-ours, ours-to-release, or an encoder")],
    file: Annotated[Path, typer.Argument(help="checkpoint to read")],
    out: Annotated[Path, typer.Argument(help="file to write")],
    scale: Annotated[str | None, typer.Option(help="default: what the file says, else paper")] = None,
    task: Annotated[str | None, typer.Option(help="default: what the file says, else ave")] = None,
    method: Annotated[str | None, typer.Option(help="default: what the file says, else dg-sct")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="an option of the model")] = None,
    results: Annotated[Path | None, typer.Option(help="folder with a run's encoders (default: the file's own)")] = None,
) -> None:
    """Rewrite a checkpoint: the authors' layout to ours and back, or a public encoder file to ours."""
    from dgsct.encoders.sources import WEIGHTS

    kinds = ("release-to-ours", "ours-to-release", *WEIGHTS)
    if kind not in kinds:
        raise UsageError(f"unknown kind {kind!r}; choose one of: {', '.join(kinds)}")
    from dgsct import convert

    if kind in WEIGHTS:
        facts = convert.convert_encoder(kind, file, out, scale or "paper")
        deviation = facts.get("front_end_deviation", 0.0)
        if deviation > convert.FRONT_END_TOLERANCE:
            typer.echo(f"note: the front end of {file} differs from the computed one by {deviation:.1e}, relatively", err=True)
        typer.echo(f"{out}: {facts['entries']} entries read ({facts['naming']})")
        return
    run, root = convert.run_of(file, task=task, method=method, overrides=_options(set_), scale=scale, results=results)
    to_ours = kind == "release-to-ours"
    entries = convert.release_to_ours(file, out, run) if to_ours else convert.ours_to_release(file, out, run, root)
    typer.echo(f"{out}: {entries} entries written")


@app.command()
def evaluate(
    task: str,
    checkpoint: Annotated[Path, typer.Option(help="a release's .pt, one of ours, or a run's checkpoints/best.safetensors")],
    scale: Annotated[str | None, typer.Option(help="default: what the file says, else paper")] = None,
    protocol: Annotated[str | None, typer.Option(help="default: what the file says, else release")] = None,
    method: Annotated[str | None, typer.Option(help="default: what the file says, else dg-sct")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="an option, e.g. S=off")] = None,
    results: Annotated[
        Path | None, typer.Option(help="folder of data and encoders (default: the run's own, else results)")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="default: RESULTS/evaluations/NAME")] = None,
) -> None:
    """Run a checkpoint on the test split: metrics, results by class and a confusion matrix (AVE) or by clip (AVS)."""
    from dgsct.convert import run_of

    run, root = run_of(
        checkpoint, task=task, method=method, overrides=_options(set_), protocol=protocol, scale=scale, results=results
    )
    from dgsct import evaluation

    result = evaluation.evaluate(run, checkpoint, root)
    evaluation.print_evaluation(result)
    _echo(evaluation.write_evaluation(result, out or evaluation.default_folder(run, checkpoint, root)))


@app.command()
def masks(
    folder: Annotated[Path, typer.Argument(help="a segmentation run: RESULTS/runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED")],
) -> None:
    """Write the masks of a run's best weights for the test clips, which the qualitative figure shows."""
    from dgsct.options import AVS
    from dgsct.runs import Run

    run = Run.from_folder(folder)
    if run.task not in AVS:
        raise UsageError(f"task {run.task!r} has no masks; give a run of one of: {', '.join(AVS)}")
    from dgsct.evaluation_masks import save_masks

    typer.echo(save_masks(run, Path(*folder.parts[:-7])))


def _print_efficiency(result: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    parameters = result["parameters"]
    total = parameters["total"]
    rows = [("parameters", total), ("trainable", parameters["trainable"])]
    rows += [("trainable, without gradient", parameters["without_gradient"])]
    rows += [(f"  {name}", value) for name, value in parameters["components"].items()]
    table = Table("", "count", "% of all", title=f"{result['method']} at {result['scale']} scale")
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, value in rows:
        table.add_row(name, f"{value:,}", f"{100 * value / total:.2f}")
    for name, value in result["macs"].items():
        table.add_row(f"MACs, {name.replace('_', ' ')}", f"{value:,}", "")
    Console().print(table)


@app.command()
def tables(
    names: Annotated[list[str] | None, typer.Argument(help="experiments (default: all tables)")] = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = 3,
    out: Out = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """Write tables (LaTeX, Markdown, CSV, HTML, JSON) from the records that are there."""
    chosen = _experiments(names, experiments, figures=False)
    from dgsct.render import write_table
    from dgsct.tables import build_table

    folder, settings = out or Path("paper_tables", scale, protocol), _settings(scale, protocol, seeds)
    for experiment in chosen.values():
        _echo(write_table(build_table(experiment, settings, results), folder))


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="experiments (default: all figures)")] = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = 3,
    out: Out = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """Draw figures from the records that are there."""
    chosen = _experiments(names, experiments, figures=True)
    from dgsct.figures import write_figure

    folder, settings = out or Path("paper_tables", scale, protocol), _settings(scale, protocol, seeds)
    for experiment in chosen.values():
        _echo(write_figure(experiment, settings, results, folder))


def _echo(paths: list[Path]) -> None:
    for path in paths:
        typer.echo(path)


@app.command()
def report(
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = 3,
    out: Out = None,
) -> None:
    """Collect the tables and figures of a folder on one PDF page (needs pdflatex)."""
    from dgsct.report import write_report

    settings = _settings(scale, protocol, seeds)
    typer.echo(write_report(out or Path("paper_tables", scale, protocol), settings.scale, settings.protocol))


@app.command()
def status(
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = 3,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """What is done, stale, failed and missing, per table."""
    from dgsct.status import print_status, status_rows

    print_status(status_rows(_experiments(None, experiments), _settings(scale, protocol, seeds), results))


@app.command()
def plan(
    targets: Annotated[
        list[str] | None, typer.Argument(help="all_tables (default), all_figures, experiments, or run folders")
    ] = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = 3,
    tasks: Annotated[str, typer.Option(help="only these, with commas")] = "",
    methods: Annotated[str, typer.Option(help="only these, with commas")] = "",
    gpus: Annotated[int | None, typer.Option(min=1, help="runs at a time (default: 1 at full size, else all cores)")] = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
    probe: Annotated[bool | None, typer.Option(help="time 20 steps (default: at mini scale and on a GPU, if unknown)")] = None,
    write: Annotated[bool, typer.Option(help="note each run's time for Snakemake's `runtime`")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """What a target would cost: runs, GPU-hours, wall time, disk, and what is already there."""
    from dgsct.experiments import EXPERIMENTS, load_experiments, make_settings
    from dgsct.plan import choose_runs, judge, make_plan, note_runtimes
    from dgsct.plan_report import plan_json, print_plan
    from dgsct.scales import get_scale

    values = {"scale": scale, "protocol": protocol, "seeds": seeds, "tasks": tasks, "methods": methods}
    settings = make_settings(values)
    items = judge(choose_runs(targets or [], load_experiments(experiments or EXPERIMENTS), settings), results)
    if probe is not False:
        _probe(items, scale, results, asked=probe is True)
    made = make_plan(items, settings, results, gpus or (len(os.sched_getaffinity(0)) if get_scale(scale).short_runs else 1))
    if as_json:
        typer.echo(json.dumps(plan_json(made), indent=2))
    else:
        print_plan(made)
    if write and made.timed:
        path, count = note_runtimes(made, results)
        typer.echo(f"Snakemake's `runtime` of {count} run{'s' * (count != 1)} is noted in {path}", err=True)


def _probe(items: list, scale: str, results: Path, asked: bool) -> None:
    """Measure the steps that nothing is known of: at mini scale, with a GPU, or when asked to."""
    from dgsct.plan import to_probe
    from dgsct.scales import get_scale
    from dgsct.step_times import device_here, write_probe

    quick = get_scale(scale).short_runs or device_here().gpu
    runs = to_probe(items, results, scale, exact=asked) if asked or quick else []
    if runs and not quick:
        typer.echo("no GPU here: a full-size step takes minutes and tens of gigabytes on a processor", err=True)
    if runs:
        from dgsct.probe import probe
    for i, run in enumerate(runs, start=1):
        typer.echo(f"probe {i} of {len(runs)}: {run.task} {run.method} {run.setting}", err=True)
        write_probe(results, run, *probe(run))


@app.command()
def ledger() -> None:
    """The deviation ledger: paper against release, and what each protocol picks."""
    from dgsct.protocols import ledger_markdown

    typer.echo(ledger_markdown(), nl=False)


@app.command()
def retry(
    folders: Annotated[list[Path] | None, typer.Argument(help="run folders (default: all that have failed)")] = None,
    results: Results = Path("results"),
) -> None:
    """Forget that runs have failed, so that they are tried again; their checkpoints stay."""
    from dgsct.failures import clear

    cleared = clear(folders or [], results)
    _echo(cleared)
    if not cleared:
        typer.echo("no run has a noted failure", err=True)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0, help="at least one round is made")] = 5.0,
    seed: Annotated[int, typer.Option(help="of what is hit and when")] = 0,
) -> None:
    """Kill mini runs by chance for some minutes, and prove that their records are those of undisturbed ones."""
    from dgsct.soak import soak

    soak(minutes, seed, say=typer.echo)


def main() -> None:
    """Entry point: user errors become one sentence and an exit code."""
    sys.exit(exit_code(app))


if __name__ == "__main__":
    main()
