"""How the book's figures look, and how its prose quotes numbers from cells."""
