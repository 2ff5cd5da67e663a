"""When, from where, how often: everything that is written or started."""
