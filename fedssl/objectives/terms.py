"""The terms that can be added to any objective, found by name in `TERMS`."""

from fedssl.base.registry import Registry
from fedssl.objectives.e2mc import E2MC
from fedssl.objectives.e_ssl import ESSL
from fedssl.objectives.term import CustomTermConfig, Term

TERMS = Registry("term", "fedssl.terms", Term, ESSL, E2MC, custom=CustomTermConfig)
