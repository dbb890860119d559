"""Processes that prepare shards side by side."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from mimflow.data.shards import Reading, Recipe, Shard, write_shard
from mimflow.errors import OutOfMemoryError


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_shards(recipe: Recipe, pending: list[Shard], workers: int) -> Iterator[tuple[Shard, list[Reading]]]:
    """Write shards, by at most so many processes, and yield each when it is done, with what it read.

    The bytes are the same for any number of processes.

    At the first error the shards under way are finished, the others are not begun.
    """
    workers = min(workers, len(pending))
    if workers <= 1 or recipe.source.in_memory:
        for shard in pending:
            yield shard, write_shard(recipe, shard)
    else:
        yield from _in_processes(recipe, pending, workers)


def _in_processes(recipe: Recipe, pending: list[Shard], workers: int) -> Iterator[tuple[Shard, list[Reading]]]:
    # Spawned, not forked: the parent may have threads of torch's.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(recipe,))
    try:
        futures = {pool.submit(_write, shard): shard for shard in pending}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise OutOfMemoryError(
            "a process that prepares images was ended from outside, as a system short of memory does "
            f"(finished parts are kept; try fewer workers than {workers})"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_recipe: Recipe


def _begin(recipe: Recipe) -> None:
    """Prepare a worker: it leaves Ctrl-C to its parent, and ends with it."""
    global _recipe
    _recipe = recipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed can't end its workers, and they would wait for work for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write(shard: Shard) -> list[Reading]:
    return write_shard(_recipe, shard)
