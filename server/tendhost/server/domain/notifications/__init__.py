"""Notifications: which events cause them, their texts, and how many there are a minute."""
