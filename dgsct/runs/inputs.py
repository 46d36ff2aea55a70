"""What a run starts from: one list of (name, path, checksum), which the record's key folds and the DAG waits for.

    data/ave                 the arrays of a prepared set that the run reads, and its rows and splits
    features/avs-s4/vggish   pre-extracted features
    encoders/swin            the weights of an encoder
    runs/s4                  the best weights of a parent run

A checksum says what a run depends on, no more: an array that it does not read has no part in it, nor when a file was made. A
parent that is trained again to equal weights leaves its children valid. Weights count only behind the record that they belong
to: those of a training that is not over, or has failed, are no input.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dgsct.data.extractors import get_extractor
from dgsct.data.features import PREFIX, facts_checksum, features_folder, read_facts
from dgsct.data.packed import arrays_checksum
from dgsct.errors import DgsctError
from dgsct.runs.run import Run
from dgsct.tasks import get_task

BEST = Path("checkpoints", "best.safetensors")
MISSING = "none"  # in place of the checksum of an input that is not there


@dataclass(frozen=True)
class Input:
    """One thing that a run starts from.

    `path` is the file below the results folder that the DAG waits for; `checksum` is None where it is not there, and
    `problem` then says what makes it. `given_up`: it is a run that has failed twice, so that nothing makes it by itself.
    """

    name: str
    path: Path
    checksum: str | None = None
    problem: str = ""
    given_up: bool = False


def packed_folder(scale: str, dataset: str) -> Path:
    """Where a prepared set lies below the results folder."""
    return Path("data", scale, dataset, "packed")


def encoder_path(scale: str, encoder: str) -> Path:
    """Where the weights of an encoder lie below the results folder."""
    return Path("encoders", scale, f"{encoder}.safetensors")


def arrays_of(run: Run) -> tuple[str, ...]:
    """The packed arrays that a run reads: its model's inputs, and what its task measures by."""
    return tuple(dict.fromkeys([*(n for n in run.reads if not n.startswith(PREFIX)), *get_task(run.task).arrays]))


def features_of(run: Run) -> tuple[str, ...]:
    """The extractors whose features a run reads."""
    return tuple(name.removeprefix(PREFIX) for name in run.reads if name.startswith(PREFIX))


def input_paths(run: Run) -> tuple[Path, ...]:
    """The files below the results folder that the DAG waits for before it starts `run`."""
    features = (features_folder(run.scale, run.dataset, name) / "features.json" for name in features_of(run))
    encoders = (encoder_path(run.scale, name) for name in run.part.encoders)
    parents = (parent.folder / "record.json" for parent in run.parents.values())
    return (packed_folder(run.scale, run.dataset) / "manifest.json", *features, *encoders, *parents)


def encoders_needed(run: Run) -> tuple[str, ...]:
    """The encoders whose weights must be there: its model's, and those that its features are extracted with."""
    extractors = (get_extractor(name).encoder for name in features_of(run))
    return tuple(dict.fromkeys([*run.part.encoders, *extractors]))


def inputs_of(run: Run, root: Path) -> tuple[Input, ...]:
    """Everything that `run` starts from, with checksums of what lies below the results folder `root`."""
    root = Path(root)
    manifest = packed_folder(run.scale, run.dataset) / "manifest.json"
    remedy = f"make it with `snakemake {root / manifest}`, or from your own copy with `dgsct prepare {run.dataset} ROOT"
    inputs = [
        _input(
            f"data/{run.dataset}",
            manifest,
            lambda: arrays_checksum(_json(root / manifest), arrays_of(run)),
            f"{root / manifest} is missing or unreadable; {remedy} {(root / manifest).parent}`",
        )
    ]
    for extractor in features_of(run):
        folder = features_folder(run.scale, run.dataset, extractor)
        problem = f"{root / folder} is missing or unreadable; make it with `snakemake {root / folder / 'features.json'}`"
        inputs.append(
            _input(
                f"features/{run.dataset}/{extractor}",
                folder / "features.json",
                lambda folder=folder: facts_checksum(read_facts(root / folder)),
                problem,
            )
        )
    for encoder in run.part.encoders:
        path = encoder_path(run.scale, encoder)
        commands = f"run `snakemake {root / path}`, or `dgsct convert {encoder} FILE {root / path} --scale {run.scale}`"
        inputs.append(
            _input(
                f"encoders/{encoder}",
                path,
                lambda path=path: _json((root / path).with_suffix(".json"))["sha256"],
                f"encoder weights {root / path} are missing; {commands}",
            )
        )
    return (*inputs, *(_weights_of(name, parent, root) for name, parent in run.parents.items()))


def checksums(run: Run, root: Path) -> dict[str, str]:
    """Checksums of all inputs by name; DgsctError says which one is missing, and what makes it."""
    inputs = inputs_of(run, root)
    for one in inputs:
        if one.checksum is None:
            raise DgsctError(one.problem)
    return {one.name: str(one.checksum) for one in inputs}


def _input(name: str, path: Path, checksum: Any, problem: str) -> Input:
    try:
        return Input(name, path, str(checksum()))
    except DgsctError as error:
        return Input(name, path, problem=str(error))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Input(name, path, problem=problem)


def _json(path: Path) -> Any:
    """A JSON file's content, read once as long as the file stays what it is: a table asks for the same one once a run."""
    stat = path.stat()
    return _read(path, (stat.st_mtime_ns, stat.st_size))


@cache
def _read(path: Path, _stamp: tuple[int, int]) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _weights_of(name: str, parent: Run, root: Path) -> Input:
    """The best weights of a parent as an input."""
    name, path, folder = f"runs/{name}", parent.folder / "record.json", root / parent.folder
    make = f"with `snakemake {root / path}`"
    try:
        record = _json(root / path)
    except (OSError, ValueError, RecursionError):
        return Input(name, path, problem=f"the best weights of {folder} are missing; make them {make}")
    if isinstance(record, dict) and "failed" in record:
        problem = f"{folder}, from whose best weights it starts, is given up; mend what it says, then `dgsct retry {folder}`"
        return Input(name, path, problem=problem, given_up=True)
    problem = f"the best weights of {folder} are gone, or not those of its record; delete that folder and make it again {make}"
    return _input(name, path, lambda: _tensors_checksum(folder / BEST, record["key"]), problem)


def _tensors_checksum(path: Path, key: str) -> str:
    """From the header of a run's best weights (`dgsct.engine.checkpoint.save_best`) that of the tensors alone; ValueError where
    they belong to another key.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < 1 << 27:
            raise ValueError("no header")
        metadata = json.loads(file.read(length))["__metadata__"]
    if metadata["key"] != key:
        raise ValueError("another training's")
    return metadata["tensors_sha256"]


def with_parents(runs: Iterable[Run]) -> list[Run]:
    """Runs and all that they start from, at any depth: each once, a parent before its children."""
    ordered: dict[Run, None] = {}
    for run in runs:
        ordered.update(dict.fromkeys([*with_parents(run.parents.values()), run]))
    return list(ordered)
