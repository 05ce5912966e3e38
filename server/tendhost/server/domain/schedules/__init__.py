"""Schedules: rollouts on a calendar, and the events about them."""
