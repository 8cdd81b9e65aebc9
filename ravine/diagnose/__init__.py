"""What went wrong in a run: a diagnosis in plain words, and the module that a NaN came from.

_evidence.py          what is known of a run, as plain arrays; _learner_evidence.py gets it from a Learner
_rules.py             the table of rules; _rate_rules.py, _curve_rules.py and _layer_rules.py are their checks
_readings.py          figures and words that several rules use
_diagnosis.py         ``diagnose(run)``
_nonfinite/           finds the module that a NaN came from; _nonfinite_callback.py does so in a fit
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.diagnose._diagnosis import Diagnosis, Symptom, diagnose
    from ravine.diagnose._evidence import Evidence
    from ravine.diagnose._learner_evidence import evidence_of
    from ravine.diagnose._nonfinite.find import find_nonfinite
    from ravine.diagnose._nonfinite.finding import Finding, NothingFound
    from ravine.diagnose._nonfinite.reproduce import reproduce
    from ravine.diagnose._nonfinite_callback import FindNonFinite

__all__ = [
    "Diagnosis",
    "Evidence",
    "FindNonFinite",
    "Finding",
    "NothingFound",
    "Symptom",
    "diagnose",
    "evidence_of",
    "find_nonfinite",
    "reproduce",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Diagnosis": "ravine.diagnose._diagnosis",
        "Evidence": "ravine.diagnose._evidence",
        "FindNonFinite": "ravine.diagnose._nonfinite_callback",
        "Finding": "ravine.diagnose._nonfinite.finding",
        "NothingFound": "ravine.diagnose._nonfinite.finding",
        "Symptom": "ravine.diagnose._diagnosis",
        "diagnose": "ravine.diagnose._diagnosis",
        "evidence_of": "ravine.diagnose._learner_evidence",
        "reproduce": "ravine.diagnose._nonfinite.reproduce",
        "find_nonfinite": "ravine.diagnose._nonfinite.find",
    },
)
