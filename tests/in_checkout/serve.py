"""Answer questions, a line of JSON each, by the function ``answer`` of another script."""

import json
import os
import runpy
import sys
from pathlib import Path

import fedssl


def main() -> None:
    """Answer each line of the standard input; whatever else is printed goes to the errors."""
    if not Path(fedssl.__file__).is_relative_to(Path.cwd()):
        sys.exit(f"{fedssl.__file__} is imported, which is not of the checkout {Path.cwd()}")
    answer = runpy.run_path(sys.argv[1])["answer"]
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        for line in sys.stdin:
            try:
                reply = {"answer": answer(json.loads(line))}
            except Exception as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
