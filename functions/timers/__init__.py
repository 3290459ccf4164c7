"""Timers: the rows that wake an item's clock when its next rung is due."""
