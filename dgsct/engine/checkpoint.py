"""What a run leaves on the way: checkpoints that appear whole or not at all, its best weights, and how it ended.

All of it lies in the run's folder and is no declared output of the DAG, which deletes those before a job starts:

    checkpoints/step-XXXXXXXX/   weights, optimiser, schedule, random generators, progress; the two newest
    checkpoints/best.safetensors the trained weights of the best epoch (frozen encoders are not repeated)
    checkpoints/units.npz        what its test metrics are computed from, until the record takes a copy
    checkpoints/finished.json    the outcome of a training that is over; the checkpoints are gone by then, and behind the
                                 record, where nothing but that is to stay (`Execution.keep`), the best weights too
    failed.json                  how the last attempts failed (`dgsct.records.failures`)
    lock.json                    who is training, with a heartbeat (`dgsct.engine.run_lock`)

Everything that is read again carries a checksum: a flipped bit in a tensor would be loaded without a word.
"""

import contextlib
import hashlib
import json
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dgsct.atomic import write_bytes_atomic, write_json_atomic
from dgsct.checksum import sha256_file, sha256_json
from dgsct.data.units import NAME as UNITS
from dgsct.data.units import Units, write_units
from dgsct.errors import DgsctError, MachineError

KEEP = 2


class Damaged(ValueError):
    """A file is not what was written; the message says which, and how it differs."""


def save_checkpoint(folder: Path, step: int, accelerator: Any, state: dict[str, Any]) -> Path:
    """Write `step-XXXXXXXX` below `folder` atomically: weights, optimiser, schedule and all RNGs by accelerate, plus
    `state` as JSON (floats survive exactly) and the checksums of all. The two newest are kept. Every process of a run
    calls it.
    """
    final, partial = folder / f"step-{step:08d}", folder / f".partial-{step:08d}"
    main = accelerator.is_main_process
    try:
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".partial-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        accelerator.wait_for_everyone()
        if main:
            files = {path.name: sha256_file(path) for path in sorted(partial.iterdir())}
            (partial / "state.json").write_text(json.dumps(_sealed({"files": files, "state": state})))
            _sync(partial)
            if final.exists():
                shutil.rmtree(final)
            os.replace(partial, final)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not _of_the_disk(error):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise MachineError(f"cannot write checkpoint {final}: {reason}; free space and start again") from error
    if main:
        for old in sorted(folder.glob("step-*"))[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)
    return final


