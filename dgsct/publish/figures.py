"""Figures from cells: accuracy over one option a panel, with the spread over seeds and the published optimum."""

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dgsct.atomic import write_bytes_atomic, write_text_atomic
from dgsct.publish.cells import CellState, Source, cells_of, fill_command, label_of, stamp
from dgsct.publish.mask_figure import draw as draw_masks
from dgsct.publish.mask_figure import settings_of
from dgsct.publish.mask_figure import sidecar as mask_sidecar
from dgsct.publish.render.json_sidecar import finite
from dgsct.publish.render.model import printed
from dgsct.runs.experiments import Experiment, Panel, Published, Settings
from dgsct.runs.run import format_value
from dgsct.settings.scales import get_scale

WIDTH, HEIGHT, DPI = 7.6, 3.1, 200
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


def points_of(experiment: Experiment, settings: Settings, results_root: Path) -> dict[str, list[Point]]:
    """The points of every panel, in the order of its grid."""
    found: dict[str, list[Point]] = {panel.id: [] for panel in experiment.panels}
    for cell in cells_of(experiment, settings, results_root):
        label = label_of(str(cell.task), cell.metric)
        point = Point(float(cell.column), cell.state, cell.mean, cell.spread, cell.sources, cell.published, label)
        found[cell.row].append(point)
    return found


def _draw_panel(axes: Axes, panel: Panel, points: list[Point], paper: bool) -> None:
    color = sns.color_palette("deep")[0]
    values = [p.value for p in points]
    # A gap where a point is missing: a line drawn across it would claim a number.
    means = [float("nan") if p.mean is None else p.mean for p in points]
    spreads = [p.std or 0.0 for p in points]
    axes.plot(values, means, marker="o", markersize=4.5, color=color, label="ours (mean over seeds)")
    if any(p.std is not None for p in points):
        low, high = zip(*((m - s, m + s) for m, s in zip(means, spreads, strict=True)), strict=True)
        axes.fill_between(values, low, high, color=color, alpha=0.2, linewidth=0, label="± sample standard deviation")
    gone = [p for p in points if p.mean is None]
    if gone:
        place = axes.get_xaxis_transform()
        axes.plot([p.value for p in gone], [0.04] * len(gone), "x", color="0.45", transform=place, label="no result")
        for p in gone:
            word = "not run yet" if p.state == "planned" else p.state
            axes.text(p.value, 0.09, word, rotation=90, fontsize=6.5, color="0.45", ha="center", va="bottom", transform=place)
    if panel.optimum is not None:
        axes.axvline(panel.optimum, color="0.4", linewidth=1, linestyle=":", label="published optimum")
    for p in points if paper else []:
        if p.published is not None and not isinstance(p.published.value, str):
            axes.plot(
                [p.value],
                [p.published.value],
                marker="*",
                markersize=11,
                linestyle="",
                color="C1",
                label="published value",
            )
    axes.set_xticks(values, [format_value(v) for v in values])
    axes.tick_params(labelsize=7.5, length=2, pad=2)
    axes.set_xlabel(panel.label, labelpad=2)


def _below(experiment: Experiment, settings: Settings, points: dict[str, list[Point]]) -> str:
    """The lines under the panels: what is printed, what the grid is, how many seeds."""
    found = [(panel, p) for panel in experiment.panels for p in points[panel.id] if p.published is not None]
    shown = ", ".join(f"{panel.label} = {format_value(p.value)}" for panel, p in found)
    values = " / ".join(dict.fromkeys(printed(p.published.value) for _, p in found if p.published))
    paper = not get_scale(settings.scale).generated_data
    drawn = "" if paper else "; paper scale, therefore not drawn"
    seeds = experiment.count_seeds(settings)
    lines = [f"Published: {values} at {shown} ({experiment.source}{drawn})."] if found else []
    lines.append(f"Grid: values inferred. {seeds} seed{'s' if seeds > 1 else ''} a point; one option varied at a time.")
    return "\n".join(lines)


def draw(experiment: Experiment, settings: Settings, points: dict[str, list[Point]]) -> Figure:
    """The figure with one panel for each option, a shared axis of accuracy, and the scale's stamp."""
    paper = not get_scale(settings.scale).generated_data
    with sns.axes_style("whitegrid"), sns.plotting_context("paper"):
        figure, row = plt.subplots(1, len(experiment.panels), figsize=(WIDTH, HEIGHT), sharey=True, squeeze=False)
        for axes, panel in zip(row[0], experiment.panels, strict=True):
            _draw_panel(axes, panel, points[panel.id], paper)
        row[0][0].set_ylabel(points[experiment.panels[0].id][0].label)
        labels: dict[str, Any] = {}
        for axes in row[0]:
            handles, names = axes.get_legend_handles_labels()
            labels.update({name: handle for handle, name in zip(handles, names, strict=True) if name not in labels})
        figure.suptitle(f"{experiment.source} of the paper: {experiment.title}", fontsize=10, y=0.985)
        figure.text(
            0.5,
            0.9,
            stamp(settings.scale, settings.protocol),
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
            ncols=len(labels),
            fontsize=7.5,
            frameon=False,
            bbox_to_anchor=(0.5, 0.1),
        )
        figure.text(0.5, 0.06, _below(experiment, settings, points), ha="center", va="center", fontsize=7)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.85, bottom=0.33, wspace=0.08)
    return figure


def _sidecar(experiment: Experiment, settings: Settings, points: dict[str, list[Point]]) -> str:
    panels = [
        {
            "id": panel.id,
            "option": panel.option,
            "optimum": panel.optimum,
            "points": [
                {
                    "value": p.value,
                    "state": p.state,
                    "mean": p.mean,
                    "std": p.std,
                    "published": None if p.published is None else asdict(p.published),
                    "runs": [asdict(source) for source in p.sources],
                }
                for p in points[panel.id]
            ],
        }
        for panel in experiment.panels
    ]
    value = {
        "schema": 1,
        "kind": "figure",
        "name": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "scale": settings.scale,
        "protocol": settings.protocol,
        "stamp": stamp(settings.scale, settings.protocol),
        "grid": "values inferred",
        "fill": fill_command(experiment, settings),
        "panels": panels,
    }
    return json.dumps(finite(value), indent=1, ensure_ascii=False) + "\n"


def write_figure(experiment: Experiment, settings: Settings, results_root: Path, folder: Path) -> list[Path]:
    """Draw an experiment of kind `figure` or `masks` into `folder` as PDF and PNG, with its side-car JSON."""
    root = Path(results_root)
    found = settings_of(experiment, settings, root) if experiment.kind == "masks" else points_of(experiment, settings, root)
    drawing, telling = (draw_masks, mask_sidecar) if experiment.kind == "masks" else (draw, _sidecar)
    # Text stays text in the PDF; the salt of ids plays no part there, unlike in SVG.
    with matplotlib.rc_context({"pdf.fonttype": 42, "font.family": "DejaVu Sans"}):
        figure = drawing(experiment, settings, found)
        images = {}
        for ending, metadata in METADATA.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=ending, dpi=DPI, metadata=metadata)
            images[ending] = buffer.getvalue()
        plt.close(figure)
    written = [Path(folder) / f"{experiment.name}.{ending}" for ending in (*METADATA, "json")]
    for path, content in zip(written, images.values(), strict=False):
        write_bytes_atomic(path, content)
    write_text_atomic(written[-1], telling(experiment, settings, found))
    return written
