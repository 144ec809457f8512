"""Run one function of one peer and print what it returns, as a line of JSON."""

import importlib
import json
import sys

module, _, function = sys.argv[1].partition(".")
run = getattr(importlib.import_module(f"benchmarks.peers.{module}"), function)
print(json.dumps(run(**json.loads(sys.argv[2]))))
