"""Who takes part in a run: one process, or the ranks that torchrun started.

Everything that ranks say to each other goes through here. With one process each of it is the identity, so that the
loop reads the same either way. Nothing is pickled: what is not a tensor travels as JSON.
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

# FOLDED DOCS
# [joining] Becoming one of the ranks that torchrun started, and telling the others why one has failed. `torchrun --nproc-per-node 8 -m maskling train ...` starts eight processes that find each other through their environment (RANK, WORLD_SIZE, MASTER_ADDR, ...). Gradients are added by gloo between processors, by NCCL between GPUs.


_CPU = torch.device("cpu")


class PendingAllReduce(Protocol):
    """What has been sent, and not yet answered."""

    def wait(self) -> object:
        """Until the answer is there."""


@dataclass(frozen=True)
class Ranks:
    """This process's place among `size` ranks. device: where tensors have to lie to be sent."""

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def is_main(self) -> bool:
        """Whether this rank speaks, and writes the files."""
        return self.rank == 0

    def all_reduce(self, values: Tensor) -> Tensor:
        """The element-wise sum over ranks, on every rank."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def all_reduce_async(self, values: Tensor) -> PendingAllReduce:
        """Begin to add `values` up over ranks, in place; they are whole when what is returned has been waited for."""
        return dist.all_reduce(values, async_op=True)  # type: ignore[no-any-return]

    def max(self, value: int) -> int:
        """The largest of the ranks' integers, on every rank."""
        if self.size == 1:
            return value
        box = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return int(box)

    def broadcast_int(self, value: int) -> int:
        """Rank 0's integer, on every rank."""
        return int(self.broadcast(value))

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """What JSON can say, from one rank to all; the others' own values do not count."""
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
        """Rank 0's tensors by name, on every rank; the others' own do not count."""
        shapes = {name: (str(value.dtype).removeprefix("torch."), list(value.shape)) for name, value in tensors.items()}
        wanted = self.broadcast(shapes)
        if not self.is_main:
            tensors = {name: torch.empty(shape, dtype=getattr(torch, kind)) for name, (kind, shape) in wanted.items()}
        self.broadcast_tensors(tensors.values())
        return dict(tensors)

    def barrier(self) -> None:
        """Until every rank is here."""
        self.max(0)


_FAILED = "failed"


@contextlib.contextmanager
def join_ranks(device: str = "auto", timeout_seconds: float = 600.0) -> Iterator[Ranks]:
    """Within the block, this process is a rank of the world that torchrun started, or a world of its own.

    device: as in system.device; each rank of a machine takes a GPU of its own. timeout_seconds: how long ranks wait
    for each other. A process group that is there already is used, and left alone at the end.

    Raises RankError, with its reason where it had time to leave one, when another rank has failed; SettingsError where
    a machine has fewer GPUs than processes.
    """
    if dist.is_available() and dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), _device(device))
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    _import_what_keeps_the_group()
    wait = timedelta(seconds=timeout_seconds)
    try:
        found, rank, size = next(iter(rendezvous("env://", timeout=wait)))
    except dist.DistError:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise RankError(
            f"the other ranks cannot be found: nothing answers at {place}; see that torchrun runs there and that no "
            f"firewall is between"
        ) from None
    found.set_timeout(wait)
    # torchrun's store outlives the ranks. Without a name of its own, a life that torchrun starts again would find the
    # addresses of the one before (seen with --standalone: "connection refused", then the next restart is lost as well).
    life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = PrefixStore(f"maskling/{size}/{life}", found)
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
        # What failed may hold on to the group through its variables, and would keep it from being destroyed.
        traceback.clear_frames(error.__traceback__)
        reason = _leave_reason(store, rank, error)
        if _is_of_talking(error):
            raise RankError(_lost(reason, rank)) from error
        raise
    finally:
        if dist.is_initialized():
            # Closes the connections: whoever waits for this rank learns that it is gone. What is in pieces refers to
            # the group in circles.
            gc.collect()
            dist.destroy_process_group()


def device_of_rank(asked: str, ranks: Ranks) -> str:
    """The device of this rank as `pick` takes it. Of several GPUs that is the current one, which `join_ranks` has set."""
    return asked if ranks.size == 1 or ranks.device.type == "cuda" else ranks.device.type


def _import_what_keeps_the_group() -> None:
    """Load the one module of torch that would otherwise hold on to the process group for ever.

    Its functions have `group=group.WORLD` among their arguments, which is looked up when it is loaded; torch.optim
    loads it with torch._dynamo. If there is a group by then, destroying it leaves gloo's threads running into the end
    of the interpreter. Such a thread still has to let go of the last tensor it sent, wants Python's lock for that, and
    is ended by an interpreter that is past giving locks: "terminate called without an active exception", SIGABRT.
    Seen in 2 of 50 runs on a busy machine, and in each of 4 with those threads starved on purpose; in none since.
    """
    import torch.distributed.nn.functional  # noqa: F401


def _device(name: str) -> torch.device:
    """The device that this rank sends from. Raises SettingsError where there are too few GPUs."""
    if name == "cpu" or not torch.cuda.is_available() or name.partition(":")[0] not in ("auto", "cuda"):
        return torch.device("cpu")
    local, on_this_machine = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if ":" in name and on_this_machine > 1:
        raise SettingsError(
            f"system.device = '{name}' would put {on_this_machine} processes on one GPU; leave it out, and each takes "
            f"its own"
        )
    if ":" not in name:
        there = torch.cuda.device_count()
        if local >= there:
            raise SettingsError(
                f"{on_this_machine} processes were started on a machine with {there} GPUs; "
                f"say torchrun --nproc-per-node {there}, or --system.device cpu"
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
    """Raise this rank's error, or another's: else the others would wait for it until their time is over."""
    store.set(f"ready/{rank}", "" if isinstance(own, torch.device) else str(own))
    if isinstance(own, MasklingError):
        raise own
    for other in range(size):
        problem = store.get(f"ready/{other}").decode()
        if problem:
            raise RankError(f"rank {other}: {problem}")


def _leave_reason(store: Store, rank: int, error: BaseException) -> str:
    """Say in the store why this rank fails, unless another has said so before. Returns what the first one said."""
    own = "" if _is_of_talking(error) or isinstance(error, RankError) else f"rank {rank}: {_words(error)}"
    with contextlib.suppress(RuntimeError):  # the store lives with torchrun, which may be gone
        said = store.compare_set(_FAILED, "", own).decode() if own else ""
        if not own and store.check([_FAILED]):
            said = store.get(_FAILED).decode()
        if own and said == own and "TORCHELASTIC_ERROR_FILE" in os.environ:
            # The first to fail: torchrun shows its words at the end.
            from torch.distributed.elastic.multiprocessing.errors import get_error_handler

            get_error_handler().record_exception(error)
        elif not own and said:
            # torchrun counts whole seconds, and of those who fail in the same one it shows the lowest rank.
            time.sleep(1)
        return said
    return ""


def _is_of_talking(error: BaseException) -> bool:
    """Whether an error comes of another rank's silence: gloo and NCCL have no type of their own for it."""
    text = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text or "Connection" in text)
    )


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, MasklingError) else f"{type(error).__name__}: {error}"


def _lost(reason: str, rank: int) -> str:
    if reason and not reason.startswith(f"rank {rank}:"):
        return reason
    return (
        "another rank ended without a word, or did not answer in time (killed, out of memory, its machine gone?); "
        "the same command goes on from the last checkpoint"
    )
