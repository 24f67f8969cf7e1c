"""Packages that not every installation has."""

import importlib

from common.errors import UserError

EXPORT_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require_packages(*names: str, install: str = "-r requirements-deploy.txt") -> None:
    """Raise UserError unless these packages can be imported.

    Args:
        install: what pip has to install for them.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"{error.name or name} is missing; install it with: pip install {install}"
            ) from None
