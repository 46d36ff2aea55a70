# Figures: they read records only.
localrules:
    figure,


rule figure:
    input:
        lambda w: records(w.figure),
    output:
        multiext(f"{OUT}/{{figure}}", ".pdf", ".png", ".json"),
    log:
        f"{LOGS}/{{figure}}.log",
    params:
        key=lambda w: experiment_key(w.figure, "dgsct.figures"),
    message:
        "draw {wildcards.figure}"
    shell:
        "{python} -m dgsct.cli figures {wildcards.figure} {COMMON_OPTIONS} > {log:q} 2>&1"
