"""What every layer stands on: dtypes, devices, sizes, promotion, settings and errors."""
