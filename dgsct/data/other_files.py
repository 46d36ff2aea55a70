"""What a file is that was put where a clip or a checkpoint ought to be, told by how it begins, whatever its ending says."""

HEAD = 4096  # bytes that are looked at
# How other files begin: what such a file is, and what to do about it.
BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself", "run `git lfs pull` in its repository"),
    (b"\x1f\x8b", "is packed by gzip", "unpack it"),
    (b"BZh", "is packed by bzip2", "unpack it"),
    (b"\xfd7zXZ\0", "is packed by xz", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd", "unpack it"),
    (b"7z\xbc\xaf", "is a 7-Zip archive", "unpack it"),
    (b"Rar!", "is a RAR archive", "unpack it"),
)
BREAKS = frozenset(b"\t\n\f\r")


def other_file(head: bytes) -> tuple[str, str] | None:
    """What a file is that begins with `head`, up to `HEAD` bytes of it, and what to do; None where that is not known."""
    if head[257:262] == b"ustar":
        return "is a tar archive", "unpack it"
    for beginning, what, remedy in BEGINNINGS:
        if head.startswith(beginning):
            return what, remedy
    if not head.strip(b"\0"):
        return "begins with zeros only, as a download that did not finish", "get it again"
    if any(byte < 32 and byte not in BREAKS for byte in head):
        return None
    words = " ".join(head.decode(errors="replace").lstrip("\ufeff").split())
    if words.startswith("<"):
        return "is a web page, as a server sends it in place of a file", "get the file again"
    return f"is a text that begins {words[:40]!r}", "get the file again"
