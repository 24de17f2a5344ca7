"""A run on one page: `ehrnet report`."""
