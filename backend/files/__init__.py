"""Files that the rest stands on: the user's folder (`home`), writing whole or not at all (`whole`), pickles as data."""
