"""Rollouts: their plans, waves and budgets, and when each goes on."""
