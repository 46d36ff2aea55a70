"""Every command that a page, a comment, a docstring or a message shows is one that the tools take, so that none can rot."""

import pytest
from documented_rig import ROOT, Line, fault_of, lines_of
from workflow_rig import snakemake

LINES = lines_of()
# One of each kind is planned for real; all others are parsed.
PLANNED = (
    ("table1", "table3", "fig8", "all_figures", "-n"),
    ("table1", "--config", "scale=paper", "site=my_site.yaml", "-n"),
)


@pytest.fixture(scope="module")
def rules(tmp_path_factory) -> set[str]:
    """The names of the real rules."""
    listed = snakemake(tmp_path_factory.mktemp("rules"), "--list-rules")
    assert not listed.code, listed.text
    return {line.strip() for line in listed.text.splitlines()}


def test_they_are_collected_everywhere():
    pages = {line.where for line in LINES}
    named = {"README.md", "CONTRIBUTING.md", "docs/data.md", "docs/weights.md", "docs/cluster.md", "docs/plan.md"}
    assert pages >= {*named, "Snakefile", "workflow/config/site.yaml", "workflow/experiments/table1.yaml"}
    assert pages >= {"dgsct/cli/common.py", "dgsct/records/results.py", "dgsct/publish/cells.py"}
    assert Line("workflow/experiments/table1.yaml", "snakemake table1") in LINES
    assert Line("docs/data.md", "snakemake table1 --config scale=paper site=my_site.yaml") in LINES  # in a list
    assert len({line.text for line in LINES}) > 80


@pytest.mark.parametrize("tool", ["snakemake", "dgsct"])
def test_every_line_is_one_that_the_tool_takes(rules, tool):
    shown = [line for line in LINES if line.words[0] == tool]
    faults = [f"{line.where}: {line.text}: {fault}" for line in shown if (fault := fault_of(line, rules))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("arguments", PLANNED, ids=" ".join)
def test_targets_before_settings_are_planned(tmp_path, arguments):
    site = (ROOT / "workflow/config/site.yaml").read_text(encoding="utf-8")
    (tmp_path / "AVE").mkdir()
    (tmp_path / "AVE" / "Annotations.txt").touch()
    (tmp_path / "my_site.yaml").write_text(site.replace("ave: null", "ave: AVE"), encoding="utf-8")
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("swinv2_large_window12_192_22k.pth", "HTSAT_AudioSet_Saved_1.ckpt"):
        (weights / name).touch()
    planned = snakemake(tmp_path, *arguments)
    assert not planned.code, planned.text
    assert planned.jobs["table1"] == 1


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("snakemake --config scale=paper table1", "name=value"),
        ("snakemake tabel1", "tabel1"),
        ("snakemake table1 --config scale=large", "large"),
        ("snakemake table1 --configs scale=paper", "--configs"),
        ("snakemake table1 --config seed=3", "seed"),
        ("snakemake table5 --config methods=dg-sct,lavvish", "lavvish"),
        ("snakemake --profile slrum all_tables", "slrum"),
        ("dgsct plan tabel1 --scale paper", "tabel1"),
        ("dgsct plan table1 --gpu 4", "4"),
        ("dgsct plan table1 --gpus four", "--gpus"),
        ("dgsct prepair ave ROOT OUT", "prepair"),
        ("dgsct prepare ave ROOT", "out"),
        ("dgsct prepare avs ROOT OUT", "avs"),
        ("dgsct run ave dg-sct --set S=maybe", "maybe"),
        ("dgsct run ave avs-pvt --set S=off", "ave"),
        ("dgsct cells tabel1", "tabel1"),
        ("dgsct tables --protocol releese", "releese"),
        ("dgsct masks results/runs/mini/release/avs-ms3/dg-stc/default/s0", "dg-stc"),
        ("dgsct convert sven FILE OUT", "sven"),
        ("dgsct doctor --profile slrum", "slrum"),
    ],
)
def test_a_wrong_line_is_noticed_wherever_it_stands(tmp_path, rules, command, reason):
    (tmp_path / "docs").mkdir()
    (tmp_path / "dgsct").mkdir()
    page = f"Text.\n```\n{command}    # what it does\n```\n"
    (tmp_path / "docs" / "page.md").write_text(page, encoding="utf-8")
    (tmp_path / "Snakefile").write_text(f"# Command:    {command}\n", encoding="utf-8")
    lines = lines_of(tmp_path)
    assert [(line.where, line.text) for line in lines] == [("docs/page.md", command), ("Snakefile", command)]
    assert all(reason in fault_of(line, rules) for line in lines)


def test_in_running_text_a_part_may_be_left_out_but_not_be_wrong(tmp_path, rules):
    (tmp_path / "dgsct").mkdir()
    (tmp_path / "page.md").write_text(
        "`dgsct prepare` and `dgsct evaluate --set\ngamma=0.05`, `dgsct plan --gpu`.", encoding="utf-8"
    )
    first, second, third = lines_of(tmp_path)
    assert second.text == "dgsct evaluate --set gamma=0.05"
    assert not fault_of(first, rules) + fault_of(second, rules)
    assert "--gpu" in fault_of(third, rules)


def test_messages_are_read_with_what_they_fill_in(tmp_path, rules):
    (tmp_path / "dgsct").mkdir()
    source = (
        'def f(path):\n    """See `dgsct ls`."""\n    raise OSError(f"{path} is gone: `snakemake {path}`" " or `dgsct lost`")'
    )
    (tmp_path / "dgsct" / "module.py").write_text(source, encoding="utf-8")
    faults = {line.text: fault_of(line, rules) for line in lines_of(tmp_path)}
    assert set(faults) == {"dgsct ls", "snakemake PLACE", "dgsct lost"}
    assert [text for text, fault in faults.items() if fault] == ["dgsct lost"]
