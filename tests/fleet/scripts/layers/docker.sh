# Each host has keys and an identity of its own.
rm -f /etc/docker/key.json
