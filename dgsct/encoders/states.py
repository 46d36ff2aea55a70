"""What `dgsct weights` tells: where each public file stands, and whether it fits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgsct.checksum import sha256_file
from dgsct.encoders.sources import ENDINGS, PublicWeights, get_weights, place_of, remedy
from dgsct.errors import DgsctError
from dgsct.settings.scales import PAPER


@dataclass(frozen=True)
class WeightsState:
    """Where one public file stands: `found`, `missing` or `wrong`, its path, and the rest in words."""

    weights: PublicWeights
    name: str
    path: Path | None
    text: str


def state_of(encoder: str, site: Any = None, whole: bool = False) -> WeightsState:
    """Look for a public file and fit its keys, shapes and dtypes; with `whole` read every number and its checksum too."""
    weights = get_weights(encoder)
    path = place_of(encoder, site).find(weights)
    if path is None:
        return WeightsState(weights, "missing", None, remedy(encoder, site))
    try:
        return WeightsState(weights, "found", path, _inspect(encoder, path, weights, whole))
    except DgsctError as error:
        return WeightsState(weights, "wrong", path, str(error))


def _inspect(encoder: str, path: Path, weights: PublicWeights, whole: bool) -> str:
    """What a public file is, in words; DgsctError if it does not fit, or if `whole` finds it damaged inside."""
    from dgsct.encoders.public import fit_encoder  # needs torch: only where there is a file to read
    from dgsct.encoders.tensor_files import read_tensors, sound

    tensors = read_tensors(path).tensors
    fitted = fit_encoder(path, encoder, PAPER, tensors)
    text = f"{fitted.naming} layout, {fitted.entries} entries, fits"
    if not whole:
        return text
    sound(path, tensors)
    checksum = sha256_file(path)
    if weights.sha256 and path.name == weights.usual and checksum != weights.sha256:
        raise DgsctError(f"{path} has sha256 {checksum} instead of {weights.sha256}; get it again")
    return f"{text}, all numbers finite, sha256 {checksum}"


def print_states(states: list[WeightsState]) -> None:
    """Print the table of public weights: coloured in a terminal, plain blocks of lines in a pipe or a log."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    facts = [
        {
            "used by": s.weights.used_by,
            "source": s.weights.page,
            "files": ", ".join(f"{stem}{{{','.join(ENDINGS)}}}" for stem in s.weights.stems),
            "size": f"{s.weights.entries} entries, {s.weights.parameters:,} parameters, about {s.weights.megabytes} MB",
            "sha256": s.weights.sha256 or "not known yet",
            "state": f"{s.name}: {f'{s.path}: ' if s.name == 'found' else ''}{s.text}",
        }
        for s in states
    ]
    if not console.is_terminal:
        for s, lines in zip(states, facts, strict=True):
            print(f"{s.weights.encoder}: {s.weights.name} ({s.weights.title})")
            print("\n".join(f"  {name}: {text}" for name, text in lines.items()))
        return
    colors = {"found": "green", "missing": "yellow", "wrong": "red"}
    for s, lines in zip(states, facts, strict=True):
        table = Table("", "", title=f"{s.weights.encoder}: {s.weights.name}", show_header=False, title_justify="left", box=None)
        table.columns[0].style = "dim"
        for name, text in {"what": s.weights.title, **lines}.items():
            table.add_row(name, escape(text), style=colors[s.name] if name == "state" else None)
        console.print(table, highlight=False)
