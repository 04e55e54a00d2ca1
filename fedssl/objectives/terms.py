"""The terms that can be added to any objective, found by name in `TERMS`."""

from fedssl.fields import Choice
from fedssl.objectives.e2mc import E2MC
from fedssl.objectives.e_ssl import ESSL
from fedssl.objectives.term import Term

TERMS: dict[str, type[Term]] = {"e-ssl": ESSL, "e2mc": E2MC}

TermChoice = Choice({name: term.Config for name, term in TERMS.items()})
