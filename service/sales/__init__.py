"""What the office does: buy, cancel, hold, carts; who is let in, who is decided together."""
