"""What is in an export's file, and how it is stored."""
