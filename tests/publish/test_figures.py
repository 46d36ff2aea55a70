"""The figure from placed records: its three files, the same bytes again, and what stands where a number is missing."""

import json
import math

import matplotlib.pyplot as plt
import pytest
from results_rig import place, place_corrupt, place_failure, place_stale

from dgsct.publish.figures import draw, points_of, write_figure
from dgsct.runs.experiments import Settings, load_experiments
from dgsct.runs.run import Run
from dgsct.runs.schema import Experiment

ONE = Settings("paper", seeds=1)
PUBLISHED = {("alpha", 0.3), ("beta", 0.05), ("gamma", 0.1)}


@pytest.fixture(scope="module")
def fig8():
    return load_experiments()["fig8"]


@pytest.fixture(scope="module")
def fig4():
    return load_experiments()["fig4"]


@pytest.fixture
def drawn(fig8):
    """Draws and gives the axes by panel."""

    def _drawn(settings, root, experiment=fig8):
        figure = draw(experiment, settings, points_of(experiment, settings, root))
        return dict(zip([panel.id for panel in experiment.panels], figure.axes, strict=True)), figure

    yield _drawn
    plt.close("all")


def alpha(value: float, scale: str = "mini", seed: int = 0) -> Run:
    return Run.make("ave", "dg-sct", {"alpha": value}, scale=scale, seed=seed)


def some_of_each(root, scale="paper") -> None:
    """One number, and one point of every other state on the panel alpha; beta and gamma are missing."""
    place(root, alpha(0.1, scale), 71.0)
    place_failure(root, alpha(0.2, scale))
    place_stale(root, alpha(0.3, scale), 99.0)
    place_corrupt(root, alpha(0.4, scale))


def line(axes, label: str):
    return next(found for found in axes.get_lines() if found.get_label() == label)


def has(axes, label: str) -> bool:
    return label in axes.get_legend_handles_labels()[1]


def test_three_files_and_the_same_records_give_the_same_bytes(tmp_path, fig8):
    some_of_each(tmp_path, "mini")
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
    value = json.loads(write_figure(fig8, ONE, tmp_path, tmp_path)[-1].read_text(encoding="utf-8"))
    panels = {panel["id"]: panel["lines"][0]["points"] for panel in value["panels"]}
    assert {name: [p["value"] for p in points] for name, points in panels.items()} == {
        panel.id: panel.grid["paper"] for panel in fig8.panels
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
    assert (value["scale"], value["protocol"]) == ("paper", "release")
    assert value["stamp"] == "paper scale; protocol release"
    assert value["fill"] == "snakemake fig8 --config scale=paper protocol=release seeds=1"
    assert [(p["design"], p["lines"][0]["design"]) for p in value["panels"]] == [("inferred", "published")] * 3


def test_points_without_a_result_are_gaps_with_a_word(tmp_path, drawn):
    some_of_each(tmp_path)
    axes = drawn(ONE, tmp_path)[0]["alpha"]
    means = line(axes, "this harness").get_ydata()
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
    assert "Every point: seed 0; one option varied at a time" in said
    assert "mini scale" in said


def test_at_paper_scale_published_values_and_the_spread_are_drawn(tmp_path, drawn):
    for seed, value in enumerate((81.0, 82.0)):
        place(tmp_path, alpha(0.3, "paper", seed), value)
    panels, figure = drawn(Settings("paper", seeds=2), tmp_path)
    for (name, x), axes in zip(sorted(PUBLISHED), panels.values(), strict=True):
        assert axes is panels[name]
        star = line(axes, "published value")
        assert (list(star.get_xdata()), list(star.get_ydata())) == ([x], [82.2])
        assert line(axes, "this harness").get_ydata()[list(axes.get_xticks()).index(x)] == 81.5
        assert has(axes, "± sample standard deviation")
    said = " ".join(text.get_text() for text in figure.texts)
    assert "therefore not drawn" not in said
    assert "Every point: mean of 2 seeds; " in said
    assert "paper scale; protocol release" in said


def test_every_grid_value_is_a_tick(tmp_path, fig8, drawn):
    for scale in ("mini", "paper"):
        panels, _ = drawn(Settings(scale), tmp_path)
        for panel in fig8.panels:
            grid = panel.grid[scale]
            assert list(panels[panel.id].get_xticks()) == grid
            assert [tick.get_text() for tick in panels[panel.id].get_xticklabels()] == [f"{x:g}" for x in grid]


def test_the_axis_does_not_blow_up_a_single_segment(tmp_path, drawn):
    """Points that are equal but for one segment of a hundred lie on a line, in the middle of at least ten points."""
    for value, accuracy in ((0.1, 80.0), (0.3, 80.0), (0.5, 80.2)):
        place(tmp_path, alpha(value), accuracy)
    for option, values in (("beta", (0.01, 0.3)), ("gamma", (0.01, 0.3))):
        for value in values:
            place(tmp_path, Run.make("ave", "dg-sct", {option: value}), 80.0)
    low, high = drawn(Settings(), tmp_path)[0]["alpha"].get_ylim()
    assert (high - low, (high + low) / 2) == (pytest.approx(10), pytest.approx(80.1))
    place(tmp_path, alpha(0.5), 95.0)
    low, high = drawn(Settings(), tmp_path)[0]["alpha"].get_ylim()
    assert low < 80 < 95 < high


def several_lines(**changes) -> Experiment:
    """Two methods of the harness and one to come, over gamma; the first value is of another kind than the rest."""
    lines = [
        {"id": "dg-sct", "label": "DG-SCT", "method": "dg-sct", "published": {0.1: 82.2, 0.2: 82.0, 0.3: 81.0}},
        {"id": "late", "label": "Late", "method": "late-fusion", "published": {0.2: 70.0}},
        {
            "id": "maple",
            "label": "MaPLe",
            "method": "maple",
            "design": "inferred",
            "published": {0.2: {"value": 60.0, "read_off": 0.1}},
        },
    ]
    panel = {"id": "one", "label": "γ", "option": "gamma", "grid": [0.1, 0.2, 0.3], "apart": [0.1], "spacing": "even"}
    panels = [{**panel, "lines": lines}]
    value = {"name": "fig0", "kind": "figure", "title": "T", "source": "Figure 0", "axis": "Accuracy", "panels": panels}
    return Experiment.model_validate({**value, **changes})


def lines_of(axes, label: str) -> list[tuple[list[float], list[float]]]:
    return [(list(f.get_xdata()), list(f.get_ydata())) for f in axes.get_lines() if f.get_label() == label]


def test_published_curves_alone_while_nothing_is_run(tmp_path, fig4, drawn):
    """Figure 4 before its tasks are there: the digitised curves at any scale, stamped as published, and crosses below."""
    for scale in ("mini", "paper"):
        panels, figure = drawn(Settings(scale), tmp_path, fig4)
        said = [text.get_text() for text in figure.texts]
        assert "as published; nothing run yet" in said
        assert not any("mini scale" in text for text in said)
        assert any("† inferred design: " in text and "partly read off the figure" in text for text in said)
        for panel in fig4.panels:
            axes = panels[panel.id]
            assert axes.get_title() == panel.title
            assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "2", "4", "8", "16"]
            assert [text.get_text() for text in axes.texts] == ["not run yet"] * 6
            zero, few = lines_of(axes, "DG-SCT")
            assert (zero[1], few[1][-1], few[0]) == (
                [panel.lines[-1].published[0].value],
                panel.lines[-1].published[16].value,
                [1, 2, 3, 4, 5],
            )
            assert len(lines_of(axes, "CLIP†")) == 1
            low, high = axes.get_ylim()
            assert all(low < number.value < high for one in panel.lines for number in one.published.values())


