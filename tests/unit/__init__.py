"""Tests of one module each, without hosts and without a network."""
