"""How large the letters of a PDF are on its pages, in points: sizes of fonts, times the scales of what they stand in."""

import re
import zlib
from pathlib import Path

NUMBER = rb"-?\d*\.?\d+"
STREAM = re.compile(rb"(\d+) 0 obj\s*<<(.*?)>>\s*stream\r?\n(.*?)\r?\nendstream", re.S)
# What changes the scale or the font, sets text, or places another object; strings are passed over.
STEPS = re.compile(
    rb"\((?:\\.|[^\\()])*\)|(?<![\w.])(?:(?P<q>[qQ])|(?P<cm>(?:"
    + NUMBER
    + rb"\s+){6})cm|/\S+\s+(?P<font>"
    + NUMBER
    + rb")\s+Tf"
    rb"|(?P<tm>(?:" + NUMBER + rb"\s+){6})Tm|(?P<show>T[Jj])|/(?P<name>[\w.-]+)\s+Do)(?!\w)"
)


def _streams(content: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Dictionary and unpacked content of every stream by its number."""
    found = {}
    for number, about, packed in STREAM.findall(content):
        try:
            found[int(number)] = about, zlib.decompress(packed) if b"FlateDecode" in about else packed
        except zlib.error:
            found[int(number)] = about, b""
    return found


def _objects(streams: dict[int, tuple[bytes, bytes]], content: bytes) -> bytes:
    """Everything that is written outside of streams, and in streams of objects."""
    return content + b"".join(text for about, text in streams.values() if b"/ObjStm" in about)


def _walk(text: bytes, forms: dict[bytes, bytes], scale: float, sizes: list[float]) -> None:
    """Add the size of every piece of text to `sizes`, within the forms that are placed too."""
    stack, font, matrix = [scale], 0.0, 1.0
    for step in STEPS.finditer(text):
        if step["q"] == b"q":
            stack.append(stack[-1])
        elif step["q"]:
            stack.pop()
        elif step["cm"]:
            stack[-1] *= _scale(step["cm"])
        elif step["font"]:
            font, matrix = float(step["font"]), 1.0
        elif step["tm"]:
            matrix = _scale(step["tm"])
        elif step["show"]:
            sizes.append(font * matrix * stack[-1])
        elif step["name"] in forms:
            _walk(forms[step["name"]], forms, stack[-1], sizes)


def _scale(six: bytes) -> float:
    a, b, c, d, _, _ = map(float, six.split())
    return abs(a * d - b * c) ** 0.5


def letter_sizes(pdf: Path) -> list[float]:
    """Sizes in PDF points (1/72 inch) of every piece of text on the pages."""
    content = pdf.read_bytes()
    streams = _streams(content)
    written = _objects(streams, content)
    named = re.findall(rb"/([\w.-]+) (\d+) 0 R", written)
    forms = {name: streams[int(n)][1] for name, n in named if int(n) in streams and b"/Form" in streams[int(n)][0]}
    sizes: list[float] = []
    for number in re.findall(rb"/Contents (\d+) 0 R", written):
        _walk(streams[int(number)][1], forms, 1.0, sizes)
    return sizes
