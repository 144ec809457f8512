"""What people look at: tables and pictures of what a model got right."""
