# Frozen encoders: pretrained here at scale mini, converted from the site's public checkpoints otherwise.


rule pretrain:
    output:
        weights="results/encoders/mini/{encoder}.safetensors",
        facts="results/encoders/mini/{encoder}.json",
    log:
        "results/encoders/mini/{encoder}.log",
    resources:
        **ON_SLURM,
        mem_mb=4000,
        runtime=60,
    params:
        key=lambda w: encoder_key(w.encoder),
    message:
        "pretrain the mini encoder {wildcards.encoder}"
    shell:
        "{python} -m dgsct.encoders.pretrain {wildcards.encoder} {output.weights:q} > {log:q} 2>&1"


# Only where a public file is there: a converted file that was copied here needs none.
rule convert:
    input:
        lambda w: PUBLIC[w.encoder],
    output:
        weights="results/encoders/paper/{encoder}.safetensors",
        facts="results/encoders/paper/{encoder}.json",
    log:
        "results/encoders/paper/{encoder}.log",
    wildcard_constraints:
        encoder=one_of(PUBLIC),
    resources:
        **ON_SLURM,
        mem_mb=8000,
        runtime=30,
    params:
        key=lambda w: converted_key(w.encoder),
    message:
        "convert the public weights {wildcards.encoder}"
    shell:
        "{python} -m dgsct.cli convert {wildcards.encoder} {input:q} {output.weights:q} > {log:q} 2>&1"
