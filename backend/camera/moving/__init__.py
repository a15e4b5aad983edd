"""How the camera moved, from features of the background alone: pairs of frames, turning, places, scale."""
