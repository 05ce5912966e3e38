"""The option that names a saved selection."""

from typing import Annotated

import typer

Saved = Annotated[
    str, typer.Option("--selection", metavar="NAME", help="In this saved selection, too.")
]
