"""Figures from cells: a metric over one option a panel, for one method or several, with the spread over seeds.

Published numbers are drawn beside the harness's at full size, and alone where nothing has been run yet.
"""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgsct.atomic import write_bytes_atomic, write_text_atomic
from dgsct.drawing import FONT, plain, plt, sns
from dgsct.errors import DgsctError
from dgsct.publish.cells import CellState, Source, cells_of, fill_command, label_of, stamp
from dgsct.publish.mask_figure import draw as draw_masks
from dgsct.publish.mask_figure import settings_of
from dgsct.publish.mask_figure import sidecar as mask_sidecar
from dgsct.publish.render.json_sidecar import finite
from dgsct.publish.render.model import INFERRED_MARK, INFERRED_NOTE, STATE_WORDS, printed
from dgsct.runs.experiments import Experiment, Line, Panel, Published, Settings
from dgsct.runs.run import format_value
from dgsct.settings.scales import get_scale

if TYPE_CHECKING:  # only `dgsct.drawing` imports it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 7.2, 3.1, 200  # inches: as wide as a line of the report, in which no letter is smaller than 7 pt
# An axis of values shows at least so many points. Over seeds a mini run spreads by about two points; on a tighter axis a
# difference of one test segment, or of one seed, would look like a mountain.
MIN_SPAN = 10.0
# Without dates and tool versions the same records give the same bytes.
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Point:
    """One value of the varied option; `label` is what its axis shows."""

    value: float
    state: CellState
    mean: float | None
    std: float | None
    sources: tuple[Source, ...]
    published: Published | None
    label: str = ""


OWN, SPREAD = "this harness", "± sample standard deviation"
# The points of a figure: by panel, then by line, in the order of the grid.
Points = dict[str, dict[str, list[Point]]]


def points_of(experiment: Experiment, settings: Settings, results_root: Path) -> Points:
    """The points of every line of every panel, in the order of its grid."""
    points: Points = {panel.id: {line.id: [] for line in panel.lines} for panel in experiment.panels}
    for cell in cells_of(experiment, settings, results_root):
        label = label_of(str(cell.task), cell.metric)
        panel, line = cell.row.split(".", 1)
        point = Point(float(cell.column), cell.state, cell.mean, cell.spread, cell.sources, cell.published, label)
        points[panel][line].append(point)
    return points


def _nothing_run(points: Points) -> bool:
    """Whether no run belongs to any point: tasks or methods are not in the harness, or are filtered out."""
    return all(p.state == "planned" for lines in points.values() for line in lines.values() for p in line)


def _shows_published(settings: Settings, points: Points) -> bool:
    """Whether published numbers are drawn: at full size; at another scale only where no run could be beside them."""
    return not get_scale(settings.scale).generated_data or _nothing_run(points)


def _label(line: Line) -> str:
    return f"{line.label}{INFERRED_MARK if line.design == 'inferred' else ''}"


def _places(panel: Panel, grid: list[float | int]) -> dict[float, float]:
    """Where each value of the grid stands on the horizontal axis."""
    return {float(x): float(i if panel.spacing == "even" else x) for i, x in enumerate(grid)}


def _pieces(panel: Panel, points: list[Point]) -> list[list[Point]]:
    """The points that a line may join: a value that stands apart is alone."""
    alone = [[p] for p in points if p.value in panel.apart]
    return [piece for piece in (*alone, [p for p in points if p.value not in panel.apart]) if piece]


def _draw_line(axes: "Axes", panel: Panel, line: Line, points: list[Point], place: dict[float, float], published: bool) -> None:
    """One method's curve, the harness's with its spread and the published one in the same colour."""
    number = [other.id for other in panel.lines].index(line.id)
    many, color = len(panel.lines) > 1, sns.color_palette("deep")[number]
    # Points side by side where values of several lines would hide one another.
    aside = (number - (len(panel.lines) - 1) / 2) * 0.09 if many else 0.0
    # Of several lines the legend names each once; what is of this harness and what is published stands below the panels.
    own, theirs, spread = [_label(line)] * 2 + [""] if many else [OWN, "published value", SPREAD]
    star: dict[str, Any] = (
        {"marker": "o", "markersize": 3.5, "markerfacecolor": "white"} if many else {"marker": "*", "markersize": 11}
    )
    for piece in _pieces(panel, points):
        places = [place[p.value] + (aside if p.value in panel.apart else 0.0) for p in piece]
        if any(p.mean is not None for p in points) or not many:
            # A gap where a point is missing: a line drawn across it would claim a number.
            means = [float("nan") if p.mean is None else p.mean for p in piece]
            axes.plot(places, means, marker="o", markersize=4.5, color=color, label=own)
            if any(p.std is not None for p in piece):
                low, high = zip(*((m - (p.std or 0), m + (p.std or 0)) for m, p in zip(means, piece, strict=True)), strict=True)
                axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0, label=spread)
        numbers = [(x, p.published.value) for x, p in zip(places, piece, strict=True) if p.published is not None]
        numbers = [(x, value) for x, value in numbers if not isinstance(value, str)]
        if published and numbers:
            joined: dict[str, Any] = {"linestyle": "--", "linewidth": 1.0} if len(numbers) > 1 else {"linestyle": ""}
            axes.plot(*zip(*numbers, strict=True), color=color if many else "C1", label=theirs, **star, **joined)


