"""What all generated sets share: the size of their clips, their ids, and the mark that they leave."""

import numpy as np

SIDE, FPS, RATE = 64, 10, 32000
ID_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
MARK = "mini.json"


def video_ids(count: int, seed: int) -> list[str]:
    """Distinct ids of eleven characters, as the real set's."""
    rng = np.random.default_rng([seed, 11])
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids["".join(rng.choice(list(ID_LETTERS), size=11))] = None
    return list(ids)
