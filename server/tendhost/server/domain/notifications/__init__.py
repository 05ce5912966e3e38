"""Notifications: which events people are told of, in which words, and how often."""
