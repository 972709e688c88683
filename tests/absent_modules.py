"""Makes modules of this machine absent for a child process, as on a machine that has fewer."""

from __future__ import annotations

from collections.abc import Iterable

_SITE_CUSTOMIZE = """
import sys
from importlib.machinery import PathFinder
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {names!r} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
sys.modules.update(dict.fromkeys({built_in!r}))
"""


def site_customize(names: Iterable[str], *, built_in: Iterable[str] = ()) -> str:
    """Content of a file `sitecustomize.py`; a Python that finds it on its path cannot import these.

    Args:
        names: top-level modules and packages that are files.
        built_in: modules of the standard library, which may be a part of the interpreter.
    """
    return _SITE_CUSTOMIZE.format(names=set(names), built_in=sorted(built_in))
