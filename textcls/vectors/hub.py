"""Models of static embeddings on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from textcls.errors import InputError, first_line
from textcls.vectors.static import INNER, MODEL, TOKENIZER

_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
# Whoever names one of these means a file.
_FILES = (".txt", ".vec", ".bin", ".ftz", ".npy")


def may_be_on_hub(name: str) -> bool:
    """Say whether something that is not on the disk may be ``user/model`` of the hub."""
    return _NAME.fullmatch(name) is not None and not name.lower().endswith(_FILES)


def folder_of(name: str) -> Path:
    """Return the folder of a model in the hub's cache, downloaded where it is not there.

    Raises:
        InputError: it cannot be had.
    """
    from huggingface_hub import snapshot_download

    files = [f"{place}{file}" for place in ("", f"{INNER}/") for file in (MODEL, TOKENIZER)]
    try:
        return Path(snapshot_download(name, allow_patterns=files))
    except (OSError, ValueError) as error:  # of the network, of the hub, of a bad name
        raise InputError(
            f"model.vectors={name}: there is no such file or folder, and it cannot be loaded from "
            f"the hub ({first_line(error).rstrip('.')}): name a file or folder"
        ) from None
