"""The rules of selling, pure: they read and write nothing, and import nothing of ours."""
