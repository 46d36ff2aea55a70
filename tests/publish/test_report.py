"""The PDF from real tables and real figures, the size of its letters, and one sentence where it cannot be made."""

import re
import shutil
import subprocess
from itertools import pairwise

import pytest
from pdf_rig import letter_sizes
from results_rig import metrics_of, place, place_efficiency

from dgsct.errors import DgsctError
from dgsct.publish.figures import write_figure
from dgsct.publish.render import html, write_table
from dgsct.publish.render.parts import parts
from dgsct.publish.report import report_tex, write_report
from dgsct.publish.tables import build_table
from dgsct.runs.experiments import Settings, all_runs, load_experiments
from dgsct.runs.run import Run

LATEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All tables and the figure, with one real number, as the DAG leaves them."""
    root = tmp_path_factory.mktemp("results")
    for seed, value in enumerate((81.0, 82.0, 83.0)):
        place(root, Run.make("ave", "dg-sct", seed=seed), value)
    place_efficiency(root)
    folder = root / "mini" / "release"
    for experiment in load_experiments().values():
        if experiment.drawn:
            write_figure(experiment, Settings(), root, folder)
        else:
            write_table(build_table(experiment, Settings(), root), folder)
    return folder


@pytest.fixture
def small(folder, tmp_path):
    """A folder with one table."""
    small = tmp_path / "mini" / "release"
    small.mkdir(parents=True)
    shutil.copy(folder / "table6.tex", small)
    return small


@pytest.fixture(scope="module", params=["mini", "paper"])
def full(request, tmp_path_factory):
    """The widest tables and a figure with a record of every run: cells are as wide as they get."""
    root, settings = tmp_path_factory.mktemp("full"), Settings(request.param)
    experiments = {
        name: e for name, e in load_experiments().items() if name in ("table3", "table5", "table6", "table8", "fig8")
    }
    for i, run in enumerate(all_runs(experiments, settings)):
        place(root, run, metrics=metrics_of(run, 80.0 + i % 7))
    place_efficiency(root)
    for experiment in experiments.values():
        if experiment.drawn:
            write_figure(experiment, settings, root, root / "out")
        else:
            write_table(build_table(experiment, settings, root), root / "out")
    return root, settings, experiments


@LATEX
def test_no_letter_of_the_report_is_smaller_than_7_pt(full):
    """Tables 5 and 8, their footnotes and marks, and figures: what is shrunk to the page shrinks its letters."""
    root, settings, _ = full
    readable(write_report(root / "out", settings.scale, "release"))


def readable(pdf):
    sizes = letter_sizes(pdf)
    assert len(sizes) > 300
    assert min(sizes) > 6.9  # PDF points are a little larger than those of TeX: 7 pt are 6.97
    assert max(sizes) < 13


def test_tables_are_not_moved_sideways_on_a_screen(full):
    """No part of a page is wider than a window of 1,280 pixels; tasks stay whole."""
    root, settings, experiments = full
    for experiment in experiments.values():
        if not experiment.drawn:
            table = build_table(experiment, settings, root)
            pieces = parts(table, html.WIDTH, html.GAP)
            assert [column for piece in pieces for column in piece.columns] == list(table.columns)
            assert all(parts(piece, html.WIDTH, html.GAP) == [piece] for piece in pieces)
            ends = [(a.columns[-1].group, b.columns[0].group) for a, b in pairwise(pieces)]
            assert all(a != b or not a for a, b in ends), experiment.name


@LATEX
def test_every_table_and_figure_on_as_many_pages_as_can_be_read(folder):
    pdf = write_report(folder, "mini", "release")
    assert pdf == folder / "report.pdf"
    assert pdf.read_bytes().startswith(b"%PDF-")
    readable(pdf)
    assert {path.suffix for path in folder.iterdir()} == {".tex", ".md", ".csv", ".html", ".json", ".pdf", ".png"}
    if shutil.which("pdfinfo"):
        info = subprocess.run(["pdfinfo", pdf], capture_output=True, text=True, check=True).stdout
        assert re.search(r"^Pages: +5$", info, re.M)
        assert "Date" not in info
        assert "595" in re.search(r"^Page size:.*$", info, re.M).group()
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout
        for name in (*(f"Table {n}" for n in range(1, 10)), "Figure 4", "Figure 8", "Figures 9 and 10"):
            assert f"{name} of the paper" in text
        assert re.search(r"82\.0 *± *1\.0", text)
        assert "461,282,531" in text
        assert "scale mini, protocol release" in text


@LATEX
def test_the_same_tables_give_the_same_bytes(small):
    first = write_report(small, "mini", "release").read_bytes()
    (small / "report.pdf").unlink()
    assert write_report(small, "mini", "release").read_bytes() == first


def test_tables_stand_in_the_order_of_their_numbers(tmp_path):
    for name in ("table10.tex", "table2.tex", "table1.tex", "fig8.pdf", "report.tex", "report.pdf"):
        (tmp_path / name).touch()
    found = re.findall(r"\\(?:input|includegraphics)\{(.*?)\}", report_tex(tmp_path, "A title"))
    assert found == ["table1.tex", "table2.tex", "table10.tex", "fig8.pdf"]


def test_without_tables_one_sentence(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DgsctError) as error:
            write_report(folder, "mini", "release")
        assert str(error.value) == (
            f"{folder} holds no table (*.tex) and no figure (*.pdf); make them first: snakemake all_tables"
        )
    assert not list(tmp_path.iterdir())


def test_without_pdflatex_one_sentence_and_the_older_pdf_stays(small, monkeypatch):
    (small / "report.pdf").write_bytes(b"older")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DgsctError, match="pdflatex is not installed; install texlive-latex-recommended, or read") as error:
        write_report(small, "mini", "release")
    assert error.value.exit_code == 1
    assert (small / "report.pdf").read_bytes() == b"older"


@LATEX
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("fine \\par\n\\nonsense here\n", "table7.tex:2: Undefined control sequence. l.2 \\nonsense"),
        (f"\\input{{{'long-' * 20}name}}\n", f"LaTeX Error: File `{'long-' * 20}name.tex' not found."),
    ],
)
def test_a_broken_table_gives_latexs_own_line(small, text, line):
    (small / "report.pdf").write_bytes(b"older")
    (small / "table7.tex").write_text(text)
    with pytest.raises(DgsctError) as error:
        write_report(small, "mini", "release")
    message = str(error.value)
    assert error.value.exit_code == 1
    assert line in message
    assert message.endswith("; mend that table and run again")
    assert "\n" not in message
    assert (small / "report.pdf").read_bytes() == b"older"


@LATEX
def test_a_table_without_an_end_is_a_sentence_too(small):
    text = (small / "table6.tex").read_text(encoding="utf-8")
    (small / "table6.tex").write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(DgsctError, match=r"pdflatex failed on .*report\.tex: .+; mend that table"):
        write_report(small, "mini", "release")
