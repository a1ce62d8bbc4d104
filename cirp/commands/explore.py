"""`cirp explore`: JupyterLab with a notebook of two lines."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import nbformat

CODE = "import cirp\n\ncirp.explore()"


def main() -> None:
    """Start JupyterLab in place of this process. Raises `ValueError` if it is not installed."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError('JupyterLab is not installed; run: pip install "cirp[lab]"')
    folder = Path(tempfile.mkdtemp(prefix="cirp-"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    nbformat.write(notebook, folder / "explore.ipynb")
    os.execv(
        sys.executable, [sys.executable, "-m", "jupyter", "lab", str(folder / "explore.ipynb")]
    )
