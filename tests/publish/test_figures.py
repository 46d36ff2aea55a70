"""The figure from placed records: its three files, the same bytes again, and what stands where a number is missing."""

import json
import math

import matplotlib.pyplot as plt
import pytest
from results_rig import place, place_corrupt, place_failure, place_stale

from dgsct.publish.figures import draw, points_of, write_figure
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.run import Run

PUBLISHED = {("alpha", 0.3), ("beta", 0.05), ("gamma", 0.1)}


@pytest.fixture(scope="module")
def fig8():
    return load_experiments()["fig8"]


@pytest.fixture
def drawn(fig8):
    """Draws and gives the axes by panel."""

    def _drawn(settings, root):
        figure = draw(fig8, settings, points_of(fig8, settings, root))
        return dict(zip([panel.id for panel in fig8.panels], figure.axes, strict=True)), figure

    yield _drawn
    plt.close("all")


def alpha(value: float, scale: str = "mini", seed: int = 0) -> Run:
    return Run.make("ave", "dg-sct", {"alpha": value}, scale=scale, seed=seed)


def some_of_each(root) -> None:
    """One number, and one point of every other state on the panel alpha; beta and gamma are missing."""
    place(root, alpha(0.1), 71.0)
    place_failure(root, alpha(0.2))
    place_stale(root, alpha(0.3), 99.0)
    place_corrupt(root, alpha(0.4))


def line(axes, label: str):
    return next(found for found in axes.get_lines() if found.get_label() == label)


def has(axes, label: str) -> bool:
    return label in axes.get_legend_handles_labels()[1]


def test_three_files_and_the_same_records_give_the_same_bytes(tmp_path, fig8):
    some_of_each(tmp_path)
    written = write_figure(fig8, Settings(), tmp_path, tmp_path / "one")
    assert [path.name for path in written] == ["fig8.pdf", "fig8.png", "fig8.json"]
    assert written[0].read_bytes().startswith(b"%PDF-")
    assert written[1].read_bytes().startswith(b"\x89PNG")
    again = write_figure(fig8, Settings(), tmp_path, tmp_path / "two")
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]
    assert b"Date" not in written[0].read_bytes()
    place(tmp_path, alpha(0.1), 72.0)
    changed = write_figure(fig8, Settings(), tmp_path, tmp_path / "three")
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(written, changed, strict=True))


def test_the_side_car_has_every_point_with_its_state_and_origin(tmp_path, fig8):
    some_of_each(tmp_path)
    value = json.loads(write_figure(fig8, Settings(), tmp_path, tmp_path)[-1].read_text(encoding="utf-8"))
    panels = {panel["id"]: panel["points"] for panel in value["panels"]}
    assert {name: [p["value"] for p in points] for name, points in panels.items()} == {
        panel.id: panel.grid for panel in fig8.panels
    }
    assert [p["state"] for p in panels["alpha"]] == ["ok", "failed", "stale", "corrupt", "missing"]
    assert [p["mean"] for p in panels["alpha"]] == [71.0, None, None, None, None]
    assert panels["alpha"][1]["runs"][0]["reason"] == "the loss is nan at step 3"
    assert {p["state"] for p in panels["beta"]} == {"missing", "stale"}  # 0.05 is the run of alpha 0.3
    first = panels["alpha"][0]["runs"][0]
    record = json.loads((tmp_path / first["record"]).read_text(encoding="utf-8"))
    assert (first["key"], first["value"]) == (record["key"], record["metrics"]["acc_batch8"])
    published = {(name, p["value"]) for name, points in panels.items() for p in points if p["published"]}
    assert published == PUBLISHED
    assert (value["scale"], value["protocol"]) == ("mini", "release")
    assert "not a reproduction" in value["stamp"]
    assert value["fill"] == "snakemake fig8 --config scale=mini protocol=release seeds=3"


def test_points_without_a_result_are_gaps_with_a_word(tmp_path, drawn):
    some_of_each(tmp_path)
    axes = drawn(Settings(), tmp_path)[0]["alpha"]
    means = line(axes, "ours (mean over seeds)").get_ydata()
    assert means[0] == 71.0
    assert all(math.isnan(mean) for mean in means[1:])
    assert list(line(axes, "no result").get_xdata()) == [0.2, 0.3, 0.4, 0.5]
    assert [text.get_text() for text in axes.texts] == ["failed", "stale", "corrupt", "missing"]


def test_at_mini_scale_published_values_are_named_but_not_drawn(tmp_path, drawn):
    place(tmp_path, alpha(0.3), 60.0)
    panels, figure = drawn(Settings(), tmp_path)
    for axes in panels.values():
        assert not has(axes, "published value")
        assert has(axes, "published optimum")
        assert 82.2 not in [y for found in axes.get_lines() for y in found.get_ydata()]
        assert axes.get_ylim()[1] < 80
    said = " ".join(text.get_text() for text in figure.texts)
    assert "Published: 82.2 at α = 0.3, β = 0.05, γ = 0.1 (Figure 8; paper scale, therefore not drawn)" in said
    assert "1 seed a point" in said
    assert "mini scale" in said


def test_at_paper_scale_published_values_and_the_spread_are_drawn(tmp_path, drawn):
    for seed, value in enumerate((81.0, 82.0)):
        place(tmp_path, alpha(0.3, "paper", seed), value)
    panels, figure = drawn(Settings("paper", seeds=2), tmp_path)
    for (name, x), axes in zip(sorted(PUBLISHED), panels.values(), strict=True):
        assert axes is panels[name]
        star = line(axes, "published value")
        assert (list(star.get_xdata()), list(star.get_ydata())) == ([x], [82.2])
        assert line(axes, "ours (mean over seeds)").get_ydata()[list(axes.get_xticks()).index(x)] == 81.5
        assert has(axes, "± sample standard deviation")
    said = " ".join(text.get_text() for text in figure.texts)
    assert "therefore not drawn" not in said
    assert "2 seeds a point" in said
    assert "paper scale; protocol release" in said


def test_every_grid_value_is_a_tick(tmp_path, fig8, drawn):
    panels, _ = drawn(Settings(), tmp_path)
    for panel in fig8.panels:
        assert list(panels[panel.id].get_xticks()) == panel.grid
        assert [tick.get_text() for tick in panels[panel.id].get_xticklabels()] == [f"{x:g}" for x in panel.grid]
