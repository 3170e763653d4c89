"""Reports: verdicts in words, tables, drawings, pages, progress."""
