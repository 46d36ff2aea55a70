"""What runs are made from: settings, prepared data, weights, disk, and whether the DAG can be planned at all."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dgsct.campaign.disk import existing_folder
from dgsct.campaign.doctor import Campaign, Finding
from dgsct.campaign.dry_run import SNAKEFILE, dry_run, obstacle, refusal
from dgsct.campaign.plan import judge, make_plan
from dgsct.campaign.plan_report import size
from dgsct.data.packed import Packed
from dgsct.data.splits import check_splits, overlaps, remarks
from dgsct.encoders.states import state_of
from dgsct.settings.scales import get_scale
from dgsct.tasks import get_set, get_task

READ_AT_MOST = 2e9  # bytes of a set or an encoder that are read unasked


def settings(campaign: Campaign) -> Iterator[Finding]:
    """Which site file and profile there are; their values are checked when they are read."""
    yield Finding("ok", f"site file {campaign.site_file}")
    if campaign.profile_file:
        yield Finding("ok", f"profile {campaign.profile_file} (executor {campaign.profile.get('executor', 'local')})")


def dag(campaign: Campaign) -> Iterator[Finding]:
    """Whether Snakemake can plan the targets, by a dry run of the real Snakefile."""
    if problem := obstacle(campaign.root):
        yield Finding("warning" if SNAKEFILE.is_file() else "error", *problem)
        return
    answer = dry_run(campaign.targets, campaign.settings, campaign.site_file, campaign.profile_file)
    if reason := refusal(answer):
        yield Finding("error", f"Snakemake cannot plan {' '.join(campaign.targets)}: {reason}")
        return
    counts = dict(re.findall(r"^(\w+) +(\d+)$", answer.out + answer.err, re.M))
    jobs, trainings = counts.get("total", "0"), counts.get("train", "0")
    yield Finding("ok", f"Snakemake plans {jobs} jobs, {trainings} of them runs, in {answer.seconds:.1f} s")


def data(campaign: Campaign, read_all: bool) -> Iterator[Finding]:
    """Prepared sets, their arrays against the manifest, else what they would be made from.

    Checksums are compared where a set is small, or with `read_all`.
    """
    scale = campaign.settings.scale
    for name in campaign.datasets:
        folder = campaign.root / "data" / scale / name / "packed"
        if (folder / "manifest.json").exists():
            yield from _prepared(name, folder, read_all, campaign)
        elif get_scale(scale).generated_data:
            yield Finding("ok", f"{name}: not there yet; the DAG generates and prepares it")
        else:
            yield from _raw(name, campaign)


def _prepared(name: str, folder: Path, read_all: bool, campaign: Campaign) -> Iterator[Finding]:
    packed = Packed.open(folder)
    again = f"delete {folder} and prepare the data again"
    for task in dict.fromkeys(run.task for run in campaign.runs if run.dataset == name):
        get_set(name).check(packed.manifest, packed.arrays, get_task(task).at(get_scale(campaign.settings.scale)))
    for remark in overlaps([row["id"] for row in packed.manifest["rows"]], packed.manifest["splits"]):
        yield Finding("ok", f"{name}: {remark}")
    count = sum(array.nbytes for array in packed.arrays.values())
    clips = f"{packed.clips} clips, {size(count)}, categories and splits right"
    if count > READ_AT_MOST and not read_all:
        yield Finding("ok", f"{name}: {clips}, of the manifest's form; checksums not compared (--checksums does)")
        return
    for part, array in packed.arrays.items():
        digest = hashlib.sha256()
        for i in range(len(array)):
            digest.update(array[i : i + 1].tobytes())
        if digest.hexdigest() != packed.manifest["arrays"][part]["sha256"]:
            yield Finding("error", f"{name}: {folder / part}.npy is not what its manifest describes", again)
            return
    yield Finding("ok", f"{name}: {clips}, checksums right")


def _raw(name: str, campaign: Campaign) -> Iterator[Finding]:
    """What a set would be prepared from: its annotations and splits are read, its clips are not."""
    root, data_set = campaign.site.data.get(name), get_set(name)
    if not root:
        yield Finding("error", f"{name}: no data", f"name its folder as data.{name} in {campaign.own_site} (docs/data.md)")
        return
    file = data_set.index_file(Path(root))
    if not file.is_file():
        yield Finding("error", f"{name}: {file} does not exist", f"correct data.{name} in {campaign.own_site}")
        return
    index = data_set.read_index(Path(root))
    check_splits([row.video_id for row in index.rows], index.splits, root, "put the data set's own split files there")
    wanted = data_set.names(get_scale(campaign.settings.scale))
    if wanted and index.categories != wanted:
        remedy = f"correct {file} and the list of categories beside it"
        yield Finding("error", f"{name}: {root} has other categories than the set, in name or order", remedy)
        return
    for remark in remarks(index):
        yield Finding("ok", f"{name}: {remark}")
    yield Finding("ok", f"{name}: not prepared yet; the DAG does it from {root}")


def weights(campaign: Campaign, read_all: bool) -> Iterator[Finding]:
    """Converted encoders and their checksums, else the public files that they are converted from."""
    scale = campaign.settings.scale
    for name in campaign.encoders:
        path = campaign.root / "encoders" / scale / f"{name}.safetensors"
        if path.exists():
            yield _encoder(name, path, read_all)
        elif get_scale(scale).generated_data:
            yield Finding("ok", f"{name}: not there yet; the DAG trains it")
        else:
            state = state_of(name, campaign.site.weights)
            if state.name == "found":
                yield Finding("ok", f"{name}: {state.path} fits; the DAG converts it")
            elif state.name == "missing":
                yield Finding("error", f"{name}: the public file is not there", state.text)
            else:
                yield Finding("error", f"{name}: {state.path}: {state.text}", "get the file again (dgsct weights)")


def _encoder(name: str, path: Path, read_all: bool) -> Finding:
    again = f"delete {path} and {path.with_suffix('.json').name}; the DAG makes both again"
    try:
        checksum = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return Finding("error", f"{name}: {path.with_suffix('.json')} is missing or damaged", again)
    count = path.stat().st_size
    if count > READ_AT_MOST and not read_all:
        return Finding("ok", f"{name}: {size(count)}; checksum not compared (--checksums does)")
    with open(path, "rb") as file:
        good = hashlib.file_digest(file, "sha256").hexdigest() == checksum
    return Finding("ok", f"{name}: checksum right") if good else Finding("error", f"{name}: {path} is damaged", again)


def disk(campaign: Campaign) -> Iterator[Finding]:
    """Whether results can be written, and what the plan needs against what is free."""
    place = existing_folder(campaign.root)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield Finding("error", f"{place} takes no files: {error.strerror}", "free space, or correct the folder's permissions")
        return
    short, cores = get_scale(campaign.settings.scale).short_runs, len(os.sched_getaffinity(0))
    items = judge(campaign.runs, campaign.root)
    trainings = max(sum(item.work is not None for item in items), 1)
    jobs = campaign.profile.get("jobs")
    count = (jobs if isinstance(jobs, int) else trainings) if campaign.on_slurm else cores if short else 1
    count = max(min(count, trainings), 1)
    plan = make_plan(items, campaign.settings, campaign.root, count, campaign.site, campaign.needed)
    needed, free = plan.disk.total, plan.disk.free
    text = f"{size(needed)} more at most ({len(plan.to_train)} runs to train, {count} at a time), {size(free)} free in {place}"
    if needed > free:
        yield Finding("error", f"the disk is too small: {text}", "free space, or run fewer at a time (--jobs)")
    elif needed > 0.8 * free:
        yield Finding("warning", f"the disk will be nearly full: {text}", "free space, or run fewer at a time (--jobs)")
    else:
        yield Finding("ok", text)
    if plan.disk.unknown:
        yield Finding("warning", f"without the checkpoints of {', '.join(plan.disk.unknown)}", "add some reserve")
