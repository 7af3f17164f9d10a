"""Figures for people: plain data in, a Matplotlib figure out. Imported only where one is drawn.

Figures are made with `matplotlib.figure.Figure` itself, never with pyplot: no window, no global state, and safe in any
thread's hands as long as each has its own figure.
"""
