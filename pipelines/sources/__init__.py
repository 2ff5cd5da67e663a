"""Where samples come from: a small file for each kind of source."""
