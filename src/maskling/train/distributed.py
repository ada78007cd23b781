"""Ranks of a run: a single process, or those that torchrun started, and their communication.

`torchrun --nproc-per-node 8 -m maskling train ...` starts eight processes that find each other through their
environment (RANK, WORLD_SIZE, MASTER_ADDR, ...). They communicate by gloo between CPUs, by NCCL between GPUs.
Everything that ranks send each other goes through `Ranks`; with one process each operation is the identity, so that the
training loop reads the same either way. Nothing is pickled: what is not a tensor is sent as JSON.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from maskling.errors import MasklingError, RankError, SettingsError

_CPU = torch.device("cpu")


class PendingAllReduce(Protocol):
    """An all-reduce in progress."""

    def wait(self) -> object:
        """Wait until the result is complete."""


@dataclass(frozen=True)
class Ranks:
    """Rank of the process among `size` ranks. device: of the tensors that it sends."""

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints, and writes the files."""
        return self.rank == 0

    def all_reduce(self, values: Tensor) -> Tensor:
        """Return the element-wise sum over ranks, on every rank."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_async(self, values: Tensor) -> PendingAllReduce:
        """Start to sum `values` over ranks, in place; they are complete after `wait` of the returned handle."""
        return dist.all_reduce(values, async_op=True)  # type: ignore[no-any-return]

    def max(self, value: int) -> int:
        """Return the largest of the ranks' integers, on every rank."""
        if self.size == 1:
            return value
        box = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return int(box)

    def broadcast_int(self, value: int) -> int:
        """Return rank 0's integer, on every rank."""
        return int(self.broadcast(value))

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Broadcast a JSON value from one rank to all; the values of the others are ignored."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.rank == source else b""
        length = torch.tensor([len(text)], dtype=torch.int64, device=self.device)
        dist.broadcast(length, src=source)
        box = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        if self.rank == source:
            box.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(box, src=source)
        return json.loads(bytes(box.cpu().numpy()))

    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors, which every rank has in the same shapes, with rank 0's."""
        if self.size == 1:
            return
        with torch.no_grad():
            for tensor in tensors:
                there = tensor.to(self.device).contiguous()
                dist.broadcast(there, src=0)
                if there is not tensor:
                    tensor.copy_(there)

    def broadcast_state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return rank 0's tensors by name, on every rank; those of the others are ignored."""
        shapes = {name: (str(value.dtype).removeprefix("torch."), list(value.shape)) for name, value in tensors.items()}
        wanted = self.broadcast(shapes)
        if not self.is_main:
            tensors = {name: torch.empty(shape, dtype=getattr(torch, kind)) for name, (kind, shape) in wanted.items()}
        self.broadcast_tensors(tensors.values())
        return dict(tensors)

    def barrier(self) -> None:
        """Wait until every rank calls this."""
        self.max(0)


_FAILED = "failed"


@contextlib.contextmanager
def join_ranks(device: str = "auto", timeout_seconds: float = 600.0) -> Iterator[Ranks]:
    """Join the ranks that torchrun started for the block, or form a single rank.

    device: as in system.device; each rank of a machine uses its own GPU. timeout_seconds: how long ranks wait for each
    other. An existing process group is used, and not destroyed at the end.

    Raises RankError if another rank has failed, with its reason if it could leave one; SettingsError if a machine has
    fewer GPUs than processes.
    """
    if dist.is_available() and dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), _device(device))
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    _import_module_holding_the_group()
    wait = timedelta(seconds=timeout_seconds)
    try:
        found, rank, size = next(iter(rendezvous("env://", timeout=wait)))
    except dist.DistError:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RankError(
            f"the other ranks cannot be found: nothing answers at {address}; check that torchrun runs there and "
            f"that no firewall blocks it"
        ) from None
    found.set_timeout(wait)
    # torchrun's store outlives the ranks. Without its own prefix, a restart would find the addresses of the attempt
    # before (seen with --standalone: "connection refused", then the next restart is lost as well).
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = PrefixStore(f"maskling/{size}/{attempt}", found)
    try:
        own = _device_or_error(device)
        _all_ready(store, rank, size, own)
        assert isinstance(own, torch.device)
        backend = "nccl" if own.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
        yield Ranks(rank, size, own)
    except GeneratorExit:
        raise
    except BaseException as error:
        # The frames of the error may refer to the group, and would keep it from being destroyed.
        traceback.clear_frames(error.__traceback__)
        reason = _leave_reason(store, rank, error)
        if _is_communication_error(error):
            raise RankError(_lost_rank_message(reason, rank)) from error
        raise
    finally:
        if dist.is_initialized():
            # Closes the connections, so that ranks that wait for this one fail at once. Sharded modules refer to the
            # group in cycles.
            gc.collect()
            dist.destroy_process_group()


