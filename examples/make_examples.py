"""Make the example pictures and speech again, from public-domain photographs and espeak-ng.

    python examples/make_examples.py

It needs scikit-image and matplotlib (both in `.[test]`) and the program espeak-ng. README.md beside
it gives the terms.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import matplotlib
import skimage
from PIL import Image

HERE = Path(__file__).resolve().parent
PORTRAIT_BOX = (60, 0, 390, 330)  # left, top, right, bottom: head and shoulders of the astronaut
PORTRAIT_SIDE = 512  # pixels
JPEG_QUALITY = 92
VOICE, WORDS_PER_MINUTE, PITCH = "en-us+f2", 150, 45
SPEECH = "Hello! My picture was still, but now it may speak. Please ask before you borrow a face."


def main() -> None:
    """Writes portrait.jpg, hopper.jpg and speech.wav beside this file."""
    astronaut = Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB")
    portrait = astronaut.resize((PORTRAIT_SIDE,) * 2, Image.Resampling.LANCZOS, box=PORTRAIT_BOX)
    portrait.save(HERE / "portrait.jpg", quality=JPEG_QUALITY)

    samples = Path(matplotlib.get_data_path()) / "sample_data"
    hopper = Image.open(samples / "grace_hopper.jpg").convert("RGB")
    hopper.save(HERE / "hopper.jpg", quality=JPEG_QUALITY)

    command = ["espeak-ng", "-v", VOICE, "-s", str(WORDS_PER_MINUTE), "-p", str(PITCH)]
    subprocess.run([*command, "-w", str(HERE / "speech.wav"), SPEECH], check=True)


if __name__ == "__main__":
    main()
