"""A search for settings: trials within a budget of time, then one run of what did best."""
