"""AVSBench-object, settings S4 and MS3: files, decoding, generated sets, batches, measures."""

from dataclasses import replace

from dgsct.settings.recipe import Recipe
from dgsct.tasks.avs.options import Ms3Options, S4Options
from dgsct.tasks.base import Task, Yardstick
from dgsct.tasks.metric import declare

DATASETS = ("avs-s4", "avs-ms3")

_HOW = {
    "batch4": "mIoU and F-score of AVS are means over test batches of 4 clips, each with its own best threshold of the F-score",
    "clip": "mIoU of AVS is over all test frames, its F-score the mean over clips, each with its own best threshold",
    "frame": "mIoU and F-score of AVS are over all test frames, the latter over those with an object and at one threshold",
}
_EMPTY = "collapsed, every predicted mask is empty as of the yardstick All silent (Table 3)"
_IOU = {"label": "mIoU", "called": ("reported", "miou"), "bounded_by": "miou"}
_FSCORE = {"label": "F-score", "called": ("fscore",)}
_METRICS = declare(
    "dgsct.tasks.avs.measures",
    miou={**_IOU, "when": {"f_protocol": ("clip", "frame")}, "how": _HOW["frame"]},
    miou_batch4={**_IOU, "when": {"f_protocol": ("batch4",)}, "how": _HOW["batch4"]},
    fscore_batch4={**_FSCORE, "when": {"f_protocol": ("batch4",)}, "how": _HOW["batch4"]},
    fscore_clip={**_FSCORE, "when": {"f_protocol": ("clip",)}, "how": _HOW["clip"]},
    fscore_frame={**_FSCORE, "when": {"f_protocol": ("frame",)}, "how": _HOW["frame"]},
    miou_lower={"label": "mIoU, at least"},
    miou_upper={"label": "mIoU, at most"},
    miou_unseen_ids={"label": "mIoU, unseen videos"},
    mask_area={"label": "area of the predicted masks", "remarks": {0.0: _EMPTY}},
)


def mini_recipe(epochs: int, batch_size: int, lr: float) -> Recipe:
    """At the full rate from the first step on, some seeds lose every channel of the decoder's last ReLU that a mask needs,
    and their masks stay empty."""
    rates = {"lr": lr, "lr_step": 4, "lr_gamma": 0.3, "warmup": 1, "warmup_lr": 1e-3}
    return Recipe(epochs, epochs, batch_size, threads=1, evaluate_every=epochs, **rates)


_S4 = Task(
    name="avs-s4",
    summary="segmentation of the one sounding object in 5 frames, trained on the first frame's masks (AVSBench S4)",
    folder="avs",
    dataset="avs-s4",
    options=S4Options,
    measure="f_protocol",
    metrics=_METRICS,
    recipes={
        "paper": Recipe(epochs=15, patience=15, batch_size=8, lr=3e-4),
        "mini": mini_recipe(epochs=6, batch_size=10, lr=3e-3),
    },
    arrays=("masks", "annotated"),
    inputs={
        "frames": "float32 [B, 5, 3, H, W], colours in [0, 1], one frame a second",
        "wave": "float32 [B, 5, samples] in [-1, 1], one second each at 32 kHz",
        "logmel": "float32 [B, 5, F, mel] in dB: the log-mel of each tiled second, in compact form",
        "features/vggish": "float32 [B, 5, 128]: VGGish's embedding of each 0.96 s",
    },
    targets={
        "masks": "float32 [B, 5, H, W] in {0, 1}: what sounds; zeros where a frame is not annotated",
        "annotated": "bool [B, 5]: which frames have a mask; of an S4 training clip the first one only",
    },
    predictions={"masks": "float32 [B, 5, H, W] in [0, 1], the probability that a pixel belongs to what sounds"},
    # So short a training does not average out that half of the sounds are rather another clip's.
    presets={"mini": {"mixup": False}},
    shared=("f_protocol",),
    yardsticks=(
        Yardstick("all-foreground", "yardstick: every pixel sounds"),
        Yardstick("all-silent", "yardstick: no pixel sounds"),
        Yardstick("centre-prior", "yardstick: a disc in the middle, of the radius that fits the training masks best"),
        Yardstick("mean-mask", "yardstick: the mean of the training masks, cut where it fits them best"),
    ),
)
TASKS = (
    _S4,
    replace(
        _S4,
        name="avs-ms3",
        summary="segmentation of all sounding objects in 5 frames, trained on every frame's masks (AVSBench MS3)",
        dataset="avs-ms3",
        options=Ms3Options,
        recipes={
            "paper": Recipe(epochs=30, patience=30, batch_size=2, lr=1.5e-4),
            "mini": mini_recipe(epochs=5, batch_size=5, lr=3e-3),
        },
        sets={"reduction": 2},
    ),
)
