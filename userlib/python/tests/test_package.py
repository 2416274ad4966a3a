"""The package itself."""

import doctest
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import instamp


def test_it_does_without_numpy() -> None:
    script = """
import sys
sys.modules["numpy"] = None
import instamp
instamp.strip(instamp.Run().payload(1, 2), 2)
try:
    import instamp.arrays
except ImportError:
    pass
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_example_in_the_documentation() -> None:
    assert doctest.testmod(instamp).failed == 0
    assert doctest.testmod(instamp).attempted > 3


def test_the_licences_are_in_the_wheel() -> None:
    folder = Path(__file__).parents[3]
    for name in ("LICENSE-APACHE", "LICENSE-MIT"):
        text = importlib.metadata.distribution("instamp").read_text(f"licenses/{name}")
        assert text == (folder / name).read_text(encoding="utf-8"), name


def test_it_is_typed() -> None:
    folder = Path(instamp.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_instamp.pyi").exists()


def test_everything_public_is_documented() -> None:
    import instamp.arrays

    for module in (instamp, instamp.arrays):
        for name in module.__all__:
            item = getattr(module, name)
            assert isinstance(item, int) or item.__doc__, name
