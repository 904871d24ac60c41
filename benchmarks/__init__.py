"""What the provider costs, against what a user would pick instead."""
