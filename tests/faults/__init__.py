"""The fault suite: real hosts are updated while the server is killed, links break, hosts go down and disks fill.

`python -m tests.faults` runs all of it and `make faults` is the same; it needs what `tests/fleet` needs.
One run is one UPDATE of one host. Four hosts are updated side by side under one server, as a batch, so
that one kill hits four operations. After each run the hosts, not the server, are asked what happened:

- each package's post-install ran exactly once, and no second package transaction was begun;
- the operation came to an end, within 120 seconds of the last fault;
- the host is in the state that this end calls for;
- the operation's log is, byte for byte, what its jobs printed on the host;
- the inventory that the server tells is what dpkg-query tells;
- a watcher of the events, who reconnects at random all the time, saw each revision once and in order.

Everything random comes from `--seed`: batch 17 of kill_server does the same whenever it is begun with
that seed, alone too: `--only kill_server:17 --seed 7`. What cannot be repeated is how fast a machine is.
"""
