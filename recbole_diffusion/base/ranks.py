"""The processes that share one training: who they are, and what they tell each other."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.base.launch import Launch, read_launch, threads_of_a_rank
from recbole_diffusion.base.watch import Watch

# For all processes to come to the group.
MEETING_TIME = timedelta(minutes=5)


class Ranks:
    """The processes of a run, seen from one of them; alone, every exchange gives what it is given.

    Args:
        rank: Of this process, from 0.
        size: Number of processes.
        watch: Ends this process when another one fails; None alone.
    """

    def __init__(self, rank: int = 0, size: int = 1, watch: Watch | None = None) -> None:
        self.rank, self.size = rank, size
        self._watch = watch

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def is_shared(self) -> bool:
        """Whether there are several."""
        return self.size > 1

    def share(self, n: int) -> Tensor:
        """Which of n rows are this rank's, int64."""
        return torch.arange(self.rank, n, self.size)

    def wait(self) -> None:
        """Go on when all are here."""
        self.sum_(torch.zeros(1))

    def sum_(self, tensor: Tensor) -> Tensor:
        """Put the sum over all ranks into a tensor of one shape, to the same bits on each."""
        if self.is_shared:
            with self._explained():
                dist.all_reduce(tensor)
        return tensor

    def any(self, condition: bool) -> bool:
        """Whether it holds for a rank."""
        return bool(self.sum_(torch.tensor([int(condition)])).item())

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """What each rank has [n, ...], in their order; n may differ, and is 0 without a row."""
        if not self.is_shared:
            return [tensor]
        lengths = torch.zeros(self.size, dtype=torch.int64, device=tensor.device)
        lengths[self.rank] = len(tensor)
        self.sum_(lengths)
        longest = int(lengths.max())
        padded = tensor.new_zeros(longest, *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        found = [torch.empty_like(padded) for _ in range(self.size)]
        with self._explained():
            dist.all_gather(found, padded)
        return [part[:n] for part, n in zip(found, lengths.tolist(), strict=True)]

    def of_first(self, text: Callable[[], str]) -> str:
        """What rank 0 makes, and no other, told to all.

        Args:
            text: Called on rank 0 alone.
        """
        if not self.is_shared:
            return text()
        said = torch.tensor(list(text().encode() if self.is_first else b""), dtype=torch.uint8)
        return bytes(self.gathered(said)[0].tolist()).decode()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Around an exchange: one that breaks, since another rank has gone, is explained by that.

        Raises:
            UserError: Nothing explains it.
        """
        try:
            yield
        except RuntimeError as error:
            if self._watch is not None:
                self._watch.explain()
            reason = " ".join(str(error).split())
            raise UserError(f"rank {self.rank}: an exchange with the others: {reason}") from error


ALONE = Ranks()
_current = ALONE
_store: Any = None
_numbers = itertools.count()


def current_ranks() -> Ranks:
    """Those that share what this process runs; ``ALONE`` outside of ``sharing``."""
    return _current


@contextmanager
def sharing() -> Iterator[Ranks]:
    """Around a run: joins the processes of the launch, and parts when all have ended.

    A rank that fails ends the others with a line that names it, and so does one that dies.

    Raises:
        UserError: A launch that is not understood, or processes that do not come together.
    """
    global _current
    launch = read_launch()
    if launch.size == 1 or _current.is_shared:
        yield _current
        return
    with _threads(launch):
        watch = _joined(launch)
        _current = Ranks(launch.rank, launch.size, watch)
        try:
            yield _current
            _current.wait()
        except BaseException as error:
            watch.fail(error)
            raise
        else:
            watch.leave()
        finally:
            _current = ALONE
            dist.destroy_process_group()


@contextmanager
def _threads(launch: Launch) -> Iterator[None]:
    before, share = torch.get_num_threads(), threads_of_a_rank(launch)
    torch.set_num_threads(share or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _joined(launch: Launch) -> Watch:
    """Meet the other processes; the store of the first meeting serves later ones."""
    global _store
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        if _store is None:
            _store = next(rendezvous("env://", timeout=MEETING_TIME))[0]
        store = PrefixStore(f"recbole_diffusion/{next(_numbers)}", _store)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.size)
        return Watch(store, launch.rank, launch.size, os.environ["MASTER_ADDR"])
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"rank {launch.rank}: no group of {launch.size} processes (WORLD_SIZE) at {address} "
            f"(MASTER_ADDR, MASTER_PORT): {reason}"
        ) from error
