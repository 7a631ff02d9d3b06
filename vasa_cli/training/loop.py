"""What every training run shares: device, time, checkpoints, a log."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Callable, Generic, TypeVar

import torch
from torch import nn

from vasa_cli.errors import UsageError
from vasa_cli.loading import build, fast_bf16

CHECKPOINT_EVERY_S = 180.0
Drawn = TypeVar("Drawn")


def begin_with(weights_dir: Path, name: str, *networks: Any) -> None:
    """Give networks of one kind the weights of that name in a folder.

    Raises: WeightsError when they are not whole, UsageError when they are of another width.
    """
    learned, _ = build(name, type(networks[0]), weights_dir, torch.device("cpu"))
    width = learned.dims["width"]
    if width != networks[0].dims["width"]:
        raise UsageError(f"{weights_dir} has a {name} of width {width}; give --width {width}")
    for network in networks:
        network.load_state_dict(learned.state_dict())


@dataclass
class Run:
    """One training run, resumed from its folder when there is a checkpoint in it."""

    folder: Path
    minutes: float
    device: str = "cpu"
    max_steps: int = 10**9
    report: Callable[[str], None] = lambda line: None
    step: int = 0
    seconds: float = 0.0  # of training, over all sessions
    _started: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def begin_with(self, weights_dir: Path | None, name: str, *networks: Any) -> None:
        """Give networks weights as `begin_with` does, where a folder is given and no checkpoint is.

        Raises: as `begin_with`.
        """
        if weights_dir is not None and not self.checkpoint.exists():
            begin_with(weights_dir, name, *networks)

    def resume(self, parts: dict[str, Any]) -> None:
        """Load the state of modules and optimisers by name, when a checkpoint is there."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        for name, part in parts.items():
            if name in state["parts"]:
                part.load_state_dict(state["parts"][name])
        self.step, self.seconds = state["step"], state["seconds"]
        self.report(f"resumed at step {self.step} after {self.seconds:.0f} s")

    def save(self, parts: dict[str, Any]) -> None:
        """Replace the checkpoint by the state of modules and optimisers by name."""
        state = {
            "parts": {n: p.state_dict() for n, p in parts.items()},
            "step": self.step,
            "seconds": self.elapsed_s,
        }
        partial = self.checkpoint.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.checkpoint)
        self._saved = time.monotonic()

    def save_if_due(self, parts: dict[str, Any]) -> None:
        """Save when the last checkpoint is CHECKPOINT_EVERY_S old."""
        if time.monotonic() - self._saved > CHECKPOINT_EVERY_S:
            self.save(parts)

    @property
    def elapsed_s(self) -> float:
        return self.seconds + time.monotonic() - self._started

    @property
    def share_done(self) -> float:
        """0 to 1 over this session's minutes or steps, whichever ends first."""
        timed = (time.monotonic() - self._started) / (60 * self.minutes)
        return min(1.0, max(timed, self.step / self.max_steps))

    @property
    def going(self) -> bool:
        return self.share_done < 1.0

    def log(self, **figures: float) -> None:
        """One JSON line in the run's log, and the same to whoever watches."""
        line = json.dumps(
            {"step": self.step, "seconds": round(self.elapsed_s, 1)}
            | {k: round(v, 5) for k, v in figures.items()}
        )
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.report(line)

    def autocast(self) -> AbstractContextManager[None]:
        return autocast(torch.device(self.device))


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 where it is faster than float32: several times slower on CPUs made before it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device))


def learning_rate(share_done: float, *, peak: float, warm: float = 0.02) -> float:
    """Linear warm-up, then a cosine to a fiftieth."""
    if share_done < warm:
        return peak * (0.05 + 0.95 * share_done / warm)
    turn = (share_done - warm) / (1 - warm)
    return peak * (0.02 + 0.98 * 0.5 * (1 + float(torch.cos(torch.tensor(turn * torch.pi)))))


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


class Ahead(Generic[Drawn]):
    """Draws batches in a thread of its own, a few ahead; use as a context manager."""

    def __init__(self, draw: Callable[[], Drawn], *, n_ahead: int = 3) -> None:
        self._draw = draw
        self._queue: Queue[Drawn | BaseException] = Queue(n_ahead)
        self._stopped = Event()
        self._thread = Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        torch.set_num_threads(1)
        while not self._stopped.is_set():
            try:
                drawn: Drawn | BaseException = self._draw()
            except Exception as error:  # whatever it is, the trainer is to hear of it
                drawn = error
            while not self._stopped.is_set():
                try:
                    self._queue.put(drawn, timeout=0.2)
                    break
                except Full:
                    continue

    def next(self) -> Drawn:
        """The next batch; raises what drawing it raised."""
        drawn = self._queue.get()
        if isinstance(drawn, BaseException):
            raise drawn
        return drawn

    def __enter__(self) -> Ahead[Drawn]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


class Average(nn.Module):
    """Moving average of a module's parameters, in `module`; the weights that are shipped."""

    def __init__(self, module: nn.Module, *, decay: float = 0.998) -> None:
        super().__init__()
        import copy

        self.decay = decay
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, value in zip(self.module.parameters(), module.parameters()):
            mean.lerp_(value, 1 - decay)
