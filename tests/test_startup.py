"""The start of TensorFlow in a notebook."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys, types
if sys.argv[1] == "notebook":
    sys.modules["ipykernel"] = types.ModuleType("ipykernel")
import tfembed as te
assert "tensorflow" not in sys.modules
te.HubLayer
print("tensorflow" in sys.modules)
"""


@pytest.mark.parametrize(("place", "is_quiet"), [("notebook", True), ("script", False)])
def test_a_notebook_has_no_start_up_lines(place: str, is_quiet: bool) -> None:
    """In the kernel of a notebook, the first name of tfembed brings TensorFlow without what it logs as it starts."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", _PROGRAM, place]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert run.stdout == "True\n"
    assert (run.stderr == "") == is_quiet
