# The packages are all of it.
