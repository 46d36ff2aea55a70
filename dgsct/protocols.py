"""The deviation ledger: where paper and release disagree, what each protocol picks, and why.

Sources are the rows of the fact sheets ("core 12.1", "ave 7.3", "avs 7.1"). An entry with an option is a switch of
`dgsct.options.Options`; an entry without one is the same in all protocols, and its note says why.
`docs/deviations.md` is generated from here (`ledger_markdown`).
"""

import difflib
from typing import Any

from dgsct.errors import UsageError
from dgsct.ledger import PROTOCOLS, SUMMARIES, Entry, pick
from dgsct.ledger_avs import ENTRIES as AVS_ENTRIES
from dgsct.ledger_avs_model import ENTRIES as AVS_MODEL_ENTRIES

LEDGER: tuple[Entry, ...] = (
    Entry(
        "residual", "core 12.1", "residual form",
        paper="(αM_c + βM_s + 1) ⊙ v (eq. 6)",
        release="(αM_c + βM_s + 1 − α) ⊙ x",
        effect="LN_before removes most of it; beside the constant, M_c weighs 0.43 instead of 0.3 and M_s 0.07 instead of 0.05",
        option="residual", values=pick("release", "paper", "release"),
        note="without C (Table 5) both forms are the same",
    ),
    Entry(
        "adapter-output", "core 12.2", "what Ω returns",
        paper="the attended features themselves",
        release="gate · LN(BN(up(ReLU(BN(down(LN(·))))))) of them, the gate starting at 0",
        effect="another class of functions; the paper's form would double the stream at the start",
        note="same in all protocols: the published parameter count holds the bottleneck",
    ),
    Entry(
        "latent-tokens", "core 12.3", "latent-token cross-attention",
        paper="not in eq. 1-7",
        release="always on, with 32 tokens",
        effect="part of every DG-SCT number, and all that is left in LAVisH* *inferred*",
        option="keep_tokens", values=pick(True, False, True),
        note="`off` skips them; their parameters stay in the counts, without a gradient",
    ),
    Entry(
        "audio-block", "core 12.4", "place of Ω in the audio block",
        paper="eq. 1 puts Ω between attention and MLP, as on the visual side",
        release="Ω¹ is added after the whole block, Ω² right after it",
        effect="both audio adapters are added behind the MLP, which never sees the Ω¹ of its own block",
        option="audio_block", values=pick("whole", "split", "whole"),
    ),
    Entry(
        "adapter-places", "core 12.5", "blocks with adapters",
        paper="every layer",
        release="12 of the 24 Swin blocks (every third of stage 2), all 12 HTS-AT blocks",
        effect="48 adapters; with a pair at each of the 24 Swin blocks it would be 96",
        note="same in all protocols: HTS-AT has 12 blocks to pair with, and the published parameter count fits 48",
    ),
    Entry(
        "temporal-place", "core 12.6", "temporal attention",
        paper="inside Ω, on the spatially and channel-wise attended features",
        release="once after pooling, on 256-d decoder outputs, gates from an LSTM and a 2-layer encoder",
        effect="T adds no parameters to LAVisH*; taking T away means γ = 0 *inferred*",
        note="same in all protocols: the authors confirm that T stands only at the end",
    ),
    Entry(
        "spatial-prompt", "core 12.7", "what spatial attention sees",
        paper="the full prompt map a′",
        release="the spatially averaged prompt",
        effect="no location of the prompt reaches M_s",
        option="spatial_prompt", values=pick("pooled", "map", "pooled"),
    ),
    Entry(
        "spatial-width", "core 12.8", "hidden size of S",
        paper="d = 256",
        release="d = C/2 of the stream (48 to 768)",
        effect="size of the spatial layers",
        note="same in all protocols: C/2 gives the published parameter count, 256 would give 453.3 M",
    ),
    Entry(
        "spatial-norm", "core 12.9", "M_s and the LayerNorm behind it",
        paper="not discussed",
        release="a scale per token, followed by a LayerNorm that cancels it",
        effect="with C off, only the norm's ε lets M_s through to the stream; S acts through pooling, and with mean pooling "
        "(`paper`) hardly at all",
        note="same in all protocols: it follows from the bottleneck; reported beside Table 5",
    ),
    Entry(
        "pooling", "core 12.10", "pooling of the last features",
        paper="not described",
        release="softmax(tanh s) of the last second-position adapters",
        effect="gives S most of its effect",
        option="pooling", values=pick("attention", "mean", "attention"),
        note="the paper is silent; mean is the plain reading *inferred*",
    ),
    Entry(
        "freeze-mode", "core 12.11, ave 7.4", "mode of the frozen encoders",
        paper="frozen",
        release="train mode while training: stochastic depth, SpecAugment, bn0 with batch statistics that drift",
        effect="part of the recipe, regularises; the saved audio encoder is no longer the AudioSet one",
        option="freeze_mode", values=pick("train", "eval", "eval"),
        note="the paper names no mode; eval is the plain reading *inferred*. Evaluation is in eval mode with either value, "
        "with the bn0 statistics that training has left",
    ),
    Entry(
        "tiling", "core 12.12, ave 7.9", "audio input of a segment",
        paper="mel-spectrogram of the segment",
        release="the second of sound is repeated ten times",
        effect="a periodic spectrogram at ten times the cost of its STFT; the image size stays",
        option="tile", values=pick(10, 1, 10),
        note="here two copies are analysed at most, since the other frames repeat; the spectrogram is that of all copies",
    ),
    Entry(
        "attention-relu", "core 12.13", "ReLU in eq. 3-4",
        paper="not stated",
        release="after every affine map but the two in front of a sigmoid",
        effect="unknown",
        note="same in all protocols: the paper is silent",
    ),
    Entry(
        "final-norm", "core 12.14", "last LayerNorm of the encoders",
        paper="not stated",
        release="applied to Swin, skipped for HTS-AT",
        effect="scale of the audio feature",
        note="same in all protocols: the paper is silent",
    ),
    Entry(
        "table6-units", "core 12.15, ave 7.17", "units of Table 6",
        paper="percent and GFLOPs throughout",
        release="LAVisH's \"percent\" is the number of its trainable parameters in millions (counted: 10.04); so, *inferred*, "
        "is CMBS's (its public model has 13.54), and the 17.3 in the sums of the last two rows is that of the linear layers. "
        "GFLOPs fit multiply-accumulates of one 10 s clip for DG-SCT and LAVisH*, operations of one 1 s segment for CMBS, and "
        "no counting that was tried for LAVisH *inferred*",
        effect="the columns cannot be compared down the rows",
        note="same in all protocols: the rows that we count are counted in one unit, with the published number beside it",
    ),
    Entry(
        "dead-parameters", "core 12.16", "trainable parameters",
        paper="26.3 % are attention modules",
        release="4.74 M of the trainable parameters never get a gradient",
        effect="1.03 % of the total is dead",
        note="same in all protocols: the efficiency record holds both counts",
    ),
    Entry(
        "table8-row1", "core 12.17", "first row of Table 8",
        paper="no cross-modal connections",
        release="its numbers are those of LAVisH*, which keeps cross-attention through tokens *inferred*",
        effect="the row is a baseline with a cross-modal path",
        note="same in all protocols: the row is LAVisH*; `A2V`, `V2A` and `keep_tokens` off give the literal reading "
        "*inferred*, under which the encoders do not see each other; the temporal module and the head join both streams in "
        "any case",
    ),
    Entry(
        "alpha-beta-gamma", "core 12.18", "α, β, γ",
        paper="hyper-parameters, 0.3, 0.05, 0.1 on AVE",
        release="literals in the code; the command-line options are read nowhere",
        effect="none at the published values",
        note="same in all protocols: here they are real options with the published values",
    ),
    Entry(
        "equation-number", "core 12.19", "number of eq. 2",
        paper="the second line of eq. 1 is counted but carries no number of its own",
        release="–",
        effect="none",
        note="same in all protocols: a matter of citing; here `eq. 2` is that line",
    ),
    Entry(
        "numerics", "core 12.20", "numeric environment",
        paper="not stated",
        release="fp32 without autocast, cudnn benchmark on; convolutions may use TF32 on an A100 *inferred*",
        effect="relative differences of about 1e-3 where TF32 is used",
        option="precision", values=pick("fp32", "fp32", "fp32"),
        note="TF32 and cudnn benchmark are off in every protocol, so that tests of parity mean something; `bf16` is offered "
        "as a switch (autocast, with the spectrogram and the losses in fp32)",
    ),
    Entry(
        "selection", "ave 7.1", "model selection",
        paper="not stated",
        release="the best of up to 50 epochs on the test split, the last of equals",
        effect="optimistic by some tenths",
        option="selection", values=pick("test", "val", "val"),
        note="the paper is silent; the validation split is what a reader assumes *inferred*. Test metrics in a record are "
        "those of the selected epoch; patience, too, goes by the selecting split",
    ),
    Entry(
        "accuracy", "ave 7.2", "reported accuracy",
        paper="overall accuracy",
        release="unweighted mean over test batches of 8, of which the last holds 2 clips that weigh 1/51",
        effect="behind the published 82.18 may stand 81.92 to 82.66, depending on the last two clips (20 to 10 of their 20 "
        "segments right)",
        option="accuracy", values=pick("batch8", "exact", "exact"),
        note="every record holds both; the reported one is also the one by which epochs are selected",
    ),
    Entry(
        "accumulation", "ave 7.3", "gradient accumulation",
        paper="batch size 8",
        release="gradients are zeroed every iteration and applied on every second one and on the last: odd batches move "
        "normalisation statistics only",
        effect="half of the data and 209 steps in an epoch, each from 8 clips",
        option="accumulation", values=pick("release", "off", "off"),
        note="`off` takes a step for every batch, 418 in an epoch; no value sums the gradients of two batches",
    ),
    Entry(
        "learning-rate", "ave 7.5", "learning rate",
        paper="5e-4",
        release="5e-4, times 0.35 after every third epoch",
        effect="training is practically over after about 15 epochs, when the rate is 0.5 % of the first",
        note="same in all protocols: the paper is silent on a schedule",
    ),
    Entry(
        "epochs-seed", "ave 7.6", "epochs, early stop, seed",
        paper="not stated",
        release="50 epochs, patience 20, seed 43",
        effect="one run without a spread",
        note="same in all protocols: the release's epochs and patience; seeds 0 to n−1 instead of 43, to show a spread",
    ),
    Entry(
        "head", "ave 7.7", "event head",
        paper="combined with CMBS",
        release="CMBS without its spatial-channel attention; outputs of its cross-modal blocks are unused",
        effect="0.53 M dead parameters",
        option="head", values=pick("release", "release", "release"),
        note="the paper's wording fits both; `cmbs_full` feeds the cross-modal blocks' outputs on (two unused norms stay "
        "dead), still without the spatial-channel attention, which needs unpooled features",
    ),
    Entry(
        "gate-loss", "ave 7.8", "gate loss",
        paper="not stated",
        release="a sigmoid on top of probabilities",
        effect="the term cannot fall below 0.313 (event) or 0.693 (background)",
        option="gate_loss", values=pick("double_sigmoid", "probability", "probability"),
        note="the paper is silent; a loss on the probability itself is the plain reading *inferred*",
    ),
    Entry(
        "mixup", "ave 7.10", "mixup",
        paper="not stated",
        release="a weight is drawn for every batch and never used",
        effect="moves a random generator only",
        note="same in all protocols: not drawn",
    ),
    Entry(
        "lr-mlp", "ave 7.11", "second learning-rate group",
        paper="–",
        release="`lr_mlp` applies to names that do not exist",
        effect="none",
        note="same in all protocols: omitted",
    ),
    Entry(
        "resize", "ave 7.12", "image resize",
        paper="not stated",
        release="bicubic without antialiasing, aspect ratio not kept, overshoot not clipped",
        effect="visible on large frames",
        note="same in all protocols: it belongs to the prepared data, which all protocols share",
    ),
    Entry(
        "frame-position", "ave 7.13", "position of frames",
        paper="T frames",
        release="10 equidistant frames over the whole clip, first and last included",
        effect="a frame may lie up to 0.5 s away from the middle of its segment",
        note="same in all protocols: it belongs to the prepared data, which all protocols share",
    ),
    Entry(
        "media", "ave 2", "frames and sound from video",
        paper="not stated",
        release="reads ready-made jpg frames of unstated rate and 32 kHz waves; no script makes them",
        effect="small differences in pixels and samples",
        note="same in all protocols: every frame of the mp4 counts, sound is resampled to 32 kHz, averaged to mono and cut or "
        "padded to 10 s *inferred*; resized frames are stored in half precision (an error of 0.00025 at most in [0, 1])",
    ),
    Entry(
        "spec-augment", "core 4.1", "where a masked stripe starts",
        paper="not stated",
        release="a whole number from 0 to length − width − 1, each as likely",
        effect="none that we know of",
        note="same in all protocols: torchaudio's mask, which draws the start a little less often at the far end",
    ),
    Entry(
        "leakage", "ave 7.14", "ids in two splits",
        paper="–",
        release="8 test and 10 validation ids are also in the training split, under another category",
        effect="contradictory labels",
        note="same in all protocols: kept, because the published splits are the benchmark; where such rows are in the test "
        "split, records also hold the accuracy without them (`acc_exact_unseen_ids`)",
    ),
    Entry(
        "annotation-header", "ave 7.15", "header of the annotation file",
        paper="–",
        release="expects a header that only its own copy of the file has",
        effect="rows shift by one when the copies are mixed",
        note="same in all protocols: the header is detected",
    ),
    Entry(
        "lavish-v2", "ave 7.16", "LAVisH's second script",
        paper="–",
        release="does not run as published, and has the accumulation bug",
        effect="the number of its row cannot be re-made from the script alone",
        note="same in all protocols: LAVisH's own row is not run yet",
    ),
    Entry(
        "lavish-star", "ave 5, core 9", "what LAVisH* is and how it is trained",
        paper="not described",
        release="not in the release; its parameters and trainable share fit the release's model without S and C layers",
        effect="the first row of Tables 5 and 8 rests on this reading",
        note="same in all protocols: S, C and T off, the latent tokens kept, DG-SCT's recipe *inferred*",
    ),
    *AVS_ENTRIES,
    *AVS_MODEL_ENTRIES,
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
        "Generated from `dgsct/protocols.py` by `python -m dgsct.protocols > docs/deviations.md`; edit there.",
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
