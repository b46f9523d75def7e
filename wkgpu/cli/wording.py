"""The library's errors in the words of the command line: options instead of arguments, commands instead of methods.

The library speaks to those who call it: ``give shard_shape alone``, ``use Dataset.open()``. All errors that a command
prints go through `for_the_command_line`. What an option stands for gets its name; advice that only a program can follow
is left out, or becomes advice for the command line where there is some.
"""

from __future__ import annotations

import re
from itertools import pairwise

_OPTIONS = {
    "absolute_bounding_box": "--box",
    "chunk_shape": "--chunk",
    "codec": "--codec",
    "coarsest_mag": "--to",
    "compress": "--codec",
    "device": "--device",
    "from_mag": "--from",
    "interpolation_mode": "--mode",
    "max_workers": "--jobs",
    "sampling_mode": "--sampling",
    "shard_shape": "--shard",
    "target_path": "--target",
}
"""Argument: option. As ``name=value`` all of them are replaced, as a word alone those with an underscore."""

_ADVICE = (
    (r"was opened with read_only=True; open it without", "can only be read; it has to be writable"),
    (r"[uU]se Dataset\.open\(\), or exist_ok=True", "choose another folder"),
    (r"delete (?:it|them) with delete_mag\(\), or give allow_overwrite=True", "--again computes the mags there again"),
    (r"delete it with delete_mag\(\), or choose another target", "choose another --target"),
    (r"delete it with delete_mag\(\), or leave the layer out with layers_to_ignore", "choose another --target"),
    (r"rechunk\(\) it to one chunk in a file", "make it one chunk in a file with `wkgpu rechunk --chunk N --shard N`"),
    (r"or rechunk\(compress=False\)", "or `wkgpu rechunk --codec raw`"),
    (r"copy it with copy_dataset\(\), and change the copy", "`wkgpu compress --target DIR` makes a copy that is not"),
    (r"use True \(\w+\), (.*), or False \(raw\)", r"use \1"),
    (r"open it with Dataset\.open\(path, allow_foreign_writes=True\), or set (\w+=on)", r"set the variable \1"),
    (r"set wkgpu\.config\.locking = False, or (\w+=off)", r"set the variable \1"),
    (r"(\w+)=False if it is the mag of another layer", "name one LAYER, if it is the mag of another layer"),
    (r"give align_with_other_layers=False", "name one LAYER"),
)
"""Advice of the library: that for the command line."""

_BOX = re.compile(r"(?:ND)?BoundingBox\(topleft=\(([^()]*)\), size=\(([^()]*)\)(?:, axes=\{[^{}]*\})?\)")
_REPR_OF_A_PATH = re.compile(r"""\w*Path\((['"])(.*?)\1\)""")
_REPR_OF_A_DATASET = re.compile(r"\bDataset\(([^()]*)\)")
_REPR_OF_A_VIEW = re.compile(r"\b(?:Mag)?View\(name='([^']*)'[^()]*?\)")
_BEGINNING = r"(?<![\w/.'\"-])"  # not inside of a path or of a quoted name
_NAMED_ARGUMENT = re.compile(_BEGINNING + rf"({'|'.join(_OPTIONS)})=(?=\S)")
_ARGUMENT_NAME = re.compile(_BEGINNING + rf"({'|'.join(name for name in _OPTIONS if '_' in name)})(?![\w/='\"-]|\.\w)")
_CODE = re.compile(
    _BEGINNING + r"(?!WKGPU_)(?:(?:[A-Za-z]\w*)?\.)?[A-Za-z_]\w*(?:\(\)|\((?=[^()]*=)|=(?=[\w({'\"]))|\bLayer\.\w"
)
"""A call, a named argument, or a member; and no environment variable."""
_ARGUMENT = re.compile(_BEGINNING + r"(?!WKGPU_)([A-Za-z]\w*)=(?=[\w({'\"])")
_END_OF_A_CLAUSE = re.compile(r"(?<=[;:.]) (?=\S)|, (?=or )")


def for_the_command_line(message: str) -> str:
    """Return an error's message in the words of the command line.

    Examples
    --------
    >>> for_the_command_line("shard_shape 16 must be a multiple of chunk_shape 32; change one of them.")
    '--shard 16 must be a multiple of --chunk 32; change one of them.'
    >>> for_the_command_line("Layer 'color' has no mags; add one with add_mag().")
    "Layer 'color' has no mags."
    """
    text = _REPR_OF_A_PATH.sub(r"\2", message)
    text = _BOX.sub(lambda box: f"{box[1]},{box[2]}".replace(" ", ""), text)
    text = _REPR_OF_A_VIEW.sub(r"mag \1", _REPR_OF_A_DATASET.sub(r"\1", text))
    for advice, instead in _ADVICE:
        text = re.sub(advice, instead, text)
    text = _NAMED_ARGUMENT.sub(lambda found: f"{_OPTIONS[found[1]]} ", text)
    text = _ARGUMENT_NAME.sub(lambda found: _OPTIONS[found[1]], text)
    return _without_code(text)


def _without_code(text: str) -> str:
    """Leave out the clauses that only a program can follow; what went wrong, the first one, stays."""
    if not _CODE.search(text):
        return text
    first, *rest = _clauses(text)
    first = _ARGUMENT.sub(lambda found: f"{found[1].replace('_', ' ')} ", first)
    kept = first + "".join(clause for clause in rest if not _CODE.search(clause))
    return kept.rstrip(" ;:,.") + "."


def _clauses(text: str) -> list[str]:
    """Cut a text before and after clauses, so that joining the pieces gives it again."""
    borders = [0, *(found.start() for found in _END_OF_A_CLAUSE.finditer(text)), len(text)]
    return [text[begin:end] for begin, end in pairwise(borders)]
