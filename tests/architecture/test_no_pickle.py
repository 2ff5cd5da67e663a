"""Nothing that is read can run: no pickle, no eval, YAML by safe loaders alone, and the network is never used."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from nhwc.flows import recipe_yaml

ROOT = Path(__file__).parents[2]
ROOMS = ("validators", "pipelines", "flows")

RUNS = {"flows/own_rules.py"}
"""It runs the Python file that a user's own recipe names as their rules: that is what it is for."""

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
YAML = {"safe_load", "safe_dump", "SafeLoader", "YAMLError", "constructor", "Node", "MappingNode"}
ELSEWHERE = {
    "allow_pickle",
    "load_module",
    "enable_unsafe_deserialization",
    "system",
    "popen",
    "unpack_archive",
    "extractall",
}
"""Attributes and arguments that load code, run a shell, or unpack what is not looked at."""


def unsafe(tree: ast.AST, name: str) -> Iterator[str]:
    """Each place in a module that could run what it reads."""
    for node in ast.walk(tree):
        found = None
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found = next((one for one in names if one.split(".")[0] in MODULES), None)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            found = node.func.id if name not in RUNS else None
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
            loads_safely = (name, node.attr) == ("flows/recipe_yaml.py", "load")
            found = f"yaml.{node.attr}" if node.attr not in YAML and not loads_safely else None
        elif isinstance(node, ast.Attribute) and node.attr in ELSEWHERE:
            found = node.attr
        elif isinstance(node, ast.keyword):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            is_wrong = (node.arg in ELSEWHERE and value is not False) or (node.arg, value) in (
                ("safe_mode", False),
                ("shell", True),
            )
            found = f"{node.arg}={value}" if is_wrong else None
        if found:
            yield f"{name}:{node.lineno if hasattr(node, 'lineno') else '?'}: {found}"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "exec(text)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "yaml.Loader",
        "np.load(path, allow_pickle=True)",
        "keras.saving.load_model(path, safe_mode=False)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_what_is_unsafe_is_seen(code):
    """The search below can fail."""
    assert len(list(unsafe(ast.parse(code), "flows/x.py"))) == 1


def test_no_room_runs_what_it_reads():
    """In no module of the three rooms, but in the one that runs the user's own rules."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(files) > 60
    found = [
        place
        for path in files
        for place in unsafe(ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(ROOT)))
    ]
    assert [] == found


def test_the_recipes_loader_is_a_safe_one():
    """A recipe's tags make no Python object."""
    assert issubclass(recipe_yaml._UniqueKeys, yaml.SafeLoader)
    with pytest.raises(yaml.constructor.ConstructorError, match="could not determine a constructor"):
        yaml.load("!!python/object/apply:os.system [true]", Loader=recipe_yaml._UniqueKeys)


HOOK = """
import os, sys
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
def hook(event, arguments):
    if event in WATCHED:
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{event} {arguments[1:]}\\n")
sys.addaudithook(hook)
"""

WORK = """
import sys
import nhwc
from nhwc.flows.cli import main
version = nhwc.ingest("recipe.yaml", direct=True)
assert nhwc.verify("out/pets").passed
nhwc.gate("out/pets")
for images, labels in nhwc.load("out/pets", split="all", batch_size=4):
    assert images.shape[1:] == (8, 9, 3)
sys.argv = ["nhwc", "report", "out/pets"]
main()
"""


@pytest.mark.parametrize(
    ("work", "expected"),
    [(WORK, ""), ("import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))", "socket.connect")],
    ids=["a whole run", "a socket is seen"],
)
def test_a_local_recipe_uses_no_network(tmp_path, work, expected):
    """Ingest, verify, gate, load and report, children included, ask for no address and connect to none."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number, suffix in enumerate((".png", ".jpg", ".gif", ".webp", ".tiff")):
            pixels = np.random.default_rng(len(label) + number).integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{label}{number}{suffix}")
    plain = {
        "dataset": "pets",
        "source": {"path": "photos"},
        "image": {"rows": 8, "cols": 9, "extension": "any"},
        "publish": {"to": "out"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    log = tmp_path / "network.log"
    path = os.pathsep.join([str(tmp_path / "hook"), *(folder for folder in sys.path if folder)])
    environment = os.environ | {"NETWORK_LOG": str(log), "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", work], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    used = log.read_text() if log.exists() else ""
    assert used.startswith(expected) if expected else "" == used, used
