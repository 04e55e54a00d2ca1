"""One recorded round, merged again by other strategies, and audits of where accuracy is lost.

With a finished run in ``runs/quickstart``::

    from pathlib import Path
    from simulations.replaying import audit, replay

    replay(Path("runs/quickstart"), 5, "fedavg,ldawa").merges[0].row["linear_accuracy"]
    audit(Path("runs/quickstart"), 5).file
"""

from simulations.replaying.audit import audit
from simulations.replaying.replay import replay
from simulations.replaying.results import Audit, Merge, Replay

__all__ = ["Audit", "Merge", "Replay", "audit", "replay"]
