"""What is read in which task, and what memory and disk allow."""
