"""Layers that the networks share; all fast in bf16 and channels-last on CPUs, none normalised."""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Network = TypeVar("Network", bound=nn.Module)


def conv(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """3x3 convolution and LeakyReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1), nn.LeakyReLU(0.2, inplace=True)
    )


class DoublingConv(nn.Sequential):
    """`double`, then `conv`, as one transposed convolution with 4/9 of the multiplications.

    Each output pixel sees two by two input pixels, so the weights that meet the same one are added.
    """

    held: Tensor | None

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(*conv(in_channels, out_channels))
        self.register_buffer("held", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self._kernel() if self.held is None else self.held
        bias = cast(nn.Conv2d, self[0]).bias
        doubled: Tensor = self[1](F.conv_transpose2d(x, kernel, bias, 2, 1))
        return doubled

    def hold(self) -> None:
        """Add the weights once for all runs to come; they must not change any more."""
        self.held = channels_last(self._kernel().detach())

    def _kernel(self) -> Tensor:
        """The weights of the transposed convolution, (in_channels, out_channels, 4, 4)."""
        kernel: Tensor = cast(nn.Conv2d, self[0]).weight  # (out_channels, in_channels, 3, 3)
        for axis in (2, 3):
            a, b, c = kernel.unbind(axis)
            kernel = torch.stack((c, b + c, a + b, a), axis)  # in a transposed one, back to front
        return kernel.transpose(0, 1)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut; starts as the identity."""

    def __init__(self, channels: int, *, dilations: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        first, second = (
            nn.Conv2d(channels, channels, 3, padding=step, dilation=step) for step in dilations
        )
        self.body = nn.Sequential(nn.LeakyReLU(0.2), first, nn.LeakyReLU(0.2, inplace=True), second)
        start_at_zero(self.body[3])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class UNet(nn.Module):
    """A U-Net (B, in_channels, H, W) to (B, out_channels, H, W); starts at zero.

    It has a level for each of its widths, every one at half the size of the one before, so that H
    and W must be halved as often. n_photo more channels are the photo's and the same in all frames:
    what the first layer makes of them is found once, by `enter_photo`.
    """

    def __init__(
        self,
        n_photo: int,
        in_channels: int,
        out_channels: int,
        widths: tuple[int, ...],
        *,
        middle: nn.Module,
    ) -> None:
        """Args: middle, what is done at the smallest size: (B, widths[-1], h, w) to the same."""
        super().__init__()
        self.enter_photo = nn.Conv2d(n_photo, widths[0], 3, 1, 1, bias=False)
        self.enter = nn.Conv2d(in_channels, widths[0], 3, 1, 1)
        steps = list(zip(widths, widths[1:]))
        self.downs = nn.ModuleList(conv(a, b, stride=2) for a, b in steps)
        self.middle = middle
        self.ups = nn.ModuleList(DoublingConv(b, a) for a, b in steps)
        self.joins = nn.ModuleList(conv(2 * a, a) for a, _ in steps)
        self.leave = nn.Conv2d(widths[0], out_channels, 3, 1, 1)
        start_at_zero(self.leave)

    def forward(self, x: Tensor, entered: Tensor) -> Tensor:
        """Args: entered (B, widths[0], H, W), from `enter_photo`."""
        seen = [F.leaky_relu(self.enter(x) + entered, 0.2)]
        for down in self.downs:
            seen.append(down(seen[-1]))
        made = self.middle(seen.pop())
        for up, join in zip(reversed(self.ups), reversed(self.joins)):
            made = join(torch.cat([up(made), seen.pop()], 1))
        return self.leave(made)


def start_at_zero(layer: nn.Module) -> None:
    """Zero a layer's weights and bias."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W), nearest."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def channels_last(x: Tensor) -> Tensor:
    """The same tensor (B, C, H, W), channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def turned(x: Tensor) -> Tensor:
    """`channels_last`; where nothing learns, on a CPU, picture by picture, which is twice as fast.

    PyTorch turns a matrix in blocks that the processor's cache holds, but not a batch of them.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return channels_last(x)
    n, channels, height, width = x.shape
    pixels = x.new_empty(n, height * width, channels)
    for picture, planes in zip(pixels, x.flatten(2)):
        picture.copy_(planes.T)
    return pixels.view(n, height, width, channels).permute(0, 3, 1, 2)


def channels_last_weights(network: Network) -> Network:
    """The same network, the weights of its convolutions channels last in memory."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
