"""What every training run shares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vasa_cli.training import loop
from vasa_cli.training.decoder import make_team


@pytest.mark.parametrize("fast", [True, False])
def test_networks_learn_in_bfloat16_only_where_that_is_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    for module in ("vasa_cli.training.loop", "vasa_cli.training.decoder"):
        monkeypatch.setattr(f"{module}.fast_bf16", lambda device: fast)
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    expected = torch.bfloat16 if fast else torch.float32
    with loop.Run(tmp_path, minutes=1).autocast():
        assert layer(x).dtype == expected
    with loop.autocast(torch.device("cpu")):
        assert layer(x).dtype == expected
    assert make_team(width=8, rate=1e-4, device="cpu").decoder.bf16 == fast
