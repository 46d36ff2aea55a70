"""The deviation ledger: where paper and release disagree, what each protocol picks, and why.

Sources are the rows of the fact sheets ("core 12.1", "ave 7.3", "avs 7.1"). An entry with an option is a switch of
`dgsct.settings.options.Options`; an entry without one is the same in all protocols, and its note says why.
`docs/deviations.md` is generated from here (`ledger_markdown`).
"""

import difflib
from typing import Any

from dgsct.errors import UsageError
from dgsct.methods.dg_sct.ledger import ENTRIES as MODEL_ENTRIES
from dgsct.settings.ledger import PROTOCOLS, SUMMARIES, Entry
from dgsct.tasks.ave.ledger import ENTRIES as AVE_ENTRIES
from dgsct.tasks.avs.ledger import ENTRIES as AVS_ENTRIES

LEDGER: tuple[Entry, ...] = (
    *MODEL_ENTRIES,
    *AVE_ENTRIES,
    *AVS_ENTRIES,
)  # fmt: skip


def check_protocol(name: str) -> str:
    """`name` if it is a protocol; UsageError that lists the known ones."""
    if name not in SUMMARIES:
        close = difflib.get_close_matches(str(name), PROTOCOLS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"unknown protocol {name!r}; {hint}choose one of: {', '.join(PROTOCOLS)}")
    return name


def option_values(protocol: str, task: str) -> dict[str, Any]:
    """Option name -> value that `protocol` sets for `task`; tasks without ledger entries of their own get none."""
    check_protocol(protocol)
    return {e.option: e.values[protocol] for e in LEDGER if e.option is not None and task in e.tasks}


def _value(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def ledger_markdown() -> str:
    """The text of `docs/deviations.md`: the protocols, the table of switches, then every entry."""
    lines = [
        "# Deviation ledger",
        "",
        "Generated from `dgsct/runs/protocols.py` by `python -m dgsct.runs.protocols > docs/deviations.md`; edit there.",
        "Sources are rows of the fact sheets; *inferred* marks a reading of ours that neither paper nor code states.",
        "",
        "## Protocols",
        "",
        *(f"- `{name}`: {text}" for name, text in SUMMARIES.items()),
        "",
        "## Switches",
        "",
        "| option | topic | tasks | " + " | ".join(f"`{p}`" for p in PROTOCOLS) + " |",
        "|---|---|---|" + "---|" * len(PROTOCOLS),
    ]
    for e in LEDGER:
        if e.option is not None:
            picks = " | ".join(_value(e.values[p]) for p in PROTOCOLS)
            lines.append(f"| `{e.option}` | [{e.topic}](#{e.id}) | {', '.join(e.tasks)} | {picks} |")
    lines += ["", "## Entries"]
    for e in LEDGER:
        switch = f"`{e.option}`" if e.option else "none"
        lines += ["", f'<a id="{e.id}"></a>', f"### {e.topic} ({e.source})", ""]
        lines += [
            f"- tasks: {', '.join(e.tasks)}",
            f"- paper: {e.paper}",
            f"- release: {e.release}",
            f"- effect: {e.effect}",
            f"- switch: {switch}",
        ]
        lines += [f"- note: {e.note}"] if e.note else []
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(ledger_markdown(), end="")
