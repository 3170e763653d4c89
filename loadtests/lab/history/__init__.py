"""Histories and audits: recorded, read into columns, and asked."""
