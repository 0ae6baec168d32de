"""Each rule fires where it should, and is silent beside it; what looks at services is in tests/integration."""

from __future__ import annotations

import pytest

from autocelery._doctor.rules import TABLE
from tests.patients import Patient
from tests.unit.doctor.cases import CASES, LIVE, Case


@pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in CASES if each.fires])
def test_a_rule_fires_and_says_where_and_what_mends_it(case: Case, patient: Patient) -> None:
    found = case.put_into(patient).findings(case.code)
    assert found, f"{case.code} is silent"
    for each in found:
        assert each.where.text
        assert each.message
        assert each.fix
        assert case.says in f"{each.where.text} {each.message} {each.fix}"


@pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in CASES if not each.fires])
def test_a_rule_is_silent_beside_what_it_looks_for(case: Case, patient: Patient) -> None:
    assert [each.message for each in case.put_into(patient).findings(case.code)] == []


def test_every_rule_has_a_case_that_fires_and_one_that_is_silent() -> None:
    for fires in (True, False):
        tested = {each.code for each in CASES if each.fires is fires} | LIVE.keys()
        assert TABLE.keys() - tested == set()


def test_a_healthy_app_hears_nothing(patient: Patient) -> None:
    patient.tasks("@app.task\ndef add(x, y):\n    return x + y\n")
    assert [each.code for each in patient.look().findings] == []
