"""Runs: names, folders, keys; and the closure of code that decides what is trained again."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgsct.closure import closure, code_hash
from dgsct.errors import UsageError
from dgsct.runs.run import Run, format_value

PACKAGE = Path(__file__).resolve().parents[2] / "dgsct"


def test_folder_is_readable():
    run = Run.make("ave", "dg-sct", {"S": "off", "C": False}, protocol="clean", seed=2)
    assert run.folder == Path("runs/mini/clean/ave/dg-sct/C=off+S=off/s2")
    assert Run.make("ave", "dg-sct").folder == Path("runs/mini/release/ave/dg-sct/default/s0")


def test_overrides_that_change_nothing_are_dropped():
    assert Run.make("ave", "dg-sct", {"alpha": 0.3, "S": True}) == Run.make("ave", "dg-sct")
    assert Run.make("ave", "dg-sct", {"tile": 1}, protocol="paper") == Run.make("ave", "dg-sct", protocol="paper")


def test_yardsticks_have_one_seed():
    assert Run.make("ave", "majority-class", seed=7).seed == 0


def test_one_folder_one_run():
    near = [Run.make("ave", "dg-sct", {"alpha": v}).folder for v in (0.1234567, 0.12345671, 0.123457)]
    assert len(set(near)) == 3
    assert format_value(0.05) == "0.05"
    assert format_value(True) == "on"


@given(
    alpha=st.floats(0, 1),
    tile=st.integers(1, 12),
    temporal=st.booleans(),
    protocol=st.sampled_from(["release", "paper", "clean"]),
    seed=st.integers(0, 99),
)
def test_folder_and_dict_lead_back_to_the_run(alpha, tile, temporal, protocol, seed):
    run = Run.make("ave", "dg-sct", {"alpha": alpha, "tile": tile, "T": temporal}, protocol, "paper", seed)
    assert Run.from_folder(Path("results") / run.folder) == run
    assert Run.from_dict(run.to_dict()) == run


@pytest.mark.parametrize(
    "folder",
    [
        "runs/mini/release/ave/dg-sct/default",
        "runs/mini/release/ave/dg-sct/default/0",
        "runs/mini/release/ave/dg-sct/nonsense/s0",
        "runs/mini/release/ave/dg-sct/S=off,nonsense/s0",
        "runs/mini/release/ave/dg-sct/alpha=nan/s0",
        "runs/mini/release/ave/dg-sct/tile=0/s0",
        "runs/mini/strict/ave/dg-sct/default/s0",
        "runs/huge/release/ave/dg-sct/default/s0",
    ],
)
def test_folders_that_are_no_run(folder):
    with pytest.raises(UsageError):
        Run.from_folder(Path(folder))


def test_keys_differ_where_runs_differ():
    runs = [
        Run.make("ave", "dg-sct"),
        Run.make("ave", "dg-sct", seed=1),
        Run.make("ave", "dg-sct", {"gamma": 0.2}),
        Run.make("ave", "dg-sct", protocol="clean"),
        Run.make("ave", "dg-sct", scale="paper"),
        Run.make("ave", "lavish-star"),
        Run.make("ave", "late-fusion"),
    ]
    assert len({run.plan_key() for run in runs}) == len(runs)
    inputs = {"data/ave": "data", "encoders/swin": "swin"}
    assert runs[0].key(inputs) == runs[0].key(dict(reversed(inputs.items())))
    for name in inputs:
        assert runs[0].key(inputs) != runs[0].key({**inputs, name: "other"})


@pytest.fixture
def copied(tmp_path):
    """A copy of the package, and the code hash of DG-SCT in it."""
    root = tmp_path / "dgsct"
    shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "publish" / "tables.py").write_text("import dgsct.runs.run\n")
    return root


def dg_sct(root: Path) -> str:
    return code_hash("dgsct.methods.dg_sct.ave", root=root)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_comments_docstrings_and_formatting_train_nothing(copied):
    before = dg_sct(copied)
    for module in closure("dgsct.methods.dg_sct.ave", root=copied):
        path = copied.parent.joinpath(*module.split(".")).with_suffix(".py")
        if path.is_file():
            path.write_text(path.read_text(encoding="utf-8") + "\n\n# A remark.\n", encoding="utf-8")
    edit(copied / "models" / "attention.py", '"""', '"""Another opening. ')
    assert dg_sct(copied) == before


def test_attention_code_trains_again(copied):
    before = dg_sct(copied)
    edit(copied / "models" / "attention.py", "nn.Linear(", "nn.Linear(1 + ")
    assert dg_sct(copied) != before


def test_tables_and_other_methods_train_nothing(copied):
    before = dg_sct(copied)
    for name in ("publish/tables.py", "methods/late_fusion/ave.py", "tasks/ave/yardsticks.py"):
        (copied / name).write_text("changed = 1\n", encoding="utf-8")
    assert dg_sct(copied) == before


def test_a_new_method_or_ledger_line_trains_nothing(copied):
    engine = copied / "closure_probe.py"
    engine.write_text(
        "from dgsct.runs.run import Run\nfrom dgsct.runs import protocols\nfrom dgsct.settings import scales\n",
        encoding="utf-8",
    )
    before = code_hash("dgsct.closure_probe", root=copied)
    edit(copied / "methods" / "dg_sct" / "__init__.py", "LAVisH*: ", "LAVisH* ")
    edit(copied / "methods" / "dg_sct" / "ledger.py", "residual form", "form of the residual")
    assert code_hash("dgsct.closure_probe", root=copied) == before


def test_closure_follows_imports_at_any_depth():
    modules = set(closure("dgsct.methods.dg_sct.ave"))
    assert {"dgsct.methods.dg_sct.ave", "dgsct.models.interaction", "dgsct.models.adapter", "dgsct.models.attention"} <= modules
    assert not modules & {"dgsct.publish.tables", "dgsct.runs.experiments", "dgsct.methods.late_fusion.ave"}
