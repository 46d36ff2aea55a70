"""The five renderings of a table in which every state occurs, against golden files and against what reads them.

After a wanted change: `PYTHONPATH=tests python tests/publish/render/test_render.py` writes the golden files anew; look at the
difference before committing it.
"""

import csv
import io
import json
import re
import shutil
import statistics
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_rig import place, place_failure, small_experiment, table_of_all_states

from dgsct.errors import DgsctError
from dgsct.publish.render import RENDERERS, Cell, Table, write_table
from dgsct.publish.render.html import render as html
from dgsct.publish.render.json_sidecar import render as sidecar
from dgsct.publish.render.latex import render as latex
from dgsct.publish.render.latex_text import escape
from dgsct.publish.render.markdown import render as markdown
from dgsct.publish.render.model import difference, footnote_mark, footnote_marks, own_number, printed, signed
from dgsct.publish.tables import build_table
from dgsct.records.results import read_record
from dgsct.runs.experiments import Settings, all_runs, load_experiments
from dgsct.runs.run import Run

GOLDEN = Path(__file__).resolve().parent / "golden"
VOID = {"meta", "br", "hr", "img", "link"}
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


def labelled(label: str):
    """The table with `label` in every place that takes text."""
    table = table_of_all_states()
    rows = tuple(replace(row, label=label, texts={"Visual": label}) for row in table.rows)
    columns = tuple(replace(column, label=label, group=label + "!") for column in table.columns)
    notes = tuple(f"{label} {i}" for i in range(len(table.footnotes)))
    return replace(table, rows=rows, columns=columns, footnotes=notes, remarks=(label,), title=label, stamp=label)


def segmentation(root: Path) -> Table:
    """Table 3 with a record of every run but two: two settings of two metrics each, yardsticks, print beside it."""
    experiment, wanted = load_experiments()["table3"], Settings(seeds=1)
    for i, run in enumerate(all_runs([experiment], wanted)):
        if run.method != "avs-r50":
            place(root, run, 30 + 2.5 * i)
    return replace(build_table(experiment, wanted, root), name="segmentation")


@pytest.mark.parametrize("ending", ["tex", "md", "csv"])  # the others hold keys, which change with the code
def test_golden_segmentation(tmp_path, ending):
    write_table(segmentation(tmp_path / "results"), tmp_path)
    assert (tmp_path / f"segmentation.{ending}").read_bytes() == (GOLDEN / f"segmentation.{ending}").read_bytes()


@pytest.mark.parametrize("ending", RENDERERS)
def test_golden(tmp_path, ending):
    write_table(table_of_all_states(), tmp_path)
    assert (tmp_path / f"states.{ending}").read_bytes() == (GOLDEN / f"states.{ending}").read_bytes()


def test_all_five_forms_are_written(tmp_path):
    written = write_table(table_of_all_states(), tmp_path / "new" / "folder")
    assert [path.name for path in written] == [f"states.{ending}" for ending in ("tex", "md", "csv", "html", "json")]
    assert sorted((tmp_path / "new/folder").iterdir()) == sorted(written)


def test_a_place_that_takes_no_files_is_one_sentence(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(DgsctError, match="cannot write"):
        write_table(table_of_all_states(), tmp_path / "out")


def test_numbers_as_text():
    assert [signed(x) for x in (0.04, -0.04, 0.06, -12.0)] == ["0.0", "0.0", "+0.1", "-12.0"]
    assert [printed(x) for x in (None, 82.25, "n/a")] == ["–", "82.2", "n/a"]
    assert [footnote_mark(n) for n in (0, 25, 26, 51, 52)] == ["a", "z", "aa", "az", "ba"]
    assert footnote_marks((2, 0)) == "a,c"
    assert difference(Cell("ok", 80.0, published="81.0")) == "–"


@pytest.mark.parametrize("ending", RENDERERS)
def test_the_stamp_stands_on_every_form(ending):
    assert "paper scale; every state" in RENDERERS[ending](table_of_all_states())


@settings(deadline=None)
@given(ANY_TEXT)
def test_latex_text_is_ascii_with_balanced_braces(text):
    out = escape(text)
    assert out.isascii()
    assert out.isprintable()
    depth = 0
    for brace in re.findall(r"\\[{}]|[{}]", out):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        assert depth >= 0
    assert depth == 0


@settings(deadline=None)
@given(ANY_TEXT)
def test_latex_text_leaves_no_special_character_bare(text):
    bare = re.sub(r"\\[{}$&#%_]|\$\\[A-Za-z]+\$|\$-\$|\\[\^~]\{", "", escape(text))
    assert not set("$&#%_^~|<>") & set(bare)


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("100 % of A_B & C", r"100 \% of A\_B \& C"),
        ("α = 0.3 ± 0.1", r"$\alpha$ = 0.3 $\pm$ 0.1"),
        ("Zoë", r"Zo\"{e}"),
        ("[a]*", "{[}a{]}{*}"),
        ("a -- b", "a -{}- b"),
        ("字", "{[}U+5B57{]}"),
        ("a\n\tb ", "a b"),
        ("C:\\{x}", r"C:\textbackslash{}\{x\}"),
    ],
)
def test_latex_text(text, tex):
    assert escape(text) == tex


