"""Measurements for those who change fedssl: peers, growth, a million clients, every measure.

``make bench`` runs them; what a person wants to know of a machine is ``fedssl bench``.
"""
