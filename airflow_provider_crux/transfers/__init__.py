"""Transfers: the files of Crux Connect, brought to where the data team keeps its own."""
