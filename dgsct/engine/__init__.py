"""One run from its description to its record.

`execute` (the whole), `training` (an epoch, an evaluation), `recipe` (optimiser, schedule, updates), `contract` (names that
method and task agree on), `loading`, `scratch`. What a run survives: `checkpoint`, `run_lock`, `stopping`, `soak`. How it is
carried out: `execution`, `worker` and `rendezvous` (many runs in one process tree), `launch` (several GPUs). Table 6:
`efficiency`.

A run that asks for n GPUs is n processes (`launch`), with the same batches, learning rate and gradient as one: each process
takes every n-th clip of every batch, the first one holds the lock and writes. Batch normalisation, also that of the encoders,
sees the whole batch (`dgsct.ops.batch_norm`). Every process draws its own dropout and stochastic depth; without them the
losses of DG-SCT agree with one process to 1e-5, and its metrics to one segment of the mini test clips
(tests/engine/test_execute.py, two processes by gloo). In a batch with fewer clips than processes, each process without one
counts the first clip once more in those statistics. The record holds the number of processes.
"""