def _draw_gaps(axes: "Axes", place: dict[float, float], lines: dict[str, list[Point]]) -> None:
    """A word at every value of the grid where a line has no result: its state; or how many of the lines have none."""
    height = axes.get_xaxis_transform()
    gone: dict[float, list[Point]] = {x: [] for x in place}
    there = {x: 0 for x in gone}
    for p in (p for points in lines.values() for p in points):
        there[p.value] += 1
        gone[p.value] += [p] if p.mean is None else []
    empty = [x for x, points in gone.items() if points]
    if empty:
        axes.plot([place[x] for x in empty], [0.04] * len(empty), "x", color="0.45", transform=height, label="no result")
    for x in empty:
        words = dict.fromkeys(STATE_WORDS.get(p.state, p.state) for p in gone[x])
        word = ", ".join(words) if len(gone[x]) == there[x] else f"{len(gone[x])} of {there[x]}"
        axes.text(place[x], 0.09, word, rotation=90, fontsize=7, color="0.45", ha="center", va="bottom", transform=height)


def _make_room(axes: "Axes") -> None:
    """Show `MIN_SPAN` at least, and lower the axis' end, so that the words at its foot stand below the curves."""
    low, high = axes.get_ylim()
    if axes.dataLim.height >= 0 and high - low < MIN_SPAN:
        low, high = (low + high - MIN_SPAN) / 2, (low + high + MIN_SPAN) / 2
        axes.set_ylim(low, high)
    if any(text.get_text() for text in axes.texts) and axes.dataLim.height > 0:
        axes.set_ylim(low - 0.8 * (high - low), high)


def _draw_panel(axes: "Axes", panel: Panel, grid: list[float | int], lines: dict[str, list[Point]], published: bool) -> None:
    place = _places(panel, grid)
    for line in panel.lines:
        _draw_line(axes, panel, line, lines[line.id], place, published)
    _draw_gaps(axes, place, lines)
    if panel.optimum is not None:
        axes.axvline(place[panel.optimum], color="0.4", linewidth=1, linestyle=":", label="published optimum")
    axes.set_xticks(list(place.values()), [format_value(v) for v in grid])
    axes.tick_params(labelsize=7.5, length=2, pad=2)
    axes.set_xlabel(panel.label, labelpad=2)
    axes.set_title(panel.title, fontsize=8.5, pad=3)


def _below(experiment: Experiment, settings: Settings, points: Points) -> str:
    """The lines under the panels: what is printed, what is inferred, how many seeds."""
    drawn = "" if _shows_published(settings, points) else "; paper scale, therefore not drawn"
    lines, seeds = [], experiment.count_seeds(settings)
    if all(len(panel.lines) == 1 for panel in experiment.panels):
        best = [(panel, p) for panel in experiment.panels for line in points[panel.id].values() for p in line if p.published]
        shown = ", ".join(f"{panel.label} = {format_value(p.value)}" for panel, p in best)
        values = " / ".join(dict.fromkeys(printed(p.published.value) for _, p in best if p.published))
        lines += [f"Published: {values} at {shown} ({experiment.source}{drawn})."] if best else []
    else:
        published = [p.published for panel in points.values() for line in panel.values() for p in line if p.published]
        how = ", partly read off the figure" if any(number.read_off for number in published) else ""
        lines.append(f"Dashed, hollow: published ({experiment.source}{drawn}){how}.")
        lines[-1] += "" if _nothing_run(points) else f" Solid, filled: {OWN}{f', {SPREAD}' if seeds > 1 else ''}."
    inferred = "Grid: values inferred. " if any(panel.design == "inferred" for panel in experiment.panels) else ""
    if not _nothing_run(points):
        which = f"mean of {seeds} seeds" if seeds > 1 else "seed 0"
        lines.append(f"{inferred}Every point: {which}; one option varied at a time.")
    if any(line.design == "inferred" for panel in experiment.panels for line in panel.lines):
        lines.append(f"{INFERRED_MARK} {INFERRED_NOTE}.")
    return "\n".join(lines)


def _stamp(settings: Settings, points: Points) -> str:
    """The stamp of the scale; where nothing is run, that all numbers are the paper's own."""
    return "as published; nothing run yet" if _nothing_run(points) else stamp(settings.scale, settings.protocol)


