"""The answer in words: coloured in a terminal, one plain line a finding elsewhere."""

from collections import Counter
from collections.abc import Iterable

from dgsct.campaign.doctor import LEVELS, Finding

SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "bold red")}
WIDTH = 8


def print_findings(findings: Iterable[tuple[str, Finding]]) -> int:
    """Print each finding as it comes, and how many of each kind there were; returns the number of errors."""
    from rich.console import Console
    from rich.text import Text

    console, counts = Console(highlight=False), Counter[str]()
    for area, finding in findings:
        counts[finding.level] += 1
        if not console.is_terminal:
            remedy = f"; remedy: {finding.remedy}" if finding.remedy else ""
            print(f"{finding.level:<{WIDTH}}{area:<{WIDTH + 2}}{finding.text}{remedy}", flush=True)
            continue
        sign, style = SIGNS[finding.level]
        line = Text.assemble((sign, style), " ", (f"{area:<{WIDTH + 2}}", "bold"), finding.text)
        console.print(line, soft_wrap=True)
        if finding.remedy:
            console.print(Text(f"{'':<{WIDTH + 4}}→ {finding.remedy}", style="dim"), soft_wrap=True)
    words = [f"{counts[level]} {level}{'s' * (counts[level] != 1 and level != 'ok')}" for level in reversed(LEVELS)]
    print(", ".join(words))
    return counts["error"]
