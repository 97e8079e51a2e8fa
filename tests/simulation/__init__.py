"""Seeded simulation of the store: a loop that shuffles, a disk that forgets, crashes between any two steps."""
