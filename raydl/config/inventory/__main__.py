"""Writes the inventory anew."""

from raydl.config.inventory.contents import FILE, text
from raydl.config.inventory.describe import all_options

if __name__ == "__main__":
    FILE.write_text(text(all_options()))
