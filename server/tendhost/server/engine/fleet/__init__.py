"""The fleet: the registered hosts, the policies that apply to them, and reports about them."""
