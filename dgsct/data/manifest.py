"""The manifest of a prepared set: rows, splits, clips with their oddities, coverage. Data only: no place, no time."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dgsct.data.base import DataSet
from dgsct.data.index import Index
from dgsct.errors import DgsctError
from dgsct.settings.scales import Scale


def describe(
    data_set: DataSet, index: Index, scale: Scale, layout: str, entries: list[dict[str, Any]], root: Path
) -> dict[str, Any]:
    """The manifest's content, `entries` being the journal's of all clips; DgsctError if a split is left without a clip."""
    clips = {e["id"]: {"status": e["status"], "media": e["media"], "notes": e["notes"]} for e in entries}
    rows = [{**row.fields(), "media": clips[row.video_id]["media"]} for row in index.rows]
    splits = {name: indices.tolist() for name, indices in index.splits.items()}
    problems = {e["id"]: e["problem"] for e in entries}
    check_usable(data_set, index, {name: clip["status"] for name, clip in clips.items()}, root, layout, problems.__getitem__)
    coverage = {
        name: {"present": sum(rows[i]["media"] is not None for i in indices), "total": len(indices)}
        for name, indices in splits.items()
    }
    return {
        "dataset": data_set.name,
        "scale": scale.name,
        "layout": layout,
        "image_size": data_set.image_size(scale),
        "front_end": data_set.front_end(scale),
        "categories": list(index.categories),
        "rows": rows,
        "splits": splits,
        "clips": clips,
        "report": _report(data_set, clips),
        "coverage": coverage,
    }


def check_usable(
    data_set: DataSet, index: Index, status: Mapping[str, str], root: Path, layout: str, problem: Callable[[str], str]
) -> None:
    """DgsctError if a split has no clip whose status is ready; it counts the reasons and gives one in full.

    `problem` gives the sentence of a clip.
    """
    for name, indices in index.splits.items():
        clips = dict.fromkeys(index.rows[i].video_id for i in indices)
        counts = Counter(status[clip] for clip in clips)
        if counts and not counts["ready"]:
            summary = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in counts.most_common())
            main = next(clip for clip in clips if status[clip] == counts.most_common(1)[0][0])
            example, start = problem(main), f"no clip of split {name!r} is usable ({summary})"
            if status[main] == "missing":
                start += f"; put {data_set.media_place(root, layout)}"
            raise DgsctError(f"{start}; for example {example}" if example else start)


def _report(data_set: DataSet, clips: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For every status and every note the ids that have it, and how many."""
    ids = {status: [name for name, clip in clips.items() if clip["status"] == status] for status in data_set.statuses}
    ids |= {note: [name for name, clip in clips.items() if note in clip["notes"]] for note in data_set.notes}
    return {kind: {"count": len(names), "ids": names} for kind, names in ids.items()}
