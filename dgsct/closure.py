"""What code a run's result depends on: the hash of the modules its entry points import, and of nothing else.

The hash is taken over syntax trees without docstrings, so comments, formatting and documentation re-train nothing.
Modules are read, never imported, so the DAG can be planned without torch.
"""

import ast
import hashlib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

PACKAGE = "dgsct"
# What these decide stands, written out, in `Run.resolved()`, or in the record alone, or is when and where a run is carried out;
# hashing their text too would train every run again whenever a method, a task or a line of the ledger is added. So do, in any
# room, files that hold declarations and switches only. Public names of weights decide which file fits, and no number.
SETTLED_ROOMS = frozenset(("records", "runs", "settings"))
SETTLED_FILES = ("__init__.py", "ledger.py", "options.py", "keys*.py")
SETTLED = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "atomic", "checksum", "closure", "errors", "progress",
        "data.extractors", "methods.base",
        "engine.contract", "engine.execution", "engine.run_lock", "engine.scratch", "engine.stopping",
    )
)  # fmt: skip
ROOT = Path(__file__).resolve().parent


def _settled(module: str, path: Path) -> bool:
    room = module.split(".")[1:2]
    declares = any(fnmatchcase(path.name, pattern) for pattern in SETTLED_FILES)
    return module in SETTLED or declares or bool(SETTLED_ROOMS.intersection(room))


def _path(module: str, root: Path) -> Path | None:
    base = root.parent.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.AST, root: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == PACKAGE:
            modules.add(str(node.module))
            modules.update(f"{node.module}.{a.name}" for a in node.names if _path(f"{node.module}.{a.name}", root))
    return modules


def _without_docstrings(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                # A body of nothing but a docstring keeps a statement, as a body must.
                body[:1] = [] if len(body) > 1 else [ast.Pass()]
    return ast.dump(tree)


@cache
def _module(path: Path, _stamp: tuple[int, int], root: Path) -> tuple[str, frozenset[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports = frozenset(_imports(tree, root))
    return hashlib.sha256(_without_docstrings(tree).encode()).hexdigest(), imports


def closure(*entries: str, root: Path = ROOT) -> dict[str, str]:
    """Module name -> sha256 of its syntax tree, for `entries` and every `dgsct` module they import, at any depth.

    Modules whose outcome is part of a run's description anyway (`SETTLED` and its like) are left out.
    """
    hashes: dict[str, str] = {}
    todo, seen = list(entries), set(entries)
    while todo:
        module = todo.pop()
        path = _path(module, root)
        if path is None or _settled(module, path):
            continue
        stat = path.stat()
        hashes[module], imports = _module(path, (stat.st_mtime_ns, stat.st_size), root)
        todo.extend(imports - seen)
        seen |= imports
    return dict(sorted(hashes.items()))


def code_hash(*entries: str, root: Path = ROOT) -> str:
    """One sha256 over `closure(*entries)`."""
    lines = "\n".join(f"{name} {digest}" for name, digest in closure(*entries, root=root).items())
    return hashlib.sha256(lines.encode()).hexdigest()
