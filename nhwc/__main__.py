"""`python -m nhwc` is `nhwc`."""

from nhwc.flows.cli import main

main()
