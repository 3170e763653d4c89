"""Where each operation stands in the order of mutations: one module for each way to find it."""
