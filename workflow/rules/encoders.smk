# Frozen encoders: pretrained here at scale mini, the site's public checkpoints otherwise.


rule pretrain:
    output:
        weights="results/encoders/mini/{encoder}.safetensors",
        facts="results/encoders/mini/{encoder}.json",
    log:
        "results/encoders/mini/{encoder}.log",
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        key=lambda w: encoder_key(w.encoder),
    message:
        "pretrain the mini encoder {wildcards.encoder}"
    shell:
        "{python} -m dgsct.pretrain {wildcards.encoder} {output.weights:q} > {log:q} 2>&1"
