"""How well the labels of a store agree with reference labels: from pairs of labels, counted window by window."""
