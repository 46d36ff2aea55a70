"""Every data set has a generator where its task's folder says."""

import pytest

from dgsct.errors import UsageError
from dgsct.tasks import HOMES
from dgsct.tasks.generate import generator_module, main, mini_splits, write_mini


@pytest.mark.parametrize("name", HOMES)
def test_every_set_is_generated_by_its_folders_module(name, tmp_path):
    assert generator_module(name) == f"dgsct.tasks.{HOMES[name]}.mini"
    sizes = mini_splits(name)
    assert set(sizes) == {"train", "val", "test"}
    assert min(sizes.values()) >= 20
    with pytest.raises(UsageError, match="give train"):
        write_mini(name, tmp_path / "raw", splits={**sizes, "val": 0})
    with pytest.raises(UsageError, match="must be at least 0"):
        write_mini(name, tmp_path / "raw", seed=-1)
    assert not any(tmp_path.iterdir())


def test_an_unknown_set_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["avvq", str(tmp_path / "raw")])
    assert "choose from" in capsys.readouterr().err
