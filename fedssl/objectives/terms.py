"""The terms that can be added to any objective, found by name in `TERMS`."""

from fedssl.objectives.e2mc import E2MC
from fedssl.objectives.e_ssl import ESSL
from fedssl.objectives.term import CustomTermConfig, Term
from fedssl.registry import Registry

TERMS = Registry("term", "fedssl.terms", Term, ESSL, E2MC, custom=CustomTermConfig)
