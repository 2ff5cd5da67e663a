import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("validators", "pipelines", "flows")


def test_the_wheel_holds_exactly_the_rooms(tmp_path: Path) -> None:
    """Every file of the three rooms and the public face is in the wheel, under nhwc/, and nothing else."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    expected = {f"nhwc/{path.relative_to(ROOT)}" for path in files if "__pycache__" not in path.parts}
    expected |= {"nhwc/__init__.py", "nhwc/__main__.py", "nhwc/py.typed"}
    assert expected == found
