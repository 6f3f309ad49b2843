"""Breaks the rooms that everything rests on, one small change at a time, and looks who notices."""
