"""vasa: one portrait and one sound file in, one talking-head video out.

The Python API is as small as the command; names load when they are first asked for:

    from vasa_cli import Renderer, RenderOptions
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vasa_cli.config import Progress, RenderOptions, RenderResult
    from vasa_cli.errors import VasaError
    from vasa_cli.pipeline import Renderer

__version__ = "0.1.0"
__all__ = ["Progress", "RenderOptions", "RenderResult", "Renderer", "VasaError", "__version__"]

_MODULES = {
    "Progress": "vasa_cli.config",
    "RenderOptions": "vasa_cli.config",
    "RenderResult": "vasa_cli.config",
    "Renderer": "vasa_cli.pipeline",
    "VasaError": "vasa_cli.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'vasa_cli' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
