"""From a data set's own files to packed arrays: every clip is decoded, resampled and transformed once.

An interrupted preparation is taken up where it stood: the arrays grow in a hidden folder beside `out`, which takes its
place at the end. Clips that cannot be used are counted, listed and left out.
"""

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from dgsct.atomic import write_text_atomic
from dgsct.checksum import sha256_json
from dgsct.closure import code_hash
from dgsct.data.base import Clip, DataSet, Source
from dgsct.data.container import absence
from dgsct.data.folders import check_replaceable, growing_folder, one_writer
from dgsct.data.index import Index
from dgsct.data.manifest import check_usable, describe
from dgsct.data.media import over_clips, processes
from dgsct.data.packed import Packed
from dgsct.data.splits import check_splits, remarks
from dgsct.data.writer import JOURNAL, PackedWriter, manifest_text
from dgsct.errors import DgsctError, Stopped
from dgsct.settings.scales import Scale

SOURCE = "source.json"
SHOWN = 3
OVERHEAD = 600  # bytes a clip in the manifest, its copy and the journal; generous


def prepare_set(
    data_set: DataSet,
    root: Path,
    out: Path,
    scale: Scale,
    jobs: int | None = None,
    progress: bool = True,
    layout: str | None = None,
) -> dict[str, Any]:
    """Prepare the data set in `root` for `scale` into the folder `out`; returns the manifest.

    Decodes with `jobs` processes (default: all cores); `layout` is one of the set's (default: what is there). A folder
    prepared from the same sources is left as it is. Stopped on SIGTERM or Ctrl-C; the same call goes on. DgsctError if a
    file of the set is missing or malformed, if a split has no usable clip, if the disk is too small, or if another process
    writes `out`.
    """
    root, out, jobs = Path(root), Path(out), processes(jobs)
    index = data_set.read_index(root)
    layout, sources = data_set.find_sources(root, index, layout)
    source = _fingerprint(data_set, index, scale, layout, sources)
    check_replaceable(out, SOURCE)
    if manifest := _prepared(out, source):
        return manifest
    _check(data_set, index, root, layout, sources)
    with one_writer(out):
        if manifest := _prepared(out, source, mend=True):
            return manifest
        settings = sha256_json([data_set.made_for(scale), layout, code_hash(data_set.decoder, "dgsct.data.writer")])
        with growing_folder(out, SOURCE) as folder:
            _check_room(out, folder, data_set.bytes_of_clip(scale), layout, sources)
            _remark(data_set, index, scale)
            writer = PackedWriter(folder, data_set.forms(scale), settings, [(s.video_id, s.stamp) for s in sources])
            try:
                _decode_all(writer, sources, partial(_decode, data_set.decoder, scale), jobs, progress)
                manifest = describe(data_set, index, scale, layout, writer.entries, root)
                manifest = writer.finish(index.row_arrays(), manifest)
            finally:
                writer.close()
            _write_source(folder / SOURCE, source, manifest)
        (out / JOURNAL).unlink(missing_ok=True)
    _say(data_set, manifest, writer.entries)
    return manifest


def _check(data_set: DataSet, index: Index, root: Path, layout: str, sources: list[Source]) -> None:
    """DgsctError if splits cannot be believed, or one has no file of any clip."""
    check_splits([row.video_id for row in index.rows], index.splits, str(root), "put the data set's own split files there")
    status = {s.video_id: "missing" if s.stamp is None else "ready" for s in sources}
    by_id = {s.video_id: s for s in sources}
    check_usable(data_set, index, status, root, layout, lambda clip: absence(data_set.first_file(by_id[clip])))


def _remark(data_set: DataSet, index: Index, scale: Scale) -> None:
    """Tell what is odd about the set's own files, a line each."""
    wanted = data_set.names(scale)
    if wanted and index.categories != wanted:
        print(f"note: its categories are not those that scale {scale.name} counts on, so that no run will open it", flush=True)
    for remark in remarks(index):
        print(f"note: {remark}", flush=True)


def _fingerprint(data_set: DataSet, index: Index, scale: Scale, layout: str, sources: list[Source]) -> str:
    """Checksum of what would be prepared: annotations, splits, sizes and times of the clips, target sizes, and how."""
    clips = [[s.video_id, s.stamp] for s in sources]
    rows = [row.line() for row in index.rows]
    splits = {name: indices.tolist() for name, indices in index.splits.items()}
    return sha256_json(
        [rows, list(index.categories), splits, layout, clips, data_set.made_for(scale), code_hash(*data_set.decides)]
    )


def _write_source(path: Path, source: str, manifest: dict[str, Any]) -> None:
    """What `out` was made from, and a copy of its manifest: Snakemake deletes that one before it makes it again."""
    path.write_text(json.dumps({"source": source, "manifest": manifest}) + "\n", encoding="utf-8")


