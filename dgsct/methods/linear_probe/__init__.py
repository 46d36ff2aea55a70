"""A linear probe: one linear layer on the mean-pooled tokens of both frozen encoders, one file a task that classifies.

No paper's row: the first question that a reader has of any row above it. Its recipe is this harness's own (inferred).
"""

from dgsct.methods.base import Method, Part, frames_and_sound
from dgsct.settings.options import ENCODERS, RECIPE
from dgsct.settings.recipe import Recipe

RECIPES = {
    "paper": Recipe(epochs=50, patience=20, batch_size=8, lr=2e-3, schedule="cosine"),
    "mini": Recipe(epochs=8, patience=8, batch_size=8, lr=2e-2, schedule="cosine", threads=1, evaluate_every=8),
}

METHODS = (
    Method(
        "linear-probe",
        "one linear layer on the mean-pooled tokens of both frozen encoders, each segment by itself",
        {
            "ave": Part(
                "dgsct.methods.linear_probe.ave",
                options=("modality", *ENCODERS, *RECIPE),
                inputs=frames_and_sound,
                encoders=("swin", "htsat"),
                sizes=("swin", "htsat"),
                recipes=RECIPES,
                trainable={"paper": 66_845, "mini": 679},
            ),
        },
    ),
)
