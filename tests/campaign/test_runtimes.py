"""Minutes that a job asks for, and the file between `dgsct plan` and the Snakefile."""

import pytest

from dgsct.campaign.runtimes import minutes_to_ask, read_runtimes, runtime_file, write_runtimes
from dgsct.errors import DgsctError


@pytest.mark.parametrize(
    ("seconds", "attempt", "limit", "minutes"),
    [
        (3600, 1, 720, 80),  # 60 * 1.25 + 5
        (3600, 3, 720, 240),
        (3601, 1, 720, 81),  # never rounded down
        (0, 1, 720, 5),
        (40_000, 1, 720, 720),  # 839 minutes: the site's limit
        (20_000, 2, 720, 720),
        (None, 1, 720, 720),
        (None, 2, 30, 30),
    ],
)
def test_a_quarter_more_and_five_minutes_and_more_at_each_attempt_up_to_the_limit(seconds, attempt, limit, minutes):
    assert minutes_to_ask(seconds, attempt, limit) == minutes


def test_a_run_is_noted_kept_replaced_and_forgotten(tmp_path):
    assert read_runtimes(tmp_path) == {}
    write_runtimes(tmp_path, {"runs/a": (12.34, "history"), "runs/b": (7.0, "probe")})
    write_runtimes(tmp_path, {"runs/b": (8.0, "history"), "runs/c": None})
    assert read_runtimes(tmp_path) == {"runs/a": 12.3, "runs/b": 8.0}
    write_runtimes(tmp_path, {"runs/a": None})
    assert read_runtimes(tmp_path) == {"runs/b": 8.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"schema": 2, "runs": {"runs/a": {"seconds": 1}}}',
        '{"schema": 1, "runs": [1]}',
        '{"schema": 1, "runs": {"runs/a": {"seconds": "long"}}}',
        '{"schema": 1, "runs": {"runs/a": {"seconds": NaN}}}',
        '{"schema": 1, "runs": {"runs/a": {"seconds": -1}}}',
    ],
)
def test_what_cannot_be_used_tells_nothing(tmp_path, text):
    runtime_file(tmp_path).parent.mkdir()
    runtime_file(tmp_path).write_text(text)
    assert read_runtimes(tmp_path) == {}


def test_a_full_disk_is_a_sentence_and_leaves_the_file_as_it_was(small_disk):
    write_runtimes(small_disk, {"runs/a": (1.0, "probe")})
    with pytest.raises(DgsctError, match=r"cannot write .*runtime\.json: No space left on device; free space"):
        write_runtimes(small_disk, {f"runs/{i}": (1.0, "x" * 1000) for i in range(4000)})
    assert read_runtimes(small_disk) == {"runs/a": 1.0}
    assert [p.name for p in runtime_file(small_disk).parent.iterdir()] == ["runtime.json"]