def _prepared(out: Path, source: str, mend: bool = False) -> dict[str, Any] | None:
    """The manifest in `out` if it was prepared from `source` and is sound; with `mend` a lost manifest is written anew."""
    try:
        noted = json.loads((out / SOURCE).read_text(encoding="utf-8"))
        if noted["source"] != source:
            return None
        text = manifest_text(noted["manifest"])
        if mend and not (out / "manifest.json").exists():
            write_text_atomic(out / "manifest.json", text)
        manifest = Packed.open(out).manifest
        if manifest != noted["manifest"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, DgsctError):
        return None
    print(f"{out} is already prepared from these sources", flush=True)
    return manifest


def _check_room(out: Path, folder: Path, clip_bytes: int, layout: str, sources: list[Source]) -> None:
    """Say what will be needed; DgsctError if the disk lacks it."""
    present = sum(source.stamp is not None for source in sources)
    need = present * clip_bytes + len(sources) * OVERHEAD
    already = sum(path.stat().st_size for path in folder.iterdir())
    free = shutil.disk_usage(folder).free
    print(f"{present} of {len(sources)} clips are there ({layout}); {_size(need)} of disk, {_size(free)} are free", flush=True)
    if need - already > free:
        problem = f"preparing needs {_size(need - already)} more on the disk of {out}, of which {_size(free)} are free"
        raise DgsctError(f"{problem}; free space or give another folder")


def _decode(decoder: str, scale: Scale, source: Source) -> Clip:
    """One clip. What a library breaks at is that clip's own fault: the others do not wait for it."""
    try:
        return import_module(decoder).decode_clip(source, scale)
    except (ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"{source.video_id} cannot be decoded ({type(error).__name__}: {reason}); get its files again"
        return Clip(status="unreadable", problem=problem)


def _decode_all(
    writer: PackedWriter, sources: list[Source], decode: Callable[[Source], Clip], jobs: int, progress: bool
) -> None:
    """Append every clip that the writer does not have yet."""
    done = len(writer.entries)
    todo = sources[done:]
    if done:
        print(f"{done} of {len(sources)} clips are taken up from an earlier call", flush=True)
    if not todo:
        return
    for name in ("av", "torchaudio.functional", "torchvision.io"):
        import_module(name)  # here once, and not in every worker
    begin, handful = time.monotonic(), max(8, 2 * jobs)
    with _asked_to_stop() as asked:
        try:
            clips = over_clips(decode, todo, jobs, "decoding", progress)
            for i, (source, clip) in enumerate(zip(todo, clips, strict=True), 1):
                entry = {"id": source.video_id, "stamp": source.stamp, "status": clip.status, "notes": clip.notes}
                writer.append({**entry, "problem": clip.problem}, clip.arrays)
                if asked.is_set():
                    break
                if progress and i == handful < len(todo):
                    rate = i / (time.monotonic() - begin)
                    print(f"about {_duration((len(todo) - i) / rate)} to go, by the first {i} clips", flush=True)
        except DgsctError as error:
            # A signal to the whole group ends the workers too.
            if not asked.is_set():
                raise
            raise _stopped(writer, sources) from error
        if asked.is_set() and len(writer.entries) < len(sources):
            raise _stopped(writer, sources)
    if progress:
        seconds = time.monotonic() - begin
        rate = len(todo) / seconds
        summary = f"{len(todo)} clips in {_duration(seconds)}: {rate:.1f} clips/s, {rate / jobs:.1f} clips/s per process"
        print(summary, flush=True)


def _stopped(writer: PackedWriter, sources: list[Source]) -> Stopped:
    return Stopped(f"stopped after {len(writer.entries)} of {len(sources)} clips; start it again to go on")


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Set by SIGTERM or Ctrl-C: the clip in hand is finished and written, then comes the end."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {s: signal.signal(s, lambda *_: asked.set()) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(data_set: DataSet, manifest: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    """The report as a small table: every kind that occurs, how often, and the first ids; then the coverage."""
    problems = {e["status"]: e["problem"] for e in reversed(entries) if e["problem"]}
    for problem in reversed(problems.values()):
        print(f"left out, for example: {problem}")
    words = {**data_set.statuses, **data_set.notes}
    kinds = {kind: of for kind, of in manifest["report"].items() if of["count"] or kind == "ready"}
    for kind, of in kinds.items():
        ids = "" if kind == "ready" else ", ".join(of["ids"][:SHOWN]) + (", ..." if of["count"] > SHOWN else "")
        mark = "note: " if kind in data_set.notes else ""
        line = f"  {mark + kind.replace('_', ' '):<17}{of['count']:>6}"
        print(f"{line}  {words[kind]}: {ids}" if ids else line)
    for split, of in manifest["coverage"].items():
        print(f"{split}: {of['present']} of {of['total']} annotated clips are present", flush=True)


def _size(count: float) -> str:
    """Bytes in decimal units, as disks are sold and `df -H` says."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
