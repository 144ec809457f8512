"""Kills at random moments: training, sweep, search, preparation and scoring, each begun again."""
