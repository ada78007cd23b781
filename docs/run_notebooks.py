"""Execute the notebooks of examples/ and write their outputs into them.

python docs/run_notebooks.py            all of them
python docs/run_notebooks.py 2-*.ipynb  some of them

They run in an empty folder, in the order of their names, so that no output depends on what this machine holds.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def executed(notebook: Path, folder: Path, timeout_seconds: int = 600) -> Any:
    """Return a notebook with the outputs of running it in `folder`. Raises CellExecutionError for a cell that fails."""
    import nbformat
    from nbclient import NotebookClient

    shutil.copyfile(EXAMPLES / "seasons.py", folder / "seasons.py")
    found: Any = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        found, timeout=timeout_seconds, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return found


def without_machine(notebook: Any) -> Any:
    """Return a notebook without what differs from machine to machine: times of execution, versions, identifiers."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{index}", {}
    return notebook


def main() -> None:
    """Execute the notebooks that are named, or all."""
    import nbformat

    # The notebooks are pages to read: threads of one number on every machine.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        for pattern in sys.argv[1:] or ["*.ipynb"]:
            for path in sorted(EXAMPLES.glob(pattern)):
                nbformat.write(without_machine(executed(path, Path(folder))), path)  # type: ignore[no-untyped-call]
                sys.stderr.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
