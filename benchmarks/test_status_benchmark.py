"""What a look at a large campaign costs: `dgsct status --watch` on 384 runs, half of them done."""

import pytest
from results_rig import place

from dgsct.campaign.status import Board
from dgsct.runs.experiments import Settings, load_experiments


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Settings, experiments and a results folder."""
    root, settings, experiments = tmp_path_factory.mktemp("campaign"), Settings(seeds=67), load_experiments()
    board = Board(experiments, settings, root)
    assert len(board.distinct) == 384
    for run in board.distinct[::2]:
        place(root, run)
    return experiments, settings, root


def test_the_first_look(benchmark, campaign):
    benchmark.pedantic(lambda: Board(*campaign).look(), rounds=3)


def test_looking_again(benchmark, campaign):
    board = Board(*campaign)
    board.look()
    benchmark.pedantic(board.look, rounds=10)
