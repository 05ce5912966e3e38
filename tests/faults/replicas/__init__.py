"""Several servers over one database under faults: of a server, of the database, and of the network between them."""
