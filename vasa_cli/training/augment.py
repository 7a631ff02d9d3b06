"""Hard photometric augmentation on batches (B, 3, H, W) in [-1, 1].

Each operation touches a random part of the batch.
"""

from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Operation = Callable[[Tensor], Tensor]


def distort(images: Tensor, *, strength: float = 1.0) -> Tensor:
    """Colour, light, grey, blur, noise, posterise, paint, sketch and occlude; a new batch."""
    plan: list[tuple[float, Operation]] = [
        (0.8, light),
        (0.6, colour),
        (0.18, paint),
        (0.06, sketch),
        (0.12, posterise),
        (0.2, grey),
        (0.3, blur),
        (0.4, noise),
        (0.25, blocks),
        (0.25, occlude),
    ]
    images = images.clone()
    for share, operation in plan:
        chosen = torch.rand(len(images)) < share * strength
        if chosen.any():
            images[chosen] = operation(images[chosen])
    return images.clamp(-1, 1)


def per_image(images: Tensor, low: float, high: float, *, channels: int = 1) -> Tensor:
    """Random numbers (B, channels, 1, 1) between two bounds."""
    return torch.empty(len(images), channels, 1, 1, device=images.device).uniform_(low, high)


def light(images: Tensor) -> Tensor:
    """Gamma, contrast, brightness and a side light."""
    down, right = (torch.linspace(-1, 1, n, device=images.device) for n in images.shape[-2:])
    side = per_image(images, -0.3, 0.3) * right + per_image(images, -0.3, 0.3) * down[:, None]
    unit = ((images + 1) / 2).clamp(1e-3, 1) ** torch.exp(per_image(images, -0.6, 0.6))
    return (unit * 2 - 1) * per_image(images, 0.6, 1.25) + per_image(images, -0.25, 0.25) + side


def colour(images: Tensor) -> Tensor:
    """Gains by channel and saturation from grey to double; sometimes a warm or cold cast."""
    mean = images.mean(1, keepdim=True)
    richer = mean + (images - mean) * per_image(images, 0.2, 1.8)
    return richer + per_image(images, -0.2, 0.2, channels=3)


def grey(images: Tensor) -> Tensor:
    """Grey, and sepia for some."""
    sepia = torch.tensor([1.0, 0.3, -0.6], device=images.device)[None, :, None, None]
    tint = per_image(images, 0.0, 0.15) * sepia
    return images.mean(1, keepdim=True) + tint


def blur(images: Tensor) -> Tensor:
    """As from a picture of a half to a quarter of the size."""
    size = int(images.shape[-1] / float(torch.empty(1).uniform_(1.3, 4.0)))
    small = F.interpolate(images, size=(size, size), mode="area")
    return F.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)


def noise(images: Tensor) -> Tensor:
    """Grain, little to strong."""
    return images + torch.randn_like(images) * per_image(images, 0.01, 0.15)


def posterise(images: Tensor) -> Tensor:
    """Two to seven steps from dark to light."""
    levels = per_image(images, 2, 7).round()
    return torch.round((images + 1) / 2 * levels) / levels * 2 - 1


def paint(images: Tensor) -> Tensor:
    """Kuwahara's filter: every pixel takes the mean of the calmest of four neighbourhoods."""
    radius = int(torch.randint(2, 5, ()))
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    mean = F.avg_pool2d(padded, radius + 1, 1)
    spread = (F.avg_pool2d(padded.square(), radius + 1, 1) - mean.square()).sum(1, keepdim=True)
    height, width = images.shape[-2:]
    corners = [(y, x) for y in (0, radius) for x in (0, radius)]
    means = torch.stack([mean[..., y : y + height, x : x + width] for y, x in corners])
    spreads = torch.stack([spread[..., y : y + height, x : x + width] for y, x in corners])
    calm = spreads.argmin(0, keepdim=True)
    return means.gather(0, calm.expand(1, -1, 3, -1, -1))[0]


def sketch(images: Tensor) -> Tensor:
    """Dark lines on light paper where the picture changes."""
    value = images.mean(1, keepdim=True)
    soft = F.avg_pool2d(F.pad(value, (3, 3, 3, 3), mode="replicate"), 7, 1)
    lines = torch.sigmoid((value - soft) * per_image(images, 12, 30) + 2) * 2 - 1
    shade = per_image(images, 0.0, 0.5)
    return (lines * (1 - shade) + value * shade).expand(-1, 3, -1, -1)


def blocks(images: Tensor) -> Tensor:
    """The 8x8 blocks of strong JPEG compression: low frequencies only, coarsely rounded."""
    height, width = (s // 8 * 8 for s in images.shape[-2:])
    basis = cosine_basis(images.device)
    tiles = images[..., :height, :width].unflatten(-2, (-1, 8)).unflatten(-1, (-1, 8))
    tiles = tiles.transpose(-3, -2)  # (B, 3, h, w, 8, 8)
    frequency = torch.arange(8.0, device=images.device)
    step = 0.02 + 0.03 * (frequency[:, None] + frequency)  # (8, 8)
    step = step * per_image(images, 0.5, 3.0)[..., None, None]
    coefficients = torch.round(basis @ tiles @ basis.T / step) * step
    result = images.clone()
    rounded = basis.T @ coefficients @ basis
    result[..., :height, :width] = rounded.transpose(-3, -2).flatten(-4, -3).flatten(-2)
    return result


def cosine_basis(device: torch.device) -> Tensor:
    """The orthonormal discrete cosine transform of 8 samples (8, 8)."""
    n = torch.arange(8.0, device=device)
    basis = torch.cos(torch.pi * (n + 0.5) * n[:, None] / 8) / 2
    basis[0] /= 2**0.5
    return basis


def occlude(images: Tensor) -> Tensor:
    """A flat or noisy rectangle over up to a quarter of the picture."""
    images = images.clone()
    height, width = images.shape[-2:]
    for image in images:
        h, w = (int(torch.randint(height // 12, height // 3, ())) for _ in range(2))
        y, x = int(torch.randint(0, height - h, ())), int(torch.randint(0, width - w, ()))
        flat = torch.empty(3, 1, 1).uniform_(-1, 1)
        patch = flat + torch.randn(3, h, w) * float(torch.rand(())) * 0.5
        image[:, y : y + h, x : x + w] = patch.to(images.device)
    return images
