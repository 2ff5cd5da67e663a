"""The gate as a Prefect task and flow: what follows a refusal does not run, and both artifacts say why."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import get_client

import nhwc
from nhwc.flows.prefect_gate import gate_flow, gate_task
from nhwc.flows.recipe import Recipe
from nhwc.flows.summary import artifact_key

Make = Callable[..., Recipe]


@pytest.fixture
def refused(tmp_path: Path, recipe_for: Make) -> Path:
    """A dataset with a blank image whose name is hostile."""
    for number, name in enumerate(["a.png", "b|<script>.png"]):
        path = tmp_path / "photos" / "cat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (90, 90, 90 + number)).save(path)
    return nhwc.ingest(recipe_for(), direct=True).dataset


def artifacts() -> dict[str, Any]:
    """What the server holds, by key."""

    async def ask() -> Any:
        async with get_client() as client:
            return await client.read_latest_artifacts()

    return {one.key: one.data for one in asyncio.run(ask())}


def test_a_refusal_ends_the_flow_around_it(server: None, refused: Path) -> None:
    """DataError, with every reason."""
    reached = []

    @flow
    def nightly() -> None:
        gate_task(str(refused))
        reached.append("training")

    with pytest.raises(nhwc.DataError, match=r"quality sample [0-9a-f]{16}: blank"):
        nightly()
    assert [] == reached


def test_the_artifacts_name_the_findings(server: None, refused: Path) -> None:
    """A page and a table, in which a file's name is no markup."""
    state = gate_flow(str(refused), return_state=True)
    assert state.is_failed()
    assert f"{refused}: refused;" in state.message
    key = artifact_key(f"gate-{refused}")
    page, table = artifacts()[key], json.loads(artifacts()[f"{key}-findings"])
    row = "| refuse | blank | 2 | one colour all over, or nearly | cat/a.png, cat/b\\|\\<script\\>.png |"
    assert row in page
    assert ("refuse", "blank", 2) == tuple(table[0][name] for name in ("level", "code", "count"))


def test_a_passed_gate_gives_its_verdict(server: None, refused: Path) -> None:
    """The flow's options are those of `nhwc.gate`."""
    recipe = refused.parents[1] / "lax.yaml"
    text = (refused / "1.0.0" / "recipe.yaml").read_text().replace("rules: {}", "rules: {blank: off, tiny: off}")
    recipe.write_text(text.replace("rules: {blank: off", "rules: {blank: 'off'").replace("tiny: off", "tiny: 'off'"))
    nhwc.ingest(recipe, direct=True)
    verdict = gate_flow(str(refused), {"baseline": str(refused)})
    assert verdict.passed
    assert "baseline" in verdict.figures


@pytest.mark.parametrize(
    ("options", "message"),
    [({"samples": 3}, "samples: found 3"), ({"smaples": 3}, "smaples: unknown option, expected some of")],
)
def test_a_wrong_call_fails_the_run_with_its_reason(
    server: None, refused: Path, options: dict[str, Any], message: str
) -> None:
    """As it would raise from `nhwc.gate`."""
    state = gate_flow(str(refused), options, return_state=True)
    assert state.is_failed()
    assert message in state.message
