"""What all generated sets share: ids of clips, and the mark that they leave."""

from dgsct.data.streams import generator

ID_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
MARK = "mini.json"


def video_ids(name: str, count: int, seed: int) -> list[str]:
    """Distinct ids of eleven characters, as YouTube's, for the set `name`."""
    rng = generator(f"{name}/ids", seed)
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids["".join(rng.choice(list(ID_LETTERS), size=11))] = None
    return list(ids)
