# Its packages are all there is to it.