def device_of_rank(device: str, ranks: Ranks) -> str:
    """Return the device of this rank for `pick_device`; with several GPUs the current one, set by `join_ranks`."""
    return device if ranks.size == 1 or ranks.device.type == "cuda" else ranks.device.type


def _import_module_holding_the_group() -> None:
    """Import, before there is a process group, the module of torch that would otherwise keep a reference to it.

    Its functions have the default argument `group=group.WORLD`, evaluated at import; torch.optim imports it with
    torch._dynamo. If there is a group by then, destroying it leaves gloo's threads running until the interpreter exits.
    Such a thread still has to release the last tensor it sent, needs the GIL for that, and is killed by an interpreter
    that no longer hands it out: "terminate called without an active exception", SIGABRT. Seen in 2 of 50 runs on a busy
    machine, and in each of 4 with those threads starved on purpose; in none since.
    """
    import torch.distributed.nn.functional  # noqa: F401


def _device(name: str) -> torch.device:
    """Return the device that this rank sends from. Raises SettingsError if there are too few GPUs."""
    if name == "cpu" or not torch.cuda.is_available() or name.partition(":")[0] not in ("auto", "cuda"):
        return torch.device("cpu")
    local, on_this_machine = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if ":" in name and on_this_machine > 1:
        raise SettingsError(
            f"system.device = '{name}' would put {on_this_machine} processes on one GPU; leave it out, and each uses "
            f"its own"
        )
    if ":" not in name:
        available = torch.cuda.device_count()
        if local >= available:
            raise SettingsError(
                f"{on_this_machine} processes were started on a machine with {available} GPUs; "
                f"use torchrun --nproc-per-node {available}, or --system.device cpu"
            )
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    chosen = torch.device(name)
    torch.cuda.set_device(chosen)
    return chosen


def _device_or_error(name: str) -> torch.device | MasklingError:
    try:
        return _device(name)
    except MasklingError as error:
        return error


def _all_ready(store: Store, rank: int, size: int, own: torch.device | MasklingError) -> None:
    """Raise the error of this rank, or of another: otherwise the others would wait for it until their timeout."""
    store.set(f"ready/{rank}", "" if isinstance(own, torch.device) else str(own))
    if isinstance(own, MasklingError):
        raise own
    for other in range(size):
        problem = store.get(f"ready/{other}").decode()
        if problem:
            raise RankError(f"rank {other}: {problem}")


def _leave_reason(store: Store, rank: int, error: BaseException) -> str:
    """Store why this rank fails, unless another has failed before. Returns the reason of the first."""
    own = "" if _is_communication_error(error) or isinstance(error, RankError) else f"rank {rank}: {_describe(error)}"
    with contextlib.suppress(RuntimeError):  # the store is part of torchrun, which may be gone
        first = store.compare_set(_FAILED, "", own).decode() if own else ""
        if not own and store.check([_FAILED]):
            first = store.get(_FAILED).decode()
        if own and first == own and "TORCHELASTIC_ERROR_FILE" in os.environ:
            # The first to fail: torchrun shows its message at the end.
            from torch.distributed.elastic.multiprocessing.errors import get_error_handler

            get_error_handler().record_exception(error)
        elif not own and first:
            # torchrun counts whole seconds, and of the ranks that fail in the same one it shows the lowest.
            time.sleep(1)
        return first
    return ""


def _is_communication_error(error: BaseException) -> bool:
    """Return whether communication with another rank failed: gloo and NCCL have no exception type for it."""
    text = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text or "Connection" in text)
    )


def _describe(error: BaseException) -> str:
    return str(error) if isinstance(error, MasklingError) else f"{type(error).__name__}: {error}"


def _lost_rank_message(reason: str, rank: int) -> str:
    if reason and not reason.startswith(f"rank {rank}:"):
        return reason
    return (
        "another rank ended without a message, or did not answer in time (killed, out of memory, its machine gone?); "
        "the same command resumes from the last checkpoint"
    )
