"""Real processes, real stores, real sockets: what the integration tests drive."""
