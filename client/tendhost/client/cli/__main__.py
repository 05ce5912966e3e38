"""The `tendhost` command as `python -m tendhost.client.cli`."""

from tendhost.client.cli import main

main()
