"""One measurement: a render in a process of its own, from its very start."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
import wave
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from vasa_cli.bench.figures import Case, Measured
from vasa_cli.errors import ResourceError, VasaError, explain

if TYPE_CHECKING:
    from vasa_cli.config import Progress

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(case: Case) -> Measured:
    """Measure in a fresh process, which ends with this call, however that ends.

    Raises: VasaError as a render does, ResourceError when the process dies.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, case, time.time()), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the connection
    try:
        answer = ours.recv()
    except EOFError as error:
        raise ResourceError(
            f"the render of {case.size} pixels on {case.cores} cores died;"
            " free some memory, or leave out that --size"
        ) from error
    finally:
        process.terminate()
        process.join()
        ours.close()
    if isinstance(answer, Measured):
        return answer
    raise answer


def _serve(connection: Connection, case: Case, begun_s: float) -> None:
    """The life of the process that measures."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and sends SIGTERM
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            connection.send(measure(case, begun_s))
        except Exception as error:
            message, exit_code = explain(error)
            known = (kind for kind in VasaError.__subclasses__() if kind.exit_code == exit_code)
            connection.send(next(known, VasaError)(message))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is over anyway


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def measure(case: Case, begun_s: float) -> Measured:
    """Measure in this process, which has done nothing yet.

    Args: begun_s when it was started, as time.time() says.
    """
    _hold_to(case.cores)
    import torch

    torch.set_num_threads(case.cores)
    from vasa_cli.bench.memory import children_mb, process_mb
    from vasa_cli.bench.stages import measure_stages, precision
    from vasa_cli.config import RenderOptions
    from vasa_cli.pipeline import BATCH, Renderer

    renderer = Renderer(weights_dir=case.weights_dir, device=case.device)
    start_up_s = time.time() - begun_s
    times: list[float] = []
    peaks: list[float] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "frames":
            times.append(time.time() - begun_s)
            if progress.done in (progress.total // 2, progress.total):
                peaks.extend(children_mb())

    with tempfile.TemporaryDirectory(prefix="vasa-bench-") as folder:
        sound = _repeated(case.speech, Path(folder) / "speech.wav", case.seconds)
        options = RenderOptions(size=case.size, provenance="off")
        output = Path(folder) / "video.mp4"
        result = renderer.render(case.photo, sound, output, options=options, progress=watch)
        total_s = time.time() - begun_s
        peak_mb = process_mb()
        stages, rates = (
            measure_stages(renderer, case.photo, sound, options) if case.with_stages else ((), {})
        )
    more = result.n_frames > BATCH
    return Measured(
        n_frames=result.n_frames,
        start_up_s=start_up_s,
        first_frame_s=times[0],
        total_s=total_s,
        steady_fps=(len(times) - 1) / (times[-1] - times[0]) if more else None,
        peak_mb=peak_mb,
        ffmpeg_peak_mb=max(peaks, default=None),
        precision=precision(renderer.models),
        stages=stages,
        conv_gflops=rates,
        video_fps=result.fps,
    )


def _hold_to(cores: int) -> None:
    """Keep this process and its ffmpeg to so many cores, where the system can."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(cores)  # read when numpy and torch are first imported
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _repeated(speech: Path, output: Path, seconds: float) -> Path:
    """A WAV of so many seconds of a sound, from its beginning again where it ends."""
    import numpy as np

    from vasa_cli.audio import load_audio

    audio = load_audio(speech, max_seconds=seconds)
    samples = np.resize(audio.samples, round(seconds * audio.sample_rate))
    with wave.open(str(output), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return output
