"""Scripts that run in a process of their own with the code of one checkout or another.

They import nothing of `tests`, which there is the checkout's, and of fedssl only what all checkouts
have that they are meant for.
"""
