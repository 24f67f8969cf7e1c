"""Packages that not every installation has."""

import importlib

from common.errors import UserError

EXPORT_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require_packages(*names: str) -> None:
    """Raise UserError unless these packages of requirements-deploy.txt can be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"{error.name or name} is missing; install it with: "
                "pip install -r requirements-deploy.txt"
            ) from None
