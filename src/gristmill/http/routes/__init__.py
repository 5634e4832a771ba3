"""What is answered where: one file for each kind of thing."""
