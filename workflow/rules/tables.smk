# Tables and the report: they read records only, and are made again in seconds.
localrules:
    table,
    write_report,


rule table:
    input:
        lambda w: made_from(w.table),
    output:
        multiext(f"{OUT}/{{table}}", ".tex", ".md", ".csv", ".html", ".json"),
    log:
        f"{LOGS}/{{table}}.log",
    params:
        key=lambda w: experiment_key(w.table, "dgsct.publish.tables"),
    message:
        "typeset {wildcards.table}"
    shell:
        "{python} -m dgsct.cli tables {wildcards.table} {COMMON_OPTIONS} {OTHER_FOLDER} > {log:q} 2>&1"


rule write_report:
    input:
        [f"{OUT}/{name}.json" for name in [*TABLES, *FIGURES]],
    output:
        REPORT,
    log:
        f"{LOGS}/report.log",
    params:
        key=code_hash("dgsct.publish.report"),
    message:
        "write {output}"
    shell:
        "{python} -m dgsct.cli report {COMMON_OPTIONS} > {log:q} 2>&1"
