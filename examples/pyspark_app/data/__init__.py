"""Where the application's numbers come from."""
