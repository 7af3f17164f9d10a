"""Figures for people: `charts` are plain values, `plots` draws them and pictures with Matplotlib."""
