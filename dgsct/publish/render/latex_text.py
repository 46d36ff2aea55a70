"""Any text as LaTeX that compiles with plain pdflatex and the CM fonts: nothing but ASCII comes out."""

import re
import unicodedata

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # Braces: a cell may follow `\\`, which would take a bracket or a star for its own argument.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "∈": r"$\in$",
    "Δ": r"$\Delta$",
    "Ω": r"$\Omega$",
    "Σ": r"$\Sigma$",
    "µ": r"$\mu$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ı": r"\i{}",
    "§": r"\S{}",
    "†": r"\dag{}",
    "©": r"\copyright{}",
}
GREEK = frozenset(
    (
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu", "nu", "xi", "pi",
        "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    )
)  # fmt: skip
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip


def _greek(char: str) -> str | None:
    name = unicodedata.name(char, "").lower()
    letter = name.removeprefix("greek small letter ")
    return rf"$\{letter}$" if letter in GREEK else None


def _accented(char: str) -> str | None:
    """`é` as `\\'{e}`; None if a letter or accent is not in the CM fonts."""
    parts = unicodedata.normalize("NFD", char)
    if len(parts) != 2 or not parts[0].isascii() or not parts[0].isalpha() or parts[1] not in ACCENTS:
        return None
    letter = rf"\{parts[0]}" if parts[0] in "ij" and parts[1] != "\u0327" else parts[0]
    return rf"\{ACCENTS[parts[1]]}{{{letter}}}"


def _char(char: str) -> str:
    if char in SPECIAL:
        return SPECIAL[char]
    if char.isspace():
        return " "
    if char.isascii():
        return char if char.isprintable() else f"{{[}}U+{ord(char):04X}{{]}}"
    # A letter that the fonts lack is shown by its code: visible, and the table still compiles.
    return _greek(char) or _accented(char) or f"{{[}}U+{ord(char):04X}{{]}}"


def escape(text: str) -> str:
    """`text` as it should be read, safe in any cell, caption or footnote."""
    composed = unicodedata.normalize("NFC", text)
    # Ligatures of the fonts (`--`, `''`, ?`) would change what the text says.
    apart = re.sub(r"(?<=[-`'?!,])(?=[-`',])", "\0", composed)
    joined = "".join("{}" if char == "\0" else _char(char) for char in apart.replace("\0\0", "\0"))
    return re.sub(r" +", " ", joined).strip()
