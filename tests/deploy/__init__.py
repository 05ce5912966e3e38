"""The recipes of deploy/ for several replicas, checked by the programs that read them, and tried."""
