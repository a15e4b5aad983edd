"""Pictures of what was found: the overlay movie, the sheet of a heap of pictures, views from other sides."""
