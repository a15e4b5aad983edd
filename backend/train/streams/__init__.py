"""What training looks at: batches of pictures from renderings, teachers and datasets."""
