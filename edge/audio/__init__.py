"""Sound on its way to the network: sources, the ring, clocks and the log-mel front end."""
