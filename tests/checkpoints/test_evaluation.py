"""`dgsct evaluate`: the numbers of the run's own record, to the bit, from every form of its weights, and what is written."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from call_rig import call
from PIL import Image

from dgsct.checkpoints.convert import ours_to_release, release_to_ours, run_of
from dgsct.checkpoints.evaluation import Evaluation, evaluate, write_evaluation
from dgsct.engine.execute import execute
from dgsct.errors import DgsctError, UsageError
from dgsct.records.results import read_record
from dgsct.runs.run import Run
from dgsct.tasks.ave.details import ClassResult, Details, confusion_matrix, confusion_picture

RUN = Run.make("ave", "dg-sct", {"alpha": 0.4}, scale="mini", seed=1)


@pytest.fixture(scope="module")
def trained(mini_world, tmp_path_factory) -> tuple[Path, dict]:
    """The best weights of one real run, and its record."""
    root = tmp_path_factory.mktemp("evaluated") / "results"
    root.mkdir()
    for name in ("data", "encoders"):
        (root / name).symlink_to(mini_world / name)
    path = execute(RUN, root)
    return path.parent / "checkpoints/best.safetensors", read_record(path)


@pytest.fixture(scope="module")
def evaluated(trained) -> Evaluation:
    run, results = run_of(trained[0])
    return evaluate(run, trained[0], results)


def test_best_weights_give_the_records_metrics_to_the_bit(trained, evaluated):
    assert evaluated.run == RUN
    assert evaluated.metrics == trained[1]["metrics"]
    assert evaluated.coverage == trained[1]["coverage"]


def test_so_do_their_conversions(trained, tmp_path):
    checkpoint, record = trained
    results = checkpoint.parents[8]
    public, ours = tmp_path / "public.pt", tmp_path / "ours.safetensors"
    ours_to_release(checkpoint, public, RUN, results)
    release_to_ours(public, ours, RUN)
    assert evaluate(RUN, public, results).metrics == record["metrics"]
    assert evaluate(run_of(ours)[0], ours, results).metrics == record["metrics"]


def test_the_classes_add_up(evaluated):
    total = sum(c.segments for c in evaluated.details.classes)
    assert total == 10 * evaluated.coverage["test"]["present"] == evaluated.details.confusion.sum()
    assert sum(c.predicted for c in evaluated.details.classes) == total
    assert 100 * sum(c.right for c in evaluated.details.classes) / total == pytest.approx(evaluated.metrics["acc_exact"])
    assert [c.name for c in evaluated.details.classes][-1] == "background"


def test_rows_of_the_confusion_matrix_are_true_classes():
    predicted, labels = np.array([[0, 2, 2], [1, 1, 2]]), np.array([[0, 0, 2], [1, 0, 2]])
    assert confusion_matrix(predicted, labels, 3).tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 2]]


def test_a_class_without_segments_has_no_accuracy():
    assert ClassResult("Bus", 0, 0, 3).accuracy is None
    assert ClassResult("Bus", 8, 2, 3).accuracy == 25.0


def test_what_is_written(evaluated, tmp_path):
    paths = write_evaluation(evaluated, tmp_path / "out")
    assert [p.name for p in paths] == ["evaluation.json", "per_class.csv", "confusion.csv", "confusion.png"]
    said = json.loads(paths[0].read_text())
    assert said["metrics"] == evaluated.metrics
    assert said["confusion"] == evaluated.details.confusion.tolist()
    assert Run.from_dict(said["run"]) == RUN
    rows = list(csv.DictReader(paths[1].open(encoding="utf-8")))
    assert [(r["class"], int(r["segments"]), int(r["right"])) for r in rows] == [
        (c.name, c.segments, c.right) for c in evaluated.details.classes
    ]
    matrix = list(csv.reader(paths[2].open(encoding="utf-8")))
    assert [[int(n) for n in row[1:]] for row in matrix[1:]] == evaluated.details.confusion.tolist()
    first = paths[3].read_bytes()
    assert write_evaluation(evaluated, tmp_path / "again")[3].read_bytes() == first


@pytest.mark.parametrize("error", [ImportError("libpng16.so.16"), ValueError("no font"), MemoryError()])
def test_a_picture_that_fails_leaves_the_numbers(tmp_path, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("dgsct.tasks.ave.details.confusion_picture", fail)
    (tmp_path / "x.pt").touch()
    details = Details((ClassResult("bark", 1, 1, 1),), np.eye(1, dtype=int))
    evaluation = Evaluation(RUN, tmp_path / "x.pt", {"acc_exact": 100.0}, {}, details)
    with pytest.raises(DgsctError, match=r"the pictures were not drawn \(.*numbers and tables are in .*out;") as told:
        write_evaluation(evaluation, tmp_path / "out")
    assert type(error).__name__ in str(told.value)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["confusion.csv", "evaluation.json", "per_class.csv"]
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["metrics"] == {"acc_exact": 100.0}


def test_the_picture_has_room_for_29_classes(tmp_path):
    """Every label stays inside, and a strong diagonal is dark where a mistake is pale."""
    names = [*(f"Class with a long name, number {i}" for i in range(28)), "background"]
    confusion = np.diag(np.full(29, 20))
    classes = tuple(ClassResult(name, 20, 20, 20) for name in names)
    metrics = {"acc_exact": 100.0, "acc_batch8": 100.0}
    (tmp_path / "x.png").write_bytes(confusion_picture(Details(classes, confusion), "x.pt: ave dg-sct", metrics))
    pixels = np.asarray(Image.open(tmp_path / "x.png").convert("L"), dtype=int)
    height, width = pixels.shape
    assert min(height, width) > 29 * 30
    assert all(edge.min() > 250 for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    assert (pixels < 80).sum() > 29 * 29 * 29 / 2  # 29 dark cells of at least 29 pixels a side, less their numbers


@pytest.mark.parametrize(
    ("run", "name", "error", "sentence"),
    [
        (Run.make("ave", "majority-class"), "x.pt", UsageError, "is a yardstick without a checkpoint"),
        (RUN, "nothing.pt", DgsctError, "nothing.pt does not exist; give a checkpoint file"),
        (Run.make("ave", "dg-sct", scale="paper"), "best", DgsctError, "manifest.json does not exist; prepare the data again"),
        (Run.make("ave", "lavish-star"), "best", DgsctError, "is no file of this run: it has the unknown 'backbone.p1.0.a2v."),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(trained, tmp_path, run, name, error, sentence):
    checkpoint = trained[0] if name == "best" else tmp_path / name
    with pytest.raises(error) as said:
        evaluate(run, checkpoint, trained[0].parents[8])
    assert sentence in str(said.value)
    assert "\n" not in str(said.value)


def test_the_command_line_prints_and_writes(trained, evaluated, tmp_path):
    done = call(tmp_path, "evaluate", "ave", "--checkpoint", trained[0], "--out", "out")
    assert done.code == 0, done.err
    for name, value in evaluated.metrics.items():
        assert f"{name} {value:.4f}" in done.out.splitlines()
    for c in evaluated.details.classes:
        assert any(line.startswith(c.name) and line.split()[-1] == str(c.predicted) for line in done.out.splitlines())
    assert "2 of 2 batches" in done.out
    assert (tmp_path / "out/confusion.png").stat().st_size > 10_000
