"""What only experiments use: gates in a purchase, and who waits for whom."""