def _axis(experiment: Experiment, points: Points) -> str:
    """What the axis of values shows: the task's own label, or the experiment's where the task is not here yet."""
    labels = {point.label for lines in points.values() for line in lines.values() for point in line}
    return " / ".join(sorted(filter(None, labels))) or experiment.axis


def draw(experiment: Experiment, settings: Settings, points: Points) -> "Figure":
    """The figure with one panel for each option or task, and the scale's stamp; panels of one task share their axis."""
    published, shared = _shows_published(settings, points), len({panel.task for panel in experiment.panels}) == 1
    with sns.axes_style("whitegrid", FONT), sns.plotting_context("paper"):
        figure, row = plt.subplots(1, len(experiment.panels), figsize=(WIDTH, HEIGHT), sharey=shared, squeeze=False)
        for axes, panel in zip(row[0], experiment.panels, strict=True):
            _draw_panel(axes, panel, panel.grid[settings.scale], points[panel.id], published)
        for axes in row[0][:1] if shared else row[0]:
            _make_room(axes)
        row[0][0].set_ylabel(_axis(experiment, points))
        labels: dict[str, Any] = {}
        for axes in row[0]:
            handles, names = axes.get_legend_handles_labels()
            labels.update({name: handle for handle, name in zip(handles, names, strict=True) if name not in labels})
        figure.suptitle(f"{experiment.source} of the paper: {experiment.title}", fontsize=10, y=0.985)
        figure.text(
            0.5,
            0.9,
            _stamp(settings, points),
            ha="center",
            va="center",
            fontsize=7.5,
            color="#b3261e",
            weight="bold",
        )
        figure.legend(
            labels.values(),
            labels.keys(),
            loc="lower center",
            ncols=min(len(labels), 8),
            fontsize=7.5,
            frameon=False,
            bbox_to_anchor=(0.5, 0.1),
        )
        figure.text(0.5, 0.06, _below(experiment, settings, points), ha="center", va="center", fontsize=7)
        top = 0.8 if any(panel.title for panel in experiment.panels) else 0.85
        figure.subplots_adjust(left=0.085, right=0.985, top=top, bottom=0.33, wspace=0.08 if shared else 0.16)
    return figure


def _sidecar(experiment: Experiment, settings: Settings, points: Points) -> str:
    panels = [
        {
            "id": panel.id,
            "title": panel.title,
            "option": panel.option,
            "task": panel.task,
            "metric": panel.metric,
            "optimum": panel.optimum,
            "design": panel.design,
            "lines": [
                {
                    "id": line.id,
                    "label": line.label,
                    "method": line.method,
                    "design": line.design,
                    "note": line.note,
                    "points": [_point(p) for p in points[panel.id][line.id]],
                }
                for line in panel.lines
            ],
        }
        for panel in experiment.panels
    ]
    value = {
        "schema": 2,
        "kind": "figure",
        "name": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "note": experiment.note,
        "scale": settings.scale,
        "protocol": settings.protocol,
        "stamp": _stamp(settings, points),
        "fill": fill_command(experiment, settings),
        "panels": panels,
    }
    return json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n"


def _point(point: Point) -> dict[str, Any]:
    published = None if point.published is None else asdict(point.published)
    kept = {"value": point.value, "state": point.state, "mean": point.mean, "std": point.std}
    return {**kept, "published": published, "runs": [asdict(source) for source in point.sources]}


def write_figure(experiment: Experiment, settings: Settings, results_root: Path, folder: Path) -> list[Path]:
    """Draw an experiment of kind `figure` or `masks` into `folder` as PDF and PNG, with its side-car JSON, which comes first.

    DgsctError where the picture cannot be drawn: its numbers are written.
    """
    root = Path(results_root)
    content = settings_of(experiment, settings, root) if experiment.kind == "masks" else points_of(experiment, settings, root)
    drawing, telling = (draw_masks, mask_sidecar) if experiment.kind == "masks" else (draw, _sidecar)
    written = [Path(folder) / f"{experiment.name}.{ending}" for ending in (*METADATA, "json")]
    write_text_atomic(written[-1], telling(experiment, settings, content))
    try:
        # Text stays text in the PDF; the salt of ids plays no part there, unlike in SVG.
        with plain({"pdf.fonttype": 42}):
            images = _images(drawing(experiment, settings, content))
    except Exception as error:
        message = f"{experiment.name} was not drawn ({type(error).__name__}: {error}); its numbers are in {written[-1]}"
        raise DgsctError(f"{message}; mend that and run the same command again") from error
    for path, image in zip(written, images, strict=False):
        write_bytes_atomic(path, image)
    return written


def _images(figure: "Figure") -> list[bytes]:
    """A figure in each of the formats of `METADATA`; it is closed."""
    images = []
    try:
        for ending, metadata in METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=DPI, metadata=metadata)
            images.append(buffer.getvalue())
    finally:
        plt.close(figure)
    return images
