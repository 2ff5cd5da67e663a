"""The gate as a Prefect task and as a flow; what it found stands on Prefect's pages as Markdown and as a table.

In another flow, nothing that follows runs where the gate refuses:

    from nhwc.flows.prefect_gate import gate_task

    @flow
    def nightly() -> None:
        gate_task("datasets/clothing", baseline="datasets/clothing/1.0.0")
        train("datasets/clothing")
"""

from __future__ import annotations

from typing import Any

from nhwc.flows import prefect_settings  # noqa: F401  before Prefect, which reads them

# isort: split
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from nhwc.flows.gate import called_with, judge_subject, open_subject
from nhwc.flows.subject import Subject
from nhwc.flows.summary import artifact_key
from nhwc.flows.verdict_text import as_markdown, as_table, one_line
from nhwc.validators.errors import DataError, NhwcError
from nhwc.validators.verdict import Verdict


@task(name="nhwc-gate", cache_policy=NO_CACHE, persist_result=False)
def gate_task(data: Any, **options: Any) -> Verdict:
    """`nhwc.gate` as a task: the Verdict where it passed.

    Args:
        data, options: as of `nhwc.gate`.

    Raises DataError, with every reason, where the gate refuses, and RecipeError where the call is wrong.
    """
    return _shown(data, options)[0].require()


@flow(name="nhwc-gate", validate_parameters=False, persist_result=False)
def gate_flow(data: Any, options: dict[str, Any] | None = None) -> State[Any]:
    """The same as a flow, for a deployment: `options` are those of `nhwc.gate`, by name.

    A refusal is a failed flow run whose message says so, without a traceback.
    """
    try:
        verdict, said = _shown(data, options or {})
    except NhwcError as error:
        return Failed(message=str(error), data=error)
    if not verdict.passed:
        return Failed(message=said, data=DataError(verdict))
    return Completed(message=said, data=verdict)


def _shown(data: Any, options: dict[str, Any]) -> tuple[Verdict, str]:
    """The verdict, its line, and both shown as artifacts."""
    chosen = called_with(data, options)
    subject = open_subject(data, chosen)
    verdict = judge_subject(subject, chosen)
    _show(verdict, subject)
    return verdict, one_line(verdict, subject)


def _show(verdict: Verdict, subject: Subject) -> None:
    """The verdict as two artifacts."""
    key = artifact_key(f"gate-{subject.name}")
    create_markdown_artifact(as_markdown(verdict, subject), key=key, description=one_line(verdict, subject))
    if rows := as_table(verdict, subject):
        create_table_artifact(rows, key=f"{key}-findings", description="every code that the gate found")
