"""The subcommands of `tendhost`."""
