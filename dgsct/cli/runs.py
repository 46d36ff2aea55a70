"""Commands about single runs: train, many at once, evaluate, masks."""

from pathlib import Path
from typing import Annotated

import typer

from dgsct.cli.common import Protocol, Results, Scale, app, echo_paths, finite, options_of, some_folder, some_path
from dgsct.errors import DgsctError, UsageError, say

GROUP = "One run or many"


@app.command(rich_help_panel=GROUP)
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
    scratch: Annotated[
        Path | None, typer.Option(parser=some_folder, help="folder on this machine's own disk for a copy of the data")
    ] = None,
    keep: Annotated[str, typer.Option(help="what stays of the finished run: weights or record")] = "weights",
    again: Annotated[
        bool, typer.Option("--again", help="repeat a finished run beside its record and compare them; exit code 3: they differ")
    ] = False,
) -> None:
    """Train and evaluate one run in this terminal, and print its metrics. A run that has a valid record is left as it is;
    with --again it is repeated, and its record stays."""
    from dgsct.runs.run import Run

    chosen = Run.make(task, method, options_of(set_), protocol, scale, seed)
    from dgsct.engine.execution import KEEP, Execution

    if keep not in KEEP:
        raise UsageError(f"--keep {keep!r} must be one of: {', '.join(KEEP)}")
    execution = Execution(checkpoint_stages, compile_, str(scratch) if scratch else None, keep=keep)
    if again:
        from dgsct.engine.again import DIFFERS, print_repeat, repeat

        done = repeat(chosen, results, execution)
        print_repeat(done)
        raise typer.Exit(0 if done.equal else DIFFERS)
    from dgsct.engine.execute import execute

    typer.echo(execute(chosen, results, execution))


@app.command(rich_help_panel=GROUP)
def bundle(
    folders: Annotated[
        list[Path], typer.Argument(parser=some_path, help="run folders: RESULTS/runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED")
    ],
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time")] = 1,
    time_budget: Annotated[
        float | None, typer.Option(callback=finite, help="minutes until all must have saved and stopped")
    ] = None,
) -> None:
    """Train many runs in one process tree: torch is imported once, every run is a fork."""
    from dgsct.runs.run import Run

    for folder in folders:
        Run.from_folder(folder)
    from dgsct.engine import worker
    from dgsct.engine.execution import Execution
    from dgsct.engine.stopping import deadline

    codes = set(worker.bundle(folders, jobs, execution=Execution(deadline=deadline(time_budget), waits=True)).values())
    raise typer.Exit(0 if codes <= {0} else 75 if codes <= {0, 75} else 1)


@app.command(rich_help_panel=GROUP)
def evaluate(
    task: str,
    checkpoint: Annotated[
        Path, typer.Option(parser=some_path, help="a release's .pt, one of ours, or a run's checkpoints/best.safetensors")
    ],
    scale: Annotated[str | None, typer.Option(help="default: what the file says, else paper")] = None,
    protocol: Annotated[str | None, typer.Option(help="default: what the file says, else release")] = None,
    method: Annotated[str | None, typer.Option(help="default: what the file says, else dg-sct")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="an option, e.g. S=off")] = None,
    results: Annotated[
        Path | None, typer.Option(parser=some_folder, help="folder of data and encoders (default: the run's own, else results)")
    ] = None,
    out: Annotated[Path | None, typer.Option(parser=some_folder, help="default: RESULTS/evaluations/NAME")] = None,
) -> None:
    """Run a checkpoint on the test split: metrics, and what the task tells beside them (by class, by clip)."""
    from dgsct.checkpoints.convert import run_of

    run, root = run_of(
        checkpoint, task=task, method=method, overrides=options_of(set_), protocol=protocol, scale=scale, results=results
    )
    from dgsct.checkpoints import evaluation

    result = evaluation.evaluate(run, checkpoint, root)
    evaluation.print_evaluation(result)
    echo_paths(evaluation.write_evaluation(result, out or evaluation.default_folder(run, checkpoint, root)))


@app.command(rich_help_panel=GROUP)
def masks(
    folder: Annotated[
        Path, typer.Argument(parser=some_path, help="a segmentation run: RESULTS/runs/SCALE/PROTOCOL/TASK/METHOD/SETTING/sSEED")
    ],
) -> None:
    """Write the masks of a run's best weights for the test clips, which the qualitative figure shows."""
    from dgsct.runs.run import Run
    from dgsct.tasks import TASKS

    run = Run.from_folder(folder)
    masked = [name for name, task in TASKS.items() if "masks" in task.predictions]
    if run.task not in masked:
        raise UsageError(f"task {run.task!r} has no masks; give a run of one of: {', '.join(masked)}")
    from dgsct.checkpoints.save_masks import save_masks

    typer.echo(save_masks(run, Path(*folder.parts[:-7])))


@app.command(rich_help_panel=GROUP)
def remeasure(
    folders: Annotated[
        list[Path] | None, typer.Argument(parser=some_path, help="run folders (default: all that have a record)")
    ] = None,
    results: Results = Path("results"),
    stale: Annotated[bool, typer.Option("--stale", help="also records of other code or data, which stay stale")] = False,
) -> None:
    """Compute all metrics again from what lies beside each record, without training, and write what differs or is new."""
    from dgsct.records.remeasure import recorded, remeasure

    chosen, code = folders or recorded(results), 0
    for folder in chosen:
        try:
            typer.echo(f"{folder}: {remeasure(folder, stale)}")
        except DgsctError as error:
            say(error)
            code = max(code, error.exit_code)
    if not chosen:
        typer.echo(f"no run below {results} has a record", err=True)
    raise typer.Exit(code)