def newest_checkpoint(folder: Path, key: str) -> tuple[tuple[Path, dict[str, Any]] | None, list[str]]:
    """The newest intact checkpoint of `key` with its state, and what there was to say of damaged ones.

    What can never be used is deleted on the way (damaged checkpoints, those of another description or code, what killed
    writers left), so that it takes no intact one's place among the two that are kept. The caller holds the run's lock.
    MachineError if the disk does not give the files.
    """
    notices: list[str] = []
    newest = None
    for leftover in folder.glob(".*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            state = _verified(path, key) if newest is None else {}
        except Damaged as damage:
            notices.append(f"checkpoint {path.name} is damaged ({damage}) and was deleted")
            state = None
        except OSError as error:
            raise MachineError(f"{path} cannot be read ({error.strerror}); start again when the disk answers") from error
        if state is None:
            shutil.rmtree(path, ignore_errors=True)
        elif newest is None:
            newest = (path, state)
    return newest, notices


def newest_state(folder: Path, key: str) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of `key` with a readable state; nothing is changed, and tensors are not looked at."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        with contextlib.suppress(Damaged, OSError):
            state = _unsealed(path / "state.json")["state"]
            if state.get("key") == key:
                return path, state
    return None


def _verified(path: Path, key: str) -> dict[str, Any] | None:
    """The state of an intact checkpoint, None for one of another key; Damaged says what is wrong."""
    content = _unsealed(path / "state.json")
    if content["state"].get("key") != key:
        return None
    for name, checksum in content["files"].items():
        with _damage(name):
            if sha256_file(path / name) != checksum:
                raise Damaged(f"{name} is not what was written")
    return content["state"]


def save_best(folder: Path, weights: dict[str, Any], key: str, epoch: int, units: Units) -> str:
    """Write the best epoch's weights to `best.safetensors`, with the run's key, the epoch and two checksums in its header: of
    the tensors alone, by which other runs know that they start from the same weights, and of the whole file. Beside it lie
    the units of the epoch's test metrics, whose checksum is returned.
    """
    from safetensors.torch import save

    tensors, metadata = {k: t.contiguous() for k, t in weights.items()}, {"key": key, "epoch": str(epoch)}
    metadata["tensors_sha256"] = _digest(save(tensors))
    content = save(tensors, {**metadata, "sha256": _digest(save(tensors, metadata))})
    checksum = write_units(folder / UNITS, units)
    write_bytes_atomic(folder / "best.safetensors", content)
    return checksum


def best_weights(path: Path) -> dict[str, Any]:
    """A run's best weights by name; DgsctError if they are not there, or not what was written."""
    from safetensors.torch import load

    try:
        check_best(path)
    except FileNotFoundError:
        raise DgsctError(f"{path} does not exist; delete the record beside its folder, and train that run again") from None
    return load(path.read_bytes())


def check_best(path: Path) -> str:
    """The checksum of a run's best weights; DgsctError if they are not what was written."""
    checksum = None
    try:
        content = path.read_bytes()
        checksum = json.loads(content[8 : 8 + _header(content)])["__metadata__"]["sha256"]
        good = checksum == _digest(content)
    except (ValueError, KeyError, TypeError, struct.error):
        good = False
    if not good:
        raise DgsctError(f"{path} is damaged; delete that folder and the record beside it, and train the run again")
    return str(checksum)


def _header(content: bytes) -> int:
    """Length of a safetensors file's header."""
    return struct.unpack("<Q", content[:8])[0]


def _digest(content: bytes) -> str:
    """sha256 of a safetensors file's tensors with their names and shapes, and of what its header says, less the checksum."""
    end = 8 + _header(content)
    header = json.loads(content[8:end])
    header["__metadata__"] = {k: v for k, v in header.get("__metadata__", {}).items() if k != "sha256"}
    digest = hashlib.sha256(sha256_json(header).encode())
    digest.update(memoryview(content)[end:])
    return digest.hexdigest()


def finish(folder: Path, key: str, result: dict[str, Any]) -> None:
    """Note the outcome of a training and drop the checkpoints that led to it."""
    write_json_atomic(folder / "finished.json", _sealed({"key": key, "result": result}))
    for old in folder.glob("step-*"):
        shutil.rmtree(old, ignore_errors=True)


def drop_weights(folder: Path) -> None:
    """Drop what a run with a record has left, but for its outcome and units: from these a record that is lost is made again."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in ("finished.json", UNITS):
            with contextlib.suppress(OSError):  # a disk that does not answer is no failure of a run that is done
                path.unlink()


def finished(folder: Path, key: str) -> dict[str, Any] | None:
    """The outcome noted by `finish` if it belongs to `key`; of a damaged note a line on stderr."""
    path = folder / "finished.json"
    if not path.exists():
        return None
    try:
        noted = _unsealed(path)
        return noted["result"] if noted["key"] == key else None
    except (Damaged, KeyError) as damage:
        print(f"{path} is damaged ({damage}): the run is trained again", file=sys.stderr, flush=True)
        return None


def _sealed(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "sha256": sha256_json(value)}


def _unsealed(path: Path) -> dict[str, Any]:
    """What `_sealed` was given; Damaged if the file is not what was written."""
    with _damage(path.name):
        value = json.loads(path.read_text())
        checksum = value.pop("sha256")
        if sha256_json(value) != checksum:
            raise Damaged(f"{path.name} is not what was written")
        return value


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    """Turns what a missing or damaged file leads to into Damaged; errors of the disk stay what they are."""
    try:
        yield
    except Damaged:
        raise
    except FileNotFoundError:
        raise Damaged(f"{name} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged(f"{name} cannot be read") from None


def _of_the_disk(error: Exception) -> bool:
    """Whether writing failed; safetensors and torch say so in exceptions of their own."""
    of_torch = any(word in str(error) for word in ("PytorchStreamWriter", "inline_container", "iostream error"))
    return isinstance(error, OSError) or type(error).__name__ == "SafetensorError" or of_torch


def _sync(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
