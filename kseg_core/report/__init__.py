"""The report of a store: small pictures, numbers, and one HTML page that holds them all. No Dask, no terminal."""
