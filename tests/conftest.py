"""Shared by all tests: one thread (determinism on any machine) and the place of the real annotation files."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import toy_rig
from shared_rig import Shared

REPOSITORY = Path(__file__).resolve().parent.parent
LONG = (  # files that take longest, the longest first; the first waits for a cluster, which only one process should start
    "cluster/test_slurm.py", "test_full_size.py", "workflow/test_spine.py", "engine/test_processes.py",
    "engine/test_execute.py", "data/test_prepare_stopped.py", "engine/test_soak.py", "cli/test_bad_names.py",
    "checkpoints/test_convert.py", "data/test_prepare_dag.py", "conformance/test_training.py", "workflow/test_dag.py",
    "workflow/test_runtime.py", "workflow/test_public_weights.py", "campaign/test_plan.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first. Where `--dist worksteal` has work done twice is decided at the other end of the list, among
    quick tests; nothing is made for a file alone that takes long and that two processes could make twice (`shared_rig`).
    """
    ranks = {REPOSITORY / "tests" / file: rank for rank, file in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Shared:
    """Makes a folder for all processes of this session: `once("name", make)` (`shared_rig`)."""
    return Shared(tmp_path_factory)


@pytest.fixture(scope="session")
def mini_world(once) -> Path:
    """A results folder with a small prepared AVE set and encoders: 24/8/12 clips, untrained encoders."""
    from dgsct.engine.soak import make_world

    return once("world", make_world)


@pytest.fixture(scope="session")
def trained(once, mini_world) -> Path:
    """A results folder with DG-SCT's run on that set, trained without any disturbance: `toy_rig.DG_SCT`."""
    from dgsct.engine.execute import execute

    def make(folder: Path) -> None:
        execute(toy_rig.DG_SCT, toy_rig.clone(mini_world, folder / "results"))

    return once("trained", make) / "results"


@pytest.fixture(scope="session")
def counted(once) -> dict[str, dict]:
    """What `efficiency` counts at full size, by method."""
    from dgsct.engine.efficiency import efficiency

    methods = ("dg-sct", "lavish-star")

    def make(folder: Path) -> None:
        for method in methods:
            (folder / f"{method}.json").write_text(json.dumps(efficiency(method)))

    folder = once("counted", make)
    return {method: json.loads((folder / f"{method}.json").read_text()) for method in methods}


@pytest.fixture(scope="session")
def family(once) -> Path:
    """A small world of both AVSBench sets for runs that start from another run's weights (`family_rig`)."""
    from family_rig import make_family

    return once("family", make_family)


@pytest.fixture
def pixels():
    """The toy method (`toy/`), known to this process and its forks."""
    with toy_rig.known() as method:
        yield method


@pytest.fixture
def toys(once):
    """The toy method, known to every process that a test starts; the environment of such a process."""
    with toy_rig.known_everywhere(once) as environment:
        yield environment


@pytest.fixture
def trained_by(monkeypatch):
    """Changes how mini runs of a method on a task are trained: `trained_by("avs-s4", "pixels", order="file")`."""
    from dgsct.methods import METHODS
    from dgsct.tasks import get_task

    def change(task: str, method: str, **changes) -> None:
        found = METHODS[method]
        part = found.on(task)
        before = {**get_task(task).recipes, **part.recipes}["mini"]
        part = replace(part, recipes={**part.recipes, "mini": replace(before, **changes)})
        monkeypatch.setitem(METHODS, method, replace(found, parts={**found.parts, task: part}))

    return change


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True)
    if not done or done.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)
