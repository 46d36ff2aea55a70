"""One PDF with all tables and figures of a folder, typeset from what lies there; no letter is smaller than 7 pt."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from dgsct.atomic import write_bytes_atomic, write_text_atomic
from dgsct.errors import DgsctError
from dgsct.publish.render.latex_text import escape

TIMEOUT_SECONDS = 120
PREAMBLE = r"""\documentclass[a4paper,10pt]{article}
\usepackage[margin=13mm]{geometry}
\usepackage{booktabs,caption,graphicx,xcolor}
\pdfinfoomitdate=1 \pdfsuppressptexinfo=-1 \pdftrailerid{}
\pagestyle{empty}\setlength{\parindent}{0pt}\raggedbottom
\captionsetup{labelformat=empty,font=small,skip=3pt}
"""


def _in_order(paths: list[Path]) -> list[Path]:
    """table1, table5, table10 in this order."""
    return sorted(paths, key=lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.stem)])


def report_tex(folder: Path, title: str) -> str:
    """The LaTeX source of the report on what lies in `folder`; DgsctError if there is nothing."""
    tables = _in_order([p for p in folder.glob("*.tex") if p.stem != "report"])
    figures = _in_order([p for p in folder.glob("*.pdf") if p.stem != "report"])
    if not tables and not figures:
        raise DgsctError(f"{folder} holds no table (*.tex) and no figure (*.pdf); make them first: snakemake all_tables")
    parts = [rf"{{\large\bfseries {escape(title)}\par}}"]
    parts += [_unbroken(rf"\input{{{path.name}}}") for path in tables]
    # At their own size: the letters of a figure are chosen for it.
    parts += [_unbroken(rf"\centering\includegraphics{{{path.name}}}\par") for path in figures]
    content = "\n\\bigskip\n".join(parts)
    return f"{PREAMBLE}\\begin{{document}}\n{content}\n\\end{{document}}\n"


def _unbroken(content: str) -> str:
    """A part that stays on one page: its caption would else be left behind."""
    return rf"\begin{{minipage}}{{\linewidth}}{content}\end{{minipage}}\par"


def _error_line(log: str) -> str:
    """The first LaTeX error of a log with its line, as one sentence's worth of text."""
    lines = log.splitlines()
    for i, line in enumerate(lines):
        if re.match(r"(!|\S+:\d+:) ", line):
            where = next((after for after in lines[i + 1 : i + 12] if re.match(r"l\.\d+", after)), "")
            return f"{line.removeprefix('! ')} {where}".strip()
    return lines[-1].strip() if lines else "it wrote no log"


def _pdflatex(folder: Path, scratch: Path, program: str) -> Path:
    # Dates of zero: the same input gives the same bytes.
    env = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", "-no-shell-escape"]
    command += [f"-output-directory={scratch}", "report.tex"]
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DgsctError(
            f"pdflatex on {folder / 'report.tex'} took more than {TIMEOUT_SECONDS} s; look at the tables there"
        ) from None
    pdf = scratch / "report.pdf"
    if done.returncode or not pdf.exists():
        log = scratch / "report.log"
        text = log.read_text(errors="replace") if log.exists() else done.stdout.decode(errors="replace")
        raise DgsctError(f"pdflatex failed on {folder / 'report.tex'}: {_error_line(text)}; mend that table and run again")
    return pdf


def write_report(folder: Path, scale: str, protocol: str) -> Path:
    """Write `report.tex` and `report.pdf` below `folder` and return the PDF's path.

    DgsctError says what is missing (tables, pdflatex) or shows LaTeX's own error line; an older PDF then stays.
    """
    folder = Path(folder)
    source = report_tex(folder, f"DG-SCT benchmark: scale {scale}, protocol {protocol}")
    program = shutil.which("pdflatex")
    if program is None:
        raise DgsctError("pdflatex is not installed; install texlive-latex-recommended, or read the tables as .md or .html")
    write_text_atomic(folder / "report.tex", source)
    with tempfile.TemporaryDirectory(prefix="dgsct-report-") as scratch:
        pdf = _pdflatex(folder, Path(scratch), program)
        write_bytes_atomic(folder / "report.pdf", pdf.read_bytes())
    return folder / "report.pdf"
