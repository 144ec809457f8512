"""A search for settings: trials within a budget of time, then one run of what did best.

The search is Optuna's, in a SQLite file that several processes may work on and that a stopped
search goes on with; a trial is a training of :mod:`textcls.run` without weights and test.
"""
