"""Write the notebooks of the examples: `python examples/notebooks/make.py`. The scripts are the source."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).resolve().parent
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def notebooks() -> dict[str, str]:
    """The notebooks by name, without outputs; the same bytes of the same scripts."""
    made = {}
    for script in sorted(NOTEBOOKS.parent.glob("*.py")):
        notebook = jupytext.read(script)
        notebook.metadata = nbformat.from_dict(KERNEL)
        for number, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{number}"  # nbformat draws them at random
            cell["metadata"] = nbformat.from_dict({})
        nbformat.validate(notebook)
        made[f"{script.stem}.ipynb"] = nbformat.writes(notebook) + "\n"
    return made


if __name__ == "__main__":
    for name, text in notebooks().items():
        (NOTEBOOKS / name).write_text(text, encoding="utf-8")
        print(f"examples/notebooks/{name}")
