"""Rollouts: their plans, waves and budgets, and what each does next."""
