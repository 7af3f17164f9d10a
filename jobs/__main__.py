"""``python -m jobs`` is ``kseg-batch``."""

from jobs.main import main

if __name__ == "__main__":
    main()
