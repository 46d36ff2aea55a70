"""The `snakemake` and `dgsct` lines that documentation, comments, docstrings and messages show, and what each would do."""

import ast
import io
import os
import re
import shlex
import tokenize
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from dgsct.campaign.bounds import GPUS
from dgsct.cli import app
from dgsct.data.extractors import get_extractor
from dgsct.encoders.sources import WEIGHTS, get_weights
from dgsct.engine.execution import KEEP
from dgsct.errors import DgsctError
from dgsct.methods import get_method
from dgsct.runs.experiments import load_experiments, make_settings
from dgsct.runs.protocols import check_protocol
from dgsct.runs.run import Run
from dgsct.runs.site import read_site
from dgsct.settings.scales import get_scale
from dgsct.tasks import get_set, get_task

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/*.md", "benchmarks/*.md", "results/*.md")
COMMENTED = ("Snakefile", "Makefile", "workflow/**/*.smk", "workflow/**/*.yaml", "slurm/*")
TOOL = r"(?:snakemake|dgsct) "
INLINE = re.compile(rf"`({TOOL}[^`]+)`")
SITE = "my_site.yaml"  # a copy of the template
PLACE = "PLACE"  # a value that the program or the reader fills in
GUESTS = re.findall(r'Method\(\s*"(.+?)"', (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))  # its example
KINDS = ("release-to-ours", "ours-to-release", "tensors", *WEIGHTS)


@dataclass(frozen=True)
class Line:
    """A command as it is shown: where, its words, and whether it stands in running text, where a part may be left out."""

    where: str
    text: str
    inline: bool = False

    @property
    def words(self) -> list[str]:
        """The command's words, without what is optional in a synopsis's brackets, what it is piped to, and comments."""
        lexer = shlex.shlex(re.sub(r"[\[\]]|…|\.\.\.(?= |$)", "", self.text), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        ends = (i for i, word in enumerate(words) if set(word) <= set("|&;<>()"))
        return words[: next(ends, len(words))]


def lines_of(root: Path = ROOT) -> list[Line]:
    """Every such line of the repository, each text of a file once."""
    found = [line for pattern in PAGES for path in sorted(root.glob(pattern)) for line in _of_page(path, root)]
    found += [line for pattern in COMMENTED for path in sorted(root.glob(pattern)) for line in _of_comments(path, root)]
    found += [line for path in sorted((root / "dgsct").rglob("*.py")) for line in _of_code(path, root)]
    return list(dict.fromkeys(found))


def _command(text: str) -> str | None:
    """The command that a line opens with; two blanks end it, as a description follows."""
    match = re.match(rf"\s*(?:\$ )?({TOOL}\S.*)", text)
    return re.split(r" {2,}|\t", match[1])[0] if match else None


def _of_page(path: Path, root: Path) -> Iterator[Line]:
    """Code blocks (fenced, or indented by four blanks), then code in running text."""
    where, fenced, prose = path.relative_to(root).as_posix(), False, []
    for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            if command := _command(line):
                yield Line(where, command)
        else:
            prose.append(line)
    for match in INLINE.finditer("\n".join(prose)):
        yield Line(where, " ".join(match[1].split()), inline=True)


def _of_comments(path: Path, root: Path) -> Iterator[Line]:
    where = path.relative_to(root).as_posix()
    for line in path.read_text(encoding="utf-8").splitlines():
        yield from _of_comment(where, line.partition("#")[2])


def _of_comment(where: str, text: str) -> Iterator[Line]:
    """In quotes, or from the beginning or a colon to the end."""
    if INLINE.search(text):
        yield from (Line(where, match[1], inline=True) for match in INLINE.finditer(text))
    elif command := _command(re.sub(r"^.*:\s+", "", text)):
        yield Line(where, command)


def _of_code(path: Path, root: Path) -> Iterator[Line]:
    """Docstrings, messages and comments; what a message fills in is `PLACE`."""
    where, source = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
    texts = _Texts()
    texts.visit(ast.parse(source))
    for text in texts.found:
        for match in INLINE.finditer(text):
            yield Line(where, " ".join(match[1].split()), inline=True)
        if match := re.search(r"(?:^|: )(snakemake \S.*)$", text):
            yield Line(where, match[1], inline=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from (Line(where, match[1], inline=True) for match in INLINE.finditer(token.string))


class _Texts(ast.NodeVisitor):
    """All texts of a module."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found.append(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = (str(v.value) if isinstance(v, ast.Constant) else PLACE for v in node.values)
        self.found.append("".join(parts))


# What is wrong with a line: a sentence, or nothing


def fault_of(line: Line, rules: set[str]) -> str:
    """Why the tool would refuse this line; empty if it would not. `rules` are Snakemake's."""
    words = [re.sub(r"\bN\b", "2", word) for word in line.words]
    output = io.StringIO()
    try:
        with redirect_stderr(output), redirect_stdout(io.StringIO()), chdir(ROOT):
            (_snakemake if words[0] == "snakemake" else _dgsct)(words[1:], line, rules)
    except (DgsctError, ValueError, SystemExit) as error:
        return f"{error} {re.sub(r'[^ -~]+|Using .*profile .*', ' ', output.getvalue())}"
    return ""


def _open(word: str) -> bool:
    """Whether the reader or the program fills this in."""
    return PLACE in word or word.isupper() or word in GUESTS or not word


def _snakemake(words: list[str], line: Line, rules: set[str]) -> None:
    from snakemake.cli import parse_args, parse_config

    if line.inline and PLACE in words and "--config" in words:
        words = [word for word in words if word != "--config"]
    _, args = parse_args(words)
    config = parse_config(args.config)
    site = config.pop("site", None)
    if site != SITE:
        read_site(Path(site) if site else None)
    make_settings({name: value for name, value in config.items() if name != "experiments"})
    for profile in args.profile or ():
        if not (ROOT / "profiles" / profile).exists():
            raise ValueError(f"there is no profile {profile!r}")
    for target in args.targets:
        if not _open(target) and "/" not in target and target not in rules:
            raise ValueError(f"there is no target {target!r}")


def _dgsct(words: list[str], line: Line, rules: set[str]) -> None:
    if _open(words[0]):
        return
    values = _parsed(words, strict=not line.inline)
    for key, value in values.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if key in CHECKS and isinstance(one, str | os.PathLike) and not _open(str(one)):
                CHECKS[key](str(one))
    task, method = values.get("task"), values.get("method")
    if task and method and not _open(task) and not _open(method):
        pairs = dict(pair.split("=", 1) for pair in values.get("set_") or ())
        Run.make(task, method, {name: value for name, value in pairs.items() if name != "NAME"}).resolved()
    for target in [*(values.get("targets") or ()), *(values.get("names") or ())]:
        if not _open(target) and "/" not in target and target not in rules:
            raise ValueError(f"there is no target {target!r}")


def _parsed(words: list[str], strict: bool) -> dict[str, Any]:
    """The values that the real application hands to a command, which is not carried out. SystemExit where it refuses them;
    unless it is strict, what is required may be missing.
    """
    group, values = typer.main.get_command(app), {}
    for command in getattr(group, "commands", {}).values():
        command.callback = lambda **given: values.update(given)
        for parameter in command.params:
            parameter.required &= strict
    try:
        group.main(words, prog_name="dgsct")
    except SystemExit as end:
        if end.code:
            raise
    return values


def _one_of(names: Any) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value not in names:
            raise ValueError(f"{value!r} is none of: {', '.join(names)}")

    return check


def _run_folder(value: str) -> None:
    Run.from_folder(Path(value))


CHECKS: dict[str, Callable[[str], object]] = {
    "task": get_task,
    "method": get_method,
    "dataset": get_set,
    "extractor": get_extractor,
    "scale": get_scale,
    "protocol": check_protocol,
    "tasks": lambda value: make_settings({"tasks": value}),
    "methods": lambda value: make_settings({"methods": value}),
    "site": lambda value: None if value == SITE else read_site(Path(value)),
    "experiment": _one_of(load_experiments()),
    "kind": _one_of(KINDS),
    "keep": _one_of(KEEP),
    "layout": _one_of(("videos", "frames", "published", "videos|frames")),
    "fetch": get_weights,
    "gpu": _one_of(GPUS),
    "keys": get_weights,
    "folder": _run_folder,
    "folders": _run_folder,
    "profile": _one_of([path.name for path in (ROOT / "profiles").iterdir()]),
}
