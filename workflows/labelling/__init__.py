"""Every image read once more, labelled and written; large ones piece by piece."""