def test_the_files_of_a_figure_that_nothing_fills(tmp_path, fig4):
    first = write_figure(fig4, Settings(), tmp_path, tmp_path / "a")
    again = write_figure(fig4, Settings(), tmp_path, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    value = json.loads(first[-1].read_text(encoding="utf-8"))
    assert value["stamp"] == "as published; nothing run yet"
    lines = {(p["id"], one["id"]): one for p in value["panels"] for one in p["lines"]}
    assert len(lines) == 21
    assert {one["design"] for (_, name), one in lines.items() if name != "dg-sct"} == {"inferred"}
    point = lines["ave", "maple"]["points"][1]
    assert (point["value"], point["state"], point["published"]["value"], point["published"]["read_off"]) == (
        1,
        "planned",
        61.11,
        0.05,
    )


def test_several_lines_beside_what_is_published(tmp_path, drawn):
    """At full size: the harness's solid, published hollow in the same colour, no line across the value that stands apart."""
    for seed, off in enumerate((0.0, 1.0)):
        for gamma in (0.1, 0.2, 0.3):
            place(tmp_path, Run.make("ave", "dg-sct", {"gamma": gamma}, scale="paper", seed=seed), 80 + off)
        place(tmp_path, Run.make("ave", "late-fusion", {"gamma": 0.2}, scale="paper", seed=seed), 70 + off)
    panels, figure = drawn(Settings("paper", seeds=2), tmp_path, several_lines())
    axes = panels["one"]
    own = [(x, y) for x, y in lines_of(axes, "DG-SCT") if y == [80.5] * len(y)]
    assert [x for x, _ in own] == [[pytest.approx(-0.09)], [1, 2]]
    assert ([1, 2], [82.0, 81.0]) in lines_of(axes, "DG-SCT")
    assert lines_of(axes, "MaPLe†") == [([1], [60.0])]
    assert len({f.get_color() for f in axes.get_lines() if f.get_label() == "DG-SCT"}) == 1
    assert [text.get_text() for text in axes.texts] == ["2 of 3", "1 of 3", "2 of 3"]
    assert axes.get_legend_handles_labels()[1].count("") == 0
    said = " ".join(text.get_text() for text in figure.texts)
    assert (
        "hollow: published (Figure 0), partly read off the figure. Solid, filled: this harness, ± sample standard deviation"
        in said
    )
    assert "paper scale; protocol release" in said


def test_once_something_runs_at_mini_scale_the_published_curves_go(tmp_path, drawn):
    panels, figure = drawn(Settings(), tmp_path, several_lines())
    assert not lines_of(panels["one"], "MaPLe†")
    said = " ".join(text.get_text() for text in figure.texts)
    assert "paper scale, therefore not drawn" in said
    assert "mini scale" in said
    assert [text.get_text() for text in panels["one"].texts] == ["missing, not run yet"] * 3
