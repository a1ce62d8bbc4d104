"""What every editing method shares: one driver, regions, looks ahead."""
