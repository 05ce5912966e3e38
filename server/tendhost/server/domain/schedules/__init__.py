"""Schedules: rollouts on a calendar, and what is told of them."""