def test_latex_rows_have_as_many_cells_as_the_tabular_has_columns():
    text = latex(table_of_all_states())
    spec = re.search(r"\\begin\{tabular\}\{(\w+)\}", text).group(1)
    body = text.split(r"\begin{tabular}")[1].split(r"\end{tabular}")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 8 + 3
    for row in rows:
        spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
        assert len(re.findall(r"(?<!\\)&", row)) + 1 + sum(spans) - len(spans) == len(spec)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_and_its_page_holds_the_numbers(tmp_path):
    (tmp_path / "states.tex").write_bytes((GOLDEN / "states.tex").read_bytes())
    hard = replace(labelled('α*[b] "–" ‘x’ Zoë ~^\\{}$#_%&|<>字'), name="hard")
    (tmp_path / "hard.tex").write_text(latex(hard), encoding="ascii")
    page = [r"\documentclass{article}", r"\usepackage{booktabs,xcolor,caption,graphicx}", r"\begin{document}"]
    page += [r"\input{states}", r"\input{hard}", r"\begin{table}\input{states}\end{table}", r"\end{document}"]
    (tmp_path / "page.tex").write_text("\n".join(page), encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("pdftotext"):
        shown = subprocess.run(["pdftotext", "-layout", "page.pdf", "-"], cwd=tmp_path, capture_output=True, text=True)
        text = " ".join(shown.stdout.split())
        for word in ("81.3 ± 0.3", "82.2", "-0.9", "+1.0", "(461,282,531)", "74.8", "n/a", "not run yet", "corrupt"):
            assert word in text.replace("−", "-")


def pipes(line: str) -> int:
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_markdown_lines_have_the_same_number_of_cells():
    lines = table_lines(markdown(table_of_all_states()))
    assert len(lines) == 2 + 8 + 1
    assert {pipes(line) for line in lines} == {8}


@settings(deadline=None)
@given(ANY_TEXT)
def test_markdown_lines_have_the_same_number_of_cells_for_any_label(label):
    """In every part: a long label sets the two columns below each other."""
    lines = table_lines(markdown(labelled(label)))
    widths = [{pipes(line) for line in lines[i : i + 11]} for i in range(0, len(lines), 11)]
    assert len(lines) % 11 == 0
    assert widths in ([{8}], [{7}, {5}])


def test_markdown_shows_text_as_it_is():
    text = markdown(table_of_all_states())
    assert r"ok \| \<b\> & 100 % of \*A\_B\*" in text
    assert "| 81.3 ± 0.3 | 82.2 | -0.9 |" in text
    assert "| *missing*<sup>g</sup> | – | – |" in text
    assert "461.3 (461,282,531)" in text


class Page(HTMLParser):
    """Tags, attributes and texts of a page; fails where tags are not balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.titles, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.titles += [value for name, value in attrs if name == "title"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_html_is_balanced_and_shows_labels_as_text():
    page = Page(html(table_of_all_states()))
    assert "ok | <b> & 100 % of *A_B*" in page.texts
    assert "b" not in page.tags
    runs = 1 + sum(len(cell.sources) for row in table_of_all_states().rows for cell in row.cells.values())
    assert page.tags.count("tr") == 2 + 8 + runs


def test_html_hides_nothing_in_hover_text():
    """Whoever reads on a telephone, or prints the page, sees the runs, and where a number is printed."""
    text = html(table_of_all_states())
    assert not Page(text).titles
    cells = "</td><td>".join(("1", "ok", "81.0200", "0123456789ab", "runs/x/s1/record.json"))
    assert f"<td>AVE Accuracy (%)</td><td>{cells}</td>" in text
    assert "<li>printed in Table 6: yardstick</li>" in text


@settings(deadline=None)
@given(ANY_TEXT)
def test_html_tags_do_not_depend_on_labels(label):
    """Beside one of the same width without a character that HTML knows: wide ones are set in two parts."""
    harmless = label.translate({ord(c): w for c, w in zip("<>\"&'", "oooMi", strict=True)})
    assert Page(html(labelled(label))).tags == Page(html(labelled(harmless))).tags


def test_html_cells_fill_every_row():
    text = html(table_of_all_states())
    widths = set()
    for row in re.findall(r"<tr.*?</tr>", text):
        spans = [int(n) for n in re.findall(r'colspan="(\d+)"', row)]
        widths.add(len(re.findall(r"<t[hd]", row)) - len(spans) + sum(spans))
    assert widths == {7}


def test_csv_read_back_gives_the_same_cells(tmp_path):
    table = table_of_all_states()
    write_table(table, tmp_path)
    read = pd.read_csv(tmp_path / "states.csv", keep_default_na=False, dtype=str)
    assert len(read) == len(table.rows) * len(table.columns)
    lines = iter(read.to_dict("records"))
    for row in table.rows:
        for column in table.columns:
            line, cell = next(lines), row.cells[column.id]
            assert (line["row"], line["label"], line["column"], line["state"]) == (row.id, row.label, column.id, cell.state)
            for name in ("mean", "std", "difference", "published"):
                value = getattr(cell, name)
                if isinstance(value, float):
                    assert float(line[name]) == pytest.approx(value, rel=1e-5)
                else:
                    assert line[name] == (value or "")
            assert (int(line["seeds"]), line["exact"]) == (cell.seeds, "" if cell.exact is None else str(cell.exact))
            assert (line["scale"], line["protocol"], line["stamp"]) == (table.scale, table.protocol, table.stamp)
    plain = pd.read_csv(tmp_path / "states.csv")
    assert plain["mean"].dtype == plain["difference"].dtype == float


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=40))
def test_csv_keeps_any_label(label):
    lines = list(csv.DictReader(io.StringIO(RENDERERS["csv"](labelled(label)), newline="")))
    assert {line["label"] for line in lines} == {label}


def test_every_number_of_the_json_is_traced_to_records_and_keys(tmp_path):
    runs = [Run.make("ave", "dg-sct", seed=seed) for seed in range(2)]
    for run, value in zip(runs, (81.0, 82.5), strict=True):
        place(tmp_path, run, value)
    place(tmp_path, Run.make("ave", "all-background"), 17.0)
    place_failure(tmp_path, Run.make("ave", "dg-sct", {"S": False}, seed=1))
    value = json.loads(sidecar(build_table(small_experiment(), Settings(seeds=2), tmp_path)))
    numbers = 0
    for row in value["rows"]:
        for cell in row["cells"].values():
            good = [run for run in cell["runs"] if run["state"] == "ok"]
            assert (cell["mean"] is None) == (not good)
            if good:
                numbers += 1
                records = [read_record(tmp_path / run["record"]) for run in good]
                assert [run["key"] for run in good] == [record["key"] for record in records]
                assert cell["mean"] == statistics.fmean(r["metrics"][r["reported"]] for r in records)
                assert cell["seeds"] == len(records)
            if cell["published"]:
                assert cell["published"]["source"] == "Table 0"
    assert numbers == 2
    states = [run["state"] for run in value["rows"][1]["cells"]["ave"]["runs"]]
    assert states == ["missing", "failed"]


def test_json_has_no_numbers_that_json_cannot_hold():
    table = table_of_all_states()
    broken = replace(table.rows[0].cells["ave"], mean=float("nan"), std=float("inf"))
    rows = (replace(table.rows[0], cells={**table.rows[0].cells, "ave": broken}),)

    def refuse(word):
        raise AssertionError(word)

    cell = json.loads(sidecar(replace(table, rows=rows)), parse_constant=refuse)["rows"][0]["cells"]["ave"]
    assert (cell["mean"], cell["std"], own_number(broken)) == (None, None, "nan ± inf")


if __name__ == "__main__":
    print(*write_table(table_of_all_states(), GOLDEN), sep="\n")
    with TemporaryDirectory() as scratch:
        for path in write_table(segmentation(Path(scratch) / "results"), Path(scratch)):
            if path.suffix in (".tex", ".md", ".csv"):
                print(shutil.copy(path, GOLDEN))
