"""Which clusters of a store could be one class: how often they touch, and groups of those that differ least."""
