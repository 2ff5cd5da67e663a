"""What must be true: contracts, the checks that hold them, and what they find."""
