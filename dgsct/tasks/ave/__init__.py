"""AVE, audio-visual event localization: files, decoding, the generated set, batches and targets, measures."""

from dgsct.settings.recipe import Recipe
from dgsct.tasks.ave.categories import BY_SCALE
from dgsct.tasks.ave.options import AveOptions
from dgsct.tasks.base import Task, Yardstick
from dgsct.tasks.metric import declare

DATASETS = ("ave",)
TASKS = (
    Task(
        name="ave",
        summary="audio-visual event localization: one of 28 event classes or background for each of 10 seconds (AVE)",
        folder="ave",
        dataset="ave",
        options=AveOptions,
        measure="accuracy",
        metrics=declare(
            "dgsct.tasks.ave.measures",
            acc_batch8={
                "label": "AVE accuracy",
                "called": ("reported",),
                "when": {"accuracy": ("batch8",)},
                "bounded_by": "acc_exact",
                "how": "AVE accuracy is the mean over test batches of 8",
            },
            acc_exact={
                "label": "AVE accuracy",
                "called": ("reported",),
                "when": {"accuracy": ("exact",)},
                "bounded_by": "acc_exact",
                "how": "AVE accuracy is over all test segments",
            },
            category={"label": "category accuracy"},
            relevance={"label": "event or background"},
            acc_exact_lower={"label": "AVE accuracy, at least"},
            acc_exact_upper={"label": "AVE accuracy, at most"},
            acc_exact_unseen_ids={"label": "AVE accuracy, unseen videos"},
        ),
        recipes={
            "paper": Recipe(epochs=50, patience=20, batch_size=8, lr=5e-4, lr_step=3, lr_gamma=0.35),
            "mini": Recipe(9, 9, batch_size=8, lr=3e-3, lr_step=7, lr_gamma=0.2, threads=1, evaluate_every=9),
        },
        arrays=("labels",),
        inputs={
            "frames": "float16 [B, 10, 3, H, W], colours in [0, 1], one frame a second",
            "wave": "float32 [B, 10, samples] in [-1, 1], one second each at 32 kHz",
            "logmel": "float32 [B, 10, F, mel] in dB: the log-mel of each tiled second, in compact form",
        },
        targets={
            "relevant": "float32 [B, 10], 1 where an event is",
            "category": "int64 [B], the clip's event class, 0 for a clip without any",
        },
        predictions={"segments": "int64 [B, 10], the class of each second; the number of classes stands for background"},
        classes={scale: len(names) for scale, names in BY_SCALE.items()},
        shared=("accuracy",),
        keeps_last=True,
        yardsticks=(
            Yardstick("all-background", "yardstick: every segment is background"),
            Yardstick("majority-class", "yardstick: every segment is the most frequent event class of the training split"),
            Yardstick(
                "oracle-category",
                "oracle: the clip's true category in every segment (reads test labels)",
                sees_test_labels=True,
            ),
        ),
    ),
)
