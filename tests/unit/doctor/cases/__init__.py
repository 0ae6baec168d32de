"""Projects in which a rule fires, and such beside them in which it is silent."""

from __future__ import annotations

from tests.unit.doctor.cases import (
    beats,
    brokers,
    code,
    delivery,
    limits,
    queues,
    results,
    running,
    security,
    sending,
)
from tests.unit.doctor.cases.case import Case

_MODULES = (beats, brokers, code, delivery, limits, queues, results, running, security, sending)
CASES: list[Case] = [case for module in _MODULES for case in module.CASES]
#: Rules on running services, and on what is installed, with the module that has their tests.
LIVE = {
    "AC003": "tests/integration/test_doctor.py",
    "AC051": "tests/integration/test_doctor.py",
    "AC059": "tests/integration/test_doctor.py",
    **{f"AC{number}": "tests/integration/test_doctor.py" for number in range(100, 110)},
    "AC087": "tests/unit/doctor/test_doctor_other.py",
    "AC110": "tests/unit/doctor/test_doctor_other.py",
}

__all__ = ["CASES", "LIVE", "Case"]
