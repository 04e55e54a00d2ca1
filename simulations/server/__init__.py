"""The server's part of a round: the cohort, the checks of replies, and the evaluation."""
