"""Commands about a whole campaign: what it costs, whether it could run, and where it stands."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dgsct.cli.common import (
    Experiments,
    Methods,
    Protocol,
    Results,
    Scale,
    Seeds,
    SiteFile,
    Targets,
    Tasks,
    app,
    echo_paths,
    experiments_of,
    finite,
    settings_of,
    some_path,
)
from dgsct.errors import UsageError

if TYPE_CHECKING:
    from dgsct.campaign.bounds import Counts, Rates
    from dgsct.campaign.plan import Item

GROUP = "A campaign"


@app.command(rich_help_panel=GROUP)
def plan(
    targets: Targets = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    tasks: Tasks = "",
    methods: Methods = "",
    gpus: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="runs at a time (default: 1 at full size, else all cores)")
    ] = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
    site: SiteFile = None,
    profile: Annotated[
        str | None, typer.Option(help="list the jobs that this Snakemake profile would submit, too; such as slurm")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="GPU of lower bounds, where nothing is measured: A100, H100 (default) or H200")
    ] = None,
    gpu_tflops: Annotated[
        float | None, typer.Option(callback=finite, help="peak of another GPU for lower bounds, in TFLOP/s")
    ] = None,
    probe: Annotated[bool | None, typer.Option(help="time 20 steps (default: at mini scale and on a GPU, if unknown)")] = None,
    write: Annotated[bool, typer.Option(help="note each run's time for Snakemake's `runtime`")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """What a target would cost: runs, GPU-hours, wall time, disk, and what is already there."""
    from dgsct.campaign.bounds import rates
    from dgsct.campaign.plan import choose_runs, judge, make_plan, note_runtimes, plan_device
    from dgsct.campaign.plan_report import plan_json, print_plan
    from dgsct.campaign.submission import preview, submission_json
    from dgsct.runs.retention import runs_with_needed_weights
    from dgsct.runs.site import SITE, read_site
    from dgsct.settings.scales import get_scale

    settings, known = settings_of(scale, protocol, seeds, tasks, methods), experiments_of(None, experiments)
    site_read = read_site(site)
    short = get_scale(scale).short_runs
    speed = rates(gpu, gpu_tflops, plan_device(results, scale).name)
    if short and (gpu is not None or gpu_tflops is not None):
        raise UsageError(f"--gpu and --gpu-tflops are for full size; runs of scale {scale!r} are trained on a processor")
    items = judge(choose_runs(targets or [], known, settings), results)
    if probe is not False:
        _probe(items, scale, results, asked=probe is True)
    count = gpus or (len(os.sched_getaffinity(0)) if short else 1)
    counts = None if short else _counts(items, scale, results, speed, site_read.run.checkpoint_stages)
    needed = runs_with_needed_weights(known.values(), settings)
    made = make_plan(items, settings, results, count, site_read, needed, counts)
    if write and made.timed:
        path, count = note_runtimes(made, results)
        typer.echo(f"Snakemake's `runtime` of {count} run{'s' * (count != 1)} is noted in {path}", err=True)
    jobs = preview(targets or ["all_tables"], settings, known, results, site or SITE, profile, experiments) if profile else None
    if as_json:
        typer.echo(json.dumps({**plan_json(made), **({"submission": submission_json(jobs)} if jobs else {})}, indent=2))
    else:
        print_plan(made, jobs)


def _probe(items: list, scale: str, results: Path, asked: bool) -> None:
    """Measure the steps that nothing is known of: at mini scale, with a GPU, or when asked to."""
    from dgsct.campaign.plan import to_probe
    from dgsct.campaign.step_times import device_here, write_probe
    from dgsct.settings.scales import get_scale

    quick = get_scale(scale).short_runs or device_here().gpu
    runs = to_probe(items, results, scale, exact=asked) if asked or quick else []
    if runs and not quick:
        typer.echo("no GPU here: a full-size step takes minutes and tens of gigabytes on a processor", err=True)
    if runs:
        from dgsct.campaign.probe import probe
    for i, run in enumerate(runs, start=1):
        typer.echo(f"probe {i} of {len(runs)}: {run.task} {run.method} {run.setting}", err=True)
        write_probe(results, run, *probe(run))


def _counts(items: list["Item"], scale: str, results: Path, rates: "Rates", checkpoint_stages: bool) -> "Counts":
    """Counts of the steps that nobody has measured: kept ones, and those that are made now, on the meta device."""
    from dgsct.campaign.bounds import Counts, StepMacs, kept_count, kind_of_step, read_counts, write_counts
    from dgsct.campaign.plan import to_count

    kept, runs = read_counts(results, scale), to_count(items, results, scale)
    by_run = {run: macs for run in runs if (macs := kept_count(kept, run, checkpoint_stages))}
    missing = [run for run in runs if run not in by_run]
    if missing:
        from dgsct.campaign.macs import count_all

        typer.echo(
            f"counting the steps of {len(missing)} setting{'s' * (len(missing) != 1)}, some seconds each, once", err=True
        )
        new = dict(zip(missing, count_all(missing, checkpoint_stages, len(os.sched_getaffinity(0))), strict=True))
        write_counts(results, scale, {run: macs for run, macs in new.items() if isinstance(macs, StepMacs)}, checkpoint_stages)
        by_run |= new
    return Counts(rates, {kind_of_step(run): macs for run, macs in by_run.items()})


@app.command(rich_help_panel=GROUP)
def status(
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    results: Results = Path("results"),
    experiments: Experiments = None,
    watch: Annotated[bool, typer.Option("--watch", help="look again and again until everything is done; Ctrl-C ends")] = False,
    interval: Annotated[float, typer.Option(min=1, callback=finite, help="seconds between two looks of --watch")] = 10,
) -> None:
    """What is done, running, queued, failed, stale and missing, per table; how fast it goes, and how long it takes."""
    from dgsct.campaign.queued import Queue
    from dgsct.campaign.status import Board, print_status, watch_status

    board = Board(experiments_of(None, experiments), settings_of(scale, protocol, seeds), results, Queue(results))
    if not watch:
        print_status(board.look())
        return
    try:
        watch_status(board, interval)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command(rich_help_panel=GROUP)
def doctor(
    targets: Targets = None,
    scale: Scale = "mini",
    protocol: Protocol = "release",
    seeds: Seeds = None,
    tasks: Tasks = "",
    methods: Methods = "",
    profile: Annotated[str | None, typer.Option(help="Snakemake profile, such as slurm (default: this machine)")] = None,
    site: SiteFile = None,
    checksums: Annotated[bool, typer.Option("--checksums", help="read large files too; takes minutes")] = False,
    results: Results = Path("results"),
    experiments: Experiments = None,
) -> None:
    """What could stop a long campaign, looked for before it begins. Exit code 1 if there is an error."""
    from functools import partial

    from dgsct.campaign.doctor import Campaign, Check, cluster, examine, machine, world
    from dgsct.campaign.doctor.report import print_findings
    from dgsct.campaign.doctor.surroundings import DRAW_SECONDS, surroundings
    from dgsct.campaign.dry_run import PLAN_SECONDS
    from dgsct.campaign.plan import choose_runs
    from dgsct.campaign.profiles import find_profile, read_profile
    from dgsct.runs.retention import runs_with_needed_weights
    from dgsct.runs.site import SITE, read_site

    settings, known = settings_of(scale, protocol, seeds, tasks, methods), experiments_of(None, experiments)
    runs = choose_runs(targets or [], known, settings)
    profile_file = find_profile(profile) if profile else None
    campaign = Campaign(
        tuple(targets or ["all_tables"]),
        settings,
        tuple(runs),
        results,
        site or SITE,
        read_site(site),
        profile_file,
        read_profile(profile_file) if profile_file else {},
        runs_with_needed_weights(known.values(), settings),
    )
    patience = 7200 if checksums else 120
    checks = [
        Check("software", machine.software, 30),
        Check("around", surroundings, DRAW_SECONDS + 20),
        Check("gpu", partial(machine.gpu, campaign), 30),
        Check("settings", partial(world.settings, campaign), 30),
        *([Check("slurm", partial(cluster.cluster, campaign), 180)] if campaign.on_slurm else []),
        Check("dag", partial(world.dag, campaign), PLAN_SECONDS + 5),
        Check("data", partial(world.data, campaign, checksums), patience),
        Check("weights", partial(world.weights, campaign, checksums), patience),
        Check("disk", partial(world.disk, campaign), 60),
    ]
    raise typer.Exit(1 if print_findings(examine(checks)) else 0)


@app.command(rich_help_panel=GROUP)
def retry(
    folders: Annotated[
        list[Path] | None, typer.Argument(parser=some_path, help="run folders (default: all that have failed)")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Forget that runs have failed, so that they are tried again; their checkpoints stay."""
    from dgsct.records.failures import clear

    cleared = clear(folders or [], results)
    echo_paths(cleared)
    if not cleared:
        typer.echo("no run has a noted failure", err=True)


@app.command(rich_help_panel=GROUP)
def soak(
    minutes: Annotated[float, typer.Option(min=0, callback=finite, help="at least one round is made")] = 5.0,
    seed: Annotated[int, typer.Option(help="of what is hit and when")] = 0,
) -> None:
    """Kill mini runs by chance for some minutes, and prove that their records are those of undisturbed ones."""
    from dgsct.engine.soak import soak

    soak(minutes, seed, say=typer.echo)
